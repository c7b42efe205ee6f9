//! What stands above the sessions: the loop calls it, and it answers through the [`Sessions`] that every call lends it.

use std::io;
use std::sync::Arc;

use super::{ConnectionId, DialError, Sessions};
use crate::handshake::{Acceptance, Request, Response, UpgradeRequest};
use crate::protocol::{Closed, Config, Event, Side};

/// The code that a loop serves.
///
/// Calls come one at a time and on the loop's thread. Every one of them may send to any connection, close any, its own
/// included, and dial new ones; nothing of that calls back before the call returns.
///
/// ```text
/// server: upgrade ─▶ opened ─▶ event … ─▶ closed        client: dial ─▶ opened ─▶ event … ─▶ closed
///         body_limit ─▶ request (plain HTTP)                         └▶ dial_failed
/// ```
///
/// **A panic** in a call is caught: it is logged, its connection is closed with 1011 (a request is answered 500), and
/// the loop goes on with all others. What the application itself left half done is its own to care for.
pub trait Application {
    /// What other threads may send into the loop, by [`Remote::post`](super::Remote::post).
    type Task: Send;

    /// A valid opening handshake asks to be judged.
    fn upgrade(&mut self, sessions: &mut Sessions, id: ConnectionId, request: &UpgradeRequest) -> Answer;

    /// How many bytes of the body of a plain HTTP request are wanted, asked once its head has come. 0, the default, wants
    /// none: [`request`](Self::request) follows at once without it. Otherwise a longer one is answered 413, and `request`
    /// follows when all of it has come.
    fn body_limit(&mut self, sessions: &mut Sessions, id: ConnectionId, request: &Request) -> usize {
        let _ = (sessions, id, request);
        0
    }

    /// A plain HTTP request on the same port, with its body if one was wanted; the connection closes after the response.
    /// `None`: [`Sessions::respond`] follows, within [`NetConfig::answer_timeout`](super::NetConfig::answer_timeout).
    fn request(
        &mut self,
        sessions: &mut Sessions,
        id: ConnectionId,
        request: &Request,
        body: &[u8],
    ) -> Option<Response>;

    /// The opening handshake is done, in either role. Called once, before any event.
    fn opened(&mut self, sessions: &mut Sessions, id: ConnectionId);

    /// The peer said something. What is sent meanwhile leaves before the next event is decoded.
    fn event(&mut self, sessions: &mut Sessions, id: ConnectionId, event: Event<'_>);

    /// Bytes have passed on a connection that is [watched](Sessions::watch): as they were received, still masked, or as the
    /// stream took them. What was received is shown before any call that follows from it.
    fn wire(&mut self, sessions: &mut Sessions, id: ConnectionId, by: Side, bytes: &[u8]) {
        let _ = (sessions, id, by, bytes);
    }

    /// A connection that had reached the high-water mark has been drained.
    fn writable(&mut self, sessions: &mut Sessions, id: ConnectionId) {
        let _ = (sessions, id);
    }

    /// The connection is over: exactly once for each `opened`. Its data and request can still be read; nothing can be
    /// sent any more.
    fn closed(&mut self, sessions: &mut Sessions, id: ConnectionId, closed: Closed);

    /// A connection that was dialled never opened.
    fn dial_failed(&mut self, sessions: &mut Sessions, id: ConnectionId, error: DialError) {
        let _ = (sessions, id, error);
    }

    /// A timer of [`Sessions::set_timer`] is due.
    fn timer(&mut self, sessions: &mut Sessions, key: u64) {
        let _ = (sessions, key);
    }

    /// Another thread posted this.
    fn task(&mut self, sessions: &mut Sessions, task: Self::Task);

    /// The loop begins to drain, by a signal or by [`Sessions::shutdown`]: it accepts nothing any more and closes every
    /// connection with 1001.
    fn draining(&mut self, sessions: &mut Sessions) {
        let _ = sessions;
    }

    /// This connection is closed with 1001 next, because the loop drains: a [batch](super::NetConfig::drain_batch) of them in
    /// each turn. Whoever has other words for it closes it here.
    fn going_away(&mut self, sessions: &mut Sessions, id: ConnectionId) {
        let _ = (sessions, id);
    }

    /// SIGHUP came: read certificates and the like again.
    fn reload(&mut self, sessions: &mut Sessions) {
        let _ = sessions;
    }

    /// Accepting failed for a reason that is not the peer's, such as no file descriptor left. The loop has logged it and
    /// tries again by itself.
    fn accept_failed(&mut self, sessions: &mut Sessions, error: &io::Error) {
        let _ = (sessions, error);
    }
}

/// The answer to an opening handshake.
#[derive(Clone, Debug)]
pub enum Answer {
    /// 101, and from then on a connection with this configuration.
    Accept(Acceptance, Arc<Config>),
    /// Anything but 101; the connection closes behind it.
    Refuse(Response),
}
