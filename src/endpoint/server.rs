//! A server: its loops, bound and ready, and how they run.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use super::adapter::{Endpoint, Policy};
use super::router::{Loop, Router};
use super::{Handler, ServerBuilder, ServerHandle};
use crate::net::{EventLoop, ListenAddr};

/// A WebSocket server, bound to its addresses.
///
/// ```no_run
/// use loopwire::{Handler, Server};
///
/// struct Quiet;
/// impl Handler for Quiet {}
///
/// let server = Server::builder().listen("127.0.0.1:8080").build()?;
/// server.run(Quiet)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Server {
    loops: Vec<EventLoop<Endpoint>>,
    policy: Arc<Policy>,
    router: Arc<Router>,
    addrs: Arc<[ListenAddr]>,
}

impl Server {
    /// A server to be set up.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::new()
    }

    pub(super) fn new(mut loops: Vec<EventLoop<Endpoint>>, policy: Policy, addrs: Vec<ListenAddr>) -> Self {
        let router = Arc::new(Router { loops: loops.iter_mut().map(Loop::of).collect() });
        Self { loops, policy: Arc::new(policy), router, addrs: addrs.into() }
    }

    /// Where it listens, in the order given, with the ports that the system has chosen.
    pub fn local_addrs(&self) -> &[ListenAddr] {
        &self.addrs
    }

    /// The first TCP address at which it listens.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.addrs.iter().find_map(|addr| match addr {
            ListenAddr::Tcp(addr) => Some(*addr),
            ListenAddr::Unix(_) => None,
        })
    }

    /// The way in for other threads.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle::new(Arc::clone(&self.router))
    }

    /// Runs on this thread until it is shut down.
    ///
    /// # Errors
    /// The system's poll fails; or there are several loops, each of which needs a handler of its own:
    /// [`run_each`](Self::run_each).
    pub fn run(self, handler: impl Handler + 'static) -> io::Result<()> {
        let Ok([event_loop]) = <[_; 1]>::try_from(self.loops) else {
            let message = "a server with several loops needs a handler for each: use run_each";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        run_loop(event_loop, &mut Endpoint::new(Box::new(handler), self.policy, self.router, 0))
    }

    /// Runs each loop on a thread of its own, the first on this one, until all are shut down. `make` is called on the
    /// loop's thread with its index, so a handler need not be `Send`.
    ///
    /// # Errors
    /// The system's poll fails for one; the others are then shut down.
    pub fn run_each<H: Handler + 'static>(self, make: impl Fn(usize) -> H + Sync) -> io::Result<()> {
        let run = |index: usize, event_loop| {
            // However this loop ends, the others have no reason to stay.
            let _others = ShutDown(&self.router, &self.policy);
            let handler = Box::new(make(index));
            let (policy, router) = (Arc::clone(&self.policy), Arc::clone(&self.router));
            run_loop(event_loop, &mut Endpoint::new(handler, policy, router, index as u8))
        };
        let mut loops = self.loops.into_iter().enumerate();
        thread::scope(|scope| {
            // The scope waits for the threads that did start, also when the next one cannot be.
            let _all = ShutDown(&self.router, &self.policy);
            let first = loops.next();
            let mut threads = Vec::new();
            for (index, event_loop) in loops {
                let name = format!("loopwire-{index}");
                let run = &run;
                threads.push(thread::Builder::new().name(name).spawn_scoped(scope, move || run(index, event_loop))?);
            }
            let mut result = first.map_or(Ok(()), |(index, event_loop)| run(index, event_loop));
            for thread in threads {
                result = result.and(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            result
        })
    }
}

pub(super) fn run_loop(mut event_loop: EventLoop<Endpoint>, endpoint: &mut Endpoint) -> io::Result<()> {
    endpoint.start(event_loop.sessions());
    event_loop.run(endpoint)
}

/// Shuts all loops down when it is dropped.
struct ShutDown<'a>(&'a Router, &'a Policy);

impl Drop for ShutDown<'_> {
    fn drop(&mut self) {
        self.0.shutdown(self.1.drain_timeout);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addrs", &self.addrs).field("loops", &self.loops.len()).finish_non_exhaustive()
    }
}
