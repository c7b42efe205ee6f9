//! What a store keeps to when its disk, its process or its machine fails, at each step of what it does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::directory::Directory;
use super::journal::{Change, Journal};
use super::simulated::Simulated;
use super::writer::{Ending, Queue, Writer};
use super::{StoreError, StoreEvent};
use crate::push::{Data, Publication, Record, RecordBody, Sequence, Time};

const STORE: &str = "streams.redb";

fn record(sequence: u64) -> Record {
    let data =
        Data::json(&format!("{{\"number\":{sequence},\"rest\":\"{}\"}}", "x".repeat(sequence as usize % 7 * 90)));
    let time = Time(1_000 + sequence);
    let publication = Arc::new(Publication { offset: sequence, data, info: None, tags: [].into(), time });
    let (channel, epoch) = ("channel".into(), "epoch".into());
    Record {
        sequence: Sequence(sequence),
        body: RecordBody::Publication { channel, epoch, publication, idempotency_key: None },
    }
}

fn appends(sequences: std::ops::Range<u64>) -> Vec<Change> {
    sequences.map(|sequence| Change::Append(record(sequence))).collect()
}

fn forget(sequences: impl IntoIterator<Item = u64>) -> Change {
    Change::Forget(sequences.into_iter().map(Sequence).collect())
}

/// What a directory brings back: its sequences, the last there ever was, whether it was closed properly.
fn reopen(directory: &Simulated) -> Result<(Vec<u64>, u64, bool), StoreError> {
    let mut sequences = Vec::new();
    let journal = Journal::open(directory, |found| {
        assert_eq!(found, record(found.sequence.0), "a record is as it was");
        sequences.push(found.sequence.0);
    })?;
    Ok((sequences, journal.last().0, journal.was_clean()))
}

/// A writer without a thread of its own.
struct Driven {
    writer: Writer,
    queue: Arc<Queue>,
    told: Arc<Mutex<Vec<StoreEvent>>>,
}

impl Driven {
    fn open(directory: &Simulated) -> Result<Self, StoreError> {
        let journal = Journal::open(directory, |_| ())?;
        let (queue, told) = (Arc::new(Queue::default()), Arc::new(Mutex::new(Vec::new())));
        let tell = {
            let told = Arc::clone(&told);
            Box::new(move |event| told.lock().unwrap().push(event))
        };
        let mut writer = Writer::new(Box::new(directory.clone()), journal, Arc::clone(&queue), tell);
        writer.retry_after(Duration::ZERO);
        Ok(Self { writer, queue, told })
    }

    /// Has these written as one commit; what was told.
    fn write(&mut self, changes: Vec<Change>) -> Vec<StoreEvent> {
        for change in changes {
            self.queue.push(change);
        }
        let taken = self.queue.take().unwrap();
        self.writer.write(taken);
        assert_eq!(self.queue.waiting(), 0);
        std::mem::take(&mut self.told.lock().unwrap())
    }

    fn end(self, ending: Ending) -> Result<(), StoreError> {
        self.writer.end(ending)
    }
}

/// Publishes and forgets until something fails: what is on disk for certain, and what may be there instead.
fn work(directory: &Simulated) -> (Vec<u64>, Vec<u64>) {
    let Ok(mut driven) = Driven::open(directory) else { return (vec![], vec![]) };
    let mut kept = Vec::new();
    for batch in 0..6 {
        let sequences = 1 + batch * 5..6 + batch * 5;
        let mut changes = appends(sequences.clone());
        let mut next: Vec<_> = kept.iter().copied().chain(sequences.clone()).collect();
        if batch % 2 == 1 {
            let gone = [batch * 5 - 3, batch * 5 - 1];
            changes.insert(3, forget(gone));
            next.retain(|sequence| !gone.contains(sequence));
        }
        match &driven.write(changes)[..] {
            [StoreEvent::Committed(highest)] => assert_eq!(highest.0, sequences.end - 1),
            [StoreEvent::Failed { from, .. }] => {
                assert_eq!(from.0, sequences.start);
                return (kept, next);
            }
            other => panic!("{other:?}"),
        }
        kept = next;
    }
    let _ = driven.end(Ending::Clean);
    (kept.clone(), kept)
}

/// The process, or the machine with whatever was not synced, dies at each step: what was told to be on disk is there, the
/// commit that was under way is there whole or not at all, and the store opens without a word.
#[test]
fn whatever_dies_at_any_step_what_was_committed_is_there() {
    let whole = Simulated::new(0);
    let (all, _) = work(&whole);
    assert_eq!(reopen(&whole).unwrap(), (all, 30, true));

    for step in 0..whole.steps() {
        let directory = Simulated::new(step);
        directory.fail_after(step);
        let (kept, or) = work(&directory);
        let crashes = (0..2).map(|_| directory.after_crash());
        for (number, dead) in [directory.after_kill()].into_iter().chain(crashes).enumerate() {
            match reopen(&dead) {
                Ok((found, last, _)) => {
                    assert!(
                        found == kept || found == or,
                        "step {step}, death {number}: {found:?}, not {kept:?} or {or:?}"
                    );
                    assert!(last >= found.last().copied().unwrap_or(0), "step {step}, death {number}");
                }
                Err(error) => panic!("step {step}, death {number}: {error}"),
            }
            // And again, though nobody closed it.
            let (found, _, is_clean) = reopen(&dead).unwrap();
            assert!((found == kept || found == or) && !is_clean, "step {step}, death {number}");
        }
    }
}

/// The disk fails at each step, and comes back: what was told to have failed is not there, nor what was given up for it;
/// all else is.
#[test]
fn a_disk_that_comes_back_has_what_was_committed_and_nothing_that_was_given_up() {
    let mut failures = 0;
    for step in 0.. {
        let directory = Simulated::new(step);
        let mut driven = Driven::open(&directory).unwrap();
        driven.write(appends(1..5));
        directory.fail_after(step);
        let told = driven.write(appends(5..9));
        directory.heal();
        if let [StoreEvent::Committed(_)] = told[..] {
            assert!(step > 3, "the disk has failed somewhere");
            break;
        }
        failures += 1;
        let [StoreEvent::Failed { from: Sequence(5), .. }] = &told[..] else { panic!("step {step}: {told:?}") };

        // These are appended before it is heard of; then 11 is left out.
        assert_eq!(driven.write(appends(9..11)), [], "step {step}");
        let told = driven.write([appends(12..14), vec![forget([1])]].concat());
        assert_eq!(told, [StoreEvent::Committed(Sequence(13))], "step {step}");

        for death in [directory.after_kill(), directory.after_crash()] {
            assert_eq!(reopen(&death).unwrap(), (vec![2, 3, 4, 12, 13], 13, false), "step {step}");
        }
        driven.end(Ending::Clean).unwrap();
        let (found, _, is_clean) = reopen(&directory).unwrap();
        assert_eq!(found, [2, 3, 4, 12, 13], "step {step}");
        assert!(!is_clean, "something was given up, so it is not all there");
    }
    assert!(failures > 3);
}

#[test]
fn a_disk_that_stays_full_fails_each_batch_and_forgets_once_it_can() {
    let directory = Simulated::new(1);
    let mut driven = Driven::open(&directory).unwrap();
    driven.write(appends(1..5));
    directory.fail_after(0);
    for batch in 1..5 {
        let mut changes = vec![forget([batch, batch * 10])];
        changes.extend(appends(batch * 10..batch * 10 + 2));
        let [StoreEvent::Failed { from, error }] = &driven.write(changes)[..] else { panic!("it has been written") };
        assert_eq!(from.0, batch * 10);
        assert!(error.contains("storage full") || error.contains("no storage space"), "{error}");
    }
    assert_eq!(driven.write(vec![forget([3])]), [], "a forget that fails loses nothing");
    directory.heal();
    assert_eq!(driven.write(appends(50..51)), [StoreEvent::Committed(Sequence(50))]);
    assert_eq!(reopen(&directory.after_kill()).unwrap().0, [50]);
}

#[test]
fn a_store_that_failed_is_left_alone_for_a_while() {
    let directory = Simulated::new(1);
    let mut driven = Driven::open(&directory).unwrap();
    driven.writer.retry_after(Duration::from_secs(3600));
    directory.fail_after(0);
    assert!(matches!(driven.write(appends(1..2))[..], [StoreEvent::Failed { .. }]));
    directory.heal();
    let steps = directory.steps();
    assert!(matches!(driven.write(appends(3..4))[..], [StoreEvent::Failed { from: Sequence(3), .. }]));
    assert_eq!(directory.steps(), steps, "it was not touched");
    let error = driven.end(Ending::Clean).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
}

/// One byte of the database is other than it was written: either nobody can tell, or it is said, and nothing is touched.
/// Never are other records brought back, nor fewer.
#[test]
fn damage_is_told_or_without_effect() {
    for ending in [None, Some(Ending::Clean)] {
        let directory = Simulated::new(1);
        let mut driven = Driven::open(&directory).unwrap();
        for batch in 0..20 {
            driven.write(appends(1 + batch * 5..6 + batch * 5));
            driven.write(vec![forget([batch * 5 + 2])]);
        }
        let image = match ending {
            Some(ending) => {
                driven.end(ending).unwrap();
                directory
            }
            None => directory.after_kill(),
        };
        let expected = reopen(&image.after_kill()).unwrap();
        let whole = image.contents(STORE).unwrap();

        let (mut told, mut without_effect) = (0, 0);
        for place in places(&whole) {
            let damaged = image.after_kill();
            let medium = damaged.open(STORE).unwrap();
            medium.write(place as u64, &[whole[place] ^ 1 << (place % 8)]).unwrap();
            let before = damaged.contents(STORE).unwrap();
            if let Ok((records, last, is_clean)) = reopen(&damaged) {
                without_effect += 1;
                assert_eq!((&records, last), (&expected.0, expected.1), "byte {place}");
                assert!(expected.2 || !is_clean, "byte {place}");
            } else {
                told += 1;
                assert!(damaged.contents(STORE).unwrap() == before, "byte {place}: it has been written to");
            }
        }
        println!("{ending:?}: of {} bytes, {told} told and {without_effect} without effect", whole.len());
        assert!(told > 100 && without_effect > 100);
    }
}

/// All of the header, and of each page that is used its begin and some bytes all over it.
fn places(whole: &[u8]) -> Vec<usize> {
    const PAGE: usize = 4096;
    let header = 0..320;
    let pages = whole.chunks(PAGE).enumerate().skip(1).filter(|(_, page)| page.iter().any(|byte| *byte != 0));
    let in_pages = pages.flat_map(|(index, page)| {
        let all_over = (0..page.len()).skip(index * 37 % 389).step_by(389);
        (0..8).chain(all_over).map(move |place| index * PAGE + place)
    });
    header.chain(in_pages).collect()
}
