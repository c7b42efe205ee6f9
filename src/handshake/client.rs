//! The client's side: a request, and the judgement of what the server answers [RFC 6455 §4.1].

use std::collections::HashSet;

use super::answer::{Answer, AnswerReader};
use super::authority::Authority;
use super::fields::{excerpt, is_field_value, is_token, write_field};
use super::key::encode_nonce;
use super::server::{DEFLATE, check_field};
use super::{Fields, HandshakeError, HeadLimits, Refusal, UpgradeRequest, Uri, Version, accept_key, extensions};
use crate::deflate::{DeflateConfig, DeflateOffer, DeflateParams};

/// How much of the body of an answer other than 101 is kept, in bytes: enough for an error's text.
const MAX_BODY: usize = 4096;

/// What a client asks for besides the address.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// Protocols to offer, the preferred one first.
    pub protocols: Vec<String>,
    /// More fields, such as Cookie or Authorization. A Host here replaces the address's.
    pub fields: Vec<(String, String)>,
    /// The origin to name, as a browser would.
    pub origin: Option<String>,
    /// The version to speak.
    pub version: Version,
    /// Compression to offer.
    pub deflate: Option<DeflateConfig>,
    /// How much of the answer's head is read, interim answers before it included.
    pub head: HeadLimits,
}

/// What client and server agreed on.
#[derive(Clone, Debug)]
pub struct Agreed {
    /// The protocol that the server chose, one of those offered.
    pub protocol: Option<String>,
    /// The compression agreed on.
    pub deflate: Option<DeflateParams>,
    /// The fields of the 101.
    pub fields: Fields,
}

/// A handshake under way, from the request sent to the answer judged.
#[derive(Debug)]
pub struct ClientHandshake {
    accept: String,
    protocols: Vec<String>,
    offers: Vec<DeflateOffer>,
    reader: AnswerReader,
    /// Bytes of the answer seen.
    received: usize,
    /// Once the answer is known to be no 101: it, and how much more of its body is wanted.
    refusal: Option<(Box<Refusal>, usize)>,
}

impl ClientHandshake {
    /// Begins a handshake and gives the request's bytes, to be sent before anything else.
    ///
    /// # Errors
    /// Something in the options may not be sent, or the system gives no randomness.
    pub fn new(uri: &Uri, options: &ClientOptions) -> Result<(Self, Vec<u8>), HandshakeError> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|_| HandshakeError::Random)?;
        Self::with_nonce(uri, options, nonce)
    }

    /// As [`new`](Self::new), with a nonce of the caller's: for tests that replay. Any other use wants a fresh random
    /// one each time, or a cache on the way could answer in the server's place.
    ///
    /// # Errors
    /// Something in the options may not be sent.
    pub fn with_nonce(uri: &Uri, options: &ClientOptions, nonce: [u8; 16]) -> Result<(Self, Vec<u8>), HandshakeError> {
        let key = encode_nonce(nonce);
        let request = write_request(uri, options, &key)?;
        let handshake = Self {
            accept: accept_key(&key),
            protocols: options.protocols.clone(),
            offers: options.deflate.as_ref().map_or_else(Vec::new, DeflateConfig::offers),
            reader: AnswerReader::new(options.head),
            received: 0,
            refusal: None,
        };
        Ok((handshake, request))
    }

    /// The handshake of somebody else's request, to judge the answer that is given to it.
    pub fn observing(request: &UpgradeRequest) -> Self {
        Self {
            accept: accept_key(request.fields().get("Sec-WebSocket-Key").unwrap_or_default()),
            protocols: request.protocols().to_owned(),
            offers: request.offers().to_owned(),
            reader: AnswerReader::new(HeadLimits::default()),
            received: 0,
            refusal: None,
        }
    }

    /// Takes the next piece of the answer. `Some((agreed, n))`: the handshake is done, and `n` bytes of this piece
    /// belonged to it; the rest are frames.
    ///
    /// # Errors
    /// The rule that the answer breaks. An answer other than 101 is an error once its body has arrived, or the first
    /// 4 KiB of it; a body without an end ends by [`give_up`](Self::give_up).
    pub fn push(&mut self, piece: &[u8]) -> Result<Option<(Agreed, usize)>, HandshakeError> {
        self.received = self.received.saturating_add(piece.len());
        if self.refusal.is_some() {
            return self.push_body(piece);
        }
        let Some((answer, used)) = self.reader.push(piece)? else { return Ok(None) };
        if answer.status == 101 {
            return self.judge(answer).map(|agreed| Some((agreed, used)));
        }
        let wanted = match (answer.status, answer.fields.get("Content-Length")) {
            (204 | 304, _) => 0,
            (_, Some(length)) => length.parse().map_or(MAX_BODY, |length: usize| length.min(MAX_BODY)),
            (_, None) => MAX_BODY,
        };
        let refusal = Refusal { status: answer.status, fields: answer.fields, body: Vec::new() };
        self.refusal = Some((Box::new(refusal), wanted));
        self.push_body(&piece[used..])
    }

    /// The stream has ended, or time is up, before [`push`](Self::push) gave a result: the error to report.
    pub fn give_up(&mut self) -> HandshakeError {
        match self.refusal.take() {
            Some((refusal, _)) => HandshakeError::Refused(refusal),
            None => HandshakeError::Truncated(self.received),
        }
    }

    fn push_body(&mut self, piece: &[u8]) -> Result<Option<(Agreed, usize)>, HandshakeError> {
        let Some((refusal, wanted)) = &mut self.refusal else { return Ok(None) };
        let piece = &piece[..piece.len().min(*wanted)];
        refusal.body.extend_from_slice(piece);
        *wanted -= piece.len();
        if *wanted == 0 { Err(self.give_up()) } else { Ok(None) }
    }

    /// Whether a 101 is an answer to this request, in the order of the RFC's list [RFC 6455 §4.1].
    fn judge(&self, answer: Answer) -> Result<Agreed, HandshakeError> {
        let fields = answer.fields;
        if !answer.is_http11 {
            return Err(HandshakeError::NotHttp11);
        }
        let upgrade = fields.get("Upgrade").ok_or(HandshakeError::UpgradeWrong)?;
        if !upgrade.eq_ignore_ascii_case("websocket") {
            return Err(HandshakeError::UpgradeWrong);
        }
        if !fields.has_token("Connection", "upgrade") {
            return Err(HandshakeError::ConnectionWithoutUpgrade);
        }
        let accept = fields.sole("Sec-WebSocket-Accept").map_err(|_| HandshakeError::AcceptDuplicate)?;
        if accept.ok_or(HandshakeError::AcceptMissing)? != self.accept {
            return Err(HandshakeError::AcceptWrong);
        }
        let deflate = self.agreed_deflate(&fields)?;
        let protocol = self.agreed_protocol(&fields)?;
        Ok(Agreed { protocol, deflate, fields })
    }

    /// Only permessage-deflate is ever offered, so only that may be agreed to, and once.
    fn agreed_deflate(&self, fields: &Fields) -> Result<Option<DeflateParams>, HandshakeError> {
        let value = fields.sole("Sec-WebSocket-Extensions").map_err(|_| HandshakeError::ExtensionsInvalid)?;
        let Some(value) = value else { return Ok(None) };
        let agreed = extensions::parse(value).map_err(|_| HandshakeError::ExtensionsInvalid)?;
        match &agreed[..] {
            [only] if only.name == DEFLATE && !self.offers.is_empty() => {
                let params = only.params.iter().map(|(name, value)| (*name, value.as_deref()));
                DeflateParams::agreed(&self.offers, params).map(Some).map_err(HandshakeError::DeflateRefused)
            }
            [.., last] => Err(HandshakeError::ExtensionNotOffered(excerpt(last.name))),
            [] => Ok(None),
        }
    }

    fn agreed_protocol(&self, fields: &Fields) -> Result<Option<String>, HandshakeError> {
        let chosen = fields.sole("Sec-WebSocket-Protocol").map_err(|_| HandshakeError::ProtocolAmbiguous)?;
        match chosen {
            None => Ok(None),
            Some(chosen) if self.protocols.iter().any(|offered| offered == chosen) => Ok(Some(chosen.to_owned())),
            Some(chosen) => Err(HandshakeError::ProtocolNotOffered(excerpt(chosen))),
        }
    }
}

/// The request; nothing in it that the caller gave can end a line.
fn write_request(uri: &Uri, options: &ClientOptions, key: &str) -> Result<Vec<u8>, HandshakeError> {
    let given = |name: &str| options.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));

    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(format!("GET {} HTTP/1.1\r\n", uri.target()).as_bytes());
    match given("Host") {
        None => write_field(&mut out, "Host", &uri.host_field()),
        Some((name, host)) => {
            Authority::parse(host).map_err(|_| HandshakeError::FieldInvalid(excerpt(name)))?;
            write_field(&mut out, "Host", host);
        }
    }
    write_field(&mut out, "Upgrade", "websocket");
    write_field(&mut out, "Connection", "Upgrade");
    write_field(&mut out, "Sec-WebSocket-Key", key);
    write_field(&mut out, "Sec-WebSocket-Version", &options.version.number().to_string());
    if let Some(origin) = &options.origin {
        let name = options.version.origin_field();
        if !is_field_value(origin) {
            return Err(HandshakeError::FieldInvalid(name.to_owned()));
        }
        write_field(&mut out, name, origin);
    }
    check_protocols(&options.protocols)?;
    if !options.protocols.is_empty() {
        write_field(&mut out, "Sec-WebSocket-Protocol", &options.protocols.join(", "));
    }
    if let Some(config) = &options.deflate {
        let offers: Vec<String> = config.offers().iter().map(ToString::to_string).collect();
        write_field(&mut out, "Sec-WebSocket-Extensions", &offers.join(", "));
    }
    if let (Some(authorization), None) = (uri.authorization(), given("Authorization")) {
        write_field(&mut out, "Authorization", &authorization);
    }
    for (name, value) in options.fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("Host")) {
        check_field(name, value)?;
        write_field(&mut out, name, value);
    }
    out.extend_from_slice(b"\r\n");
    Ok(out)
}

fn check_protocols(protocols: &[String]) -> Result<(), HandshakeError> {
    let mut seen = HashSet::new();
    for protocol in protocols {
        if !is_token(protocol) {
            return Err(HandshakeError::ProtocolInvalid(excerpt(protocol)));
        }
        if !seen.insert(protocol) {
            return Err(HandshakeError::ProtocolDuplicate(excerpt(protocol)));
        }
    }
    Ok(())
}
