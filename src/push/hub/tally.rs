//! How many subscriptions there are.

use std::collections::BTreeMap;

use crate::push::ChannelName;

/// All subscriptions, and those of each namespace that has some.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) total: usize,
    /// By the name of the namespace; empty for channels without one.
    pub(super) by_namespace: BTreeMap<Box<str>, usize>,
}

impl Tally {
    /// One more to this channel.
    pub(super) fn add(&mut self, channel: &str) {
        self.total += 1;
        let namespace = namespace(channel);
        match self.by_namespace.get_mut(namespace) {
            Some(count) => *count += 1,
            None => drop(self.by_namespace.insert(namespace.into(), 1)),
        }
    }

    /// One less.
    pub(super) fn remove(&mut self, channel: &str) {
        self.total -= 1;
        let namespace = namespace(channel);
        if let Some(count) = self.by_namespace.get_mut(namespace) {
            *count -= 1;
            if *count == 0 {
                self.by_namespace.remove(namespace);
            }
        }
    }
}

fn namespace(channel: &str) -> &str {
    ChannelName::parse(channel).namespace.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_counted_while_they_have_subscriptions() {
        let mut tally = Tally::default();
        for channel in ["news", "chat:a", "$chat:b", "chat:c:d", "#42"] {
            tally.add(channel);
        }
        let counts =
            |tally: &Tally| tally.by_namespace.iter().map(|(name, n)| format!("{name}={n}")).collect::<Vec<_>>();
        assert_eq!((tally.total, counts(&tally)), (5, vec!["=2".to_owned(), "chat=3".to_owned()]));
        for channel in ["news", "#42", "chat:a"] {
            tally.remove(channel);
        }
        assert_eq!((tally.total, counts(&tally)), (2, vec!["chat=2".to_owned()]));
    }
}
