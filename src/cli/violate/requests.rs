//! Opening handshakes that a server has to refuse, and odd ones that it has to take.

use loopwire::wire::Rule;

use super::head::Change::{
    self, Absolute, Before, Body, Capitals, Each, Instead, Line, LineFeeds, NoSpaces, Nothing, Part, Plus, Spaces,
    Twice, With, Without,
};
use super::probe::Demand::{Open, OpenOr, Status, StatusOrEnd, Versions};
use super::probe::Force::{Must, Should};
use super::probe::{Demand, Force, Probe, Sends, Then};

type Row = (&'static Rule, Force, Demand, &'static str, Change);

const UPGRADE: &str = "Upgrade";
const CONNECTION: &str = "Connection";
const KEY: &str = "Sec-WebSocket-Key";
const VERSION: &str = "Sec-WebSocket-Version";
const PROTOCOL: &str = "Sec-WebSocket-Protocol";
const EXTENSIONS: &str = "Sec-WebSocket-Extensions";

/// A server that finds anything in a handshake that is not as the RFC describes it, down to the grammar of its fields, has
/// to answer with an error [RFC 6455 §4.2.1]: that is the `Must` of most. Which error is only suggested. `Should` stands
/// where HTTP lets a server pass over the fault, or only the sender is told what not to do.
///
/// Not here is what each server decides for itself, such as how long a head may be, and what the RFCs let a server take:
/// empty members in lists, an absolute target on another host than Host's.
const ROWS: &[Row] = &[
    // Before and in the request line.
    (Rule::TLS_ON_PLAIN_PORT, Should, StatusOrEnd(&[400]), "a ClientHello", Instead(HELLO)),
    (Rule::NOT_HTTP, Should, StatusOrEnd(&[400]), "a frame", Instead(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58")),
    (Rule::NOT_HTTP, Should, StatusOrEnd(&[400]), "a space", Before(b" ")),
    (Rule::LEADING_BLANK_LINES, Should, Status(&[400]), "two", Before(b"\r\n\r\n")),
    (Rule::LEADING_BLANK_LINES, Should, Open, "right: one", Before(b"\r\n")),
    (Rule::START_LINE, Must, Status(&[400, 505]), "no version", Line(b"GET TARGET")),
    (Rule::START_LINE, Must, Status(&[400, 505]), "no version number", Line(b"GET TARGET HTTP/")),
    (Rule::START_LINE, Must, Status(&[400, 505]), "version in small letters", Line(b"GET TARGET http/1.1")),
    (Rule::START_LINE, Must, Status(&[400, 505]), "version 1.11", Line(b"GET TARGET HTTP/1.11")),
    (Rule::START_LINE, Must, Status(&[400, 405]), "method with a bracket", Line(b"G(T TARGET HTTP/1.1")),
    (Rule::START_LINE, Should, Status(&[400]), "two spaces", Line(b"GET  TARGET HTTP/1.1")),
    (Rule::START_LINE, Should, Status(&[400]), "a space behind", Line(b"GET TARGET HTTP/1.1 ")),
    (Rule::START_LINE, Should, Status(&[400]), "a space in the target", Line(b"GET TARGET a HTTP/1.1")),
    (Rule::HTTP_VERSION, Should, Status(&[505, 400]), "HTTP/2.0", Line(b"GET TARGET HTTP/2.0")),
    (Rule::HTTP_VERSION, Should, Status(&[505, 400]), "HTTP/9.9", Line(b"GET TARGET HTTP/9.9")),
    (
        Rule::HTTP_VERSION,
        Should,
        StatusOrEnd(&[505, 400]),
        "HTTP/2's preface",
        Instead(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ),
    (Rule::TARGET, Must, Status(&[400]), "*", Line(b"GET * HTTP/1.1")),
    (Rule::TARGET, Must, Status(&[400]), "a host and a port", Line(b"GET example.com:80 HTTP/1.1")),
    (Rule::TARGET, Must, Status(&[400]), "no slash", Line(b"GET chat HTTP/1.1")),
    (Rule::TARGET, Should, Status(&[400]), "a fragment", Line(b"GET TARGET#top HTTP/1.1")),
    (Rule::TARGET, Should, Status(&[400]), "UTF-8", Line(b"GET TARGET\xc3\xa9 HTTP/1.1")),
    (Rule::TARGET, Should, Status(&[400]), "a tab", Line(b"GET TARGET\ta HTTP/1.1")),
    (Rule::TARGET, Must, Open, "right: an address", Absolute),
    (Rule::CONTROL_BYTE, Should, Status(&[400]), "in the target", Line(b"GET TARGET\x01 HTTP/1.1")),
    (Rule::CONTROL_BYTE, Should, Status(&[400]), "NUL in the target", Line(b"GET TARGET\0 HTTP/1.1")),
    (Rule::CONTROL_BYTE, Should, Status(&[400]), "NUL in a value", Plus(b"X-A: b\0c\r\n")),
    (Rule::CONTROL_BYTE, Must, Status(&[400]), "NUL in a name", Plus(b"X\0A: b\r\n")),
    (Rule::METHOD, Must, Status(&[405, 400]), "POST", Line(b"POST TARGET HTTP/1.1")),
    (Rule::METHOD, Must, Status(&[405, 400]), "HEAD", Line(b"HEAD TARGET HTTP/1.1")),
    (Rule::METHOD, Must, Status(&[405, 400]), "get", Line(b"get TARGET HTTP/1.1")),
    (Rule::METHOD, Must, Status(&[405, 400]), "CONNECT", Line(b"CONNECT example.com:80 HTTP/1.1")),
    (Rule::UPGRADE_OVER_HTTP_1_0, Must, Status(&[400, 426, 505]), "HTTP/1.0", Line(b"GET TARGET HTTP/1.0")),
    // Field lines.
    (Rule::FOLD, Should, Status(&[400]), "by a space", Plus(b"X-A: b\r\n c\r\n")),
    (Rule::FOLD, Should, Status(&[400]), "by a tab", Plus(b"X-A: b\r\n\tc\r\n")),
    (Rule::SPACE_BEFORE_COLON, Must, Status(&[400]), "a space", Plus(b"X-A : b\r\n")),
    (Rule::SPACE_BEFORE_COLON, Must, Status(&[400]), "a tab", Plus(b"X-A\t: b\r\n")),
    (Rule::BARE_CARRIAGE_RETURN, Should, Status(&[400]), "in a value", Plus(b"X-A: b\rc\r\n")),
    (Rule::BARE_CARRIAGE_RETURN, Should, Status(&[400]), "before CR LF", Plus(b"X-A: b\r\r\n")),
    (Rule::BARE_LINE_FEED, Should, Status(&[400]), "behind a value", Plus(b"X-A: b\n")),
    (Rule::BARE_LINE_FEED, Should, Status(&[400]), "everywhere", LineFeeds),
    (Rule::NO_COLON, Must, Status(&[400]), "a name alone", Plus(b"X-A\r\n")),
    (Rule::FIELD_NAME, Must, Status(&[400]), "empty", Plus(b": b\r\n")),
    (Rule::FIELD_NAME, Must, Status(&[400]), "a space", Plus(b"X A: b\r\n")),
    (Rule::FIELD_NAME, Must, Status(&[400]), "a bracket", Plus(b"X(A): b\r\n")),
    (Rule::FIELD_NAME, Must, Status(&[400]), "not ASCII", Plus(b"\xc3\xa9: b\r\n")),
    (Rule::FIELD_NAME, Must, Open, "right: in capitals", Capitals),
    (Rule::FIELD_VALUE, Must, Open, "right: white space around", Spaces),
    (Rule::FIELD_VALUE, Must, Open, "right: no white space", NoSpaces),
    (Rule::FIELD_VALUE, Must, Open, "right: empty", Plus(b"X-A:\r\n")),
    (Rule::FIELD_VALUE, Should, Open, "right: not ASCII", Plus(b"X-A: caf\xe9\r\n")),
    (Rule::INCOMPLETE_HEAD, Should, StatusOrEnd(&[400]), "half a line, then the end", Part(5)),
    (Rule::INCOMPLETE_HEAD, Should, StatusOrEnd(&[400]), "half a head, then the end", Part(50)),
    (Rule::INCOMPLETE_HEAD, Should, StatusOrEnd(&[400]), "no blank line, then the end", Part(98)),
    // Host.
    (Rule::HOST_MISSING, Must, Status(&[400]), "none", Without("Host")),
    (Rule::HOST_DUPLICATE, Must, Status(&[400]), "two", Each("Host", &["example.com", "example.org"])),
    (Rule::HOST_DUPLICATE, Must, Status(&[400]), "twice the same", Twice("Host")),
    (Rule::HOST_INVALID, Must, Status(&[400]), "empty", With("Host", b"")),
    (Rule::HOST_INVALID, Must, Status(&[400]), "a space", With("Host", b"exam ple.com")),
    (Rule::HOST_INVALID, Must, Status(&[400]), "a slash", With("Host", b"example.com/")),
    (Rule::HOST_INVALID, Must, Status(&[400]), "a user", With("Host", b"user@example.com")),
    (Rule::HOST_INVALID, Must, Status(&[400]), "not ASCII", With("Host", b"\xe9xample.com")),
    (Rule::HOST_INVALID, Must, Status(&[400]), "a bracket left open", With("Host", b"[::1")),
    (Rule::HOST_INVALID, Must, Status(&[400]), "a word for a port", With("Host", b"example.com:http")),
    (Rule::HOST_INVALID, Should, Status(&[400]), "port 65536", With("Host", b"example.com:65536")),
    // Bodies.
    (Rule::CONTENT_LENGTH, Must, Status(&[400]), "-1", Plus(b"Content-Length: -1\r\n")),
    (Rule::CONTENT_LENGTH, Must, Status(&[400]), "+5", Plus(b"Content-Length: +5\r\n")),
    (Rule::CONTENT_LENGTH, Must, Status(&[400]), "empty", Plus(b"Content-Length:\r\n")),
    (Rule::CONTENT_LENGTH, Must, Status(&[400]), "0x5", Plus(b"Content-Length: 0x5\r\n")),
    (Rule::CONTENT_LENGTH, Must, Status(&[400]), "0 and 5", Plus(b"Content-Length: 0\r\nContent-Length: 5\r\n")),
    (Rule::CONTENT_LENGTH, Should, Status(&[400, 413]), "2^64", Plus(b"Content-Length: 18446744073709551616\r\n")),
    (
        Rule::CONTENT_LENGTH,
        Should,
        Status(&[400]),
        "0, and chunked",
        Plus(b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
    ),
    (Rule::CONTENT_LENGTH, Should, Open, "right: 0", Plus(b"Content-Length: 0\r\n")),
    (Rule::TRANSFER_ENCODING, Should, Status(&[400, 501]), "gzip", Plus(b"Transfer-Encoding: gzip\r\n")),
    (
        Rule::TRANSFER_ENCODING,
        Should,
        Status(&[400, 501]),
        "chunked twice",
        Plus(b"Transfer-Encoding: chunked, chunked\r\n"),
    ),
    (Rule::BODY_PRESENT, Should, Status(&[400, 413]), "5 bytes", Body(b"Content-Length: 5\r\n", b"Hello")),
    (
        Rule::BODY_PRESENT,
        Should,
        Status(&[400, 413]),
        "chunked",
        Body(b"Transfer-Encoding: chunked\r\n", b"5\r\nHello\r\n0\r\n\r\n"),
    ),
    (Rule::EXPECTATION, Should, OpenOr(&[417]), "right: 100-continue", Plus(b"Expect: 100-continue\r\n")),
    // The handshake's own fields.
    (Rule::UPGRADE, Must, Status(&[426, 400]), "none", Without(UPGRADE)),
    (Rule::UPGRADE, Must, Status(&[426, 400]), "h2c", With(UPGRADE, b"h2c")),
    (Rule::UPGRADE, Must, Status(&[426, 400]), "websocketx", With(UPGRADE, b"websocketx")),
    (Rule::UPGRADE, Must, Status(&[426, 400]), "empty", With(UPGRADE, b"")),
    (Rule::UPGRADE, Must, Open, "right: WebSocket", With(UPGRADE, b"WebSocket")),
    (Rule::UPGRADE, Should, Open, "right: h2c, websocket", With(UPGRADE, b"h2c, websocket")),
    (Rule::CONNECTION, Must, Status(&[400, 426]), "none", Without(CONNECTION)),
    (Rule::CONNECTION, Must, Status(&[400, 426]), "keep-alive", With(CONNECTION, b"keep-alive")),
    (Rule::CONNECTION, Must, Status(&[400, 426]), "upgradex", With(CONNECTION, b"upgradex")),
    (Rule::CONNECTION, Must, Status(&[400, 426]), "in quotes", With(CONNECTION, b"\"Upgrade\"")),
    (Rule::CONNECTION, Must, Open, "right: keep-alive, UPGRADE", With(CONNECTION, b"keep-alive, UPGRADE")),
    (Rule::CONNECTION, Must, Open, "right: on two lines", Each(CONNECTION, &["keep-alive", "Upgrade"])),
    (Rule::CONNECTION, Must, Open, "right: empty members", With(CONNECTION, b",Upgrade,")),
    (Rule::VERSION_MISSING, Must, Status(&[426, 400]), "none", Without(VERSION)),
    (Rule::VERSION_MISSING, Must, Status(&[426, 400]), "Hixie-76", Instead(HIXIE)),
    (Rule::VERSION_INVALID, Must, Status(&[400, 426]), "013", With(VERSION, b"013")),
    (Rule::VERSION_INVALID, Must, Status(&[400, 426]), "13a", With(VERSION, b"13a")),
    (Rule::VERSION_INVALID, Must, Status(&[400, 426]), "+13", With(VERSION, b"+13")),
    (Rule::VERSION_INVALID, Must, Status(&[400, 426]), "256", With(VERSION, b"256")),
    (Rule::VERSION_INVALID, Must, Status(&[400, 426]), "empty", With(VERSION, b"")),
    (Rule::VERSION_INVALID, Must, Status(&[400, 426]), "13, 8", With(VERSION, b"13, 8")),
    (Rule::VERSION_INVALID, Must, Status(&[400, 426]), "two lines", Each(VERSION, &["13", "8"])),
    (Rule::VERSION_UNSUPPORTED, Must, Versions(&[426, 400]), "0", With(VERSION, b"0")),
    (Rule::VERSION_UNSUPPORTED, Must, Versions(&[426, 400]), "12", With(VERSION, b"12")),
    (Rule::VERSION_UNSUPPORTED, Must, Versions(&[426, 400]), "14", With(VERSION, b"14")),
    (Rule::VERSION_UNSUPPORTED, Must, Versions(&[426, 400]), "255", With(VERSION, b"255")),
    (Rule::KEY_MISSING, Must, Status(&[400]), "none", Without(KEY)),
    (Rule::KEY_DUPLICATE, Must, Status(&[400]), "twice the same", Twice(KEY)),
    (Rule::KEY_INVALID, Must, Status(&[400]), "empty", With(KEY, b"")),
    (Rule::KEY_INVALID, Must, Status(&[400]), "15 bytes", With(KEY, b"dGhlIHNhbXBsZSBub25j")),
    (Rule::KEY_INVALID, Must, Status(&[400]), "17 bytes", With(KEY, b"dGhlIHNhbXBsZSBub25jZWU=")),
    (Rule::KEY_INVALID, Must, Status(&[400]), "no base64", With(KEY, b"dGhlIHNhbXBsZSBub25!ZQ==")),
    (Rule::KEY_INVALID, Must, Status(&[400]), "no padding", With(KEY, b"dGhlIHNhbXBsZSBub25jZQ")),
    (Rule::KEY_INVALID, Must, Status(&[400]), "base64 for addresses", With(KEY, b"dGhlIHNhbXBsZSBub2_-ZQ==")),
    (Rule::KEY_INVALID, Must, Status(&[400]), "a space inside", With(KEY, b"dGhlIHNhbXBsZSBu b25jZQ==")),
    (Rule::KEY_INVALID, Should, Open, "right: bits behind the last", With(KEY, b"dGhlIHNhbXBsZSBub25jZR==")),
    (Rule::PROTOCOL_INVALID, Must, Status(&[400]), "empty", With(PROTOCOL, b"")),
    (Rule::PROTOCOL_INVALID, Must, Status(&[400]), "a space", With(PROTOCOL, b"a b")),
    (Rule::PROTOCOL_INVALID, Must, Status(&[400]), "separators", With(PROTOCOL, b"a;b=(c)")),
    (Rule::PROTOCOL_INVALID, Must, Status(&[400]), "a quote left open", With(PROTOCOL, b"\"a")),
    (Rule::PROTOCOL_INVALID, Must, Status(&[400]), "not ASCII", With(PROTOCOL, b"\xc3\xa9")),
    (Rule::PROTOCOL_DUPLICATE, Should, Status(&[400]), "a, b, a", With(PROTOCOL, b"a, b, a")),
    (Rule::PROTOCOL_DUPLICATE, Should, Status(&[400]), "on two lines", Each(PROTOCOL, &["a", "a"])),
    (Rule::EXTENSIONS_INVALID, Must, Status(&[400]), "empty", With(EXTENSIONS, b"")),
    (Rule::EXTENSIONS_INVALID, Must, Status(&[400]), ";", With(EXTENSIONS, b";")),
    (Rule::EXTENSIONS_INVALID, Must, Status(&[400]), "a; =1", With(EXTENSIONS, b"a; =1")),
    (Rule::EXTENSIONS_INVALID, Must, Status(&[400]), "a; b=", With(EXTENSIONS, b"a; b=")),
    (Rule::EXTENSIONS_INVALID, Must, Status(&[400]), "a quote left open", With(EXTENSIONS, b"a; b=\"c")),
    (Rule::EXTENSIONS_INVALID, Must, Status(&[400]), "no token in quotes", With(EXTENSIONS, b"a; b=\"c d\"")),
    (Rule::EXTENSIONS_INVALID, Must, Status(&[400]), "on the second line", Each(EXTENSIONS, &["a", ";"])),
    (Rule::EXTENSIONS_INVALID, Should, Open, "right: an unknown one", With(EXTENSIONS, b"x-unknown; a=1; b")),
    (
        Rule::EXTENSIONS_INVALID,
        Must,
        Open,
        "right: on two lines",
        Each(EXTENSIONS, &["x-unknown", "permessage-deflate"]),
    ),
    // Offers that a server has to decline [RFC 7692 §7.1]. To agree to one is a breach of its own; to refuse the whole
    // handshake for one is more than is asked for.
    (Rule::DEFLATE_PARAMETERS, Should, Open, "declined: unknown", With(EXTENSIONS, b"permessage-deflate; x=1")),
    (
        Rule::DEFLATE_PARAMETERS,
        Should,
        Open,
        "declined: window of 7 bits",
        With(EXTENSIONS, b"permessage-deflate; server_max_window_bits=7"),
    ),
    (
        Rule::DEFLATE_PARAMETERS,
        Should,
        Open,
        "declined: window of 16 bits",
        With(EXTENSIONS, b"permessage-deflate; server_max_window_bits=16"),
    ),
    (
        Rule::DEFLATE_PARAMETERS,
        Should,
        Open,
        "declined: window of 010 bits",
        With(EXTENSIONS, b"permessage-deflate; client_max_window_bits=010"),
    ),
    (
        Rule::DEFLATE_PARAMETERS,
        Should,
        Open,
        "declined: one of them twice",
        With(EXTENSIONS, b"permessage-deflate; server_no_context_takeover; server_no_context_takeover"),
    ),
    (
        Rule::DEFLATE_PARAMETERS,
        Should,
        Open,
        "declined: value for a flag",
        With(EXTENSIONS, b"permessage-deflate; server_no_context_takeover=1"),
    ),
    (
        Rule::DEFLATE_PARAMETERS,
        Should,
        Open,
        "right: bad offer, then good",
        With(EXTENSIONS, b"permessage-deflate; server_max_window_bits=7, permessage-deflate"),
    ),
    (Rule::DATA_BEFORE_ANSWER, Should, Open, "a ping, with the request", Nothing),
];

/// The beginning of a ClientHello: a record, a handshake message, TLS 1.2, and of its random bytes those that end a head.
const HELLO: &[u8] =
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x5a\x11\x0d\x0a\x0d\x0a\x42\x99\x00\x01\x02\x03\x04\x05";

/// What browsers sent before there were versions.
const HIXIE: &[u8] = b"GET TARGET HTTP/1.1\r\nHost: HOST\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n^n:ds[4U";

pub(super) fn probes() -> Vec<Probe> {
    let probe = |&(rule, force, demands, name, change): &Row| {
        let then = match rule {
            _ if rule == Rule::INCOMPLETE_HEAD => Then::End,
            _ if rule == Rule::DATA_BEFORE_ANSWER => Then::Frames,
            _ => Then::Wait,
        };
        Probe { rule, name: name.to_owned(), force, sends: Sends::Head { change, then }, demands }
    };
    ROWS.iter().map(probe).collect()
}
