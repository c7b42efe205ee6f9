//! The same server in Protobuf: field numbers by hand, so that no code is shared with what is tested.

use loopwire::push::{Data, Kind};
use serde_json::json;
use tungstenite::Message;
use tungstenite::client::IntoClientRequest;

use crate::support::Peer;
use crate::talk::{Push, token};

/// A field whose content is bytes: a text, or a message.
fn field(number: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let mut bytes = vec![number << 3 | 2];
    varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

/// A field that is a number.
fn number(number: u8, value: u64) -> Vec<u8> {
    let mut bytes = vec![number << 3];
    varint(value, &mut bytes);
    bytes
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// One item of a message: behind its length.
fn item(fields: &[Vec<u8>]) -> Vec<u8> {
    let content = fields.concat();
    let mut bytes = Vec::new();
    varint(content.len() as u64, &mut bytes);
    [bytes, content].concat()
}

fn take_varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (&byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return value;
        }
    }
}

/// The content of the first field with each number, one within the other; numbers as their bytes.
fn find<'a>(mut bytes: &'a [u8], path: &[u64]) -> Option<&'a [u8]> {
    let Some((&wanted, rest)) = path.split_first() else { return Some(bytes) };
    while !bytes.is_empty() {
        let tag = take_varint(&mut bytes);
        let content = if tag & 7 == 2 {
            let len = take_varint(&mut bytes) as usize;
            let (content, rest) = bytes.split_at(len);
            bytes = rest;
            content
        } else {
            assert_eq!(tag & 7, 0, "a number");
            let before = bytes;
            take_varint(&mut bytes);
            &before[..before.len() - bytes.len()]
        };
        if tag >> 3 == wanted {
            return find(content, rest);
        }
    }
    None
}

/// The next message, which is one item.
fn hear(peer: &mut Peer) -> Vec<u8> {
    match peer.read().unwrap() {
        Message::Binary(bytes) => {
            let mut rest = &bytes[..];
            assert_eq!(take_varint(&mut rest), rest.len() as u64);
            rest.to_vec()
        }
        other => panic!("not binary: {other:?}"),
    }
}

fn say(peer: &mut Peer, items: &[Vec<u8>]) {
    peer.send(Message::binary(items.concat())).unwrap();
}

fn connect(push: &Push) -> Peer {
    let mut peer = push.server.open_at("/connection/websocket?format=protobuf");
    say(&mut peer, &[item(&[number(1, 1), field(4, field(1, token("42")))])]);
    let answer = hear(&mut peer);
    assert_eq!(find(&answer, &[5, 1]).unwrap().len(), 36, "a client's name");
    assert_eq!(find(&answer, &[5, 7]), Some(&[25][..]), "pings");
    peer
}

#[test]
fn the_subprotocol_says_which_encoding_it_is() {
    let push = Push::start(|_| ());
    let stream = push.server.raw().0;
    let mut request = format!("ws://{}/connection/websocket", push.server.addr).into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "centrifuge-protobuf".parse().unwrap());
    let (mut peer, answer) = tungstenite::client(request, stream).unwrap();
    assert_eq!(answer.headers()["Sec-WebSocket-Protocol"], "centrifuge-protobuf");
    say(&mut peer, &[item(&[number(1, 1), field(4, field(1, token("42")))])]);
    assert_eq!(find(&hear(&mut peer), &[1]), Some(&[1][..]));
}

#[test]
fn both_encodings_hear_of_each_other() {
    let push = Push::start(|_| ());
    let mut ours = connect(&push);
    let mut theirs = push.client("json");
    theirs.ask("subscribe", json!({ "channel": "news" }));
    say(&mut ours, &[item(&[number(1, 2), field(5, field(1, "news"))])]);
    assert_eq!(find(&hear(&mut ours), &[1]), Some(&[2][..]));

    // JSON, text and bytes, each as the other side can take it.
    let mut heard = Vec::new();
    for (data, offset) in [&b"{\"a\":\n1}"[..], b"plain", &[0xff, 0x00]].into_iter().zip(1..) {
        say(&mut ours, &[item(&[number(1, 3), field(7, [field(1, "news"), field(2, data)].concat())])]);
        assert!(find(&hear(&mut ours), &[8]).is_some(), "published");
        let push = hear(&mut ours);
        assert_eq!(find(&push, &[4, 2]), Some(&b"news"[..]));
        assert_eq!(find(&push, &[4, 4, 6]), Some(&[offset][..]));
        assert_eq!(find(&push, &[4, 4, 5, 1]), Some(&b"42"[..]), "who published it");
        heard.push(find(&push, &[4, 4, 4]).unwrap().to_vec());
    }
    assert_eq!(heard, [&b"{\"a\": 1}"[..], b"plain", &[0xff, 0x00]]);
    for data in [json!({ "a": 1 }), json!("plain"), json!("/wA=")] {
        assert_eq!(theirs.published("news"), data);
    }
    theirs.ask("publish", json!({ "channel": "news", "data": [1] }));
    assert_eq!(find(&hear(&mut ours), &[4, 4, 4]), Some(&b"[1]"[..]));
    push.handle.publish("news", Data::new(Kind::Text, b"text"));
    assert_eq!(find(&hear(&mut ours), &[4, 4, 4]), Some(&b"text"[..]));
}

#[test]
fn errors_and_goodbyes_are_told_in_protobuf_too() {
    let push = Push::start(|_| ());
    let mut peer = connect(&push);
    say(&mut peer, &[item(&[number(1, 2), field(5, field(1, "nowhere:a"))])]);
    assert_eq!(find(&hear(&mut peer), &[2, 1]), Some(&[102][..]));
    // An empty command is a pong, which nobody has asked for.
    say(&mut peer, &[vec![0]]);
    let goodbye = hear(&mut peer);
    assert_eq!(take_varint(&mut find(&goodbye, &[4, 11, 1]).unwrap()), 3501);
    assert!(matches!(peer.read().unwrap(), Message::Close(Some(frame)) if u16::from(frame.code) == 3501));

    let mut peer = connect(&push);
    peer.send(Message::text(r#"{"id":2,"ping":{}}"#)).unwrap();
    assert_eq!(take_varint(&mut find(&hear(&mut peer), &[4, 11, 1]).unwrap()), 3506);
}
