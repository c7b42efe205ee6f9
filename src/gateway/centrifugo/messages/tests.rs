//! Both encodings against tables: the same command or answer as JSON text and as Protobuf bytes put together by hand.

use std::fmt::Write;

use super::*;
use crate::push::{Kind, Position};

/// Protobuf, field by field, knowing nothing of the schema.
#[expect(clippy::needless_pass_by_value, reason = "tables read better without references")]
mod wire {
    pub(super) fn varint(mut number: u64) -> Vec<u8> {
        let mut out = Vec::new();
        while number >= 0x80 {
            out.push(number as u8 | 0x80);
            number >>= 7;
        }
        out.push(number as u8);
        out
    }

    pub(super) fn number(tag: u64, value: u64) -> Vec<u8> {
        [varint(tag << 3), varint(value)].concat()
    }

    pub(super) fn bytes(tag: u64, value: impl AsRef<[u8]>) -> Vec<u8> {
        [varint(tag << 3 | 2), prefixed(value.as_ref())].concat()
    }

    pub(super) fn message<const N: usize>(tag: u64, fields: [Vec<u8>; N]) -> Vec<u8> {
        bytes(tag, fields.concat())
    }

    pub(super) fn item<const N: usize>(fields: [Vec<u8>; N]) -> Vec<u8> {
        prefixed(&fields.concat())
    }

    fn prefixed(value: &[u8]) -> Vec<u8> {
        [varint(value.len() as u64), value.to_vec()].concat()
    }
}
use wire::{bytes, item, message, number};

fn command(id: u32, method: Method) -> Command {
    Command { id, method }
}

fn commands() -> Vec<(&'static str, Vec<u8>, Command)> {
    let subscribe = Subscribe {
        channel: "news".to_owned(),
        token: "t".to_owned(),
        recover: true,
        epoch: "e".to_owned(),
        offset: u64::MAX,
        data: b"[1]".to_vec(),
        positioned: true,
        recoverable: true,
        join_leave: true,
        delta: "fossil".to_owned(),
        filtered: true,
        flag: 3,
    };
    let connect = Connect {
        token: "t".to_owned(),
        data: br#"{"a":1}"#.to_vec(),
        subs: [("news".to_owned(), Subscribe { recover: true, offset: 5, ..Subscribe::default() })].into(),
        name: "js".to_owned(),
        version: "5".to_owned(),
        headers: [("__proto__".to_owned(), "x".to_owned())].into(),
        flag: 1,
    };
    let history = History { channel: "news".to_owned(), limit: -1, since: Some((7, "e".to_owned())), reverse: true };
    let channel = || "news".to_owned();
    vec![
        (
            r#"{"id":1,"connect":{"token":"t","data":{"a":1},"subs":{"news":{"recover":true,"offset":5}},
                "name":"js","version":"5","headers":{"__proto__":"x"},"flag":1}}"#,
            item([
                number(1, 1),
                message(
                    4,
                    [
                        bytes(1, "t"),
                        bytes(2, r#"{"a":1}"#),
                        message(3, [bytes(1, "news"), message(2, [number(3, 1), number(7, 5)])]),
                        bytes(4, "js"),
                        bytes(5, "5"),
                        message(6, [bytes(1, "__proto__"), bytes(2, "x")]),
                        number(7, 1),
                    ],
                ),
            ]),
            command(1, Method::Connect(connect)),
        ),
        (
            r#"{"id":4294967295,"connect":{}}"#,
            item([number(1, u32::MAX.into()), message(4, [])]),
            command(u32::MAX, Method::Connect(Connect::default())),
        ),
        (
            r#"{"subscribe":{"channel":"news","token":"t","recover":true,"epoch":"e","offset":18446744073709551615,
                "data":[1],"positioned":true,"recoverable":true,"join_leave":true,"delta":"fossil",
                "tf":{"op":"eq"},"flag":3},"id":2}"#,
            item([
                number(1, 2),
                message(
                    5,
                    [
                        bytes(1, "news"),
                        bytes(2, "t"),
                        number(3, 1),
                        bytes(6, "e"),
                        number(7, u64::MAX),
                        bytes(8, "[1]"),
                        number(9, 1),
                        number(10, 1),
                        number(11, 1),
                        bytes(12, "fossil"),
                        message(13, [bytes(1, "eq")]),
                        number(14, 3),
                    ],
                ),
            ]),
            command(2, Method::Subscribe(subscribe)),
        ),
        (
            r#"{"id":3,"unsubscribe":{"channel":"news"}}"#,
            item([number(1, 3), message(6, [bytes(1, "news")])]),
            command(3, Method::Unsubscribe { channel: channel() }),
        ),
        (
            r#"{"id":4,"publish":{"channel":"news","data":null}}"#,
            item([number(1, 4), message(7, [bytes(1, "news"), bytes(2, "null")])]),
            command(4, Method::Publish { channel: channel(), data: b"null".to_vec() }),
        ),
        (
            r#"{"id":5,"presence":{"channel":"news"}}"#,
            item([number(1, 5), message(8, [bytes(1, "news")])]),
            command(5, Method::Presence { channel: channel() }),
        ),
        (
            r#"{"id":6,"presence_stats":{"channel":"news"}}"#,
            item([number(1, 6), message(9, [bytes(1, "news")])]),
            command(6, Method::PresenceStats { channel: channel() }),
        ),
        (
            r#"{"id":7,"history":{"channel":"news","limit":-1,"since":{"offset":7,"epoch":"e"},"reverse":true}}"#,
            item([
                number(1, 7),
                message(
                    10,
                    [bytes(1, "news"), number(7, u64::MAX), message(8, [number(1, 7), bytes(2, "e")]), number(9, 1)],
                ),
            ]),
            command(7, Method::History(history)),
        ),
        (r#"{"id":8,"ping":{}}"#, item([number(1, 8), message(11, [])]), command(8, Method::Ping)),
        (
            r#"{"send":{"data":"x"}}"#,
            item([message(12, [bytes(1, r#""x""#)])]),
            command(0, Method::Send { data: br#""x""#.to_vec() }),
        ),
        (
            r#"{"id":9,"rpc":{"method":"m","data":1.50}}"#,
            item([number(1, 9), message(13, [bytes(1, "1.50"), bytes(2, "m")])]),
            command(9, Method::Rpc { method: "m".to_owned(), data: b"1.50".to_vec() }),
        ),
        (
            r#"{"id":10,"refresh":{"token":"t"}}"#,
            item([number(1, 10), message(14, [bytes(1, "t")])]),
            command(10, Method::Refresh { token: "t".to_owned() }),
        ),
        (
            r#"{"id":11,"sub_refresh":{"channel":"news","token":"t"}}"#,
            item([number(1, 11), message(15, [bytes(1, "news"), bytes(2, "t")])]),
            command(11, Method::SubRefresh { channel: channel(), token: "t".to_owned() }),
        ),
        ("{}", item([]), command(0, Method::Pong)),
        (r#"{"id":12,"later":{"x":[]}}"#, item([number(1, 12), message(99, [])]), command(12, Method::Unknown)),
    ]
}

#[test]
fn each_command_is_the_same_in_both_encodings() {
    let (mut lines, mut items, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for (json, protobuf, command) in commands() {
        let line = json.replace('\n', "\r");
        assert_eq!(decode(Format::Json, line.as_bytes(), 1), Ok(vec![command.clone()]), "{json}");
        assert_eq!(decode(Format::Protobuf, &protobuf, 1), Ok(vec![command.clone()]), "{json}");
        lines.push(line);
        items.extend(protobuf);
        all.push(command);
    }
    assert_eq!(decode(Format::Json, lines.join("\n").as_bytes(), all.len()).as_ref(), Ok(&all));
    assert_eq!(decode(Format::Protobuf, &items, all.len()).as_ref(), Ok(&all));
}

#[test]
fn data_stay_as_they_are_but_on_one_line() {
    let rows = [
        (r#"{ "a" : [1.0e5, "\u00e9\n é"] }"#, r#"{ "a" : [1.0e5, "\u00e9\n é"] }"#),
        ("[1,\r2\t]", "[1, 2\t]"),
        (r#"{"b":1,"a":2,"b":3}"#, r#"{"b":1,"a":2,"b":3}"#),
        ("12345678901234567890123", "12345678901234567890123"),
        (r#""[{\"""#, r#""[{\"""#),
        ("\"\\\\\" \r", "\"\\\\\""),
    ];
    for (sent, kept) in rows {
        let line = format!(r#"{{"id":1,"publish":{{"channel":"c","data":{sent}}}}}"#);
        let method = Method::Publish { channel: "c".to_owned(), data: kept.as_bytes().to_vec() };
        assert_eq!(decode(Format::Json, line.as_bytes(), 1), Ok(vec![command(1, method)]), "{line}");
    }
    let null = br#"{"id":1,"connect":{"data":null}}"#;
    assert_eq!(decode(Format::Json, null, 1), Ok(vec![command(1, Method::Connect(Connect::default()))]));
}

#[test]
fn data_of_protobuf_clients_are_what_they_look_like() {
    let rows: [(&[u8], Kind); 6] = [
        (b"{\"a\":1}", Kind::Json),
        (b"1", Kind::Json),
        (b"hello", Kind::Text),
        (b"{\"a\":", Kind::Text),
        (b"\xff\x00", Kind::Binary),
        (b"\"\xff\"", Kind::Binary),
    ];
    for (sent, kind) in rows {
        assert_eq!(data_of(Format::Protobuf, sent), Some(Data::new(kind, sent)), "{sent:?}");
    }
    assert_eq!(data_of(Format::Protobuf, b"[1,\n2]"), Some(Data::json("[1, 2]")));
    assert_eq!(data_of(Format::Json, b"1"), Some(Data::json("1")));
    assert_eq!(data_of(Format::Json, b""), None);
}

#[test]
fn what_is_no_message_of_the_protocol_is_refused() {
    let json: [&[u8]; 24] = [
        b"",
        b"\n",
        b"{}\n\n",
        b"\n{}",
        b"{}\n\n{}",
        b"null",
        b"1",
        b"[]",
        b"[1]",
        b"{",
        b"{}{}",
        b"{} x",
        b"{\"id\":1,}",
        b"{'id':1}",
        b"{\"id\":1,\"id\":2}",
        b"{\"id\":-1}",
        b"{\"id\":4294967296}",
        b"{\"id\":1.0}",
        b"{\"id\":\"1\"}",
        b"{\"id\":1,\"rpc\":{\"method\":\"\xff\"}}",
        b"{\"id\":1,\"ping\":{},\"connect\":{}}",
        b"{\"connect\":{}}",
        b"{\"id\":1,\"connect\":{\"subs\":{\"a\":[]}}}",
        b"\xef\xbb\xbf{}",
    ];
    for message in json {
        let outcome = decode(Format::Json, message, 10);
        assert!(outcome.is_err(), "{}: {outcome:?}", message.escape_ascii());
    }
    // The length of something that is not there, as long as 32 bits can say.
    let endless = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let field = |number: u8| [[number << 3 | 2].as_slice(), &endless].concat();
    let protobuf: [Vec<u8>; 14] = [
        endless.to_vec(),
        item([number(1, 1), field(5)]),
        item([number(1, 1), message(4, [field(3)])]),
        item([number(1, 1), message(9, [field(1)])]),
        vec![],
        vec![1],
        vec![0x80],
        vec![0xff; 10],
        vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0],
        item([bytes(1, "x")]),
        item([number(1, 1), message(4, [bytes(1, b"\xff")])]),
        item([number(1, 1), message(4, []), message(11, [])]),
        item([message(4, [])]),
        [item([]), vec![5, 0]].concat(),
    ];
    for message in protobuf {
        let outcome = decode(Format::Protobuf, &message, 10);
        assert!(outcome.is_err(), "{message:x?}: {outcome:?}");
    }
}

/// Every field with every type of JSON value: taken exactly where it is its own.
#[test]
fn a_field_takes_its_own_type_and_null() {
    type Values = &'static [&'static str];
    const STRING: Values = &["\"x\""];
    const OBJECT: Values = &["{}"];
    const BOOL: Values = &["true"];
    const UNSIGNED: Values = &["7"];
    const SIGNED: Values = &["7", "-7"];
    const ANY: Values = &["\"x\"", "{}", "true", "7", "-7", "7.5", "[]"];
    let methods: [(&str, &[(&str, Values)]); 12] = [
        (
            "connect",
            &[
                ("token", STRING),
                ("data", ANY),
                ("subs", OBJECT),
                ("name", STRING),
                ("version", STRING),
                ("headers", OBJECT),
                ("flag", SIGNED),
            ],
        ),
        (
            "subscribe",
            &[
                ("channel", STRING),
                ("token", STRING),
                ("recover", BOOL),
                ("epoch", STRING),
                ("offset", UNSIGNED),
                ("data", ANY),
                ("positioned", BOOL),
                ("recoverable", BOOL),
                ("join_leave", BOOL),
                ("delta", STRING),
                ("tf", ANY),
                ("flag", SIGNED),
            ],
        ),
        ("unsubscribe", &[("channel", STRING)]),
        ("publish", &[("channel", STRING), ("data", ANY)]),
        ("presence", &[("channel", STRING)]),
        ("presence_stats", &[("channel", STRING)]),
        ("history", &[("channel", STRING), ("limit", SIGNED), ("since", OBJECT), ("reverse", BOOL)]),
        ("ping", &[]),
        ("send", &[("data", ANY)]),
        ("rpc", &[("method", STRING), ("data", ANY)]),
        ("refresh", &[("token", STRING)]),
        ("sub_refresh", &[("channel", STRING), ("token", STRING)]),
    ];
    for (method, fields) in methods {
        for value in ANY.iter().chain(&["null"]) {
            let line = format!(r#"{{"id":1,"{method}":{value}}}"#);
            let outcome = decode(Format::Json, line.as_bytes(), 1);
            assert_eq!(outcome.is_ok(), OBJECT.contains(value) || *value == "null", "{line}");
            let unknown = format!(r#"{{"id":1,"{method}":{{"of_tomorrow":{value}}}}}"#);
            assert!(decode(Format::Json, unknown.as_bytes(), 1).is_ok(), "{unknown}");
            for (field, own) in fields {
                let line = format!(r#"{{"id":1,"{method}":{{"{field}":{value}}}}}"#);
                let outcome = decode(Format::Json, line.as_bytes(), 1);
                assert_eq!(outcome.is_ok(), own.contains(value) || *value == "null", "{line}");
            }
        }
    }
}

#[test]
fn data_are_nested_as_deeply_as_is_allowed_and_no_more() {
    let publish = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"id":1,"publish":{{"channel":"c","data":{open}{close}}}}}"#)
    };
    for (depth, taken) in [(data::MAX_DEPTH, true), (data::MAX_DEPTH + 1, false), (100_000, false)] {
        let outcome = decode(Format::Json, publish(depth).as_bytes(), 1);
        assert_eq!(outcome.is_ok(), taken, "{depth}");
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        let kind = data_of(Format::Protobuf, format!("{open}{close}").as_bytes()).map(|data| data.kind);
        assert_eq!(kind, Some(if taken { Kind::Json } else { Kind::Text }), "{depth}");
    }
    // Brackets in strings are none, and where nobody looks depth does no harm: no stack is used for it.
    let text = format!(r#"{{"id":1,"publish":{{"channel":"c","data":"{}\""}}}}"#, "[".repeat(100_000));
    assert!(decode(Format::Json, text.as_bytes(), 1).is_ok());
    let (open, close) = (r#"{"a":["#.repeat(50_000), "]}".repeat(50_000));
    let unknown = format!(r#"{{"id":1,"of_tomorrow":{open}{close},"ping":{{}}}}"#);
    assert_eq!(decode(Format::Json, unknown.as_bytes(), 1), Ok(vec![command(1, Method::Ping)]));
    let mut nested = Vec::new();
    for _ in 0..1_000 {
        nested = bytes(99, &nested);
    }
    let method = Method::Subscribe(Subscribe::default());
    let unknown = item([number(1, 1), message(5, [nested])]);
    assert_eq!(decode(Format::Protobuf, &unknown, 1), Ok(vec![command(1, method)]), "not descended into");
    // Groups, which have no length, have to be: up to a limit.
    let groups = [number(1, 1), vec![99 << 1 | 3; 100_000]];
    assert!(decode(Format::Protobuf, &item(groups), 1).is_err());
}

#[test]
fn commands_are_counted() {
    for (count, taken) in [(1, true), (100, true), (101, false)] {
        let lines = vec!["{}"; count].join("\n");
        assert_eq!(decode(Format::Json, lines.as_bytes(), 100).is_ok(), taken, "{count}");
        let trailing = lines + "\n";
        assert_eq!(decode(Format::Json, trailing.as_bytes(), 100).is_ok(), taken, "{count}, and a line break");
        assert_eq!(decode(Format::Protobuf, &vec![0; count], 100).is_ok(), taken, "{count}");
    }
    assert!(decode(Format::Json, &vec![b'\n'; 8 << 20], 100).is_err());
    assert!(decode(Format::Protobuf, &vec![0; 8 << 20], 100).is_err());
}

fn info() -> ClientInfo {
    ClientInfo {
        user: "anna \"x\"".into(),
        client: ClientId(1),
        conn_info: Some(Data::json(r#"{"name":"Anna"}"#)),
        chan_info: Some(Data::new(Kind::Binary, b"\xff\xfe")),
    }
}

const CLIENT: &str = "00000000-0000-0000-0000-000000000001";

fn wire_info(tag: u64) -> Vec<u8> {
    message(tag, [bytes(1, "anna \"x\""), bytes(2, CLIENT), bytes(3, r#"{"name":"Anna"}"#), bytes(4, b"\xff\xfe")])
}

fn publication() -> Publication {
    Publication {
        offset: 9,
        data: Data::new(Kind::Text, "é\n".as_bytes()),
        info: Some(info()),
        tags: [("a".to_owned(), String::new()), ("k".to_owned(), "v".to_owned())].into(),
        time: Time(1_700_000_000_000),
    }
}

const PUBLICATION: &str = r#"{"data":"é\n","info":{"user":"anna \"x\"","client":"00000000-0000-0000-0000-000000000001","conn_info":{"name":"Anna"},"chan_info":"//4="},"offset":9,"tags":{"a":"","k":"v"},"time":1700000000000}"#;

fn wire_publication(tag: u64) -> Vec<u8> {
    message(
        tag,
        [
            bytes(4, "é\n"),
            wire_info(5),
            number(6, 9),
            message(7, [bytes(1, "a")]),
            message(7, [bytes(1, "k"), bytes(2, "v")]),
            number(9, 1_700_000_000_000),
        ],
    )
}

fn subscribed() -> Subscribed {
    Subscribed {
        positioned: true,
        recoverable: true,
        position: Some(Position { offset: 8, epoch: "e".into() }),
        was_recovering: true,
        recovered: true,
        publications: vec![Arc::new(publication())],
        ttl: Some(59_001),
    }
}

const SUBSCRIBED_END: &str =
    r#""recovered":true,"epoch":"e","offset":8,"positioned":true,"data":[1],"was_recovering":true}"#;

fn subscribed_json() -> String {
    let mut json = String::new();
    let _ = write!(json, r#"{{"expires":true,"ttl":60,"recoverable":true,"publications":[{PUBLICATION}],"#);
    json + SUBSCRIBED_END
}

fn wire_subscribed(tag: u64) -> Vec<u8> {
    message(
        tag,
        [
            number(1, 1),
            number(2, 60),
            number(3, 1),
            bytes(6, "e"),
            wire_publication(7),
            number(8, 1),
            number(9, 8),
            number(10, 1),
            bytes(11, "[1]"),
            number(12, 1),
        ],
    )
}

#[test]
fn each_reply_is_written_in_both_encodings() {
    let result = || SubscribeResult { answer: subscribed(), data: Some(Data::json("[1]")) };
    let connected = Connected {
        client: ClientId(1),
        version: "loopwire 1",
        ttl: Some(0),
        data: Some(Data::json("{}")),
        subs: [("news".into(), result())].into(),
        ping: 25,
        pong: true,
        node: "n".to_owned(),
        time: Time(5),
    };
    let empty = Connected {
        ttl: None,
        data: None,
        subs: BTreeMap::new(),
        ping: 0,
        pong: false,
        node: String::new(),
        time: Time(0),
        ..connected.clone()
    };
    let page = HistoryPage {
        publications: vec![Arc::new(publication())],
        position: Position { offset: 9, epoch: "e".into() },
    };
    let rows: Vec<(Reply, String, Vec<u8>)> = vec![
        (
            Reply::Connect(Box::new(connected)),
            format!(
                r#""connect":{{"client":"{CLIENT}","version":"loopwire 1","expires":true,"ttl":1,"data":{{}},"subs":{{"news":{}}},"ping":25,"pong":true,"node":"n","time":5}}"#,
                subscribed_json()
            ),
            message(
                5,
                [
                    bytes(1, CLIENT),
                    bytes(2, "loopwire 1"),
                    number(3, 1),
                    number(4, 1),
                    bytes(5, "{}"),
                    message(6, [bytes(1, "news"), wire_subscribed(2)]),
                    number(7, 25),
                    number(8, 1),
                    bytes(10, "n"),
                    number(11, 5),
                ],
            ),
        ),
        (
            Reply::Connect(Box::new(empty)),
            format!(r#""connect":{{"client":"{CLIENT}","version":"loopwire 1"}}"#),
            message(5, [bytes(1, CLIENT), bytes(2, "loopwire 1")]),
        ),
        (Reply::Subscribe(result()), format!(r#""subscribe":{}"#, subscribed_json()), wire_subscribed(6)),
        (Reply::Subscribe(SubscribeResult::default()), r#""subscribe":{}"#.to_owned(), message(6, [])),
        (Reply::Unsubscribe, r#""unsubscribe":{}"#.to_owned(), message(7, [])),
        (Reply::Publish, r#""publish":{}"#.to_owned(), message(8, [])),
        (
            Reply::History(page),
            format!(r#""history":{{"publications":[{PUBLICATION}],"epoch":"e","offset":9}}"#),
            message(11, [wire_publication(1), bytes(2, "e"), number(3, 9)]),
        ),
        (
            Reply::Presence(vec![ClientInfo { user: "".into(), conn_info: None, chan_info: None, ..info() }]),
            format!(r#""presence":{{"presence":{{"{CLIENT}":{{"client":"{CLIENT}"}}}}}}"#),
            message(9, [message(1, [bytes(1, CLIENT), message(2, [bytes(2, CLIENT)])])]),
        ),
        (Reply::Presence(vec![]), r#""presence":{"presence":{}}"#.to_owned(), message(9, [])),
        (
            Reply::PresenceStats { clients: 300, users: 2 },
            r#""presence_stats":{"num_clients":300,"num_users":2}"#.to_owned(),
            message(10, [number(1, 300), number(2, 2)]),
        ),
        (
            Reply::Rpc { data: Some(Data::json("null")) },
            r#""rpc":{"data":null}"#.to_owned(),
            message(13, [bytes(1, "null")]),
        ),
        (Reply::Rpc { data: None }, r#""rpc":{}"#.to_owned(), message(13, [])),
        (
            Reply::Refresh { client: ClientId(1), version: "v", ttl: Some(1000) },
            format!(r#""refresh":{{"client":"{CLIENT}","version":"v","expires":true,"ttl":1}}"#),
            message(14, [bytes(1, CLIENT), bytes(2, "v"), number(3, 1), number(4, 1)]),
        ),
        (Reply::SubRefresh { ttl: None }, r#""sub_refresh":{}"#.to_owned(), message(15, [])),
        (
            Reply::SubRefresh { ttl: Some(u64::MAX) },
            r#""sub_refresh":{"expires":true,"ttl":4294967295}"#.to_owned(),
            message(15, [number(1, 1), number(2, u32::MAX.into())]),
        ),
        (Reply::Ping, r#""ping":{}"#.to_owned(), message(12, [])),
    ];
    for (reply, json, protobuf) in rows {
        let json = format!(r#"{{"id":3,{json}}}"#);
        assert_eq!(encode_reply(Format::Json, 3, &reply), Encoded::Json(json), "{reply:?}");
        let protobuf = item([number(1, 3), protobuf]);
        assert_eq!(encode_reply(Format::Protobuf, 3, &reply), Encoded::Protobuf(protobuf), "{reply:?}");
    }
}

#[test]
fn each_push_is_written_in_both_encodings() {
    let (info, publication, subscribed) = (info(), publication(), subscribed());
    let info_json = r#"{"info":{"user":"anna \"x\"","client":"00000000-0000-0000-0000-000000000001","conn_info":{"name":"Anna"},"chan_info":"//4="}}"#;
    let rows = [
        (
            Push::Publication { channel: "a\"b", publication: &publication },
            format!(r#""channel":"a\"b","pub":{PUBLICATION}"#),
            [bytes(2, "a\"b"), wire_publication(4)].concat(),
        ),
        (
            Push::Join { channel: "c", info: &info },
            format!(r#""channel":"c","join":{info_json}"#),
            [bytes(2, "c"), message(5, [wire_info(1)])].concat(),
        ),
        (
            Push::Leave { channel: "c", info: &info },
            format!(r#""channel":"c","leave":{info_json}"#),
            [bytes(2, "c"), message(6, [wire_info(1)])].concat(),
        ),
        (
            Push::Subscribe { channel: "c", answer: &subscribed, data: Some(&Data::json("1")) },
            r#""channel":"c","subscribe":{"recoverable":true,"epoch":"e","offset":8,"positioned":true,"data":1}"#
                .to_owned(),
            [bytes(2, "c"), message(9, [number(1, 1), bytes(4, "e"), number(5, 8), number(6, 1), bytes(7, "1")])]
                .concat(),
        ),
        (
            Push::Unsubscribe { channel: "c", why: Unsubscribe::InsufficientState },
            r#""channel":"c","unsubscribe":{"code":2500,"reason":"insufficient state"}"#.to_owned(),
            [bytes(2, "c"), message(7, [number(2, 2500), bytes(3, "insufficient state")])].concat(),
        ),
        (
            Push::Message { data: &Data::json("[]") },
            r#""message":{"data":[]}"#.to_owned(),
            message(8, [bytes(1, "[]")]),
        ),
        (
            Push::Disconnect(&Disconnect::SHUTDOWN),
            r#""disconnect":{"code":3001,"reason":"shutdown"}"#.to_owned(),
            message(11, [number(1, 3001), bytes(2, "shutdown")]),
        ),
    ];
    for (push, json, protobuf) in rows {
        let json = format!(r#"{{"push":{{{json}}}}}"#);
        assert_eq!(encode_push(Format::Json, push), Encoded::Json(json), "{push:?}");
        let protobuf = item([bytes(4, protobuf)]);
        assert_eq!(encode_push(Format::Protobuf, push), Encoded::Protobuf(protobuf), "{push:?}");
    }
}

#[test]
fn errors_and_pings_are_written_in_both_encodings() {
    let refusal = Refusal::from(PushError::TooManyRequests);
    let json = r#"{"id":4,"error":{"code":111,"message":"too many requests","temporary":true}}"#;
    assert_eq!(encode_error(Format::Json, 4, &refusal), Encoded::Json(json.to_owned()));
    let protobuf = item([number(1, 4), message(2, [number(1, 111), bytes(2, "too many requests"), number(3, 1)])]);
    assert_eq!(encode_error(Format::Protobuf, 4, &refusal), Encoded::Protobuf(protobuf));
    let lasting = encode_error(Format::Json, 4, &PushError::PermissionDenied.into());
    assert_eq!(lasting, Encoded::Json(r#"{"id":4,"error":{"code":103,"message":"permission denied"}}"#.to_owned()));
    assert_eq!(encode_ping(Format::Json), Encoded::Json("{}".to_owned()));
    assert_eq!(encode_ping(Format::Protobuf), Encoded::Protobuf(item([])));
}

#[test]
fn what_is_written_is_one_line_whatever_the_names() {
    let wicked = "\u{0}\n\r\"\\\u{2028}é";
    let info = ClientInfo { user: wicked.into(), conn_info: Some(Data::new(Kind::Text, wicked.as_bytes())), ..info() };
    let encoded = encode_push(Format::Json, Push::Join { channel: wicked, info: &info });
    let Encoded::Json(text) = encoded else { panic!("not JSON") };
    assert!(!text.contains(['\n', '\r', '\0']), "{text}");
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["push"]["channel"], wicked);
    assert_eq!(value["push"]["join"]["info"]["user"], wicked);
    assert_eq!(value["push"]["join"]["info"]["conn_info"], wicked);
}

#[test]
fn data_that_say_they_are_json_and_are_not_even_text_end_nothing() {
    let broken = Data::new(Kind::Json, b"\xff");
    let encoded = encode_push(Format::Json, Push::Message { data: &broken });
    assert_eq!(encoded, Encoded::Json("{\"push\":{\"message\":{\"data\":\u{fffd}}}}".to_owned()));
}
