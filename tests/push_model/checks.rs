//! What has to be so at any moment, and in the end.

use std::sync::Arc;

use loopwire::push::{Effect, Effects, HistoryRequest, Position, PushError};

use crate::checker::id_of;
use crate::world::{CHANGING, CHANNELS, META_TTL, World};

impl World {
    /// A channel is as its model says, and who is there is there.
    pub fn check(&mut self, channel: &'static str) {
        let mut present: Vec<u128> = match self.hub.presence(channel) {
            Ok(present) => present.iter().map(|info| info.client.0).collect(),
            Err(error) => return assert_eq!((channel, error), (CHANGING, PushError::UnknownChannel)),
        };
        present.sort_unstable();
        let subscribers = self.checker.subscribers(channel);
        assert_eq!(present, subscribers.iter().map(|client| *client as u128).collect::<Vec<_>>(), "{channel}");
        for client in subscribers {
            let roster = &self.checker.views[&(client, channel)].roster;
            assert!(roster.iter().eq(&present), "client {client} in {channel} knows {roster:?}, there are {present:?}");
        }
        let request = HistoryRequest { limit: usize::MAX, ..HistoryRequest::default() };
        let Ok(history) = self.hub.history(channel, request, self.now) else {
            return assert!(self.options(channel).is_none_or(|options| !options.has_history()));
        };
        let ids: Vec<usize> = history.publications.iter().map(|it| id_of(it)).collect();
        for publication in &history.publications {
            let position = Position { offset: publication.offset, epoch: Arc::clone(&history.position.epoch) };
            self.checker.published(id_of(publication), Some(&position));
        }
        self.checker.is_end_of_log(channel, &ids);
        if channel == CHANGING {
            return;
        }
        let options = self.options(channel).unwrap();
        let model = self.models.get_mut(channel).unwrap();
        model.trim(&options, self.now);
        let expected: Vec<usize> = model.kept.iter().map(|&(_, id, _)| id).collect();
        assert_eq!(ids, expected, "the history of {channel}");
        if let Some(position) = model.position.as_ref().filter(|it| **it != history.position) {
            let is_over = position.offset == 0 || self.now.since(model.touched.max(model.emptied)) >= META_TTL;
            assert!(is_over, "{channel} stood at {position:?}, not {:?}", history.position);
            assert_ne!(position.epoch, history.position.epoch, "{channel}: a new stream in an old epoch");
            self.summary.gone += 1;
        }
        model.position = Some(history.position);
    }

    /// Nothing that nobody needs is kept on disk.
    pub fn check_leaks(&mut self) {
        if self.disk.has_failed {
            return;
        }
        // Two epochs; for each stream a mark, and what is held for its key.
        let most = self.hub.counts().publications + 2 + CHANNELS.len() + self.keys.len() + CHANNELS.len();
        assert!(self.disk.written.len() <= most, "{:#?}", self.disk.written);
        self.now = self.now.plus(40 * 24 * 3600 * 1000);
        let mut effects = Effects::new();
        for key in self.sessions.clone().into_iter().flatten() {
            self.hub.disconnect(key, self.now, &mut effects);
        }
        effects.retain(|effect| matches!(effect, Effect::Store(_) | Effect::Forget(_)));
        self.settle(effects);
        while self.hub.next_due().is_some_and(|due| due <= self.now) {
            let mut effects = Effects::new();
            self.hub.tick(self.now, &mut effects);
            self.settle(effects);
        }
        self.catch_up();
        assert_eq!((self.hub.counts().channels, self.hub.counts().publications), (0, 0));
        assert_eq!(self.disk.written.len(), 2, "only two epochs are left: {:#?}", self.disk.written);
        assert_eq!(self.hub.next_due(), None);
    }
}
