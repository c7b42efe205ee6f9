//! `loopwire lint`: every broken rule in a recording, or in a capture of the network.
//!
//! ```text
//! recording ───────────────────────────────┐
//! pcap, pcapng ─▶ capture: TCP segments     ├─▶ Judge, one per connection ─▶ Report
//!                 └▶ streams: their order ──┘
//! ```

mod capture;
mod judge;
mod report;
mod streams;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use clap::Args;

use self::judge::Judge;
use self::report::Report;
use super::recording::{Recording, What, unreadable};
use super::{Exit, Failure};

/// As much of a capture as is read to tell its kind.
const HEAD: u64 = 64 << 10;

/// Why a file that is whole has no verdict.
const NOTHING: &str = "no whole request for a WebSocket is in it, so there is nothing to judge";

#[derive(Args, Debug)]
pub(crate) struct LintArgs {
    /// A recording (of tap), or a pcap or pcapng file of plain ws; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Tell it as JSON, one object per line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &LintArgs) -> Result<Exit, Failure> {
    let path = &args.file;
    let mut report = Report::new(args.json);
    let outcome = open(path).map_err(|error| format!("cannot be read: {error}")).and_then(|mut input| {
        let start = start(&mut input).map_err(|error| format!("cannot be read: {error}"))?;
        let whole = Cursor::new(start.clone()).chain(input);
        if capture::is_capture(&start) { lint_capture(whole, &mut report) } else { lint_recording(whole, &mut report) }
    });
    match outcome {
        // There is no verdict on what could not be read.
        Err(why) if report.is_empty() => Err(unreadable(path, &why)),
        // What was found before a damaged part is told all the same.
        Err(why) => {
            let exit = report.finish(Some(&why))?;
            Err(Failure { exit, ..unreadable(path, &why) })
        }
        Ok(()) => {
            let has_nothing = report.has_nothing_to_judge();
            let exit = report.finish(None)?;
            // A check that looked at nothing has not passed.
            if has_nothing { Err(unreadable(path, NOTHING)) } else { Ok(exit) }
        }
    }
}

type Input = Box<dyn BufRead + Send>;

fn open(path: &Path) -> io::Result<Input> {
    Ok(if path.as_os_str() == "-" {
        Box::new(BufReader::new(io::stdin()))
    } else {
        Box::new(BufReader::with_capacity(1 << 16, File::open(path)?))
    })
}

/// The first bytes: four to tell what it is, and of a capture enough for its header.
fn start(input: &mut Input) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    input.take(4).read_to_end(&mut start)?;
    if capture::is_capture(&start) {
        input.take(HEAD).read_to_end(&mut start)?;
    }
    Ok(start)
}

fn lint_recording(input: impl BufRead, report: &mut Report) -> Result<(), String> {
    let mut judges: HashMap<u64, Judge> = HashMap::new();
    let mut outcome = Ok(());
    for entry in Recording::new(input)? {
        let entry = match entry {
            Ok(entry) => entry,
            Err(why) => {
                outcome = Err(why);
                break;
            }
        };
        let judge = judges.entry(entry.connection).or_insert_with(|| Judge::new(entry.connection, None));
        match entry.what {
            What::Bytes(bytes) => judge.bytes(entry.from, &bytes, report),
            What::End => judge.end(entry.from),
        }
        if judge.is_over()
            && let Some(judge) = judges.remove(&entry.connection)
        {
            judge.finish(report);
        }
        if report.is_unread() {
            break;
        }
    }
    let mut left: Vec<Judge> = judges.into_values().collect();
    left.sort_by_key(Judge::number);
    for judge in left {
        judge.finish(report);
    }
    outcome
}

fn lint_capture(input: impl Read + Send, report: &mut Report) -> Result<(), String> {
    let mut streams = streams::Streams::new();
    let mut passed_over = 0;
    let outcome = capture::read(input, &mut passed_over, &mut |segment| {
        streams.segment(&segment, report);
        !report.is_unread()
    });
    streams.finish(report);
    report.passed_over(passed_over);
    outcome
}
