//! The server API: an application publishes, asks and commands by HTTP on the same port.

use super::core::Core;
use crate::endpoint::Connections;
use crate::net::ConnectionId;
use crate::push::{Position, PushError};

pub(super) fn acknowledged(
    _: &mut Core,
    _: &mut Connections<'_>,
    _: ConnectionId,
    _: usize,
    _: Result<Position, PushError>,
) {
}
