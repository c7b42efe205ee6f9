//! A small file that knows how many commits the database has had.
//!
//! It is written behind each commit and not synced, so it costs next to nothing. It never says more than there are: after a
//! crash it may say less, and guards so much less.

use std::io;

use super::StoreError;
use super::directory::{Directory, Medium};

const NAME: &str = "streams.mark";

/// A number, twice, so that damage shows.
const SLOT: usize = 20 + 1 + 20 + 1;

/// Two numbers, of which the greater counts, written in turns: one that was not written to its end leaves the other.
#[derive(Debug)]
pub(super) struct Mark(Box<dyn Medium>);

impl Mark {
    /// What the mark in `directory` says; `None` if there is none.
    pub(super) fn read(directory: &dyn Directory) -> Result<Option<u64>, StoreError> {
        let read = || {
            let medium = directory.open(NAME)?;
            let mut slots = [0; 2 * SLOT];
            if medium.len()? == slots.len() as u64 {
                medium.read(0, &mut slots)?;
            }
            Ok::<_, io::Error>(slots)
        };
        match read() {
            Ok(slots) => match slots.chunks(SLOT).filter_map(parse).max() {
                Some(commits) => Ok(Some(commits)),
                None => Err(StoreError::Damaged {
                    path: directory.path(NAME),
                    what: "there is no number of commits in it".to_owned(),
                }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io(directory.path(NAME), "read it", error)),
        }
    }

    /// A mark that says `commits`, on disk on return.
    pub(super) fn create(directory: &dyn Directory, commits: u64) -> Result<Self, StoreError> {
        const NEW: &str = "streams.mark.new";
        let create = || {
            let mark = Self(directory.create(NEW)?);
            mark.0.write(0, [text(commits), text(commits)].concat().as_bytes())?;
            mark.0.sync()?;
            directory.rename(NEW, NAME)?;
            Ok(mark)
        };
        create().map_err(|error| StoreError::io(directory.path(NAME), "write it", error))
    }

    /// Says `commits` from now on.
    pub(super) fn set(&self, commits: u64) -> io::Result<()> {
        self.0.write(commits % 2 * SLOT as u64, text(commits).as_bytes())
    }

    /// Against a database with so many commits.
    pub(super) fn check(directory: &dyn Directory, database: &str, found: u64) -> Result<(), StoreError> {
        match Self::read(directory)? {
            Some(expected) if expected > found => {
                Err(StoreError::Older { path: directory.path(database), mark: directory.path(NAME), found, expected })
            }
            _ => Ok(()),
        }
    }
}

fn text(commits: u64) -> String {
    format!("{commits:020} {commits:020}\n")
}

fn parse(slot: &[u8]) -> Option<u64> {
    let commits = std::str::from_utf8(slot.get(..20)?).ok()?.parse().ok()?;
    (text(commits).as_bytes() == slot).then_some(commits)
}

#[cfg(test)]
mod tests {
    use super::super::simulated::Simulated;
    use super::*;

    /// With one slot damaged the other one counts, with both none does.
    #[test]
    fn a_mark_says_what_was_set_and_no_flipped_bit_makes_it_say_more() {
        let directory = Simulated::new(1);
        assert_eq!(Mark::read(&directory).unwrap(), None);
        for commits in [1, 2, 42, 43, u64::MAX - 1] {
            let mark = Mark::create(&directory, commits - 1).unwrap();
            assert_eq!(Mark::read(&directory).unwrap(), Some(commits - 1));
            mark.set(commits).unwrap();
            assert_eq!(Mark::read(&directory).unwrap(), Some(commits));

            let medium = directory.open(NAME).unwrap();
            let whole = directory.contents(NAME).unwrap();
            for (place, byte) in whole.iter().enumerate() {
                let is_latest = (place / SLOT) as u64 == commits % 2;
                for bit in 0..8 {
                    medium.write(place as u64, &[byte ^ 1 << bit]).unwrap();
                    let expected = commits - u64::from(is_latest);
                    assert_eq!(Mark::read(&directory).unwrap(), Some(expected), "byte {place}, bit {bit}");
                }
                medium.write(place as u64, &[*byte]).unwrap();
            }
            medium.write(3, b"x").unwrap();
            medium.write(SLOT as u64 + 30, b"x").unwrap();
            assert!(matches!(Mark::read(&directory), Err(StoreError::Damaged { .. })));
            for len in [0, 1, SLOT, 2 * SLOT - 1, 2 * SLOT + 1] {
                medium.resize(len as u64).unwrap();
                assert!(matches!(Mark::read(&directory), Err(StoreError::Damaged { .. })), "{len} bytes");
            }
        }
    }
}
