//! Channels and who listens to them: a [`Hub`] takes commands and answers with [`Effect`]s.
//!
//! Nothing here knows sockets, JSON, clocks or disks: sessions are named by a [`SessionKey`], data are bytes of a [`Kind`],
//! time is passed in, and what has to be stored leaves as an effect.
//!
//! ```text
//! a gateway's command ──▶ Hub ──▶ Ok(answer) or Err(PushError)
//!                          │
//!                          └────▶ Effects, in order: publications, joins, leaves, disconnects ──▶ the gateway encodes and sends
//!                                                    records                                  ──▶ the store ──▶ Hub::committed
//! ```
//!
//! The names are Centrifugo's, whose model this is: a *channel* has *subscribers* and may keep a *stream* of
//! *publications*, each with an *offset* in the stream's *epoch*; who comes back with a position gets all that was
//! published since, or is told that this cannot be.

mod auth;
mod channel;
mod command;
mod effect;
mod error;
mod hub;
mod journal;
mod keys;
mod options;
mod publication;
mod record;
mod session;
mod stream;

pub use auth::{Access, ChannelName, Decision, SubscriptionGrant};
pub use command::{
    Counts, History, HistoryRequest, PublishRequest, Published, Since, SubscribeRequest, Subscribed, Target, Ticket,
};
pub use effect::{Effect, Effects, Receiver};
pub use error::{Disconnect, PushError, Unsubscribe};
pub use hub::Hub;
pub use options::{Audience, ChannelOptions, HubConfig, HubLimits, Namespaces, RecoveryMode};
pub use publication::{ClientId, ClientInfo, Data, Kind, Position, Publication, Time};
pub use record::{Record, RecordBody, Restored, Sequence};
pub use session::{Identity, Lane, SessionKey};
