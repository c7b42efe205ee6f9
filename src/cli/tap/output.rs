//! Standard output, by a thread of its own: a reader that is too slow stops neither the loop nor its signals.
//!
//! What waits to be written is bounded. When it is too much, the loop either reads nothing more from any connection until
//! there is room again, so that no line is lost and clients and servers wait as they would for a slow peer; or lines are
//! left out, and it is said how many. A line is always written whole, and in its place.

use std::io::{self, Write as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use mio::Waker;

/// Bytes that may wait to be written before anything is done about it. One chunk's lines more may come, since a chunk is
/// told as a whole.
const ENOUGH: usize = 1 << 20;

/// Lines are written together up to this many bytes: what POSIX promises that a pipe takes whole or not at all, so that
/// even who is given up on has read no half of a line.
const PIECE: usize = 4096;

/// How long nobody may read anything of the last lines.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where lines go.
#[derive(Debug)]
pub(super) struct Output {
    shared: Arc<Shared>,
    /// Leaves lines out instead of making the loop wait.
    leaves_out: bool,
    /// Says that so many lines were left out.
    tell_left_out: fn(u64) -> String,
    left_out: u64,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    waker: Waker,
}

#[derive(Debug, Default)]
struct State {
    waiting: String,
    /// What the thread is writing, in bytes.
    writing: usize,
    /// The loop is to be woken when there is room.
    is_awaited: bool,
    /// Nothing more will come.
    is_over: bool,
    failed: Option<io::Error>,
}

impl Output {
    pub(super) fn start(waker: Waker, leaves_out: bool, tell_left_out: fn(u64) -> String) -> io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), waker });
        let writer = Arc::clone(&shared);
        thread::Builder::new().name("loopwire-output".to_owned()).spawn(move || writer.write())?;
        Ok(Self { shared, leaves_out, tell_left_out, left_out: 0 })
    }

    /// Adds whole lines.
    pub(super) fn lines(&mut self, lines: &str) {
        if lines.is_empty() {
            return;
        }
        let mut state = self.shared.lock();
        if self.leaves_out {
            if state.len() >= ENOUGH {
                self.left_out += lines.lines().count() as u64;
                return;
            }
            if self.left_out > 0 {
                state.waiting.push_str(&(self.tell_left_out)(std::mem::take(&mut self.left_out)));
            }
        }
        state.waiting.push_str(lines);
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Whether nothing more should be told for now. The loop is woken when that changes.
    pub(super) fn is_full(&self) -> bool {
        if self.leaves_out {
            return false;
        }
        let mut state = self.shared.lock();
        state.is_awaited = state.len() >= ENOUGH && state.failed.is_none();
        state.is_awaited
    }

    /// Why writing has failed, if it has.
    pub(super) fn failure(&self) -> Option<io::Error> {
        self.shared.lock().failed.take()
    }

    /// Waits until everything is written, but not for a reader that does not read: whether it was.
    pub(super) fn finish(mut self) -> bool {
        let left_out = std::mem::take(&mut self.left_out);
        let mut state = self.shared.lock();
        if left_out > 0 {
            state.waiting.push_str(&(self.tell_left_out)(left_out));
        }
        state.is_over = true;
        self.shared.changed.notify_all();
        loop {
            let left = state.len();
            if left == 0 {
                return true;
            }
            let (woken, timeout) =
                self.shared.changed.wait_timeout(state, PATIENCE).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if timeout.timed_out() && state.len() == left {
                return false;
            }
        }
    }
}

impl State {
    fn len(&self) -> usize {
        self.waiting.len() + self.writing
    }
}

impl Shared {
    /// The thread.
    fn write(&self) {
        let mut state = self.lock();
        loop {
            while state.waiting.is_empty() {
                if state.is_over {
                    return;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let text = std::mem::take(&mut state.waiting);
            state.writing = text.len();
            drop(state);
            let outcome = self.write_pieces(&text);
            state = self.lock();
            state.writing = 0;
            let has_failed = outcome.is_err();
            if let Err(error) = outcome {
                state.failed = Some(error);
                state.waiting.clear();
            }
            if has_failed || std::mem::take(&mut state.is_awaited) {
                // The loop looks for itself if it cannot be woken.
                let _ = self.waker.wake();
            }
            self.changed.notify_all();
            if has_failed {
                return;
            }
        }
    }

    fn write_pieces(&self, mut text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        while !text.is_empty() {
            let (piece, rest) = text.split_at(piece_len(text));
            stdout.write_all(piece.as_bytes())?;
            stdout.flush()?;
            text = rest;
            // Whoever waits for the end sees that it goes on.
            self.lock().writing = text.len();
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As many whole lines as are written together; one at least.
fn piece_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let end_of_line = |bytes: &[u8]| bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
    let fitting = &bytes[..bytes.len().min(PIECE)];
    let last = fitting.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
    last.or_else(|| end_of_line(bytes)).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_whole() {
        let long = "x".repeat(PIECE) + "\n";
        for (text, len) in [
            ("a\nb\n".to_owned(), 4),
            ("a\n".to_owned() + &long, 2),
            (long.clone() + "a\n", PIECE + 1),
            ("ab\n".repeat(PIECE), PIECE / 3 * 3),
            ("no end".to_owned(), 6),
        ] {
            assert_eq!(piece_len(&text), len);
        }
    }
}
