//! Bodies of requests, without a socket: every row whole, byte by byte, and cut at each point.

use loopwire::handshake::{Body, BodyReader, Rejection};

const LIMIT: usize = 20;

/// The body and how many bytes it took, or why not; and how many of those that were given had been looked at by then.
fn read<'a>(
    body: Body,
    limit: usize,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Option<(Vec<u8>, usize)>, Rejection> {
    let mut reader = BodyReader::new(body, limit)?;
    let mut before = 0;
    if reader.push(b"")?.is_some() {
        return Ok(Some((reader.bytes().to_vec(), 0)));
    }
    for piece in pieces {
        match reader.push(piece)? {
            Some(used) => {
                assert_eq!(reader.push(b"more"), Ok(Some(0)), "it stays complete");
                return Ok(Some((reader.bytes().to_vec(), before + used)));
            }
            None => before += piece.len(),
        }
        assert!(reader.bytes().len() <= before, "what it holds came");
    }
    Ok(None)
}

/// The same, having made sure that it does not depend on how the bytes are cut.
fn read_every_way(body: Body, limit: usize, bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Rejection> {
    let whole = read(body, limit, [bytes]);
    assert_eq!(read(body, limit, bytes.chunks(1)), whole, "byte by byte");
    for cut in 0..=bytes.len() {
        let (first, second) = bytes.split_at(cut);
        assert_eq!(read(body, limit, [first, second]), whole, "cut at {cut}");
    }
    whole
}

fn chunked(bytes: impl AsRef<[u8]>) -> Result<Option<(Vec<u8>, usize)>, Rejection> {
    read_every_way(Body::Chunked, LIMIT, bytes.as_ref())
}

#[test]
fn a_body_of_known_length_ends_with_its_last_byte() {
    assert_eq!(read_every_way(Body::None, 0, b"GET"), Ok(Some((Vec::new(), 0))));
    assert_eq!(read_every_way(Body::Length(5), LIMIT, b"HelloGET / "), Ok(Some((b"Hello".to_vec(), 5))));
    assert_eq!(read_every_way(Body::Length(5), LIMIT, b"Hell"), Ok(None));
    let full = [b'x'; LIMIT];
    assert_eq!(read_every_way(Body::Length(20), LIMIT, &full), Ok(Some((full.to_vec(), 20))), "at the limit");
    for length in [21, 1 << 32, u64::MAX] {
        assert_eq!(read(Body::Length(length), LIMIT, [b"".as_slice()]), Err(Rejection::BodyTooLong(LIMIT)));
    }
}

#[test]
fn chunks_are_put_together() {
    // The bytes, the body.
    let rows: [(&str, &str); 11] = [
        ("0\r\n\r\n", ""),
        ("5\r\nHello\r\n0\r\n\r\n", "Hello"),
        ("1\r\nH\r\n4\r\nello\r\n000\r\n\r\n", "Hello"),
        ("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"),
        ("14\r\n01234567890123456789\r\n0\r\n\r\n", "01234567890123456789"),
        ("0000000000000002\r\n\r\n\r\n0\r\n\r\n", "\r\n"),
        ("2;a\r\nab\r\n0;last\r\n\r\n", "ab"),
        ("2;a=\"b;\t\\\"c\"; d = é\r\nab\r\n0\r\n\r\n", "ab"),
        ("2\r\nab\r\n0\r\nX: y\r\n\r\n", "ab"),
        ("2\r\nab\r\n0\r\nContent-Length:\r\nTransfer-Encoding: \tchunked\r\n\r\n", "ab"),
        ("3\r\n0\r\n\r\n0\r\n\r\n", "0\r\n"),
    ];
    for (bytes, body) in rows {
        let with_more = format!("{bytes}0\r\n\r\nPOST / HTTP/1.1\r\n\r\n");
        assert_eq!(chunked(with_more), Ok(Some((body.into(), bytes.len()))), "{bytes:?}");
        for cut in 0..bytes.len() {
            if bytes.is_char_boundary(cut) {
                assert_eq!(read(Body::Chunked, LIMIT, [&bytes.as_bytes()[..cut]]), Ok(None), "{bytes:?} cut at {cut}");
            }
        }
    }
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    let rows = [
        "\r\n",
        "\n",
        ";a\r\n",
        " 1\r\n",
        "+1\r\n",
        "-1\r\n",
        "0x1\r\n",
        "1 \r\n",
        "1 ;a\r\n",
        "1\t\r\n",
        "1,\r\n",
        "g\r\n",
        "1\n",
        "1\r1\r\n",
        "1\r\r\n",
        "1;a\n",
        "1;a\0\r\n",
        "1;a\rb\r\n",
        "1\r\nab\r\n",
        "1\r\na\n",
        "1\r\na\rb",
        "1\r\na0\r\n",
        "0\r\n\n",
        "0\r\n\rX",
        // Sizes of more than 64 bits: 2⁶⁴, and 5 with as many digits.
        "10000000000000000\r\n",
        "00000000000000005\r\n",
        "FFFFFFFFFFFFFFFFF\r\n",
    ];
    for bytes in rows {
        let outcome = chunked(bytes);
        let rejection = outcome.expect_err(bytes);
        assert_eq!(rejection.status(), 400, "{bytes:?}: {rejection}");
    }
}

#[test]
fn what_follows_the_last_chunk_has_to_be_fields() {
    let rows = [
        ("X y\r\n\r\n", "space-before-colon"),
        ("X\r\n\r\n", "no-colon"),
        (": y\r\n\r\n", "field-name"),
        ("GET / HTTP/1.1\r\n\r\n", "space-before-colon"),
        ("X(: y\r\n\r\n", "field-name"),
        (" X: y\r\n\r\n", "fold"),
        ("X: y\n\r\n", "bare-line-feed"),
        ("X\n", "bare-line-feed"),
        ("X: y\rz\r\n\r\n", "bare-carriage-return"),
        ("X: \0\r\n\r\n", "control-byte"),
        ("X: \x7f\r\n\r\n", "control-byte"),
    ];
    for (fields, id) in rows {
        let rejection = chunked(format!("1\r\na\r\n0\r\n{fields}")).expect_err(fields);
        assert_eq!((rejection.status(), rejection.rule().id), (400, id), "{fields:?}");
    }
}

#[test]
fn chunks_are_limited_all_together_and_at_their_size() {
    let too_long = Err(Rejection::BodyTooLong(LIMIT));
    assert_eq!(chunked("14\r\n"), Ok(None));
    assert_eq!(chunked("15\r\n"), too_long, "without a byte of it");
    assert_eq!(chunked("10\r\n0123456789abcdef\r\n4\r\n"), Ok(None));
    assert_eq!(chunked("10\r\n0123456789abcdef\r\n5\r\n"), too_long);
    assert_eq!(chunked("1\r\na\r\n".repeat(LIMIT) + "0\r\n\r\n"), Ok(Some((vec![b'a'; LIMIT], 6 * LIMIT + 5))));
    assert_eq!(chunked("1\r\na\r\n".repeat(LIMIT + 1)), too_long);
    // What would pass as a small number, narrowed or added up.
    for size in ["FFFFFFFFFFFFFFFF", "100000000", "100000005", "8000000000000001", "FFFFFFFFFFFFFFFE"] {
        assert_eq!(chunked(format!("2\r\nab\r\n{size}\r\n")), too_long, "{size}");
    }
}

#[test]
fn extensions_are_limited_in_all_of_a_body() {
    const MAX: usize = BodyReader::MAX_EXTENSIONS;
    let one = |len: usize| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(len - 1));
    let read = |bytes: String| {
        let whole = read(Body::Chunked, LIMIT, [bytes.as_bytes()]);
        assert_eq!(byte_by_byte(&bytes), whole);
        whole
    };
    assert!(matches!(read(one(MAX)), Ok(Some(_))));
    assert_eq!(read(one(MAX + 1)), Err(Rejection::ChunkExtensionsTooLong(MAX)));
    // Around it: a little with each chunk, and nothing but their beginnings.
    let each = format!("1;{}\r\na\r\n", ";".repeat(MAX / 16 - 1));
    assert!(matches!(read(each.repeat(16) + "0\r\n\r\n"), Ok(Some(_))));
    assert_eq!(read(each.repeat(16) + "0;\r\n\r\n"), Err(Rejection::ChunkExtensionsTooLong(MAX)));
}

#[test]
fn fields_behind_the_last_chunk_are_limited() {
    const MAX: usize = BodyReader::MAX_TRAILERS;
    let read = |fields: String| {
        let bytes = format!("0\r\n{fields}\r\n");
        let whole = read(Body::Chunked, LIMIT, [bytes.as_bytes()]);
        assert_eq!(byte_by_byte(&bytes), whole);
        whole
    };
    let too_long = Err(Rejection::TrailersTooLong(MAX));
    assert!(matches!(read(format!("X:{}\r\n", "y".repeat(MAX - 4))), Ok(Some(_))));
    assert_eq!(read(format!("X:{}\r\n", "y".repeat(MAX - 3))), too_long);
    assert_eq!(read("y".repeat(MAX + 1)), too_long);
    // Around it: many that are short.
    assert!(matches!(read("X:\r\n".repeat(MAX / 4)), Ok(Some(_))));
    assert_eq!(read("X:\r\n".repeat(MAX / 4 + 1)), too_long);
    assert_eq!(Rejection::TrailersTooLong(MAX).status(), 431);
}

fn byte_by_byte(bytes: &str) -> Result<Option<(Vec<u8>, usize)>, Rejection> {
    read(Body::Chunked, LIMIT, bytes.as_bytes().chunks(1))
}
