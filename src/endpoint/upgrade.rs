//! The application's answer to an opening handshake.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::handshake::{HandshakeError, Rejection, Response};
use crate::protocol::Config;

/// What [`Handler::on_upgrade`](super::Handler::on_upgrade) says: accept, perhaps with particulars, or refuse.
///
/// ```
/// use loopwire::{PeerAddr, Upgrade, UpgradeRequest};
///
/// fn on_upgrade(request: &UpgradeRequest, _peer: &PeerAddr) -> Upgrade {
///     match request.fields().get("Authorization") {
///         Some("Bearer open-sesame") => Upgrade::accept().field("X-Greeting", "welcome"),
///         Some(_) => Upgrade::reject(403).body("the wrong word\n"),
///         None => Upgrade::reject(401),
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Upgrade(pub(super) Decision);

pub(super) enum Decision {
    Accept(Accept),
    Refuse(Result<Response, HandshakeError>),
}

/// The particulars of an acceptance; what is absent is as the server has it.
#[derive(Default)]
pub(super) struct Accept {
    pub(super) protocol: Option<String>,
    pub(super) fields: Vec<(String, String)>,
    pub(super) config: Option<Arc<Config>>,
    pub(super) deflate: Option<bool>,
    pub(super) data: Option<Box<dyn Any + Send>>,
    pub(super) watch: bool,
}

impl Upgrade {
    /// Answers 101.
    pub fn accept() -> Self {
        Self(Decision::Accept(Accept::default()))
    }

    /// Answers `status`, 300 to 599, with a sentence that says so; 401 asks for a bearer token.
    ///
    /// A [`Rejection`] or a whole [`Response`] can be returned too, by `into()`.
    pub fn reject(status: u16) -> Self {
        match status {
            401 => Rejection::unauthorized("Bearer").into(),
            404 => Rejection::not_found().into(),
            403 => Rejection::forbidden().into(),
            429 => Rejection::too_many_requests(None).into(),
            503 => Rejection::unavailable(None).into(),
            status => Rejection::application(status).into(),
        }
    }

    /// Chooses this subprotocol; it must be one that the client offers.
    #[must_use]
    pub fn protocol(mut self, protocol: impl Into<String>) -> Self {
        if let Decision::Accept(accept) = &mut self.0 {
            accept.protocol = Some(protocol.into());
        }
        self
    }

    /// Adds a field to the answer, whichever it is. One that may not be sent there makes the answer a 500.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        match &mut self.0 {
            Decision::Accept(accept) => accept.fields.push((name, value)),
            Decision::Refuse(response) => {
                if let Ok(given) = response {
                    *response = given.clone().with_field(&name, &value);
                }
            }
        }
        self
    }

    /// Gives this connection limits and times of its own. Share one `Arc` among many connections.
    #[must_use]
    pub fn config(mut self, config: Arc<Config>) -> Self {
        if let Decision::Accept(accept) = &mut self.0 {
            accept.config = Some(config);
        }
        self
    }

    /// Whether this connection may be compressed, whatever the server does otherwise. Say `false` for one that mixes
    /// secrets with what an attacker can choose: sizes would tell (CRIME, BREACH).
    #[must_use]
    pub fn deflate(mut self, yes: bool) -> Self {
        if let Decision::Accept(accept) = &mut self.0 {
            accept.deflate = Some(yes);
        }
        self
    }

    /// Keeps `data` with the connection, for [`WebSocket::data`](super::WebSocket::data): what the request told, such as
    /// who this is.
    #[must_use]
    pub fn data<T: Any + Send>(mut self, data: T) -> Self {
        if let Decision::Accept(accept) = &mut self.0 {
            accept.data = Some(Box::new(data));
        }
        self
    }

    /// Has [`Handler::on_wire`](super::Handler::on_wire) shown every byte of this connection, from the request on: to debug,
    /// to record, to teach. It costs a copy of each; connections that nobody watches pay nothing.
    #[must_use]
    pub fn watch(mut self) -> Self {
        if let Decision::Accept(accept) = &mut self.0 {
            accept.watch = true;
        }
        self
    }

    /// The text of a refusal.
    #[must_use]
    pub fn body(mut self, text: &str) -> Self {
        if let Decision::Refuse(Ok(response)) = &mut self.0 {
            let mut with_text = Ok(Response::text(response.status(), text));
            for (name, value) in response.fields() {
                if !["Content-Type", "X-Content-Type-Options"].iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
                    with_text = with_text.and_then(|response| response.with_field(name, value));
                }
            }
            self.0 = Decision::Refuse(with_text);
        }
        self
    }
}

impl From<Response> for Upgrade {
    fn from(response: Response) -> Self {
        Self(Decision::Refuse(Ok(response)))
    }
}

impl From<Rejection> for Upgrade {
    fn from(rejection: Rejection) -> Self {
        rejection.response().into()
    }
}

impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept(accept) => f
                .debug_struct("Accept")
                .field("protocol", &accept.protocol)
                .field("fields", &accept.fields)
                .field("deflate", &accept.deflate)
                .field("watch", &accept.watch)
                .finish_non_exhaustive(),
            Self::Refuse(response) => f.debug_tuple("Refuse").field(response).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(upgrade: Upgrade) -> Result<Response, HandshakeError> {
        match upgrade.0 {
            Decision::Refuse(response) => response,
            Decision::Accept(_) => unreachable!("it was refused"),
        }
    }

    #[test]
    fn a_refusal_has_the_fields_that_its_status_needs() {
        let field = |upgrade, name: &str| {
            let response = refused(upgrade).unwrap();
            response.fields().iter().find(|(field, _)| field == name).map(|(_, value)| value.clone())
        };
        assert_eq!(field(Upgrade::reject(401), "WWW-Authenticate").as_deref(), Some("Bearer"));
        let upgrade = Upgrade::reject(302).field("Location", "/elsewhere").body("not here");
        assert_eq!(field(upgrade, "Location").as_deref(), Some("/elsewhere"));
        assert_eq!(refused(Upgrade::reject(418).body("tea")).unwrap().body(), b"tea");
        assert_eq!(refused(Upgrade::reject(200)).unwrap().status(), 500, "a success is no refusal");
    }

    #[test]
    fn a_field_that_could_end_the_line_is_refused() {
        assert!(refused(Upgrade::reject(403).field("X", "a\r\nSet-Cookie: b").body("x").field("Y", "z")).is_err());
    }
}
