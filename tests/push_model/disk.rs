//! A store that is as slow, as broken and as forgetful as one may be.

use std::collections::{BTreeMap, VecDeque};

use loopwire::push::{Record, RecordBody, Restored, Sequence};

enum Work {
    Store(Record),
    Forget(Vec<Sequence>),
}

/// What the hub has yet to hear.
#[derive(Debug)]
pub enum News {
    Committed(Sequence),
    Failed(Sequence),
}

#[derive(Default)]
pub struct Disk {
    /// What a crash does not take.
    pub written: BTreeMap<Sequence, RecordBody>,
    last: Sequence,
    queue: VecDeque<Work>,
    news: VecDeque<News>,
    /// The last record that was lost: what follows it without a gap was made before the hub heard of it.
    refusing: Option<Sequence>,
    pub has_failed: bool,
}

impl Disk {
    pub fn append(&mut self, record: Record) {
        if let Some(lost) = self.refusing {
            if record.sequence.0 == lost.0 + 1 {
                self.refusing = Some(record.sequence);
                return;
            }
            self.refusing = None;
        }
        self.queue.push_back(Work::Store(record));
    }

    pub fn forget(&mut self, sequences: Vec<Sequence>) {
        self.queue.push_back(Work::Forget(sequences));
    }

    /// Does some of what waits, in one commit.
    pub fn commit(&mut self, works: usize) {
        let mut stored = None;
        for work in self.queue.drain(..works.min(self.queue.len())) {
            match work {
                Work::Store(record) => {
                    stored = Some(record.sequence);
                    self.written.insert(record.sequence, record.body);
                }
                Work::Forget(sequences) => {
                    for sequence in sequences {
                        let was_there = self.written.remove(&sequence).is_some();
                        assert!(was_there || self.has_failed, "{sequence:?} is forgotten, but not stored");
                    }
                }
            }
        }
        if let Some(stored) = stored {
            assert!(stored > self.last, "sequences go back");
            self.last = stored;
            self.news.push_back(News::Committed(stored));
        }
    }

    pub fn commit_all(&mut self) {
        self.commit(self.queue.len());
    }

    /// Loses everything that waits to be stored. What is to be forgotten waits on.
    pub fn fail(&mut self) {
        let lost = |work: &Work| if let Work::Store(record) = work { Some(record.sequence) } else { None };
        let Some(from) = self.queue.iter().find_map(lost) else { return };
        self.refusing = self.queue.iter().rev().find_map(lost);
        self.queue.retain(|work| lost(work).is_none());
        self.has_failed = true;
        self.news.push_back(News::Failed(from));
    }

    pub fn news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// The next process's store; `None` for a crash, `Some` if all was written before.
    pub fn restart(self, clean: bool) -> (Self, Restored) {
        let records =
            self.written.iter().map(|(&sequence, body)| Record { sequence, body: body.clone() }).collect::<Vec<_>>();
        let restored = Restored { records, last: self.last, clean: clean && !self.has_failed };
        (Self { written: self.written, last: self.last, ..Self::default() }, restored)
    }
}
