//! Why a store cannot be used, and what can be done about it.

use std::path::{Path, PathBuf};
use std::{fmt, io};

/// Why a store cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The system has refused something.
    Io {
        /// Of this file or directory.
        path: PathBuf,
        /// What was tried, as in "cannot …".
        doing: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// Another process has this directory.
    InUse(PathBuf),
    /// This file is none that a store has written.
    NotAStore(PathBuf),
    /// A store of another version of this program.
    Format {
        /// The file.
        path: PathBuf,
        /// The number of its format.
        found: u64,
    },
    /// What was written is not what is there now.
    Damaged {
        /// In this file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Commits are missing that were there before: the database has been damaged, removed, or replaced by an older one.
    Older {
        /// The database.
        path: PathBuf,
        /// The file that knows of more commits.
        mark: PathBuf,
        /// How many the database has.
        found: u64,
        /// How many it has had.
        expected: u64,
    },
}

impl StoreError {
    pub(super) fn io(path: impl AsRef<Path>, doing: &'static str, error: io::Error) -> Self {
        Self::Io { path: path.as_ref().to_owned(), doing, error }
    }

    /// What the database says of the file at `path`.
    pub(super) fn of_database(path: &Path, doing: &'static str, error: impl Into<redb::Error>) -> Self {
        match error.into() {
            redb::Error::Io(error) => Self::io(path, doing, error),
            redb::Error::TableDoesNotExist(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TableIsNotMultimap(_)
            | redb::Error::UpgradeRequired(_) => Self::NotAStore(path.to_owned()),
            error => Self::Damaged { path: path.to_owned(), what: error.to_string() },
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, doing, error } => write!(f, "{}: cannot {doing}: {error}", path.display()),
            Self::InUse(path) => {
                write!(f, "{}: another process has it; end that one, or use another directory", path.display())
            }
            Self::NotAStore(path) => {
                write!(f, "{}: not a store of loopwire's; use another directory, or move the file away", path.display())
            }
            Self::Format { path, found } => write!(
                f,
                "{}: format {found} is not known here; use the version of loopwire that wrote it, or another directory",
                path.display()
            ),
            Self::Damaged { path, what } => write!(
                f,
                "{}: damaged: {what}; nothing has been changed. Put a copy of the directory back, or move it away to begin \
                 with an empty store",
                path.display()
            ),
            Self::Older { path, mark, found, expected } => write!(
                f,
                "{}: has {found} of the {expected} commits that it has had, so it was damaged or replaced by an older one; \
                 nothing has been changed. Put the newest copy of the directory back, or remove {} to go on without what is \
                 missing",
                path.display(),
                mark.display()
            ),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}
