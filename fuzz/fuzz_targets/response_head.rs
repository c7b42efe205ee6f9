//! A server's answer: judged the same however it is cut, and agreed to only if it is a 101 with the right accept key,
//! and nothing that was not asked for.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loopwire::deflate::{DeflateConfig, DeflateParams};
use loopwire::handshake::{ClientHandshake, ClientOptions, HandshakeError, Uri};
use loopwire_fuzz::{Choices, chopped};

/// Stands in a seed where the accept key belongs: no fuzzer finds that by chance.
const PLACEHOLDER: &[u8] = b"{accept}";
const NONCE: [u8; 16] = [0; 16];

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices::new(bytes);
    let asks_for_deflate = choices.flag();
    let cuts = [choices.byte(), choices.byte()];
    let (handshake, request) = start(asks_for_deflate);
    let request = String::from_utf8(request).expect("our request is text");
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
    let accept = loopwire::handshake::accept_key(key);
    let stream = with_accept(choices.rest(), accept.as_bytes());

    let whole = judge(handshake, &[&stream]);
    for cuts in [&cuts[..], &[1]] {
        assert_eq!(whole, judge(start(asks_for_deflate).0, &chopped(&stream, cuts)), "cut by {cuts:?}");
    }
    if let Some(Ok(agreed)) = whole {
        let head = &stream[..agreed.used];
        assert!(head.windows(13).any(|window| window == b"HTTP/1.1 101 " || window == b"HTTP/1.1 101\r"));
        assert!(head.ends_with(b"\r\n\r\n"));
        assert!(head.windows(accept.len()).any(|window| window == accept.as_bytes()));
        assert!(matches!(agreed.protocol.as_deref(), None | Some("chat" | "superchat")));
        assert!(asks_for_deflate || agreed.deflate.is_none());
        if let Some(params) = agreed.deflate {
            assert!(params.server_no_context_takeover && params.server_max_window_bits <= 12);
            assert!(params.client_max_window_bits <= 11);
        }
    }
});

fn start(asks_for_deflate: bool) -> (ClientHandshake, Vec<u8>) {
    let uri = Uri::parse("ws://localhost/chat").expect("a fine address");
    let deflate =
        DeflateConfig::default().server_no_context_takeover(true).server_max_window_bits(12).client_max_window_bits(11);
    let options = ClientOptions {
        protocols: vec!["chat".to_owned(), "superchat".to_owned()],
        deflate: asks_for_deflate.then_some(deflate),
        ..ClientOptions::default()
    };
    ClientHandshake::with_nonce(&uri, &options, NONCE).expect("fine options")
}

fn with_accept(bytes: &[u8], accept: &[u8]) -> Vec<u8> {
    match bytes.windows(PLACEHOLDER.len()).position(|window| window == PLACEHOLDER) {
        None => bytes.to_vec(),
        Some(at) => [&bytes[..at], accept, &bytes[at + PLACEHOLDER.len()..]].concat(),
    }
}

#[derive(Debug, PartialEq)]
struct Judged {
    protocol: Option<String>,
    deflate: Option<DeflateParams>,
    /// How many bytes of the stream the handshake took.
    used: usize,
}

/// What became of the handshake, errors by their words; `None` if it waits for more.
fn judge(mut handshake: ClientHandshake, pieces: &[&[u8]]) -> Option<Result<Judged, String>> {
    let mut before = 0;
    for piece in pieces {
        match handshake.push(piece) {
            Ok(None) => before += piece.len(),
            Ok(Some((agreed, used))) => {
                let judged = Judged { protocol: agreed.protocol, deflate: agreed.deflate, used: before + used };
                return Some(Ok(judged));
            }
            // Of several faults in a head, the one that shows first in this piece is named.
            Err(HandshakeError::Head(_)) => return Some(Err("no head".to_owned())),
            Err(error) => return Some(Err(format!("{error:?}"))),
        }
    }
    None
}
