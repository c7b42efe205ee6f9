//! A channel: its subscribers and its stream; and all channels, by name.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use slab::Slab;

use super::stream::Stream;
use super::{Receiver, SessionKey};

/// Names a channel while it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ChannelKey(u32);

/// Who listens, and what is kept.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) name: Arc<str>,
    /// All subscribers. Shared with the effects that are not carried out yet.
    pub(super) receivers: Arc<Vec<Receiver>>,
    /// The subscribers that hear of joins and leaves.
    pub(super) listeners: Vec<Receiver>,
    pub(super) stream: Option<Box<Stream>>,
}

/// The channels that have a subscriber or a stream.
#[derive(Debug, Default)]
pub(super) struct Channels {
    by_name: HashMap<Arc<str>, ChannelKey>,
    // Boxed, so that what a crowd of channels leaves behind is small.
    all: Slab<Box<Channel>>,
}

impl Channels {
    pub(super) fn find(&self, name: &str) -> Option<ChannelKey> {
        self.by_name.get(name).copied()
    }

    pub(super) fn find_or_add(&mut self, name: &str) -> ChannelKey {
        if let Some(key) = self.find(name) {
            return key;
        }
        let name: Arc<str> = name.into();
        let channel =
            Channel { name: Arc::clone(&name), receivers: Arc::default(), listeners: Vec::new(), stream: None };
        let key = ChannelKey(u32::try_from(self.all.insert(Box::new(channel))).expect("fewer than 2^32 channels"));
        self.by_name.insert(name, key);
        key
    }

    pub(super) fn get(&self, key: ChannelKey) -> Option<&Channel> {
        self.all.get(key.0 as usize).map(AsRef::as_ref)
    }

    pub(super) fn get_mut(&mut self, key: ChannelKey) -> Option<&mut Channel> {
        self.all.get_mut(key.0 as usize).map(AsMut::as_mut)
    }

    pub(super) fn by_name(&self, name: &str) -> Option<&Channel> {
        self.find(name).and_then(|key| self.get(key))
    }

    pub(super) fn remove(&mut self, key: ChannelKey) {
        if let Some(channel) = self.all.try_remove(key.0 as usize) {
            self.by_name.remove(&channel.name);
            shrink(&mut self.by_name);
            if self.all.is_empty() {
                self.all.shrink_to_fit();
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn keys(&self) -> Vec<ChannelKey> {
        self.by_name.values().copied().collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.all.iter().map(|(_, channel)| channel.as_ref())
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Channel> {
        self.all.iter_mut().map(|(_, channel)| channel.as_mut())
    }
}

/// Adds to a list; where it is now, for [`leave`].
pub(super) fn join(list: &mut Vec<Receiver>, receiver: Receiver) -> u32 {
    if list.capacity() == 0 {
        // Most lists have one all their life.
        list.reserve_exact(1);
    }
    let at = u32::try_from(list.len()).expect("fewer than 2^32 sessions");
    list.push(receiver);
    at
}

/// Takes out of a list what is at `at`; the session that stands there now, if any.
#[must_use]
pub(super) fn leave(list: &mut Vec<Receiver>, at: u32) -> Option<SessionKey> {
    let at = at as usize;
    list.swap_remove(at);
    if list.capacity() > 64 && list.len() < list.capacity() / 4 {
        list.shrink_to(2 * list.len());
    }
    list.get(at).map(|moved| moved.key)
}

/// Gives back the room of a map that is nearly empty, and of which there is one.
pub(super) fn shrink<K: Eq + Hash, V, S: BuildHasher>(map: &mut HashMap<K, V, S>) {
    if map.capacity() > 1024 && map.len() < map.capacity() / 8 {
        map.shrink_to(2 * map.len());
    }
}

/// Gives back the room of a map that is nearly empty, and of which there is one for each session: all of it, at last.
pub(super) fn shrink_own<K: Eq + Hash, V, S: BuildHasher>(map: &mut HashMap<K, V, S>) {
    if map.is_empty() || map.len() < map.capacity() / 8 {
        map.shrink_to(2 * map.len());
    }
}

/// Whether `name` is as `pattern` says, in which `*` stands for any characters. Takes at most their lengths' product.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut here) = (0, 0);
    // Where the last `*` was, and how far it reaches by now.
    let mut star: Option<(usize, usize)> = None;
    while here < name.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, here));
            at += 1;
        } else if pattern.get(at) == Some(&name[here]) {
            (at, here) = (at + 1, here + 1);
        } else if let Some((star_at, reaches)) = star {
            star = Some((star_at, reaches + 1));
            (at, here) = (star_at + 1, reaches + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_any_characters_by_a_star() {
        let rows = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "chat:room", true),
            ("chat:*", "chat:", true),
            ("chat:*", "chat:room", true),
            ("chat:*", "chat", false),
            ("*:room", "chat:room", true),
            ("*:room", "chat:room2", false),
            ("*room*", "chat:room2", true),
            ("c*t:*m", "chat:room", true),
            ("a*b*c", "abbc", true),
            ("a*b*c", "acb", false),
            ("a*ab", "aab", true),
            ("a*ab", "aaab", true),
            ("**", "x", true),
            ("chat", "chat", true),
            ("chat", "chats", false),
        ];
        for (pattern, name, expected) in rows {
            assert_eq!(matches(pattern, name), expected, "{pattern:?} {name:?}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_longer_than_the_lengths_product() {
        let pattern = "a*".repeat(100) + "b";
        assert!(!matches(&pattern, &"a".repeat(10_000)));
    }

    #[test]
    fn the_room_of_names_that_are_gone_is_given_back() {
        let mut channels = Channels::default();
        let keys: Vec<_> = (0..100_000).map(|number| channels.find_or_add(&format!("channel{number}"))).collect();
        assert_eq!(channels.len(), 100_000);
        for key in keys {
            channels.remove(key);
        }
        assert_eq!((channels.len(), channels.by_name.capacity() <= 1024, channels.all.capacity()), (0, true, 0));
    }
}
