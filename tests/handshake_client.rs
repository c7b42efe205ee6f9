//! What a client asks, and what it makes of the answer: a row for each way a server or a proxy can get it wrong.
//!
//! No sockets. Every answer runs whole, one byte at a time, and cut at each point, and must come out the same.

use loopwire::deflate::DeflateConfig;
use loopwire::handshake::{
    Acceptance, Agreed, ClientHandshake, ClientOptions, HandshakeError, HeadLimits, HeadReader, Request,
    UpgradeRequest, Uri, Version,
};

const NONCE: [u8; 16] = *b"the sample nonce";
const STATUS: &str = "HTTP/1.1 101 Switching Protocols";
const FIELDS: [(&str, &str); 3] =
    [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")];

// ------------------------------------------------------------------------------------------------ building answers

fn head(status: &str, fields: &str) -> Vec<u8> {
    format!("{status}\r\n{fields}\r\n").into_bytes()
}

fn good_fields_but(name: &str) -> String {
    let lines = FIELDS.iter().filter(|(field, _)| *field != name);
    lines.map(|(field, value)| [field, ": ", value, "\r\n"].concat()).collect()
}

fn good() -> Vec<u8> {
    head(STATUS, &good_fields_but(""))
}

fn without(name: &str) -> Vec<u8> {
    head(STATUS, &good_fields_but(name))
}

fn with(name: &str, value: &str) -> Vec<u8> {
    head(STATUS, &format!("{}{name}: {value}\r\n", good_fields_but(name)))
}

fn plus(lines: &str) -> Vec<u8> {
    head(STATUS, &(good_fields_but("") + lines))
}

// ------------------------------------------------------------------------------------------------ running them

fn offering_everything() -> ClientOptions {
    ClientOptions {
        protocols: vec!["chat".to_owned(), "superchat".to_owned()],
        deflate: Some(DeflateConfig::default()),
        ..ClientOptions::default()
    }
}

fn uri() -> Uri {
    Uri::parse("ws://example.com/chat").unwrap()
}

fn request(uri: &Uri, options: &ClientOptions) -> String {
    let (_, request) = ClientHandshake::with_nonce(uri, options, NONCE).unwrap();
    String::from_utf8(request).unwrap()
}

/// Feeds `pieces`, then the end of the stream. With the agreement comes what was left over.
fn answer<'a>(
    options: &ClientOptions,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(Agreed, Vec<u8>), HandshakeError> {
    let (mut handshake, _) = ClientHandshake::with_nonce(&uri(), options, NONCE).unwrap();
    let mut pieces = pieces.into_iter();
    for piece in &mut pieces {
        if let Some((agreed, used)) = handshake.push(piece)? {
            let mut left = piece[used..].to_vec();
            left.extend(pieces.flatten());
            return Ok((agreed, left));
        }
    }
    Err(handshake.give_up())
}

/// Runs `bytes` at all three chunkings, and gives what came out of all of them.
fn answer_every_way(options: &ClientOptions, bytes: &[u8]) -> Result<(Agreed, Vec<u8>), HandshakeError> {
    let whole = answer(options, [bytes]);
    let summary = |outcome: &Result<(Agreed, Vec<u8>), HandshakeError>| match outcome {
        Ok((agreed, left)) => Ok((format!("{agreed:?}"), left.clone())),
        Err(error) => Err(error.clone()),
    };
    let expected = summary(&whole);
    assert_eq!(summary(&answer(options, bytes.chunks(1))), expected, "one byte at a time");
    // What is too long is cut only here and there: the cost would be the square of its length.
    let step = if bytes.len() < 2000 { 1 } else { 997 };
    for cut in (0..=bytes.len()).step_by(step) {
        let (first, second) = bytes.split_at(cut);
        assert_eq!(summary(&answer(options, [first, second])), expected, "cut at {cut}");
    }
    whole
}

fn agreed(bytes: &[u8]) -> Agreed {
    match answer_every_way(&offering_everything(), bytes) {
        Ok((agreed, _)) => agreed,
        Err(error) => panic!("{error}\n{}", String::from_utf8_lossy(bytes)),
    }
}

fn failed(bytes: &[u8]) -> HandshakeError {
    match answer_every_way(&offering_everything(), bytes) {
        Err(error) => error,
        Ok(_) => panic!("accepted:\n{}", String::from_utf8_lossy(bytes)),
    }
}

// ------------------------------------------------------------------------------------------------ requests

#[test]
fn the_request_is_the_rfc_s_byte_for_byte() {
    let mut options = ClientOptions { origin: Some("http://example.com".to_owned()), ..offering_everything() };
    options.deflate = None;
    let uri = Uri::parse("ws://server.example.com/chat").unwrap();
    assert_eq!(
        request(&uri, &options),
        "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://example.com\r\n\
         Sec-WebSocket-Protocol: chat, superchat\r\n\r\n"
    );
}

#[test]
fn options_and_address_become_fields() {
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let options = ClientOptions {
        fields: vec![field("Cookie", "a=b"), field("host", "other.example:81")],
        origin: Some("http://old".to_owned()),
        version: Version::Hybi10,
        deflate: Some(DeflateConfig::default()),
        ..ClientOptions::default()
    };
    let text = request(&Uri::parse("wss://user:pass@[::1]:8443/a?b").unwrap(), &options);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "GET /a?b HTTP/1.1");
    for line in [
        "Host: other.example:81",
        "Sec-WebSocket-Version: 8",
        "Sec-WebSocket-Origin: http://old",
        "Authorization: Basic dXNlcjpwYXNz",
        "Cookie: a=b",
    ] {
        assert_eq!(lines.iter().filter(|found| **found == line).count(), 1, "{line} in {text}");
    }
    assert_eq!(text.matches("ost: ").count(), 1, "one Host: {text}");
    assert!(text.contains("\r\nSec-WebSocket-Extensions: permessage-deflate"), "{text}");

    let own = ClientOptions { fields: vec![field("authorization", "Bearer x")], ..ClientOptions::default() };
    let text = request(&Uri::parse("ws://user:pass@a/").unwrap(), &own);
    assert!(text.contains("\r\nauthorization: Bearer x\r\n") && !text.contains("Basic"), "{text}");
    let unix = Uri::parse("ws+unix:/run/a.sock:/b").unwrap();
    assert!(request(&unix, &ClientOptions::default()).starts_with("GET /b HTTP/1.1\r\nHost: localhost\r\n"));
}

#[test]
fn nothing_that_the_caller_gives_ends_a_line() {
    let refused = |change: &dyn Fn(&mut ClientOptions)| {
        let mut options = ClientOptions::default();
        change(&mut options);
        ClientHandshake::new(&uri(), &options).err().map(|error| error.rule().id)
    };
    let field = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    for bad in ["a\r\nX: y", "a\nb", "a\rb", "a\0b", "\x7f"] {
        assert_eq!(refused(&|options| options.origin = Some(bad.to_owned())), Some("field-unsendable"), "{bad:?}");
        assert_eq!(
            refused(&|options| options.protocols = vec![bad.to_owned()]),
            Some("protocol-unsendable"),
            "{bad:?}"
        );
        for name in ["X", "Host", "Authorization"] {
            assert_eq!(refused(&|options| options.fields = field(name, bad)), Some("field-unsendable"), "{bad:?}");
        }
        assert_eq!(refused(&|options| options.fields = field(bad, "a")), Some("field-unsendable"), "{bad:?}");
        assert!(Uri::parse(&format!("ws://{bad}/")).is_err() && Uri::parse(&format!("ws://a/{bad}")).is_err());
    }
    for bad in ["", "a b", "a,b", "é"] {
        assert_eq!(
            refused(&|options| options.protocols = vec![bad.to_owned()]),
            Some("protocol-unsendable"),
            "{bad:?}"
        );
    }
    let twice = vec!["a".to_owned(), "a".to_owned()];
    assert_eq!(refused(&|options| options.protocols.clone_from(&twice)), Some("protocol-offered-twice"));
    for name in ["Upgrade", "connection", "Sec-WebSocket-Key", "sec-websocket-protocol", "Origin", "Content-Length"] {
        assert_eq!(refused(&|options| options.fields = field(name, "a")), Some("field-reserved"), "{name}");
    }
}

#[test]
fn every_handshake_has_its_own_key() {
    let key = || {
        let (_, request) = ClientHandshake::new(&uri(), &ClientOptions::default()).unwrap();
        let limits = HeadLimits::default();
        Request::parse(&request, &limits).unwrap().fields().get("Sec-WebSocket-Key").unwrap().to_owned()
    };
    let keys: std::collections::HashSet<String> = (0..1000).map(|_| key()).collect();
    assert_eq!(keys.len(), 1000);
}

#[test]
fn our_client_and_our_server_agree() {
    for version in [Version::Rfc6455, Version::Hybi10] {
        let options = ClientOptions { version, origin: Some("https://a".to_owned()), ..offering_everything() };
        let (mut client, bytes) = ClientHandshake::new(&uri(), &options).unwrap();
        let mut reader = HeadReader::new(HeadLimits::default());
        assert_eq!(reader.push(&bytes), Ok(Some(bytes.len())));
        let request = Request::parse(reader.bytes(), &HeadLimits::default()).unwrap();
        let request = UpgradeRequest::from_request(request).unwrap();
        assert_eq!((request.version(), request.origin()), (version, Some("https://a")));
        let acceptance = Acceptance {
            protocol: request.protocols().get(1).cloned(),
            deflate: DeflateConfig::default().answer(request.offers()),
            ..Acceptance::default()
        };
        let response = request.response(&acceptance).unwrap();
        let (agreed, used) = client.push(&response).unwrap().unwrap();
        assert_eq!(used, response.len());
        assert_eq!(agreed.protocol.as_deref(), Some("superchat"));
        let windows =
            |params: loopwire::deflate::DeflateParams| (params.server_max_window_bits, params.client_max_window_bits);
        assert_eq!(agreed.deflate.map(windows), acceptance.deflate.map(windows));
        assert!(agreed.deflate.is_some());
    }
}

// ------------------------------------------------------------------------------------------------ answers

#[test]
fn every_bad_answer_fails_and_names_its_rule() {
    let accept = "Sec-WebSocket-Accept";
    let accepted_twice = format!("{accept}: {}\r\n", FIELDS[2].1);
    let rows: Vec<(&str, Vec<u8>, &str)> = vec![
        // The head.
        ("nothing", Vec::new(), "answer-truncated"),
        ("half a head", good()[..40].to_vec(), "answer-truncated"),
        ("all but the last byte", good()[..good().len() - 1].to_vec(), "answer-truncated"),
        ("an SSH server", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(), "start-line"),
        ("a TLS alert", b"\x15\x03\x01\x00\x02\x02\x0a".to_vec(), "tls-on-plain-port"),
        ("a frame", b"\x81\x05Hello".to_vec(), "start-line"),
        ("a blank line first", [b"\r\n", &good()[..]].concat(), "start-line"),
        ("HTTP/2", head("HTTP/2 101", &good_fields_but("")), "start-line"),
        ("HTTP/1.0", head("HTTP/1.0 101 Switching Protocols", &good_fields_but("")), "answer-http-version"),
        ("no status", head("HTTP/1.1", &good_fields_but("")), "start-line"),
        ("status of two digits", head("HTTP/1.1 99 x", &good_fields_but("")), "start-line"),
        ("status of four digits", head("HTTP/1.1 1010", &good_fields_but("")), "start-line"),
        ("status signed", head("HTTP/1.1 +10 x", &good_fields_but("")), "start-line"),
        ("status 0xx", head("HTTP/1.1 010 x", &good_fields_but("")), "start-line"),
        ("two spaces", head("HTTP/1.1  101 x", &good_fields_but("")), "start-line"),
        ("bare LF", b"HTTP/1.1 101 x\nUpgrade: websocket\n\n".to_vec(), "bare-line-feed"),
        ("a folded line", plus("X: y\r\n z\r\n"), "fold"),
        ("no colon", plus("X\r\n"), "no-colon"),
        ("NUL", plus("X: \0\r\n"), "control-byte"),
        ("a head too long", plus(&format!("X: {}\r\n", "y".repeat(16_384))), "head-too-long"),
        ("a status line too long", head(&"HTTP/1.1 101 x".replace('x', &"x".repeat(9000)), ""), "start-line-too-long"),
        ("too many fields", plus(&"X: y\r\n".repeat(98)), "too-many-fields"),
        ("endless interim answers", b"HTTP/1.1 100 Continue\r\n\r\n".repeat(1000), "head-too-long"),
        // Upgrade and Connection.
        ("no Upgrade", without("Upgrade"), "answer-upgrade"),
        ("Upgrade h2c", with("Upgrade", "h2c"), "answer-upgrade"),
        ("Upgrade a list", with("Upgrade", "h2c, websocket"), "answer-upgrade"),
        ("Upgrade twice", plus("Upgrade: websocket\r\n"), "answer-upgrade"),
        ("Upgrade empty", with("Upgrade", ""), "answer-upgrade"),
        ("no Connection", without("Connection"), "answer-connection"),
        ("Connection close", with("Connection", "close"), "answer-connection"),
        // Accept.
        ("no Accept: nobody asked for this 101", without(accept), "accept-missing"),
        ("Accept empty", with(accept, ""), "accept-wrong"),
        ("Accept of another key", with(accept, "Kfh9QIsMVZcl6xEPYxPHzW8SZ8w="), "accept-wrong"),
        ("Accept in the wrong case", with(accept, &FIELDS[2].1.to_lowercase()), "accept-wrong"),
        ("Accept the key itself", with(accept, "dGhlIHNhbXBsZSBub25jZQ=="), "accept-wrong"),
        ("Accept cut", with(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo"), "accept-wrong"),
        ("Accept twice", plus(&accepted_twice), "accept-duplicate"),
        // Protocol.
        ("another protocol", plus("Sec-WebSocket-Protocol: x\r\n"), "protocol-not-offered"),
        ("protocol in the wrong case", plus("Sec-WebSocket-Protocol: Chat\r\n"), "protocol-not-offered"),
        ("protocol empty", plus("Sec-WebSocket-Protocol:\r\n"), "protocol-not-offered"),
        ("two protocols", plus("Sec-WebSocket-Protocol: chat, superchat\r\n"), "protocol-not-offered"),
        (
            "two lines of protocols",
            plus("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: superchat\r\n"),
            "protocol-ambiguous",
        ),
        // Extensions.
        ("another extension", plus("Sec-WebSocket-Extensions: x\r\n"), "extension-not-offered"),
        (
            "one offered and another",
            plus("Sec-WebSocket-Extensions: permessage-deflate, x\r\n"),
            "extension-not-offered",
        ),
        (
            "compression twice",
            plus("Sec-WebSocket-Extensions: permessage-deflate, permessage-deflate\r\n"),
            "extension-not-offered",
        ),
        ("extensions empty", plus("Sec-WebSocket-Extensions:\r\n"), "answer-extensions-invalid"),
        (
            "extensions malformed",
            plus("Sec-WebSocket-Extensions: permessage-deflate;\r\n"),
            "answer-extensions-invalid",
        ),
        (
            "extensions on two lines",
            plus("Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Extensions: x\r\n"),
            "answer-extensions-invalid",
        ),
        ("a parameter unknown", plus("Sec-WebSocket-Extensions: permessage-deflate; x\r\n"), "deflate-parameters"),
        (
            "a parameter out of range",
            plus("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=16\r\n"),
            "deflate-parameters",
        ),
        (
            "a parameter twice",
            plus(
                "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; server_no_context_takeover\r\n",
            ),
            "deflate-parameters",
        ),
    ];
    for (name, bytes, id) in rows {
        println!("{name}");
        let error = failed(&bytes);
        assert_eq!(error.rule().id, id, "{error}");
        let line = error.to_string();
        assert!(line.contains(error.section()) && line.contains(error.rule().sentence), "{line}");
        assert!(!line.contains(['\r', '\n']), "one log line: {line}");
    }
}

#[test]
fn nothing_is_agreed_to_that_was_not_offered() {
    let plain = ClientOptions::default();
    let rows = [
        ("Sec-WebSocket-Protocol: chat\r\n", "protocol-not-offered"),
        ("Sec-WebSocket-Extensions: permessage-deflate\r\n", "extension-not-offered"),
    ];
    for (line, id) in rows {
        assert_eq!(answer_every_way(&plain, &plus(line)).unwrap_err().rule().id, id);
    }
    assert!(answer_every_way(&plain, &good()).is_ok());
}

#[test]
fn good_answers_are_agreed_to() {
    let plain = agreed(&good());
    assert_eq!((plain.protocol, plain.deflate.is_some(), plain.fields.len()), (None, false, 3));
    let chosen = agreed(&plus("Sec-WebSocket-Protocol: superchat\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"));
    assert_eq!(chosen.protocol.as_deref(), Some("superchat"));
    assert_eq!(chosen.fields.all("set-cookie").collect::<Vec<_>>(), ["a", "b"]);
    let compressed = agreed(&plus("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\n"));
    assert_eq!(compressed.deflate.map(|params| params.server_max_window_bits), Some(10));

    let fields = good_fields_but("");
    agreed(&with("Upgrade", "WebSocket"));
    agreed(&with("Connection", "keep-alive, UPGRADE"));
    agreed(&with("Sec-WebSocket-Accept", " \t s3pPLMBiTxaQ9kYGzzhZRbK+xOo= "));
    agreed(&head("HTTP/1.1 101 ", &fields));
    agreed(&head("HTTP/1.1 101", &fields));
    agreed(&head("HTTP/1.1 101 Protokolle wechseln: äöü", &fields));
    agreed(&[&b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"[..], &good()].concat());
}

#[test]
fn interim_answers_count_towards_the_same_cap() {
    let interim = format!("HTTP/1.1 102 Wait\r\nX: {}\r\n\r\n", "y".repeat(4000)).into_bytes();
    let within = [&interim.repeat(4)[..], &good()].concat();
    assert!(within.len() <= 16_384);
    agreed(&within);
    let over = [&interim.repeat(5)[..], &good()].concat();
    assert!(failed(&over).to_string().starts_with("a head of more than 16384 bytes"));
}

#[test]
fn the_limits_of_an_answer_can_be_set() {
    let bytes = plus("X: y\r\n");
    let limits = HeadLimits { request_line: STATUS.len(), head: bytes.len(), fields: FIELDS.len() + 1 };
    let answered = |head| answer_every_way(&ClientOptions { head, ..offering_everything() }, &bytes);
    assert!(answered(limits).is_ok());
    for (head, rule) in [
        (HeadLimits { request_line: limits.request_line - 1, ..limits }, "start-line-too-long"),
        (HeadLimits { head: limits.head - 1, ..limits }, "head-too-long"),
        (HeadLimits { fields: limits.fields - 1, ..limits }, "too-many-fields"),
    ] {
        assert_eq!(answered(head).unwrap_err().rule().id, rule);
    }
}

#[test]
fn what_follows_the_head_is_frames() {
    let frames = b"\x81\x05Hello\r\n\r\n";
    let (_, left) = answer_every_way(&offering_everything(), &[&good()[..], frames].concat()).unwrap();
    assert_eq!(left, frames);
}

#[test]
fn a_refusal_carries_its_status_fields_and_the_beginning_of_its_body() {
    // Status line and fields, what follows, the body that is kept.
    let long = "x".repeat(5000);
    let rows = [
        ("HTTP/1.1 404 Not Found", "Content-Length: 4\r\n", "gone, and more", "gone"),
        ("HTTP/1.1 404 Not Found", "Content-Length: 0\r\n", "", ""),
        ("HTTP/1.1 404 Not Found", "Content-Length: 9\r\n", "gone", "gone"),
        ("HTTP/1.1 500 Oops", "", "until the end", "until the end"),
        ("HTTP/1.1 500 Oops", "", &long, &long[..4096]),
        ("HTTP/1.1 500 Oops", "Content-Length: 5000\r\n", &long, &long[..4096]),
        ("HTTP/1.1 500 Oops", "Content-Length: 99999999999999999999\r\n", "odd", "odd"),
        ("HTTP/1.1 304 Not Modified", "Content-Length: 9\r\n", "", ""),
        ("HTTP/1.1 302 Found", "Location: ws://b/\r\nContent-Length: 0\r\n", "", ""),
        ("HTTP/1.1 401 Unauthorized", "WWW-Authenticate: Basic\r\nContent-Length: 0\r\n", "", ""),
        ("HTTP/1.0 200 OK", "Upgrade: websocket\r\n", "<html>", "<html>"),
        ("HTTP/1.1 426 Upgrade Required", "Sec-WebSocket-Version: 8\r\nContent-Length: 0\r\n", "", ""),
    ];
    for (status, fields, follows, body) in rows {
        let bytes = [&head(status, fields)[..], follows.as_bytes()].concat();
        let error = failed(&bytes);
        let HandshakeError::Refused(refusal) = &error else { panic!("{error}") };
        assert_eq!(Some(refusal.status), status[9..12].parse().ok());
        assert_eq!(error.status(), Some(refusal.status));
        assert_eq!(refusal.fields.len(), fields.matches("\r\n").count());
        assert_eq!(String::from_utf8_lossy(&refusal.body), body);
        assert!(error.to_string().contains(&status[9..12]), "{error}");
    }
    let redirect = failed(&head("HTTP/1.1 301 x", "Location: wss://b/\r\nContent-Length: 0\r\n"));
    assert!(redirect.to_string().contains("wss://b/"), "{redirect}");
}

#[test]
fn no_byte_anywhere_makes_it_panic() {
    let good = plus(
        "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=10\r\n",
    );
    agreed(&good);
    let options = offering_everything();
    for at in 0..good.len() {
        for byte in 0..=255 {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes.extend_from_slice(b"\r\n\r\n");
            if let Err(error) = answer(&options, [&bytes[..]]) {
                assert!(!error.to_string().is_empty() && !error.section().is_empty());
            }
        }
    }
}
