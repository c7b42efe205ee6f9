//! Standard input, read on a thread of its own: the loop never waits for it, and it waits for the loop.

use std::io::{self, BufRead as _, Read as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use loopwire::ClientHandle;

/// How much is read ahead of what the server takes: lines, or chunks of binary.
const AHEAD: usize = 64;

/// Bytes of binary in one chunk, and so in one frame at most.
const CHUNK: usize = 64 << 10;

/// What was read.
#[derive(Debug)]
pub(super) enum Input {
    /// A line, without its end.
    Line(String),
    /// The next bytes of a binary message.
    Chunk(Vec<u8>),
    /// It cannot be read on.
    Failed(String),
}

/// Tells the handler that there is something in the channel, or that its other end is gone.
#[derive(Debug)]
pub(super) struct Wake;

/// Begins to read. The channel is closed when all has been read.
pub(super) fn start(client: ClientHandle, binary: bool) -> io::Result<Receiver<Input>> {
    let (sender, receiver) = sync_channel(AHEAD);
    let read = move || {
        let post = |input| sender.send(input).is_ok() && client.post(Wake).is_ok();
        if let Err(error) = if binary { read_chunks(post) } else { read_lines(post) } {
            // If the loop is gone, nobody wants to know.
            let _ = sender.send(Input::Failed(format!("cannot read standard input: {error}")));
        }
        drop::<SyncSender<_>>(sender);
        let _ = client.post(Wake);
    };
    thread::Builder::new().name("standard input".to_owned()).spawn(read)?;
    Ok(receiver)
}

fn read_lines(post: impl Fn(Input) -> bool) -> io::Result<()> {
    let mut stdin = io::stdin().lock();
    loop {
        let mut line = Vec::new();
        if stdin.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.pop_if(|byte| *byte == b'\n').is_some() {
            line.pop_if(|byte| *byte == b'\r');
        }
        let line = String::from_utf8(line)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a line is not UTF-8; --binary sends any bytes"))?;
        if !post(Input::Line(line)) {
            return Ok(());
        }
    }
}

fn read_chunks(post: impl Fn(Input) -> bool) -> io::Result<()> {
    let mut stdin = io::stdin().lock();
    let mut chunk = vec![0; CHUNK];
    loop {
        match stdin.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(len) if post(Input::Chunk(chunk[..len].to_owned())) => {}
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
