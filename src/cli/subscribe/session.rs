//! One run of `loopwire subscribe`: what goes over the wire, in the JSON of the client protocol.

use std::cell::Cell;
use std::io::{self, Write as _};
use std::rc::Rc;
use std::time::Duration;

use loopwire::net::{ConnectionId, DialError};
use loopwire::protocol::Closed;
use loopwire::{CloseCode, Connections, Handler, Message, WebSocket};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::{Since, SubscribeArgs};
use crate::cli::Exit;
use crate::cli::terminal::{self, Colour, printable, say_in};
use crate::cli::values::Span;

/// The command that says who we are. Those that subscribe count on from it.
const CONNECT: usize = 1;

/// The timer of `--timeout`, and how long a run that has timed out still takes to say goodbye.
const TIMEOUT: u64 = 1;
const GOODBYE: Duration = Duration::from_secs(1);

/// How long a channel is let alone that cannot be subscribed to for now. The timer's key is the channel's index.
const AGAIN: Duration = Duration::from_secs(1);

pub(super) struct Session {
    channels: Vec<Channel>,
    token: String,
    channel_token: String,
    json: bool,
    /// Publications that are still wanted, if not all are.
    left: Option<u32>,
    timeout: Option<Span>,
    /// What to end with, if it is not for the close code to say.
    verdict: Rc<Cell<Option<Exit>>>,
}

/// A channel, and what has been seen of it.
struct Channel {
    name: String,
    seen: Option<Since>,
}

/// What the server says, as far as it matters here.
#[derive(Deserialize)]
struct Reply<'m> {
    #[serde(default)]
    id: usize,
    error: Option<Refusal>,
    #[serde(borrow)]
    subscribe: Option<Subscribed<'m>>,
    connect: Option<serde::de::IgnoredAny>,
    #[serde(borrow)]
    push: Option<Push<'m>>,
}

#[derive(Deserialize)]
struct Refusal {
    code: u32,
    message: String,
    #[serde(default)]
    temporary: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Subscribed<'m> {
    recoverable: bool,
    epoch: String,
    offset: u64,
    was_recovering: bool,
    recovered: bool,
    #[serde(borrow)]
    publications: Vec<&'m RawValue>,
}

#[derive(Deserialize)]
struct Push<'m> {
    #[serde(default)]
    channel: String,
    #[serde(borrow, rename = "pub")]
    publication: Option<&'m RawValue>,
    unsubscribe: Option<Ended>,
    disconnect: Option<Ended>,
}

/// Why a subscription or the connection ends.
#[derive(Deserialize)]
struct Ended {
    code: u16,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
struct Publication<'m> {
    #[serde(borrow)]
    data: &'m RawValue,
    #[serde(default)]
    offset: u64,
}

/// Why it is not to go on.
enum Stop {
    /// With this, and nothing more to be said.
    With(Exit),
    /// Because of this.
    Because(Exit, String),
}

impl Session {
    pub(super) fn new(args: &SubscribeArgs, verdict: Rc<Cell<Option<Exit>>>) -> Self {
        let channel = |name: &String| Channel { name: name.clone(), seen: args.since.clone() };
        Self {
            channels: args.channels.iter().map(channel).collect(),
            token: args.token.clone().unwrap_or_default(),
            channel_token: args.channel_token.clone().unwrap_or_default(),
            json: args.json,
            left: args.count.0,
            timeout: args.timeout.0,
            verdict,
        }
    }

    fn subscribe(&self, ws: &mut WebSocket<'_>, index: usize) {
        let channel = &self.channels[index];
        let mut request = json!({ "channel": channel.name });
        if !self.channel_token.is_empty() {
            request["token"] = json!(self.channel_token);
        }
        if let Some(Since { epoch, offset }) = &channel.seen {
            request["recover"] = json!(true);
            request["epoch"] = json!(epoch);
            request["offset"] = json!(offset);
        } else {
            request["recoverable"] = json!(true);
        }
        let _ = ws.send(&json!({ "id": CONNECT + 1 + index, "subscribe": request }).to_string());
    }

    fn take(&mut self, ws: &mut WebSocket<'_>, line: &str) -> Result<(), Stop> {
        if line == "{}" {
            let _ = ws.send("{}");
            return Ok(());
        }
        let reply: Reply<'_> = serde_json::from_str(line)
            .map_err(|error| Stop::Because(Exit::Abnormal, format!("no answer of a push server: {error}")))?;
        if let Some(refusal) = &reply.error {
            return self.refused(ws, reply.id, refusal);
        }
        if reply.connect.is_some() {
            (0..self.channels.len()).for_each(|index| self.subscribe(ws, index));
        }
        if let Some(subscribed) = reply.subscribe {
            return self.subscribed(reply.id.saturating_sub(CONNECT + 1), &subscribed);
        }
        match reply.push {
            Some(push) => self.pushed(ws, &push),
            None => Ok(()),
        }
    }

    fn refused(&self, ws: &mut WebSocket<'_>, id: usize, refusal: &Refusal) -> Result<(), Stop> {
        let Refusal { code, message, temporary } = refusal;
        let what = format!("error {code}, {}", printable(message));
        match id.checked_sub(CONNECT + 1).and_then(|index| Some((index, self.channels.get(index)?))) {
            Some((index, channel)) if *temporary => {
                say_in(Colour::Dim, format_args!("{}: {what}; trying again", printable(&channel.name)));
                ws.set_timer(AGAIN, index as u64);
                Ok(())
            }
            Some((_, channel)) => Err(Stop::Because(Exit::Refused, format!("{}: {what}", printable(&channel.name)))),
            // The server takes nothing more from who could not connect. To have closed would be to have meant it.
            None if *temporary => {
                say_in(Colour::Dim, format_args!("{what}"));
                ws.abort();
                Ok(())
            }
            None => Err(Stop::Because(Exit::Refused, what)),
        }
    }

    fn subscribed(&mut self, index: usize, answer: &Subscribed<'_>) -> Result<(), Stop> {
        let Some(channel) = self.channels.get_mut(index) else { return Ok(()) };
        let name = printable(&channel.name);
        if answer.was_recovering && !answer.recovered {
            say_in(Colour::Red, format_args!("{name}: what was published meanwhile is not all there any more"));
        } else if !answer.was_recovering {
            say_in(Colour::Green, format_args!("subscribed to {name}"));
        }
        let position = Since { epoch: answer.epoch.clone(), offset: answer.offset };
        channel.seen = answer.recoverable.then_some(position);
        answer.publications.iter().try_for_each(|publication| self.show(index, publication))
    }

    fn pushed(&mut self, ws: &mut WebSocket<'_>, push: &Push<'_>) -> Result<(), Stop> {
        if let Some(Ended { code, reason }) = &push.disconnect {
            // The Close that follows has the same code, and decides whether to come back.
            say_in(Colour::Dim, format_args!("the server ends the connection with {code}: {}", printable(reason)));
            return Ok(());
        }
        let Some(index) = self.channels.iter().position(|channel| channel.name == push.channel) else { return Ok(()) };
        match (push.publication, &push.unsubscribe) {
            (Some(publication), _) => self.show(index, publication),
            // From 2500 on the client is to subscribe again.
            (None, Some(Ended { code: 2500.., .. })) => {
                self.subscribe(ws, index);
                Ok(())
            }
            (None, Some(Ended { code, reason })) => {
                let what = format!("{}: unsubscribed with {code}, {}", printable(&push.channel), printable(reason));
                Err(Stop::Because(Exit::Refused, what))
            }
            (None, None) => Ok(()),
        }
    }

    /// Prints a publication.
    fn show(&mut self, index: usize, raw: &RawValue) -> Result<(), Stop> {
        let publication: Publication<'_> = serde_json::from_str(raw.get())
            .map_err(|error| Stop::Because(Exit::Abnormal, format!("no publication: {error}")))?;
        let many = self.channels.len() > 1;
        let channel = &mut self.channels[index];
        let mut epoch = "";
        if let Some(seen) = &mut channel.seen {
            seen.offset = publication.offset.max(seen.offset);
            epoch = &seen.epoch;
        }
        let line = if self.json {
            let (name, epoch) = (json!(channel.name), json!(epoch));
            format!("{{\"channel\":{name},\"epoch\":{epoch},\"publication\":{raw}}}\n")
        } else if many {
            format!("{}\t{}\n", channel.name, publication.data)
        } else {
            format!("{}\n", publication.data)
        };
        let mut stdout = io::stdout().lock();
        match stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()) {
            Ok(()) => {}
            // Whoever read our output has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(Stop::With(Exit::Done)),
            Err(error) => {
                return Err(Stop::Because(Exit::Failed, format!("cannot write to standard output: {error}")));
            }
        }
        match &mut self.left {
            Some(left) => {
                *left -= 1;
                if *left == 0 { Err(Stop::With(Exit::Done)) } else { Ok(()) }
            }
            None => Ok(()),
        }
    }

    fn end(&self, ws: &mut WebSocket<'_>, exit: Exit) {
        self.verdict.set(Some(exit));
        if ws.close(CloseCode::NORMAL, "").is_err() {
            ws.abort();
        }
    }
}

impl Handler for Session {
    fn on_start(&mut self, connections: &mut Connections<'_>) {
        if let Some(Span(time)) = self.timeout {
            connections.set_timer(time, TIMEOUT);
        }
    }

    fn on_open(&mut self, ws: &mut WebSocket<'_>) {
        let connect = json!({ "token": self.token, "name": "loopwire", "version": env!("CARGO_PKG_VERSION") });
        let _ = ws.send(&json!({ "id": CONNECT, "connect": connect }).to_string());
    }

    fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
        for line in message.as_text().unwrap_or_default().lines() {
            if self.verdict.get().is_some() {
                return;
            }
            match self.take(ws, line) {
                Ok(()) => {}
                Err(Stop::With(exit)) => self.end(ws, exit),
                Err(Stop::Because(exit, what)) => {
                    terminal::error(&what);
                    self.end(ws, exit);
                }
            }
        }
    }

    fn on_close(&mut self, _ws: &mut WebSocket<'_>, closed: &Closed) {
        if self.verdict.get().is_none() {
            let reason =
                if closed.reason.is_empty() { String::new() } else { format!(": {}", printable(&closed.reason)) };
            say_in(Colour::Dim, format_args!("closed with {}{reason}", closed.code));
        }
    }

    fn on_timer(&mut self, ws: &mut WebSocket<'_>, index: u64) {
        self.subscribe(ws, usize::try_from(index).unwrap_or_default());
    }

    fn on_loop_timer(&mut self, connections: &mut Connections<'_>, key: u64) {
        if key == TIMEOUT && self.verdict.get().is_none() {
            say_in(Colour::Red, "--timeout ran out");
            self.verdict.set(Some(Exit::TimedOut));
            connections.shutdown(GOODBYE);
        }
    }

    fn on_reconnecting(&mut self, _connections: &mut Connections<'_>, delay: Duration, attempt: u32) {
        say_in(Colour::Dim, format_args!("connecting again in {:.1} s, attempt {attempt}", delay.as_secs_f64()));
    }

    fn on_dial_failed(&mut self, _connections: &mut Connections<'_>, _id: ConnectionId, error: &DialError) {
        // Without another attempt it is what the run ends with, and said there.
        log::info!("{error}");
    }
}
