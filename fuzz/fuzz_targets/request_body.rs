//! A request's body in chunks: the same however it is cut; what is taken, a plain second reading of RFC 9112 §7.1 takes for
//! the same bytes of the same length; never a byte over the limit, nor one that has not come.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loopwire::handshake::{Body, BodyReader, Rejection};
use loopwire_fuzz::{Choices, chopped};

const LIMIT: usize = 300;

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices::new(bytes);
    let cuts = [choices.byte(), choices.byte()];
    let stream = choices.rest();

    let whole = collect(&[stream]);
    for cuts in [&cuts[..], &[1]] {
        assert_eq!(whole, collect(&chopped(stream, cuts)), "cut by {cuts:?}");
    }
    match whole {
        Ok(Some((body, len))) => assert_eq!(Some((body, len)), reread(stream), "read differently"),
        Ok(None) => assert_eq!(reread(stream), None, "waits for more than there is"),
        Err(rejection) => {
            let head = rejection.response().encode(false);
            assert!(head.starts_with(format!("HTTP/1.1 {} ", rejection.status()).as_bytes()));
            assert!(matches!(rejection.status(), 400 | 413 | 431));
        }
    }
});

/// The body and how many bytes it took, once it is complete, or whatever stopped it before.
fn collect(pieces: &[&[u8]]) -> Result<Option<(Vec<u8>, usize)>, Rejection> {
    let mut reader = BodyReader::new(Body::Chunked, LIMIT)?;
    let mut before = 0;
    for piece in pieces {
        let used = reader.push(piece)?;
        assert!(reader.bytes().len() <= LIMIT.min(before + piece.len()));
        if let Some(used) = used {
            return Ok(Some((reader.bytes().to_vec(), before + used)));
        }
        before += piece.len();
    }
    Ok(None)
}

/// The same by the grammar, line by line; `None` if there is no end.
fn reread(stream: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let line = line(stream, at)?;
        at += line.len() + 2;
        let size = line.split(|byte| *byte == b';').next()?;
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        body.extend_from_slice(stream.get(at..at.checked_add(size)?)?);
        at += size;
        assert_eq!(stream.get(at..at + 2)?, b"\r\n");
        at += 2;
    }
    loop {
        let field = line(stream, at)?;
        at += field.len() + 2;
        if field.is_empty() {
            return Some((body, at));
        }
    }
}

/// What stands from there up to the next CR LF.
fn line(stream: &[u8], at: usize) -> Option<&[u8]> {
    let rest = stream.get(at..)?;
    rest.windows(2).position(|pair| pair == b"\r\n").map(|end| &rest[..end])
}
