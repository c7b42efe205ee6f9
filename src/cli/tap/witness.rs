//! What is made of the bytes that pass: the recording, and the narration.

use std::fs::File;
use std::io::{self, BufWriter};
use std::time::{Duration, Instant};

use loopwire::Role;
use loopwire::explain::Conversation;

use super::Show;
use super::narration::{Narrator, Outside, Style};
use super::output::Output;
use super::pair::Watcher;
use crate::cli::recording::Recorder;

/// Sees all connections.
#[derive(Debug)]
pub(super) struct Witness {
    began: Instant,
    style: Style,
    output: Output,
    recorder: Option<Recorder<BufWriter<File>>>,
    /// Why the recording could not go on.
    pub(super) failure: Option<io::Error>,
    /// Lines that are being put together.
    lines: String,
}

/// One connection, as far as it was seen.
#[derive(Debug)]
pub(super) struct Story {
    number: u64,
    conversation: Conversation,
    narrator: Narrator,
    ended: [bool; 2],
}

impl Story {
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Witness {
    pub(super) fn new(style: Style, output: Output, recorder: Option<Recorder<BufWriter<File>>>) -> Self {
        Self { began: Instant::now(), style, output, recorder, failure: None, lines: String::new() }
    }

    /// A client has connected.
    pub(super) fn open(&mut self, number: u64) -> Story {
        let (conversation, narrator) = (Conversation::new(self.began), Narrator::new(self.style, number));
        let mut story = Story { number, conversation, narrator, ended: [false; 2] };
        self.tell(&mut story, Outside::Opened);
        story
    }

    /// Tells what happened around the bytes.
    pub(super) fn tell(&mut self, story: &mut Story, what: Outside<'_>) {
        story.narrator.outside(self.at(), what, &mut self.lines);
        self.pass_lines();
    }

    /// The connection is over, and nobody sends any more.
    pub(super) fn over(&mut self, mut story: Story, what: Outside<'_>) {
        let at = self.at();
        for (index, role) in [Role::Client, Role::Server].into_iter().enumerate() {
            if !story.ended[index] {
                self.record(|recorder, number| recorder.end(at, number, role), story.number);
            }
        }
        self.tell(&mut story, what);
    }

    /// The two as one, for a pair's turn.
    pub(super) fn of<'w>(&'w mut self, story: &'w mut Story) -> Watching<'w> {
        Watching { witness: self, story }
    }

    /// Has what was recorded so far reach the file.
    pub(super) fn flush(&mut self) {
        self.record(|recorder, _| recorder.flush(), 0);
    }

    pub(super) fn is_behind(&self) -> bool {
        self.output.is_full()
    }

    /// Why standard output is not to be written to any more.
    pub(super) fn output_failure(&self) -> Option<io::Error> {
        self.output.failure()
    }

    /// Writes what is left; whether standard output took it.
    pub(super) fn finish(mut self) -> (bool, Option<io::Error>) {
        self.flush();
        (self.output.finish(), self.failure)
    }

    fn at(&self) -> Duration {
        self.began.elapsed()
    }

    fn record(&mut self, write: impl FnOnce(&mut Recorder<BufWriter<File>>, u64) -> io::Result<()>, number: u64) {
        if let Some(recorder) = &mut self.recorder
            && let Err(error) = write(recorder, number)
        {
            self.recorder = None;
            self.failure = Some(error);
        }
    }

    fn pass_lines(&mut self) {
        self.output.lines(&self.lines);
        self.lines.clear();
        // One chunk of very small frames should not keep its room forever.
        self.lines.shrink_to(64 << 10);
    }
}

/// A witness of one connection.
#[derive(Debug)]
pub(super) struct Watching<'w> {
    witness: &'w mut Witness,
    story: &'w mut Story,
}

impl Watcher for Watching<'_> {
    fn is_behind(&self) -> bool {
        self.witness.is_behind()
    }

    fn bytes(&mut self, from: Role, bytes: &[u8]) {
        let at = self.witness.at();
        self.witness.record(|recorder, number| recorder.bytes(at, number, from, bytes), self.story.number);
        if self.witness.style.show == Show::None {
            return;
        }
        let (narrator, lines) = (&mut self.story.narrator, &mut self.witness.lines);
        self.story.conversation.push(from, bytes, &mut |seen| narrator.seen(at, &seen, lines));
        self.witness.pass_lines();
    }

    fn end(&mut self, from: Role) {
        let at = self.witness.at();
        self.story.ended[usize::from(from == Role::Server)] = true;
        self.witness.record(|recorder, number| recorder.end(at, number, from), self.story.number);
        let (narrator, lines) = (&mut self.story.narrator, &mut self.witness.lines);
        self.story.conversation.end(from, &mut |seen| narrator.seen(at, &seen, lines));
        self.witness.pass_lines();
    }
}
