//! Recordings: what passed between clients and a server, as JSON lines that other tools can read too.
//!
//! ```text
//! {"recording":1,"upstream":"ws://127.0.0.1:9001"}
//! {"at":0.000512,"connection":0,"from":"client","bytes":"R0VUIC8gSFRUUC8xLjENCg=="}
//! {"at":0.020011,"connection":0,"from":"client","end":true}
//! ```
//!
//! A line per chunk, in the order in which they passed: when, in seconds since the recording began, on which connection,
//! from whom, and its bytes in base64, as they were before TLS; or that the sender's stream has ended.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use loopwire::Role;
use serde::{Deserialize, Serialize};

use super::{Exit, Failure};

/// The format's version, in its first line.
const VERSION: u32 = 1;

/// The longest chunk that is written, in bytes; a longer one becomes several.
const MAX_CHUNK: usize = 8 << 20;

/// The longest line that is read, in bytes.
const MAX_LINE: u64 = 16 << 20;

/// Something that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Since the recording began.
    pub(crate) at: Duration,
    pub(crate) connection: u64,
    pub(crate) from: Role,
    pub(crate) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Bytes(Vec<u8>),
    /// That end sends no more.
    End,
}

#[derive(Deserialize, Serialize)]
struct FirstLine {
    recording: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upstream: Option<String>,
}

#[derive(Deserialize)]
struct Line<'l> {
    at: f64,
    connection: u64,
    from: Sender,
    // Base64 and what is in JSON strings never differ, but another writer may escape a slash.
    #[serde(borrow, default)]
    bytes: Option<std::borrow::Cow<'l, str>>,
    #[serde(default)]
    end: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sender {
    Client,
    Server,
}

/// Writes a recording.
#[derive(Debug)]
pub(crate) struct Recorder<W: Write> {
    output: W,
    /// A line that is being put together.
    line: String,
}

impl<W: Write> Recorder<W> {
    /// Begins a recording of what passes to and from the server at `upstream`.
    pub(crate) fn new(mut output: W, upstream: Option<&str>) -> io::Result<Self> {
        let first = FirstLine { recording: VERSION, upstream: upstream.map(str::to_owned) };
        writeln!(output, "{}", serde_json::to_string(&first)?)?;
        Ok(Self { output, line: String::new() })
    }

    pub(crate) fn bytes(&mut self, at: Duration, connection: u64, from: Role, bytes: &[u8]) -> io::Result<()> {
        for chunk in bytes.chunks(MAX_CHUNK) {
            self.begin(at, connection, from);
            self.line.push_str("\"bytes\":\"");
            STANDARD.encode_string(chunk, &mut self.line);
            self.line.push_str("\"}\n");
            self.output.write_all(self.line.as_bytes())?;
        }
        Ok(())
    }

    pub(crate) fn end(&mut self, at: Duration, connection: u64, from: Role) -> io::Result<()> {
        self.begin(at, connection, from);
        self.line.push_str("\"end\":true}\n");
        self.output.write_all(self.line.as_bytes())
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    fn begin(&mut self, at: Duration, connection: u64, from: Role) {
        use std::fmt::Write as _;
        self.line.clear();
        let from = match from {
            Role::Client => "client",
            Role::Server => "server",
        };
        let (seconds, micros) = (at.as_secs(), at.subsec_micros());
        // Writing to a string does not fail.
        let _ = write!(self.line, "{{\"at\":{seconds}.{micros:06},\"connection\":{connection},\"from\":\"{from}\",");
    }
}

/// Reads a recording, an entry at a time. Errors are sentences that name the line.
#[derive(Debug)]
pub(crate) struct Recording<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
    /// Nothing more is read behind an error.
    is_over: bool,
}

/// The recording in a file; `-` is standard input.
pub(crate) fn open(path: &Path) -> Result<Recording<Box<dyn BufRead>>, Failure> {
    let input: Box<dyn BufRead> = if path.as_os_str() == "-" {
        Box::new(BufReader::new(io::stdin()))
    } else {
        let file = File::open(path);
        Box::new(BufReader::new(file.map_err(|error| unreadable(path, &format!("cannot be read: {error}")))?))
    };
    Recording::new(input).map_err(|why| unreadable(path, &why))
}

/// What is said of a file that is no recording, or a damaged one.
pub(crate) fn unreadable(path: &Path, why: &str) -> Failure {
    Failure::new(Exit::Failed, format_args!("{}: {why}", path.display()))
}

impl<R: BufRead> Recording<R> {
    /// Reads the first line.
    pub(crate) fn new(input: R) -> Result<Self, String> {
        let mut recording = Self { input, line: Vec::new(), number: 0, is_over: false };
        if !recording.next_line()? {
            return Err("is empty, and so no recording".to_owned());
        }
        let first: FirstLine = serde_json::from_slice(&recording.line)
            .map_err(|_| "line 1 is not a recording's, which is {\"recording\":1,…}".to_owned())?;
        if first.recording != VERSION {
            let version = first.recording;
            return Err(format!("is a recording of version {version}, and only version {VERSION} is understood"));
        }
        Ok(recording)
    }

    /// Reads the next line that has something in it; `false` at the end.
    fn next_line(&mut self) -> Result<bool, String> {
        loop {
            self.line.clear();
            let number = self.number + 1;
            let read = (&mut self.input).take(MAX_LINE).read_until(b'\n', &mut self.line);
            match read.map_err(|error| format!("line {number} cannot be read: {error}"))? {
                0 => return Ok(false),
                len if len as u64 == MAX_LINE && !self.line.ends_with(b"\n") => {
                    return Err(format!("line {number} is longer than {} MiB", MAX_LINE >> 20));
                }
                _ => self.number = number,
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    fn next_entry(&mut self) -> Result<Option<Entry>, String> {
        if !self.next_line()? {
            return Ok(None);
        }
        let number = self.number;
        let wrong = |what: &dyn std::fmt::Display| format!("line {number}: {what}");
        let line: Line<'_> = serde_json::from_slice(&self.line).map_err(|error| {
            // serde_json counts its own lines, of which there is one.
            let what = error.to_string();
            let what = what.split(" at line ").next().unwrap_or_default();
            let is_cut = error.is_eof() && !self.line.ends_with(b"\n");
            wrong(&if is_cut { "is cut off" } else { what })
        })?;
        let what = match (line.bytes, line.end) {
            (Some(bytes), false) => {
                let bytes = STANDARD.decode(bytes.as_bytes());
                What::Bytes(bytes.map_err(|error| wrong(&format_args!("\"bytes\" is not base64: {error}")))?)
            }
            (None, true) => What::End,
            _ => return Err(wrong(&"has to have either \"bytes\" or \"end\":true")),
        };
        let at = Duration::try_from_secs_f64(line.at).map_err(|_| wrong(&"\"at\" is not a time in seconds"))?;
        let from = match line.from {
            Sender::Client => Role::Client,
            Sender::Server => Role::Server,
        };
        Ok(Some(Entry { at, connection: line.connection, from, what }))
    }
}

impl<R: BufRead> Iterator for Recording<R> {
    type Item = Result<Entry, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let next = self.next_entry().transpose();
        self.is_over = !matches!(next, Some(Ok(_)));
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> Result<Vec<Entry>, String> {
        Recording::new(input)?.collect()
    }

    fn entries() -> Vec<Entry> {
        let entry =
            |micros, connection, from, what| Entry { at: Duration::from_micros(micros), connection, from, what };
        vec![
            entry(512, 0, Role::Client, What::Bytes(b"GET / HTTP/1.1\r\n".to_vec())),
            entry(1_234_567, 0, Role::Server, What::Bytes(vec![0, 255, 128])),
            entry(86_400_000_001, 7, Role::Client, What::End),
        ]
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut output = Vec::new();
        let mut recorder = Recorder::new(&mut output, Some("ws://localhost:9001/")).unwrap();
        for Entry { at, connection, from, what } in entries() {
            match what {
                What::Bytes(bytes) => recorder.bytes(at, connection, from, &bytes).unwrap(),
                What::End => recorder.end(at, connection, from).unwrap(),
            }
        }
        recorder.flush().unwrap();
        let text = String::from_utf8(output).unwrap();
        assert_eq!(
            text,
            "{\"recording\":1,\"upstream\":\"ws://localhost:9001/\"}\n\
             {\"at\":0.000512,\"connection\":0,\"from\":\"client\",\"bytes\":\"R0VUIC8gSFRUUC8xLjENCg==\"}\n\
             {\"at\":1.234567,\"connection\":0,\"from\":\"server\",\"bytes\":\"AP+A\"}\n\
             {\"at\":86400.000001,\"connection\":7,\"from\":\"client\",\"end\":true}\n"
        );
        assert_eq!(read(text.as_bytes()).unwrap(), entries());
    }

    #[test]
    fn a_chunk_too_long_for_a_line_becomes_several() {
        let mut output = Vec::new();
        let bytes = vec![7; MAX_CHUNK + 1];
        Recorder::new(&mut output, None).unwrap().bytes(Duration::ZERO, 0, Role::Client, &bytes).unwrap();
        let lengths = read(&output[..]).unwrap().into_iter().map(|entry| match entry.what {
            What::Bytes(bytes) => bytes.len(),
            What::End => 0,
        });
        assert_eq!(lengths.collect::<Vec<_>>(), [MAX_CHUNK, 1]);
    }

    #[test]
    fn what_another_program_wrote_is_read_too() {
        let text = "{ \"upstream\": null, \"recording\": 1, \"by\": \"hand\" }\r\n\r\n\
                    {\"from\":\"server\",\"connection\":1,\"at\":2,\"bytes\":\"\\/w==\",\"note\":\"\"}";
        let what = What::Bytes(vec![255]);
        let expected = Entry { at: Duration::from_secs(2), connection: 1, from: Role::Server, what };
        assert_eq!(read(text.as_bytes()).unwrap(), [expected]);
    }

    #[test]
    fn what_is_no_recording_is_told_with_its_line() {
        let first = "{\"recording\":1}\n";
        let rows = [
            (String::new(), "is empty, and so no recording"),
            ("\u{7f}ELF".to_owned(), "line 1 is not a recording's"),
            ("{\"recording\":2}\n".to_owned(), "is a recording of version 2"),
            (format!("{first}{{\"at\":0,\"connection\":0,\"fr"), "line 2: is cut off"),
            (format!("{first}\n{{}}\n"), "line 3: missing field `at`"),
            (format!("{first}{{\"at\":-1,\"connection\":0,\"from\":\"client\",\"end\":true}}\n"), "line 2: \"at\""),
            (format!("{first}{{\"at\":0,\"connection\":0,\"from\":\"proxy\",\"end\":true}}\n"), "line 2: unknown"),
            (format!("{first}{{\"at\":0,\"connection\":0,\"from\":\"client\"}}\n"), "line 2: has to have either"),
            (
                format!("{first}{{\"at\":0,\"connection\":0,\"from\":\"client\",\"bytes\":\"A\"}}\n"),
                "line 2: \"bytes\" is not base64",
            ),
        ];
        for (text, expected) in rows {
            let why = read(text.as_bytes()).unwrap_err();
            assert!(why.starts_with(expected), "{why:?} for {text:?}");
        }
    }
}
