//! The raw protocol: a plain WebSocket is a channel. What a client sends is published, what is published it receives.
//!
//! ```text
//! new WebSocket("wss://host/channel/NAME?token=…")
//!
//!     open ─▶ who is it? token, backend, or anonymous ─▶ may it subscribe? token, options, or backend ─▶ [hello] ─▶ live
//!                                                                                                   what was missed
//!     a message ─▶ may it publish? options, or backend ─▶ published: text as text, binary as binary
//! ```
//!
//! There are no replies: what is refused closes the connection, with the code and words that the client protocol has for
//! it. Ping and pong are the WebSocket's own.
//!
//! | parameter | |
//! |---|---|
//! | `token` | a subscription's token for this channel, or a connection's |
//! | `hello=1` | the first message is `{"channel":…,"client":…,"epoch":…,"offset":…,"recovered":…}` |
//! | `since=EPOCH:OFFSET` | begin with what was published since; implies `hello`, which says whether nothing is missing |
//! | `echo=0` | do not send a client what it has published itself |
//! | `offsets=1` | each message says where it stands, `{"channel":…,"offset":…,"data":…}`, with `b64data` in place of `data` where that is binary; implies `hello` |
//!
//! All others are for the application: its backend gets them when it is asked who connects.
//!
//! An offset counts publications. A client that wants to come back with `since` counts what it receives behind the hello, as
//! long as nothing comes that has no offset: what is published past the history, what is sent to it and not to the
//! channel, what is published in other channels that the server subscribes it to. Where one of these is to be expected, or
//! with `echo=0`, `offsets=1` is the way: what has no offset there has none.

mod opening;
mod session;
mod turn;

use super::core::{ClientKind, Core, RAW, RAW_TO_OTHERS, RAW_WITH_OFFSETS, RAW_WITH_OFFSETS_TO_OTHERS, key_of};
use super::data;
use super::hooks::{HookAnswer, HookFailure};
use crate::endpoint::{Connections, Upgrade, WebSocket};
use crate::handshake::UpgradeRequest;
use crate::net::PeerAddr;
use crate::push::{Data, Disconnect, Kind, Lane, Publication, PushError, SessionKey, Time};
use crate::wire::{Message, PreparedMessage};
use opening::Opening;
use turn::Turn;

pub(super) use opening::decode as percent_decoded;
pub(super) use session::{Asked, Session};

/// What the path of a channel begins with.
pub(super) const PATH: &str = "/channel/";

/// Accepts a client, unless its URL makes no sense. Whether it may is told by a close code, which pages get to see, other
/// than the status of a refused handshake.
pub(super) fn accept(core: &Core, request: &UpgradeRequest, _: &PeerAddr) -> Upgrade {
    let path = request.path().strip_prefix(PATH).unwrap_or_default();
    match Opening::parse(path, request.query().unwrap_or_default()) {
        Ok(mut opening) => {
            opening.forwarded = core.config.hooks.forwarded(request.fields());
            Upgrade::accept().config(core.transports.raw.clone()).data(Some(opening))
        }
        Err(what) => Upgrade::reject(400).body(&format!("{what}\n")),
    }
}

/// A client is there: who it is and whether it may are asked at once.
pub(super) fn on_open(core: &mut Core, ws: &mut WebSocket<'_>) {
    let Some(opening) = ws.data::<Option<Opening>>().and_then(Option::take) else { return };
    // What the handshake has told is with the session now.
    ws.set_data(());
    let key = key_of(ws.id());
    core.admit(key, ClientKind::Raw(Box::new(Session::new(opening))));
    let connections = ws.connections();
    Turn { core, connections, key }.open();
}

/// A message of a client.
pub(super) fn on_message(core: &mut Core, ws: &mut WebSocket<'_>, message: Message<'_>) {
    let key = key_of(ws.id());
    let connections = ws.connections();
    Turn { core, connections, key }.message(message);
}

/// Something is due for a client.
pub(super) fn due(core: &mut Core, connections: &mut Connections<'_>, key: SessionKey, now: Time) {
    Turn { core, connections, key }.due(now);
}

/// A backend has answered, or not.
pub(super) fn answered(
    core: &mut Core,
    connections: &mut Connections<'_>,
    key: SessionKey,
    asked: Asked,
    outcome: Result<HookAnswer, HookFailure>,
) {
    Turn { core, connections, key }.answered(asked, outcome);
}

/// What a client published could not be brought to disk.
pub(super) fn refused(core: &mut Core, connections: &mut Connections<'_>, key: SessionKey, error: PushError) {
    core.disconnect(connections, key, &disconnect_for(error));
}

/// A publication, as clients of this lane get it, if it is one of this protocol's.
pub(super) fn encode_publication(lane: Lane, channel: &str, publication: &Publication) -> Option<PreparedMessage> {
    match lane {
        RAW | RAW_TO_OTHERS => Some(verbatim(&publication.data)),
        RAW_WITH_OFFSETS | RAW_WITH_OFFSETS_TO_OTHERS => {
            Some(with_offset(Some(channel), publication.offset, &publication.data))
        }
        _ => None,
    }
}

/// A message that belongs to no channel.
pub(super) fn encode_message(lane: Lane, data: &Data) -> Option<PreparedMessage> {
    match lane {
        RAW | RAW_TO_OTHERS => Some(verbatim(data)),
        RAW_WITH_OFFSETS | RAW_WITH_OFFSETS_TO_OTHERS => Some(with_offset(None, 0, data)),
        _ => None,
    }
}

/// Data as a message of their kind.
fn verbatim(data: &Data) -> PreparedMessage {
    match std::str::from_utf8(&data.bytes) {
        Ok(text) if data.kind != Kind::Binary => PreparedMessage::new(text),
        _ => PreparedMessage::new(&data.bytes[..]),
    }
}

/// Data as a part of a JSON object; without an offset where there is none.
fn with_offset(channel: Option<&str>, offset: u64, data: &Data) -> PreparedMessage {
    let mut json = b"{".to_vec();
    if let Some(channel) = channel {
        json.extend_from_slice(b"\"channel\":");
        data::write_json_string(channel, &mut json);
        json.push(b',');
    }
    if offset > 0 {
        json.extend_from_slice(format!("\"offset\":{offset},").as_bytes());
    }
    let name: &[u8] = if data.kind == Kind::Binary { b"\"b64data\":" } else { b"\"data\":" };
    json.extend_from_slice(name);
    data::write_json(data, &mut json);
    json.push(b'}');
    PreparedMessage::new(&*String::from_utf8_lossy(&json))
}

/// How an error reaches a client that gets no replies: the code says whether to come back, the reason is the error's.
fn disconnect_for(error: PushError) -> Disconnect {
    let kind = match error {
        PushError::Internal => Disconnect::SERVER_ERROR,
        PushError::Unauthorized => Disconnect::INVALID_TOKEN,
        PushError::PermissionDenied => Disconnect::PERMISSION_DENIED,
        PushError::UnknownChannel | PushError::MethodNotFound | PushError::NotAvailable => Disconnect::NOT_AVAILABLE,
        PushError::AlreadySubscribed | PushError::BadRequest => Disconnect::BAD_REQUEST,
        PushError::LimitExceeded => Disconnect::CHANNEL_LIMIT,
        PushError::TokenExpired | PushError::Expired => Disconnect::EXPIRED,
        PushError::TooManyRequests => Disconnect::TOO_MANY_REQUESTS,
        PushError::UnrecoverablePosition => Disconnect::INSUFFICIENT_STATE,
    };
    Disconnect { reason: error.message().into(), ..kind }
}
