//! What signals do to a whole server: SIGHUP brings new certificates or keeps the old, SIGTERM drains every loop.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, mpsc};

use loopwire::{Closed, Connections, Handler, Server, TlsAcceptor, WebSocket};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::low_level::raise;
use support::{PATIENCE, Raw, Running, request};

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Reload,
    Draining,
    Closed(u16),
}

struct Tells(mpsc::Sender<Told>);

impl Handler for Tells {
    fn on_open(&mut self, ws: &mut WebSocket<'_>) {
        let index = ws.id().loop_index().to_string();
        ws.send(&index).unwrap();
    }

    fn on_reload(&mut self, _: &mut Connections<'_>) {
        self.0.send(Told::Reload).unwrap();
    }

    fn on_draining(&mut self, _: &mut Connections<'_>) {
        self.0.send(Told::Draining).unwrap();
    }

    fn on_close(&mut self, _: &mut WebSocket<'_>, closed: &Closed) {
        self.0.send(Told::Closed(closed.code.0)).unwrap();
    }
}

/// Writes a new certificate and its key, and gives the certificate.
fn renew(dir: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap()
}

/// Opens a WebSocket over TLS with a server that shows exactly `certificate`; which loop has it.
fn open(
    raw: Raw,
    certificate: &CertificateDer<'static>,
) -> (rustls::StreamOwned<rustls::ClientConnection, TcpStream>, u8) {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let session = rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut stream = rustls::StreamOwned::new(session, raw.0);
    stream.write_all(request("/").as_bytes()).unwrap();
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    let mut index = [0; 3];
    stream.read_exact(&mut index).unwrap();
    assert_eq!(stream.conn.peer_certificates().unwrap()[0], *certificate);
    (stream, index[2] - b'0')
}

#[test]
fn certificates_are_renewed_and_loops_end_together() {
    let dir = std::env::temp_dir().join(format!("loopwire-signals-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let first = renew(&dir);
    let tls = TlsAcceptor::from_files(dir.join("cert.pem"), dir.join("key.pem")).unwrap();
    let server = Server::builder().listen_tls("127.0.0.1:0", tls).loops(2).handle_signals().build().unwrap();
    let (sender, told) = mpsc::channel();
    let next = || told.recv_timeout(PATIENCE).unwrap();
    let server = Running::of(server, move |server| server.run_each(|_| Tells(sender.clone())));

    let mut peers = vec![open(server.raw(), &first)];
    let second = renew(&dir);
    raise(SIGHUP).unwrap();
    assert_eq!(next(), Told::Reload);
    // Both loops have it, whichever heard the signal.
    while ![0, 1].iter().all(|index| peers[1..].iter().any(|(_, of)| of == index)) {
        peers.push(open(server.raw(), &second));
        assert!(peers.len() < 200, "the kernel favours a loop");
    }
    // A file that was only half written changes nothing.
    fs::write(dir.join("key.pem"), "-----BEGIN PRIVATE KEY-----\nMIGH").unwrap();
    raise(SIGHUP).unwrap();
    assert_eq!(next(), Told::Reload);
    peers.push(open(server.raw(), &second));

    raise(SIGTERM).unwrap();
    for (peer, _) in &mut peers {
        let mut close = [0; 4];
        peer.read_exact(&mut close).unwrap();
        assert_eq!(close, [0x88, 2, 0x03, 0xe9]);
        peer.write_all(&support::masked(0x88, b"\x03\xe9")).unwrap();
    }
    let count = peers.len();
    drop(peers);
    server.stop().unwrap();
    let told: Vec<_> = told.try_iter().collect();
    assert_eq!(told.iter().filter(|told| **told == Told::Draining).count(), 2);
    assert_eq!(told.iter().filter(|told| **told == Told::Closed(1001)).count(), count);
    fs::remove_dir_all(&dir).unwrap();
}
