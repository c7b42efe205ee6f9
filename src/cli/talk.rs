//! A conversation in which every byte that is sent is one's own: told as it goes, and recorded.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use loopwire::Role;
use loopwire::explain::{Conversation, EndpointState, Seen};
use loopwire::handshake::Uri;

use super::dial::trusted;
use super::raw_line::{RawLine, Received, is_reset};
use super::recording::Recorder;
use super::tap::Show;
use super::tap::narration::{Narrator, Outside, Style};
use super::values::Span;
use super::{Exit, Failure, terminal};

/// How often the server is listened to before something is sent.
const MAX_READS: u32 = 64;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connecting")]
pub(super) struct TalkArgs {
    /// What is told of the conversation
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Show::All, help_heading = None)]
    show: Show,

    /// Tell it as JSON, one object per line
    #[arg(long, help_heading = None)]
    json: bool,

    /// Record the conversation in this file
    #[arg(long, value_name = "FILE", help_heading = None)]
    record: Option<PathBuf>,

    /// Trust the certificates in this file (PEM) and no others, instead of the platform's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Trust any certificate: for development, since anybody on the way can then read and answer
    #[arg(long)]
    insecure: bool,

    /// How long connecting may take, and then how long the peer may leave unread what it is sent
    #[arg(long, value_name = "TIME", default_value = "10s")]
    connect_timeout: Span,
}

impl TalkArgs {
    /// How long connecting may take.
    pub(super) const fn timeout(&self) -> Duration {
        self.connect_timeout.0
    }

    /// Whether what is said is to be recorded in this very file.
    pub(super) fn records_to(&self, path: &Path) -> bool {
        let record = self.record.as_deref().and_then(|record| record.canonicalize().ok());
        record.is_some_and(|record| path.canonicalize().is_ok_and(|path| path == record))
    }
}

/// A connection, and all that is made of what passes on it.
#[derive(Debug)]
pub(super) struct Talk {
    line: RawLine,
    teller: Teller,
    buffer: Vec<u8>,
    /// How the server has ended, if it has.
    over: Option<Received>,
    has_ended: bool,
}

/// What is made of it.
#[derive(Debug)]
struct Teller {
    began: Instant,
    conversation: Conversation,
    number: u64,
    narrator: Narrator,
    recorder: Option<(PathBuf, Recorder<File>)>,
    heard: Heard,
    /// Nobody reads standard output any more.
    is_unread: bool,
}

/// How much a server has said: its first byte, its answer, each frame, and its end count one each. However the bytes are
/// cut, the same ones count the same.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heard {
    pub(super) things: u64,
    has_begun: bool,
}

impl Heard {
    /// Bytes have come.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        if !self.has_begun && !bytes.is_empty() {
            self.has_begun = true;
            self.things += 1;
        }
    }

    /// This was seen in them.
    pub(super) fn seen(&mut self, seen: &Seen<'_>) {
        let server = Role::Server;
        self.things += match seen {
            Seen::Answer { .. } => 1,
            Seen::Frame { from, .. } | Seen::End { from, .. } if *from == server => 1,
            _ => 0,
        };
    }
}

impl Talk {
    /// Connects to the server at `url`; nothing is said yet. The connection is told and recorded by this number.
    pub(super) fn open(url: &str, number: u64, args: &TalkArgs) -> Result<Self, Failure> {
        let uri = Uri::parse(url).map_err(|error| Failure::new(Exit::Usage, error))?;
        let tls = trusted(args.ca.as_deref(), args.insecure)?;
        let recorder = args.record.as_deref().map(|path| record(path, url)).transpose()?;
        let line = RawLine::connect(&uri, tls, args.connect_timeout.0)?;
        let style = Style { show: args.show, json: args.json, coloured: terminal::colour_on_stdout() };
        let now = Instant::now();
        let teller = Teller {
            began: now,
            conversation: Conversation::new(now),
            number,
            narrator: Narrator::new(style, number),
            recorder,
            heard: Heard::default(),
            is_unread: false,
        };
        Ok(Self { line, teller, buffer: vec![0; 64 << 10], over: None, has_ended: false })
    }

    /// How much the server has said.
    pub(super) fn heard(&self) -> u64 {
        self.teller.heard.things
    }

    /// Since the connection stands.
    pub(super) fn elapsed(&self) -> Duration {
        self.teller.began.elapsed()
    }

    /// Whether the server will say nothing more.
    pub(super) const fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// What was seen so far.
    pub(super) const fn conversation(&self) -> &Conversation {
        &self.teller.conversation
    }

    /// Where the client, which is this, stands.
    pub(super) fn state(&self) -> EndpointState {
        self.conversation().state(Role::Client)
    }

    /// Sends bytes; `false` if the server has let go of the connection.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<bool, Failure> {
        match self.line.send(bytes) {
            Ok(()) => self.teller.push(Role::Client, bytes).map(|()| true),
            Err(error) if is_reset(&error) => Ok(false),
            Err(error) => Err(Failure::new(Exit::Abnormal, format_args!("cannot send: {error}"))),
        }
    }

    /// Ends the sending direction.
    pub(super) fn end(&mut self) -> Result<(), Failure> {
        if std::mem::replace(&mut self.has_ended, true) {
            return Ok(());
        }
        match self.line.end() {
            Ok(()) => {}
            Err(error) if is_reset(&error) => {}
            Err(error) => return Err(Failure::new(Exit::Abnormal, format_args!("cannot end the stream: {error}"))),
        }
        self.teller.end(Role::Client)
    }

    /// Waits for the next that the server says, up to `timeout`, and tells it.
    pub(super) fn listen(&mut self, timeout: Duration) -> Result<Received, Failure> {
        if let Some(over) = self.over {
            return Ok(over);
        }
        let received = self.line.receive(&mut self.buffer, timeout);
        let received =
            received.map_err(|error| Failure::new(Exit::Abnormal, format_args!("cannot receive: {error}")))?;
        match received {
            Received::Bytes(len) => self.teller.push(Role::Server, &self.buffer[..len])?,
            Received::Nothing => {}
            Received::End | Received::Reset => {
                self.over = Some(received);
                if received == Received::Reset {
                    self.teller.outside(Outside::Reset(Role::Server))?;
                }
                self.teller.end(Role::Server)?;
            }
        }
        Ok(received)
    }

    /// Tells what came up to now; not all of it, if the server says more than can be told.
    pub(super) fn listen_now(&mut self) -> Result<(), Failure> {
        for _ in 0..MAX_READS {
            if !matches!(self.listen(Duration::ZERO)?, Received::Bytes(_)) {
                break;
            }
        }
        Ok(())
    }
}

impl Teller {
    fn push(&mut self, from: Role, bytes: &[u8]) -> Result<(), Failure> {
        let at = self.began.elapsed();
        if let Some((path, recorder)) = &mut self.recorder {
            recorder.bytes(at, self.number, from, bytes).map_err(|error| unwritten(path, &error))?;
        }
        if from == Role::Server {
            self.heard.bytes(bytes);
        }
        let (mut out, narrator, heard) = (String::new(), &mut self.narrator, &mut self.heard);
        self.conversation.push(from, bytes, &mut |seen| {
            heard.seen(&seen);
            narrator.seen(at, &seen, &mut out);
        });
        self.print(&out)
    }

    fn end(&mut self, from: Role) -> Result<(), Failure> {
        let at = self.began.elapsed();
        if let Some((path, recorder)) = &mut self.recorder {
            recorder.end(at, self.number, from).map_err(|error| unwritten(path, &error))?;
        }
        let (mut out, narrator, heard) = (String::new(), &mut self.narrator, &mut self.heard);
        self.conversation.end(from, &mut |seen| {
            heard.seen(&seen);
            narrator.seen(at, &seen, &mut out);
        });
        self.print(&out)
    }

    fn outside(&mut self, what: Outside<'_>) -> Result<(), Failure> {
        let mut out = String::new();
        self.narrator.outside(self.began.elapsed(), what, &mut out);
        self.print(&out)
    }

    /// A reader that has gone away does not end the conversation, which may be recorded.
    fn print(&mut self, text: &str) -> Result<(), Failure> {
        if text.is_empty() || self.is_unread {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_unread = true;
                Ok(())
            }
            Err(error) => Err(Failure::new(Exit::Failed, format_args!("cannot write to standard output: {error}"))),
        }
    }
}

fn record(path: &Path, url: &str) -> Result<(PathBuf, Recorder<File>), Failure> {
    let begun = File::create(path).and_then(|file| {
        // Names and passwords in the address are nobody's business who reads the recording.
        let upstream = Uri::parse(url).map_or_else(|_| String::new(), |uri| uri.to_string());
        // Line by line, so that it is whole whenever this program is interrupted.
        Recorder::new(file, Some(&upstream))
    });
    begun.map(|recorder| (path.to_owned(), recorder)).map_err(|error| unwritten(path, &error))
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format_args!("cannot write {}: {error}", path.display()))
}
