//! A request's head: the same however it is cut; accepted only if httparse reads the same in it; always answered by
//! a head that is one, with nothing of the request's making in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loopwire::deflate::DeflateConfig;
use loopwire::handshake::{Acceptance, HeadLimits, HeadReader, Rejection, Request, UpgradeRequest, accept_key};
use loopwire_fuzz::{Choices, chopped};

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices::new(bytes);
    let cuts = [choices.byte(), choices.byte()];
    let stream = choices.rest();

    let whole = collect(&[stream]);
    for cuts in [&cuts[..], &[1]] {
        let pieces = collect(&chopped(stream, cuts));
        assert_eq!(format!("{whole:?}"), format!("{pieces:?}"), "cut by {cuts:?}");
    }
    match whole {
        None => {}
        Some(Err(rejection)) => check_refusal(&rejection),
        Some(Ok(head)) => match Request::parse(&head, &HeadLimits::default()) {
            Err(rejection) => check_refusal(&rejection),
            Ok(request) => {
                check_request(&head, &request);
                match UpgradeRequest::from_request(request) {
                    Err(rejection) => check_refusal(&rejection),
                    Ok(upgrade) => check_upgrade(&upgrade),
                }
            }
        },
    }
});

/// The head's bytes once it is complete, and whatever stopped it before.
fn collect(pieces: &[&[u8]]) -> Option<Result<Vec<u8>, Rejection>> {
    let mut reader = HeadReader::new(HeadLimits::default());
    for piece in pieces {
        match reader.push(piece) {
            Ok(None) => assert!(reader.bytes().len() <= HeadLimits::default().head, "more kept than the limit"),
            Ok(Some(used)) => {
                assert!(used <= piece.len() && reader.bytes().ends_with(b"\r\n\r\n"));
                return Some(Ok(reader.bytes().to_vec()));
            }
            Err(rejection) => return Some(Err(rejection)),
        }
    }
    None
}

fn check_request(head: &[u8], request: &Request) {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut parsed = httparse::Request::new(&mut headers);
    let status = parsed.parse(head).expect("what we take, httparse takes");
    assert!(status.is_complete());
    assert_eq!(parsed.method, Some(request.method()));
    assert_eq!(parsed.path, Some(request.target()));
    let theirs: Vec<_> = parsed.headers.iter().map(|header| header.name).collect();
    let ours: Vec<_> = request.fields().iter().map(|(name, _)| name).collect();
    assert_eq!(theirs, ours);
    assert!(request.target().starts_with(request.path()) || request.target().contains("://"));
}

/// A rejection's answer: an error, complete, and nothing after it.
fn check_refusal(rejection: &Rejection) {
    for head_only in [false, true] {
        let answer = rejection.response().encode(head_only);
        let (status, fields, rest) = read_answer(&answer);
        assert!((400..600).contains(&status), "{status}");
        let values = |name: &str| {
            let named = fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
            named.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
        };
        // A list, which a 426 also puts its Upgrade in [RFC 9110 §15.5.22].
        assert!(values("Connection").contains(&"close"), "{fields:?}");
        let lengths = values("Content-Length");
        let [length] = lengths[..] else { panic!("{lengths:?} for a length") };
        assert_eq!(rest, if head_only { 0 } else { length.parse().expect("a number") });
    }
    assert!(!rejection.section().is_empty());
}

fn check_upgrade(upgrade: &UpgradeRequest) {
    let acceptance = Acceptance {
        protocol: upgrade.protocols().first().cloned(),
        deflate: DeflateConfig::default().answer(upgrade.offers()),
        ..Acceptance::default()
    };
    let answer = upgrade.response(&acceptance).expect("what was offered can be accepted");
    let (status, fields, rest) = read_answer(&answer);
    assert_eq!((status, rest), (101, 0));
    let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
    let mut expected = vec!["Upgrade", "Connection", "Sec-WebSocket-Accept"];
    expected.extend(acceptance.protocol.is_some().then_some("Sec-WebSocket-Protocol"));
    expected.extend(acceptance.deflate.is_some().then_some("Sec-WebSocket-Extensions"));
    assert_eq!(names, expected, "a field that the request made");
    let key = upgrade.fields().get("Sec-WebSocket-Key").expect("the key was required");
    assert_eq!(fields[2].1, accept_key(key));
}

/// Status, fields, and how many bytes follow the head.
fn read_answer(answer: &[u8]) -> (u16, Vec<(String, String)>, usize) {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut parsed = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(len) = parsed.parse(answer).expect("our answer is HTTP") else {
        panic!("an unfinished answer")
    };
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).expect("our fields are UTF-8");
    let fields = parsed.headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect();
    (parsed.code.expect("a status"), fields, answer.len() - len)
}
