//! `loopwire connect`: what is read is sent, what is received is printed, and the exit code tells the rest.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use tungstenite::handshake::server::Request;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

use crate::peer::accept;
use crate::process::{Process, loopwire, run};

fn echo() -> (Process, String) {
    Process::server(&["echo", "--listen", "127.0.0.1:0"])
}

/// A peer of another make that has one conversation after the other. Each is given the connection and the request.
fn peer(conversations: Vec<fn(WebSocket<TcpStream>, Request)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for converse in conversations {
            let (stream, _) = listener.accept().unwrap();
            let (socket, request) = accept(stream);
            converse(socket, request);
        }
    });
    url
}

fn close(mut socket: WebSocket<TcpStream>, code: u16) {
    let _ = socket.close(Some(CloseFrame { code: CloseCode::from(code), reason: "because".into() }));
    while socket.read().is_ok() {}
}

#[test]
fn lines_go_out_as_messages_and_answers_come_back_as_lines() {
    let (_server, url) = echo();
    let many: Vec<String> = (0..5000).map(|number| format!("line {number}\n")).collect();
    let many = many.concat();
    for input in ["Hello\n", "a\nb\nü🦀\n", "no newline at the end", "/ping is text here\n//so\n", "", "\n\n", &many]
    {
        let outcome = run(loopwire(&["connect", &url]), input.as_bytes());
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        let expected = if input.is_empty() || input.ends_with('\n') { input.to_owned() } else { format!("{input}\n") };
        assert_eq!(String::from_utf8(outcome.stdout).unwrap(), expected);
    }
}

#[test]
fn one_ping_follows_the_last_line_however_many_there_were() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut socket, _) = accept(listener.accept().unwrap().0);
        let mut came = (0, 0);
        while let Ok(message) = socket.read() {
            match message {
                Message::Text(_) => came.0 += 1,
                Message::Ping(_) => came.1 += 1,
                _ => {}
            }
        }
        came
    });
    let outcome = run(loopwire(&["connect", &url]), "line\n".repeat(3000).as_bytes());
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(server.join().unwrap(), (3000, 1));
}

#[test]
fn messages_larger_than_every_buffer_on_the_way_do_not_wait_for_each_other() {
    // Each of both ends has one to write while the other is to read.
    let (_server, url) = echo();
    let input: String = ["a", "b", "c"].map(|letter| letter.repeat(12 << 20) + "\n").concat();
    let outcome = run(loopwire(&["connect", "--no-deflate", &url]), input.as_bytes());
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stdout == input.as_bytes());
}

#[test]
fn binary_comes_back_byte_by_byte() {
    let (_server, url) = echo();
    let input: Vec<u8> = (0..1_000_000u32).map(|number| (number * 7 % 251) as u8).collect();
    for flags in [&[][..], &["--no-deflate"], &["--fragment-size", "1000"]] {
        let outcome = run(loopwire(&[&["connect", "--binary", &url], flags].concat()), &input);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert!(outcome.stdout == input);
    }
}

#[test]
fn input_that_is_not_text_needs_to_be_called_binary() {
    let (_server, url) = echo();
    let outcome = run(loopwire(&["connect", &url]), b"\xff\xfe\n");
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("--binary"), "{}", outcome.stderr);
}

#[test]
fn the_close_code_makes_the_exit_code() {
    for (code, expected) in [(1000, 0), (1001, 0), (1008, 4), (1011, 4), (4000, 4)] {
        let url = match code {
            1000 => peer(vec![|socket, _| close(socket, 1000)]),
            1001 => peer(vec![|socket, _| close(socket, 1001)]),
            1008 => peer(vec![|socket, _| close(socket, 1008)]),
            1011 => peer(vec![|socket, _| close(socket, 1011)]),
            _ => peer(vec![|socket, _| close(socket, 4000)]),
        };
        let outcome = run(loopwire(&["connect", "--wait", "forever", &url]), b"");
        assert_eq!(outcome.code, Some(expected), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(&format!("{code}: because")), "{}", outcome.stderr);
    }
    let url = peer(vec![|socket, _| drop(socket)]);
    let outcome = run(loopwire(&["connect", "--wait", "forever", &url]), b"");
    assert_eq!(outcome.code, Some(4), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("1006"), "{}", outcome.stderr);
}

#[test]
fn what_cannot_be_reached_or_refuses_is_code_3() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (_server, url) = Process::server(&["serve", "--memory", "--listen", "127.0.0.1:0"]);
    let served = url.replacen("http", "ws", 1);
    for (url, part) in [
        (format!("ws://{nobody}"), "refused"),
        (format!("{served}/nothing"), "404"),
        ("ws+unix:/nowhere/echo.sock".to_owned(), "/nowhere/echo.sock"),
    ] {
        let outcome = run(loopwire(&["connect", &url]), b"Hello\n");
        assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
        assert!(outcome.stdout.is_empty());
        assert!(outcome.stderr.contains(part), "{part:?} is not in {}", outcome.stderr);
    }
}

#[test]
fn a_server_that_never_answers_runs_into_the_timeouts() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", silent.local_addr().unwrap());
    assert_eq!(run(loopwire(&["connect", "--connect-timeout", "50ms", &url]), b"").code, Some(3));
    assert_eq!(run(loopwire(&["connect", "--timeout", "50ms", &url]), b"").code, Some(6));
    let url = peer(vec![|mut socket, _| while socket.read().is_ok() {}]);
    assert_eq!(run(loopwire(&["connect", "--timeout", "50ms", "--one", &url]), b"").code, Some(6));
}

#[test]
fn one_message_can_be_all_that_is_wanted() {
    let url = peer(vec![|mut socket, _| {
        for text in ["first", "second", "third"] {
            let _ = socket.send(Message::text(text));
        }
        while socket.read().is_ok() {}
    }]);
    let outcome = run(loopwire(&["connect", "--one", &url]), b"");
    assert_eq!((outcome.code, outcome.stdout.as_slice()), (Some(0), &b"first\n"[..]), "{}", outcome.stderr);
}

#[test]
fn the_handshake_asks_for_what_the_flags_say() {
    let url = peer(vec![|mut socket, request| {
        let field = |name: &str| request.headers().get(name).map_or("", |value| value.to_str().unwrap());
        let told = ["X-One", "X-Two", "Origin", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"].map(field);
        socket.send(Message::text(format!("{}|{}", request.uri(), told.join("|")))).unwrap();
        while socket.read().is_ok() {}
    }]);
    let outcome = run(
        loopwire(&[
            "connect",
            "--one",
            "--header=X-One: 1",
            "--header=X-Two:2, 3",
            "--origin=https://example.com",
            "--subprotocol=chat.v2,chat.v1",
            "--no-deflate",
            &format!("{url}/path?query"),
        ]),
        b"",
    );
    let told = String::from_utf8(outcome.stdout).unwrap();
    assert_eq!(told, "/path?query|1|2, 3|https://example.com|chat.v2, chat.v1|\n", "{}", outcome.stderr);
    assert!(outcome.stderr.contains("chat.v2"), "{}", outcome.stderr);
}

#[test]
fn a_proxy_leads_on_when_it_is_named() {
    let (_server, url) = echo();
    let server = url.trim_start_matches("ws://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://you:key@{}", listener.local_addr().unwrap());
    let thread = thread::spawn(move || {
        let mut client = listener.accept().unwrap().0;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let mut server = TcpStream::connect(server).unwrap();
        let (mut there, mut back) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || io::copy(&mut there, &mut server));
        let _ = io::copy(&mut back, &mut client);
        let _ = client.shutdown(Shutdown::Write);
        String::from_utf8(head).unwrap()
    });
    // Only the proxy is asked who this is.
    let outcome = run(loopwire(&["connect", "--one", "--proxy", &proxy, "ws://nobody.invalid:81/"]), b"Hello\n");
    assert_eq!(outcome.stdout, b"Hello\n", "{}", outcome.stderr);
    let head = thread.join().unwrap();
    assert!(head.starts_with("CONNECT nobody.invalid:81 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nProxy-Authorization: Basic eW91OmtleQ==\r\n"), "{head}");
}

#[test]
fn version_8_is_spoken_too() {
    let (_server, url) = echo();
    let outcome =
        run(loopwire(&["connect", "--protocol-version", "8", "--origin", "https://example.com", &url]), b"Hello\n");
    assert_eq!((outcome.code, outcome.stdout.as_slice()), (Some(0), &b"Hello\n"[..]), "{}", outcome.stderr);
}

#[test]
fn a_lost_connection_is_made_again_when_asked() {
    let url = peer(vec![|socket, _| drop(socket), |mut socket, _| {
        socket.send(Message::text("here again")).unwrap();
        while socket.read().is_ok() {}
    }]);
    let outcome = run(loopwire(&["connect", "--reconnect", "--reconnect-delay", "1ms", "--one", &url]), b"");
    assert_eq!((outcome.code, outcome.stdout.as_slice()), (Some(0), &b"here again\n"[..]), "{}", outcome.stderr);
}

#[test]
fn a_reader_of_our_output_may_leave() {
    let (_server, url) = echo();
    let mut client = Process::start(loopwire(&["connect", &url]));
    client.write(b"first\n");
    assert_eq!(client.line(), "first");
    client.end_output();
    // Until the pipe is found broken the lines still go out.
    let outcome = {
        client.write(&b"more\n".repeat(1000));
        client.ended()
    };
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("error") && !outcome.stderr.contains("panicked"), "{}", outcome.stderr);
}

#[test]
fn an_interrupt_closes_the_connection_properly() {
    let url = peer(vec![|mut socket, _| {
        socket.send(Message::text("ready")).unwrap();
        loop {
            match socket.read() {
                Ok(Message::Close(frame)) => {
                    assert_eq!(frame.unwrap().code, CloseCode::Away);
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
    }]);
    let mut client = Process::start(loopwire(&["connect", &url]));
    assert_eq!(client.line(), "ready");
    client.signal("INT");
    assert_eq!(client.ended().code, Some(0));
}

#[test]
fn nothing_but_data_goes_to_standard_output() {
    let (_server, url) = echo();
    let mut command = loopwire(&["connect", "--log", "debug", &url]);
    command.env("CLICOLOR_FORCE", "1");
    let outcome = run(command, b"Hello\n");
    assert_eq!(outcome.stdout, b"Hello\n");
    assert!(outcome.stderr.contains("connected to"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains('\x1b'), "{}", outcome.stderr);
}
