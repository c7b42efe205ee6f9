//! A store on the real disk: what it brings back, whom it refuses, and what a killed process leaves behind.
#![cfg(feature = "gateway")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use loopwire::push::{ClientId, ClientInfo, Data, Kind, Publication, Record, RecordBody, Restored, Sequence, Time};
use loopwire::store::{Store, StoreError, StoreEvent};

/// Far beyond what anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// A directory that is gone with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("store-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn database(&self) -> PathBuf {
        self.0.join("streams.redb")
    }

    fn mark(&self) -> PathBuf {
        self.0.join("streams.mark")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open(dir: &Path) -> (Store, Restored, Receiver<StoreEvent>) {
    let (tell, told) = channel();
    let (store, restored) = Store::open(dir, move |event| drop(tell.send(event))).expect("the store opens");
    (store, restored, told)
}

fn refused(dir: &Path) -> StoreError {
    match Store::open(dir, |_| ()) {
        Ok((_, restored)) => panic!("opened, with {} records", restored.records.len()),
        Err(error) => error,
    }
}

/// Waits until everything up to `sequence` is on disk.
fn committed(told: &Receiver<StoreEvent>, sequence: u64) {
    loop {
        match told.recv_timeout(DEADLINE).expect("the store tells of commits") {
            StoreEvent::Committed(up_to) if up_to.0 >= sequence => return,
            StoreEvent::Committed(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn record(sequence: u64) -> Record {
    let publication = Publication {
        offset: sequence,
        data: Data::json(&format!("{{\"number\":{sequence}}}")),
        info: None,
        tags: BTreeMap::new(),
        time: Time(sequence),
    };
    Record {
        sequence: Sequence(sequence),
        body: RecordBody::Publication {
            channel: "news".into(),
            epoch: "epoch".into(),
            publication: Arc::new(publication),
            idempotency_key: Some(sequence.to_string().into()),
        },
    }
}

fn sequences(restored: &Restored) -> Vec<u64> {
    restored.records.iter().map(|record| record.sequence.0).collect()
}

/// One of each kind, with everything that a record can have.
fn all_kinds() -> Vec<Record> {
    let info = ClientInfo {
        user: "42".into(),
        client: ClientId(u128::MAX / 7),
        conn_info: Some(Data::json("{\"name\":\"Ada\"}")),
        chan_info: Some(Data::new(Kind::Binary, &[0, 255])),
    };
    let publication = Publication {
        offset: 7,
        data: Data::new(Kind::Binary, &vec![1; 100_000]),
        info: Some(info),
        tags: BTreeMap::from([("a".to_owned(), "1".to_owned()), ("ä".to_owned(), String::new())]),
        time: Time(1_700_000_000_000),
    };
    let (channel, epoch): (Arc<str>, Arc<str>) = ("chat:ä".into(), "e1".into());
    let bodies = [
        RecordBody::Epoch { durable: true, epoch: "e0".into() },
        RecordBody::Publication {
            channel: Arc::clone(&channel),
            epoch: Arc::clone(&epoch),
            publication: Arc::new(publication),
            idempotency_key: Some("once".into()),
        },
        RecordBody::Reset { channel, epoch, offset: 7, time: Time(1_700_000_000_001) },
        RecordBody::Epoch { durable: false, epoch: "e2".into() },
    ];
    bodies.into_iter().zip(1..).map(|(body, sequence)| Record { sequence: Sequence(sequence), body }).collect()
}

#[test]
fn what_was_stored_comes_back_and_what_was_forgotten_does_not() {
    let scratch = Scratch::new("back");
    let (store, restored, _told) = open(scratch.path());
    assert_eq!((restored.records.len(), restored.last, restored.clean), (0, Sequence(0), true));
    for record in all_kinds() {
        store.append(record);
    }
    store.close().unwrap();

    let (store, restored, told) = open(scratch.path());
    assert_eq!(restored.records, all_kinds());
    assert_eq!((restored.last, restored.clean), (Sequence(4), true));
    store.forget(vec![Sequence(2), Sequence(4), Sequence(1_000)]);
    store.append(record(9));
    committed(&told, 9);
    store.forget(vec![Sequence(9)]);
    store.close().unwrap();

    let (store, restored, _told) = open(scratch.path());
    assert_eq!(sequences(&restored), [1, 3]);
    assert_eq!(
        (restored.last, restored.clean),
        (Sequence(9), true),
        "a sequence is not used twice, even if it is gone"
    );
    drop(store);
}

#[test]
fn only_a_store_that_was_closed_says_so() {
    let scratch = Scratch::new("clean");
    let (store, _, _told) = open(scratch.path());
    store.append(record(1));
    drop(store);
    let (store, restored, _told) = open(scratch.path());
    assert_eq!((sequences(&restored), restored.clean), (vec![1], false));
    store.close().unwrap();
    let (store, restored, _told) = open(scratch.path());
    assert_eq!((sequences(&restored), restored.clean), (vec![1], true));
    drop(store);
    assert!(!open(scratch.path()).1.clean, "opened and not closed");
}

/// Appends and forgets keep their order, also within one commit.
#[test]
fn a_sequence_may_be_forgotten_and_stored_again() {
    let scratch = Scratch::new("order");
    let (store, _, _told) = open(scratch.path());
    store.append(record(1));
    store.forget(vec![Sequence(1)]);
    store.append(record(2));
    store.forget(vec![Sequence(2)]);
    store.append(record(2));
    store.close().unwrap();
    assert_eq!(sequences(&open(scratch.path()).1), [2]);
}

/// However much is appended at once, it is told once for each commit, and in the end nothing waits.
#[test]
fn many_publications_share_a_commit() {
    let scratch = Scratch::new("group");
    let (store, _, told) = open(scratch.path());
    for sequence in 1..=10_000 {
        store.append(record(sequence));
    }
    committed(&told, 10_000);
    assert_eq!(store.waiting(), 0);
    store.close().unwrap();
    let (_store, restored, _told) = open(scratch.path());
    assert!(sequences(&restored).into_iter().eq(1..=10_000));
}

/// While the writer is busy telling, nothing is written and appending does not wait: the depth shows.
#[test]
fn what_waits_is_counted_and_nobody_is_held_up() {
    let scratch = Scratch::new("waiting");
    let (go, wait) = channel::<()>();
    let (tell, told) = channel();
    let (store, _) = Store::open(scratch.path(), move |event| {
        drop(tell.send(event));
        let _ = wait.recv();
    })
    .unwrap();
    store.append(record(1));
    assert_eq!(told.recv_timeout(DEADLINE), Ok(StoreEvent::Committed(Sequence(1))));
    for sequence in 2..=500 {
        store.append(record(sequence));
    }
    assert_eq!(store.waiting(), 499);
    drop(go);
    assert_eq!(told.recv_timeout(DEADLINE), Ok(StoreEvent::Committed(Sequence(500))), "one commit for all of them");
    assert_eq!(store.waiting(), 0);
    store.close().unwrap();
}

#[test]
fn a_directory_is_one_process_s_at_a_time() {
    let scratch = Scratch::new("taken");
    let (store, _, _told) = open(scratch.path());
    let error = refused(scratch.path());
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
    assert!(error.to_string().contains("another process has it"), "{error}");
    drop(store);
    open(scratch.path());
}

#[test]
fn only_the_owner_may_read_what_is_stored() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new("mode");
    let (_store, ..) = open(scratch.path());
    for (path, mode) in [(scratch.path(), 0o700), (&scratch.database(), 0o600), (&scratch.mark(), 0o600)] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
    }
}

type Is = fn(&StoreError) -> bool;

/// Files that no store has written, and stores that are not whole: each is refused by name, and left as it is.
#[test]
fn what_cannot_be_read_is_refused_and_not_touched() {
    let scratch = Scratch::new("refused");
    let (store, ..) = open(scratch.path());
    (1..=200).for_each(|sequence| store.append(record(sequence)));
    store.close().unwrap();
    let whole = fs::read(scratch.database()).unwrap();

    let zeros_in_the_middle = || {
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        bytes[4096..middle].fill(0);
        bytes
    };
    let is_none: Is = |error| matches!(error, StoreError::NotAStore(_));
    let is_damaged: Is = |error| matches!(error, StoreError::Damaged { .. });
    let cases: [(&str, Vec<u8>, Is); 8] = [
        ("empty", vec![], is_none),
        ("short", b"redb".to_vec(), is_none),
        ("a text", b"# configuration\n".repeat(1_000), is_none),
        ("its begin alone", whole[..9].to_vec(), |_| true),
        ("a page of it", whole[..4096].to_vec(), is_damaged),
        ("half of it", whole[..whole.len() / 2].to_vec(), is_damaged),
        ("all but a byte", whole[..whole.len() - 1].to_vec(), is_damaged),
        ("zeros in the middle", zeros_in_the_middle(), is_damaged),
    ];
    for (name, bytes, is_expected) in cases {
        fs::write(scratch.database(), &bytes).unwrap();
        let error = refused(scratch.path());
        assert!(is_expected(&error), "{name}: {error}");
        assert!(error.to_string().contains("streams.redb"), "{name}: {error}");
        assert!(fs::read(scratch.database()).unwrap() == bytes, "{name}: it was written to");
    }

    fs::write(scratch.database(), &whole).unwrap();
    assert_eq!(sequences(&open(scratch.path()).1).len(), 200);
}

/// Someone else's database is not ours, nor is one of a later version.
#[test]
fn other_formats_are_refused() {
    let scratch = Scratch::new("formats");
    fs::create_dir(scratch.path()).unwrap();
    let numbers = redb::TableDefinition::<&str, u64>::new("numbers");
    let write = |format| {
        let database = redb::Database::create(scratch.database()).unwrap();
        let transaction = database.begin_write().unwrap();
        if let Some(format) = format {
            let mut table = transaction.open_table(numbers).unwrap();
            for (name, number) in [("format", format), ("clean", 1), ("last", 0), ("commits", 1)] {
                table.insert(name, number).unwrap();
            }
        }
        transaction.commit().unwrap();
    };
    write(None);
    let error = refused(scratch.path());
    assert!(matches!(error, StoreError::NotAStore(_)), "{error}");
    write(Some(2));
    let error = refused(scratch.path());
    assert!(matches!(error, StoreError::Format { found: 2, .. }), "{error}");
    assert!(error.to_string().contains("format 2"), "{error}");
}

/// An older copy of the database alone would silently take back what was acknowledged; with its mark it is a backup.
#[test]
fn an_older_database_is_noticed_and_can_be_accepted() {
    let scratch = Scratch::new("older");
    let (store, ..) = open(scratch.path());
    store.append(record(1));
    store.close().unwrap();
    let (database, mark) = (fs::read(scratch.database()).unwrap(), fs::read(scratch.mark()).unwrap());
    let (store, ..) = open(scratch.path());
    store.append(record(2));
    store.close().unwrap();
    let newest = fs::read(scratch.database()).unwrap();

    fs::write(scratch.database(), &database).unwrap();
    let error = refused(scratch.path());
    let StoreError::Older { found, expected, .. } = &error else { panic!("{error}") };
    assert!(found < expected, "{error}");
    assert!(error.to_string().contains("streams.mark"), "it says what to remove: {error}");

    fs::remove_file(scratch.database()).unwrap();
    assert!(
        matches!(refused(scratch.path()), StoreError::Older { found: 0, .. }),
        "a database that is gone is noticed"
    );

    fs::write(scratch.database(), &database).unwrap();
    fs::write(scratch.mark(), &mark).unwrap();
    assert_eq!(sequences(&open(scratch.path()).1), [1], "a copy of the whole directory is one to go back to");

    fs::write(scratch.database(), &newest).unwrap();
    fs::remove_file(scratch.mark()).unwrap();
    assert_eq!(sequences(&open(scratch.path()).1), [1, 2], "without a mark there is nothing to compare with");
}

#[test]
fn a_directory_that_cannot_be_is_named() {
    let scratch = Scratch::new("no-directory");
    fs::write(scratch.path(), "a file").unwrap();
    let error = refused(&scratch.path().join("below"));
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert!(error.to_string().contains("below: cannot make this directory"), "{error}");
    fs::remove_file(scratch.path()).unwrap();
}

/// Names the directory to the child.
const CHILD: &str = "LOOPWIRE_TEST_STORE_CHILD";

/// The child of the next test: stores as fast as it can, forgets what is 100 behind, and prints what is on disk.
#[test]
#[ignore = "it never ends"]
fn child_that_is_killed() {
    let dir = std::env::var_os(CHILD).expect("started by the next test");
    let (store, restored, told) = open(Path::new(&dir));
    let mut next = restored.last.0 + 1;
    // What its predecessor was about to forget.
    let outdated = restored.records.iter().map(|record| record.sequence).filter(|sequence| sequence.0 + 100 < next);
    store.forget(outdated.collect());
    loop {
        for _ in 0..10 {
            store.append(record(next));
            if let Some(old) = next.checked_sub(100) {
                store.forget(vec![Sequence(old)]);
            }
            next += 1;
        }
        committed(&told, next - 10);
        // Standard output is a pipe of the parent's, which ends this process.
        writeln!(std::io::stdout(), "committed {}", next - 10).unwrap();
    }
}

/// Killed fifty times in the midst of it, it has lost nothing of what it said was on disk, and each time it opens.
#[test]
fn what_a_killed_process_said_is_on_disk_is_there() {
    let scratch = Scratch::new("killed");
    let mut random = 1_u64;
    for round in 0..50 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_is_killed", "--ignored", "--nocapture", "--test-threads=1"])
            .env(CHILD, scratch.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let until = (random >> 60) as usize;
        let heard: Vec<String> = lines.by_ref().filter(|line| line.contains("committed ")).take(1 + until).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        // What it has still said before it died counts, too.
        let said =
            heard.into_iter().chain(lines).filter_map(|line| line.split("committed ").nth(1)?.parse::<u64>().ok());
        let said = said.max().expect("it has said something");

        let (store, restored, _told) = open(scratch.path());
        assert!(!restored.clean);
        let found: BTreeSet<u64> = sequences(&restored).into_iter().collect();
        assert!(restored.last.0 >= said, "round {round}: {said} was on disk, {:?} is", restored.last);
        // The one that a commit appends may be there before the one that is then forgotten is gone.
        let first = restored.last.0.saturating_sub(99).max(1);
        let is_whole = |first: u64| found.iter().copied().eq(first..=restored.last.0);
        assert!(is_whole(first) || is_whole(first - 1), "round {round}: {found:?}");
        for found in restored.records {
            assert_eq!(found, record(found.sequence.0), "round {round}");
        }
        // Not closed: the next one finds what a killed process leaves.
        drop(store);
    }
}
