//! Live progress: one line on standard error, written over itself, and only where that is a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// How often the line changes.
const EVERY: Duration = Duration::from_millis(500);

/// The line.
#[derive(Debug)]
pub(super) struct Progress {
    is_shown: bool,
    next: Instant,
    written: bool,
}

impl Progress {
    /// Shown only if standard error is a terminal.
    pub(super) fn new() -> Self {
        Self { is_shown: io::stderr().is_terminal(), next: Instant::now() + EVERY, written: false }
    }

    /// Shows what `line` makes, if it is time.
    pub(super) fn say(&mut self, line: impl FnOnce() -> String) {
        if self.is_shown && Instant::now() >= self.next {
            self.next = Instant::now() + EVERY;
            self.written = true;
            // Back to the line's start, and clear it: what stood there may have been longer.
            let _ = write!(io::stderr().lock(), "\r\x1b[K{}", line());
        }
    }

    /// Takes the line away.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.written) {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
