//! A directory in memory, whose machine dies at a given step: of what was not synced then, some is on disk.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::directory::{Directory, Medium};

/// Clones are the same directory.
#[derive(Clone, Debug)]
pub(super) struct Simulated(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    files: HashMap<String, Arc<Mutex<File>>>,
    /// Writes, resizes, syncs and renames that still succeed; `None`: all.
    left: Option<u64>,
    /// Each that succeeded.
    done: u64,
    /// What chance decides, from a seed.
    random: u64,
}

#[derive(Clone, Debug, Default)]
struct File {
    /// As processes see it.
    now: Vec<u8>,
    /// As it would be after a crash, whatever happens.
    synced: Vec<u8>,
    /// Changes since then, each of which may be on disk or not.
    pending: Vec<Pending>,
}

#[derive(Clone, Debug)]
enum Pending {
    Write(u64, Vec<u8>),
    Resize(u64),
}

#[derive(Debug)]
struct Handle {
    directory: Simulated,
    file: Arc<Mutex<File>>,
}

impl Simulated {
    pub(super) fn new(seed: u64) -> Self {
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self(Arc::new(Mutex::new(State { files: HashMap::new(), left: None, done: 0, random })))
    }

    /// From now on so many steps succeed, and then none does.
    pub(super) fn fail_after(&self, steps: u64) {
        self.0.lock().unwrap().left = Some(steps);
    }

    /// All steps succeed again.
    pub(super) fn heal(&self) {
        self.0.lock().unwrap().left = None;
    }

    /// How many steps have succeeded.
    pub(super) fn steps(&self) -> u64 {
        self.0.lock().unwrap().done
    }

    /// What a file has, as processes see it.
    pub(super) fn contents(&self, name: &str) -> Option<Vec<u8>> {
        self.0.lock().unwrap().files.get(name).map(|file| file.lock().unwrap().now.clone())
    }

    /// What is on disk if the machine dies now: all that was synced, and of the rest what chance has it, with writes torn
    /// at sectors. Renames have happened.
    pub(super) fn after_crash(&self) -> Self {
        let state = self.0.lock().unwrap();
        let crashed = Self::new(state.random);
        for (name, file) in &state.files {
            let File { synced, pending, .. } = file.lock().unwrap().clone();
            let mut disk = synced;
            for change in pending {
                match change {
                    Pending::Resize(len) if crashed.toss() => disk.resize(len as usize, 0),
                    Pending::Resize(_) => {}
                    Pending::Write(offset, bytes) => {
                        for (index, sector) in bytes.chunks(512).enumerate() {
                            if crashed.toss() {
                                put(&mut disk, offset as usize + index * 512, sector);
                            }
                        }
                    }
                }
            }
            let file = File { now: disk.clone(), synced: disk, pending: Vec::new() };
            crashed.0.lock().unwrap().files.insert(name.clone(), Arc::new(Mutex::new(file)));
        }
        crashed
    }

    /// What is there if the process dies now: everything that it has written.
    pub(super) fn after_kill(&self) -> Self {
        let state = self.0.lock().unwrap();
        let killed = Self::new(state.random);
        for (name, file) in &state.files {
            let file = file.lock().unwrap().clone();
            killed.0.lock().unwrap().files.insert(name.clone(), Arc::new(Mutex::new(file)));
        }
        killed
    }

    fn toss(&self) -> bool {
        // xorshift64
        let random = &mut self.0.lock().unwrap().random;
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        *random >> 63 == 0
    }

    fn step(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        match &mut state.left {
            Some(0) => return Err(io::ErrorKind::StorageFull.into()),
            Some(left) => *left -= 1,
            None => {}
        }
        state.done += 1;
        Ok(())
    }

    fn handle(&self, file: &Arc<Mutex<File>>) -> Box<dyn Medium> {
        Box::new(Handle { directory: self.clone(), file: Arc::clone(file) })
    }
}

impl Directory for Simulated {
    fn open(&self, name: &str) -> io::Result<Box<dyn Medium>> {
        let file = self.0.lock().unwrap().files.get(name).cloned();
        file.map(|file| self.handle(&file)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Medium>> {
        self.step()?;
        let file = Arc::default();
        self.0.lock().unwrap().files.insert(name.to_owned(), Arc::clone(&file));
        Ok(self.handle(&file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.step()?;
        let mut state = self.0.lock().unwrap();
        let file = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/simulated").join(name)
    }
}

impl Medium for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.lock().unwrap().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let file = self.file.lock().unwrap();
        let bytes = file.now.get(offset as usize..offset as usize + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let result = self.directory.step();
        // A write that fails may have got some way.
        let written = if result.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        let mut file = self.file.lock().unwrap();
        put(&mut file.now, offset as usize, written);
        file.pending.push(Pending::Write(offset, written.to_owned()));
        result
    }

    fn resize(&self, len: u64) -> io::Result<()> {
        self.directory.step()?;
        let mut file = self.file.lock().unwrap();
        file.now.resize(len as usize, 0);
        file.pending.push(Pending::Resize(len));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.directory.step()?;
        let mut file = self.file.lock().unwrap();
        file.synced = file.now.clone();
        file.pending.clear();
        Ok(())
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, what: &[u8]) {
    if bytes.len() < offset + what.len() {
        bytes.resize(offset + what.len(), 0);
    }
    bytes[offset..offset + what.len()].copy_from_slice(what);
}
