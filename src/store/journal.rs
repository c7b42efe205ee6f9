//! The database: records by their sequence, and a few numbers about them.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use redb::{Builder, Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::StoreError;
use super::codec::{self, Names};
use super::directory::{Directory, Medium};
use super::disk::Disk;
use super::mark::Mark;
use crate::push::{Record, Sequence};

const NAME: &str = "streams.redb";
/// Under this name it is made, so that one that was not finished is none.
const NEW: &str = "streams.redb.new";

/// [redb's design, "Database header"]
const MAGIC: &[u8; 9] = b"redb\x1a\x0a\xa9\x0d\x0a";

const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

/// The names of the numbers: the format of everything, 1 if the store was closed properly, the greatest sequence there
/// ever was, and how often something was committed.
const FORMAT: &str = "format";
const CLEAN: &str = "clean";
const LAST: &str = "last";
const COMMITS: &str = "commits";

const CURRENT_FORMAT: u64 = 1;

/// Bytes of pages that the database keeps in memory. Records are read once, at the start, and then only appended at one
/// end and removed at the other.
const CACHE: usize = 8 << 20;

/// One thing to be written.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Append(Record),
    Forget(Vec<Sequence>),
}

/// An open database, all of which has been verified.
#[derive(Debug)]
pub(super) struct Journal {
    database: Database,
    path: PathBuf,
    mark: Mark,
    commits: u64,
    last: Sequence,
    was_clean: bool,
    /// Records behind this do not count: they go with the next commit.
    surplus_after: Option<Sequence>,
    /// Where records are encoded.
    buffer: Vec<u8>,
}

impl Journal {
    /// Opens the database in `directory`, made if it was never there, and reads its records in their order. From here on it
    /// is not properly closed.
    pub(super) fn open(directory: &dyn Directory, each: impl FnMut(Record)) -> Result<Self, StoreError> {
        // The database promises to report damage, but checks itself as it goes in debug builds.
        catch_unwind(AssertUnwindSafe(|| Self::verify(directory, each))).unwrap_or_else(|_| {
            let what = "the database cannot make sense of it".to_owned();
            Err(StoreError::Damaged { path: directory.path(NAME), what })
        })
    }

    /// Opens it again after something could not be written. Of that, some may be there: it does not count.
    pub(super) fn reopen(directory: &dyn Directory, last: Sequence) -> Result<Self, StoreError> {
        Ok(Self { surplus_after: Some(last), ..Self::open(directory, |_| ())? })
    }

    fn verify(directory: &dyn Directory, mut each: impl FnMut(Record)) -> Result<Self, StoreError> {
        let path = directory.path(NAME);
        let medium = match directory.open(NAME) {
            Ok(medium) => medium,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(directory)?,
            Err(error) => return Err(StoreError::io(path, "open it", error)),
        };
        if !begins_as_database(&*medium).map_err(|error| StoreError::io(&path, "read it", error))? {
            return Err(StoreError::NotAStore(path));
        }

        let disk = Disk::staged(medium).map_err(|error| StoreError::io(&path, "read it", error))?;
        let database = Builder::new()
            .set_cache_size(CACHE)
            .set_check_integrity_on_open(true)
            .create_with_backend(disk.clone())
            .map_err(|error| StoreError::of_database(&path, "read it", error))?;
        let numbers = Numbers::read(&database).map_err(|error| StoreError::of_database(&path, "read it", error))?;
        if numbers.format != CURRENT_FORMAT {
            return Err(StoreError::Format { path, found: numbers.format });
        }
        let broken = read_records(&database, &mut each)
            .map_err(|error| StoreError::of_database(&path, "read its records", error))?;
        if let Some(sequence) = broken {
            return Err(StoreError::Damaged { path, what: format!("record {sequence} cannot be read") });
        }
        Mark::check(directory, NAME, numbers.commits)?;

        let commits = numbers.commits + 1;
        write_numbers(&database, &[(CLEAN, 0), (COMMITS, commits)])
            .map_err(|error| StoreError::of_database(&path, "write it", error))?;
        disk.accept().map_err(|error| StoreError::io(&path, "write it", error))?;
        Ok(Self {
            database,
            mark: Mark::create(directory, commits)?,
            path,
            commits,
            last: Sequence(numbers.last),
            was_clean: numbers.is_clean,
            surplus_after: None,
            buffer: Vec::new(),
        })
    }

    /// Makes an empty database, unless there was one.
    fn create(directory: &dyn Directory) -> Result<Box<dyn Medium>, StoreError> {
        let path = directory.path(NAME);
        Mark::check(directory, NAME, 0)?;
        let medium = directory.create(NEW).map_err(|error| StoreError::io(&path, "make it", error))?;
        let make = || {
            let database = Builder::new().set_cache_size(CACHE).create_with_backend(Disk::new(medium))?;
            let transaction = database.begin_write()?;
            transaction.open_table(RECORDS)?;
            transaction.commit()?;
            write_numbers(&database, &[(FORMAT, CURRENT_FORMAT), (CLEAN, 1), (LAST, 0), (COMMITS, 0)])?;
            Ok::<_, redb::Error>(database.close()?)
        };
        make().map_err(|error| StoreError::of_database(&path, "make it", error))?;
        directory
            .rename(NEW, NAME)
            .and_then(|()| directory.open(NAME))
            .map_err(|error| StoreError::io(&path, "make it", error))
    }

    /// The greatest sequence that was ever appended.
    pub(super) fn last(&self) -> Sequence {
        self.last
    }

    /// Whether it had been closed properly before it was opened.
    pub(super) fn was_clean(&self) -> bool {
        self.was_clean
    }

    /// Writes all of these, in their order, or nothing. After an error the journal is of no use any more.
    pub(super) fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        catch_unwind(AssertUnwindSafe(|| self.write(changes))).unwrap_or_else(|_| {
            let what = "the database has given up; see the log".to_owned();
            Err(StoreError::Damaged { path: self.path.clone(), what })
        })
    }

    fn write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let (commits, mut last) = (self.commits + 1, self.last);
        let mut write = || {
            let transaction = self.database.begin_write()?;
            let mut records = transaction.open_table(RECORDS)?;
            if let Some(kept) = self.surplus_after {
                records.retain_in(kept.0.saturating_add(1).., |_, _| false)?;
            }
            for change in changes {
                match change {
                    Change::Append(record) => {
                        self.buffer.clear();
                        codec::encode(&record.body, &mut self.buffer);
                        records.insert(record.sequence.0, self.buffer.as_slice())?;
                        last = last.max(record.sequence);
                    }
                    Change::Forget(sequences) => {
                        for sequence in sequences {
                            records.remove(sequence.0)?;
                        }
                    }
                }
            }
            drop(records);
            let mut numbers = transaction.open_table(NUMBERS)?;
            numbers.insert(LAST, last.0)?;
            numbers.insert(COMMITS, commits)?;
            drop(numbers);
            Ok::<_, redb::Error>(transaction.commit()?)
        };
        write().map_err(|error| StoreError::of_database(&self.path, "write it", error))?;
        (self.commits, self.last, self.surplus_after) = (commits, last, None);
        self.buffer.shrink_to(64 << 10);
        self.set_mark();
        Ok(())
    }

    /// Ends it, properly closed or not.
    pub(super) fn close(mut self, is_clean: bool) -> Result<(), StoreError> {
        let close = |error| StoreError::of_database(&self.path, "close it", error);
        if is_clean {
            self.commits += 1;
            write_numbers(&self.database, &[(CLEAN, 1), (COMMITS, self.commits)]).map_err(close)?;
            self.set_mark();
        }
        self.database.close().map_err(|error| StoreError::of_database(&self.path, "close it", error))
    }

    /// The mark lags behind if it cannot be written, and guards less; nothing else is lost.
    fn set_mark(&self) {
        if let Err(error) = self.mark.set(self.commits) {
            log::warn!("{}: cannot mark a commit: {error}", self.path.display());
        }
    }
}

fn begins_as_database(medium: &dyn Medium) -> io::Result<bool> {
    let mut begin = [0; MAGIC.len()];
    if medium.len()? < begin.len() as u64 {
        return Ok(false);
    }
    medium.read(0, &mut begin)?;
    Ok(begin == *MAGIC)
}

struct Numbers {
    format: u64,
    is_clean: bool,
    last: u64,
    commits: u64,
}

impl Numbers {
    fn read(database: &Database) -> Result<Self, redb::Error> {
        let table = database.begin_read()?.open_table(NUMBERS)?;
        let number = |name: &str| match table.get(name)? {
            Some(number) => Ok(number.value()),
            None => Err(redb::Error::Corrupted(format!("it does not say its {name}"))),
        };
        Ok(Self {
            format: number(FORMAT)?,
            is_clean: number(CLEAN)? == 1,
            last: number(LAST)?,
            commits: number(COMMITS)?,
        })
    }
}

fn write_numbers(database: &Database, numbers: &[(&str, u64)]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    let mut table = transaction.open_table(NUMBERS)?;
    for (name, number) in numbers {
        table.insert(name, number)?;
    }
    drop(table);
    Ok(transaction.commit()?)
}

/// Reads all records, in order, until one that cannot be: its sequence.
fn read_records(database: &Database, each: &mut dyn FnMut(Record)) -> Result<Option<u64>, redb::Error> {
    let mut names = Names::default();
    let table = database.begin_read()?.open_table(RECORDS)?;
    for entry in table.iter()? {
        let (sequence, bytes) = entry?;
        match codec::decode(bytes.value(), &mut names) {
            Some(body) => each(Record { sequence: Sequence(sequence.value()), body }),
            None => return Ok(Some(sequence.value())),
        }
    }
    Ok(None)
}
