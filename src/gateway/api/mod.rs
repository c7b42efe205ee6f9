//! The server API: an application publishes, asks and commands by HTTP on the same port.

use super::core::Core;
use crate::endpoint::{Connections, HttpAnswer, HttpExchange};
use crate::handshake::Request;
use crate::net::ConnectionId;
use crate::push::{Position, PushError};

pub(super) fn body_limit(_: &Core, _: &Request) -> usize {
    0
}

pub(super) fn on_http(_: &mut Core, _: &mut Connections<'_>, _: HttpExchange<'_>) -> HttpAnswer {
    HttpAnswer::Default
}

pub(super) fn acknowledged(
    _: &mut Core,
    _: &mut Connections<'_>,
    _: ConnectionId,
    _: usize,
    _: Result<Position, PushError>,
) {
}
