//! Building requests, and running them at every chunking.

use loopwire::handshake::{HeadLimits, HeadReader, Rejection, Request, Response, UpgradeRequest};

pub(crate) const LINE: &str = "GET /chat HTTP/1.1";
pub(crate) const FIELDS: [(&str, &str); 5] = [
    ("Host", "example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
];

/// A head of this request line and these bytes for fields.
pub(crate) fn head(line: impl AsRef<[u8]>, fields: impl AsRef<[u8]>) -> Vec<u8> {
    [line.as_ref(), b"\r\n", fields.as_ref(), b"\r\n"].concat()
}

pub(crate) fn good_fields_but(name: &str) -> String {
    FIELDS
        .iter()
        .filter(|(field, _)| *field != name)
        .map(|(field, value)| [field, ": ", value, "\r\n"].concat())
        .collect()
}

/// A good handshake.
pub(crate) fn good() -> Vec<u8> {
    head(LINE, good_fields_but(""))
}

/// A good handshake with another request line.
pub(crate) fn line(line: impl AsRef<[u8]>) -> Vec<u8> {
    head(line, good_fields_but(""))
}

/// A good handshake without this field.
pub(crate) fn without(name: &str) -> Vec<u8> {
    head(LINE, good_fields_but(name))
}

/// A good handshake in which this field has this value.
pub(crate) fn with(name: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    let field = [name.as_bytes(), b": ", value.as_ref(), b"\r\n"].concat();
    head(LINE, [good_fields_but(name).as_bytes(), &field].concat())
}

/// A good handshake in which this field stands once for each of these values.
pub(crate) fn with_each(name: &str, values: &[&str]) -> Vec<u8> {
    let lines: String = values.iter().map(|value| [name, ": ", value, "\r\n"].concat()).collect();
    head(LINE, good_fields_but(name) + &lines)
}

/// A good handshake with these bytes before the blank line.
pub(crate) fn plus(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    head(LINE, [good_fields_but("").as_bytes(), bytes.as_ref()].concat())
}

/// Feeds `pieces`, then judges. With the request comes what was left over.
pub(crate) fn shake<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(UpgradeRequest, Vec<u8>), Rejection> {
    let limits = HeadLimits::default();
    let mut reader = HeadReader::new(limits);
    let mut pieces = pieces.into_iter();
    for piece in &mut pieces {
        if let Some(used) = reader.push(piece)? {
            let mut left = piece[used..].to_vec();
            left.extend(pieces.flatten());
            let request = Request::parse(reader.bytes(), &limits)?;
            return Ok((UpgradeRequest::from_request(request)?, left));
        }
    }
    panic!("the head never ended: {:?}", String::from_utf8_lossy(reader.bytes()));
}

/// Runs `bytes` at all three chunkings, and gives what came out of all of them.
pub(crate) fn shake_every_way(bytes: &[u8]) -> Result<(UpgradeRequest, Vec<u8>), Rejection> {
    let whole = shake([bytes]);
    let summary = |outcome: &Result<(UpgradeRequest, Vec<u8>), Rejection>| match outcome {
        Ok((request, left)) => Ok((format!("{request:?}"), left.clone())),
        Err(rejection) => Err(rejection.clone()),
    };
    let expected = summary(&whole);
    assert_eq!(summary(&shake(bytes.chunks(1))), expected, "one byte at a time");
    // A head too long is cut only near its ends and around its middle: the cost would be the square of its length.
    let cuts: Vec<usize> =
        if bytes.len() < 2000 { (0..=bytes.len()).collect() } else { (0..bytes.len()).step_by(997).collect() };
    for cut in cuts {
        let (first, second) = bytes.split_at(cut);
        assert_eq!(summary(&shake([first, second])), expected, "cut at {cut}");
    }
    whole
}

pub(crate) fn accepted(bytes: &[u8]) -> UpgradeRequest {
    match shake_every_way(bytes) {
        Ok((request, _)) => request,
        Err(rejection) => panic!("{rejection}\n{}", String::from_utf8_lossy(bytes)),
    }
}

pub(crate) fn rejected(bytes: &[u8]) -> Rejection {
    match shake_every_way(bytes) {
        Err(rejection) => rejection,
        Ok(_) => panic!("accepted:\n{}", String::from_utf8_lossy(bytes)),
    }
}

/// What an answer's head says, line by line, and its body.
pub(crate) fn read_response(response: &Response) -> (Vec<String>, String) {
    let text = String::from_utf8(response.encode(false)).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split("\r\n").map(str::to_owned).collect(), body.to_owned())
}

/// That a rejection answers, closes and names its rule.
#[track_caller]
pub(crate) fn check_answer(rejection: &Rejection, status: u16, id: &str) {
    assert_eq!((rejection.status(), rejection.rule().id), (status, id), "{rejection}");
    let (lines, body) = read_response(&rejection.response());
    assert!(lines[0].starts_with(&format!("HTTP/1.1 {status} ")), "{lines:?}");
    assert!(lines.contains(&"Connection: close".to_owned()), "{lines:?}");
    assert!(lines.contains(&format!("Content-Length: {}", body.len())), "{lines:?}");
    assert!(body.contains(rejection.section()) && body.contains(rejection.rule().sentence), "{body}");
    assert!(!rejection.to_string().contains(['\r', '\n']), "one log line: {rejection}");
    let needs: &[&str] = match status {
        401 => &["WWW-Authenticate: "],
        405 => &["Allow: GET"],
        426 => &["Upgrade: websocket", "Connection: Upgrade"],
        _ => &[],
    };
    for field in needs {
        assert!(lines.iter().any(|line| line.starts_with(field)), "{field} missing in {lines:?}");
    }
}
