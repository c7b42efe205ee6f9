//! What a server makes of an opening handshake: a row for each way to get it wrong, and for each odd way that is right.
//!
//! No sockets: bytes go into a [`HeadReader`], and an [`UpgradeRequest`] or a [`Rejection`] comes out. Every row runs
//! whole, one byte at a time, and cut at each point, and must come out the same.

use std::time::Duration;

use loopwire::deflate::DeflateConfig;
use loopwire::handshake::{
    Acceptance, Body, HandshakeError, HeadLimits, HeadReader, OriginPolicy, Rejection, Request, Response,
    UpgradeRequest, Version,
};

const LINE: &str = "GET /chat HTTP/1.1";
const FIELDS: [(&str, &str); 5] = [
    ("Host", "example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
];

// ------------------------------------------------------------------------------------------------ building requests

/// A head of this request line and these bytes for fields.
fn head(line: impl AsRef<[u8]>, fields: impl AsRef<[u8]>) -> Vec<u8> {
    [line.as_ref(), b"\r\n", fields.as_ref(), b"\r\n"].concat()
}

fn good_fields_but(name: &str) -> String {
    FIELDS.iter().filter(|(field, _)| *field != name).map(|(field, value)| format!("{field}: {value}\r\n")).collect()
}

/// A good handshake.
fn good() -> Vec<u8> {
    head(LINE, good_fields_but(""))
}

/// A good handshake with another request line.
fn line(line: impl AsRef<[u8]>) -> Vec<u8> {
    head(line, good_fields_but(""))
}

/// A good handshake without this field.
fn without(name: &str) -> Vec<u8> {
    head(LINE, good_fields_but(name))
}

/// A good handshake in which this field has this value.
fn with(name: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    let field = [name.as_bytes(), b": ", value.as_ref(), b"\r\n"].concat();
    head(LINE, [good_fields_but(name).as_bytes(), &field].concat())
}

/// A good handshake in which this field stands once for each of these values.
fn with_each(name: &str, values: &[&str]) -> Vec<u8> {
    let lines: String = values.iter().map(|value| format!("{name}: {value}\r\n")).collect();
    head(LINE, good_fields_but(name) + &lines)
}

/// A good handshake with these bytes before the blank line.
fn plus(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    head(LINE, [good_fields_but("").as_bytes(), bytes.as_ref()].concat())
}

// ------------------------------------------------------------------------------------------------ running them

/// Feeds `pieces`, then judges. With the request comes what was left over.
fn shake<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(UpgradeRequest, Vec<u8>), Rejection> {
    let limits = HeadLimits::default();
    let mut reader = HeadReader::new(limits);
    let mut pieces = pieces.into_iter();
    for piece in &mut pieces {
        if let Some(used) = reader.push(piece)? {
            let mut left = piece[used..].to_vec();
            left.extend(pieces.flatten());
            let request = Request::parse(reader.bytes(), &limits)?;
            return Ok((UpgradeRequest::from_request(request)?, left));
        }
    }
    panic!("the head never ended: {:?}", String::from_utf8_lossy(reader.bytes()));
}

/// Runs `bytes` at all three chunkings, and gives what came out of all of them.
fn shake_every_way(bytes: &[u8]) -> Result<(UpgradeRequest, Vec<u8>), Rejection> {
    let whole = shake([bytes]);
    let summary = |outcome: &Result<(UpgradeRequest, Vec<u8>), Rejection>| match outcome {
        Ok((request, left)) => Ok((format!("{request:?}"), left.clone())),
        Err(rejection) => Err(rejection.clone()),
    };
    let expected = summary(&whole);
    assert_eq!(summary(&shake(bytes.chunks(1))), expected, "one byte at a time");
    // A head too long is cut only near its ends and around its middle: the cost would be the square of its length.
    let cuts: Vec<usize> =
        if bytes.len() < 2000 { (0..=bytes.len()).collect() } else { (0..bytes.len()).step_by(997).collect() };
    for cut in cuts {
        let (first, second) = bytes.split_at(cut);
        assert_eq!(summary(&shake([first, second])), expected, "cut at {cut}");
    }
    whole
}

fn accepted(bytes: &[u8]) -> UpgradeRequest {
    match shake_every_way(bytes) {
        Ok((request, _)) => request,
        Err(rejection) => panic!("{rejection}\n{}", String::from_utf8_lossy(bytes)),
    }
}

fn rejected(bytes: &[u8]) -> Rejection {
    match shake_every_way(bytes) {
        Err(rejection) => rejection,
        Ok(_) => panic!("accepted:\n{}", String::from_utf8_lossy(bytes)),
    }
}

/// What an answer's head says, line by line, and its body.
fn read_response(response: &Response) -> (Vec<String>, String) {
    let text = String::from_utf8(response.encode(false)).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split("\r\n").map(str::to_owned).collect(), body.to_owned())
}

/// That a rejection answers, closes and names its rule.
#[track_caller]
fn check_answer(rejection: &Rejection, status: u16, id: &str) {
    assert_eq!((rejection.status(), rejection.rule().id), (status, id), "{rejection}");
    let (lines, body) = read_response(&rejection.response());
    assert!(lines[0].starts_with(&format!("HTTP/1.1 {status} ")), "{lines:?}");
    assert!(lines.contains(&"Connection: close".to_owned()), "{lines:?}");
    assert!(lines.contains(&format!("Content-Length: {}", body.len())), "{lines:?}");
    assert!(body.contains(rejection.section()) && body.contains(rejection.rule().sentence), "{body}");
    assert!(!rejection.to_string().contains(['\r', '\n']), "one log line: {rejection}");
    let needs: &[&str] = match status {
        401 => &["WWW-Authenticate: "],
        405 => &["Allow: GET"],
        426 => &["Upgrade: websocket", "Connection: Upgrade"],
        _ => &[],
    };
    for field in needs {
        assert!(lines.iter().any(|line| line.starts_with(field)), "{field} missing in {lines:?}");
    }
}

// ------------------------------------------------------------------------------------------------ the table

#[test]
fn every_bad_handshake_gets_its_status_and_names_its_rule() {
    let key = |key: &str| with("Sec-WebSocket-Key", key);
    let version = |version: &str| with("Sec-WebSocket-Version", version);
    let protocol = |protocol: &str| with("Sec-WebSocket-Protocol", protocol);
    let extensions = |extensions: &str| with("Sec-WebSocket-Extensions", extensions);
    // What is wrong, the request, the status, the rule.
    let rows: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        // The request line.
        ("POST", line("POST /chat HTTP/1.1"), 405, "method"),
        ("HEAD", line("HEAD /chat HTTP/1.1"), 405, "method"),
        ("get", line("get /chat HTTP/1.1"), 405, "method"),
        ("CONNECT", line("CONNECT example.com:80 HTTP/1.1"), 405, "method"),
        ("HTTP/1.0", line("GET /chat HTTP/1.0"), 400, "upgrade-over-http-1.0"),
        ("HTTP/0.9", head("GET /chat", ""), 400, "start-line"),
        ("HTTP/2.0", line("GET /chat HTTP/2.0"), 505, "http-version"),
        ("HTTP/9.9", line("GET /chat HTTP/9.9"), 505, "http-version"),
        ("the HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), 505, "http-version"),
        ("lowercase version", line("GET /chat http/1.1"), 400, "start-line"),
        ("no version number", line("GET /chat HTTP/"), 400, "start-line"),
        ("long version number", line("GET /chat HTTP/1.11"), 400, "start-line"),
        ("target *", line("GET * HTTP/1.1"), 400, "target"),
        ("authority-form", line("GET example.com:80 HTTP/1.1"), 400, "target"),
        ("no slash", line("GET chat HTTP/1.1"), 400, "target"),
        ("empty target", line("GET  HTTP/1.1"), 400, "target"),
        ("fragment", line("GET /chat#top HTTP/1.1"), 400, "target"),
        ("raw space", line("GET /ch at HTTP/1.1"), 400, "start-line"),
        ("two spaces", line("GET  /chat HTTP/1.1"), 400, "start-line"),
        ("trailing space", line("GET /chat HTTP/1.1 "), 400, "start-line"),
        ("tab in the target", line("GET /ch\tat HTTP/1.1"), 400, "target"),
        ("control byte in the target", line("GET /ch\x01at HTTP/1.1"), 400, "control-byte"),
        ("NUL in the target", line("GET /ch\0at HTTP/1.1"), 400, "control-byte"),
        ("DEL in the target", line("GET /ch\x7fat HTTP/1.1"), 400, "control-byte"),
        ("UTF-8 in the target", line("GET /é HTTP/1.1"), 400, "target"),
        ("no UTF-8 in the target", line(b"GET /\xff HTTP/1.1"), 400, "start-line"),
        ("method not a token", line("G(T /chat HTTP/1.1"), 400, "start-line"),
        ("absolute, other host", line("GET http://example.org/chat HTTP/1.1"), 400, "target-mismatch"),
        ("absolute, other port", line("GET http://example.com:81/chat HTTP/1.1"), 400, "target-mismatch"),
        ("absolute, port of the other scheme", line("GET https://example.com:80/ HTTP/1.1"), 400, "target-mismatch"),
        ("absolute, user", line("GET http://user@example.com/chat HTTP/1.1"), 400, "target"),
        ("absolute, no host", line("GET http:///chat HTTP/1.1"), 400, "target"),
        ("absolute, other scheme", line("GET ftp://example.com/chat HTTP/1.1"), 400, "target"),
        ("absolute, fragment", line("GET http://example.com/#top HTTP/1.1"), 400, "target"),
        // Host.
        ("no Host", without("Host"), 400, "host-missing"),
        ("two Hosts", with_each("Host", &["example.com", "example.org"]), 400, "host-duplicate"),
        ("two equal Hosts", with_each("Host", &["example.com", "example.com"]), 400, "host-duplicate"),
        ("empty Host", with("Host", ""), 400, "host-invalid"),
        ("Host with a space", with("Host", "exam ple.com"), 400, "host-invalid"),
        ("Host with a slash", with("Host", "example.com/"), 400, "host-invalid"),
        ("Host with a comma", with("Host", "a.com,b.com"), 400, "host-invalid"),
        ("Host with a user", with("Host", "user@example.com"), 400, "host-invalid"),
        ("Host not ASCII", with("Host", b"\xe9xample.com"), 400, "host-invalid"),
        ("Host with brackets", with("Host", "[example.com]"), 400, "host-invalid"),
        ("Host, open bracket", with("Host", "[::1"), 400, "host-invalid"),
        ("Host, port 65536", with("Host", "example.com:65536"), 400, "host-invalid"),
        ("Host, endless port", with("Host", "example.com:99999999999999999999"), 400, "host-invalid"),
        ("Host, signed port", with("Host", "example.com:+80"), 400, "host-invalid"),
        ("Host, port a word", with("Host", "example.com:http"), 400, "host-invalid"),
        // Upgrade and Connection.
        ("plain GET", head(LINE, "Host: example.com\r\n"), 426, "upgrade"),
        ("no Upgrade", without("Upgrade"), 426, "upgrade"),
        ("Upgrade h2c", with("Upgrade", "h2c"), 426, "upgrade"),
        ("Upgrade websocketx", with("Upgrade", "websocketx"), 426, "upgrade"),
        ("Upgrade with a version", with("Upgrade", "websocket/13"), 426, "upgrade"),
        ("Upgrade empty", with("Upgrade", ""), 426, "upgrade"),
        ("no Connection", without("Connection"), 400, "connection"),
        ("Connection keep-alive", with("Connection", "keep-alive"), 400, "connection"),
        ("Connection upgradex", with("Connection", "upgradex"), 400, "connection"),
        ("Connection quoted", with("Connection", "\"upgrade\""), 400, "connection"),
        // The key.
        ("no key", without("Sec-WebSocket-Key"), 400, "key-missing"),
        ("empty key", key(""), 400, "key-invalid"),
        ("two keys", with_each("Sec-WebSocket-Key", &[FIELDS[3].1, FIELDS[3].1]), 400, "key-duplicate"),
        ("key of 15 bytes", key("dGhlIHNhbXBsZSBub25j"), 400, "key-invalid"),
        ("key of 17 bytes", key("dGhlIHNhbXBsZSBub25jZWU="), 400, "key-invalid"),
        ("key in no alphabet", key("dGhlIHNhbXBsZSBub25!ZQ=="), 400, "key-invalid"),
        ("key without padding", key("dGhlIHNhbXBsZSBub25jZQ"), 400, "key-invalid"),
        ("key for URLs", key("dGhlIHNhbXBsZSBub2_-ZQ=="), 400, "key-invalid"),
        ("key with a space", key("dGhlIHNhbXBsZSBu b25jZQ=="), 400, "key-invalid"),
        ("key with a list", key("dGhlIHNhbXBsZSBub25jZQ==, a"), 400, "key-invalid"),
        // The version.
        ("no version", without("Sec-WebSocket-Version"), 426, "version-missing"),
        ("version 0", version("0"), 426, "version-unsupported"),
        ("version 7", version("7"), 426, "version-unsupported"),
        ("version 12", version("12"), 426, "version-unsupported"),
        ("version 14", version("14"), 426, "version-unsupported"),
        ("version 25", version("25"), 426, "version-unsupported"),
        ("version 255", version("255"), 426, "version-unsupported"),
        ("version 256", version("256"), 400, "version-invalid"),
        ("version 013", version("013"), 400, "version-invalid"),
        ("version 00", version("00"), 400, "version-invalid"),
        ("version 13a", version("13a"), 400, "version-invalid"),
        ("version +13", version("+13"), 400, "version-invalid"),
        ("version -1", version("-1"), 400, "version-invalid"),
        ("version list", version("13, 8"), 400, "version-invalid"),
        ("version empty", version(""), 400, "version-invalid"),
        ("two versions", with_each("Sec-WebSocket-Version", &["13", "13"]), 400, "version-invalid"),
        (
            "Hixie-76",
            head(
                LINE,
                "Host: example.com\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n",
            ),
            426,
            "version-missing",
        ),
        // Protocols.
        ("protocol empty", protocol(""), 400, "protocol-invalid"),
        ("protocol twice", protocol("a, b, a"), 400, "protocol-duplicate"),
        ("protocol on two lines", with_each("Sec-WebSocket-Protocol", &["a", "a"]), 400, "protocol-duplicate"),
        ("protocol a,,b", protocol("a,,b"), 400, "protocol-invalid"),
        ("protocol a,", protocol("a,"), 400, "protocol-invalid"),
        ("protocol ,a", protocol(",a"), 400, "protocol-invalid"),
        ("protocol with a space", protocol("a b"), 400, "protocol-invalid"),
        ("protocol with separators", protocol("a;b=(c)"), 400, "protocol-invalid"),
        ("protocol unclosed", protocol("\"a"), 400, "protocol-invalid"),
        ("protocol in UTF-8", protocol("é"), 400, "protocol-invalid"),
        ("protocol in Latin-1", with("Sec-WebSocket-Protocol", b"\xe9"), 400, "protocol-invalid"),
        // Extensions.
        ("extension ;", extensions(";"), 400, "extensions-invalid"),
        ("extension empty", extensions(""), 400, "extensions-invalid"),
        ("extension a;=1", extensions("a;=1"), 400, "extensions-invalid"),
        ("extension a;b=", extensions("a;b="), 400, "extensions-invalid"),
        ("extension unclosed", extensions("a; b=\"c"), 400, "extensions-invalid"),
        ("extension quoting no token", extensions("a; b=\"c d\""), 400, "extensions-invalid"),
        ("extension quoting nothing", extensions("a; b=\"\""), 400, "extensions-invalid"),
        ("extension trailing comma", extensions("a,"), 400, "extensions-invalid"),
        ("extension leading comma", extensions(",a"), 400, "extensions-invalid"),
        ("extension on the second line", with_each("Sec-WebSocket-Extensions", &["a", ";"]), 400, "extensions-invalid"),
        ("extension in Latin-1", with("Sec-WebSocket-Extensions", b"\xe9"), 400, "extensions-invalid"),
        // A body.
        ("a body", plus("Content-Length: 1\r\n"), 400, "body-present"),
        ("a chunked body", plus("Transfer-Encoding: chunked\r\n"), 400, "body-present"),
        ("an unknown coding", plus("Transfer-Encoding: gzip\r\n"), 400, "transfer-encoding"),
        ("coding of nothing", plus("Transfer-Encoding:\r\n"), 400, "transfer-encoding"),
        ("two codings", plus("Transfer-Encoding: gzip, chunked\r\n"), 400, "transfer-encoding"),
        (
            "chunked twice",
            plus("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            400,
            "transfer-encoding",
        ),
        ("length -1", plus("Content-Length: -1\r\n"), 400, "content-length"),
        ("length +5", plus("Content-Length: +5\r\n"), 400, "content-length"),
        ("length empty", plus("Content-Length:\r\n"), 400, "content-length"),
        ("length 5,5", plus("Content-Length: 5,5\r\n"), 400, "content-length"),
        ("length in hexadecimal", plus("Content-Length: 0x5\r\n"), 400, "content-length"),
        ("two lengths", plus("Content-Length: 0\r\nContent-Length: 5\r\n"), 400, "content-length"),
        ("two equal lengths", plus("Content-Length: 5\r\nContent-Length: 5\r\n"), 400, "content-length"),
        ("a length of 2^64", plus("Content-Length: 18446744073709551616\r\n"), 400, "content-length"),
        ("length and coding", plus("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"), 400, "content-length"),
        // Field lines.
        ("a folded line", plus("X-A: b\r\n c\r\n"), 400, "fold"),
        ("a line folded by a tab", plus("X-A: b\r\n\tc\r\n"), 400, "fold"),
        ("a first line folded", head(LINE, " Host: example.com\r\n"), 400, "fold"),
        ("space before colon", plus("X-A : b\r\n"), 400, "space-before-colon"),
        ("tab before colon", plus("X-A\t: b\r\n"), 400, "space-before-colon"),
        ("NUL in a value", plus("X-A: b\0c\r\n"), 400, "control-byte"),
        ("NUL in a name", plus("X\0A: b\r\n"), 400, "control-byte"),
        ("bare CR in a value", plus("X-A: b\rc\r\n"), 400, "bare-carriage-return"),
        ("CR CR LF", plus("X-A: b\r\r\n"), 400, "bare-carriage-return"),
        ("bare LF after a value", plus("X-A: b\n"), 400, "bare-line-feed"),
        ("bare LF everywhere", b"GET /chat HTTP/1.1\nHost: example.com\n\n".to_vec(), 400, "bare-line-feed"),
        ("no colon", plus("X-A\r\n"), 400, "no-colon"),
        ("empty name", plus(": b\r\n"), 400, "field-name"),
        ("name with a space", plus("X A: b\r\n"), 400, "field-name"),
        ("name with a bracket", plus("X(A): b\r\n"), 400, "field-name"),
        ("name not ASCII", plus("é: b\r\n"), 400, "field-name"),
        // Before the request line.
        ("two blank lines", [b"\r\n\r\n", &good()[..]].concat(), 400, "leading-blank-lines"),
        ("a blank line ended by LF", [b"\n", &good()[..]].concat(), 400, "bare-line-feed"),
        ("a space", [b" ", &good()[..]].concat(), 400, "not-http"),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), 400, "tls-on-plain-port"),
        ("a frame", b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".to_vec(), 400, "not-http"),
    ];
    for (name, bytes, status, id) in rows {
        println!("{name}");
        check_answer(&rejected(&bytes), status, id);
    }
}

#[test]
fn every_odd_but_right_handshake_is_accepted() {
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("the RFC's own", good()),
        ("Upgrade in mixed case", with("Upgrade", "WebSocket")),
        ("Upgrade a list", with("Upgrade", "h2c, websocket")),
        ("Connection a list", with("Connection", "keep-alive, UPGRADE")),
        ("Connection on two lines", with_each("Connection", &["keep-alive", "Upgrade"])),
        ("Connection with empty members", with("Connection", ",Upgrade,")),
        (
            "names in any case",
            head(LINE, good_fields_but("").to_uppercase().replace("DGHLIHNHBXBSZSBUB25JZQ==", FIELDS[3].1)),
        ),
        ("a key with non-zero trailing bits", with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZR==")),
        ("white space around values", with("Sec-WebSocket-Key", "  \t dGhlIHNhbXBsZSBub25jZQ== \t ")),
        ("no white space", head(LINE, good_fields_but("").replace(' ', ""))),
        ("version 8", with("Sec-WebSocket-Version", "8")),
        ("absolute, matching", line("GET http://example.com/chat HTTP/1.1")),
        ("absolute, default port", line("GET http://EXAMPLE.com:80/chat HTTP/1.1")),
        ("absolute, https", line("GET HTTPS://example.com/chat HTTP/1.1")),
        ("absolute, no path", line("GET http://example.com HTTP/1.1")),
        ("absolute, only a query", line("GET http://example.com?a HTTP/1.1")),
        ("Host with a port", with("Host", "example.com:65535")),
        ("Host an address", with("Host", "[::1]:8080")),
        ("an empty body", plus("Content-Length: 0\r\n")),
        ("a leading blank line", [b"\r\n", &good()[..]].concat()),
        ("Expect is passed over", plus("Expect: 100-continue\r\n")),
        ("a value that is not ASCII", plus(b"Cookie: caf\xe9\r\n")),
        ("an empty value", plus("X-A:\r\n")),
        ("a hundred fields", plus("X-A: b\r\n".repeat(95))),
    ];
    for (name, bytes) in rows {
        println!("{name}");
        let request = accepted(&bytes);
        let response = String::from_utf8(request.response(&Acceptance::default()).unwrap()).unwrap();
        assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
    }
}

// ------------------------------------------------------------------------------------------------ what is read

#[test]
fn the_rfc_s_handshake_is_answered_byte_for_byte() {
    let response = accepted(&good()).response(&Acceptance::default()).unwrap();
    assert_eq!(
        String::from_utf8(response).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
}

#[test]
fn path_and_query_are_found_in_every_form_of_target() {
    let rows = [
        ("/", "/", None),
        ("/a/b", "/a/b", None),
        ("/a?", "/a", Some("")),
        ("/a?b=c&d", "/a", Some("b=c&d")),
        ("/a?b?c", "/a", Some("b?c")),
        ("/?http://x/", "/", Some("http://x/")),
        ("/%2e%2E/%00", "/%2e%2E/%00", None),
        ("http://example.com", "/", None),
        ("http://example.com?a", "/", Some("a")),
        ("http://example.com/a/b?c", "/a/b", Some("c")),
    ];
    for (target, path, query) in rows {
        let request = accepted(&line(format!("GET {target} HTTP/1.1")));
        assert_eq!((request.path(), request.query()), (path, query), "{target}");
        assert_eq!(request.request().target(), target);
        assert_eq!(request.host(), "example.com");
    }
}

#[test]
fn frames_behind_the_head_are_not_lost() {
    let frames = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\r\n\r\n";
    let (_, left) = shake_every_way(&[&good()[..], frames].concat()).expect("a handshake");
    assert_eq!(left, frames);
}

#[test]
fn a_field_given_twice_has_no_single_value() {
    let request = accepted(&plus("X-A: 1\r\nx-a: 2, 3\r\nX-B: \t4 \r\n"));
    let fields = request.fields();
    assert_eq!(fields.get("X-A"), None);
    assert_eq!(fields.all("X-A").collect::<Vec<_>>(), ["1", "2, 3"]);
    assert_eq!(fields.list("x-A").collect::<Vec<_>>(), ["1", "2", "3"]);
    assert_eq!(fields.get("x-b"), Some("4"));
    assert_eq!(fields.get("X-C"), None);
    assert_eq!(fields.len(), 8);
    assert_eq!(fields.iter().last(), Some(("X-B", "4")));
}

#[test]
fn a_value_is_text_even_if_it_is_not_utf_8() {
    let request = accepted(&plus(b"X-A: \xe9\xff\r\nX-B: \xc3\xa9\r\n"));
    assert_eq!(request.fields().get("X-A"), Some("éÿ"), "as ISO-8859-1");
    assert_eq!(request.fields().get("X-B"), Some("é"), "as UTF-8");
}

#[test]
fn protocols_are_read_in_order_and_one_of_them_may_be_chosen() {
    let request = accepted(&with_each("Sec-WebSocket-Protocol", &["chat, superchat", "v2.x~y"]));
    assert_eq!(request.protocols(), ["chat", "superchat", "v2.x~y"]);

    let choose =
        |protocol: &str| request.response(&Acceptance { protocol: Some(protocol.to_owned()), ..Acceptance::default() });
    let response = String::from_utf8(choose("superchat").unwrap()).unwrap();
    assert!(response.contains("\r\nSec-WebSocket-Protocol: superchat\r\n"), "{response}");
    for other in ["Chat", "", "chat, superchat", "chat\r\nX: y"] {
        assert!(matches!(choose(other), Err(HandshakeError::ProtocolNotOffered(_))), "{other:?}");
    }

    let none = request.response(&Acceptance::default()).unwrap();
    assert!(!String::from_utf8(none).unwrap().contains("Sec-WebSocket-Protocol"));
    check_answer(&Rejection::no_common_protocol(), 400, "no-common-protocol");
}

#[test]
fn bad_offers_are_declined_and_the_next_is_looked_at() {
    // The lines of Sec-WebSocket-Extensions, how many offers remain, the answer.
    let rows: &[(&[&str], usize, Option<&str>)] = &[
        (&["x-unknown"], 0, None),
        (&["x-webkit-deflate-frame, x-unknown; a=b; c=\"d\""], 0, None),
        (&["permessage-deflate"], 1, Some("permessage-deflate")),
        (&["Permessage-Deflate"], 0, None),
        (&["permessage-deflate; x"], 0, None),
        (&["permessage-deflate; server_no_context_takeover=1"], 0, None),
        (&["permessage-deflate; server_no_context_takeover; server_no_context_takeover"], 0, None),
        (&["permessage-deflate; server_max_window_bits"], 0, None),
        (&["permessage-deflate; server_max_window_bits=7"], 0, None),
        (&["permessage-deflate; server_max_window_bits=16"], 0, None),
        (&["permessage-deflate; server_max_window_bits=1000"], 0, None),
        (&["permessage-deflate; client_max_window_bits=008"], 0, None),
        (
            &["permessage-deflate; client_max_window_bits=\"10\""],
            1,
            Some("permessage-deflate; client_max_window_bits=10"),
        ),
        (&["x, permessage-deflate; x, permessage-deflate"], 1, Some("permessage-deflate")),
        (&["permessage-deflate; server_max_window_bits=7", "permessage-deflate"], 1, Some("permessage-deflate")),
        (&["permessage-deflate", "permessage-deflate; server_no_context_takeover"], 2, Some("permessage-deflate")),
    ];
    for (lines, offers, answer) in rows {
        let request = accepted(&with_each("Sec-WebSocket-Extensions", lines));
        assert_eq!(request.offers().len(), *offers, "{lines:?}");
        let deflate = DeflateConfig::default().answer(request.offers());
        let response = request.response(&Acceptance { deflate, ..Acceptance::default() }).unwrap();
        let response = String::from_utf8(response).unwrap();
        let found = response.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
        assert_eq!(found, *answer, "{lines:?}");
    }
}

#[test]
fn compression_is_not_agreed_to_where_none_was_offered() {
    let offered = accepted(&with("Sec-WebSocket-Extensions", "permessage-deflate"));
    let deflate = DeflateConfig::default().answer(offered.offers());
    assert!(deflate.is_some());
    let response = accepted(&good()).response(&Acceptance { deflate, ..Acceptance::default() });
    assert!(matches!(response, Err(HandshakeError::ExtensionNotOffered(_))));
}

#[test]
fn nothing_that_an_application_adds_ends_a_line_or_takes_a_field_of_ours() {
    let request = accepted(&good());
    let add = |name: &str, value: &str| {
        let fields = vec![(name.to_owned(), value.to_owned())];
        request.response(&Acceptance { fields, ..Acceptance::default() })
    };
    let response = String::from_utf8(add("Set-Cookie", "a=b; Path=/").unwrap()).unwrap();
    assert!(response.ends_with("\r\nSet-Cookie: a=b; Path=/\r\n\r\n"), "{response}");
    for (name, value) in [
        ("X", "a\r\nY: b"),
        ("X", "a\nb"),
        ("X", "a\rb"),
        ("X", "a\0b"),
        ("X:", "a"),
        ("X\r\nY", "a"),
        ("", "a"),
        ("é", "a"),
    ] {
        assert!(matches!(add(name, value), Err(HandshakeError::FieldInvalid(_))), "{name:?}: {value:?}");
        assert!(Response::new(200).with_field(name, value).is_err(), "{name:?}: {value:?}");
    }
    for name in
        ["Connection", "upgrade", "Content-Length", "Transfer-Encoding", "sec-websocket-accept", "Sec-WebSocket-X"]
    {
        assert!(matches!(add(name, "a"), Err(HandshakeError::FieldReserved(_))), "{name}");
    }
}

// ------------------------------------------------------------------------------------------------ plain requests

#[test]
fn plain_requests_are_read_as_strictly_but_not_judged() {
    let limits = HeadLimits::default();
    let parse = |head: &str| Request::parse(head.as_bytes(), &limits);

    let post = parse("POST /api/publish?x HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n").unwrap();
    assert_eq!((post.method(), post.path(), post.query()), ("POST", "/api/publish", Some("x")));
    assert_eq!((post.body(), post.wants_upgrade()), (Body::Length(12), false));
    let chunked = parse("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n").unwrap();
    assert_eq!(chunked.body(), Body::Chunked);
    let old = parse("GET / HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!((old.is_http10(), old.host(), old.body()), (true, "", Body::None));

    let rows = [
        ("GET / HTTP/1.1\r\n\r\n", "host-missing"),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", "host-duplicate"),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "transfer-encoding"),
        ("", "incomplete-head"),
        ("GET / HTTP/1.1\r\nHost: a\r\n", "incomplete-head"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n", "incomplete-head"),
    ];
    for (head, id) in rows {
        assert_eq!(parse(head).unwrap_err().rule().id, id, "{head:?}");
    }
}

// ------------------------------------------------------------------------------------------------ limits

#[test]
fn each_limit_is_kept_at_it_over_it_and_around_it() {
    let base = good().len();
    let at_line = |len: usize| line(format!("GET /{} HTTP/1.1", "a".repeat(len - "GET / HTTP/1.1".len())));
    let at_head = |len: usize| plus(format!("X: {}\r\n", "a".repeat(len - base - "X: \r\n".len())));
    let at_fields = |count: usize| plus((FIELDS.len()..count).map(|n| format!("X-{n}: a\r\n")).collect::<String>());

    accepted(&at_line(8192));
    check_answer(&rejected(&at_line(8193)), 414, "start-line-too-long");
    accepted(&at_head(16_384));
    check_answer(&rejected(&at_head(16_385)), 431, "head-too-long");
    accepted(&at_fields(100));
    check_answer(&rejected(&at_fields(101)), 431, "too-many-fields");
    check_answer(&rejected(&plus("X: a\r\n".repeat(96))), 431, "too-many-fields");
    check_answer(&rejected(&plus("X:\r\n".repeat(3000))), 431, "too-many-fields");
    check_answer(&rejected(&line("a".repeat(20_000))), 414, "start-line-too-long");
    // Other limits are kept as well, also by the parser alone.
    let limits = HeadLimits { request_line: 18, head: base, fields: 5 };
    assert!(Request::parse(&good(), &limits).is_ok());
    for (limits, id) in [
        (HeadLimits { request_line: 17, ..limits }, "start-line-too-long"),
        (HeadLimits { head: base - 1, ..limits }, "head-too-long"),
        (HeadLimits { fields: 4, ..limits }, "too-many-fields"),
    ] {
        assert_eq!(Request::parse(&good(), &limits).unwrap_err().rule().id, id);
    }
}

#[test]
fn a_head_that_never_ends_is_refused_at_its_cap_and_stays_refused() {
    for filler in [&b"a"[..], b"X: y\r\n", b"\r\n", b"GET / HTTP/1.1\r\n", b"\xff", b"\0"] {
        let mut reader = HeadReader::new(HeadLimits::default());
        let mut taken = 0;
        let rejection = loop {
            match reader.push(filler) {
                Ok(None) => taken += filler.len(),
                Ok(Some(_)) => panic!("{filler:?} ended"),
                Err(rejection) => break rejection,
            }
        };
        assert!(taken <= HeadLimits::default().head && reader.bytes().len() <= HeadLimits::default().head);
        assert_eq!(reader.push(b"\r\n\r\n").unwrap_err(), rejection);
    }
}

#[test]
fn no_byte_anywhere_makes_it_panic() {
    let names = [
        "Host",
        "Upgrade",
        "Connection",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "Origin",
        "Sec-WebSocket-Origin",
        "Content-Length",
        "Transfer-Encoding",
        "Cookie",
        "Expect",
    ];
    let policies = [OriginPolicy::SameHost, OriginPolicy::list(["https://example.com"]).unwrap()];
    let judge = |head: &[u8]| match shake([head]) {
        Ok((request, _)) => {
            assert!(request.response(&Acceptance::default()).unwrap().starts_with(b"HTTP/1.1 101 "));
            for policy in &policies {
                if let Err(rejection) = policy.judge(&request) {
                    assert_eq!(rejection.status(), 403);
                }
            }
        }
        Err(rejection) => {
            assert!(matches!(rejection.status(), 400..=499 | 505), "{rejection}");
            assert!(rejection.response().encode(false).ends_with(b"]\n"));
        }
    };
    for byte in 0..=255 {
        for name in names {
            let value = FIELDS.iter().find(|(field, _)| *field == name).map_or("a", |(_, value)| *value);
            let (first, second) = value.as_bytes().split_at(value.len() / 2);
            for value in [&[byte][..], &[first, &[byte], second].concat(), &[value.as_bytes(), &[byte]].concat()] {
                judge(&with(name, value));
            }
        }
    }
    // Every byte of a good head replaced by every byte; what that leaves unfinished is finished.
    let good = good();
    for at in 0..good.len() {
        for byte in 0..=255 {
            let mut head = good.clone();
            head[at] = byte;
            head.extend_from_slice(b"\r\n\r\n");
            judge(&head);
        }
    }
}

// ------------------------------------------------------------------------------------------------ origins

#[test]
fn an_origin_is_compared_as_a_whole() {
    let list = OriginPolicy::list(["https://good.com", "http://LOCALHOST:3000", "chrome-extension://abcd"]).unwrap();
    let same = OriginPolicy::SameHost;
    // Origin, allowed by the list, allowed as the same host (Host: good.com).
    let rows = [
        ("https://good.com", true, true),
        ("https://good.com:443", true, true),
        ("HTTPS://GOOD.COM", true, true),
        ("http://localhost:3000", true, false),
        ("chrome-extension://abcd", true, false),
        ("http://good.com", false, true),
        ("http://good.com:443", false, false),
        ("https://good.com:8443", false, false),
        ("https://good.com.evil", false, false),
        ("https://evilgood.com", false, false),
        ("https://good.com@evil", false, false),
        ("https://good.com%2eevil", false, false),
        ("https://good.com\u{e9}", false, false),
        ("https://sub.good.com", false, false),
        ("https://good.co", false, false),
        ("https://good.com/", false, false),
        ("https://good.com/path", false, false),
        ("https://good.com https://evil.com", false, false),
        ("https://good.com,https://evil.com", false, false),
        ("http://localhost", false, false),
        ("good.com", false, false),
        ("//good.com", false, false),
        ("://good.com", false, false),
        ("null", false, false),
        ("file://", false, false),
        ("*", false, false),
        ("", false, false),
    ];
    for (origin, listed, same_host) in rows {
        let bytes = head(LINE, format!("Origin: {origin}\r\nHost: good.com\r\n{}", good_fields_but("Host")));
        let request = accepted(&bytes);
        assert_eq!(request.origin(), Some(origin));
        assert_eq!(OriginPolicy::Any.judge(&request), Ok(()));
        for (policy, allowed) in [(&list, listed), (&same, same_host)] {
            match policy.judge(&request) {
                Ok(()) => assert!(allowed, "{policy:?} allowed {origin:?}"),
                Err(rejection) => {
                    assert!(!allowed, "{policy:?} refused {origin:?}");
                    check_answer(&rejection, 403, "origin-forbidden");
                }
            }
        }
    }
    for not_one in ["null", "*", "good.com", "https://good.com/", "https://*.good.com", ""] {
        assert!(OriginPolicy::list([not_one]).unwrap_err().to_string().contains("not an origin"), "{not_one}");
    }
}

#[test]
fn a_missing_or_doubled_origin_is_refused_by_every_policy_but_any() {
    let missing = accepted(&good());
    let doubled = accepted(&with_each("Origin", &["https://example.com", "https://example.com"]));
    assert_eq!(doubled.origin(), None);
    for policy in [OriginPolicy::SameHost, OriginPolicy::list(["https://example.com"]).unwrap()] {
        check_answer(&policy.judge(&missing).unwrap_err(), 403, "origin-missing");
        check_answer(&policy.judge(&doubled).unwrap_err(), 403, "origin-duplicate");
    }
    assert_eq!(OriginPolicy::default().judge(&doubled), Ok(()));
}

#[test]
fn version_8_says_its_origin_in_another_field() {
    let fields = good_fields_but("Sec-WebSocket-Version");
    let old = format!("{fields}Sec-WebSocket-Version: 8\r\nSec-WebSocket-Origin: http://old\r\nOrigin: http://new\r\n");
    let old = accepted(&head(LINE, old));
    assert_eq!((old.version(), old.origin()), (Version::Hybi10, Some("http://old")));
    let new = accepted(&plus("Sec-WebSocket-Origin: http://old\r\nOrigin: http://new\r\n"));
    assert_eq!((new.version(), new.origin()), (Version::Rfc6455, Some("http://new")));
}

// ------------------------------------------------------------------------------------------------ answers

#[test]
fn what_the_layers_above_decide_has_its_status_too() {
    let soon = Some(Duration::from_millis(1500));
    let rows = [
        (Rejection::not_found(), 404, "not-found", ""),
        (Rejection::forbidden(), 403, "forbidden", ""),
        (Rejection::forbidden_origin("https://evil"), 403, "origin-forbidden", ""),
        (Rejection::unauthorized("Bearer realm=\"a\""), 401, "unauthorized", "WWW-Authenticate: Bearer realm=\"a\""),
        (Rejection::unauthorized("a\r\nb"), 401, "unauthorized", "WWW-Authenticate: Bearer"),
        (Rejection::unavailable(None), 503, "unavailable", ""),
        (Rejection::unavailable(soon), 503, "unavailable", "Retry-After: 2"),
        (Rejection::too_many_requests(soon), 429, "too-many-requests", "Retry-After: 2"),
        (Rejection::request_timeout(), 408, "request-timeout", ""),
        (Rejection::application(418), 418, "application", ""),
        (Rejection::application(200), 500, "application", ""),
    ];
    for (rejection, status, id, field) in rows {
        check_answer(&rejection, status, id);
        let (lines, _) = read_response(&rejection.response());
        assert!(field.is_empty() || lines.iter().any(|line| line == field), "{lines:?}");
    }
}

#[test]
fn the_versions_spoken_are_told_to_who_asks_for_another() {
    for head in [with("Sec-WebSocket-Version", "7"), without("Sec-WebSocket-Version")] {
        let (lines, _) = read_response(&rejected(&head).response());
        assert!(lines.contains(&"Sec-WebSocket-Version: 13, 8".to_owned()), "{lines:?}");
    }
}

#[test]
fn an_answer_states_its_length_and_leaves_its_body_out_for_head() {
    let response = Response::text(200, "ok").with_field("X-A", "b").unwrap();
    assert_eq!(
        String::from_utf8(response.encode(false)).unwrap(),
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
         X-Content-Type-Options: nosniff\r\nX-A: b\r\nContent-Length: 2\r\n\r\nok"
    );
    assert!(response.encode(true).ends_with(b"Content-Length: 2\r\n\r\n"));
    let empty = String::from_utf8(Response::new(204).encode(false)).unwrap();
    assert_eq!(empty, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    assert_eq!(Response::new(101).status(), 500, "a 101 is not made here");
}

#[test]
fn what_a_client_sent_is_quoted_short_and_in_one_line() {
    let long = rejected(&with("Upgrade", "x".repeat(5000)));
    assert!(long.to_string().len() < 300, "{long}");
    let odd = rejected(&with("Sec-WebSocket-Protocol", "a\u{202e}\u{9b}2Jb"));
    assert!(odd.to_string().contains("\\u{202e}\\u{9b}"), "{odd}");
}
