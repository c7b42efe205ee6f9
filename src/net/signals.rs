//! The process's signals, as bytes in a socket that the poll watches.

use std::io::{self, Read};

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGTERM or SIGINT.
    Terminate,
    /// SIGHUP.
    Reload,
}

/// The handlers; dropping them leaves the signals to the system again.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Watch,
    reload: Watch,
}

/// A socket pair: handlers may do little more than write a byte.
#[derive(Debug)]
struct Watch {
    receiver: UnixStream,
    ids: Vec<signal_hook::SigId>,
}

impl Signals {
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        Ok(Self {
            terminate: Watch::new(&[SIGTERM, SIGINT], registry, token)?,
            reload: Watch::new(&[SIGHUP], registry, token)?,
        })
    }

    /// The signals that came since the last call, several alike perhaps as one.
    pub(crate) fn take(&mut self) -> Vec<Signal> {
        let terminate = self.terminate.take();
        let reload = self.reload.take();
        // Two that came together are still two: the second one forces.
        [vec![Signal::Reload; reload.min(1)], vec![Signal::Terminate; terminate.min(2)]].concat()
    }
}

impl Watch {
    fn new(signals: &[i32], registry: &Registry, token: Token) -> io::Result<Self> {
        let (mut receiver, sender) = UnixStream::pair()?;
        registry.register(&mut receiver, token, Interest::READABLE)?;
        let sender = std::os::unix::net::UnixStream::from(std::os::fd::OwnedFd::from(sender));
        let mut watch = Self { receiver, ids: Vec::new() };
        for &signal in signals {
            watch.ids.push(low_level::pipe::register(signal, sender.try_clone()?)?);
        }
        Ok(watch)
    }

    fn take(&mut self) -> usize {
        let mut bytes = [0; 64];
        let mut count = 0;
        loop {
            match self.receiver.read(&mut bytes) {
                Ok(0) => return count,
                Ok(len) => count += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return count,
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            low_level::unregister(id);
        }
    }
}
