//! tungstenite at the other end of a real socket, as client and as server, in the clear and over TLS. (It knows no
//! compression; Node's `ws`, Python's `websockets` and Chromium do, in `tests/peers`.)

#[path = "common/certificates.rs"]
mod certificates;
#[path = "common/node.rs"]
mod node;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use certificates::Authority;
use loopwire::handshake::Uri;
use loopwire::net::{DialRequest, NetConfig};
use node::{Node, PATIENCE};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::{Error, Message, WebSocket};

/// A fragmented message: its frames, and what they are together.
fn fragments(kind: Data, parts: &[&[u8]]) -> Vec<Message> {
    let last = parts.len() - 1;
    let frame = |(index, part): (usize, &&[u8])| {
        let opcode = OpCode::Data(if index == 0 { kind } else { Data::Continue });
        Message::Frame(Frame::message(part.to_vec(), opcode, index == last))
    };
    parts.iter().enumerate().map(frame).collect()
}

/// Talks as a client to an echo.
fn converse(mut peer: WebSocket<impl Read + Write>) {
    let large = vec![7_u8; 1 << 20];
    let conversation = [
        (vec![Message::text("κόσμε")], Message::text("κόσμε")),
        (vec![Message::text("")], Message::text("")),
        (vec![Message::binary(large.clone())], Message::binary(large)),
        (fragments(Data::Text, &[b"\xce", b"\xba\xcf", b"\x8c"]), Message::text("κό")),
        (fragments(Data::Binary, &[b"one", b"", b"two"]), Message::binary(&b"onetwo"[..])),
        (vec![Message::Ping("still there?".into())], Message::Pong("still there?".into())),
    ];
    for (sent, expected) in conversation {
        for message in sent {
            peer.send(message).unwrap();
        }
        assert!(peer.read().unwrap() == expected, "something else than {expected:.40} came back");
    }
    peer.close(None).unwrap();
    assert!(matches!(peer.read(), Ok(Message::Close(None))));
    // The server closes the stream; an end without `close_notify` would be another error.
    assert!(matches!(peer.read(), Err(Error::ConnectionClosed)));
}

/// Echoes until the client closes.
fn echo(mut peer: WebSocket<impl Read + Write>) {
    loop {
        match peer.read() {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => peer.send(message).unwrap(),
            Ok(_) => {}
            Err(Error::ConnectionClosed) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

fn with_patience(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn tungstenite_talks_to_our_server() {
    let server = Node::server(NetConfig::default(), None);
    let stream = with_patience(TcpStream::connect(server.socket_addr()).unwrap());
    converse(tungstenite::client("ws://localhost/", stream).unwrap().0);
}

#[test]
fn tungstenite_talks_to_our_server_over_tls() {
    let authority = Authority::new();
    let server = Node::server(NetConfig::default(), Some(&authority.issue(&["localhost"]).acceptor()));
    let name = ServerName::try_from("localhost").unwrap();
    let tls = ClientConnection::new(authority.rustls(&[]), name).unwrap();
    let stream = StreamOwned::new(tls, with_patience(TcpStream::connect(server.socket_addr()).unwrap()));
    converse(tungstenite::client("wss://localhost/", stream).unwrap().0);
}

#[test]
fn our_client_talks_to_tungstenite_in_the_clear_and_over_tls() {
    let authority = Authority::new();
    let config = authority.issue(&["localhost"]).rustls();
    for scheme in ["ws", "wss"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("{scheme}://localhost:{}/", listener.local_addr().unwrap().port());
        let config = config.clone();
        let server = thread::spawn(move || {
            let stream = with_patience(listener.accept().unwrap().0);
            if scheme == "ws" {
                return echo(tungstenite::accept(stream).unwrap());
            }
            let tls = ServerConnection::new(config).unwrap();
            echo(tungstenite::accept(StreamOwned::new(tls, stream)).unwrap());
        });
        let client = Node::client();
        let mut request = DialRequest::new(Uri::parse(&uri).unwrap());
        request.tls = Some(authority.connector());
        let id = client.open(request);
        for len in [0, 125, 126, 65_535, 65_536, 1 << 20] {
            client.expect_echo(id, &vec![b'z'; len]);
        }
        client.expect_close(id);
        server.join().unwrap();
    }
}
