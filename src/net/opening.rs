//! What happens before a connection is open: TLS and the opening handshake, in either role.

use std::io;
use std::mem;
use std::sync::atomic::Ordering;

use super::dial::{DialContext, DialStep};
use super::session::{self, Origin, Phase};
use super::sessions::Report;
use super::{Answer, Application, ConnectionId, DialError, Peer, Sessions, Stream, Transport};
use crate::handshake::{Agreed, ClientHandshake, HandshakeError, Rejection, Request, Response, UpgradeRequest};
use crate::protocol::{Connection, Role};

impl Sessions {
    /// Drives dialling or the TLS handshake on. Whether the connection has reached a phase that takes bytes.
    pub(super) fn drive_opening(&mut self, id: ConnectionId) -> bool {
        let Some(session) = self.slab.get_mut(id) else { return false };
        match &mut session.phase {
            Phase::Dialing(_) => self.drive_dial(id),
            Phase::Secure(_) => {
                let Some(transport) = &mut session.transport else { return false };
                let outcome = transport.handshake();
                if !matches!(outcome, Ok(false)) && mem::take(&mut session.flags.securing) {
                    self.admission.end_tls();
                }
                match outcome {
                    Ok(true) => {
                        log_tls(id, &session.peer, transport);
                        self.set_phase(id, self.new_head());
                        // The layer's last words of the handshake may still wait.
                        self.mark_dirty(id);
                        true
                    }
                    Ok(false) => false,
                    Err(error) => {
                        log::info!("{}: refused: TLS handshake failed: {error}", session.peer);
                        self.refusals.fetch_add(1, Ordering::Relaxed);
                        // The alert that says why has been written; let it arrive.
                        session.end(self.now, self.config.linger, true, false);
                        self.mark_dirty(id);
                        false
                    }
                }
            }
            _ => true,
        }
    }

    fn drive_dial(&mut self, id: ConnectionId) -> bool {
        let Some(session) = self.slab.get_mut(id) else { return false };
        let Phase::Dialing(dialing) = &mut session.phase else { return false };
        let step = match &self.registry {
            Some(registry) => {
                dialing.dial.advance(&DialContext { registry, id, notifier: &self.notifier, now: self.now })
            }
            None => DialStep::Failed(DialError::Io(io::ErrorKind::Unsupported.into())),
        };
        match step {
            DialStep::Wait(until) => {
                dialing.wait = until;
                false
            }
            DialStep::Failed(error) => {
                self.lose(id, error);
                false
            }
            DialStep::Connected(transport, peer) => {
                let request = dialing.dial.request();
                match ClientHandshake::new(&request.uri, &request.options) {
                    Ok((handshake, bytes)) => {
                        let (config, deadline) = (request.config.clone(), dialing.deadline);
                        session.peer = peer.into();
                        log_tls(id, &session.peer, &transport);
                        session.transport = Some(transport);
                        session.phase = Phase::Answer(Box::new(session::Answer { handshake, config, deadline }));
                        session.outbox.push_head(&bytes, &mut self.pool);
                        // Its readiness so far was the dialling's to see.
                        session.flags.readable = true;
                        self.mark_dirty(id);
                        true
                    }
                    Err(error) => {
                        self.lose(id, DialError::Handshake(error));
                        false
                    }
                }
            }
        }
    }

    /// A server's side: the head is complete. Afterwards the connection is open or on its way out.
    pub(super) fn judge<A: Application>(&mut self, app: &mut A, id: ConnectionId) {
        let Phase::Head(head) = self.take_phase(id) else { return };
        let request = match Request::parse(head.reader.bytes(), &self.config.head) {
            Ok(request) => request,
            Err(rejection) => return self.reject(id, &rejection),
        };
        if self.is_draining() {
            return self.reject(id, &Rejection::unavailable(Some(Self::RETRY_AFTER)));
        }
        if !request.wants_upgrade() {
            drop(head);
            return self.begin_exchange(app, id, request);
        }
        let head_only = request.method() == "HEAD";
        let request = match UpgradeRequest::from_request(request) {
            Ok(request) => request,
            Err(rejection) => return self.reject_with(id, &rejection, head_only),
        };
        let answer = self.guard(Some(id), "upgrade", |sessions| app.upgrade(sessions, id, &request));
        self.note_read(id, head.reader.bytes());
        drop(head);
        if !self.is_deciding(id) {
            return;
        }
        let (acceptance, config) = match answer {
            Some(Answer::Accept(acceptance, config)) => (acceptance, config),
            Some(Answer::Refuse(response)) => {
                log::debug!("{id}: not accepted → {}", response.status());
                return self.end_with(id, &response, false);
            }
            None => return self.end_with(id, &Response::new(500), false),
        };
        let response = match request.response(&acceptance) {
            Ok(response) => response,
            Err(error) => {
                log::error!("{}: the handshake cannot be accepted so: {error}", self.peer(id));
                return self.end_with(id, &Response::new(500), false);
            }
        };
        log::debug!("{id}: open for {} at {}", self.peer(id), request.path());
        let Some(session) = self.slab.get_mut(id) else { return };
        session.outbox.push_head(&response, &mut self.pool);
        session.phase = Phase::Open(Connection::new(Role::Server, config, acceptance.deflate, self.now));
        let request = self.config.keep_requests.then(|| {
            let mut request = request;
            request.shed();
            request
        });
        if request.is_some() || acceptance.protocol.is_some() {
            session.origin = Some(Box::new(Origin::Request { request, protocol: acceptance.protocol }));
        }
        self.open(app, id);
    }

    /// The client's side: the server has agreed.
    pub(super) fn agree<A: Application>(&mut self, app: &mut A, id: ConnectionId, agreed: Agreed) {
        let Phase::Answer(answer) = self.take_phase(id) else { return };
        let Some(session) = self.slab.get_mut(id) else { return };
        log::debug!("{id}: open to {}", session.peer);
        session.phase = Phase::Open(Connection::new(Role::Client, answer.config, agreed.deflate, self.now));
        session.origin = Some(Box::new(Origin::Agreed(agreed)));
        self.open(app, id);
    }

    /// The server does not agree, or not as it should.
    pub(super) fn disagree(&mut self, id: ConnectionId, error: HandshakeError) {
        log::info!("{}: the opening handshake failed: {error}", self.peer(id));
        self.lose(id, DialError::Handshake(error));
    }

    fn open<A: Application>(&mut self, app: &mut A, id: ConnectionId) {
        self.mark_dirty(id);
        if let Some(session) = self.slab.get_mut(id)
            && mem::take(&mut session.flags.half_open)
        {
            self.admission.opened(&session.peer.addr());
        }
        self.guard(Some(id), "opened", |sessions| app.opened(sessions, id));
        self.rearm(id);
    }

    /// Answers a request that breaks a rule; nothing behind it is ever looked at.
    pub(super) fn reject(&mut self, id: ConnectionId, rejection: &Rejection) {
        self.reject_with(id, rejection, false);
    }

    /// As [`reject`](Self::reject); `head_only`: as the answer to HEAD, which has no body.
    pub(super) fn reject_with(&mut self, id: ConnectionId, rejection: &Rejection, head_only: bool) {
        log::info!("{}: refused with {}: {rejection}", self.peer(id), rejection.status());
        self.count_refusal();
        self.end_with(id, &rejection.response(), head_only);
    }

    /// The peer ended the stream, or it broke, before the connection was open.
    pub(super) fn fail_opening(&mut self, id: ConnectionId, error: Option<io::Error>) {
        let Some(session) = self.slab.get_mut(id) else { return };
        let error = match (&mut session.phase, error) {
            (_, Some(error)) => DialError::Io(error),
            (Phase::Answer(answer), None) => DialError::Handshake(answer.handshake.give_up()),
            _ => DialError::Cancelled,
        };
        log::debug!("{}: gone before the opening handshake was done", session.peer);
        self.lose(id, error);
    }

    /// The time for an opening handshake is up.
    pub(super) fn opening_timeout(&mut self, id: ConnectionId) {
        let Some(session) = self.slab.get_mut(id) else { return };
        match &mut session.phase {
            Phase::Head(head) if !head.reader.is_empty() => self.reject(id, &Rejection::request_timeout()),
            Phase::Body(_) => self.reject(id, &Rejection::BodyTimeout),
            Phase::Answering(answering) => {
                let head_only = answering.head_only;
                self.reject_with(id, &Rejection::AnswerTimeout, head_only);
            }
            Phase::Head(_) | Phase::Secure(_) => {
                let what = if matches!(session.phase, Phase::Secure(_)) { "TLS handshake" } else { "request" };
                log::info!("{}: dropped: no {what} in time", session.peer);
                self.lose(id, DialError::Timeout);
            }
            Phase::Dialing(dialing) if self.now < dialing.deadline => {
                dialing.wait = None;
                self.requeue(id);
            }
            Phase::Dialing(dialing) => {
                let error = dialing.dial.give_up();
                self.lose(id, error);
            }
            // A refusal whose body has no end says more than that time is up.
            Phase::Answer(answer) => match answer.handshake.give_up() {
                refused @ HandshakeError::Refused(_) => self.lose(id, DialError::Handshake(refused)),
                _ => self.lose(id, DialError::Timeout),
            },
            Phase::Deciding | Phase::Open(_) | Phase::Ending(_) | Phase::Gone => {}
        }
    }

    fn set_phase(&mut self, id: ConnectionId, phase: Phase) {
        if let Some(session) = self.slab.get_mut(id) {
            session.phase = phase;
        }
    }

    /// Takes the phase out and leaves `Deciding`.
    pub(super) fn take_phase(&mut self, id: ConnectionId) -> Phase {
        self.slab.get_mut(id).map_or(Phase::Gone, |session| mem::replace(&mut session.phase, Phase::Deciding))
    }

    /// Whether the application has let the connection live while it was asked.
    pub(super) fn is_deciding(&self, id: ConnectionId) -> bool {
        self.slab.get(id).is_some_and(|session| matches!(session.phase, Phase::Deciding))
    }

    /// For the log.
    pub(super) fn peer(&self, id: ConnectionId) -> impl std::fmt::Display {
        self.slab.get(id).map_or_else(|| "?".to_owned(), |session| session.peer.to_string())
    }

    /// Tells the application of the ends that it has not heard of, and lets go of what is over.
    #[inline]
    pub(super) fn settle<A: Application>(&mut self, app: &mut A) {
        if self.tape.is_some() || !self.reports.is_empty() {
            self.report(app);
        }
    }

    fn report<A: Application>(&mut self, app: &mut A) {
        // What led to an end comes before it.
        self.show(app);
        // An application that dials again at once, which fails at once without room, does not hold up the loop.
        for _ in 0..self.reports.len() {
            let Some((id, report)) = self.reports.pop_front() else { break };
            match report {
                Report::Closed(closed) => {
                    log::debug!("{id}: closed, code {}", closed.code);
                    self.guard(None, "closed", |sessions| app.closed(sessions, id, closed));
                }
                Report::DialFailed(error) => {
                    self.guard(None, "dial_failed", |sessions| app.dial_failed(sessions, id, error));
                }
            }
            let Some(session) = self.slab.get_mut(id) else { continue };
            session.flags.reporting = false;
            session.origin = None;
            let data = session.data.take();
            if matches!(session.phase, Phase::Gone) {
                self.remove(id);
            }
            self.let_go(data);
        }
    }
}

/// What the two ends agreed on, if they speak TLS.
fn log_tls(id: ConnectionId, peer: &Peer, transport: &Transport) {
    // Nobody watches as early as this.
    if let Transport::Tls(stream) = transport
        && let Some(info) = stream.info()
    {
        log::debug!("{id}: TLS with {peer}: {info}");
    }
}
