//! Names to addresses, off the loop: the system's resolver blocks, so it is asked on threads of its own.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::net::ConnectionId;
use crate::net::mailbox::Notifier;

/// Threads that resolve at the same time at most, in the whole process. They end when nothing is left to resolve.
const MAX_WORKERS: usize = 8;

static POOL: Mutex<Pool> = Mutex::new(Pool { jobs: VecDeque::new(), workers: 0 });

struct Pool {
    jobs: VecDeque<Job>,
    workers: usize,
}

struct Job {
    host: String,
    port: u16,
    answer: Arc<Mutex<Option<Answer>>>,
    id: ConnectionId,
    notifier: Notifier,
}

/// The system's words cannot be cloned; here they are kept as text.
type Answer = Result<Vec<SocketAddr>, String>;

/// A lookup under way. Dropping it leaves the answer unread.
#[derive(Debug)]
pub(super) struct Lookup {
    answer: Arc<Mutex<Option<Answer>>>,
}

impl Lookup {
    /// Asks for the addresses of `host`; `notifier` is told of `id` when the answer is there.
    pub(super) fn start(host: &str, port: u16, id: ConnectionId, notifier: &Notifier) -> Self {
        let answer = Arc::default();
        let job = Job { host: host.to_owned(), port, answer: Arc::clone(&answer), id, notifier: notifier.clone() };
        let mut pool = lock(&POOL);
        pool.jobs.push_back(job);
        if pool.workers < MAX_WORKERS {
            match thread::Builder::new().name("loopwire-resolver".to_owned()).spawn(work) {
                Ok(_) => pool.workers += 1,
                // Another worker will come to it.
                Err(_) if pool.workers > 0 => {}
                Err(error) => {
                    let error = format!("no thread to ask the resolver: {error}");
                    for job in pool.jobs.drain(..) {
                        job.reply(Err(error.clone()));
                    }
                }
            }
        }
        Self { answer }
    }

    /// The answer, once it is there; never an empty one.
    pub(super) fn poll(&self) -> Option<io::Result<Vec<SocketAddr>>> {
        let answer = lock(&self.answer).take()?;
        Some(match answer {
            Ok(addrs) if addrs.is_empty() => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
            Ok(addrs) => Ok(addrs),
            Err(error) => Err(io::Error::other(error)),
        })
    }
}

impl Job {
    fn reply(self, answer: Answer) {
        *lock(&self.answer) = Some(answer);
        self.notifier.notify(self.id);
    }

    fn is_wanted(&self) -> bool {
        Arc::strong_count(&self.answer) > 1
    }
}

/// One thread: resolves until nothing is left.
fn work() {
    loop {
        let job = {
            let mut pool = lock(&POOL);
            pool.jobs.retain(Job::is_wanted);
            let Some(job) = pool.jobs.pop_front() else {
                pool.workers -= 1;
                return;
            };
            job
        };
        let answer = (job.host.as_str(), job.port).to_socket_addrs();
        let answer = answer.map(Iterator::collect).map_err(|error| error.to_string());
        // A thousand clients that reconnect to one host at once are answered by one question.
        let same: VecDeque<Job> = {
            let mut pool = lock(&POOL);
            let (same, others) =
                pool.jobs.drain(..).partition(|other| (&other.host, other.port) == (&job.host, job.port));
            pool.jobs = others;
            same
        };
        for job in same {
            job.reply(answer.clone());
        }
        job.reply(answer);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
