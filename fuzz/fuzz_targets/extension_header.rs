//! The Sec-WebSocket-Extensions field, from a request to what both ends agree on.

#![no_main]

use base64::Engine;
use libfuzzer_sys::fuzz_target;
use loopwire::deflate::{DeflateConfig, DeflateOffer};
use loopwire::handshake::{HeadLimits, Request, UpgradeRequest};
use loopwire_fuzz::Choices;

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices::new(bytes);
    let mut config = DeflateConfig::default()
        .server_no_context_takeover(choices.flag())
        .client_no_context_takeover(choices.flag())
        .server_max_window_bits(8 + choices.byte() % 8);
    config.client_max_window_bits = [None, Some(8 + choices.byte() % 8)][usize::from(choices.flag())];
    let value = choices.rest();

    let Some(offers) = offers_of(value) else { return };
    for offer in &offers {
        assert_eq!(offers_of(offer.to_string().as_bytes()).as_deref(), Some(&[*offer][..]), "{offer} reads otherwise");
    }
    // Every well-formed offer was named, and names are what this side answers to.
    let named = String::from_utf8_lossy(value).matches("permessage-deflate").count();
    assert!(offers.len() <= named, "{} offers out of {named}", offers.len());

    let Some(answer) = config.answer(&offers) else {
        assert!(offers.is_empty());
        return;
    };
    let offer = offers[0];
    assert!(answer.server_no_context_takeover >= offer.server_no_context_takeover);
    assert!(answer.server_max_window_bits <= offer.server_max_window_bits.unwrap_or(15));
    assert!(answer.server_max_window_bits <= config.server_max_window_bits);
    match offer.client_max_window_bits {
        None => assert_eq!(answer.client_max_window_bits, 15, "asked of a client that cannot"),
        Some(bits) => assert!(answer.client_max_window_bits <= bits.min(config.client_max_window_bits.unwrap_or(15))),
    }

    // Our own client agrees with our own server, by the answer's text alone.
    let client = config.clone();
    let answer = DeflateConfig::default().answer(&client.offers()).expect("our own offer");
    let text = answer.to_string();
    let params = text.split(';').skip(1).map(|param| match param.trim().split_once('=') {
        None => (param.trim(), None),
        Some((name, value)) => (name, Some(value)),
    });
    let accepted = client.accept(params).expect("an answer to our own offer");
    assert_eq!(accepted.server_no_context_takeover, answer.server_no_context_takeover);
    assert_eq!(accepted.client_no_context_takeover, answer.client_no_context_takeover);
    assert_eq!(accepted.server_max_window_bits, answer.server_max_window_bits);
    assert_eq!(accepted.client_max_window_bits, answer.client_max_window_bits);
});

/// The offers that a request with this field makes; `None` if it is refused.
fn offers_of(value: &[u8]) -> Option<Vec<DeflateOffer>> {
    let key = base64::engine::general_purpose::STANDARD.encode([0; 16]);
    let mut head = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Extensions: "
    )
    .into_bytes();
    if value.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return None;
    }
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n\r\n");
    let request = Request::parse(&head, &HeadLimits::default()).ok()?;
    Some(UpgradeRequest::from_request(request).ok()?.offers().to_vec())
}
