//! Sockets, time and signals: the only layer that touches the operating system.
//!
//! One thread runs one [`EventLoop`]: a mio poll, its listeners, signals and mailbox, around [`Sessions`], which is
//! everything that a connection needs and knows no poll. That seam is what a seeded simulator drives: it hands the
//! sessions a [`Transport`] of its own and readiness in any order it likes.
//!
//! ```text
//! poll ─▶ readiness ─▶ Sessions ─▶ Session: TLS ─▶ head ─▶ protocol::Connection ─▶ Application
//!                          ▲                                                          │ send, close, dial, …
//!                          └── timers, mailbox, signals            Outbox ◀───────────┘
//!                                                                    └─▶ one vectored write per socket and turn
//! ```

mod admission;
mod alarms;
mod application;
mod budget;
mod buffers;
mod config;
mod dial;
mod drain;
mod drive;
mod event_loop;
mod exchange;
mod id;
mod listener;
mod mailbox;
mod opening;
mod outbox;
mod proxy;
mod run;
mod sending;
mod sent;
mod session;
mod sessions;
mod signals;
mod slab;
mod timers;
mod tls;
mod transport;
mod watched;
mod workspace;

pub use application::{Answer, Application};
pub use config::{NetConfig, OverflowPolicy};
pub use dial::{Attempt, Backoff, DialError, DialRequest};
pub use event_loop::EventLoop;
pub use id::ConnectionId;
pub use listener::{ListenAddr, ListenConfig};
pub use mailbox::{PostError, Remote};
pub use sent::{SendError, Sent};
pub use sessions::{Readiness, Sessions, TimerId};
pub use tls::{CertificateFiles, TlsAcceptor, TlsConnector, TlsError, TlsInfo, TlsStream};
pub(crate) use transport::Peer;
pub use transport::{PeerAddr, Stream, Transport};
pub use watched::Watched;
