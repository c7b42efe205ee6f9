//! A plain HTTP request on the same port: its body, the application, and the answer, perhaps later.
//!
//! ```text
//! Head ─▶ body_limit ─▶ Body ─▶ request ─▶ Answering ─▶ Ending
//!            0, or no body ───────▲  │          ▲
//!                                    │ None     │ Sessions::respond, or time is up
//!                                    └──────────┘
//! ```
//! One connection serves one request. What follows it is read and forgotten, so that its peer's end is seen.

use super::session::{Answering, Incoming, Phase};
use super::timers::later;
use super::{Application, ConnectionId, Sessions};
use crate::handshake::{Body, BodyReader, Rejection, Request, Response};

/// Has a client that waits for it send its body [RFC 9110 §15.2.1].
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl Sessions {
    /// Answers a request for which [`Application::request`] gave no answer. Whether there was somebody to answer: not if
    /// the peer has gone, if time was up, or if `id` names something else.
    pub fn respond(&mut self, id: ConnectionId, response: &Response) -> bool {
        let Some(session) = self.slab.get(id) else { return false };
        let Phase::Answering(answering) = session.phase else { return false };
        log::debug!("{id}: answered {}", response.status());
        self.end_with(id, response, answering.head_only);
        true
    }

    /// A plain request's head is complete.
    pub(super) fn begin_exchange<A: Application>(&mut self, app: &mut A, id: ConnectionId, request: Request) {
        let head_only = request.method() == "HEAD";
        let is_awaited = match request.expects_continue() {
            Ok(is_awaited) => is_awaited,
            Err(rejection) => return self.reject_with(id, &rejection, head_only),
        };
        let limit = self.guard(Some(id), "body_limit", |sessions| app.body_limit(sessions, id, &request));
        if !self.is_deciding(id) {
            return;
        }
        let Some(limit) = limit else { return self.end_with(id, &Response::new(500), head_only) };
        if limit == 0 || request.body() == Body::None {
            return self.ask(app, id, &request, b"");
        }
        let reader = match BodyReader::new(request.body(), limit) {
            Ok(reader) => reader,
            Err(rejection) => return self.reject_with(id, &rejection, head_only),
        };
        let deadline = later(self.now, self.config.body_timeout);
        let Some(session) = self.slab.get_mut(id) else { return };
        session.phase = Phase::Body(Box::new(Incoming { request, reader, deadline }));
        if is_awaited {
            session.outbox.tail(&mut self.pool).extend_from_slice(CONTINUE);
            self.mark_dirty(id);
        }
    }

    /// A plain request's body is complete.
    pub(super) fn finish_body<A: Application>(&mut self, app: &mut A, id: ConnectionId) {
        let Phase::Body(incoming) = self.take_phase(id) else { return };
        if self.is_draining() {
            return self.reject(id, &Rejection::unavailable(Some(Self::RETRY_AFTER)));
        }
        self.ask(app, id, &incoming.request, incoming.reader.bytes());
    }

    /// Has the application answer, now or later.
    fn ask<A: Application>(&mut self, app: &mut A, id: ConnectionId, request: &Request, body: &[u8]) {
        let deadline = later(self.now, self.config.answer_timeout);
        let head_only = request.method() == "HEAD";
        let Some(session) = self.slab.get_mut(id) else { return };
        // Before the call, so that it may also answer by `respond`.
        session.phase = Phase::Answering(Answering { deadline, head_only, peer_ended: false });
        log::debug!("{id}: {} {}", request.method(), request.target());
        match self.guard(Some(id), "request", |sessions| app.request(sessions, id, request, body)) {
            Some(Some(response)) => drop(self.respond(id, &response)),
            // The peer's end may have come along with the request.
            Some(None) => self.requeue(id),
            None => drop(self.respond(id, &Response::new(500))),
        }
    }

    /// The peer has ended its direction while it waits for its answer.
    ///
    /// That is all a peer does that has gone, and it is what one does that has nothing more to ask. So the answer is
    /// still given, but not waited for as long: `linger`, as for any other connection whose end has begun.
    pub(super) fn stop_listening(&mut self, id: ConnectionId) {
        let last = later(self.now, self.config.linger);
        if let Some(session) = self.slab.get_mut(id)
            && let Phase::Answering(answering) = &mut session.phase
            && !answering.peer_ended
        {
            answering.peer_ended = true;
            answering.deadline = answering.deadline.min(last);
        }
    }
}
