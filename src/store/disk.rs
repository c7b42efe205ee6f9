//! The file below the database: what opening it changes stays in memory until all of it has been found whole.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use super::directory::Medium;

/// A file that is changed by nobody until it is [accepted](Self::accept): a database repairs what it takes for the traces of
/// a crash as it opens, and so would write over what is damaged.
#[derive(Clone, Debug)]
pub(super) struct Disk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    medium: Box<dyn Medium>,
    /// `None` once the file is accepted.
    staged: Mutex<Option<Staged>>,
}

/// What is to be done to the file, in order, and what it looks like meanwhile.
#[derive(Debug)]
struct Staged {
    changes: Vec<Change>,
    len: u64,
    /// The file's own bytes count up to here; what was cut off reads as zeros if the file grows again.
    own: u64,
}

#[derive(Debug)]
enum Change {
    Write(u64, Box<[u8]>),
    Resize(u64),
    Sync,
}

impl Disk {
    /// Over a file whose contents are not trusted yet.
    pub(super) fn staged(medium: Box<dyn Medium>) -> io::Result<Self> {
        let len = medium.len()?;
        let staged = Mutex::new(Some(Staged { changes: Vec::new(), len, own: len }));
        Ok(Self(Arc::new(Inner { medium, staged })))
    }

    /// Over a file that is new.
    pub(super) fn new(medium: Box<dyn Medium>) -> Self {
        Self(Arc::new(Inner { medium, staged: Mutex::new(None) }))
    }

    /// Does to the file what has been done to it in memory, in the same order and with the same syncs: a crash in between
    /// leaves what it would have left without the detour.
    pub(super) fn accept(&self) -> io::Result<()> {
        let mut staged = self.lock();
        let Some(Staged { changes, .. }) = &*staged else { return Ok(()) };
        for change in changes {
            match change {
                Change::Write(offset, bytes) => self.0.medium.write(*offset, bytes)?,
                Change::Resize(len) => self.0.medium.resize(*len)?,
                Change::Sync => self.0.medium.sync()?,
            }
        }
        *staged = None;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Staged>> {
        // Nothing below can panic half-way.
        self.0.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        match &*self.lock() {
            Some(staged) => Ok(staged.len),
            None => self.0.medium.len(),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match &*self.lock() {
            Some(staged) => staged.read(&*self.0.medium, offset, out),
            None => self.0.medium.read(offset, out),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match &mut *self.lock() {
            Some(staged) => {
                staged.resize(len);
                Ok(())
            }
            None => self.0.medium.resize(len),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        match &mut *self.lock() {
            Some(staged) => {
                staged.changes.push(Change::Sync);
                Ok(())
            }
            None => self.0.medium.sync(),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match &mut *self.lock() {
            Some(staged) => {
                staged.len = staged.len.max(offset.saturating_add(data.len() as u64));
                staged.changes.push(Change::Write(offset, data.into()));
                Ok(())
            }
            None => self.0.medium.write(offset, data),
        }
    }
}

impl Staged {
    fn resize(&mut self, len: u64) {
        self.len = len;
        self.own = self.own.min(len);
        self.changes.push(Change::Resize(len));
    }

    fn read(&self, medium: &dyn Medium, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset.saturating_add(out.len() as u64);
        if end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let own = self.own.clamp(offset, end) - offset;
        let (below, above) = out.split_at_mut(own as usize);
        if !below.is_empty() {
            medium.read(offset, below)?;
        }
        above.fill(0);
        for change in &self.changes {
            match change {
                Change::Write(at, bytes) => overlay(offset, out, *at, bytes),
                Change::Resize(len) => {
                    let kept = (*len).clamp(offset, end) - offset;
                    out[kept as usize..].fill(0);
                }
                Change::Sync => {}
            }
        }
        Ok(())
    }
}

/// Puts of `bytes`, which stand at `at`, what falls into `out`, which stands at `offset`.
fn overlay(offset: u64, out: &mut [u8], at: u64, bytes: &[u8]) {
    let begin = offset.max(at);
    let end = (offset + out.len() as u64).min(at + bytes.len() as u64);
    if begin < end {
        out[(begin - offset) as usize..(end - offset) as usize]
            .copy_from_slice(&bytes[(begin - at) as usize..(end - at) as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::directory::Directory;
    use super::super::simulated::Simulated;
    use super::*;

    /// A staged file reads as the accepted one will, and the file itself is as it was until then.
    #[test]
    fn what_is_staged_reads_as_it_will_be() {
        let directory = Simulated::new(1);
        let medium = directory.create("file").unwrap();
        medium.write(0, b"0123456789").unwrap();
        let disk = Disk::staged(medium).unwrap();
        let all = |disk: &Disk| {
            let mut out = vec![0; disk.len().unwrap() as usize];
            disk.read(0, &mut out).unwrap();
            out
        };

        disk.write(2, b"ab").unwrap();
        assert_eq!(all(&disk), b"01ab456789");
        disk.set_len(6).unwrap();
        disk.set_len(8).unwrap();
        assert_eq!(all(&disk), b"01ab45\0\0", "what was cut off does not come back");
        disk.write(7, b"xyz").unwrap();
        assert_eq!(all(&disk), b"01ab45\0xyz", "a write may reach beyond the end");
        let mut middle = [0; 3];
        disk.read(3, &mut middle).unwrap();
        assert_eq!(&middle, b"b45");
        assert_eq!(disk.read(9, &mut [0; 2]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);

        assert_eq!(directory.contents("file").unwrap(), b"0123456789");
        disk.accept().unwrap();
        assert_eq!(directory.contents("file").unwrap(), b"01ab45\0xyz");
        assert_eq!(all(&disk), b"01ab45\0xyz");
        disk.write(0, b"!").unwrap();
        assert_eq!(directory.contents("file").unwrap(), b"!1ab45\0xyz");
    }
}
