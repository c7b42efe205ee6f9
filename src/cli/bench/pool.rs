//! Opening as many connections as were asked for, or saying in one sentence why that cannot be.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::super::{Exit, Failure};
use super::interrupted;
use super::opening::{OpenError, Opened, Opening};
use super::progress::Progress;
use super::target::Target;

/// Connections that are being opened at the same time. More would only wait in the server's backlog.
const AT_ONCE: usize = 64;
/// How long to wait for an event before looking at deadlines.
const TICK: Duration = Duration::from_millis(100);

/// Opens `count` connections; their events will carry the tokens `first`, `first` + 1, and so on.
pub(super) fn open(
    target: &mut Target,
    count: usize,
    first: usize,
    poll: &mut Poll,
    progress: &mut Progress,
) -> Result<Vec<Opened>, Failure> {
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 16 << 10];
    let mut opened: BTreeMap<usize, Opened> = BTreeMap::new();
    let mut under_way: BTreeMap<usize, Opening> = BTreeMap::new();
    let mut started = 0;
    while opened.len() < count {
        // One alone until it is known that there is a server, and at which of its addresses.
        let at_once = if opened.is_empty() { 1 } else { AT_ONCE };
        while under_way.len() < at_once && started < count {
            let opening = Opening::start(target, poll.registry(), Token(first + started), Instant::now());
            under_way.insert(started, opening.map_err(|error| failure(target, opened.len(), &error))?);
            started += 1;
        }
        if let Err(error) = poll.poll(&mut events, Some(TICK))
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(Failure::new(Exit::Failed, error));
        }
        for event in &events {
            // Events of connections that are open already are for later: their first read comes without one.
            let Some(index) = event.token().0.checked_sub(first) else { continue };
            let Some(opening) = under_way.get_mut(&index) else { continue };
            match opening.advance(target, &mut buffer) {
                Ok(None) => {}
                Ok(Some(connection)) => {
                    under_way.remove(&index);
                    opened.insert(index, connection);
                }
                Err(OpenError::Connect(_)) if opened.is_empty() && target.addresses.len() > 1 => {
                    target.addresses.remove(0);
                    under_way.clear();
                    started = 0;
                }
                Err(error) => return Err(failure(target, opened.len(), &error)),
            }
        }
        if interrupted() {
            return Err(Failure::new(Exit::Failed, "interrupted before all connections were open"));
        }
        let now = Instant::now();
        if under_way.values().any(|opening| now.duration_since(opening.since) > target.timeout) {
            return Err(failure(target, opened.len(), &OpenError::Timeout));
        }
        progress.say(|| format!("{} of {count} connections open", opened.len()));
    }
    Ok(opened.into_values().collect())
}

/// One sentence about a connection that could not be opened.
pub(super) fn failure(target: &Target, open: usize, error: &OpenError) -> Failure {
    let several = if open > 0 { format!(" for the connection after the first {open}") } else { String::new() };
    let advice = match error {
        OpenError::Connect(error) if error.raw_os_error() == Some(EMFILE) => "; ulimit -n N allows more",
        OpenError::Connect(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            "; this machine has no more ports to connect from"
        }
        _ => "",
    };
    Failure::new(Exit::NotConnected, format_args!("cannot connect to {}{several}: {error}{advice}", target.url))
}

/// "Too many open files", for which [`io::ErrorKind`] has no name.
const EMFILE: i32 = 24;
