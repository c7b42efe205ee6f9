//! A plain HTTP answer; the connection closes after it.

use super::HandshakeError;
use super::fields::{excerpt, is_field_value, is_token, write_field};

/// A whole answer that is not a 101. It always closes the connection and states its length, so that nothing the peer
/// sent after a refused handshake is ever taken for anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: u16,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Response {
    /// An answer without fields and body. The status is 200–599; any other becomes 500.
    pub fn new(status: u16) -> Self {
        let status = if matches!(status, 200..=599) { status } else { 500 };
        Self { status, fields: Vec::new(), body: Vec::new() }
    }

    /// An answer in plain text.
    pub fn text(status: u16, text: &str) -> Self {
        // Without nosniff, a browser might take what we quote of a request for a page.
        Self::new(status)
            .with_body("text/plain; charset=utf-8", text)
            .with_known_field("X-Content-Type-Options", "nosniff".to_owned())
    }

    /// With one more field.
    ///
    /// # Errors
    /// A name that is not a token, a value with CR, LF, NUL or another control byte, or a field that is written here:
    /// Connection, Content-Length, Transfer-Encoding.
    pub fn with_field(self, name: &str, value: &str) -> Result<Self, HandshakeError> {
        if ["Connection", "Content-Length", "Transfer-Encoding"].iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
            return Err(HandshakeError::FieldReserved(excerpt(name)));
        }
        if !is_token(name) || !is_field_value(value) {
            return Err(HandshakeError::FieldInvalid(excerpt(name)));
        }
        Ok(self.with_known_field(name, value.to_owned()))
    }

    /// With a field that is known to be well-formed.
    pub(super) fn with_known_field(mut self, name: &str, value: String) -> Self {
        self.fields.push((name.to_owned(), value));
        self
    }

    /// With this body, of this type.
    #[must_use]
    pub fn with_body(mut self, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.with_known_field("Content-Type", content_type.to_owned())
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The fields, without those that [`encode`](Self::encode) adds.
    pub fn fields(&self) -> &[(String, String)] {
        &self.fields
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The bytes to send. `head_only`: the body is left out, as the answer to HEAD.
    pub fn encode(&self, head_only: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + self.body.len());
        out.extend_from_slice(format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status)).as_bytes());
        write_field(&mut out, "Connection", "close");
        for (name, value) in &self.fields {
            // Who sends Upgrade says so in Connection [RFC 9110 §7.8].
            if name.eq_ignore_ascii_case("Upgrade") {
                write_field(&mut out, "Connection", "Upgrade");
            }
            write_field(&mut out, name, value);
        }
        // No body goes with 204 and 304, nor does a length [RFC 9110 §8.6].
        if matches!(self.status, 204 | 304) {
            out.extend_from_slice(b"\r\n");
            return out;
        }
        write_field(&mut out, "Content-Length", &self.body.len().to_string());
        out.extend_from_slice(b"\r\n");
        if !head_only {
            out.extend_from_slice(&self.body);
        }
        out
    }
}

/// The words after a status, which nobody reads but people [RFC 9110 §15].
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
