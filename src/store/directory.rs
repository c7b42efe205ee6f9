//! Files as the store needs them, and a directory that one process has at a time.

use std::fmt::Debug;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::StoreError;

/// An open file, read and written at any place.
pub(super) trait Medium: Debug + Send + Sync {
    fn len(&self) -> io::Result<u64>;
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    fn resize(&self, len: u64) -> io::Result<()>;
    /// Returns when all that was written before is on disk.
    fn sync(&self) -> io::Result<()>;
}

/// Where the store's files are.
pub(super) trait Directory: Debug + Send {
    /// Opens a file that is there.
    fn open(&self, name: &str) -> io::Result<Box<dyn Medium>>;
    /// Makes an empty file, in place of one that is there.
    fn create(&self, name: &str) -> io::Result<Box<dyn Medium>>;
    /// Gives a file another name, whatever had it before; on return that is on disk.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// A file's path, for people.
    fn path(&self, name: &str) -> PathBuf;
}

/// A directory of the file system's, which this process alone has.
#[derive(Debug)]
pub(super) struct RealDirectory {
    path: PathBuf,
    /// The directory itself: locked until this is closed, and synced to keep the names in it.
    handle: File,
}

impl RealDirectory {
    /// Makes the directory if it is not there, for this user only, and takes it.
    pub(super) fn lock(path: &Path) -> Result<Self, StoreError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| StoreError::io(path, "make this directory", error))?;
        let handle = File::open(path).map_err(|error| StoreError::io(path, "open this directory", error))?;
        match handle.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), handle }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(StoreError::io(path, "lock this directory", error)),
        }
    }
}

impl Directory for RealDirectory {
    fn open(&self, name: &str) -> io::Result<Box<dyn Medium>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).open(self.path(name))?))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Medium>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        Ok(Box::new(options.open(self.path(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))?;
        self.handle.sync_all()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Medium for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(out, offset)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn resize(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
