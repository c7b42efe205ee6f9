//! `loopwire frame`: frames from plain text, right or wrong, to standard output or to a server.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use loopwire::deflate::DeflateConfig;
use loopwire::explain::{ComposeError, ComposedFrame, Composer, EndpointState};
use loopwire::handshake::{ClientHandshake, ClientOptions, Uri};
use loopwire::wire::MaskingKey;

use super::dial::{Field, field};
use super::raw_line::Received;
use super::talk::{Talk, TalkArgs};
use super::terminal;
use super::values::Span;
use super::{Exit, Failure};

/// What stands below the help text.
pub(crate) const LANGUAGE: &str = "\
A frame is what it carries, then words and payloads:
  text binary cont close ping pong opcode=N   what it carries
  fin rsv1 rsv2 rsv3                          these bits are set
  mask mask=01020304 unmasked                 a fresh key, this one, or none
  len=7 len=16 len=64                         the length stands in so many bits
  declared=N                                  the header says N, whatever is true
  \"text\\n\\x00\\u{fc}\" hex:48656c file:PATH     payload
  1000                                        a close frame's code
  repeat(3, \"ab\") deflate(\"Hello\")            payload, repeated or compressed
Nothing is added: without fin it is a fragment, without rsv1 not compressed. Frames are separated by ; or by lines; # \
begins a comment. Such as: loopwire frame 'text \"Hel\"; cont fin \"lo\"'";

/// How many bytes stand in a line of hexadecimal.
const BYTES_PER_LINE: usize = 24;

#[derive(Args, Debug)]
pub(crate) struct FrameArgs {
    /// The frames; without any, standard input is read
    #[arg(value_name = "FRAMES")]
    frames: Vec<String>,

    /// Connect to this WebSocket server, send them there, and tell what it says
    #[arg(long, value_name = "URL", value_parser = super::dial::url)]
    to: Option<String>,

    /// Whose frames these are: a client's are masked if they do not say unmasked [default: client with --to, otherwise
    /// server]
    #[arg(long, value_name = "WHO", value_enum)]
    role: Option<Sender>,

    /// Write hexadecimal instead of bytes, as is done for a terminal
    #[arg(long)]
    hex: bool,

    #[command(flatten)]
    sending: SendingArgs,

    #[command(flatten)]
    talk: TalkArgs,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "With --to")]
struct SendingArgs {
    /// End when the server has been silent for so long after the last frame
    #[arg(long, value_name = "TIME", default_value = "1s")]
    patience: Span,

    /// Send this field with the opening handshake, such as "Authorization: Bearer x". May be given several times
    #[arg(long, value_name = "NAME: VALUE", value_parser = field)]
    header: Vec<Field>,

    /// Offer this subprotocol, the preferred one first. May be given several times
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    subprotocol: Vec<String>,

    /// Name this origin, as a browser would
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,

    /// Do not offer compression
    #[arg(long)]
    no_deflate: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sender {
    Client,
    Server,
}

pub(crate) fn run(args: &FrameArgs) -> Result<Exit, Failure> {
    let texts = match &args.frames[..] {
        [] => vec![standard_input()?],
        texts => texts.to_vec(),
    };
    let role = args.role.unwrap_or(if args.to.is_some() { Sender::Client } else { Sender::Server });
    let composer = Composer::new(fresh_key).files(read_file).masked(role == Sender::Client);
    // What is wrong is told before anything is sent.
    let frames = compose(composer, &texts)?;
    match &args.to {
        Some(url) => send(url, args, &texts, role),
        None if args.hex || terminal::stdout_is_terminal() => Ok(super::print(&hexadecimal(&frames))),
        None => Ok(write(&frames)),
    }
}

fn compose(mut composer: Composer<'_>, texts: &[String]) -> Result<Vec<ComposedFrame>, Failure> {
    let mut frames = Vec::new();
    for (text, number) in texts.iter().zip(1..) {
        let more = composer.compose(text).map_err(|error| misread(&error, number, texts.len()))?;
        frames.extend(more);
    }
    if frames.is_empty() {
        return Err(Failure::new(Exit::Usage, "no frame was given, such as: text fin \"Hello\""));
    }
    Ok(frames)
}

fn misread(error: &ComposeError, number: usize, count: usize) -> Failure {
    // Unquoted, a shell makes many arguments of one frame.
    match (number, count) {
        (_, 1) => Failure::new(Exit::Usage, error),
        _ => Failure::new(
            Exit::Usage,
            format_args!("frame argument {number}, {error}; in a shell, a frame stands in single quotes"),
        ),
    }
}

/// Opens a connection as any client does, sends the frames, and tells what comes.
fn send(url: &str, args: &FrameArgs, texts: &[String], role: Sender) -> Result<Exit, Failure> {
    let sending = &args.sending;
    let uri = Uri::parse(url).map_err(|error| Failure::new(Exit::Usage, error))?;
    let options = ClientOptions {
        fields: sending.header.iter().map(|Field(name, value)| (name.clone(), value.clone())).collect(),
        protocols: sending.subprotocol.clone(),
        origin: sending.origin.clone(),
        deflate: (!sending.no_deflate).then(DeflateConfig::default),
        ..ClientOptions::default()
    };
    let (_, request) = ClientHandshake::new(&uri, &options).map_err(|error| Failure::new(Exit::Usage, error))?;
    let mut talk = Talk::open(url, 0, &args.talk)?;
    talk.send(&request)?;
    let deadline = Instant::now() + args.talk.timeout();
    while talk.state() == EndpointState::Connecting {
        let left = deadline.saturating_duration_since(Instant::now());
        if talk.listen(left)? == Received::Nothing {
            return Err(Failure::new(
                Exit::NotConnected,
                "no answer to the opening handshake within --connect-timeout",
            ));
        }
    }
    if talk.state() != EndpointState::Open {
        return Err(Failure::new(Exit::NotConnected, "the opening handshake failed, so no frame was sent"));
    }
    let mut composer = Composer::new(fresh_key).files(read_file).masked(role == Sender::Client);
    if let Some(agreed) = talk.conversation().deflate() {
        composer = composer.deflate(agreed.client_max_window_bits, !agreed.client_no_context_takeover);
    }
    for frame in compose(composer, texts)? {
        talk.listen_now()?;
        if !talk.send(&frame.bytes)? {
            terminal::say("the server has let go of the connection: the rest was not sent");
            break;
        }
    }
    while matches!(talk.listen(sending.patience.0)?, Received::Bytes(_)) {}
    talk.end()?;
    // The server may still say goodbye.
    let goodbye = sending.patience.0.min(Duration::from_secs(1));
    while matches!(talk.listen(goodbye)?, Received::Bytes(_)) {}
    Ok(Exit::Done)
}

fn write(frames: &[ComposedFrame]) -> Exit {
    let mut stdout = io::stdout().lock();
    let written = frames.iter().try_for_each(|frame| stdout.write_all(&frame.bytes)).and_then(|()| stdout.flush());
    match written {
        Ok(()) => Exit::Done,
        // Whoever read our output has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(error) => {
            terminal::error(&format_args!("cannot write to standard output: {error}"));
            Exit::Failed
        }
    }
}

/// Each frame from the beginning of a line.
fn hexadecimal(frames: &[ComposedFrame]) -> String {
    let mut out = String::new();
    for line in frames.iter().flat_map(|frame| frame.bytes.chunks(BYTES_PER_LINE)) {
        for (index, byte) in line.iter().enumerate() {
            // Writing to a string does not fail.
            let _ = write!(out, "{}{byte:02x}", if index == 0 { "" } else { " " });
        }
        out.push('\n');
    }
    out
}

fn standard_input() -> Result<String, Failure> {
    let mut text = String::new();
    let read = io::stdin().read_to_string(&mut text);
    read.map_err(|error| Failure::new(Exit::Failed, format_args!("cannot read standard input: {error}")))?;
    Ok(text)
}

fn read_file(path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {path}: {error}"))
}

fn fresh_key() -> MaskingKey {
    let mut key = [0; 4];
    // A system without randomness has said so at the handshake; what is left is a key that can be guessed.
    let _ = getrandom::fill(&mut key);
    MaskingKey(key)
}
