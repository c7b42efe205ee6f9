//! What the hub wants done, in this order.

use std::sync::Arc;

use super::{
    ClientInfo, Data, Disconnect, Lane, Position, Publication, PushError, Record, Sequence, SessionKey, Subscribed,
    Ticket, Unsubscribe,
};

/// A session that something goes to, and the encoding that it is served in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// Which session.
    pub key: SessionKey,
    /// Its encoding.
    pub lane: Lane,
}

/// What the hub's commands add to, to be carried out in order once the command's own answer is written.
pub type Effects = Vec<Effect>;

/// One thing to be done.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Effect {
    /// Subscribers get a publication.
    Publication {
        /// Of this channel.
        channel: Arc<str>,
        /// The publication.
        publication: Arc<Publication>,
        /// The subscribers, in no order.
        to: Arc<Vec<Receiver>>,
    },
    /// Subscribers hear that somebody came.
    Join {
        /// To this channel.
        channel: Arc<str>,
        /// Who.
        info: ClientInfo,
        /// Who hears it; the one who came among them.
        to: Vec<Receiver>,
    },
    /// Subscribers hear that somebody went.
    Leave {
        /// From this channel.
        channel: Arc<str>,
        /// Who.
        info: ClientInfo,
        /// Who hears it.
        to: Vec<Receiver>,
    },
    /// Sessions get a message that belongs to no channel.
    Message {
        /// The message.
        data: Data,
        /// Who gets it.
        to: Vec<Receiver>,
    },
    /// The server has subscribed a session.
    Subscribed {
        /// The session.
        to: Receiver,
        /// The channel.
        channel: Arc<str>,
        /// As the answer to a subscription of the client's own.
        answer: Box<Subscribed>,
        /// What the server tells its client with it: nothing, unless the gateway adds something.
        data: Option<Data>,
    },
    /// The server has ended a subscription.
    Unsubscribed {
        /// The session.
        to: Receiver,
        /// The channel.
        channel: Arc<str>,
        /// Why.
        why: Unsubscribe,
    },
    /// A session is to be ended; [`Hub::disconnect`](super::Hub::disconnect) follows when it is.
    Disconnect {
        /// The session.
        key: SessionKey,
        /// How.
        disconnect: Disconnect,
    },
    /// A publish that was answered [`Later`](super::Published::Later) is done.
    Acknowledged {
        /// Which.
        ticket: Ticket,
        /// Where it stands now, or why it was not published.
        result: Result<Position, PushError>,
    },
    /// The store is to keep this; [`Hub::committed`](super::Hub::committed) follows when it does.
    Store(Record),
    /// The store is to let go of these, in the order of effects: what was stored a moment ago can be among them. It is not
    /// lost by a failure to store, as a record that stays while later ones go would bring back a stream's past.
    Forget(Vec<Sequence>),
}
