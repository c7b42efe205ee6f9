//! The raw protocol: a plain WebSocket is a channel. What a client sends is published, what is published it receives.

use super::core::Core;
use super::hooks::{HookAnswer, HookFailure};
use crate::endpoint::{Connections, Upgrade, WebSocket};
use crate::handshake::UpgradeRequest;
use crate::net::PeerAddr;
use crate::push::{Data, Publication, PushError, SessionKey};
use crate::wire::{Message, PreparedMessage};

/// What the path of a channel begins with.
pub(super) const PATH: &str = "/channel/";

/// The state of a client of this protocol.
#[derive(Debug)]
pub(super) struct Session {}

/// What waits for a backend.
#[derive(Debug)]
pub(super) struct Asked {}

pub(super) fn accept(_: &Core, _: &UpgradeRequest, _: &PeerAddr) -> Upgrade {
    Upgrade::reject(404)
}

pub(super) fn on_open(_: &mut Core, _: &mut WebSocket<'_>) {}

pub(super) fn on_message(_: &mut Core, _: &mut WebSocket<'_>, _: Message<'_>) {}

pub(super) fn answered(
    _: &mut Core,
    _: &mut Connections<'_>,
    _: SessionKey,
    _: Asked,
    _: Result<HookAnswer, HookFailure>,
) {
}

pub(super) fn refused(_: &mut Core, _: &mut Connections<'_>, _: SessionKey, _: PushError) {}

pub(super) fn encode(publication: &Publication) -> PreparedMessage {
    encode_message(&publication.data)
}

pub(super) fn encode_message(data: &Data) -> PreparedMessage {
    PreparedMessage::new(&data.bytes[..])
}
