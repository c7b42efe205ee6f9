//! What waits to be written to disk: so much of it, and then publishers have to wait, too.

use std::collections::VecDeque;

use crate::push::{Record, RecordBody, Sequence};

/// The records that the store was given and has told nothing of yet.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    records: VecDeque<(Sequence, usize)>,
    bytes: usize,
}

impl Unwritten {
    /// What a record takes besides its data, about.
    const OVERHEAD: usize = 256;

    /// The store is given this.
    pub(super) fn add(&mut self, record: &Record) {
        let data = match &record.body {
            RecordBody::Publication { publication, .. } => publication.data.bytes.len(),
            _ => 0,
        };
        self.records.push_back((record.sequence, data + Self::OVERHEAD));
        self.bytes += data + Self::OVERHEAD;
    }

    /// Everything up to this is on disk.
    pub(super) fn written(&mut self, up_to: Sequence) {
        while let Some(&(sequence, bytes)) = self.records.front()
            && sequence <= up_to
        {
            self.records.pop_front();
            self.bytes -= bytes;
        }
    }

    /// Everything from this on has been given up.
    pub(super) fn lost(&mut self, from: Sequence) {
        while let Some(&(sequence, bytes)) = self.records.back()
            && sequence >= from
        {
            self.records.pop_back();
            self.bytes -= bytes;
        }
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
        let mut unwritten = Unwritten::default();
        for (sequence, len) in [(3, 100), (4, 200), (5, 300), (6, 400)] {
            unwritten.add(&record(sequence, len));
        }
        let each = Unwritten::OVERHEAD;
        assert_eq!(unwritten.bytes(), 1000 + 4 * each);
        unwritten.written(Sequence(2));
        assert_eq!(unwritten.bytes(), 1000 + 4 * each);
        unwritten.written(Sequence(4));
        assert_eq!(unwritten.bytes(), 700 + 2 * each);
        unwritten.lost(Sequence(6));
        assert_eq!(unwritten.bytes(), 300 + each);
        unwritten.written(Sequence(u64::MAX));
        assert_eq!(unwritten.bytes(), 0);
    }
}
