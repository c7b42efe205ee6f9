//! TLS over real sockets: the loop as server and as client, against itself and against a plain rustls that blocks.

#[path = "common/certificates.rs"]
mod certificates;
#[path = "common/node.rs"]
mod node;

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use certificates::{Authority, Folder};
use loopwire::handshake::Uri;
use loopwire::net::{DialRequest, NetConfig, TlsAcceptor, TlsConnector};
use node::{Node, PATIENCE, Told};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

type Blocking = StreamOwned<ClientConnection, TcpStream>;

const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn connect(server: &Node) -> TcpStream {
    let stream = TcpStream::connect(server.socket_addr()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A rustls client that has not begun its handshake.
fn blocking(server: &Node, config: &Arc<ClientConfig>) -> Blocking {
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), connect(server))
}

/// The same behind its opening handshake.
fn opened(server: &Node, config: &Arc<ClientConfig>) -> Blocking {
    let mut stream = blocking(server, config);
    stream.write_all(HANDSHAKE).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    stream
}

/// A frame with a mask of zeros, which leaves the payload readable.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xffff => frame.extend([&[0xfe][..], &(len as u16).to_be_bytes()].concat()),
        len => frame.extend([&[0xff][..], &(len as u64).to_be_bytes()].concat()),
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

fn expect(stream: &mut impl Read, bytes: &[u8]) {
    let mut received = vec![0; bytes.len()];
    stream.read_exact(&mut received).unwrap();
    assert!(received == bytes, "{} bytes, but others", bytes.len());
}

/// Reads to the end of a raw stream; a reset is an end, too.
fn await_end(mut stream: &TcpStream) {
    if let Err(error) = io::copy(&mut stream, &mut io::sink()) {
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}

fn request(server: &Node, connector: &TlsConnector) -> DialRequest {
    let mut request = DialRequest::new(Uri::parse(&format!("wss://localhost:{}/", server.port())).unwrap());
    request.tls = Some(connector.clone());
    request
}

#[test]
fn another_client_is_served_and_hears_the_end_announced() {
    let authority = Authority::new();
    let server = Node::server(NetConfig::default(), Some(&authority.issue(&["localhost"]).acceptor()));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut stream = opened(&server, &authority.rustls_of(&["http/1.1"], version));
        stream.write_all(&frame(0x81, b"Hello")).unwrap();
        expect(&mut stream, b"\x81\x05Hello");
        let big = vec![b'x'; 1 << 20];
        stream.write_all(&frame(0x82, &big)).unwrap();
        expect(&mut stream, &[&b"\x82\x7f\0\0\0\0\0\x10\0\0"[..], &big].concat());
        stream.write_all(&frame(0x88, b"\x03\xe8")).unwrap();
        expect(&mut stream, b"\x88\x02\x03\xe8");
        // Without `close_notify` this would be an error.
        assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0);
    }
}

#[test]
fn both_of_our_ends_agree_on_big_and_small_messages() {
    let authority = Authority::new();
    let server = Node::server(NetConfig::default(), Some(&authority.issue(&["localhost"]).acceptor()));
    let client = Node::client();
    let id = client.open(request(&server, &authority.connector()));
    for len in [0, 1, 100, 16_384, 16_385, 65_536, 4 << 20] {
        client.expect_echo(id, &vec![b'y'; len]);
    }
    client.expect_close(id);
    assert!(matches!(server.next(), Told::Opened(_)));
    assert!(matches!(server.next(), Told::Closed(1000)));
}

#[test]
fn messages_in_one_record_are_all_heard_however_little_a_turn_takes() {
    let authority = Authority::new();
    let acceptor = authority.issue(&["localhost"]).acceptor();
    let mut one_event = NetConfig::default();
    one_event.turn_events = 1;
    let mut few_bytes = NetConfig::default();
    (few_bytes.receive_buffer, few_bytes.turn_bytes) = (10, 10);
    let mut little_room = NetConfig::default();
    little_room.high_water_mark = 1;
    for config in [one_event, few_bytes, little_room] {
        let server = Node::server(config, Some(&acceptor));
        let mut stream = opened(&server, &authority.rustls(&[]));
        // All of it is plaintext in rustls before the first message is decoded, and nothing comes behind it.
        stream.write_all(&frame(0x81, b"message").repeat(1000)).unwrap();
        expect(&mut stream, &b"\x81\x07message".repeat(1000));
    }
}

#[test]
fn what_is_not_tls_is_turned_away_and_nobody_else_notices() {
    let authority = Authority::new();
    let server = Node::server(NetConfig::default(), Some(&authority.issue(&["localhost"]).acceptor()));
    let mut witness = opened(&server, &authority.rustls(&[]));
    let plain: [&[u8]; 3] = [HANDSHAKE, b"\0\0\0\0\0\0", b"\x16\x03\x01\xff\xff"];
    for bytes in plain {
        let mut stream = connect(&server);
        stream.write_all(bytes).unwrap();
        await_end(&stream);
    }
    // A record that is cut short could still become one, so here the end tells.
    let mut stream = connect(&server);
    stream.write_all(b"\x16\x03\x01\0\x01").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    await_end(&stream);
    witness.write_all(&frame(0x81, b"Hello")).unwrap();
    expect(&mut witness, b"\x81\x05Hello");
}

#[test]
fn tls_on_a_plain_port_is_turned_away() {
    let server = Node::server(NetConfig::default(), None);
    let mut stream = blocking(&server, &Authority::new().rustls(&[]));
    stream.write_all(HANDSHAKE).expect_err("there is no TLS to be had");
}

#[test]
fn a_handshake_that_is_not_finished_is_given_up() {
    let authority = Authority::new();
    let mut config = NetConfig::default();
    config.tls_timeout = Duration::from_millis(50);
    let server = Node::server(config, Some(&authority.issue(&["localhost"]).acceptor()));
    for bytes in [b"".as_slice(), b"\x16\x03\x01"] {
        let mut stream = connect(&server);
        stream.write_all(bytes).unwrap();
        await_end(&stream);
    }
}

#[test]
fn handshakes_under_way_are_capped_and_finished_ones_make_room() {
    let authority = Authority::new();
    let mut config = NetConfig::default();
    config.max_tls_handshakes = 1;
    let server = Node::server(config, Some(&authority.issue(&["localhost"]).acceptor()));
    let config = authority.rustls(&[]);
    let finished = [opened(&server, &config), opened(&server, &config)];
    let idler = connect(&server);
    // The second one that has not shaken hands is dropped, so there is room for nobody.
    await_end(&connect(&server));
    // Its end makes room again; the loop may hear of that later than of the next connection.
    drop(idler);
    let until = Instant::now() + PATIENCE;
    while blocking(&server, &config).write_all(HANDSHAKE).is_err() {
        assert!(Instant::now() < until, "there is no room again");
    }
    drop(finished);
}

#[test]
fn certificates_are_replaced_while_the_loop_runs() {
    let (authority, next) = (Authority::new(), Authority::new());
    let folder = Folder::new("running");
    let files = folder.files("live");
    authority.issue(&["localhost"]).write(&files);
    let acceptor = TlsAcceptor::from_files(&files.certificate, &files.key).unwrap();
    let server = Node::server(NetConfig::default(), Some(&acceptor));
    let client = Node::client();
    let id = client.open(request(&server, &authority.connector()));

    std::fs::write(&files.key, "no key").unwrap();
    acceptor.reload().unwrap_err();
    let second = client.open(request(&server, &authority.connector()));
    client.expect_close(second);

    next.issue(&["localhost"]).write(&files);
    acceptor.reload().unwrap();
    client.dial(request(&server, &authority.connector())).unwrap_err();
    let third = client.open(request(&server, &next.connector()));
    client.expect_echo(third, b"new");
    client.expect_echo(id, b"old");
}
