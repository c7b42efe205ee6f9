//! The loop: a poll, its listeners, signals and mailbox, around the sessions.

use std::io;
use std::time::Duration;

use super::{Application, ListenAddr, ListenConfig, NetConfig, Remote, Sessions};

/// One thread's event loop, serving one application.
#[derive(Debug)]
pub struct EventLoop<A: Application> {
    remote: Remote<A::Task>,
}

impl<A: Application> EventLoop<A> {
    /// A loop that listens nowhere yet.
    ///
    /// # Errors
    /// The system gives no poll.
    pub fn new(config: NetConfig) -> io::Result<Self> {
        todo!()
    }

    /// Listens at one more address and says which it became.
    ///
    /// # Errors
    /// The address is in use, or may not be used.
    pub fn listen(&mut self, config: ListenConfig) -> io::Result<ListenAddr> {
        todo!()
    }

    /// Has this loop take the process's SIGTERM and SIGINT (drain; a second one ends the process at once with status 1)
    /// and SIGHUP (reload). For one loop of a process only.
    ///
    /// # Errors
    /// The system refuses.
    pub fn handle_signals(&mut self) -> io::Result<()> {
        todo!()
    }

    /// The way in from other threads.
    pub fn remote(&self) -> Remote<A::Task> {
        self.remote.clone()
    }

    /// The sessions, to dial or to set timers before the loop runs.
    pub fn sessions(&mut self) -> &mut Sessions {
        todo!()
    }

    /// Runs until a shutdown has come to its end.
    ///
    /// # Errors
    /// The poll itself fails.
    pub fn run(&mut self, app: &mut A) -> io::Result<()> {
        while self.turn(app, None)? {}
        Ok(())
    }

    /// One turn: waits at most `timeout` (`None`: as long as nothing is due), then handles all there is to handle. `false`
    /// once a shutdown has come to its end.
    ///
    /// # Errors
    /// The poll itself fails.
    pub fn turn(&mut self, app: &mut A, timeout: Option<Duration>) -> io::Result<bool> {
        todo!()
    }
}
