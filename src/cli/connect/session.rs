//! One run of `loopwire connect`: from the input to the server, from the server to standard output.

use std::any::Any;
use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use loopwire::handshake::Uri;
use loopwire::net::{ConnectionId, DialError, SendError, Sent};
use loopwire::protocol::{Closed, Side};
use loopwire::wire::{CloseCode, MessageKind, ProtocolError};
use loopwire::{Connections, Handler, Message, WebSocket};

use super::command::{self, Typed};
use super::input::{Input, Wake};
use super::{TalkArgs, Wait};
use crate::cli::Exit;
use crate::cli::terminal::{self, Colour, paint, printable, say, say_in};
use crate::cli::values::Span;

/// The ping that goes out behind the last line.
const FENCE: &[u8] = b"loopwire: last line";

/// The timers.
const TIMEOUT: u64 = 1;
const WAITED: u64 = 2;

/// How long a run that has timed out still takes to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// How many bytes of a binary message a terminal is shown.
const PREVIEW: usize = 16;

pub(super) struct Session {
    talk: TalkArgs,
    interactive: bool,
    input: Receiver<Input>,
    /// The connection, while there is one.
    id: Option<ConnectionId>,
    /// The server does not take more for now.
    blocked: bool,
    /// A binary message has begun and not ended.
    in_message: bool,
    /// This connection has been told that nothing more comes: a wake of an earlier line finds the input ended, too.
    ended: bool,
    /// The payloads of the pings that were typed and not answered yet.
    pings: VecDeque<String>,
    /// What to end with, if it is not for the close code to say.
    verdict: Rc<Cell<Option<Exit>>>,
}

impl Session {
    pub(super) fn new(
        talk: TalkArgs,
        interactive: bool,
        input: Receiver<Input>,
        verdict: Rc<Cell<Option<Exit>>>,
    ) -> Self {
        Self {
            talk,
            interactive,
            input,
            id: None,
            blocked: false,
            in_message: false,
            ended: false,
            pings: VecDeque::new(),
            verdict,
        }
    }

    /// Sends what was read, as far as the server takes it. What it does not take stays in the channel, and so the rest
    /// in standard input.
    fn pump(&mut self, ws: &mut WebSocket<'_>) {
        while !self.blocked && !self.ended && ws.is_open() {
            match self.input.try_recv() {
                Ok(Input::Line(line)) if self.interactive => self.obey(ws, &line),
                Ok(Input::Line(line)) => {
                    let sent = ws.send(&line);
                    self.note(sent);
                }
                Ok(Input::Chunk(chunk)) => {
                    self.in_message = true;
                    let sent = ws.send_piece(MessageKind::Binary, &chunk, false);
                    self.note(sent);
                }
                Ok(Input::Failed(why)) => {
                    terminal::error(&why);
                    self.end(ws, Exit::Failed);
                }
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => return self.input_has_ended(ws),
            }
        }
    }

    fn obey(&mut self, ws: &mut WebSocket<'_>, line: &str) {
        match Typed::parse(line) {
            Typed::Message(text) => {
                let sent = ws.send(text);
                self.note(sent);
            }
            Typed::Ping(payload) => {
                let sent = ws.ping(payload.as_bytes());
                if sent.is_ok() {
                    self.pings.push_back(payload.to_owned());
                }
                self.note(sent);
            }
            Typed::Close(code, reason) => {
                if let Err(error) = ws.close(code, reason) {
                    say_in(Colour::Red, error);
                }
            }
            Typed::Help => say(command::HELP),
            Typed::Wrong(why) => say_in(Colour::Red, why),
        }
    }

    fn note(&mut self, sent: Result<Sent, SendError>) {
        match sent {
            Ok(Sent::Written) => {}
            Ok(Sent::Backpressure) => self.blocked = true,
            Ok(Sent::Dropped) => say_in(Colour::Red, "not sent: too much is waiting"),
            Err(error) => say_in(Colour::Red, format_args!("not sent: {error}")),
        }
    }

    /// All was sent; now for the answers.
    fn input_has_ended(&mut self, ws: &mut WebSocket<'_>) {
        self.ended = true;
        if std::mem::take(&mut self.in_message) {
            let sent = ws.send_piece(MessageKind::Binary, b"", true);
            self.note(sent);
        }
        match self.talk.wait {
            _ if self.talk.one => {}
            Wait::Answers => {
                let sent = ws.ping(FENCE);
                self.note(sent);
            }
            Wait::For(Span(time)) => drop(ws.set_timer(time, WAITED)),
            Wait::Forever => {}
        }
    }

    fn print(&self, message: Message<'_>) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        let bytes = message.payload();
        match message {
            Message::Text(text) if terminal::stdout_is_terminal() => {
                let mark = paint("‹ ", Colour::Cyan, terminal::colour_on_stdout());
                let lines: Vec<String> = text.split('\n').map(printable).collect();
                writeln!(stdout, "{mark}{}", lines.join("\n  "))
            }
            Message::Binary(_) if terminal::stdout_is_terminal() => {
                let shown: Vec<String> = bytes.iter().take(PREVIEW).map(|byte| format!("{byte:02x}")).collect();
                let more = if bytes.len() > PREVIEW { " …" } else { "" };
                let text = format!("‹ binary, {} bytes: {}{more}", bytes.len(), shown.join(" "));
                writeln!(stdout, "{}", paint(text, Colour::Cyan, terminal::colour_on_stdout()))
            }
            Message::Text(_) if !self.talk.binary => {
                stdout.write_all(bytes)?;
                stdout.write_all(b"\n")
            }
            _ => stdout.write_all(bytes),
        }?;
        stdout.flush()
    }

    /// Ends with `exit`, whatever the server answers.
    fn end(&mut self, ws: &mut WebSocket<'_>, exit: Exit) {
        self.verdict.set(Some(exit));
        if ws.close(CloseCode::NORMAL, "").is_err() {
            ws.abort();
        }
    }
}

impl Handler for Session {
    fn on_start(&mut self, connections: &mut Connections<'_>) {
        if let Some(Span(time)) = self.talk.timeout.0 {
            connections.set_timer(time, TIMEOUT);
        }
    }

    fn on_open(&mut self, ws: &mut WebSocket<'_>) {
        self.id = Some(ws.id());
        self.blocked = false;
        self.ended = false;
        let mut agreed = Vec::new();
        agreed.extend(ws.protocol().map(|protocol| format!("subprotocol {}", printable(protocol))));
        agreed.extend(ws.deflate().map(|deflate| deflate.to_string()));
        let agreed = if agreed.is_empty() { String::new() } else { format!(", {}", agreed.join(", ")) };
        say_in(Colour::Green, format_args!("connected to {}{agreed}", ws.peer_addr()));
        if self.interactive {
            say_in(Colour::Dim, "Each line is a message; /help shows the commands, Ctrl-D ends.");
        }
        self.pump(ws);
    }

    fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
        if self.verdict.get().is_some() {
            return;
        }
        match self.print(message) {
            Ok(()) if self.talk.one => self.end(ws, Exit::Done),
            Ok(()) => {}
            // Whoever read our output has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.end(ws, Exit::Done),
            Err(error) => {
                terminal::error(&format_args!("cannot write to standard output: {error}"));
                self.end(ws, Exit::Failed);
            }
        }
    }

    fn on_pong(&mut self, ws: &mut WebSocket<'_>, payload: &[u8], rtt: Option<Duration>) {
        if payload == FENCE {
            let _ = ws.close(CloseCode::NORMAL, "");
        } else if self.pings.front().is_some_and(|ping| ping.as_bytes() == payload) {
            let ping = self.pings.pop_front().unwrap_or_default();
            let after = rtt.map_or(String::new(), |rtt| format!(" after {:.2} ms", rtt.as_secs_f64() * 1000.0));
            say_in(Colour::Dim, format_args!("pong {}{after}", printable(&ping)));
        }
    }

    fn on_writable(&mut self, ws: &mut WebSocket<'_>) {
        self.blocked = false;
        self.pump(ws);
    }

    fn on_error(&mut self, _ws: &mut WebSocket<'_>, error: &ProtocolError) {
        say_in(Colour::Red, error);
    }

    fn on_close(&mut self, _ws: &mut WebSocket<'_>, closed: &Closed) {
        self.id = None;
        self.pings.clear();
        let how = match (closed.error, closed.by) {
            // The code is then the one that we told the server.
            (Some(_), _) => "failed",
            (None, Side::Peer) => "closed by the server",
            (None, Side::Local) => "closed",
        };
        let reason = if closed.reason.is_empty() { String::new() } else { format!(": {}", printable(&closed.reason)) };
        let unclean = if closed.clean { "" } else { ", without a closing handshake" };
        let colour = if closed.clean { Colour::Dim } else { Colour::Red };
        say_in(colour, format_args!("{how} with {}{reason}{unclean}", closed.code));
    }

    fn on_timer(&mut self, ws: &mut WebSocket<'_>, key: u64) {
        if key == WAITED {
            let _ = ws.close(CloseCode::NORMAL, "");
        }
    }

    fn on_loop_timer(&mut self, connections: &mut Connections<'_>, key: u64) {
        if key == TIMEOUT && self.verdict.get().is_none() {
            say_in(Colour::Red, "--timeout ran out");
            self.verdict.set(Some(Exit::TimedOut));
            connections.shutdown(GOODBYE);
        }
    }

    fn on_task(&mut self, connections: &mut Connections<'_>, task: Box<dyn Any + Send>) {
        if task.is::<Wake>()
            && let Some(mut ws) = self.id.and_then(|id| connections.get(id))
        {
            self.pump(&mut ws);
        }
    }

    fn on_reconnecting(&mut self, _connections: &mut Connections<'_>, delay: Duration, attempt: u32) {
        let seconds = delay.as_secs_f64();
        say_in(Colour::Dim, format_args!("connecting again in {seconds:.1} s, attempt {attempt}"));
    }

    fn on_dial_failed(&mut self, _connections: &mut Connections<'_>, _id: ConnectionId, error: &DialError) {
        // Without another attempt it is what the run ends with, and said there.
        log::info!("{error}");
    }
}

/// The address as it may be shown.
pub(super) fn without_password(url: &str) -> String {
    Uri::parse(url).map_or_else(|_| url.to_owned(), |uri| uri.to_string())
}
