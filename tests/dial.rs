//! Dialling over real sockets: straight, by name, by path, through proxies, into the void.

#[path = "common/certificates.rs"]
mod certificates;
#[path = "common/node.rs"]
mod node;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use certificates::{Authority, Folder};
use loopwire::handshake::{HandshakeError, ProxyError, ProxyUri, Uri};
use loopwire::net::{DialError, DialRequest, ListenAddr, NetConfig, TlsError};
use node::{Node, PATIENCE};
use socket2::{Domain, Socket, Type};

fn request(uri: &str) -> DialRequest {
    DialRequest::new(Uri::parse(uri).unwrap())
}

fn through(proxy: &str, uri: &str) -> DialRequest {
    let mut request = request(uri);
    request.proxy = Some(ProxyUri::parse(proxy).unwrap());
    request
}

/// A port that nobody listens on.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Accepts one connection, hands it to `serve` on a thread, and says at which port.
fn once(serve: impl FnOnce(TcpStream) + Send + 'static) -> (u16, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        serve(stream);
    });
    (port, thread)
}

fn read_exactly(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(read_exactly(stream, 1));
    }
    String::from_utf8(head).unwrap()
}

/// Joins two streams until both directions have ended.
fn join(client: TcpStream, server: TcpStream) {
    let copy = |mut from: TcpStream, mut to: TcpStream| {
        // A connection that ends with a reset ends all the same.
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    let (client_again, server_again) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let back = thread::spawn(move || copy(server_again, client_again));
    copy(client, server);
    back.join().unwrap();
}

/// Waits until the peer has ended the stream.
fn await_end(mut stream: TcpStream) {
    let _ = io::copy(&mut stream, &mut io::sink());
}

#[test]
fn addresses_and_names_lead_to_an_echo() {
    let server = Node::server(NetConfig::default(), None);
    let client = Node::client();
    for host in ["127.0.0.1", "localhost"] {
        let id = client.open(request(&format!("ws://{host}:{}/", server.port())));
        client.expect_echo(id, b"hello");
        client.expect_close(id);
    }
}

#[test]
fn many_names_are_resolved_at_once() {
    let server = Node::server(NetConfig::default(), None);
    let client = Node::client();
    let uri = format!("ws://localhost:{}/", server.port());
    client.run(move |sessions| {
        for _ in 0..100 {
            sessions.dial(request(&uri));
        }
    });
    for _ in 0..100 {
        assert!(matches!(client.next(), node::Told::Opened(_)));
    }
}

#[test]
fn a_unix_socket_is_reached_by_its_path() {
    let folder = Folder::new("unix");
    // The whole of such a path may not be longer than about a hundred bytes.
    let path = std::env::temp_dir().join(format!("loopwire-{}.sock", std::process::id()));
    let server = Node::server_at(ListenAddr::Unix(path.clone()), NetConfig::default(), None);
    let client = Node::client();
    let id = client.open(request(&format!("ws+unix:{}:/", path.display())));
    client.expect_echo(id, b"hello");
    client.expect_close(id);
    drop(server);
    assert!(!path.exists(), "the server removes it");
    let error = client.dial(request(&format!("ws+unix:{}:/", path.display()))).unwrap_err();
    assert!(matches!(&error, DialError::Io(error) if error.kind() == io::ErrorKind::NotFound), "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    drop(folder);
}

#[test]
fn a_refusal_names_every_address() {
    let client = Node::client();
    let port = closed_port();
    for host in ["127.0.0.1", "localhost"] {
        let error = client.dial(request(&format!("ws://{host}:{port}/"))).unwrap_err();
        let DialError::Unreachable { host: named, attempts } = &error else { panic!("{error}") };
        assert_eq!(named, &format!("{host}:{port}"));
        // A machine may know more addresses of its own, and other reasons for them.
        let attempt = attempts.iter().find(|attempt| attempt.addr.to_string() == format!("127.0.0.1:{port}"));
        assert_eq!(attempt.unwrap().error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
        assert!(error.to_string().starts_with(&format!("cannot connect to {host}:{port}: ")), "{error}");
    }
}

#[test]
fn an_address_that_refuses_or_is_silent_does_not_stand_in_the_way() {
    let server = Node::server(NetConfig::default(), None);
    let client = Node::client();
    let refusing = SocketAddr::from(([127, 0, 0, 1], closed_port()));
    let (silent, _queue) = silent_addr();
    for first in [refusing, silent] {
        let mut request = request("ws://nobody.invalid/");
        request.addresses = vec![first, server.socket_addr()];
        request.attempt_delay = Duration::from_millis(20);
        let id = client.open(request);
        client.expect_echo(id, b"hello");
    }
    let mut request = request("ws://nobody.invalid/");
    request.addresses = vec![refusing, silent];
    request.attempt_timeout = Duration::from_millis(20);
    let error = client.dial(request).unwrap_err();
    let DialError::Unreachable { attempts, .. } = &error else { panic!("{error}") };
    assert_eq!(attempts.iter().map(|attempt| attempt.addr).collect::<Vec<_>>(), [refusing, silent]);
}

/// An address that neither accepts nor refuses, for as long as what comes with it lives: a listener whose queue is full
/// and never taken from.
fn silent_addr() -> (SocketAddr, (Socket, Vec<TcpStream>)) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap().as_socket().unwrap();
    let connect = |_| TcpStream::connect_timeout(&addr, Duration::from_millis(100)).ok();
    let queue: Vec<_> = (0..64).map_while(connect).collect();
    assert!(queue.len() < 64, "the queue takes any number of connections");
    (addr, (listener, queue))
}

#[test]
fn a_name_without_an_address_says_so() {
    let client = Node::client();
    let mut request = request("ws://nobody.invalid/");
    // Whether the system's resolver says no or nothing at all is not ours to know.
    request.timeout = Duration::from_secs(2);
    let error = client.dial(request).unwrap_err();
    assert!(matches!(&error, DialError::Resolve { host, .. } if host == "nobody.invalid"), "{error}");
}

#[test]
fn a_dial_can_be_aborted_in_any_stage() {
    let (port, thread) = once(await_end);
    let client = Node::client();
    let uris = ["ws://nobody.invalid/".to_owned(), format!("wss://127.0.0.1:{port}/")];
    for uri in uris {
        let mut request = request(&uri);
        request.tls = Some(Authority::new().connector());
        client.run(move |sessions| {
            let id = sessions.dial(request);
            assert!(sessions.abort(id));
        });
        assert!(matches!(client.next(), node::Told::DialFailed(DialError::Cancelled)));
    }
    // The one that was aborted before it began has not connected.
    drop(TcpStream::connect(("127.0.0.1", port)).unwrap());
    thread.join().unwrap();
}

#[test]
fn silence_is_given_a_time_in_every_stage() {
    let connector = Authority::new().connector();
    let client = Node::client();
    // Stages: the opening handshake, TLS, the proxy.
    for stage in 0..3 {
        let (port, thread) = once(await_end);
        let here = format!("127.0.0.1:{port}");
        let mut request = match stage {
            0 => request(&format!("ws://{here}/")),
            1 => request(&format!("wss://{here}/")),
            _ => through(&format!("http://{here}"), "ws://example.com/"),
        };
        request.tls = Some(connector.clone());
        request.timeout = Duration::from_millis(100);
        let error = client.dial(request).unwrap_err();
        match stage {
            0 => assert!(matches!(error, DialError::Timeout), "{error}"),
            1 => assert!(matches!(error, DialError::Tls { .. }), "{error}"),
            _ => assert!(matches!(error, DialError::Proxy { .. }), "{error}"),
        }
        thread.join().unwrap();
    }
}

#[test]
fn an_answer_that_is_no_handshake_is_told() {
    let client = Node::client();
    let (port, thread) = once(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").unwrap();
        await_end(stream);
    });
    let error = client.dial(request(&format!("ws://127.0.0.1:{port}/"))).unwrap_err();
    assert!(
        matches!(&error, DialError::Handshake(HandshakeError::Refused(refusal)) if refusal.status == 403),
        "{error}"
    );
    thread.join().unwrap();
}

// ---- Proxies ----

/// A proxy for one tunnel by CONNECT to `server`, whatever is asked for; gives the head it was asked with.
fn http_proxy(server: u16) -> (u16, thread::JoinHandle<()>) {
    once(move |mut stream| {
        let head = read_head(&mut stream);
        assert!(head.starts_with(&format!("CONNECT example.com:{server} HTTP/1.1\r\n")), "{head}");
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n").unwrap();
        stream.write_all(b"Via: a test\r\n\r\n").unwrap();
        join(stream, TcpStream::connect(("127.0.0.1", server)).unwrap());
    })
}

/// A SOCKS5 proxy for one tunnel that expects one of `addresses` (type, length if it is a name, bytes) and leads to
/// `server`.
fn socks_proxy(addresses: [&'static [u8]; 2], server: u16) -> (u16, thread::JoinHandle<()>) {
    once(move |mut stream| {
        assert_eq!(read_exactly(&mut stream, 4), [5, 2, 0, 2]);
        stream.write_all(&[5, 2]).unwrap();
        assert_eq!(read_exactly(&mut stream, 9), b"\x01\x03you\x03key");
        stream.write_all(&[1, 0]).unwrap();
        assert_eq!(read_exactly(&mut stream, 3), [5, 1, 0]);
        let kind = read_exactly(&mut stream, 1)[0];
        let address = addresses.iter().find(|address| address[0] == kind).expect("another type of address");
        assert_eq!(read_exactly(&mut stream, address.len() - 1), address[1..]);
        assert_eq!(read_exactly(&mut stream, 2), server.to_be_bytes());
        // One byte at a time.
        for byte in [5, 0, 0, 1, 0, 0, 0, 0, 0, 0] {
            stream.write_all(&[byte]).unwrap();
        }
        join(stream, TcpStream::connect(("127.0.0.1", server)).unwrap());
    })
}

#[test]
fn proxies_lead_to_an_echo_with_and_without_tls() {
    let authority = Authority::new();
    let acceptor = authority.issue(&["example.com", "localhost"]).acceptor();
    for secure in [false, true] {
        let server = Node::server(NetConfig::default(), secure.then_some(&acceptor));
        let (scheme, port) = (if secure { "wss" } else { "ws" }, server.port());
        let http = http_proxy(port);
        let by_name = socks_proxy([b"\x03\x0bexample.com"; 2], port);
        let by_address = socks_proxy([b"\x01\x7f\x00\x00\x01", b"\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"], port);
        let rows = [
            (format!("http://127.0.0.1:{}", http.0), "example.com", http.1),
            (format!("socks5h://you:key@localhost:{}", by_name.0), "example.com", by_name.1),
            (format!("socks5://you:key@127.0.0.1:{}", by_address.0), "localhost", by_address.1),
        ];
        for (proxy, host, thread) in rows {
            let client = Node::client();
            let mut request = through(&proxy, &format!("{scheme}://{host}:{port}/"));
            request.tls = Some(authority.connector());
            let id = client.open(request);
            client.expect_echo(id, b"hello");
            client.expect_echo(id, &vec![7; 300_000]);
            client.expect_close(id);
            drop(client);
            thread.join().unwrap();
        }
    }
}

#[test]
fn a_proxy_that_does_not_lead_on_is_told() {
    type Check = fn(&io::Error) -> bool;
    let refused: Check = |error| {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        matches!(inner, Some(ProxyError::Refused(502)))
    };
    let rows: [(&str, &[u8], Check); 5] = [
        ("http", b"HTTP/1.1 502 Bad Gateway\r\n\r\n", refused),
        ("http", b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101", |error| error.kind() == io::ErrorKind::InvalidData),
        ("http", b"HTTP/1.1 200", |error| error.kind() == io::ErrorKind::UnexpectedEof),
        ("http", b"\x15\x03\x03\x00\x02\x02\x28", |error| error.kind() == io::ErrorKind::Other),
        ("socks5h", b"\x05\xff", |error| error.kind() == io::ErrorKind::Other),
    ];
    let client = Node::client();
    for (scheme, answer, check) in rows {
        let (port, thread) = once(move |mut stream| {
            stream.write_all(answer).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            await_end(stream);
        });
        let proxy = format!("{scheme}://127.0.0.1:{port}");
        let error = client.dial(through(&proxy, "ws://example.com/")).unwrap_err();
        let DialError::Proxy { proxy: named, error } = &error else { panic!("{error}") };
        assert_eq!(named, &proxy);
        assert!(check(error), "{scheme}: {error:?}");
        thread.join().unwrap();
    }
    let error = client.dial(through(&format!("http://127.0.0.1:{}", closed_port()), "ws://example.com/")).unwrap_err();
    assert!(matches!(&error, DialError::Unreachable { host, .. } if host.starts_with("the proxy http://")), "{error}");
}

// ---- Trust ----

#[test]
fn servers_that_cannot_be_trusted_are_told_apart() {
    use loopwire::net::TlsAcceptor;

    let authority = Authority::new();
    let client = Node::client();
    let expired = authority.issue_with(&["localhost"], |params| params.not_after = rcgen::date_time_ymd(2021, 1, 1));
    let rows = [
        (authority.issue(&["example.com"]).acceptor(), "not valid for name \"localhost\""),
        (expired.acceptor(), "expired"),
        (TlsAcceptor::self_signed(&["localhost"]).unwrap(), "issuer is not trusted"),
    ];
    for (acceptor, words) in rows {
        let server = Node::server(NetConfig::default(), Some(&acceptor));
        let mut request = request(&format!("wss://localhost:{}/", server.port()));
        request.tls = Some(authority.connector());
        let error = client.dial(request).unwrap_err();
        let DialError::Tls { host, error: inner } = &error else { panic!("{error}") };
        assert_eq!(host, "localhost");
        let inner = inner.get_ref().and_then(|inner| inner.downcast_ref());
        assert!(matches!(inner, Some(TlsError::Certificate(_))), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}
