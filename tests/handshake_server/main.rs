//! What a server makes of an opening handshake: a row for each way to get it wrong, and for each odd way that is right.
//!
//! No sockets: bytes go into a `HeadReader`, and an `UpgradeRequest` or a `Rejection` comes out. Every row runs whole,
//! one byte at a time, and cut at each point, and must come out the same.

mod answers;
mod exchange;
mod limits;
mod origins;
mod reading;

use exchange::{
    FIELDS, LINE, accepted, check_answer, good, good_fields_but, head, line, plus, rejected, with, with_each, without,
};
use loopwire::handshake::Acceptance;

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
