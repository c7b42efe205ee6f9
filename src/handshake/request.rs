//! A request's head: its line and fields, strictly read [RFC 9112 §2–§6].
//!
//! Where HTTP lets a server guess what a sloppy client meant, this one refuses: two readers who guess differently are
//! how a request is smuggled past one of them.

use std::ops::Range;

use super::authority::{Authority, default_port};
use super::fields::{excerpt, is_token};
use super::head::HeadScan;
use super::{Fields, HeadFault, HeadLimits, Rejection};

/// What follows a request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    None,
    /// This many bytes, at least one.
    Length(u64),
    /// Chunks [RFC 9112 §7.1].
    Chunked,
}

/// An HTTP request without its body.
#[derive(Clone, Debug)]
pub struct Request {
    method: Box<str>,
    target: Box<str>,
    /// Where in the target the path is; empty in an absolute target that has none.
    path: Range<usize>,
    fields: Fields,
    is_http10: bool,
    body: Body,
}

impl Request {
    /// Reads a whole head, as [`HeadReader::bytes`](super::HeadReader::bytes) gives it.
    ///
    /// # Errors
    /// Whatever HTTP/1.1 forbids, a CONNECT, and a head over the limits.
    pub fn parse(head: &[u8], limits: &HeadLimits) -> Result<Self, Rejection> {
        let (line, fields) = split_head(head, limits)?;
        let (method, target, is_http10) = request_line(line)?;
        // A tunnel's target is a host and a port, which is no place for a WebSocket or a page [RFC 9110 §9.3.6].
        if method == "CONNECT" {
            return Err(Rejection::Method(excerpt(method)));
        }
        let (path, authority) = locate_path(target)?;
        let host = host_of(&fields, is_http10)?;
        if let (Some((scheme, authority)), Some(host)) = (authority, host)
            && !authority.is_same(&host, default_port(scheme))
        {
            return Err(Rejection::TargetMismatch);
        }
        let body = body_of(&fields, is_http10)?;
        Ok(Self { method: method.into(), target: target.into(), path, fields, is_http10, body })
    }

    /// The method, such as `GET`.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The target as it was sent.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The path, as it was sent (percent-encoded), beginning with `/`.
    pub fn path(&self) -> &str {
        if self.path.is_empty() { "/" } else { &self.target[self.path.clone()] }
    }

    /// The query without its `?`, as it was sent.
    pub fn query(&self) -> Option<&str> {
        self.target[self.path.end..].strip_prefix('?')
    }

    /// The Host field; empty only for HTTP/1.0 without one.
    pub fn host(&self) -> &str {
        self.fields.get("Host").unwrap_or_default()
    }

    /// Whether it is HTTP/1.0, which knows no upgrades.
    pub fn is_http10(&self) -> bool {
        self.is_http10
    }

    /// What follows the head.
    pub fn body(&self) -> Body {
        self.body
    }

    /// The fields.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    pub(super) const fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }

    /// Whether the client waits with its body until it is told to go on. Over HTTP/1.0 nobody does.
    ///
    /// # Errors
    /// It expects something else.
    pub fn expects_continue(&self) -> Result<bool, Rejection> {
        match self.fields.list("Expect").find(|member| !member.eq_ignore_ascii_case("100-continue")) {
            Some(other) => Err(Rejection::Expectation(excerpt(other))),
            None => Ok(!self.is_http10 && self.fields.has_token("Expect", "100-continue")),
        }
    }

    /// Whether the client asks for a WebSocket, rightly or not.
    pub fn wants_upgrade(&self) -> bool {
        self.fields.has_token("Upgrade", "websocket")
    }
}

/// The start line and the fields of a whole head, of a request or of an answer.
pub(super) fn split_head<'a>(head: &'a [u8], limits: &HeadLimits) -> Result<(&'a [u8], Fields), HeadFault> {
    let mut scan = HeadScan::new(*limits);
    if scan.push(head)? != Some(head.len()) {
        return Err(HeadFault::Incomplete);
    }
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    let end = head.iter().position(|&byte| byte == b'\r').ok_or(HeadFault::Incomplete)?;
    let (line, fields) = head.split_at(end);
    Ok((line, Fields::parse(&fields[2..], scan.fields())?))
}

/// The method, the target and whether the version is HTTP/1.0 [RFC 9112 §3].
fn request_line(line: &[u8]) -> Result<(&str, &str, bool), Rejection> {
    let line = std::str::from_utf8(line).map_err(|_| HeadFault::StartLine)?;
    let mut parts = line.split(' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(HeadFault::StartLine.into());
    };
    if !is_token(method) {
        return Err(HeadFault::StartLine.into());
    }
    match version.as_bytes() {
        b"HTTP/1.1" => Ok((method, target, false)),
        b"HTTP/1.0" => Ok((method, target, true)),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            Err(Rejection::HttpVersion(version.to_owned()))
        }
        _ => Err(HeadFault::StartLine.into()),
    }
}

/// Where the path is in a target and, in an absolute one, the scheme and the authority before it.
#[expect(clippy::type_complexity, reason = "one caller, which takes it apart at once")]
fn locate_path(target: &str) -> Result<(Range<usize>, Option<(&str, Authority<'_>)>), Rejection> {
    let wrong = || Rejection::Target(excerpt(target));
    if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(wrong());
    }
    let (start, authority) = if target.starts_with('/') {
        (0, None)
    } else {
        let (scheme, rest) = target.split_once("://").ok_or_else(wrong)?;
        if !["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(wrong());
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let authority = Authority::parse(&rest[..end]).map_err(|_| wrong())?;
        (target.len() - rest.len() + end, Some((scheme, authority)))
    };
    let end = target[start..].find('?').map_or(target.len(), |at| start + at);
    Ok((start..end, authority))
}

/// What Host says: exactly once in HTTP/1.1, at most once in HTTP/1.0.
fn host_of(fields: &Fields, is_http10: bool) -> Result<Option<Authority<'_>>, Rejection> {
    match fields.sole("Host").map_err(|_| Rejection::HostDuplicate)? {
        None if is_http10 => Ok(None),
        None => Err(Rejection::HostMissing),
        Some(host) => Authority::parse(host).map(Some).map_err(|_| Rejection::HostInvalid(excerpt(host))),
    }
}

/// What follows the head; an ambiguity is an error, never a choice [RFC 9112 §6.3].
fn body_of(fields: &Fields, is_http10: bool) -> Result<Body, Rejection> {
    let length = fields.sole("Content-Length").map_err(|_| Rejection::ContentLengthInvalid)?;
    let coding = fields.sole("Transfer-Encoding").map_err(|_| Rejection::TransferEncodingInvalid)?;
    match (length, coding) {
        (None, None) => Ok(Body::None),
        (Some(_), Some(_)) => Err(Rejection::ContentLengthInvalid),
        (None, Some(coding)) if coding.eq_ignore_ascii_case("chunked") && !is_http10 => Ok(Body::Chunked),
        (None, Some(_)) => Err(Rejection::TransferEncodingInvalid),
        (Some(length), None) => {
            if !length.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(Rejection::ContentLengthInvalid);
            }
            match length.parse() {
                Ok(0) => Ok(Body::None),
                Ok(length) => Ok(Body::Length(length)),
                Err(_) => Err(Rejection::ContentLengthInvalid),
            }
        }
    }
}
