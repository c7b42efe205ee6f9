//! Answers that a client has to refuse, and odd ones that it has to take.

use loopwire::wire::Rule;

use super::head::Change::{
    self, Before, Bodiless, Capitals, Instead, Line, LineFeeds, NoSpaces, Part, Plus, Spaces, Twice, With, Without,
};
use super::probe::Demand::{End, Open};
use super::probe::Force::{Must, Should};
use super::probe::{Demand, Force, Probe, Sends, Then};

type Row = (&'static Rule, Force, Demand, &'static str, Change);

const UPGRADE: &str = "Upgrade";
const CONNECTION: &str = "Connection";
const ACCEPT: &str = "Sec-WebSocket-Accept";
const EXTENSIONS: &str = "Sec-WebSocket-Extensions";

/// What a client has to find in an answer stands in a list, with what becomes of the connection otherwise [RFC 6455 §4.1]:
/// the `Must`. `Should` stands where HTTP leaves to the client what it makes of a fault.
const ROWS: &[Row] = &[
    (Rule::START_LINE, Must, End, "another protocol", Instead(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")),
    (Rule::START_LINE, Must, End, "1O1", Line(b"HTTP/1.1 1O1 Switching Protocols")),
    (Rule::START_LINE, Should, Open, "right: no reason", Line(b"HTTP/1.1 101 ")),
    (Rule::START_LINE, Must, Open, "right: another reason", Line(b"HTTP/1.1 101 Web Socket Protocol Handshake")),
    (Rule::FOLD, Should, End, "by a space", Plus(b"X-A: b\r\n c\r\n")),
    (Rule::SPACE_BEFORE_COLON, Should, End, "a space", Plus(b"X-A : b\r\n")),
    (Rule::NO_COLON, Should, End, "a name alone", Plus(b"X-A\r\n")),
    (Rule::FIELD_NAME, Should, End, "a space", Plus(b"X A: b\r\n")),
    (Rule::FIELD_NAME, Must, Open, "right: in capitals", Capitals),
    (Rule::FIELD_VALUE, Must, Open, "right: white space around", Spaces),
    (Rule::FIELD_VALUE, Must, Open, "right: no white space", NoSpaces),
    (Rule::CONTROL_BYTE, Should, End, "NUL in a value", Plus(b"X-A: b\0c\r\n")),
    (Rule::BARE_CARRIAGE_RETURN, Should, End, "in a value", Plus(b"X-A: b\rc\r\n")),
    (Rule::BARE_LINE_FEED, Should, End, "everywhere", LineFeeds),
    (Rule::ANSWER_HTTP_VERSION, Should, End, "HTTP/1.0", Line(b"HTTP/1.0 101 Switching Protocols")),
    (Rule::REFUSED, Must, End, "200", Bodiless(b"HTTP/1.1 200 OK")),
    (Rule::REFUSED, Must, End, "204", Bodiless(b"HTTP/1.1 204 No Content")),
    (Rule::REFUSED, Must, End, "400", Bodiless(b"HTTP/1.1 400 Bad Request")),
    (Rule::REFUSED, Must, End, "404", Bodiless(b"HTTP/1.1 404 Not Found")),
    (Rule::REFUSED, Must, End, "503", Bodiless(b"HTTP/1.1 503 Service Unavailable")),
    (Rule::REFUSED, Should, Open, "right: 103, then 101", Before(b"HTTP/1.1 103 Early Hints\r\n\r\n")),
    (Rule::ANSWER_UPGRADE, Must, End, "none", Without(UPGRADE)),
    (Rule::ANSWER_UPGRADE, Must, End, "h2c", With(UPGRADE, b"h2c")),
    (Rule::ANSWER_UPGRADE, Must, End, "websocketx", With(UPGRADE, b"websocketx")),
    (Rule::ANSWER_UPGRADE, Must, End, "empty", With(UPGRADE, b"")),
    (Rule::ANSWER_UPGRADE, Must, Open, "right: WebSocket", With(UPGRADE, b"WebSocket")),
    (Rule::ANSWER_CONNECTION, Must, End, "none", Without(CONNECTION)),
    (Rule::ANSWER_CONNECTION, Must, End, "close", With(CONNECTION, b"close")),
    (Rule::ANSWER_CONNECTION, Must, End, "upgradex", With(CONNECTION, b"upgradex")),
    (Rule::ANSWER_CONNECTION, Must, Open, "right: upgrade", With(CONNECTION, b"upgrade")),
    (Rule::ANSWER_CONNECTION, Must, Open, "right: keep-alive, Upgrade", With(CONNECTION, b"keep-alive, Upgrade")),
    (Rule::ACCEPT_MISSING, Must, End, "none", Without(ACCEPT)),
    (Rule::ACCEPT_WRONG, Must, End, "another key's", With(ACCEPT, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")),
    (Rule::ACCEPT_WRONG, Must, End, "empty", With(ACCEPT, b"")),
    (Rule::ACCEPT_DUPLICATE, Should, End, "twice the same", Twice(ACCEPT)),
    (Rule::PROTOCOL_NOT_OFFERED, Must, End, "one", With("Sec-WebSocket-Protocol", b"x-nobody-has-offered-this")),
    (Rule::EXTENSION_NOT_OFFERED, Must, End, "one", With(EXTENSIONS, b"x-nobody-has-offered-this")),
    (
        Rule::EXTENSION_NOT_OFFERED,
        Should,
        End,
        "compression twice",
        With(EXTENSIONS, b"permessage-deflate, permessage-deflate"),
    ),
    (Rule::ANSWER_EXTENSIONS_INVALID, Must, End, ";", With(EXTENSIONS, b";")),
    (Rule::ANSWER_EXTENSIONS_INVALID, Must, End, "permessage-deflate; =1", With(EXTENSIONS, b"permessage-deflate; =1")),
    (
        Rule::ANSWER_EXTENSIONS_INVALID,
        Must,
        End,
        "a quote left open",
        With(EXTENSIONS, b"permessage-deflate; server_max_window_bits=\"15"),
    ),
    (Rule::DEFLATE_PARAMETERS, Must, End, "unknown", With(EXTENSIONS, b"permessage-deflate; x=1")),
    (
        Rule::DEFLATE_PARAMETERS,
        Must,
        End,
        "window of 7 bits",
        With(EXTENSIONS, b"permessage-deflate; server_max_window_bits=7"),
    ),
    (
        Rule::DEFLATE_PARAMETERS,
        Must,
        End,
        "window of 16 bits",
        With(EXTENSIONS, b"permessage-deflate; server_max_window_bits=16"),
    ),
    (
        Rule::DEFLATE_PARAMETERS,
        Must,
        End,
        "window without a value",
        With(EXTENSIONS, b"permessage-deflate; server_max_window_bits"),
    ),
    (
        Rule::DEFLATE_PARAMETERS,
        Must,
        End,
        "value for a flag",
        With(EXTENSIONS, b"permessage-deflate; server_no_context_takeover=1"),
    ),
    (
        Rule::DEFLATE_PARAMETERS,
        Must,
        End,
        "one of them twice",
        With(EXTENSIONS, b"permessage-deflate; server_no_context_takeover; server_no_context_takeover"),
    ),
    (Rule::ANSWER_TRUNCATED, Must, End, "half a head, then the end", Part(50)),
    (Rule::ANSWER_TRUNCATED, Must, End, "no blank line, then the end", Part(98)),
];

pub(super) fn probes() -> Vec<Probe> {
    let probe = |&(rule, force, demands, name, change): &Row| {
        // A ping behind the answer tells whether the client has taken it.
        let then = if rule == Rule::ANSWER_TRUNCATED { Then::End } else { Then::Frames };
        Probe { rule, name: name.to_owned(), force, sends: Sends::Head { change, then }, demands }
    };
    ROWS.iter().map(probe).collect()
}
