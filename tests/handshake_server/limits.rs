//! Limits at them, over them and around them, and bytes that nobody expects.

use loopwire::handshake::{Acceptance, HeadLimits, HeadReader, OriginPolicy, Rejection, Request, UpgradeRequest};

use crate::exchange::*;

#[test]
fn each_limit_is_kept_at_it_over_it_and_around_it() {
    let base = good().len();
    let at_line = |len: usize| line(format!("GET /{} HTTP/1.1", "a".repeat(len - "GET / HTTP/1.1".len())));
    let at_head = |len: usize| plus(format!("X: {}\r\n", "a".repeat(len - base - "X: \r\n".len())));
    let at_fields =
        |count: usize| plus((FIELDS.len()..count).fold(String::new(), |lines, n| lines + &format!("X-{n}: a\r\n")));

    accepted(&at_line(8192));
    check_answer(&rejected(&at_line(8193)), 414, "start-line-too-long");
    accepted(&at_head(16_384));
    check_answer(&rejected(&at_head(16_385)), 431, "head-too-long");
    accepted(&at_fields(100));
    check_answer(&rejected(&at_fields(101)), 431, "too-many-fields");
    check_answer(&rejected(&plus("X: a\r\n".repeat(96))), 431, "too-many-fields");
    check_answer(&rejected(&plus("X:\r\n".repeat(3000))), 431, "too-many-fields");
    check_answer(&rejected(&line("a".repeat(20_000))), 414, "start-line-too-long");
    // Other limits are kept as well, also by the parser alone.
    let limits = HeadLimits { request_line: 18, head: base, fields: 5 };
    assert!(Request::parse(&good(), &limits).is_ok());
    for (limits, id) in [
        (HeadLimits { request_line: 17, ..limits }, "start-line-too-long"),
        (HeadLimits { head: base - 1, ..limits }, "head-too-long"),
        (HeadLimits { fields: 4, ..limits }, "too-many-fields"),
    ] {
        assert_eq!(Request::parse(&good(), &limits).unwrap_err().rule().id, id);
    }
}

#[test]
fn a_head_that_never_ends_is_refused_at_its_cap_and_stays_refused() {
    for filler in [&b"a"[..], b"X: y\r\n", b"\r\n", b"GET / HTTP/1.1\r\n", b"\xff", b"\0"] {
        let mut reader = HeadReader::new(HeadLimits::default());
        let mut taken = 0;
        let rejection = loop {
            match reader.push(filler) {
                Ok(None) => taken += filler.len(),
                Ok(Some(_)) => panic!("{filler:?} ended"),
                Err(rejection) => break rejection,
            }
        };
        assert!(taken <= HeadLimits::default().head && reader.bytes().len() <= HeadLimits::default().head);
        assert_eq!(reader.push(b"\r\n\r\n").unwrap_err(), rejection);
    }
}

#[test]
fn no_byte_anywhere_makes_it_panic() {
    let names = [
        "Host",
        "Upgrade",
        "Connection",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "Origin",
        "Sec-WebSocket-Origin",
        "Content-Length",
        "Transfer-Encoding",
        "Cookie",
        "Expect",
    ];
    let policies = [OriginPolicy::SameHost, OriginPolicy::list(["https://example.com"]).unwrap()];
    let judge = |outcome: Result<(UpgradeRequest, Vec<u8>), Rejection>| match outcome {
        Ok((request, _)) => {
            assert!(request.response(&Acceptance::default()).unwrap().starts_with(b"HTTP/1.1 101 "));
            for policy in &policies {
                if let Err(rejection) = policy.judge(&request) {
                    assert_eq!(rejection.status(), 403);
                }
            }
        }
        Err(rejection) => {
            assert!(matches!(rejection.status(), 400..=499 | 505), "{rejection}");
            assert!(rejection.response().encode(false).ends_with(b"]\n"));
        }
    };
    for byte in 0..=255 {
        for name in names {
            let value = FIELDS.iter().find(|(field, _)| *field == name).map_or("a", |(_, value)| *value);
            let (first, second) = value.as_bytes().split_at(value.len() / 2);
            for value in [&[byte][..], &[first, &[byte], second].concat(), &[value.as_bytes(), &[byte]].concat()] {
                judge(shake([&with(name, value)[..]]));
            }
        }
    }
    // Every byte of a good head replaced by every byte; what that leaves unfinished is finished.
    let good = good();
    for at in 0..good.len() {
        for byte in 0..=255 {
            let mut head = good.clone();
            head[at] = byte;
            head.extend_from_slice(b"\r\n\r\n");
            let whole = shake([&head[..]]);
            assert_eq!(shake(head.chunks(1)).err(), whole.as_ref().err().cloned(), "byte {at} is {byte:#04x}");
            judge(whole);
        }
    }
}
