//! Plain HTTP on the same port: what is asked, and how it is answered.

use crate::handshake::{Request, Response};
use crate::net::{ConnectionId, PeerAddr};

/// A plain HTTP request, lent to [`Handler::on_http`](super::Handler::on_http).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct HttpExchange<'a> {
    /// Names the request where it is answered later.
    pub id: ConnectionId,
    /// Its head.
    pub request: &'a Request,
    /// Its body, if [`Handler::body_limit`](super::Handler::body_limit) wanted one.
    pub body: &'a [u8],
    /// Who asks.
    pub peer: &'a PeerAddr,
}

/// How a plain HTTP request is answered; the connection closes behind the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpAnswer {
    /// By the server: `/healthz` with 200, a WebSocket path with 426, any other with 404.
    Default,
    /// With this.
    Now(Response),
    /// By [`Connections::respond`](super::Connections::respond) or
    /// [`ServerHandle::respond`](super::ServerHandle::respond), within
    /// [`NetConfig::answer_timeout`](crate::net::NetConfig::answer_timeout); after that with 503.
    Later,
}

impl From<Response> for HttpAnswer {
    fn from(response: Response) -> Self {
        Self::Now(response)
    }
}
