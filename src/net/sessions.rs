//! All connections of a loop, as the application sees them: what it may ask and what it may do.
//!
//! What they send stands in `sending`; how they are driven in `drive` (readiness, input, timers), `opening` (handshakes),
//! `exchange` (plain HTTP) and `drain`.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mio::{Registry, Waker};

use super::admission::{Admission, Refused};
use super::alarms::Alarms;
use super::buffers::BufferPool;
use super::dial::Dial;
use super::drain::Drain;
use super::mailbox::Notifier;
use super::session::{Answer, Dialing, Head, Origin, Phase, Session};
use super::slab::GenerationSlab;
use super::timers::{TimerKey, Wheel, later};
use super::watched::Tape;
use super::workspace::Workspace;
use super::{ConnectionId, DialError, DialRequest, NetConfig, PeerAddr, Stream, Transport};
use crate::handshake::{Agreed, ClientHandshake, HeadReader, Rejection, Response, UpgradeRequest};
use crate::protocol::{Closed, Connection};

/// A timer of the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId(TimerKey);

/// Which directions of a stream became ready, as the poll says; it may err on the side of too much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// There is something to read, or an error.
    pub readable: bool,
    /// There is room to write, or an error.
    pub writable: bool,
    /// The peer has ended its direction, or the stream is broken: read up to the end, a short read does not mean that
    /// nothing is left.
    pub read_closed: bool,
}

/// All connections of one loop, in either role, with their timers and what they have to send.
///
/// Nothing that an application calls here calls back: what follows from it (`closed`, `writable`) comes after the
/// application has returned to the loop.
#[derive(Debug)]
pub struct Sessions {
    pub(super) config: NetConfig,
    pub(super) slab: GenerationSlab<Session>,
    pub(super) admission: Admission,
    /// Connections that were refused at once and are being told so.
    pub(super) refused: usize,
    /// Connections ever refused by the loop itself. Only this thread writes; others may read it.
    pub(super) refusals: Arc<AtomicU64>,
    /// When each connection is to be looked at for its deadlines.
    pub(super) alarms: Alarms,
    /// The slots of connections whose time for that has come and that wait for their turn.
    pub(super) alarmed: VecDeque<usize>,
    /// The application's timers.
    pub(super) timers: Wheel<u64>,
    /// Those that are due and wait for their turn.
    pub(super) due: VecDeque<(TimerKey, u64)>,
    /// Those with something to send, each once.
    pub(super) dirty: Vec<ConnectionId>,
    /// Those that go on with the next turn without waiting for readiness, each once.
    pub(super) requeued: VecDeque<ConnectionId>,
    /// Ends that the application has not heard of yet.
    pub(super) reports: VecDeque<(ConnectionId, Report)>,
    pub(super) pool: BufferPool,
    /// Absent while a connection is read.
    pub(super) workspace: Option<Box<Workspace>>,
    pub(super) registry: Option<Registry>,
    pub(super) notifier: Notifier,
    /// What has passed where it is watched; absent until the first such connection.
    pub(super) tape: Option<Tape>,
    pub(super) drain: Option<Drain>,
    pub(super) now: Instant,
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum Report {
    Closed(Closed),
    DialFailed(DialError),
}

impl Sessions {
    /// Refused connections that are told so at the same time; more are just dropped.
    const MAX_REFUSED: usize = 64;

    /// Sessions at `now`, without a connection. `registry` and `waker` are absent where nothing polls, as in a
    /// simulation; dialling needs both.
    pub fn new(mut config: NetConfig, registry: Option<Registry>, waker: Option<Arc<Waker>>, now: Instant) -> Self {
        // With nothing of these, nothing would ever move.
        for limit in [
            &mut config.receive_buffer,
            &mut config.high_water_mark,
            &mut config.max_buffered,
            &mut config.turn_bytes,
            &mut config.turn_events,
            &mut config.drain_batch,
        ] {
            *limit = (*limit).max(1);
        }
        config.max_connections = config.max_connections.min(ConnectionId::MAX_SLOTS - Self::MAX_REFUSED);
        Self {
            slab: GenerationSlab::new(config.loop_index),
            admission: Admission::default(),
            refused: 0,
            refusals: Arc::default(),
            alarms: Alarms::new(now),
            alarmed: VecDeque::new(),
            timers: Wheel::new(now),
            due: VecDeque::new(),
            dirty: Vec::new(),
            requeued: VecDeque::new(),
            reports: VecDeque::new(),
            pool: BufferPool::default(),
            workspace: Some(Box::new(Workspace::new(&config))),
            registry,
            notifier: Notifier::new(waker),
            tape: None,
            drain: None,
            now,
            config,
        }
    }

    /// Ends a connection at once, in whatever phase, and forgets what was queued. `closed` or `dial_failed` follows.
    /// Whether there was such a connection.
    pub fn abort(&mut self, id: ConnectionId) -> bool {
        let is_there = self.slab.get(id).is_some_and(|session| !matches!(session.phase, Phase::Gone));
        if is_there {
            self.lose(id, DialError::Cancelled);
        }
        is_there
    }

    /// Dials; `opened` or `dial_failed` follows, never before this returns.
    pub fn dial(&mut self, request: DialRequest) -> ConnectionId {
        let deadline = self.after(request.timeout);
        let dialing = Dialing { dial: Dial::new(request), deadline, wait: None };
        let id = self.slab.insert(Session::new(None, Phase::Dialing(Box::new(dialing)), PeerAddr::Unknown));
        if self.drain.is_some() || self.slab.len() > self.config.max_connections {
            self.lose(id, DialError::Cancelled);
        } else {
            self.requeue(id);
            self.rearm(id);
        }
        id
    }

    /// Begins the opening handshake as a client over a stream that already stands; of `request`, how to get there is
    /// ignored. `opened` or `dial_failed` follows.
    ///
    /// # Errors
    /// The request may not be sent so, or the stream could not be registered.
    pub fn dial_over(
        &mut self,
        transport: Transport,
        peer: PeerAddr,
        request: &DialRequest,
    ) -> Result<ConnectionId, DialError> {
        if self.drain.is_some() || self.slab.len() >= self.config.max_connections {
            return Err(DialError::Cancelled);
        }
        let (handshake, bytes) = ClientHandshake::new(&request.uri, &request.options).map_err(DialError::Handshake)?;
        let deadline = self.after(request.timeout);
        let answer = Answer { handshake, config: Arc::clone(&request.config), deadline };
        let id = self.slab.insert(Session::new(Some(transport), Phase::Answer(Box::new(answer)), peer));
        self.register(id).map_err(DialError::Io)?;
        if let Some(session) = self.slab.get_mut(id) {
            session.outbox.push_head(&bytes, &mut self.pool);
        }
        self.mark_dirty(id);
        self.rearm(id);
        Ok(id)
    }

    /// Takes a stream that a peer has opened and serves it. One over a cap is answered 503 if that is possible.
    ///
    /// # Errors
    /// The stream could not be registered, or a cap is reached and it was dropped.
    pub fn accept(&mut self, transport: Transport, peer: PeerAddr) -> io::Result<ConnectionId> {
        let is_tls = transport.handshaking();
        let admitted = match self.drain {
            Some(_) => Err(Refused::Draining),
            None if is_tls && !self.admission.admits_tls(&self.config) => Err(Refused::TlsHandshakes),
            None => self.admission.admit(&self.config, self.slab.len(), &peer),
        };
        if let Err(refused) = admitted {
            self.count_refusal();
            // Over TLS an answer would cost the handshake that the cap is there to save.
            if is_tls || self.refused >= Self::MAX_REFUSED {
                return Err(io::Error::other(refused.to_string()));
            }
            log::info!("{peer}: refused with 503: {refused}");
        }
        transport.set_nodelay();
        let phase = if is_tls { Phase::Secure(self.after(self.config.tls_timeout)) } else { self.new_head() };
        let id = self.slab.insert(Session::new(Some(transport), phase, peer));
        let Some(session) = self.slab.get_mut(id) else { unreachable!("it was just inserted") };
        (session.flags.counted, session.flags.half_open) = (admitted.is_ok(), admitted.is_ok());
        if is_tls {
            session.flags.securing = true;
            self.admission.begin_tls();
        }
        session.flags.refused = admitted.is_err();
        self.refused += usize::from(admitted.is_err());
        self.register(id)?;
        if admitted.is_err() {
            self.end_with(id, &Rejection::unavailable(Some(Self::RETRY_AFTER)).response(), false);
        }
        self.rearm(id);
        Ok(id)
    }

    /// What a client that was turned away for lack of room is told to wait.
    pub(super) const RETRY_AFTER: Duration = Duration::from_secs(5);

    /// Begins to drain, once: accepts nothing more, closes every connection with 1001 in batches, and ends the loop when
    /// none is left or `within` has passed.
    pub fn shutdown(&mut self, within: Duration) {
        if self.drain.is_none() {
            self.drain = Some(Drain::new(self.now, within));
        }
    }

    /// Whether the loop is draining.
    pub fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// Has the application's `timer` called with `key` after `after`, never early and up to one tick (20 ms) late.
    pub fn set_timer(&mut self, after: Duration, key: u64) -> TimerId {
        TimerId(self.timers.insert(self.after(after), key))
    }

    /// Cancels a timer; whether it was still to come.
    pub fn cancel_timer(&mut self, timer: TimerId) -> bool {
        if self.timers.cancel(timer.0).is_some() {
            return true;
        }
        let waiting = self.due.iter().position(|(key, _)| *key == timer.0);
        waiting.is_some_and(|at| self.due.remove(at).is_some())
    }

    /// Bytes that wait to be sent to `id`; 0 if there is no such connection.
    pub fn buffered_amount(&self, id: ConnectionId) -> usize {
        self.slab.get(id).map_or(0, |session| session.outbox.len())
    }

    /// Who is at the other end.
    pub fn peer_addr(&self, id: ConnectionId) -> Option<PeerAddr> {
        self.slab.get(id).map(|session| session.peer.addr())
    }

    /// The request that opened a connection of the server role, if [`NetConfig::keep_requests`] is on.
    pub fn request(&self, id: ConnectionId) -> Option<&UpgradeRequest> {
        match self.slab.get(id)?.origin.as_deref()? {
            Origin::Request { request, .. } => request.as_ref(),
            Origin::Agreed(_) => None,
        }
    }

    /// What a connection of the client role agreed on with its server.
    pub fn agreed(&self, id: ConnectionId) -> Option<&Agreed> {
        match self.slab.get(id)?.origin.as_deref()? {
            Origin::Agreed(agreed) => Some(agreed),
            Origin::Request { .. } => None,
        }
    }

    /// The subprotocol in use, in either role.
    pub fn protocol(&self, id: ConnectionId) -> Option<&str> {
        match self.slab.get(id)?.origin.as_deref()? {
            Origin::Request { protocol, .. } => protocol.as_deref(),
            Origin::Agreed(agreed) => agreed.protocol.as_deref(),
        }
    }

    /// The protocol's state machine, to look at.
    pub fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        match &self.slab.get(id)?.phase {
            Phase::Open(connection) => Some(connection),
            _ => None,
        }
    }

    /// What the application keeps with a connection.
    pub fn data(&mut self, id: ConnectionId) -> Option<&mut (dyn Any + Send)> {
        self.slab.get_mut(id)?.data.as_deref_mut()
    }

    /// Keeps something with a connection until its `closed` has returned; gives back what was there.
    pub fn set_data(&mut self, id: ConnectionId, data: Box<dyn Any + Send>) -> Option<Box<dyn Any + Send>> {
        self.slab.get_mut(id).and_then(|session| session.data.replace(data))
    }

    /// Whether `id` names an open connection.
    pub fn is_open(&self, id: ConnectionId) -> bool {
        self.slab.get(id).is_some_and(Session::is_open)
    }

    /// The ids of all open connections.
    pub fn ids(&self) -> impl Iterator<Item = ConnectionId> + '_ {
        self.slab.iter().filter(|(_, session)| session.is_open()).map(|(id, _)| id)
    }

    /// How many connections the loop has refused by itself: over a cap, or for a request that broke a rule or came too
    /// late. It goes on counting, and any thread may read it.
    pub fn refusals(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.refusals)
    }

    pub(super) fn count_refusal(&self) {
        self.refusals.fetch_add(1, Ordering::Relaxed);
    }

    /// How many connections there are, in whatever phase.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The time of this turn.
    pub fn now(&self) -> Instant {
        self.now
    }

    fn after(&self, duration: Duration) -> Instant {
        later(self.now, duration)
    }

    /// Puts the stream of a new connection under its token; one that cannot be is gone again.
    fn register(&mut self, id: ConnectionId) -> io::Result<()> {
        let Some(session) = self.slab.get_mut(id) else { return Ok(()) };
        if let (Some(registry), Some(transport)) = (&self.registry, &mut session.transport)
            && let Err(error) = transport.register(registry, id.token())
        {
            self.remove(id);
            return Err(error);
        }
        Ok(())
    }

    pub(super) fn new_head(&self) -> Phase {
        let reader = HeadReader::new(self.config.head);
        Phase::Head(Box::new(Head { reader, deadline: self.after(self.config.head_timeout) }))
    }

    /// Queues a plain HTTP response and ends the connection behind it.
    pub(super) fn end_with(&mut self, id: ConnectionId, response: &Response, head_only: bool) {
        let Some(session) = self.slab.get_mut(id) else { return };
        session.outbox.tail(&mut self.pool).extend_from_slice(&response.encode(head_only));
        let peer_ended = matches!(session.phase, Phase::Answering(answering) if answering.peer_ended);
        session.end(self.now, self.config.linger, true, peer_ended);
        self.mark_dirty(id);
        self.rearm(id);
    }

    pub(super) fn mark_dirty(&mut self, id: ConnectionId) {
        if let Some(session) = self.slab.get_mut(id)
            && !session.flags.dirty
        {
            session.flags.dirty = true;
            self.dirty.push(id);
        }
    }

    pub(super) fn requeue(&mut self, id: ConnectionId) {
        if let Some(session) = self.slab.get_mut(id)
            && !session.flags.queued
        {
            session.flags.queued = true;
            self.requeued.push_back(id);
        }
    }

    /// Makes sure that this connection is looked at no later than its deadline. Deadlines mostly move away, and then
    /// nothing is done: the alarm that comes up too early finds the new one.
    pub(super) fn rearm(&mut self, id: ConnectionId) {
        if let Some(session) = self.slab.get(id)
            && !session.flags.postponed
            && let Some(deadline) = session.deadline()
        {
            self.alarms.set(id.slot(), deadline);
        }
    }

    /// The stream is broken or given up: closes it and has the application hear of it. `error` is what a connection that
    /// was dialled failed with.
    pub(super) fn lose(&mut self, id: ConnectionId, error: DialError) {
        let Some(session) = self.slab.get_mut(id) else { return };
        let report = match &mut session.phase {
            Phase::Open(connection) => {
                connection.end_of_stream();
                Some(Report::Closed(connection.closed()))
            }
            Phase::Dialing(_) | Phase::Answer(_) => Some(Report::DialFailed(error)),
            _ => None,
        };
        session.drop_stream(&mut self.pool);
        self.report_or_remove(id, report);
    }

    /// The connection is over for the application; the stream is closed or on its way there.
    pub(super) fn report_or_remove(&mut self, id: ConnectionId, report: Option<Report>) {
        let Some(session) = self.slab.get_mut(id) else { return };
        if let Some(report) = report {
            session.flags.reporting = true;
            self.reports.push_back((id, report));
        } else if matches!(session.phase, Phase::Gone) && !session.flags.reporting {
            self.remove(id);
        }
    }

    pub(super) fn remove(&mut self, id: ConnectionId) {
        let Some(mut session) = self.slab.remove(id) else { return };
        session.drop_stream(&mut self.pool);
        if session.flags.securing {
            self.admission.end_tls();
        }
        if session.flags.half_open {
            self.admission.opened(&session.peer.addr());
        }
        if session.flags.counted {
            self.admission.gone(&session.peer.addr());
        }
        if session.flags.refused {
            self.refused -= 1;
        }
        self.let_go(session.data.take());
    }

    /// Drops what the application kept with a connection: its code runs here too, and may panic.
    pub(super) fn let_go(&mut self, data: Option<Box<dyn Any + Send>>) {
        if data.is_some() {
            self.guard(None, "drop", |_| drop(data));
        }
    }
}
