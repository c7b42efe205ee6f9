//! Restarts, and what has to be there after them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use loopwire::push::{Effects, HistoryRequest, Hub, Position, Published, RecordBody, Sequence, Time};

use crate::checker::{Fate, id_of};
use crate::world::{CHANGING, CHANNELS, FAST, KEY_TTL, USERS, World, name};

impl World {
    /// The process ends, properly or not, and another takes its place.
    pub fn restart(&mut self) {
        let mut effects = Effects::new();
        self.hub.tick(self.now, &mut effects);
        self.settle(effects);
        self.trim_models();
        let clean = self.rng.one_in(2);
        if clean {
            self.disk.commit_all();
            self.summary.stops += 1;
        } else {
            // Some of it may have been written without a word.
            let works = self.rng.below(10);
            self.disk.commit(works);
            self.summary.crashes += 1;
        }
        for client in 0..USERS.len() {
            self.sessions[client] = None;
            self.all_left(client);
        }
        let clean = clean && !self.disk.has_failed;
        self.say(format_args!("restart, clean: {clean}, with {:?}", self.disk.written));
        self.survive(clean);
        let (disk, restored) = std::mem::take(&mut self.disk).restart(clean);
        self.disk = disk;
        self.checker.committed = restored.last.0;
        if self.rng.one_in(3) {
            self.now = self.now.plus(self.rng.pick(&[100, 1_000]));
        }
        self.starts += 1_000_003;
        let mut effects = Effects::new();
        self.hub = Hub::new(self.config.clone(), restored, self.starts, self.now, &mut effects);
        self.settle(effects);
        for channel in CHANNELS {
            self.adopt(channel, clean);
            self.check(channel);
        }
    }

    /// After a restart a history may begin earlier than it did, with what had been let go of but was still on disk: after a
    /// crash, or if the configuration had become more generous meanwhile. What was removed is not among it. Where
    /// publishers did not wait, a history may end earlier after a crash, and begin later after several.
    fn adopt(&mut self, channel: &'static str, clean: bool) {
        let request = HistoryRequest { limit: usize::MAX, ..HistoryRequest::default() };
        let Ok(history) = self.hub.history(channel, request, self.now) else { return };
        let Some(options) = self.options(channel) else { return };
        let model = self.models.get_mut(channel).unwrap();
        model.trim(&options, self.now);
        let found: VecDeque<_> = history.publications.iter().map(|it| (it.offset, id_of(it), it.time)).collect();
        let has_all = model.kept.iter().all(|kept| found.contains(kept));
        let begins_later = found.iter().rev().zip(model.kept.iter().rev()).all(|(found, kept)| found == kept);
        let may_end_earlier = channel == FAST && !clean;
        assert!(found.iter().all(|(_, id, _)| !self.hidden.contains(id)), "{channel}: something removed is back");
        if may_end_earlier || has_all || (channel == FAST && begins_later) {
            model.kept = found;
        }
    }

    /// What is on disk is all that there is.
    fn survive(&mut self, clean: bool) {
        let mut stored = BTreeMap::new();
        let mut resets = Vec::new();
        let mut late = Vec::new();
        for (sequence, body) in &self.disk.written {
            match body {
                RecordBody::Publication { channel, epoch, publication, .. } => {
                    let position = Position { offset: publication.offset, epoch: Arc::clone(epoch) };
                    let id = id_of(publication);
                    if matches!(self.checker.fate(id), Fate::Waiting(_)) {
                        late.push((id, name(channel), position.clone(), publication.time));
                    }
                    stored.insert(id, (*sequence, position));
                }
                RecordBody::Reset { channel, offset, .. } => resets.push((name(channel), *sequence, *offset)),
                _ => {}
            }
        }
        for (id, channel, position, time) in late {
            self.checker.survived(id, &position);
            let model = self.models.get_mut(channel).unwrap();
            model.kept.push_back((position.offset, id, time));
            (model.position, model.touched) = (Some(position), model.touched.max(time));
        }
        self.trim_models();
        self.summary.lost += self.checker.lose_waiting();
        for (&channel, model) in &mut self.models {
            let is_stored = |(_, id, _): &(u64, usize, Time)| stored.contains_key(id);
            let may_lose = [FAST, CHANGING].contains(&channel);
            assert!(may_lose || model.kept.iter().all(is_stored), "{channel}: acknowledged and lost");
            for removed in model.removed.drain(..).rev() {
                model.kept.push_front(removed);
            }
            let before = model.kept.len();
            model.kept.retain(|(offset, id, _)| {
                let hides =
                    |at, reset: &(&str, Sequence, u64)| reset.0 == channel && reset.1 > at && reset.2 >= *offset;
                let Some((at, _)) = stored.get(id) else { return false };
                let is_hidden = resets.iter().any(|reset| hides(*at, reset));
                if is_hidden {
                    self.hidden.insert(*id);
                }
                !is_hidden
            });
            // A failure can take something out of the middle: what is before does not count any more.
            let mut offsets = model.kept.iter().map(|(offset, ..)| *offset).rev();
            let last = offsets.next().unwrap_or_default();
            let whole = 1 + offsets.zip((0..last).rev()).take_while(|(offset, expected)| offset == expected).count();
            model.kept.drain(..model.kept.len().saturating_sub(whole));
            self.summary.lost += before - model.kept.len();
            if !clean {
                model.emptied = Time::default();
            }
            if may_lose && !clean {
                model.position = None;
                self.checker.forgets_last(channel, |id| stored.contains_key(&id));
                self.checker.forgets_what_has_no_place(channel);
            }
        }
        self.trim_models();
        let now = self.now;
        self.keys.retain(|(channel, key), (at, published, id)| {
            let position = stored.get(id);
            let was_kept = matches!(published, Published::Now(position) if position.offset > 0);
            let is_due = was_kept && *channel != FAST && now.since(*at) < KEY_TTL;
            assert!(position.is_some() || !is_due, "{channel}: {key:?} is forgotten too early");
            if let Some((_, position)) = position {
                *published = Published::Now(position.clone());
            }
            position.is_some()
        });
    }
}
