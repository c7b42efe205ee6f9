//! The loop: a poll, its listeners, signals and mailbox, around the sessions.
//!
//! ```text
//! turn:  poll ─▶ listeners ─▶ each ready connection ─▶ mailbox ─▶ left-over work, timers, drain ─▶ flush
//! ```

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll, Token, Waker};

use super::listener::{Accepted, Listener};
use super::mailbox::{Mail, Mailbox};
use super::signals::{Signal, Signals};
use super::timers::later;
use super::{Application, ConnectionId, ListenAddr, ListenConfig, NetConfig, Readiness, Remote, Sessions};

/// Tokens that no connection has: the slot is out of range.
const WAKER: Token = ConnectionId::new(0, u32::MAX, ConnectionId::MAX_SLOTS).token();
const SIGNALS: Token = ConnectionId::new(0, u32::MAX - 1, ConnectionId::MAX_SLOTS).token();

fn listener_token(index: usize) -> Token {
    ConnectionId::new(0, index as u32, ConnectionId::MAX_SLOTS).token()
}

/// One thread's event loop, serving one application.
pub struct EventLoop<A: Application> {
    poll: Poll,
    events: Events,
    listeners: Vec<Listener>,
    signals: Option<Signals>,
    /// A signal has asked for an end already.
    terminated: bool,
    mailbox: Mailbox<A::Task>,
    sessions: Sessions,
    config: NetConfig,
}

impl<A: Application> EventLoop<A> {
    /// Readiness taken from the poll at once.
    const EVENTS: usize = 1024;

    /// A loop that listens nowhere yet.
    ///
    /// # Errors
    /// The system gives no poll.
    pub fn new(config: NetConfig) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let registry = poll.registry().try_clone()?;
        let sessions = Sessions::new(config.clone(), Some(registry), Some(Arc::clone(&waker)), Instant::now());
        Ok(Self {
            poll,
            events: Events::with_capacity(Self::EVENTS),
            listeners: Vec::new(),
            signals: None,
            terminated: false,
            mailbox: Mailbox::new(waker),
            sessions,
            config,
        })
    }

    /// Listens at one more address and says which it became.
    ///
    /// # Errors
    /// The address is in use, or may not be used.
    pub fn listen(&mut self, config: ListenConfig) -> io::Result<ListenAddr> {
        let mut listener = Listener::bind(config)?;
        listener.register(self.poll.registry(), listener_token(self.listeners.len()))?;
        let addr = listener.addr().clone();
        self.listeners.push(listener);
        Ok(addr)
    }

    /// Has this loop take the process's SIGTERM and SIGINT (drain; a second one ends the process at once with status 1)
    /// and SIGHUP (reload). For one loop of a process only.
    ///
    /// # Errors
    /// The system refuses.
    pub fn handle_signals(&mut self) -> io::Result<()> {
        if self.signals.is_none() {
            self.signals = Some(Signals::new(self.poll.registry(), SIGNALS)?);
        }
        Ok(())
    }

    /// The way in from other threads.
    pub fn remote(&self) -> Remote<A::Task> {
        self.mailbox.remote()
    }

    /// The sessions, to dial or to set timers before the loop runs.
    pub fn sessions(&mut self) -> &mut Sessions {
        self.sessions.now = Instant::now();
        &mut self.sessions
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
        let timeout = self.time_to_wait(timeout);
        if let Err(error) = self.poll.poll(&mut self.events, timeout) {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
            self.events.clear();
        }
        let now = Instant::now();
        self.sessions.begin_turn(now);
        let mut signalled = false;
        for event in &self.events {
            match event.token() {
                WAKER => {}
                SIGNALS => signalled = true,
                token if ConnectionId::from_token(token).slot() == ConnectionId::MAX_SLOTS => {
                    let index = ConnectionId::from_token(token).generation() as usize;
                    if let Some(listener) = self.listeners.get_mut(index) {
                        listener.ready = true;
                    }
                }
                token => self.sessions.ready(app, ConnectionId::from_token(token), readiness(event), now),
            }
        }
        if signalled {
            self.take_signals(app);
        }
        self.take_mail(app);
        self.sessions.tick(app, now);
        // After those that are here already: newcomers must not push them out.
        self.accept(app, now);
        self.sessions.flush(app);
        if self.sessions.is_draining() {
            // Closes the sockets and removes the files.
            self.listeners.clear();
        }
        Ok(!self.sessions.is_finished())
    }

    fn time_to_wait(&self, timeout: Option<Duration>) -> Option<Duration> {
        if self.mailbox.is_waiting() || self.listeners.iter().any(|listener| listener.ready && listener.retry.is_none())
        {
            return Some(Duration::ZERO);
        }
        let retries = self.listeners.iter().filter_map(|listener| listener.retry);
        let due = retries.chain(self.sessions.next_deadline()).min();
        let until_due = due.map(|due| due.saturating_duration_since(Instant::now()));
        [timeout, until_due].into_iter().flatten().min()
    }

    fn accept(&mut self, app: &mut A, now: Instant) {
        for listener in &mut self.listeners {
            if listener.retry.is_some_and(|retry| retry <= now) {
                listener.retry = None;
            }
            if !listener.ready || listener.retry.is_some() {
                continue;
            }
            for _ in 0..self.config.accept_batch.max(1) {
                match listener.accept() {
                    Accepted::Connection(transport, peer) => {
                        if let Err(error) = self.sessions.accept(transport, peer.clone()) {
                            log::info!("{peer}: dropped: {error}");
                        }
                    }
                    Accepted::None => {
                        listener.ready = false;
                        break;
                    }
                    Accepted::Skipped(error) => log::debug!("{}: cannot accept: {error}", listener.addr()),
                    Accepted::Exhausted(error) => {
                        log::error!("{}: cannot accept for now: {error}", listener.addr());
                        listener.retry = Some(later(now, self.config.accept_retry));
                        self.sessions.guard(None, "accept_failed", |sessions| app.accept_failed(sessions, &error));
                        break;
                    }
                }
            }
        }
    }

    fn take_mail(&mut self, app: &mut A) {
        for _ in 0..self.config.task_batch.max(1) {
            match self.mailbox.take() {
                Some(Mail::Task(task)) => {
                    self.sessions.guard(None, "task", |sessions| app.task(sessions, task));
                }
                Some(Mail::Shutdown(within)) => self.sessions.shutdown(within),
                None => break,
            }
        }
    }

    fn take_signals(&mut self, app: &mut A) {
        let Some(signals) = &mut self.signals else { return };
        for signal in signals.take() {
            match signal {
                Signal::Terminate if self.terminated => {
                    log::warn!("a second signal: ending at once");
                    // The listeners' files would stay behind.
                    self.listeners.clear();
                    std::process::exit(1);
                }
                Signal::Terminate => {
                    log::info!("a signal: draining; a second one ends at once");
                    self.terminated = true;
                    self.sessions.shutdown(self.config.drain_timeout);
                }
                Signal::Reload => {
                    self.sessions.guard(None, "reload", |sessions| app.reload(sessions));
                }
            }
        }
    }
}

impl<A: Application> fmt::Debug for EventLoop<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLoop")
            .field("listeners", &self.listeners)
            .field("connections", &self.sessions.len())
            .finish_non_exhaustive()
    }
}

fn readiness(event: &Event) -> Readiness {
    Readiness {
        readable: event.is_readable() || event.is_error(),
        writable: event.is_writable() || event.is_error() || event.is_write_closed(),
        read_closed: event.is_read_closed() || event.is_error(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::{Request, Response, UpgradeRequest};
    use crate::net::Answer;
    use crate::protocol;

    /// Counts what it is told about the loop.
    #[derive(Default)]
    struct App {
        accept_failed: Vec<Option<i32>>,
        tasks: usize,
        drained: usize,
    }

    impl Application for App {
        type Task = ();

        fn upgrade(&mut self, _: &mut Sessions, _: ConnectionId, _: &UpgradeRequest) -> Answer {
            Answer::Refuse(Response::new(404))
        }

        fn request(&mut self, _: &mut Sessions, _: ConnectionId, _: &Request, _: &[u8]) -> Option<Response> {
            Some(Response::new(404))
        }

        fn opened(&mut self, _: &mut Sessions, _: ConnectionId) {}

        fn event(&mut self, _: &mut Sessions, _: ConnectionId, _: protocol::Event<'_>) {}

        fn closed(&mut self, _: &mut Sessions, _: ConnectionId, _: protocol::Closed) {}

        fn task(&mut self, _: &mut Sessions, (): ()) {
            self.tasks += 1;
        }

        fn draining(&mut self, _: &mut Sessions) {
            self.drained += 1;
        }

        fn accept_failed(&mut self, _: &mut Sessions, error: &io::Error) {
            self.accept_failed.push(error.raw_os_error());
        }
    }

    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    const ENOBUFS: i32 = 105;
    const ECONNABORTED: i32 = 103;
    const EINTR: i32 = 4;

    #[test]
    fn without_a_descriptor_left_accepting_waits_and_then_goes_on_by_itself() {
        let mut event_loop = EventLoop::<App>::new(NetConfig::default()).unwrap();
        let mut app = App::default();
        let errors = [EMFILE, ENFILE, ENOBUFS].map(io::Error::from_raw_os_error);
        event_loop.listeners.push(Listener::failing(errors));
        for failed in 1..=3 {
            event_loop.turn(&mut app, Some(Duration::ZERO)).unwrap();
            assert_eq!(app.accept_failed.len(), failed);
            assert!(
                event_loop.time_to_wait(None) > Some(Duration::from_millis(50)),
                "the loop sleeps until it retries"
            );
            event_loop.turn(&mut app, Some(Duration::ZERO)).unwrap();
            assert_eq!(app.accept_failed.len(), failed, "not tried again before its time");
            event_loop.listeners[0].retry = Some(Instant::now());
        }
        event_loop.turn(&mut app, Some(Duration::ZERO)).unwrap();
        assert_eq!(app.accept_failed, [Some(EMFILE), Some(ENFILE), Some(ENOBUFS)]);
        assert!(!event_loop.listeners[0].ready, "nobody waits any more");
        assert_eq!(event_loop.time_to_wait(None), None);
    }

    #[test]
    fn a_connection_that_died_in_the_queue_does_not_stop_the_next() {
        let mut event_loop = EventLoop::<App>::new(NetConfig::default()).unwrap();
        let mut app = App::default();
        let errors = [ECONNABORTED, EINTR, ECONNABORTED].map(io::Error::from_raw_os_error);
        event_loop.listeners.push(Listener::failing(errors));
        event_loop.turn(&mut app, Some(Duration::ZERO)).unwrap();
        assert!(app.accept_failed.is_empty());
        assert!(!event_loop.listeners[0].ready, "all were taken in one turn");
    }

    #[test]
    fn a_full_mailbox_is_taken_in_batches_and_no_task_is_forgotten() {
        let config = NetConfig { task_batch: 10, ..NetConfig::default() };
        let mut event_loop = EventLoop::<App>::new(config).unwrap();
        let mut app = App::default();
        let remote = event_loop.remote();
        (0..25).for_each(|_| remote.post(()).unwrap());
        for taken in [10, 20, 25] {
            // Without a limit: the loop must not sleep on what is left.
            event_loop.turn(&mut app, None).unwrap();
            assert_eq!(app.tasks, taken);
        }
        assert_eq!(remote.waiting(), 0);
        remote.shutdown(Duration::from_secs(1));
        assert!(!event_loop.turn(&mut app, None).unwrap());
        assert_eq!(app.drained, 1);
        drop(event_loop);
        assert_eq!(remote.post(()), Err(super::super::PostError(())));
    }
}
