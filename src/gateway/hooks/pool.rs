//! Threads that ask, and the questions that wait for one.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::http::{Backend, key_of};
use super::{HookAnswer, HookDone, HookFailure, HookRequest, HookTicket, Room};
use crate::gateway::config::{ConfigError, HookConfig};

type Done = Box<dyn Fn(HookDone) + Send + Sync>;

pub(super) struct Pool {
    shared: Arc<Shared>,
}

/// What the threads share with those who ask.
struct Shared {
    backend: Backend,
    /// How long an answer may take, from the question on.
    timeout: Duration,
    max_waiting: usize,
    done: Done,
    room: Arc<Room>,
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    closed: bool,
}

struct Waiting {
    ticket: HookTicket,
    request: HookRequest,
    until: Instant,
}

impl Pool {
    pub(super) fn start(
        backend: Backend,
        threads: usize,
        config: &HookConfig,
        done: Done,
    ) -> Result<Self, ConfigError> {
        let shared = Arc::new(Shared {
            backend,
            timeout: config.timeout,
            max_waiting: config.queue,
            done,
            room: Arc::default(),
            queue: Mutex::default(),
            wake: Condvar::new(),
        });
        let pool = Self { shared };
        for index in 0..threads {
            let shared = Arc::clone(&pool.shared);
            thread::Builder::new().name(format!("hook-{index}")).spawn(move || shared.work()).map_err(|error| {
                let what = format!("thread {} of {threads} cannot be started: {error}", index + 1);
                ConfigError { key: "hook-concurrency".to_owned(), what }
            })?;
        }
        Ok(pool)
    }

    pub(super) fn ask(&self, request: HookRequest) -> HookTicket {
        /// Questions of a pool that was replaced are still answered: they must not be taken for another's.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let ticket = HookTicket(NEXT.fetch_add(1, Ordering::Relaxed));
        if let Err(why) = self.shared.add(ticket, request) {
            (self.shared.done)(HookDone { ticket, outcome: Err(HookFailure::Unavailable(why)) });
        }
        ticket
    }

    pub(super) fn room(&self) -> Arc<Room> {
        Arc::clone(&self.shared.room)
    }

    pub(super) fn waiting(&self) -> usize {
        self.shared.queue().waiting.len()
    }
}

impl Drop for Pool {
    /// The threads answer what waits, and end.
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn add(&self, ticket: HookTicket, request: HookRequest) -> Result<(), String> {
        if !self.backend.answers(&request) {
            return Err(format!("{} is not set", key_of(request.kind())));
        }
        let mut queue = self.queue();
        if queue.waiting.len() >= self.max_waiting {
            return Err(format!("{} questions to backends wait already", queue.waiting.len()));
        }
        if !self.room.take(data_len(&request)) {
            return Err("too much data waits for backends already".to_owned());
        }
        queue.waiting.push_back(Waiting { ticket, request, until: Instant::now() + self.timeout });
        drop(queue);
        self.wake.notify_one();
        Ok(())
    }

    /// What each thread does.
    fn work(&self) {
        while let Some(Waiting { ticket, request, until }) = self.next() {
            (self.done)(HookDone { ticket, outcome: self.ask(&request, until) });
        }
    }

    /// The oldest question; `None` once there will be no more.
    fn next(&self) -> Option<Waiting> {
        let mut queue = self.queue();
        loop {
            if let Some(next) = queue.waiting.pop_front() {
                self.room.give(data_len(&next.request));
                return Some(next);
            }
            if queue.closed {
                return None;
            }
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn ask(&self, request: &HookRequest, until: Instant) -> Result<HookAnswer, HookFailure> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let text = format!("{}: no thread was free within {:?}", key_of(request.kind()), self.timeout);
            return Err(HookFailure::Unavailable(text));
        }
        self.backend.ask(request, left)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it is locked, and a half-done change of it could do no harm.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn data_len(request: &HookRequest) -> usize {
    request.data().map_or(0, |data| data.bytes.len())
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}
