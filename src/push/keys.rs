//! Idempotency keys: what was published lately under which key.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::channel::shrink;
use super::{Position, Published, Ticket, Time};

/// The keys of all channels, each for the same time.
#[derive(Debug, Default)]
pub(super) struct Keys {
    by_channel: HashMap<Arc<str>, HashMap<Arc<str>, Remembered>>,
    /// In the order of their time. A key that was forgotten early may still stand here.
    order: VecDeque<(Time, Arc<str>, Arc<str>)>,
}

#[derive(Debug)]
struct Remembered {
    at: Time,
    published: Published,
}

impl Keys {
    /// What became of the publish with this key, if there was one less than `ttl` ago.
    pub(super) fn get(&self, channel: &str, key: &str, now: Time, ttl: u64) -> Option<Published> {
        let remembered = self.by_channel.get(channel)?.get(key)?;
        (now < remembered.at.plus(ttl)).then(|| remembered.published.clone())
    }

    pub(super) fn remember(&mut self, channel: &Arc<str>, key: &Arc<str>, published: Published, at: Time) {
        let keys = self.by_channel.entry(Arc::clone(channel)).or_default();
        keys.insert(Arc::clone(key), Remembered { at, published });
        self.order.push_back((at, Arc::clone(channel), Arc::clone(key)));
    }

    /// What waited under this ticket stands there now.
    pub(super) fn settle(&mut self, channel: &str, key: &str, ticket: Ticket, position: &Position) {
        if let Some(remembered) = self.by_channel.get_mut(channel).and_then(|keys| keys.get_mut(key))
            && remembered.published == Published::Later(ticket)
        {
            remembered.published = Published::Now(position.clone());
        }
    }

    /// What waited under this ticket was not published: the key may try again.
    pub(super) fn refuse(&mut self, channel: &str, key: &str, ticket: Ticket) {
        self.remove_if(channel, key, |remembered| remembered.published == Published::Later(ticket));
    }

    /// Forgets what is older than `ttl`.
    pub(super) fn expire(&mut self, now: Time, ttl: u64) {
        while self.next_due(ttl).is_some_and(|due| now >= due) {
            if let Some((at, channel, key)) = self.order.pop_front() {
                self.remove_if(&channel, &key, |remembered| remembered.at == at);
            }
        }
        if self.order.capacity() > 1024 && self.order.len() < self.order.capacity() / 8 {
            self.order.shrink_to(2 * self.order.len());
        }
    }

    pub(super) fn next_due(&self, ttl: u64) -> Option<Time> {
        self.order.front().map(|(at, ..)| at.plus(ttl))
    }

    fn remove_if(&mut self, channel: &str, key: &str, condition: impl FnOnce(&Remembered) -> bool) {
        let Some(keys) = self.by_channel.get_mut(channel) else { return };
        if keys.get(key).is_some_and(condition) {
            keys.remove(key);
        }
        if keys.is_empty() {
            self.by_channel.remove(channel);
            shrink(&mut self.by_channel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later(ticket: u64) -> Published {
        Published::Later(Ticket(ticket))
    }

    #[test]
    fn keys_are_remembered_for_their_time_and_by_channel() {
        let mut keys = Keys::default();
        let (a, b, key): (Arc<str>, Arc<str>, Arc<str>) = ("a".into(), "b".into(), "key".into());
        keys.remember(&a, &key, later(1), Time(100));
        keys.remember(&b, &key, later(2), Time(150));
        for (now, in_a, in_b) in [(100, true, true), (199, true, true), (200, false, true), (250, false, false)] {
            let found = |channel| keys.get(channel, "key", Time(now), 100);
            assert_eq!((found("a"), found("b")), (in_a.then(|| later(1)), in_b.then(|| later(2))), "{now}");
        }
        keys.expire(Time(199), 100);
        assert_eq!((keys.by_channel.len(), keys.next_due(100)), (2, Some(Time(200))));
        keys.expire(Time(200), 100);
        assert_eq!((keys.by_channel.len(), keys.next_due(100)), (1, Some(Time(250))));
        keys.expire(Time(250), 100);
        assert_eq!((keys.by_channel.len(), keys.next_due(100)), (0, None));
    }

    #[test]
    fn a_refused_key_may_try_again_and_is_then_remembered_for_its_whole_time() {
        let mut keys = Keys::default();
        let (channel, key): (Arc<str>, Arc<str>) = ("a".into(), "key".into());
        keys.remember(&channel, &key, later(1), Time(100));
        keys.refuse("a", "key", Ticket(1));
        assert_eq!(keys.get("a", "key", Time(100), 100), None);
        keys.remember(&channel, &key, later(2), Time(150));
        keys.refuse("a", "key", Ticket(1));
        keys.expire(Time(200), 100);
        assert_eq!(keys.get("a", "key", Time(200), 100), Some(later(2)));
        let position = Position { offset: 3, epoch: "e".into() };
        keys.settle("a", "key", Ticket(1), &position);
        assert_eq!(keys.get("a", "key", Time(200), 100), Some(later(2)));
        keys.settle("a", "key", Ticket(2), &position);
        assert_eq!(keys.get("a", "key", Time(200), 100), Some(Published::Now(position)));
    }
}
