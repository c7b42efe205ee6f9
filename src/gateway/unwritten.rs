//! What waits to be written to disk: so much of it, and then publishers have to wait, too.

use std::collections::VecDeque;
use std::time::Instant;

use crate::push::{Record, RecordBody, Sequence};

/// The records that the store was given and has told nothing of yet.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    records: VecDeque<Waiting>,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    sequence: Sequence,
    bytes: usize,
    since: Instant,
}

impl Unwritten {
    /// What a record takes besides its data, about.
    const OVERHEAD: usize = 256;

    /// The store is given this.
    pub(super) fn add(&mut self, record: &Record, now: Instant) {
        let data = match &record.body {
            RecordBody::Publication { publication, .. } => publication.data.bytes.len(),
            _ => 0,
        };
        let bytes = data + Self::OVERHEAD;
        self.records.push_back(Waiting { sequence: record.sequence, bytes, since: now });
        self.bytes += bytes;
    }

    /// Everything up to this is on disk; `each` is told since when it has waited.
    pub(super) fn written(&mut self, up_to: Sequence, mut each: impl FnMut(Instant)) {
        while let Some(&Waiting { sequence, bytes, since }) = self.records.front()
            && sequence <= up_to
        {
            self.records.pop_front();
            self.bytes -= bytes;
            each(since);
        }
    }

    /// Everything from this on has been given up.
    pub(super) fn lost(&mut self, from: Sequence) {
        while let Some(&Waiting { sequence, bytes, .. }) = self.records.back()
            && sequence >= from
        {
            self.records.pop_back();
            self.bytes -= bytes;
        }
    }

    /// Records that wait.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Bytes that wait.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::push::{Data, Publication, Time};

    fn record(sequence: u64, len: usize) -> Record {
        let publication = Publication {
            offset: sequence,
            data: Data::json(&"1".repeat(len)),
            info: None,
            tags: BTreeMap::new(),
            time: Time(0),
        };
        let body = RecordBody::Publication {
            channel: "news".into(),
            epoch: "e".into(),
            publication: Arc::new(publication),
            idempotency_key: None,
        };
        Record { sequence: Sequence(sequence), body }
    }

    #[test]
    fn what_is_written_or_lost_waits_no_more() {
        let start = Instant::now();
        let mut unwritten = Unwritten::default();
        for (sequence, len) in [(3, 100), (4, 200), (5, 300), (6, 400)] {
            unwritten.add(&record(sequence, len), start + Duration::from_millis(sequence));
        }
        let each = Unwritten::OVERHEAD;
        assert_eq!(unwritten.bytes(), 1000 + 4 * each);
        let mut waited = Vec::new();
        unwritten.written(Sequence(2), |since| waited.push(since - start));
        assert_eq!(unwritten.bytes(), 1000 + 4 * each);
        unwritten.written(Sequence(4), |since| waited.push(since - start));
        assert_eq!((unwritten.bytes(), unwritten.len()), (700 + 2 * each, 2));
        assert_eq!(waited, [3, 4].map(Duration::from_millis));
        unwritten.lost(Sequence(6));
        assert_eq!(unwritten.bytes(), 300 + each);
        unwritten.written(Sequence(u64::MAX), |since| assert_eq!(since - start, Duration::from_millis(5)));
        assert_eq!(unwritten.bytes(), 0);
    }
}
