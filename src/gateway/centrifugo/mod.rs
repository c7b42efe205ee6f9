//! The Centrifugo client protocol, version 2, in JSON and Protobuf over a bidirectional WebSocket.
//!
//! ```text
//! message ─▶ decode ─▶ Command … ─▶ Turn::carry_out: connect, subscribe, commands ─▶ Reply, Refusal or Disconnect
//!                                                       │ asks                          ▲
//!                                                       ▼                               │
//!                                                    backend ─▶ answered ───────────────┘
//! ```

mod answers;
mod commands;
mod connect;
#[cfg(fuzzing)]
pub mod fuzzing;
mod json;
mod messages;
mod protobuf;
mod requests;
mod session;
mod subscribe;
mod turn;

use super::core::{CENTRIFUGO_JSON, CENTRIFUGO_PROTOBUF, ClientKind, Core, key_of};
use super::hooks::{HookAnswer, HookFailure};
use crate::endpoint::{Connections, Upgrade, WebSocket};
use crate::handshake::UpgradeRequest;
use crate::net::PeerAddr;
use crate::push::{
    ClientInfo, Data, Disconnect, Lane, Position, Publication, PushError, SessionKey, Subscribed, Time, Unsubscribe,
};
use crate::wire::{Message, PreparedMessage};
use messages::{Format, Push};
use turn::Turn;

pub(super) use session::{Asked, Opening, Session};

/// Where clients of this protocol connect.
pub(super) const PATH: &str = "/connection/websocket";

/// The subprotocols by which a client says which encoding it speaks.
const JSON_PROTOCOL: &str = "centrifuge-json";
const PROTOBUF_PROTOCOL: &str = "centrifuge-protobuf";

/// Accepts a client, in the encoding that it asks for.
pub(super) fn accept(core: &Core, request: &UpgradeRequest, _: &PeerAddr) -> Upgrade {
    let offers = |protocol: &str| request.protocols().iter().any(|offered| offered == protocol);
    let asks = |parameter: &str| request.query().is_some_and(|query| query.split('&').any(|each| each == parameter));
    let chosen = [PROTOBUF_PROTOCOL, JSON_PROTOCOL].into_iter().find(|protocol| offers(protocol));
    let is_protobuf = chosen == Some(PROTOBUF_PROTOCOL) || asks("cf_protocol=protobuf") || asks("format=protobuf");
    let pings = asks("cf_ws_frame_ping_pong=true");
    let transports = &core.transports;
    let upgrade = Upgrade::accept()
        .config(if pings { transports.centrifugo_with_pings.clone() } else { transports.centrifugo.clone() })
        .data(Opening {
            format: if is_protobuf { Format::Protobuf } else { Format::Json },
            websocket_pings: pings,
            forwarded: core.config.hooks.forwarded(request.fields()).into(),
        });
    match chosen {
        Some(protocol) => upgrade.protocol(protocol),
        None => upgrade,
    }
}

/// A client is there, and has a while to say who it is.
pub(super) fn on_open(core: &mut Core, ws: &mut WebSocket<'_>) {
    let deadline = core.now(ws.connections()).plus(super::clock::millis(core.config.connect_timeout));
    let Some(session) = ws.data::<Opening>().map(|opening| Session::new(opening, deadline)) else { return };
    // What the handshake has told is with the session now.
    ws.set_data(());
    let key = key_of(ws.id());
    core.admit(key, ClientKind::Centrifugo(Box::new(session)));
    core.plan(key);
}

/// A message of a client: its commands, one after the other.
pub(super) fn on_message(core: &mut Core, ws: &mut WebSocket<'_>, message: Message<'_>) {
    let key = key_of(ws.id());
    let connections = ws.connections();
    Turn { core, connections, key }.message(message);
}

/// What a client was sent has left.
pub(super) fn on_writable(core: &mut Core, ws: &mut WebSocket<'_>) {
    let key = key_of(ws.id());
    let connections = ws.connections();
    Turn { core, connections, key }.writable();
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

/// A publish is on disk, or could not be brought there.
pub(super) fn acknowledged(
    core: &mut Core,
    connections: &mut Connections<'_>,
    key: SessionKey,
    command: u32,
    result: &Result<Position, PushError>,
) {
    Turn { core, connections, key }.acknowledged(command, result);
}

/// The server has ended a subscription; its client is being told.
pub(super) fn unsubscribed(core: &mut Core, key: SessionKey, channel: &str) {
    if let Some(session) = session_of(core, key) {
        session.forget_refreshes_of(channel);
        core.plan(key);
    }
}

pub(super) fn encode_publication(lane: Lane, channel: &str, publication: &Publication) -> Option<PreparedMessage> {
    prepare(lane, Push::Publication { channel, publication })
}

pub(super) fn encode_join(lane: Lane, channel: &str, info: &ClientInfo) -> Option<PreparedMessage> {
    prepare(lane, Push::Join { channel, info })
}

pub(super) fn encode_leave(lane: Lane, channel: &str, info: &ClientInfo) -> Option<PreparedMessage> {
    prepare(lane, Push::Leave { channel, info })
}

pub(super) fn encode_subscribed(
    lane: Lane,
    channel: &str,
    answer: &Subscribed,
    data: Option<&Data>,
) -> Option<PreparedMessage> {
    prepare(lane, Push::Subscribe { channel, answer, data })
}

pub(super) fn encode_unsubscribed(lane: Lane, channel: &str, why: Unsubscribe) -> Option<PreparedMessage> {
    prepare(lane, Push::Unsubscribe { channel, why })
}

pub(super) fn encode_message(lane: Lane, data: &Data) -> Option<PreparedMessage> {
    prepare(lane, Push::Message { data })
}

/// A push in the encoding of a lane, if that is one of this protocol's.
fn prepare(lane: Lane, push: Push<'_>) -> Option<PreparedMessage> {
    let format = match lane {
        CENTRIFUGO_JSON => Format::Json,
        CENTRIFUGO_PROTOBUF => Format::Protobuf,
        _ => return None,
    };
    Some(messages::encode_push(format, push).prepare())
}

const fn lane_of(format: Format) -> Lane {
    match format {
        Format::Json => CENTRIFUGO_JSON,
        Format::Protobuf => CENTRIFUGO_PROTOBUF,
    }
}

/// The session of a client of this protocol.
fn session_of(core: &mut Core, key: SessionKey) -> Option<&mut Session> {
    match &mut core.clients.get_mut(&key)?.kind {
        ClientKind::Centrifugo(session) => Some(session),
        ClientKind::Raw(_) => None,
    }
}

impl Session {
    /// Says why the connection is closed next.
    pub(super) fn say_goodbye(&self, connections: &mut Connections<'_>, key: SessionKey, disconnect: &Disconnect) {
        let message = messages::encode_push(self.format, Push::Disconnect(disconnect));
        let _ = connections.send(super::core::connection_of(key), message.as_message());
    }
}
