//! What a client has to send, over all of its connections: a bounded queue, and the messages to be sent again.

use std::collections::{BTreeMap, VecDeque};

use super::OwnedMessage;

/// A message that is sent again after each reconnect, until it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResubmitId(u64);

/// The queue and what is kept.
///
/// A message that was kept and sent is queued again when its connection is lost, before all that was not sent yet: so
/// the peer sees everything in the order in which it was given, and what it may have seen already once more.
#[derive(Debug)]
pub(super) struct Outgoing {
    queue: VecDeque<Queued>,
    kept: BTreeMap<ResubmitId, OwnedMessage>,
    next: u64,
    /// What all of them cost, in bytes, and what they may.
    bytes: usize,
    cap: usize,
    /// Whether the loop has been told, and has not looked yet.
    pub(super) woken: bool,
    pub(super) stopped: bool,
}

#[derive(Debug)]
enum Queued {
    Once(OwnedMessage),
    Kept(ResubmitId),
}

/// There is no room.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// What became of the first in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is gone from the queue; on to the next.
    Sent,
    /// The same, but the next has to wait.
    SentLast,
    /// It has to wait.
    Wait,
}

impl Outgoing {
    /// What a message costs besides its bytes.
    const OVERHEAD: usize = 64;

    pub(super) fn new(cap: usize) -> Self {
        Self { queue: VecDeque::new(), kept: BTreeMap::new(), next: 0, bytes: 0, cap, woken: false, stopped: false }
    }

    /// Queues a message that is sent at most once.
    pub(super) fn push(&mut self, message: OwnedMessage) -> Result<(), Full> {
        self.charge(&message)?;
        self.queue.push_back(Queued::Once(message));
        Ok(())
    }

    /// Queues a message that is sent until it is acknowledged.
    pub(super) fn keep(&mut self, message: OwnedMessage) -> Result<ResubmitId, Full> {
        self.charge(&message)?;
        let id = ResubmitId(self.next);
        self.next += 1;
        self.kept.insert(id, message);
        self.queue.push_back(Queued::Kept(id));
        Ok(id)
    }

    /// Forgets a message that was kept; whether it still was.
    pub(super) fn acknowledge(&mut self, id: ResubmitId) -> bool {
        let message = self.kept.remove(&id);
        self.bytes -= message.as_ref().map_or(0, Self::cost);
        message.is_some()
    }

    /// Offers the queue to `send`, first come first.
    pub(super) fn flush(&mut self, mut send: impl FnMut(&OwnedMessage) -> Step) {
        while let Some(first) = self.queue.front() {
            let message = match first {
                Queued::Once(message) => Some(message),
                Queued::Kept(id) => self.kept.get(id),
            };
            // What was acknowledged meanwhile needs no sending.
            let step = message.map_or(Step::Sent, &mut send);
            if step == Step::Wait {
                return;
            }
            if let Some(Queued::Once(message)) = self.queue.pop_front() {
                self.bytes -= Self::cost(&message);
            }
            if step == Step::SentLast {
                return;
            }
        }
    }

    /// The connection is lost: what was kept and sent is due again.
    pub(super) fn lost(&mut self) {
        let first_unsent = self.queue.iter().find_map(|queued| match queued {
            Queued::Kept(id) => Some(*id),
            Queued::Once(_) => None,
        });
        // Kept messages enter the queue, and leave it, in the order of their ids.
        let sent = self.kept.keys().rev().filter(|id| first_unsent.is_none_or(|unsent| **id < unsent));
        for id in sent {
            self.queue.push_front(Queued::Kept(*id));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Messages that wait to be sent.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    fn charge(&mut self, message: &OwnedMessage) -> Result<(), Full> {
        let bytes = self.bytes.saturating_add(Self::cost(message));
        if bytes > self.cap {
            return Err(Full);
        }
        self.bytes = bytes;
        Ok(())
    }

    fn cost(message: &OwnedMessage) -> usize {
        message.len() + Self::OVERHEAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(outgoing: &mut Outgoing, at_most: usize) -> Vec<String> {
        let mut texts = Vec::new();
        outgoing.flush(|message| {
            if texts.len() == at_most {
                return Step::Wait;
            }
            texts.push(message.as_message().as_text().unwrap().to_owned());
            Step::Sent
        });
        texts
    }

    #[test]
    fn what_is_kept_is_sent_again_in_order_until_it_is_acknowledged() {
        let mut outgoing = Outgoing::new(10_000);
        let a = outgoing.keep("a".into()).unwrap();
        outgoing.push("once".into()).unwrap();
        let b = outgoing.keep("b".into()).unwrap();
        let c = outgoing.keep("c".into()).unwrap();
        assert_eq!(sent(&mut outgoing, 3), ["a", "once", "b"]);
        outgoing.push("later".into()).unwrap();

        outgoing.lost();
        assert!(outgoing.acknowledge(a));
        assert!(!outgoing.acknowledge(a), "only once");
        assert_eq!(sent(&mut outgoing, 9), ["b", "c", "later"], "what is sent once is not sent again");

        outgoing.lost();
        outgoing.lost();
        assert_eq!(sent(&mut outgoing, 9), ["b", "c"], "losing two connections without a message between");
        assert!(outgoing.acknowledge(b) && outgoing.acknowledge(c));
        outgoing.lost();
        assert!(outgoing.is_empty());
        assert_eq!(outgoing.bytes, 0, "nothing is left to be paid for");
    }

    #[test]
    fn the_cap_counts_what_waits_and_what_is_kept() {
        let mut outgoing = Outgoing::new(2 * (Outgoing::OVERHEAD + 10));
        let id = outgoing.keep("0123456789".into()).unwrap();
        outgoing.push("0123456789".into()).unwrap();
        assert_eq!(outgoing.push("".into()), Err(Full), "even nothing costs something");
        assert_eq!(sent(&mut outgoing, 9).len(), 2);
        outgoing.push("0123456789".into()).unwrap();
        assert_eq!(outgoing.keep("0123456789".into()), Err(Full));
        outgoing.acknowledge(id);
        assert!(outgoing.keep("0123456789".into()).is_ok());
    }

    #[test]
    fn a_connection_that_is_full_leaves_the_rest_in_the_queue() {
        let mut outgoing = Outgoing::new(10_000);
        for text in ["a", "b", "c"] {
            outgoing.push(text.into()).unwrap();
        }
        outgoing.flush(|_| Step::SentLast);
        assert_eq!(sent(&mut outgoing, 9), ["b", "c"]);
    }
}
