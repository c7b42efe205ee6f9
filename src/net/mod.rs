//! Sockets, time and signals: the only layer that touches the operating system.
//!
//! One thread runs one event loop: a mio poll, its listeners, signals and mailbox, around the sessions, which are
//! everything that a connection needs and know no poll. That seam is what a seeded simulator drives: it hands the
//! sessions a [`Transport`] of its own and readiness in any order it likes.
//!
//! ```text
//! poll ─▶ readiness ─▶ Sessions ─▶ Session: TLS ─▶ head ─▶ protocol::Connection ─▶ Application
//!                          ▲                                                          │ send, close, dial, …
//!                          └── timers, mailbox, signals            Outbox ◀───────────┘
//!                                                                    └─▶ one vectored write per socket and turn
//! ```

mod dial;
mod id;
mod mailbox;
mod tls;
mod transport;

pub use dial::DialError;
pub use id::ConnectionId;
pub use mailbox::{PostError, Remote};
pub use tls::{TlsAcceptor, TlsStream};
pub use transport::{PeerAddr, Stream, Transport};
