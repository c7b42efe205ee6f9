//! TLS in memory: two sessions, or one and a plain rustls, joined by two byte queues that take and give as little as a
//! test wants. Certificates are made at run time.

use std::fs;
use std::io::{self, IoSlice, Read, Write};

#[path = "common/certificates.rs"]
mod certificates;
#[path = "common/pipes.rs"]
mod pipes;

use certificates::{Authority, Folder};
use loopwire::net::{Stream, TlsAcceptor, TlsConnector, TlsError, TlsStream};
use pipes::{Pipe, pipes};
use rcgen::{CertificateParams, date_time_ymd};
use rustls::pki_types::ServerName;

type Tls = TlsStream<Pipe>;

/// Drives both handshakes until neither moves; what became of each.
fn shake(client: &mut Tls, server: &mut Tls) -> (io::Result<bool>, io::Result<bool>) {
    loop {
        let before = (client.get_ref().sent(), server.get_ref().sent());
        let outcome = (client.handshake(), server.handshake());
        let done = |outcome: &io::Result<bool>| !matches!(outcome, Ok(false));
        if done(&outcome.0) && done(&outcome.1) || before == (client.get_ref().sent(), server.get_ref().sent()) {
            return outcome;
        }
    }
}

fn joined(connector: &TlsConnector, acceptor: &TlsAcceptor, host: &str, chunk: usize) -> (Tls, Tls) {
    let (one, other) = pipes(chunk);
    (connector.connect(one, host).unwrap(), acceptor.accept(other).unwrap())
}

/// Two sessions that have shaken hands.
fn connected() -> (Tls, Tls) {
    let authority = Authority::new();
    let acceptor = authority.issue(&["example.com"]).acceptor();
    let (mut client, mut server) = joined(&authority.connector(), &acceptor, "example.com", usize::MAX);
    assert!(matches!(shake(&mut client, &mut server), (Ok(true), Ok(true))));
    (client, server)
}

/// Everything that can be read now.
fn drain(stream: &mut impl Read) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; 128 * 1024]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return all,
            Ok(len) => all.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return all,
            Err(error) => panic!("{error}"),
        }
    }
}

fn would_block<T: std::fmt::Debug>(outcome: io::Result<T>) {
    assert_eq!(outcome.expect_err("it should wait").kind(), io::ErrorKind::WouldBlock);
}

fn tls_error(error: &io::Error) -> &TlsError {
    error.get_ref().and_then(|inner| inner.downcast_ref()).unwrap_or_else(|| panic!("no TLS error: {error}"))
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}

// ---- The session ----

#[test]
fn a_handshake_and_an_exchange_work_at_any_chunking() {
    let authority = Authority::new();
    let acceptor = authority.issue(&["example.com"]).acceptor();
    for chunk in [1, 7, 1000, usize::MAX] {
        let (mut client, mut server) = joined(&authority.connector(), &acceptor, "example.com", chunk);
        assert!(client.handshaking() && server.handshaking());
        would_block(client.write(b"too early"));
        let outcome = shake(&mut client, &mut server);
        assert!(matches!(outcome, (Ok(true), Ok(true))), "{chunk}: {outcome:?}");
        let info = server.info().unwrap();
        assert_eq!((info.version.as_str(), info.alpn.as_deref()), ("TLSv1_3", Some("http/1.1")));
        assert_eq!(info.server_name.as_deref(), Some("example.com"));
        assert!(info.to_string().starts_with("TLSv1_3, TLS13_"), "{info}");
        for message in [b"hello".to_vec(), pattern(40_000)] {
            assert_eq!(client.write(&message).unwrap(), message.len());
            assert_eq!(drain(&mut server), message, "chunk {chunk}");
            assert_eq!(server.write(&message).unwrap(), message.len());
            assert_eq!(drain(&mut client), message, "chunk {chunk}");
        }
    }
}

#[test]
fn a_client_hello_in_records_of_one_byte_is_understood() {
    let authority = Authority::new();
    let acceptor = authority.issue(&["example.com"]).acceptor();
    let name = ServerName::try_from("example.com").unwrap();
    let mut client = rustls::ClientConnection::new(authority.rustls(&["http/1.1"]), name).unwrap();
    let (mut far, near) = pipes(1);
    let mut server = acceptor.accept(near).unwrap();

    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    assert_eq!(usize::from(u16::from_be_bytes([hello[3], hello[4]])), hello.len() - 5, "one record");
    for &byte in &hello[5..] {
        for byte in [22, 3, 1, 0, 1, byte] {
            far.write_all(&[byte]).unwrap();
            let shaken = server.handshake().expect("still a proper handshake");
            assert!(!shaken);
        }
    }
    while client.is_handshaking() || server.handshaking() {
        while client.read_tls(&mut far).is_ok_and(|len| len > 0) {
            client.process_new_packets().unwrap();
        }
        while client.wants_write() {
            client.write_tls(&mut far).unwrap();
        }
        server.handshake().unwrap();
    }
}

#[test]
fn plaintext_that_is_held_is_delivered_without_the_socket() {
    let (mut client, mut server) = connected();
    let message = pattern(20_000);
    assert_eq!(client.write(&message).unwrap(), message.len());
    let mut received = Vec::new();
    let mut piece = [0; 100];
    let len = server.read(&mut piece).unwrap();
    received.extend_from_slice(&piece[..len]);
    assert!(server.has_buffered_plaintext());
    while received.len() < message.len() {
        let len = server.read(&mut piece).unwrap();
        received.extend_from_slice(&piece[..len]);
    }
    assert_eq!(received, message);
    assert!(!server.has_buffered_plaintext());
    would_block(server.read(&mut piece));
}

#[test]
fn data_behind_the_last_handshake_message_is_not_lost() {
    let authority = Authority::new();
    let acceptor = authority.issue(&["example.com"]).acceptor();
    let (mut client, mut server) = joined(&authority.connector(), &acceptor, "example.com", usize::MAX);
    assert!(!client.handshake().unwrap());
    assert!(!server.handshake().unwrap());
    assert!(client.handshake().unwrap());
    assert_eq!(client.write(b"at once").unwrap(), 7);
    assert!(server.handshake().unwrap());
    assert!(server.has_buffered_plaintext());
    assert_eq!(drain(&mut server), b"at once");
}

#[test]
fn a_big_write_survives_short_writes_and_is_bounded() {
    for (chunk, capacity) in [(1, 3), (4096, 5000), (usize::MAX, 70_000)] {
        let (mut client, mut server) = connected();
        // The handshake is over; now the way gets narrow.
        let message = pattern(if chunk == 1 { 3_000 } else { 1_000_000 });
        client.get_ref().narrow(chunk, capacity);
        let (mut sent, mut received) = (0, Vec::new());
        while received.len() < message.len() {
            if sent < message.len() {
                match client.write(&message[sent..]) {
                    Ok(len) => {
                        assert!(len > 0);
                        sent += len;
                        assert!(sent - received.len() <= 64 * 1024 + capacity + 16 * 1024, "no more than that waits");
                    }
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
            } else {
                match client.flush() {
                    Ok(()) => assert!(!client.wants_write()),
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
            }
            received.extend(drain(&mut server));
        }
        assert_eq!(received, message);
    }
}

#[test]
fn a_write_is_refused_only_when_the_stream_below_has_just_refused() {
    // Readiness is edge-triggered: whoever is refused without that waits for ever.
    let (mut client, mut server) = connected();
    drain(&mut client);
    client.get_ref().narrow(usize::MAX, 10_000);
    let message = pattern(200_000);
    let mut sent = 0;
    while let Ok(len) = client.write(&message[sent..]) {
        sent += len;
    }
    assert!(client.wants_write());
    client.get_ref().narrow(usize::MAX, 1 << 20);
    assert_eq!(client.write(&message[sent..]).unwrap(), message.len() - sent);
    assert!(!client.wants_write());
    assert_eq!(drain(&mut server), message);
}

#[test]
fn small_slices_share_a_record() {
    let (mut client, mut server) = connected();
    drain(&mut client);
    let before = server.get_ref().sent().len();
    let slices = [b"one ".as_slice(), b"", b"two ", b"three"].map(IoSlice::new);
    assert_eq!(server.write_vectored(&slices).unwrap(), 13);
    assert_eq!(server.get_ref().sent().len() - before, 5 + 13 + 1 + 16, "header, bytes, type, tag");
    assert_eq!(drain(&mut client), b"one two three");
    assert_eq!(server.write_vectored(&[IoSlice::new(b"")]).unwrap(), 0);
}

#[test]
fn an_announced_end_and_a_truncation_are_told_apart() {
    let (mut client, mut server) = connected();
    let mut buffer = [0; 10];
    client.write_all(b"bye").unwrap();
    client.shutdown_write().unwrap();
    assert_eq!(drain(&mut server), b"bye");
    assert_eq!(server.read(&mut buffer).unwrap(), 0);
    assert!(!server.is_truncated());
    // The other direction is still open.
    server.write_all(b"goodbye").unwrap();
    assert_eq!(drain(&mut client), b"goodbye");
    client.write(b"no").expect_err("nothing follows a close_notify");

    let (client, mut server) = connected();
    client.get_ref().clone().shutdown_write().unwrap();
    assert_eq!(server.read(&mut buffer).unwrap(), 0);
    assert_eq!(server.read(&mut buffer).unwrap(), 0);
    assert!(server.is_truncated());
}

#[test]
fn a_close_notify_waits_for_room() {
    let (mut client, mut server) = connected();
    drain(&mut client);
    server.get_ref().narrow(1, 10);
    would_block(server.shutdown_write());
    while let Err(error) = server.shutdown_write() {
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(drain(&mut client).is_empty());
    }
    assert!(drain(&mut client).is_empty());
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    assert!(!client.is_truncated());
}

#[test]
fn an_end_in_the_handshake_is_an_error() {
    let authority = Authority::new();
    let acceptor = authority.issue(&["example.com"]).acceptor();
    for cut in [0, 1, 5, 100] {
        let (mut far, near) = pipes(usize::MAX);
        let mut client = authority.connector().connect(far.clone(), "example.com").unwrap();
        client.handshake().unwrap();
        far.outgoing.lock().unwrap().bytes.truncate(cut);
        far.shutdown_write().unwrap();
        let mut server = acceptor.accept(near).unwrap();
        let error = server.handshake().unwrap_err();
        assert!(matches!(tls_error(&error), TlsError::Ended), "{error}");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}

#[test]
fn damage_fails_the_session_and_the_peer_is_told() {
    let (mut client, mut server) = connected();
    drain(&mut client);
    client.write_all(b"before").unwrap();
    let intact = client.get_ref().sent().len();
    client.write_all(b"damaged").unwrap();
    client.get_ref().outgoing.lock().unwrap().bytes[intact + 7] ^= 1;
    let mut buffer = vec![0; 100_000];
    assert_eq!(server.read(&mut buffer).unwrap(), 6, "what came before is delivered");
    let error = server.read(&mut buffer).unwrap_err();
    assert!(matches!(tls_error(&error), TlsError::Peer(_)), "{error}");
    server.write(b"x").expect_err("the session is over");
    // What still comes is read and thrown away, so that closing the socket does not reset it.
    client.write_all(b"more").unwrap();
    would_block(server.read(&mut buffer));
    let error = client.read(&mut buffer).unwrap_err();
    assert_eq!(error.to_string(), "the peer ended the TLS session with the alert bad_record_mac");
}

#[test]
fn other_protocols_on_a_tls_port_are_recognised() {
    let authority = Authority::new();
    let acceptor = authority.issue(&["example.com"]).acceptor();
    let rows: [(&[u8], &str); 4] = [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\\r\\n"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP/1.1 400 Bad"),
        (b"\x81\x85\x01\x02\x03\x04hello!", "\\x81\\x85\\x01\\x02\\x03\\x04hello!"),
        (b"SSH-2.0-x\r\n", "SSH-2.0-x\\r\\n"),
    ];
    for (bytes, found) in rows {
        for chunk in [1, usize::MAX] {
            for as_server in [true, false] {
                let (mut far, near) = pipes(chunk);
                far.write_all(bytes).unwrap();
                let mut stream = if as_server {
                    acceptor.accept(near).unwrap()
                } else {
                    authority.connector().connect(near, "example.com").unwrap()
                };
                let error = stream.handshake().unwrap_err();
                let TlsError::NotTls { found: seen } = tls_error(&error) else { panic!("{error}") };
                assert!(found.starts_with(seen.as_str()) && !seen.is_empty(), "{seen}");
                if chunk > 1 {
                    assert_eq!(seen, found);
                }
            }
        }
    }
}

// ---- Application protocols, names, resumption ----

#[test]
fn only_http_1_1_is_spoken_inside() {
    let authority = Authority::new();
    let acceptor = authority.issue(&["example.com"]).acceptor();
    let rows: [(&[&str], Option<Option<&str>>); 4] = [
        (&[], Some(None)),
        (&["http/1.1"], Some(Some("http/1.1"))),
        (&["h2", "http/1.1"], Some(Some("http/1.1"))),
        (&["h2"], None),
    ];
    for (offered, outcome) in rows {
        let (mut far, near) = pipes(usize::MAX);
        let mut server = acceptor.accept(near).unwrap();
        let name = ServerName::try_from("example.com").unwrap();
        let mut client = rustls::ClientConnection::new(authority.rustls(offered), name).unwrap();
        let (mut of_client, mut of_server) = (Ok(()), Ok(false));
        while of_client.is_ok() && matches!(of_server, Ok(false)) {
            while client.wants_write() {
                client.write_tls(&mut far).unwrap();
            }
            of_server = server.handshake();
            let _ = client.read_tls(&mut far);
            of_client = client.process_new_packets().map(|_| ());
        }
        if let Some(alpn) = outcome {
            assert!(of_server.unwrap(), "{offered:?}");
            assert_eq!(server.info().unwrap().alpn.as_deref(), alpn, "{offered:?}");
        } else {
            let error = of_server.unwrap_err();
            assert!(error.to_string().contains("http/1.1"), "{error}");
            let alert = rustls::AlertDescription::NoApplicationProtocol;
            assert_eq!(of_client, Err(rustls::Error::AlertReceived(alert)), "{offered:?}");
        }
    }
}

#[test]
fn the_certificate_follows_the_name_asked_for() {
    let authority = Authority::new();
    let folder = Folder::new("sni");
    let names: [&[&str]; 3] = [&["one.example"], &["two.example", "*.two.example"], &["10.1.2.3"]];
    let files: Vec<_> = (0..3).map(|at| folder.files(&at.to_string())).collect();
    for (names, files) in names.iter().zip(&files) {
        authority.issue(names).write(files);
    }
    let acceptor = TlsAcceptor::from_many_files(files).unwrap();
    let rows = [
        ("one.example", true),
        ("two.example", true),
        ("TWO.example", true),
        ("deep.two.example", true),
        ("too.deep.two.example", false),
        ("three.example", false),
        // An address is not sent as a name, so the first certificate comes.
        ("10.1.2.3", false),
    ];
    for (host, accepted) in rows {
        let (mut client, mut server) = joined(&authority.connector(), &acceptor, host, usize::MAX);
        let (of_client, _) = shake(&mut client, &mut server);
        assert_eq!(of_client.is_ok(), accepted, "{host}");
        if let Err(error) = of_client {
            assert!(error.to_string().contains("one.example"), "{host} is shown the first: {error}");
        }
    }
}

#[test]
fn a_second_session_resumes_the_first() {
    let authority = Authority::new();
    let acceptor = authority.issue(&["example.com"]).acceptor();
    let connector = authority.connector();
    for resumed in [false, true] {
        let (mut client, mut server) = joined(&connector, &acceptor, "example.com", usize::MAX);
        assert!(matches!(shake(&mut client, &mut server), (Ok(true), Ok(true))));
        // The tickets come behind the handshake.
        assert!(drain(&mut client).is_empty());
        assert_eq!(server.info().unwrap().resumed, resumed);
        assert_eq!(client.info().unwrap().resumed, resumed);
    }
}

// ---- Trust (a client's side) ----

#[test]
fn a_client_refuses_what_it_cannot_trust() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let expired = |params: &mut CertificateParams| {
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    };
    let early = |params: &mut CertificateParams| params.not_before = date_time_ymd(2999, 1, 1);
    let self_signed = TlsAcceptor::self_signed(&["example.com"]).unwrap();
    let good = authority.issue(&["example.com", "127.0.0.1", "::1"]).acceptor();
    let rows = [
        ("good", &good, "example.com", Ok(())),
        ("good, by address", &good, "127.0.0.1", Ok(())),
        ("good, by address", &good, "::1", Ok(())),
        ("another name", &good, "example.org", Err("not valid for name \"example.org\"")),
        ("a name below", &good, "www.example.com", Err("not valid for name")),
        ("another address", &good, "127.0.0.2", Err("not valid for name")),
        ("expired", &authority.issue_with(&["example.com"], expired).acceptor(), "example.com", Err("expired")),
        ("not yet", &authority.issue_with(&["example.com"], early).acceptor(), "example.com", Err("not valid yet")),
        ("unknown", &stranger.issue(&["example.com"]).acceptor(), "example.com", Err("issuer is not trusted")),
        ("self-signed", &self_signed, "example.com", Err("issuer is not trusted")),
    ];
    for (what, acceptor, host, outcome) in rows {
        let (mut client, mut server) = joined(&authority.connector(), acceptor, host, usize::MAX);
        let (of_client, of_server) = shake(&mut client, &mut server);
        match outcome {
            Ok(()) => assert!(matches!((&of_client, &of_server), (Ok(true), Ok(true))), "{what}: {of_client:?}"),
            Err(words) => {
                let error = of_client.unwrap_err();
                assert!(matches!(tls_error(&error), TlsError::Certificate(_)), "{what}: {error}");
                assert!(error.to_string().contains(words), "{what}: {error}");
                // The server learns it by an alert.
                let error = of_server.unwrap_err();
                assert!(matches!(tls_error(&error), TlsError::Alert(_)), "{what}: {error}");
            }
        }
        // Whoever asks for it takes them all.
        let anybody = TlsConnector::danger_accept_any_certificate().unwrap();
        let (mut client, mut server) = joined(&anybody, acceptor, host, usize::MAX);
        assert!(matches!(shake(&mut client, &mut server), (Ok(true), Ok(true))), "{what}");
    }
}

#[test]
fn a_self_signed_certificate_can_be_trusted_by_itself() {
    let acceptor = TlsAcceptor::self_signed(&["localhost", "127.0.0.1"]).unwrap();
    let connector = TlsConnector::with_roots_pem(acceptor.certificate_pem().as_bytes()).unwrap();
    for host in ["localhost", "127.0.0.1"] {
        let (mut client, mut server) = joined(&connector, &acceptor, host, usize::MAX);
        assert!(matches!(shake(&mut client, &mut server), (Ok(true), Ok(true))));
    }
}

#[test]
fn hosts_that_no_certificate_could_name_are_refused() {
    let connector = Authority::new().connector();
    for host in ["", "a b", "a..b", "-", "[::1]"] {
        let error = connector.connect(pipes(1).0, host).unwrap_err();
        assert!(matches!(error, TlsError::Name { .. }), "{host}: {error}");
    }
}

// ---- Files, and their replacement (a server's side) ----

#[test]
fn files_that_do_not_serve_are_named_with_the_reason() {
    let authority = Authority::new();
    let folder = Folder::new("files");
    let (good, other) = (folder.files("good"), folder.files("other"));
    authority.issue(&["example.com"]).write(&good);
    authority.issue(&["example.com"]).write(&other);
    let (empty, damaged, locked) = (folder.0.join("empty"), folder.0.join("damaged"), folder.0.join("locked"));
    fs::write(&empty, "").unwrap();
    let head = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
    fs::write(&damaged, head).unwrap();
    let lock = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    fs::write(&locked, lock).unwrap();
    let noise = folder.0.join("noise");
    let text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    fs::write(&noise, text).unwrap();
    let missing = folder.0.join("missing");
    let rows = [
        (&missing, &good.key, "cannot read", &missing),
        (&good.certificate, &missing, "cannot read", &missing),
        (&empty, &good.key, "no certificate in", &empty),
        (&good.key, &good.key, "no certificate in", &good.key),
        (&good.certificate, &good.certificate, "no private key in", &good.certificate),
        (&good.certificate, &locked, "is encrypted", &locked),
        (&damaged, &good.key, "is damaged", &damaged),
        (&noise, &good.key, "is damaged", &noise),
        (&good.certificate, &noise, "is damaged", &noise),
        (&good.certificate, &other.key, "does not belong to", &other.key),
    ];
    for (certificate, key, words, culprit) in rows {
        let error = TlsAcceptor::from_files(certificate, key).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains(culprit.to_str().unwrap()), "{error}");
    }
    TlsAcceptor::from_files(&good.certificate, &good.key).unwrap();
    TlsAcceptor::from_many_files(Vec::new()).expect_err("a server without a certificate");
    let error = TlsConnector::with_roots_file(&empty).unwrap_err().to_string();
    assert!(error.contains("no certificate in"), "{error}");
}

#[test]
fn certificates_are_replaced_under_way_and_a_bad_pair_changes_nothing() {
    let (authority, next) = (Authority::new(), Authority::new());
    let folder = Folder::new("reload");
    let files = folder.files("live");
    authority.issue(&["example.com"]).write(&files);
    let acceptor = TlsAcceptor::from_files(&files.certificate, &files.key).unwrap();
    let first = acceptor.fingerprint();
    let trusts = |authority: &Authority| {
        let (mut client, mut server) = joined(&authority.connector(), &acceptor, "example.com", usize::MAX);
        shake(&mut client, &mut server).0.is_ok()
    };
    assert!(trusts(&authority) && !trusts(&next));

    // A new certificate whose key has not been written yet.
    fs::write(&files.certificate, next.issue(&["example.com"]).certificate).unwrap();
    let error = acceptor.reload().unwrap_err();
    assert!(matches!(error, TlsError::Mismatch { .. }), "{error}");
    assert!(trusts(&authority) && !trusts(&next));
    assert_eq!(acceptor.fingerprint(), first);

    // A handshake that has begun keeps what it began with; a session that stands goes on.
    let (mut client, mut server) = joined(&authority.connector(), &acceptor, "example.com", usize::MAX);
    assert!(!client.handshake().unwrap() && !server.handshake().unwrap());
    next.issue(&["example.com"]).write(&files);
    let clone = acceptor.clone();
    clone.reload().unwrap();
    assert!(matches!(shake(&mut client, &mut server), (Ok(true), Ok(true))));
    client.write_all(b"still here").unwrap();
    assert_eq!(drain(&mut server), b"still here");
    assert!(!trusts(&authority) && trusts(&next), "clones share the certificates");
    assert_ne!(acceptor.fingerprint(), first);

    fs::remove_file(&files.key).unwrap();
    acceptor.reload().expect_err("the key is gone");
    assert!(trusts(&next));
}
