//! What is known of a client besides what the hub knows.

use std::collections::VecDeque;
use std::sync::Arc;

use super::messages::{Command, Connect, Format, Method, Subscribe};
use crate::push::{ClientId, Data, Time};

/// Fields of an opening handshake that backends get to see; mostly there are none.
pub(super) type Forwarded = Box<[(String, String)]>;

/// What the opening handshake has told, on its way to the session.
#[derive(Debug)]
pub(in crate::gateway) struct Opening {
    pub(super) format: Format,
    pub(super) websocket_pings: bool,
    pub(super) forwarded: Forwarded,
}

/// The state of a client of this protocol. Small: there is one for each connection.
#[derive(Debug)]
pub(in crate::gateway) struct Session {
    pub(super) format: Format,
    /// WebSocket pings are sent instead of the protocol's own.
    pub(super) websocket_pings: bool,
    /// A backend is asked when the connection's time is over, not the client.
    pub(super) refreshed_by_backend: bool,
    /// Its replies wait to be sent, and its commands with them.
    pub(super) is_full: bool,
    pub(super) state: State,
    /// Its name to others, once it is connected.
    pub(super) client: ClientId,
    /// When it has to have connected, is pinged next, or has to have answered a ping.
    pub(super) deadline: Option<Time>,
    /// When the ping was sent that is not answered yet.
    pub(super) pinged: Option<Time>,
    /// Bytes that waited to be sent to it when that was last looked at, which is when it is pinged.
    pub(super) waited: usize,
    /// Up to when its commands have used up its allowance, in microseconds: see [`Turn::charge`](super::turn::Turn).
    pub(super) spent_until: u64,
    pub(super) forwarded: Forwarded,
    /// What waits, mostly for backends; most clients never have any.
    pub(super) waiting: Option<Box<Waiting>>,
}

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has not said who it is.
    Opened,
    /// A backend is asked about it; its commands wait.
    Asking,
    /// It has a session in the hub.
    Connected,
    /// It was refused, and can only go.
    Refused,
}

/// What waits, mostly for backends.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Commands behind a `connect`, or behind replies that are to leave first, in order.
    pub(super) commands: Line,
    /// Commands behind a question of their kind.
    pub(super) subscribes: Line,
    pub(super) publishes: Line,
    pub(super) rpcs: Line,
    /// Subscriptions that a backend is asked about when their time is over, not the client.
    pub(super) refreshes: Vec<(Time, Arc<str>)>,
    /// The connection, or the first of those subscriptions, is being asked about.
    pub(super) refreshing_connection: bool,
    pub(super) refreshing_subscription: bool,
}

/// A line of commands behind one that a backend is asked about.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Whether a question is under way.
    pub(super) is_busy: bool,
    commands: VecDeque<Command>,
    bytes: usize,
}

/// What a backend is asked about.
#[derive(Debug)]
pub(in crate::gateway) struct Asked(pub(super) Subject);

/// A command that a backend is asked about, with what is needed to go on.
#[derive(Debug)]
pub(super) enum Subject {
    Connect { command: u32, request: Box<Connect> },
    Refresh,
    Subscribe { command: u32, request: Box<Subscribe> },
    Publish { command: u32, channel: String, data: Data },
    Rpc { command: u32 },
    SubRefresh { channel: Arc<str> },
}

impl Session {
    /// Which encoding of the protocol it speaks.
    pub(in crate::gateway) const fn protocol(&self) -> &'static str {
        match self.format {
            Format::Json => "json",
            Format::Protobuf => "protobuf",
        }
    }

    pub(super) fn new(opening: &mut Opening, deadline: Time) -> Self {
        Self {
            format: opening.format,
            websocket_pings: opening.websocket_pings,
            refreshed_by_backend: false,
            is_full: false,
            state: State::Opened,
            client: ClientId(0),
            deadline: Some(deadline),
            pinged: None,
            waited: 0,
            spent_until: 0,
            forwarded: std::mem::take(&mut opening.forwarded),
            waiting: None,
        }
    }

    pub(super) fn waiting(&mut self) -> &mut Waiting {
        self.waiting.get_or_insert_default()
    }

    /// When something is due for it, if its connection expires at `expire_at` and lives on for `close_delay` milliseconds.
    pub(in crate::gateway) fn next_due(&self, expire_at: Option<Time>, close_delay: u64) -> Option<Time> {
        let refresh = self.waiting.as_deref().filter(|waiting| !waiting.refreshing_subscription);
        let refresh = refresh.and_then(|waiting| waiting.refreshes.iter().map(|(at, _)| *at).min());
        [self.deadline, self.end(expire_at, close_delay), refresh].into_iter().flatten().min()
    }

    /// When the connection ends, or its backend is asked whether it does; not while that is being asked.
    pub(super) fn end(&self, expire_at: Option<Time>, close_delay: u64) -> Option<Time> {
        if self.waiting.as_deref().is_some_and(|waiting| waiting.refreshing_connection) {
            return None;
        }
        expire_at.map(|at| at.plus(if self.refreshed_by_backend { 0 } else { close_delay }))
    }

    /// A subscription is over, or has another end.
    pub(super) fn forget_refreshes_of(&mut self, channel: &str) {
        if let Some(waiting) = &mut self.waiting {
            waiting.refreshes.retain(|(_, other)| &**other != channel);
        }
    }
}

impl Line {
    /// Lets a command wait; not if it would be more than so many, or than so many bytes.
    pub(super) fn push(&mut self, command: Command, max_commands: usize, max_bytes: usize) -> bool {
        let size = command.size();
        if self.commands.len() >= max_commands || self.bytes + size > max_bytes {
            return false;
        }
        self.bytes += size;
        self.commands.push_back(command);
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    pub(super) fn pop(&mut self) -> Option<Command> {
        let command = self.commands.pop_front()?;
        self.bytes -= command.size();
        if self.commands.is_empty() {
            // A client that has waited once need not hold the room for it ever after.
            self.commands = VecDeque::new();
        }
        Some(command)
    }
}

impl Command {
    /// About how many bytes it takes while it waits.
    fn size(&self) -> usize {
        let texts = match &self.method {
            Method::Connect(connect) => connect.size(),
            Method::Subscribe(subscribe) => subscribe.size(),
            Method::Publish { channel, data } => channel.len() + data.len(),
            Method::Rpc { method, data } => method.len() + data.len(),
            Method::SubRefresh { channel, token } => channel.len() + token.len(),
            Method::Refresh { token } => token.len(),
            Method::Unsubscribe { channel } | Method::Presence { channel } | Method::PresenceStats { channel } => {
                channel.len()
            }
            Method::History(history) => {
                history.channel.len() + history.since.as_ref().map_or(0, |(_, epoch)| epoch.len())
            }
            Method::Send { data } => data.len(),
            Method::Ping | Method::Pong | Method::Unknown => 0,
        };
        size_of::<Self>() + texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_small() {
        // There is one for each of many thousand connections, besides the hub's and the engine's.
        assert!(size_of::<Session>() <= 128, "{}", size_of::<Session>());
    }

    /// Whatever a command is made long by, it is too long to wait.
    #[test]
    fn all_that_a_waiting_command_holds_is_counted() {
        let long = || "x".repeat(10_000);
        let subscribe = Subscribe::default;
        let connects = [
            Connect { token: long(), ..Connect::default() },
            Connect { data: long().into(), ..Connect::default() },
            Connect { name: long(), ..Connect::default() },
            Connect { version: long(), ..Connect::default() },
            Connect { headers: [(long(), String::new())].into(), ..Connect::default() },
            Connect { headers: [(String::new(), long())].into(), ..Connect::default() },
            Connect { subs: [(long(), subscribe())].into(), ..Connect::default() },
            Connect { subs: (0..100).map(|index| (index.to_string(), subscribe())).collect(), ..Connect::default() },
        ];
        let subscribes = [
            Subscribe { channel: long(), ..subscribe() },
            Subscribe { token: long(), ..subscribe() },
            Subscribe { epoch: long(), ..subscribe() },
            Subscribe { data: long().into(), ..subscribe() },
            Subscribe { delta: long(), ..subscribe() },
        ];
        let methods = connects.into_iter().map(Method::Connect).chain(subscribes.into_iter().map(Method::Subscribe));
        for method in methods {
            let mut line = Line::default();
            assert!(line.push(Command { id: 1, method: Method::Ping }, 2, 10_000));
            let command = Command { id: 2, method };
            assert!(!line.push(command.clone(), 2, 10_000), "{command:?}");
            assert!(line.push(command.clone(), 2, 100_000), "{command:?}");
            assert!(!line.push(Command { id: 3, method: Method::Ping }, 2, 100_000), "a third");
            assert_eq!([line.pop().map(|it| it.id), line.pop().map(|it| it.id)], [Some(1), Some(2)]);
            assert!(line.pop().is_none() && line.bytes == 0 && line.commands.capacity() == 0);
        }
    }
}
