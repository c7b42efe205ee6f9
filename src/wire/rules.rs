//! Every rule that is held against a peer, in one table: errors, close frames, logs, tools, documentation and tests are
//! all made from it.

use super::CloseCode;

/// A rule of the protocol, in words and numbers.
///
/// Each is a constant, and [`ALL`](Self::ALL) of them are a table.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rule {
    /// A short name that stays the same, for tools and tests.
    pub id: &'static str,
    /// Where it is written, such as `RFC 6455 §5.2`.
    pub section: &'static str,
    /// The rule in a sentence.
    pub sentence: &'static str,
    /// What whoever broke it has to be answered with.
    pub owed: Owed,
    /// The cases of the Autobahn suite that break it, such as `3.1–3.7`; nothing if none does.
    pub autobahn: &'static str,
    /// A test of ours that breaks it: its file and its name.
    pub test: &'static str,
}

/// What the breach of a [`Rule`] is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owed {
    /// A Close with this code; then the connection ends [RFC 6455 §7.1.7].
    Close(CloseCode),
    /// An HTTP answer with this status.
    Status(u16),
    /// The client ends the connection without a word; there is no WebSocket yet to say it on.
    Failure,
    /// Nothing: it is passed over.
    Nothing,
}

impl Rule {
    /// The rule of that name.
    pub fn find(id: &str) -> Option<&'static Self> {
        Self::ALL.iter().copied().find(|rule| rule.id == id)
    }

    /// The code of the Close that is owed, if one is.
    pub const fn close_code(&self) -> Option<CloseCode> {
        match self.owed {
            Owed::Close(code) => Some(code),
            _ => None,
        }
    }

    /// The status of the HTTP answer that is owed, if one is.
    pub const fn status(&self) -> Option<u16> {
        match self.owed {
            Owed::Status(status) => Some(status),
            _ => None,
        }
    }
}

macro_rules! rules {
    ($($name:ident = $id:literal, $section:literal, $owed:expr, $sentence:literal, autobahn $autobahn:literal, test $test:literal;)*) => {
        impl Rule {
            $(
                #[doc = concat!("`", $id, "`: ", $sentence, " [", $section, "].")]
                pub const $name: &'static Self = &Self {
                    id: $id,
                    section: $section,
                    sentence: $sentence,
                    owed: $owed,
                    autobahn: $autobahn,
                    test: $test,
                };
            )*

            /// Every rule, in the order in which a connection meets them: frames first, as they are most of it.
            pub const ALL: &'static [&'static Self] = &[$(Self::$name),*];
        }
    };
}

rules! {
    // Frames and messages, by whoever receives them.

    RESERVED_BIT = "reserved-bit", "RFC 6455 §5.2", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "a reserved bit is zero unless an agreed extension gives it a meaning",
        autobahn "", test "";
    RESERVED_OPCODE = "reserved-opcode", "RFC 6455 §5.2", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "opcodes 3–7 and 11–15 are reserved",
        autobahn "", test "";
    FRAGMENTED_CONTROL_FRAME = "fragmented-control-frame", "RFC 6455 §5.5", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "a control frame is never fragmented",
        autobahn "", test "";
    CONTROL_FRAME_TOO_LONG = "control-frame-too-long", "RFC 6455 §5.5", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "a control frame carries at most 125 bytes",
        autobahn "", test "";
    COMPRESSED_OUT_OF_PLACE = "compressed-out-of-place", "RFC 7692 §6.1", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "only the first frame of a data message says that it is compressed",
        autobahn "", test "";
    LENGTH_NOT_MINIMAL = "length-not-minimal", "RFC 6455 §5.2", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "a length stands in the shortest form that holds it",
        autobahn "", test "";
    LENGTH_TOP_BIT = "length-top-bit", "RFC 6455 §5.2", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "the most significant bit of a 64-bit length is zero",
        autobahn "", test "";
    MASK_MISSING = "mask-missing", "RFC 6455 §5.1", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "a client masks every frame it sends",
        autobahn "", test "";
    MASK_FORBIDDEN = "mask-forbidden", "RFC 6455 §5.1", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "a server masks no frame it sends",
        autobahn "", test "";
    CONTINUATION_UNEXPECTED = "continuation-unexpected", "RFC 6455 §5.4", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "a continuation frame follows the unfinished frame of a message",
        autobahn "", test "";
    CONTINUATION_EXPECTED = "continuation-expected", "RFC 6455 §5.4", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "the fragments of one message are not interleaved with another's",
        autobahn "", test "";
    INVALID_UTF8 = "invalid-utf8", "RFC 6455 §8.1", Owed::Close(CloseCode::INVALID_PAYLOAD),
        "a text message is valid UTF-8",
        autobahn "", test "";
    CLOSE_TOO_SHORT = "close-too-short", "RFC 6455 §5.5.1", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "a close frame's payload is empty or begins with a code of two bytes",
        autobahn "", test "";
    CLOSE_CODE_INVALID = "close-code-invalid", "RFC 6455 §7.4", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "a close code is one of 1000–1003, 1007–1014 and 3000–4999",
        autobahn "", test "";
    CLOSE_REASON_NOT_UTF8 = "close-reason-not-utf8", "RFC 6455 §5.5.1", Owed::Close(CloseCode::INVALID_PAYLOAD),
        "the reason in a close frame is valid UTF-8",
        autobahn "", test "";
    INFLATE_FAILED = "inflate-failed", "RFC 7692 §7.2.2", Owed::Close(CloseCode::INVALID_PAYLOAD),
        "a compressed message is a valid DEFLATE stream within the agreed window",
        autobahn "", test "";
    MESSAGE_TOO_BIG = "message-too-big", "RFC 6455 §10.4", Owed::Close(CloseCode::MESSAGE_TOO_BIG),
        "a message stays within the length that the receiver allows",
        autobahn "", test "";
    TOO_MANY_FRAGMENTS = "too-many-fragments", "RFC 6455 §10.4", Owed::Close(CloseCode::POLICY_VIOLATION),
        "a message stays within the number of fragments that the receiver allows",
        autobahn "", test "";
    CONTROL_FLOOD = "control-flood", "RFC 6455 §10.4", Owed::Close(CloseCode::POLICY_VIOLATION),
        "control frames come no faster than the receiver allows",
        autobahn "", test "";
    MESSAGE_TIMEOUT = "message-timeout", "RFC 6455 §10.4", Owed::Close(CloseCode::POLICY_VIOLATION),
        "a message that has begun ends within the time that the receiver allows",
        autobahn "", test "";
    KEEPALIVE_TIMEOUT = "keepalive-timeout", "RFC 6455 §5.5.2", Owed::Close(CloseCode::INTERNAL_ERROR),
        "a ping is answered within the time that its sender allows",
        autobahn "", test "";
    // The order of things, seen from outside: what an endpoint lets pass, and whoever watches both sees.
    DATA_AFTER_CLOSE = "data-after-close", "RFC 6455 §5.5.1", Owed::Nothing,
        "after its Close an endpoint sends no more data frames",
        autobahn "", test "";
    DATA_BEFORE_ANSWER = "data-before-answer", "RFC 6455 §4.1", Owed::Nothing,
        "a client waits for the server's answer before it sends anything more",
        autobahn "", test "";

    // Heads, of requests and answers alike.

    START_LINE_TOO_LONG = "start-line-too-long", "RFC 9110 §15.5.15", Owed::Status(414),
        "a start line stays within what the receiver reads",
        autobahn "", test "";
    HEAD_TOO_LONG = "head-too-long", "RFC 6585 §5", Owed::Status(431),
        "a head stays within what the receiver reads",
        autobahn "", test "";
    TOO_MANY_FIELDS = "too-many-fields", "RFC 6585 §5", Owed::Status(431),
        "a head has no more field lines than the receiver reads",
        autobahn "", test "";
    TLS_ON_PLAIN_PORT = "tls-on-plain-port", "RFC 9112 §2.1", Owed::Status(400),
        "a message begins with its start line, not with TLS",
        autobahn "", test "";
    NOT_HTTP = "not-http", "RFC 9112 §2.1", Owed::Status(400),
        "a message begins with its start line",
        autobahn "", test "";
    LEADING_BLANK_LINES = "leading-blank-lines", "RFC 9112 §2.2", Owed::Status(400),
        "at most one blank line precedes a start line",
        autobahn "", test "";
    BARE_LINE_FEED = "bare-line-feed", "RFC 9112 §2.2", Owed::Status(400),
        "lines end with CR LF",
        autobahn "", test "";
    BARE_CARRIAGE_RETURN = "bare-carriage-return", "RFC 9112 §2.2", Owed::Status(400),
        "CR stands nowhere but in the CR LF that ends a line",
        autobahn "", test "";
    CONTROL_BYTE = "control-byte", "RFC 9110 §5.5", Owed::Status(400),
        "no control byte but HTAB stands in a start line or field",
        autobahn "", test "";
    START_LINE = "start-line", "RFC 9112 §3", Owed::Status(400),
        "a start line has three parts with one space between: method, target and version, or version, status and reason",
        autobahn "", test "";
    FOLD = "fold", "RFC 9112 §5.2", Owed::Status(400),
        "a field line is not continued on the next line",
        autobahn "", test "";
    NO_COLON = "no-colon", "RFC 9112 §5", Owed::Status(400),
        "a field line is a name, a colon and a value",
        autobahn "", test "";
    SPACE_BEFORE_COLON = "space-before-colon", "RFC 9112 §5.1", Owed::Status(400),
        "no white space stands between a field's name and its colon",
        autobahn "", test "";
    FIELD_NAME = "field-name", "RFC 9110 §5.1", Owed::Status(400),
        "a field's name is a token",
        autobahn "", test "";
    FIELD_VALUE = "field-value", "RFC 9110 §5.5", Owed::Status(400),
        "a field's value has no control byte but HTAB",
        autobahn "", test "";
    INCOMPLETE_HEAD = "incomplete-head", "RFC 9112 §2.1", Owed::Status(400),
        "a head ends with its first blank line",
        autobahn "", test "";
    // Requests, by a server.

    HTTP_VERSION = "http-version", "RFC 9110 §15.6.6", Owed::Status(505),
        "the version is HTTP/1.1 or HTTP/1.0",
        autobahn "", test "";
    TARGET = "target", "RFC 9112 §3.2", Owed::Status(400),
        "a target is a path that begins with a slash, or an http or https address, without a fragment",
        autobahn "", test "";
    TARGET_MISMATCH = "target-mismatch", "RFC 9112 §3.2.2", Owed::Status(400),
        "an absolute target and Host name the same server",
        autobahn "", test "";
    HOST_MISSING = "host-missing", "RFC 9112 §3.2", Owed::Status(400),
        "an HTTP/1.1 request has a Host",
        autobahn "", test "";
    HOST_DUPLICATE = "host-duplicate", "RFC 9112 §3.2", Owed::Status(400),
        "a request has no more than one Host",
        autobahn "", test "";
    HOST_INVALID = "host-invalid", "RFC 9110 §7.2", Owed::Status(400),
        "Host is a host, and a port up to 65535 if there is one",
        autobahn "", test "";
    CONTENT_LENGTH = "content-length", "RFC 9112 §6.3", Owed::Status(400),
        "Content-Length is one decimal number, given once, without Transfer-Encoding",
        autobahn "", test "";
    TRANSFER_ENCODING = "transfer-encoding", "RFC 9112 §6.1", Owed::Status(400),
        "Transfer-Encoding is chunked alone, in HTTP/1.1 only",
        autobahn "", test "";
    CHUNK = "chunk", "RFC 9112 §7.1", Owed::Status(400),
        "a chunk is its size in hexadecimal digits, CR LF, that many bytes, and CR LF",
        autobahn "", test "";
    CHUNK_EXTENSIONS_TOO_LONG = "chunk-extensions-too-long", "RFC 9112 §7.1.1", Owed::Status(400),
        "chunk extensions stay within what the receiver reads",
        autobahn "", test "";
    TRAILERS_TOO_LONG = "trailers-too-long", "RFC 6585 §5", Owed::Status(431),
        "fields behind a body stay within what the receiver reads",
        autobahn "", test "";
    BODY_TOO_LONG = "body-too-long", "RFC 9110 §15.5.14", Owed::Status(413),
        "a body stays within what the receiver reads",
        autobahn "", test "";
    EXPECTATION = "expectation", "RFC 9110 §10.1.1", Owed::Status(417),
        "nothing is expected but 100-continue",
        autobahn "", test "";
    METHOD = "method", "RFC 6455 §4.2.1", Owed::Status(405),
        "an opening handshake is a GET",
        autobahn "", test "";
    UPGRADE_OVER_HTTP_1_0 = "upgrade-over-http-1.0", "RFC 6455 §4.2.1", Owed::Status(400),
        "an opening handshake is HTTP/1.1 or higher",
        autobahn "", test "";
    UPGRADE = "upgrade", "RFC 6455 §4.2.1", Owed::Status(426),
        "an opening handshake has Upgrade: websocket",
        autobahn "", test "";
    CONNECTION = "connection", "RFC 6455 §4.2.1", Owed::Status(400),
        "an opening handshake has Connection: Upgrade",
        autobahn "", test "";
    VERSION_MISSING = "version-missing", "RFC 6455 §4.2.1", Owed::Status(426),
        "an opening handshake has a Sec-WebSocket-Version",
        autobahn "", test "";
    VERSION_INVALID = "version-invalid", "RFC 6455 §4.3", Owed::Status(400),
        "Sec-WebSocket-Version is one number from 0 to 255 without leading zeros, given once",
        autobahn "", test "";
    VERSION_UNSUPPORTED = "version-unsupported", "RFC 6455 §4.4", Owed::Status(426),
        "the versions spoken here are 13 and 8",
        autobahn "", test "";
    KEY_MISSING = "key-missing", "RFC 6455 §4.2.1", Owed::Status(400),
        "an opening handshake has a Sec-WebSocket-Key",
        autobahn "", test "";
    KEY_DUPLICATE = "key-duplicate", "RFC 6455 §11.3.1", Owed::Status(400),
        "Sec-WebSocket-Key is given once",
        autobahn "", test "";
    KEY_INVALID = "key-invalid", "RFC 6455 §4.2.1", Owed::Status(400),
        "Sec-WebSocket-Key is 16 bytes in base64: 22 characters and ==",
        autobahn "", test "";
    BODY_PRESENT = "body-present", "RFC 6455 §4.1", Owed::Status(400),
        "an opening handshake has no body",
        autobahn "", test "";
    PROTOCOL_INVALID = "protocol-invalid", "RFC 6455 §4.1", Owed::Status(400),
        "Sec-WebSocket-Protocol lists one or more tokens",
        autobahn "", test "";
    PROTOCOL_DUPLICATE = "protocol-duplicate", "RFC 6455 §4.1", Owed::Status(400),
        "the protocols in Sec-WebSocket-Protocol are all different",
        autobahn "", test "";
    EXTENSIONS_INVALID = "extensions-invalid", "RFC 6455 §9.1", Owed::Status(400),
        "Sec-WebSocket-Extensions lists tokens, each with parameters that are tokens or have tokens as values",
        autobahn "", test "";
    ORIGIN_MISSING = "origin-missing", "RFC 6455 §10.2", Owed::Status(403),
        "only pages connect here, and they say from where",
        autobahn "", test "";
    ORIGIN_DUPLICATE = "origin-duplicate", "RFC 6454 §7.3", Owed::Status(403),
        "a request has no more than one origin",
        autobahn "", test "";
    ORIGIN_FORBIDDEN = "origin-forbidden", "RFC 6455 §10.2", Owed::Status(403),
        "only pages from the allowed origins connect here",
        autobahn "", test "";
    NO_COMMON_PROTOCOL = "no-common-protocol", "RFC 6455 §4.2.2", Owed::Status(400),
        "the client offers a protocol that is spoken here",
        autobahn "", test "";
    NOT_FOUND = "not-found", "RFC 9110 §15.5.5", Owed::Status(404),
        "there is something at the path",
        autobahn "", test "";
    UNAUTHORIZED = "unauthorized", "RFC 9110 §15.5.2", Owed::Status(401),
        "the request has valid credentials",
        autobahn "", test "";
    FORBIDDEN = "forbidden", "RFC 9110 §15.5.4", Owed::Status(403),
        "the client is one of those that may connect",
        autobahn "", test "";
    REQUEST_TIMEOUT = "request-timeout", "RFC 9110 §15.5.9", Owed::Status(408),
        "a head is complete within the time that the server allows",
        autobahn "", test "";
    BODY_TIMEOUT = "body-timeout", "RFC 9110 §15.5.9", Owed::Status(408),
        "a body is complete within the time that the server allows",
        autobahn "", test "";
    ANSWER_TIMEOUT = "answer-timeout", "RFC 9110 §15.6.4", Owed::Status(503),
        "an answer is found within the time that the server allows",
        autobahn "", test "";
    TOO_MANY_REQUESTS = "too-many-requests", "RFC 6585 §4", Owed::Status(429),
        "a client connects no more often than the server allows",
        autobahn "", test "";
    UNAVAILABLE = "unavailable", "RFC 9110 §15.6.4", Owed::Status(503),
        "the server has room and is not about to stop",
        autobahn "", test "";
    APPLICATION = "application", "RFC 6455 §4.2.2", Owed::Status(400),
        "the application accepts the connection",
        autobahn "", test "";
    // Answers, by a client.

    FIELD_UNSENDABLE = "field-unsendable", "RFC 9110 §5.5", Owed::Nothing,
        "a field is a token and a value without CR, LF, NUL and other control bytes",
        autobahn "", test "";
    FIELD_RESERVED = "field-reserved", "RFC 6455 §4", Owed::Nothing,
        "the handshake writes this field itself",
        autobahn "", test "";
    PROTOCOL_UNSENDABLE = "protocol-unsendable", "RFC 6455 §4.1", Owed::Nothing,
        "a protocol's name is a token",
        autobahn "", test "";
    PROTOCOL_OFFERED_TWICE = "protocol-offered-twice", "RFC 6455 §4.1", Owed::Nothing,
        "the protocols that a client offers are all different",
        autobahn "", test "";
    RANDOM = "random", "RFC 6455 §4.1", Owed::Nothing,
        "the key is chosen at random",
        autobahn "", test "";
    ANSWER_HTTP_VERSION = "answer-http-version", "RFC 6455 §4.2.2", Owed::Failure,
        "the answer is HTTP/1.1",
        autobahn "", test "";
    REFUSED = "refused", "RFC 6455 §4.1", Owed::Failure,
        "a server that agrees answers 101",
        autobahn "", test "";
    ANSWER_UPGRADE = "answer-upgrade", "RFC 6455 §4.1", Owed::Failure,
        "a 101 has Upgrade: websocket",
        autobahn "", test "";
    ANSWER_CONNECTION = "answer-connection", "RFC 6455 §4.1", Owed::Failure,
        "a 101 has Connection: Upgrade",
        autobahn "", test "";
    ACCEPT_MISSING = "accept-missing", "RFC 6455 §4.1", Owed::Failure,
        "a 101 has a Sec-WebSocket-Accept",
        autobahn "", test "";
    ACCEPT_DUPLICATE = "accept-duplicate", "RFC 6455 §11.3.3", Owed::Failure,
        "Sec-WebSocket-Accept is given once",
        autobahn "", test "";
    ACCEPT_WRONG = "accept-wrong", "RFC 6455 §4.1", Owed::Failure,
        "Sec-WebSocket-Accept proves that the server has read the key",
        autobahn "", test "";
    PROTOCOL_NOT_OFFERED = "protocol-not-offered", "RFC 6455 §4.1", Owed::Failure,
        "a server chooses one of the protocols offered",
        autobahn "", test "";
    PROTOCOL_AMBIGUOUS = "protocol-ambiguous", "RFC 6455 §11.3.4", Owed::Failure,
        "an answer has no more than one Sec-WebSocket-Protocol",
        autobahn "", test "";
    EXTENSION_NOT_OFFERED = "extension-not-offered", "RFC 6455 §4.1", Owed::Failure,
        "a server agrees only to extensions that were offered, once each",
        autobahn "", test "";
    ANSWER_EXTENSIONS_INVALID = "answer-extensions-invalid", "RFC 6455 §9.1", Owed::Failure,
        "an answer has no more than one Sec-WebSocket-Extensions, a list of tokens with parameters",
        autobahn "", test "";
    DEFLATE_PARAMETERS = "deflate-parameters", "RFC 7692 §7.1", Owed::Failure,
        "the parameters agreed to are among those offered",
        autobahn "", test "";
    ANSWER_TRUNCATED = "answer-truncated", "RFC 6455 §4.1", Owed::Failure,
        "the answer is complete before the connection ends",
        autobahn "", test "";
    // Proxies on the way.

    PROXY_HOST = "proxy-host", "RFC 1928 §4", Owed::Failure,
        "a server's name has 1 to 255 letters, digits, dots and hyphens",
        autobahn "", test "";
    PROXY_CREDENTIALS_TOO_LONG = "proxy-credentials-too-long", "RFC 1929 §2", Owed::Failure,
        "a name and a password have at most 255 bytes",
        autobahn "", test "";
    PROXY_REFUSED = "proxy-refused", "RFC 9110 §9.3.6", Owed::Failure,
        "a proxy that opens a tunnel answers 2xx",
        autobahn "", test "";
    PROXY_CREDENTIALS_REQUIRED = "proxy-credentials-required", "RFC 9110 §15.5.8", Owed::Failure,
        "the proxy's address has the name and password that it asks for, as in http://user:password@host:port",
        autobahn "", test "";
    PROXY_NOT_SOCKS = "proxy-not-socks", "RFC 1928 §3", Owed::Failure,
        "a SOCKS5 proxy's answers begin with their version",
        autobahn "", test "";
    PROXY_METHOD = "proxy-method", "RFC 1928 §3", Owed::Failure,
        "a SOCKS5 proxy takes no authentication, or a name and a password if its address has them",
        autobahn "", test "";
    PROXY_CREDENTIALS_REFUSED = "proxy-credentials-refused", "RFC 1929 §2", Owed::Failure,
        "the name and password are what the proxy expects",
        autobahn "", test "";
    PROXY_SOCKS_REFUSED = "proxy-socks-refused", "RFC 1928 §6", Owed::Failure,
        "a SOCKS5 proxy that opens a connection answers 0",
        autobahn "", test "";
    PROXY_ADDRESS = "proxy-address", "RFC 1928 §6", Owed::Failure,
        "an address is of type 1, 3 or 4",
        autobahn "", test "";
    PROXY_TRUNCATED = "proxy-truncated", "RFC 1928 §6", Owed::Failure,
        "a proxy finishes its handshake before the connection ends",
        autobahn "", test "";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_rule_has_a_name_of_its_own_and_is_found_by_it() {
        let ids: HashSet<_> = Rule::ALL.iter().map(|rule| rule.id).collect();
        assert_eq!(ids.len(), Rule::ALL.len());
        for rule in Rule::ALL {
            assert_eq!(Rule::find(rule.id), Some(*rule));
            assert!(rule.section.starts_with("RFC ") && rule.section.contains(" §"), "{}", rule.id);
        }
        assert_eq!(Rule::find("no-such-rule"), None);
    }
}
