//! What is known of a client besides what the hub knows.

use std::collections::VecDeque;
use std::sync::Arc;

use super::opening::Opening;
use crate::gateway::core::{RAW, RAW_TO_OTHERS, RAW_WITH_OFFSETS, RAW_WITH_OFFSETS_TO_OTHERS, new_client_id};
use crate::gateway::hooks::Room;
use crate::push::{ClientId, Data, Lane, Time};

/// The state of a client of this protocol. Small: there is one for each connection.
#[derive(Debug)]
pub(in crate::gateway) struct Session {
    pub(super) channel: Arc<str>,
    /// Its name to others.
    pub(super) client: ClientId,
    pub(super) lane: Lane,
    /// What its URL wants, until it is subscribed.
    pub(super) opening: Option<Box<Opening>>,
    /// Up to when its messages have used up its allowance, in microseconds.
    pub(super) spent_until: u64,
    /// A backend is asked when the connection's time is over.
    pub(super) refreshed_by_backend: bool,
    /// When a backend is to be asked whether the subscription goes on.
    pub(super) subscription_until: Option<Time>,
    /// What backends get to see of its handshake; absent where none is ever asked.
    pub(super) forwarded: Option<Box<[(String, String)]>>,
    /// Messages that wait for a backend; most clients never have any.
    pub(super) line: Option<Box<Line>>,
}

/// Messages that wait for their turn.
#[derive(Debug)]
pub(super) struct Line {
    /// Whether a backend is being asked about the message before them.
    pub(super) is_busy: bool,
    messages: VecDeque<Data>,
    bytes: usize,
    /// Shared with all others that wait.
    room: Arc<Room>,
}

/// What a backend is asked about.
#[derive(Debug)]
pub(in crate::gateway) enum Asked {
    Connect,
    /// To subscribe; the data are what was to be said to the client anyway.
    Subscribe(Option<Data>),
    /// To publish this.
    Publish(Data),
    Refresh,
    SubRefresh,
}

impl Session {
    /// Whether this is the channel that it has come for; the server may have subscribed it to others as well.
    pub(in crate::gateway) fn is_for(&self, channel: &str) -> bool {
        *self.channel == *channel
    }

    pub(super) fn new(mut opening: Opening) -> Self {
        let forwarded = std::mem::take(&mut opening.forwarded);
        Self {
            channel: Arc::clone(&opening.channel),
            client: new_client_id(),
            lane: match (opening.offsets, opening.echo) {
                (false, true) => RAW,
                (false, false) => RAW_TO_OTHERS,
                (true, true) => RAW_WITH_OFFSETS,
                (true, false) => RAW_WITH_OFFSETS_TO_OTHERS,
            },
            opening: Some(Box::new(opening)),
            spent_until: 0,
            refreshed_by_backend: false,
            subscription_until: None,
            forwarded: (!forwarded.is_empty()).then(|| forwarded.into()),
            line: None,
        }
    }

    /// When something is due for it, if its connection expires at `expire_at`.
    pub(in crate::gateway) fn next_due(&self, expire_at: Option<Time>) -> Option<Time> {
        [expire_at, self.subscription_until].into_iter().flatten().min()
    }

    /// Whether its next message has to wait: until it is subscribed, and behind those that wait already.
    pub(super) fn is_held_up(&self) -> bool {
        self.opening.is_some() || self.line.as_ref().is_some_and(|line| line.is_busy || !line.messages.is_empty())
    }

    pub(super) fn line(&mut self, room: &Arc<Room>) -> &mut Line {
        self.line.get_or_insert_with(|| Box::new(Line::new(room)))
    }

    /// What a backend was asked about is decided.
    pub(super) fn is_answered(&mut self) {
        if let Some(line) = &mut self.line {
            line.is_busy = false;
        }
    }

    /// The next message, if nothing before it is under way.
    pub(super) fn next_message(&mut self) -> Option<Data> {
        let line = self.line.as_mut().filter(|line| !line.is_busy)?;
        let Some(next) = line.messages.pop_front() else {
            self.line = None;
            return None;
        };
        line.bytes -= next.bytes.len();
        line.room.give(next.bytes.len());
        Some(next)
    }
}

impl Line {
    fn new(room: &Arc<Room>) -> Self {
        Self { is_busy: false, messages: VecDeque::new(), bytes: 0, room: Arc::clone(room) }
    }

    /// Lets a message wait; `false` if it would be more than so many, or than so many bytes, or if too much waits elsewhere.
    pub(super) fn push(&mut self, message: Data, max_messages: usize, max_bytes: usize) -> bool {
        let len = message.bytes.len();
        let fits = self.messages.len() < max_messages && self.bytes + len <= max_bytes && self.room.take(len);
        if fits {
            self.bytes += len;
            self.messages.push_back(message);
        }
        fits
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.room.give(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::Kind;

    #[test]
    fn so_many_messages_and_bytes_may_wait() {
        let message = |len| Data::new(Kind::Binary, &vec![0; len]);
        let room = Arc::default();
        let mut line = Line::new(&room);
        assert!([4, 3, 3].map(|len| line.push(message(len), 10, 10)).iter().all(|fits| *fits));
        assert!(!line.push(message(1), 10, 10), "eleven bytes");
        assert!(line.push(message(0), 4, 10));
        assert!(!line.push(message(0), 4, 10), "five messages");

        let mut session = Session::new(Opening::default());
        session.line = Some(Box::new(line));
        let lens: Vec<usize> = std::iter::from_fn(|| session.next_message()).map(|data| data.bytes.len()).collect();
        assert_eq!(lens, [4, 3, 3, 0]);
        assert!(session.line.is_none(), "nothing is held for those that do not wait");
    }

    #[test]
    fn all_who_wait_share_one_room_and_leave_it_with_their_client() {
        let room = Arc::default();
        let most = Data::new(Kind::Binary, &vec![0; 40 << 20]);
        let (mut one, mut other) = (Line::new(&room), Line::new(&room));
        assert!(one.push(most.clone(), 10, usize::MAX));
        assert!(!other.push(most.clone(), 10, usize::MAX));
        drop(one);
        assert!(other.push(most, 10, usize::MAX));
    }
}
