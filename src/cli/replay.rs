//! `loopwire replay`: says to a server, byte for byte, what a client said in a recording.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use loopwire::Role;
use loopwire::explain::{Conversation, EndpointState};

use super::raw_line::Received;
use super::recording::{self, Entry, What, unreadable};
use super::talk::{Heard, Talk, TalkArgs};
use super::terminal::{Colour, say_in};
use super::values::{Size, Span};
use super::{Exit, Failure};

#[derive(Args, Debug)]
pub(crate) struct ReplayArgs {
    /// The recording, as tap and others write them; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// To whom: ws://host:port, wss://host or ws+unix:/path/to.sock. Only where it is counts: path, query and Host are in
    /// the recorded request
    #[arg(value_name = "URL", value_parser = super::dial::url)]
    url: String,

    /// Which of the recorded connections, by its number; the first of them otherwise
    #[arg(long, value_name = "N")]
    connection: Option<u64>,

    /// Send in pieces of at most this many bytes, instead of as they were recorded
    #[arg(long, value_name = "BYTES")]
    chop: Option<Size>,

    /// Send when it was sent in the recording, whatever the server says, once the handshake is answered. Otherwise each
    /// chunk waits until the server has said as much as it had by then
    #[arg(long)]
    timing: bool,

    /// How long to wait for what the server said in the recording, before going on without it
    #[arg(long, value_name = "TIME", default_value = "5s")]
    patience: Span,

    #[command(flatten)]
    talk: TalkArgs,
}

pub(crate) fn run(args: &ReplayArgs) -> Result<Exit, Failure> {
    let damaged = |why: String| unreadable(&args.file, &why);
    if args.talk.records_to(&args.file) {
        let what = "--record would write over the recording that is replayed: name another file";
        return Err(Failure::new(Exit::Usage, what));
    }
    let mut entries = recording::open(&args.file)?;
    // The connection is not made for a recording that has nothing to be said on it.
    let first = loop {
        let Some(entry) = entries.next() else {
            let which = args.connection.map_or_else(String::new, |number| format!(" on connection {number}"));
            return Err(damaged(format!("no client says anything in it{which}")));
        };
        let entry = entry.map_err(damaged)?;
        if entry.from == Role::Client && args.connection.is_none_or(|wanted| wanted == entry.connection) {
            break entry;
        }
    };
    let connection = first.connection;
    let mut replay = Replay {
        talk: Talk::open(&args.url, connection, &args.talk)?,
        patience: args.patience.0,
        chop: args.chop.map_or(usize::MAX, |size| size.0),
        timing: args.timing.then_some(first.at),
        recorded: Conversation::new(Instant::now()),
        said: Heard::default(),
        missing: 0,
        unsent: 0,
        has_server_ended: false,
    };
    replay.entry(&first)?;
    for entry in entries {
        let entry = entry.map_err(damaged)?;
        if entry.connection == connection {
            replay.entry(&entry)?;
        }
    }
    replay.finish()
}

/// A recording on its way.
struct Replay {
    talk: Talk,
    patience: Duration,
    chop: usize,
    /// When the recorded client began, if its pauses are kept.
    timing: Option<Duration>,
    /// What was said in the recording.
    recorded: Conversation,
    said: Heard,
    /// How many things the server has not said that it said in the recording. They are waited for once.
    missing: u64,
    /// Bytes that there was nobody for any more, but was in the recording.
    unsent: u64,
    /// In the recording.
    has_server_ended: bool,
}

impl Replay {
    /// Goes on by one entry of the recording.
    fn entry(&mut self, entry: &Entry) -> Result<(), Failure> {
        if entry.from == Role::Client {
            match self.timing {
                Some(began) => {
                    self.wait_until(entry.at.saturating_sub(began))?;
                    self.wait_for_answer()?;
                }
                None => self.wait_for_server()?,
            }
        }
        let said = &mut self.said;
        match &entry.what {
            What::Bytes(bytes) => {
                if entry.from == Role::Server {
                    said.bytes(bytes);
                }
                self.recorded.push(entry.from, bytes, &mut |seen| said.seen(&seen));
                if entry.from == Role::Client {
                    self.send(bytes)?;
                }
            }
            What::End => {
                self.recorded.end(entry.from, &mut |seen| said.seen(&seen));
                match entry.from {
                    Role::Client => self.talk.end()?,
                    Role::Server => self.has_server_ended = true,
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        for piece in bytes.chunks(self.chop) {
            // What the server says is told where it says it.
            self.talk.listen_now()?;
            if !self.talk.send(piece)? && !self.has_server_ended {
                self.unsent += piece.len() as u64;
            }
        }
        Ok(())
    }

    /// Waits until the server has said as much as in the recording.
    fn wait_for_server(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + self.patience;
        while self.talk.heard() + self.missing < self.said.things {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.talk.is_over() || self.talk.listen(left)? == Received::Nothing {
                self.missing = self.said.things - self.talk.heard();
            }
        }
        Ok(())
    }

    /// Waits until the server has answered the handshake, if it had in the recording: to send frames before would break a
    /// rule that the recorded client did not break.
    fn wait_for_answer(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + self.patience;
        let had_answered = self.recorded.state(Role::Client) != EndpointState::Connecting;
        while had_answered && self.talk.state() == EndpointState::Connecting && !self.talk.is_over() {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.talk.listen(left)? == Received::Nothing {
                self.patience = Duration::ZERO;
                break;
            }
        }
        Ok(())
    }

    /// Listens until so long after the beginning.
    fn wait_until(&mut self, at: Duration) -> Result<(), Failure> {
        loop {
            let left = at.saturating_sub(self.talk.elapsed());
            if left.is_zero() {
                return self.talk.listen_now();
            }
            if self.talk.is_over() {
                std::thread::sleep(left);
            } else {
                self.talk.listen(left)?;
            }
        }
    }

    fn finish(mut self) -> Result<Exit, Failure> {
        self.wait_for_server()?;
        self.talk.end()?;
        let (missing, unsent) = (self.said.things.saturating_sub(self.talk.heard()), self.unsent);
        let more = self.talk.heard().saturating_sub(self.said.things);
        if missing > 0 || more > 0 {
            let (count, what) = if missing > 0 { (missing, "fewer") } else { (more, "more") };
            say_in(Colour::Dim, format_args!("the server said {count} {what} things than in the recording"));
        }
        if unsent > 0 {
            let what = format!("the server let go of the connection before the last {unsent} bytes were sent");
            return Err(Failure::new(Exit::Abnormal, what));
        }
        Ok(Exit::Done)
    }
}
