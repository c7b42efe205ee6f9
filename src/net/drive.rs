//! How sessions are driven: readiness in, bytes through, timers between.

use std::io::{self, Read};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::session::{Flags, Pending, Phase, Session};
use super::sessions::Report;
use super::workspace::{Decoding, Workspace};
use super::{Application, ConnectionId, DialError, Readiness, Sessions, Stream, Transport};
use crate::protocol::{self, Event, Input, Teardown};
use crate::wire::{CloseCode, ProtocolError};

/// Timers and alarms handled per turn at most, so that a hundred thousand on one tick do not hold up everybody else.
const TIMER_BATCH: usize = 4096;

/// How much longer a connection's deadlines wait while its peer slowly takes what is queued for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long that may go on for a connection that is closing, or for a message that is not finished in time.
const LAST_PATIENCE: Duration = Duration::from_secs(60);

/// Why decoding stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// The input is used up.
    Exhausted,
    /// The outbox is full, or the turn's budget spent: the rest of the input waits.
    Later,
    /// The connection takes no input any more: the rest means nothing.
    Over,
}

impl Sessions {
    /// Begins a turn at `now`: all that is done before the next one counts from here, also what tasks and signals ask for
    /// in a turn without readiness.
    pub(super) fn begin_turn(&mut self, now: Instant) {
        self.now = now;
    }

    /// Handles what the poll said of one stream. An id that names nothing any more is no error.
    pub fn ready<A: Application>(&mut self, app: &mut A, id: ConnectionId, readiness: Readiness, now: Instant) {
        self.now = now;
        let Some(session) = self.slab.get_mut(id) else { return };
        session.flags.readable |= readiness.readable || readiness.read_closed;
        session.flags.read_closed |= readiness.read_closed;
        // One that is in line already has its turn in `tick`.
        let is_in_line = session.flags.queued;
        if readiness.writable && mem::take(&mut session.flags.blocked) {
            self.mark_dirty(id);
        }
        if !is_in_line {
            self.drive(app, id);
            self.settle(app);
        }
    }

    /// Does all that is due at `now` besides readiness: connections that go on from the last turn, timers, draining.
    pub fn tick<A: Application>(&mut self, app: &mut A, now: Instant) {
        self.now = now;
        for id in self.notifier.take() {
            self.drive(app, id);
        }
        for _ in 0..self.requeued.len() {
            let Some(id) = self.requeued.pop_front() else { break };
            self.resume(app, id);
        }
        self.alarms.advance(now, &mut self.alarmed);
        for _ in 0..TIMER_BATCH {
            let Some(slot) = self.alarmed.pop_front() else { break };
            // One whose alarm was set anew while it waited here is looked at then.
            if let Some(id) = self.slab.occupant(slot)
                && !self.alarms.is_set(slot)
            {
                self.timeout(app, id);
            }
        }
        self.timers.advance(now, &mut self.due);
        for _ in 0..TIMER_BATCH {
            let Some((_, key)) = self.due.pop_front() else { break };
            self.guard(None, "timer", |sessions| app.timer(sessions, key));
        }
        self.drain_step(app);
        self.settle(app);
    }

    /// When [`tick`](Self::tick) is due at the latest; now, if work is left over.
    pub fn next_deadline(&self) -> Option<Instant> {
        let is_left_over = !self.requeued.is_empty() || !self.alarmed.is_empty() || !self.due.is_empty();
        let is_unseen = self.tape.as_ref().is_some_and(|tape| !tape.is_empty());
        if is_left_over || is_unseen || !self.dirty.is_empty() || !self.reports.is_empty() {
            return Some(self.now);
        }
        let drain = self.drain.as_ref().filter(|_| !self.is_finished()).map(|drain| drain.next(self.now));
        // An alarm may outlive its connection, but then there is nothing to look at.
        let alarm = if self.is_empty() { None } else { self.alarms.next_deadline() };
        [alarm, self.timers.next_deadline(), drain].into_iter().flatten().min()
    }

    /// Whether the drain has come to its end: nothing is left.
    pub fn is_finished(&self) -> bool {
        self.drain.as_ref().is_some_and(|drain| drain.is_over() || (drain.is_announced() && self.is_empty()))
    }

    /// Calls the application. A panic there ends the connection it was about, and nothing else.
    #[inline]
    pub(super) fn guard<R>(
        &mut self,
        id: Option<ConnectionId>,
        what: &str,
        call: impl FnOnce(&mut Self) -> R,
    ) -> Option<R> {
        // What the sessions own is consistent at every call into them, and the call owns nothing else of theirs.
        if let Ok(result) = catch_unwind(AssertUnwindSafe(|| call(self))) {
            return Some(result);
        }
        self.panicked(id, what);
        None
    }

    #[cold]
    fn panicked(&mut self, id: Option<ConnectionId>, what: &str) {
        match id {
            Some(id) => {
                log::error!("{}: the application panicked in `{what}`; the connection is closed", self.peer(id));
                let _ = self.close(id, CloseCode::INTERNAL_ERROR, "");
            }
            None => log::error!("the application panicked in `{what}`"),
        }
    }

    /// Takes up a connection that was left with work to do.
    fn resume<A: Application>(&mut self, app: &mut A, id: ConnectionId) {
        let Some(session) = self.slab.get_mut(id) else { return };
        session.flags.queued = false;
        if session.flags.wants_writable && session.outbox.len() <= self.config.high_water_mark / 2 {
            session.flags.wants_writable = false;
            if session.takes_messages() {
                self.guard(Some(id), "writable", |sessions| app.writable(sessions, id));
            }
        }
        self.drive(app, id);
    }

    /// Moves one connection on as far as its stream, its outbox and its budget allow.
    fn drive<A: Application>(&mut self, app: &mut A, id: ConnectionId) {
        let Some(session) = self.slab.get(id) else { return };
        if session.takes_bytes() || self.drive_others(id) {
            self.pump(app, id);
        }
        if !self.slab.get(id).is_some_and(Session::is_at_rest) {
            self.tear_down(id);
            self.rearm(id);
        }
        // What it was told meanwhile, mostly by its own handler, leaves while it is warm in the cache. If others were
        // told something too, the turn goes on telling, and all of it leaves together at the end.
        if self.dirty.last() == Some(&id) {
            self.dirty.pop();
            self.flush_dirty(id);
        }
    }

    /// The same for a connection whose input is not the protocol's; whether it has become that.
    #[inline(never)]
    fn drive_others(&mut self, id: ConnectionId) -> bool {
        match self.slab.get(id).map(|session| &session.phase) {
            Some(Phase::Dialing(_) | Phase::Secure(_)) => self.drive_opening(id),
            Some(Phase::Answering(_) | Phase::Ending(_)) => {
                self.discard(id);
                false
            }
            _ => false,
        }
    }

    /// Reads and decodes until the stream has nothing, the outbox is full, or the budget is spent.
    #[inline(always)]
    fn pump<A: Application>(&mut self, app: &mut A, id: ConnectionId) {
        let mut workspace = self.take_workspace();
        workspace.decoding.budget = Budget::new(&self.config);
        if self.finish_pending(app, id, &mut workspace.decoding) {
            while self.may_read(id, &workspace.decoding.budget) && self.read_on(app, id, &mut workspace) {}
        }
        self.workspace = Some(workspace);
    }

    #[expect(clippy::unnecessary_box_returns, reason = "it is taken and put back for every event")]
    fn take_workspace(&mut self) -> Box<Workspace> {
        // Absent only where a panic of our own was caught further up.
        self.workspace.take().unwrap_or_else(|| Box::new(Workspace::new(&self.config)))
    }

    /// Decodes what earlier turns have left; whether nothing is left of it and reading can go on.
    #[inline(always)]
    fn finish_pending<A: Application>(&mut self, app: &mut A, id: ConnectionId, decoding: &mut Decoding) -> bool {
        match self.slab.get_mut(id).and_then(|session| session.pending.take()) {
            Some(pending) => self.decode_pending(app, id, pending, decoding),
            None => true,
        }
    }

    #[cold]
    fn decode_pending<A: Application>(
        &mut self,
        app: &mut A,
        id: ConnectionId,
        mut pending: Box<Pending>,
        decoding: &mut Decoding,
    ) -> bool {
        let (used, stop) = self.consume(app, id, &mut pending.bytes[pending.at..], decoding);
        pending.at += used;
        if stop == Stop::Later
            && let Some(session) = self.slab.get_mut(id)
        {
            session.pending = Some(pending);
        }
        stop == Stop::Exhausted
    }

    fn keep_pending(&mut self, id: ConnectionId, bytes: &[u8]) {
        if let Some(session) = self.slab.get_mut(id) {
            session.pending = Some(Box::new(Pending { bytes: bytes.to_vec(), at: 0 }));
        }
    }

    /// Whether the stream is to be read: it may have something, there is room for the replies, and it is still this
    /// connection's turn.
    #[inline(always)]
    fn may_read(&mut self, id: ConnectionId, budget: &Budget) -> bool {
        let Some(session) = self.slab.get(id) else { return false };
        if !session.is_readable() {
            if session.flags.write_broken && session.takes_bytes() {
                self.input_ended(id, Some(io::ErrorKind::BrokenPipe.into()));
            }
            return false;
        }
        if !session.takes_bytes() {
            return false;
        }
        if budget.bytes == 0 || budget.is_spent() {
            self.requeue(id);
            return false;
        }
        (session.outbox.is_empty() && !session.flags.paused) || self.has_room(id)
    }

    /// Reads once and decodes what that gave; whether to go on. More of a large message goes straight to where it is put
    /// together.
    #[inline(always)]
    fn read_on<A: Application>(&mut self, app: &mut A, id: ConnectionId, workspace: &mut Workspace) -> bool {
        let Workspace { receive, decoding } = workspace;
        let Some(session) = self.slab.get_mut(id) else { return false };
        let Some(transport) = &mut session.transport else { return false };
        let room = match &mut session.phase {
            Phase::Open(connection) => connection.room(decoding.budget.bytes),
            _ => None,
        };
        let is_placed = room.is_some();
        let read = read(transport, &mut session.flags, room.unwrap_or(receive));
        if transport.wants_write() {
            self.mark_dirty(id);
        }
        let len = match read {
            Ok(len) if len > 0 => len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            ended => {
                self.input_ended(id, ended.err());
                return false;
            }
        };
        decoding.budget.bytes = decoding.budget.bytes.saturating_sub(len);
        // Before what it means.
        self.show(app);
        if is_placed {
            self.take_placed(app, id, len, decoding);
            return true;
        }
        let (used, stop) = self.consume(app, id, &mut receive[..len], decoding);
        if stop == Stop::Later && used < len {
            self.keep_pending(id, &receive[used..len]);
        }
        stop == Stop::Exhausted
    }

    /// Takes what was read to where it belongs.
    fn take_placed<A: Application>(&mut self, app: &mut A, id: ConnectionId, len: usize, decoding: &mut Decoding) {
        self.guard(Some(id), "event", |sessions| {
            let Some(session) = sessions.slab.get_mut(id) else { return };
            let Phase::Open(connection) = &mut session.phase else { return };
            protocol::log_as(id);
            let Decoding { scratch, answers, budget } = decoding;
            let event = connection.placed(len, scratch, answers, sessions.now);
            sessions.hand_over(app, id, event, answers, budget);
        });
    }

    /// Feeds bytes to whatever phase the connection is in; how many were used, and why no more.
    #[inline(always)]
    fn consume<A: Application>(
        &mut self,
        app: &mut A,
        id: ConnectionId,
        bytes: &mut [u8],
        decoding: &mut Decoding,
    ) -> (usize, Stop) {
        let mut used = 0;
        loop {
            let Some(session) = self.slab.get_mut(id) else { return (used, Stop::Over) };
            match &mut session.phase {
                Phase::Open(_) => {
                    let (len, stop) = self.decode(app, id, &mut bytes[used..], decoding);
                    return (used + len, stop);
                }
                Phase::Head(head) => match head.reader.push(&bytes[used..]) {
                    Ok(None) => return (bytes.len(), Stop::Exhausted),
                    Ok(Some(len)) => {
                        used += len;
                        self.judge(app, id);
                        self.note_read(id, &bytes[used..]);
                        self.show(app);
                    }
                    Err(rejection) => {
                        self.reject(id, &rejection);
                        return (used, Stop::Over);
                    }
                },
                Phase::Body(incoming) => match incoming.reader.push(&bytes[used..]) {
                    Ok(None) => return (bytes.len(), Stop::Exhausted),
                    Ok(Some(len)) => {
                        used += len;
                        self.finish_body(app, id);
                    }
                    Err(rejection) => {
                        self.reject(id, &rejection);
                        return (used, Stop::Over);
                    }
                },
                Phase::Answer(answer) => match answer.handshake.push(&bytes[used..]) {
                    Ok(None) => return (bytes.len(), Stop::Exhausted),
                    Ok(Some((agreed, len))) => {
                        used += len;
                        self.agree(app, id, agreed);
                    }
                    Err(error) => {
                        self.disagree(id, error);
                        return (used, Stop::Over);
                    }
                },
                _ => return (used, Stop::Over),
            }
        }
    }

    /// Decodes event after event and hands each to the application, whose replies are queued before the next.
    #[inline(always)]
    fn decode<A: Application>(
        &mut self,
        app: &mut A,
        id: ConnectionId,
        bytes: &mut [u8],
        decoding: &mut Decoding,
    ) -> (usize, Stop) {
        let len = bytes.len();
        let mut input = Input::new(bytes);
        let stop = loop {
            // What was decoded before a panic stays so, and the connection goes on behind it, to its close.
            let stop = self.guard(Some(id), "event", |sessions| sessions.decode_events(app, id, &mut input, decoding));
            if let Some(stop) = stop {
                break stop;
            }
        };
        (len - input.remaining().len(), stop)
    }

    #[inline(always)]
    fn decode_events<A: Application>(
        &mut self,
        app: &mut A,
        id: ConnectionId,
        input: &mut Input<'_>,
        decoding: &mut Decoding,
    ) -> Stop {
        let room = self.config.high_water_mark.min(self.config.max_buffered);
        let Decoding { scratch, answers, budget } = decoding;
        while !input.is_empty() {
            let Some(mut session) = self.slab.get_mut(id) else { return Stop::Over };
            if session.outbox.len() >= room {
                if !self.has_room(id) {
                    return Stop::Later;
                }
                let Some(same) = self.slab.get_mut(id) else { return Stop::Over };
                session = same;
            }
            if budget.is_spent() {
                self.requeue(id);
                return Stop::Later;
            }
            let Phase::Open(connection) = &mut session.phase else { return Stop::Over };
            protocol::log_as(id);
            let event = connection.receive(input, scratch, answers, self.now);
            self.hand_over(app, id, event, answers, budget);
        }
        Stop::Exhausted
    }

    /// Queues what the protocol answers by itself, and hands the event to the application, if there is one.
    #[inline(always)]
    fn hand_over<A: Application>(
        &mut self,
        app: &mut A,
        id: ConnectionId,
        event: Option<Event<'_>>,
        answers: &mut Vec<u8>,
        budget: &mut Budget,
    ) {
        if !answers.is_empty() {
            self.answer(id, answers);
        }
        let Some(event) = event else { return };
        if let Event::Error(error) = &event {
            self.log_error(id, *error);
        }
        budget.take(&event);
        app.event(self, id, event);
    }

    #[cold]
    fn log_error(&self, id: ConnectionId, error: ProtocolError) {
        log::info!("{}: {error}", self.peer(id));
    }

    #[cold]
    fn answer(&mut self, id: ConnectionId, answers: &mut Vec<u8>) {
        if let Some(session) = self.slab.get_mut(id) {
            session.outbox.tail(&mut self.pool).append(answers);
            self.mark_dirty(id);
        }
    }

    /// Whether the outbox is below the mark at which decoding pauses, after a write if need be.
    fn has_room(&mut self, id: ConnectionId) -> bool {
        let Some(session) = self.slab.get_mut(id) else { return true };
        if session.outbox.len() < session.pause_mark(&self.config) || session.flags.write_broken {
            return true;
        }
        if !session.flags.blocked {
            self.flush_one(id);
        }
        let Some(session) = self.slab.get_mut(id) else { return true };
        session.flags.paused = session.outbox.len() >= session.pause_mark(&self.config);
        !session.flags.paused
    }

    /// The peer has ended its direction, or the stream is broken.
    fn input_ended(&mut self, id: ConnectionId, error: Option<io::Error>) {
        let Some(session) = self.slab.get_mut(id) else { return };
        if let Some(error) = &error {
            log::debug!("{id}: the stream with {} failed: {error}", session.peer);
        }
        match &mut session.phase {
            Phase::Open(connection) => {
                connection.end_of_stream();
                let closed = connection.closed();
                let has_last_words = error.is_none() && !session.outbox.is_empty();
                if has_last_words {
                    session.end(self.now, self.config.linger, true, true);
                    self.mark_dirty(id);
                } else {
                    session.drop_stream(&mut self.pool);
                }
                self.report_or_remove(id, Some(Report::Closed(closed)));
            }
            _ => self.fail_opening(id, error),
        }
    }

    /// Asks the protocol what the stream is to do after what was just decoded.
    fn tear_down(&mut self, id: ConnectionId) {
        let Some(session) = self.slab.get_mut(id) else { return };
        let Phase::Open(connection) = &session.phase else { return };
        let closed = match connection.teardown() {
            Teardown::KeepOpen => return,
            teardown @ (Teardown::FlushThenCloseWrite | Teardown::AwaitPeerEnd) => {
                let closed = connection.closed();
                let shut_write = teardown == Teardown::FlushThenCloseWrite;
                session.end(self.now, self.config.linger, shut_write, false);
                self.mark_dirty(id);
                closed
            }
            Teardown::Drop => {
                let closed = connection.closed();
                session.drop_stream(&mut self.pool);
                closed
            }
        };
        self.report_or_remove(id, Some(Report::Closed(closed)));
        // What is left to read is discarded.
        self.requeue(id);
    }

    /// Reads what means nothing any more, on a connection that is over or waits for its answer, until the peer ends it.
    fn discard(&mut self, id: ConnectionId) {
        let mut workspace = self.take_workspace();
        let mut budget = self.config.turn_bytes;
        let ended = loop {
            if !self.slab.get(id).is_some_and(Session::is_readable) {
                break false;
            }
            if budget == 0 {
                self.requeue(id);
                break false;
            }
            match self.read(id, &mut workspace.receive) {
                Ok(0) => break true,
                Ok(len) => budget = budget.saturating_sub(len),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break false,
                Err(_) => {
                    self.lose(id, DialError::Cancelled);
                    break false;
                }
            }
        };
        self.workspace = Some(workspace);
        if ended && let Some(session) = self.slab.get_mut(id) {
            if let Phase::Ending(ending) = &mut session.phase {
                ending.peer_ended = true;
                // Whoever ends TLS says so, the second one too [RFC 8446 §6.1].
                ending.shut_write |= session.transport.as_ref().is_some_and(Transport::is_tls);
            }
            session.flags.readable = false;
            self.stop_listening(id);
            self.mark_dirty(id);
        }
    }

    /// Reads once, and notes whether that leaves the stream with something to read.
    fn read(&mut self, id: ConnectionId, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(session) = self.slab.get_mut(id) else { return Err(io::ErrorKind::WouldBlock.into()) };
        let Some(transport) = &mut session.transport else { return Err(io::ErrorKind::WouldBlock.into()) };
        let read = read(transport, &mut session.flags, buffer);
        if transport.wants_write() {
            self.mark_dirty(id);
        }
        read
    }

    /// The deadline of a connection has come, or seemed to.
    fn timeout<A: Application>(&mut self, app: &mut A, id: ConnectionId) {
        let Some(session) = self.slab.get_mut(id) else { return };
        session.flags.postponed = false;
        if let Some(deadline) = session.deadline()
            && deadline <= self.now
        {
            let is_deaf = session.flags.paused || session.outbox.len() >= session.pause_mark(&self.config);
            let is_patient = match session.overdue_message(self.now) {
                // It could go on with its message for as long as we heard it.
                Some(since) => is_deaf && is_recent(since, self.now),
                None => session.takes_messages() || is_recent(deadline, self.now),
            };
            let is_patient = is_patient && !session.flags.overflown;
            if mem::take(&mut session.flags.progress) && session.flags.blocked && is_patient {
                // A slow reader is not a dead one: it takes what we send, and what it says meanwhile is not decoded.
                session.flags.postponed = true;
                self.alarms.set(id.slot(), self.now + PATIENCE);
                return;
            }
            match &mut session.phase {
                Phase::Open(connection) => {
                    protocol::log_as(id);
                    let event = connection.handle_timeout(self.now, session.outbox.tail(&mut self.pool));
                    if let Some(Event::Error(error)) = &event {
                        log::info!("{}: {error}", session.peer);
                    }
                    session.outbox.settle(&mut self.pool);
                    self.mark_dirty(id);
                    if let Some(event) = event {
                        self.guard(Some(id), "event", |sessions| app.event(sessions, id, event));
                    }
                    self.tear_down(id);
                }
                Phase::Ending(_) => self.lose(id, DialError::Timeout),
                _ => self.opening_timeout(id),
            }
        }
        self.rearm(id);
    }
}

/// Reads once, and notes whether that leaves the stream with something to read.
#[inline(always)]
fn read(transport: &mut Transport, flags: &mut Flags, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        let read = transport.read(buffer);
        match &read {
            // A short read from a socket is as good as the `WouldBlock` that the next one would give, unless what
            // follows is the end, of which no further event would tell.
            Ok(len) => flags.readable = flags.read_closed || transport.may_have_more(*len, buffer.len()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => flags.readable = false,
        }
        return read;
    }
}

/// Whether a deadline that has passed may still be postponed for a slow reader.
fn is_recent(deadline: Instant, now: Instant) -> bool {
    deadline.checked_add(LAST_PATIENCE).is_none_or(|last| now < last)
}
