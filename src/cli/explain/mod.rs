//! `loopwire explain`: bytes that somebody has, told bit by bit.

mod input;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Instant;

use clap::Args;
use loopwire::Role;
use loopwire::deflate::{DeflateOffer, DeflateParams};
use loopwire::explain::{Breach, Conversation, Seen};
use loopwire::wire::ProtocolError;
use serde_json::{Map, Value};

use super::tap::narration::{details, kind, sender};
use super::telling::role_name;
use super::terminal::{self, Colour, paint};
use super::{Exit, Failure, print};
use input::{Part, Source};

/// What stands below the help text.
pub(crate) const HELP: &str = "\
Examples:
  loopwire explain '81 85 37 fa 21 3d 7f 9f 4d 51 58'
  loopwire explain gQVIZWxsbw==                            # base64
  loopwire explain --permessage-deflate c107f248cdc9c90700 # compression was agreed on
  loopwire explain --file request --file answer            # a handshake

A handshake is told by its first line. Frames in one piece of input come from one end: behind an answer, as the first of them \
is masked or not.";

#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    /// A frame, several, or a handshake: in hexadecimal (spaces, colons, 0x and \x as you like), in base64, or as text with
    /// \x81, \r and \n in it; - is standard input
    #[arg(value_name = "BYTES")]
    bytes: Vec<String>,

    /// Read them from this file: as they are, in hexadecimal or in base64. May be given several times
    #[arg(long, value_name = "FILE")]
    file: Vec<PathBuf>,

    /// Read all of it as base64
    #[arg(long)]
    base64: bool,

    /// Who sent the frames: client or server [default: a client if the first is masked]
    #[arg(long, value_name = "ROLE")]
    from: Option<From>,

    /// Compression was agreed on, with these parameters if any, such as
    /// --permessage-deflate='server_no_context_takeover; client_max_window_bits=10'
    #[arg(long, value_name = "PARAMETERS", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    permessage_deflate: Option<Agreed>,

    /// Print a JSON object per line, as `tap` does, and the bytes of frames with it in hexadecimal
    #[arg(long)]
    json: bool,
}

/// An end of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct From(Role);

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "client" => Ok(Self(Role::Client)),
            "server" => Ok(Self(Role::Server)),
            _ => Err("write client or server".to_owned()),
        }
    }
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 == Role::Client { "client" } else { "server" })
    }
}

/// What was agreed on compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Agreed(DeflateParams);

impl FromStr for Agreed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim().strip_prefix("permessage-deflate").unwrap_or(text);
        let params = text.split(';').map(str::trim).filter(|param| !param.is_empty());
        let params = params.map(|param| match param.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
            None => (param, None),
        });
        // Whatever is answered was offered.
        let offer = DeflateOffer { client_max_window_bits: Some(15), ..DeflateOffer::default() };
        DeflateParams::agreed(&[offer], params).map(Self).map_err(|error| error.to_string())
    }
}

impl fmt::Display for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Prints what the bytes say. A broken rule is told by the exit code, too.
pub(crate) fn run(args: &ExplainArgs) -> Result<Exit, Failure> {
    let sources = input::read(&args.bytes, &args.file, args.base64)?;
    let usage = |what: &str| Err(Failure::new(Exit::Usage, what));
    let mut parts = Vec::new();
    for source in &sources {
        parts.extend(input::parts(source, args.from.map(|from| from.0)));
    }
    let mut conversation = match (parts.first(), &args.permessage_deflate) {
        (Some(Part::Head(Role::Server, _)), _) => {
            return usage("an answer is judged by what was asked: give the request before it");
        }
        (Some(Part::Head(Role::Client, _)), Some(_)) => {
            return usage(
                "--permessage-deflate is for frames without their handshake: this one says what was agreed on",
            );
        }
        (Some(Part::Head(Role::Client, _)), None) => Conversation::new(Instant::now()),
        (_, deflate) => Conversation::of_frames(deflate.map(|agreed| agreed.0), Instant::now()),
    };
    if let Some(index) = parts.iter().position(|part| matches!(part, Part::Frames(..)))
        && parts[index..].iter().any(|part| matches!(part, Part::Head(..)))
    {
        return usage("a handshake comes before the frames: give its request and answer first");
    }
    conversation = conversation.keep(usize::MAX);
    let mut told = Told { json: args.json, guessed_plain: args.permessage_deflate.is_none(), ..Told::default() };
    for part in &parts {
        let (Part::Head(from, bytes) | Part::Frames(from, bytes)) = part;
        conversation.push(*from, bytes, &mut |seen| told.see(&seen));
    }
    for from in [Role::Client, Role::Server] {
        conversation.end(from, &mut |seen| told.see(&seen));
    }
    told.finish(&sources)
}

/// What is to be printed.
#[derive(Default)]
struct Told {
    /// A line of JSON each.
    json: bool,
    /// Each with what belongs to it; an empty line comes between.
    blocks: Vec<String>,
    /// What was broken in the frame that is not complete yet.
    held: String,
    is_broken: bool,
    /// Why the input is not all that it begins.
    incomplete: Option<String>,
    /// Nobody has said whether compression was agreed on.
    guessed_plain: bool,
}

impl Told {
    fn see(&mut self, seen: &Seen<'_>) {
        let text = if self.json { json_line(seen) } else { seen.detail().to_string() };
        match seen {
            Seen::Violation(violation) => {
                self.is_broken = true;
                match violation.breach {
                    Breach::Request(_) | Breach::Answer(_) if self.json => self.append(&text),
                    Breach::Request(_) | Breach::Answer(_) => self.append(&format!("\n{text}")),
                    Breach::DataBeforeAnswer => self.blocks.push(text),
                    _ => self.held.push_str(&text),
                }
                if self.guessed_plain && !self.json && violation.breach == Breach::Frame(ProtocolError::ReservedBit(1))
                {
                    self.held.push_str("  Perhaps   compression was agreed on: then say so by --permessage-deflate\n");
                }
            }
            Seen::Message { .. } => self.append(&text),
            Seen::End { from, frame, message, header, unfinished, .. } => {
                let whose = From(*from);
                if let Some(frame) = frame {
                    let missing = frame.header.payload_len() - frame.received;
                    self.incomplete =
                        Some(format!("the {whose}'s last frame is not complete: {missing} bytes of it are missing"));
                } else if !header.is_empty() {
                    self.incomplete = Some(format!("the {whose}'s last frame is not complete: it ends in its header"));
                } else if *unfinished && message.is_none() {
                    self.incomplete =
                        Some(format!("the {whose}'s head is not complete: it has no blank line at its end"));
                }
                self.push(text);
            }
            _ => self.push(text),
        }
    }

    fn push(&mut self, text: String) {
        if text.is_empty() {
            return;
        }
        self.blocks.push(text);
        let held = std::mem::take(&mut self.held);
        self.append(&held);
    }

    fn append(&mut self, text: &str) {
        match self.blocks.last_mut() {
            Some(block) => block.push_str(text),
            None if text.is_empty() => {}
            None => self.blocks.push(text.to_owned()),
        }
    }

    fn finish(mut self, sources: &[Source]) -> Result<Exit, Failure> {
        let held = std::mem::take(&mut self.held);
        self.append(&held);
        let coloured = terminal::colour_on_stdout();
        let blocks: Vec<String> = self.blocks.iter().map(|block| coloured_block(block, coloured)).collect();
        let printed = print(&blocks.join(if self.json { "" } else { "\n" }));
        if printed != Exit::Done {
            return Ok(printed);
        }
        if self.is_broken {
            return Ok(Exit::Broken);
        }
        match self.incomplete {
            Some(what) => {
                let is_file = sources.last().is_some_and(|source| source.is_file);
                Err(Failure::new(if is_file { Exit::Failed } else { Exit::Usage }, what))
            }
            None => Ok(Exit::Done),
        }
    }
}

/// What was seen as an object in a line.
fn json_line(seen: &Seen<'_>) -> String {
    let mut object = Map::new();
    let mut add = |key: &str, value: Value| object.insert(key.to_owned(), value);
    add("event", kind(seen).into());
    add("from", role_name(sender(seen)).into());
    add("sentence", seen.to_string().into());
    if let Seen::Frame { frame, .. } | Seen::End { frame: Some(frame), .. } = seen {
        add("header", hex(frame.header.bytes()).into());
        add("key", frame.header.masking_key().map(|key| hex(&key.0)).into());
        add("payload", hex(&frame.payload).into());
        add("unmasked", hex(&frame.unmasked()).into());
    }
    details(seen, &mut object);
    Value::Object(object).to_string() + "\n"
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |text, byte| text + &format!("{byte:02x}"))
}

/// A block with its first line, and what is broken in it, in colour.
fn coloured_block(block: &str, coloured: bool) -> String {
    let colour = |(at, line): (usize, &str)| {
        let text = line.trim_end_matches('\n');
        let is_bad = ["  Broken ", "  refused ", "  missing "].iter().any(|start| line.starts_with(start));
        match (is_bad, at) {
            (true, _) => format!("{}\n", paint(text, Colour::Red, coloured)),
            (false, 0) => format!("{}\n", paint(text, Colour::Cyan, coloured)),
            _ => line.to_owned(),
        }
    };
    block.split_inclusive('\n').enumerate().map(colour).collect()
}
