//! Close codes and the payload of a close frame [RFC 6455 §5.5.1, §7.4].

use std::fmt;

use super::{ProtocolError, Utf8Validator};

/// Why a connection closes: a number from the RFC's table, a registered one, or the application's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the endpoint is going away: a server that shuts down, a page that is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that the endpoint cannot accept.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1005: the close frame had no code. Never on the wire.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: the connection ended without a close frame. Never on the wire.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: the data is not what its type says, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: the endpoint's policy is violated.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message too big to process.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1010: the server did not agree to an extension that the client needs.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: the endpoint met an unexpected condition.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the server restarts.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: the server is overloaded; try again later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got a bad answer from upstream.
    pub const BAD_GATEWAY: Self = Self(1014);
    /// 1015: the TLS handshake failed. Never on the wire.
    pub const TLS_HANDSHAKE: Self = Self(1015);

    /// Whether the code may stand in a close frame: 1000–1003, 1007–1014 and 3000–4999 [RFC 6455 §7.4].
    pub const fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a close frame says: nothing, or a code with a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// The code, or [`CloseCode::NO_STATUS`] for an empty payload.
    pub code: CloseCode,
    /// The reason in UTF-8, at most 123 bytes, empty if none was given.
    pub reason: &'a str,
}

impl<'a> CloseFrame<'a> {
    /// The longest reason, in bytes: a control frame's 125 less the code's two.
    pub const MAX_REASON_LEN: usize = 123;

    /// A close frame without a payload.
    pub const EMPTY: CloseFrame<'static> = CloseFrame { code: CloseCode::NO_STATUS, reason: "" };

    /// Reads a close frame's (unmasked) payload.
    ///
    /// # Errors
    /// A payload of one byte, a code that may not be sent, or a reason that is not UTF-8.
    pub fn decode(payload: &'a [u8]) -> Result<Self, ProtocolError> {
        match payload {
            [] => Ok(CloseFrame::EMPTY),
            [_] => Err(ProtocolError::CloseTooShort),
            [high, low, reason @ ..] => {
                let code = CloseCode(u16::from_be_bytes([*high, *low]));
                if !code.is_sendable() {
                    return Err(ProtocolError::CloseCodeInvalid(code));
                }
                let reason = std::str::from_utf8(reason).map_err(|_| ProtocolError::CloseReasonNotUtf8)?;
                Ok(Self { code, reason })
            }
        }
    }

    /// What is certain of a close frame whose payload has only partly arrived.
    ///
    /// # Errors
    /// As [`decode`](Self::decode), for what the first bytes already show.
    pub fn check_prefix(payload: &[u8]) -> Result<(), ProtocolError> {
        let [high, low, reason @ ..] = payload else { return Ok(()) };
        let code = CloseCode(u16::from_be_bytes([*high, *low]));
        if !code.is_sendable() {
            return Err(ProtocolError::CloseCodeInvalid(code));
        }
        Utf8Validator::new().push(reason).map_err(|_| ProtocolError::CloseReasonNotUtf8)
    }

    /// Appends the payload to `out`: nothing for [`NO_STATUS`](CloseCode::NO_STATUS), else the code and the reason, cut
    /// at a character's boundary if it is longer than fits.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if self.code == CloseCode::NO_STATUS {
            return;
        }
        let reason = &self.reason[..self.reason.floor_char_boundary_at(Self::MAX_REASON_LEN)];
        out.extend_from_slice(&self.code.0.to_be_bytes());
        out.extend_from_slice(reason.as_bytes());
    }
}

trait FloorCharBoundary {
    /// The largest boundary between characters that is at most `limit`.
    fn floor_char_boundary_at(&self, limit: usize) -> usize;
}

impl FloorCharBoundary for str {
    fn floor_char_boundary_at(&self, limit: usize) -> usize {
        (0..=limit.min(self.len())).rev().find(|&at| self.is_char_boundary(at)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_accepted_or_refused_as_the_registry_says() {
        for code in 0..=u16::MAX {
            // Autobahn 7.7.* and 7.9.*.
            let allowed =
                (1000..=1003).contains(&code) || (1007..=1014).contains(&code) || (3000..=4999).contains(&code);
            let payload = code.to_be_bytes();
            let frame = CloseFrame::decode(&payload);
            assert_eq!(frame.is_ok(), allowed, "{code}");
            assert_eq!(CloseFrame::check_prefix(&payload).is_ok(), allowed, "{code}");
            if !allowed {
                assert_eq!(frame, Err(ProtocolError::CloseCodeInvalid(CloseCode(code))));
            }
        }
    }

    #[test]
    fn payloads_decode_or_name_what_is_wrong() {
        assert_eq!(CloseFrame::decode(b""), Ok(CloseFrame::EMPTY));
        assert_eq!(CloseFrame::decode(b"\x03"), Err(ProtocolError::CloseTooShort));
        assert_eq!(CloseFrame::decode(b"\x03\xe8bye"), Ok(CloseFrame { code: CloseCode::NORMAL, reason: "bye" }));
        assert_eq!(CloseFrame::decode(b"\x03\xe8\xff"), Err(ProtocolError::CloseReasonNotUtf8));
        assert_eq!(CloseFrame::decode(b"\x03\xe8\xc3"), Err(ProtocolError::CloseReasonNotUtf8));
        assert_eq!(CloseFrame::check_prefix(b"\x03\xe8\xc3"), Ok(()), "the rest may still come");
    }

    #[test]
    fn a_reason_too_long_is_cut_between_characters() {
        let reason = "é".repeat(80);
        let mut out = Vec::new();
        CloseFrame { code: CloseCode::NORMAL, reason: &reason }.encode(&mut out);
        assert_eq!(out.len(), 2 + 122);
        assert_eq!(CloseFrame::decode(&out).unwrap().reason, "é".repeat(61));
    }
}
