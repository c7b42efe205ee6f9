//! Going away gracefully: every connection is told 1001, in batches, and given time.

use std::time::{Duration, Instant};

use super::session::Phase;
use super::{Application, ConnectionId, DialError, Sessions};
use crate::handshake::Rejection;
use crate::wire::CloseCode;

/// A drain under way.
#[derive(Debug)]
pub(crate) struct Drain {
    deadline: Instant,
    /// Those still to be told; absent before the application knows.
    left: Option<Vec<ConnectionId>>,
    /// Whether its time was up and all that was left has been dropped.
    is_over: bool,
}

impl Drain {
    pub(crate) fn new(now: Instant, within: Duration) -> Self {
        // A time that no clock will show is a day.
        let deadline = now.checked_add(within).unwrap_or_else(|| now + Duration::from_secs(86_400));
        Self { deadline, left: None, is_over: false }
    }

    /// Whether the application knows.
    pub(crate) fn is_announced(&self) -> bool {
        self.left.is_some()
    }

    /// Whether nothing is waited for any more. What an application begins after that would never end.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// When there is something to do.
    pub(crate) fn next(&self, now: Instant) -> Instant {
        if self.left.as_ref().is_some_and(Vec::is_empty) { self.deadline } else { now }
    }
}

impl Sessions {
    /// The next step of a drain, if there is one under way.
    pub(super) fn drain_step<A: Application>(&mut self, app: &mut A) {
        let Some(drain) = &mut self.drain else { return };
        let deadline = drain.deadline;
        if drain.left.is_none() {
            drain.left = Some(self.slab.iter().map(|(id, _)| id).collect());
            log::info!("draining {} connections", self.slab.len());
            self.guard(None, "draining", |sessions| app.draining(sessions));
        }
        if self.now >= deadline {
            if let Some(drain) = &mut self.drain {
                drain.is_over = true;
            }
            let left: Vec<_> = self.slab.iter().map(|(id, _)| id).collect();
            if !left.is_empty() {
                log::warn!("{} connections did not close in time and are dropped", left.len());
            }
            for id in left {
                self.lose(id, DialError::Cancelled);
            }
            return;
        }
        for _ in 0..self.config.drain_batch {
            let left = self.drain.as_mut().and_then(|drain| drain.left.as_mut());
            let Some(id) = left.and_then(Vec::pop) else { return };
            self.send_away(app, id);
        }
    }

    fn send_away<A: Application>(&mut self, app: &mut A, id: ConnectionId) {
        let Some(session) = self.slab.get_mut(id) else { return };
        match &session.phase {
            Phase::Open(_) => {
                if session.takes_messages() {
                    self.guard(Some(id), "going_away", |sessions| app.going_away(sessions, id));
                }
                // One that is closing already needs no telling.
                let _ = self.close(id, CloseCode::GOING_AWAY, "");
            }
            Phase::Head(_) | Phase::Body(_) => {
                self.end_with(id, &Rejection::unavailable(Some(Self::RETRY_AFTER)).response(), false);
            }
            Phase::Dialing(_) | Phase::Answer(_) | Phase::Secure(_) => self.lose(id, DialError::Cancelled),
            // What was asked before is still answered.
            Phase::Deciding | Phase::Answering(_) | Phase::Ending(_) | Phase::Gone => {}
        }
    }
}
