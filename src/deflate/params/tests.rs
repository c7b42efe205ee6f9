//! The rules of negotiation as tables: offers, answers, and every combination of both.

use super::*;

/// The four agreed parameters, in the order of the RFC.
type Judged = Result<(bool, bool, u8, u8), ParamError>;

type Params<'a> = Vec<(&'a str, Option<&'a str>)>;

/// The parameters of one extension as they stand in the field, for these tests only: no quotes, no commas.
fn params(text: &str) -> Params<'_> {
    let mut parts = text.split("; ");
    assert_eq!(parts.next(), Some("permessage-deflate"));
    parts.map(|part| part.split_once('=').map_or((part, None), |(name, value)| (name, Some(value)))).collect()
}

fn offer(text: &str) -> DeflateOffer {
    DeflateOffer::from_params(params(text)).unwrap()
}

#[test]
fn a_window_is_a_number_from_8_to_15_and_nothing_else() {
    for bits in 0..=255_u8 {
        let text = bits.to_string();
        assert_eq!(parse_bits(&text), (8..=15).contains(&bits).then_some(bits), "{text}");
    }
    let rows = [
        "",
        "008",
        "08",
        "1000",
        "16",
        "7",
        "-9",
        "+9",
        " 9",
        "9 ",
        "9.0",
        "0xa",
        "1e1",
        "\"10\"",
        "١٠",
        "8\0",
        "18446744073709551625",
    ];
    for text in rows {
        assert_eq!(parse_bits(text), None, "{text:?}");
        for name in [SERVER_MAX_WINDOW_BITS, CLIENT_MAX_WINDOW_BITS] {
            let expected = Err(ParamError::WindowInvalid(name));
            assert_eq!(DeflateOffer::from_params([(name, Some(text))]), expected, "{text:?}");
        }
    }
}

#[test]
fn offers_that_break_a_rule_are_declined() {
    let rows = [
        ("permessage-deflate; server_max_window_bits", ParamError::WindowInvalid(SERVER_MAX_WINDOW_BITS)),
        ("permessage-deflate; server_no_context_takeover=1", ParamError::ValueForbidden(SERVER_NO_CONTEXT_TAKEOVER)),
        ("permessage-deflate; client_no_context_takeover=", ParamError::ValueForbidden(CLIENT_NO_CONTEXT_TAKEOVER)),
        (
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            ParamError::Duplicate(SERVER_NO_CONTEXT_TAKEOVER),
        ),
        (
            "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
            ParamError::Duplicate(SERVER_MAX_WINDOW_BITS),
        ),
        (
            "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
            ParamError::Duplicate(CLIENT_MAX_WINDOW_BITS),
        ),
        ("permessage-deflate; mux", ParamError::Unknown("mux".into())),
        ("permessage-deflate; Server_Max_Window_Bits=9", ParamError::Unknown("Server_Max_Window_Bits".into())),
        ("permessage-deflate; ", ParamError::Unknown(String::new())),
    ];
    for (text, error) in rows {
        assert_eq!(DeflateOffer::from_params(params(text)), Err(error), "{text}");
    }
}

#[test]
fn a_server_answers_an_offer_with_the_narrower_of_both_wishes() {
    let plain = DeflateConfig::default();
    let frugal = DeflateConfig::default()
        .server_no_context_takeover(true)
        .client_no_context_takeover(true)
        .server_max_window_bits(11)
        .client_max_window_bits(10);
    let rows = [
        // (the offer, the answer by default, the answer of a server that saves memory)
        (
            "permessage-deflate",
            "permessage-deflate",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11",
        ),
        (
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; client_max_window_bits=11",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11; \
             client_max_window_bits=10",
        ),
        (
            "permessage-deflate; client_max_window_bits=9; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=8; client_max_window_bits=9",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=8; \
             client_max_window_bits=9",
        ),
        (
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11",
        ),
        (
            "permessage-deflate; server_max_window_bits=15",
            "permessage-deflate; server_max_window_bits=15",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11",
        ),
    ];
    for (text, by_default, when_frugal) in rows {
        let offers = [offer(text), DeflateOffer::default()];
        assert_eq!(plain.answer(&offers).unwrap().to_string(), by_default, "{text}");
        assert_eq!(frugal.answer(&offers).unwrap().to_string(), when_frugal, "{text}");
    }
    assert_eq!(plain.answer(&[]), None);
}

#[test]
fn a_client_takes_the_answers_that_its_offer_allows() {
    let plain = DeflateConfig::default();
    let windows = DeflateConfig::default().server_max_window_bits(10).client_max_window_bits(12);
    let contexts = DeflateConfig::default().server_no_context_takeover(true).client_no_context_takeover(true);
    assert_eq!(plain.offers()[0].to_string(), "permessage-deflate; client_max_window_bits");
    assert_eq!(
        windows.offers()[0].to_string(),
        "permessage-deflate; server_max_window_bits=10; client_max_window_bits=12"
    );
    assert_eq!(
        contexts.offers()[0].to_string(),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits"
    );

    let rows: [(&DeflateConfig, &str, Judged); 21] = [
        // What was not asked for may be given, save the client's window in an unfit size.
        (&plain, "permessage-deflate", Ok((false, false, 15, 15))),
        (&plain, "permessage-deflate; server_no_context_takeover", Ok((true, false, 15, 15))),
        (&plain, "permessage-deflate; client_no_context_takeover", Ok((false, true, 15, 15))),
        (&plain, "permessage-deflate; server_max_window_bits=8", Ok((false, false, 8, 15))),
        (&plain, "permessage-deflate; server_max_window_bits=15", Ok((false, false, 15, 15))),
        (&plain, "permessage-deflate; client_max_window_bits=8", Ok((false, false, 15, 8))),
        // What was asked for must be given.
        (&windows, "permessage-deflate; server_max_window_bits=10", Ok((false, false, 10, 12))),
        (
            &windows,
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=11",
            Ok((false, false, 9, 11)),
        ),
        (&windows, "permessage-deflate", Err(ParamError::NotGranted(SERVER_MAX_WINDOW_BITS))),
        (
            &windows,
            "permessage-deflate; server_max_window_bits=11",
            Err(ParamError::NotGranted(SERVER_MAX_WINDOW_BITS)),
        ),
        (
            &windows,
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=13",
            Err(ParamError::NotOffered(CLIENT_MAX_WINDOW_BITS)),
        ),
        (&contexts, "permessage-deflate", Err(ParamError::NotGranted(SERVER_NO_CONTEXT_TAKEOVER))),
        // The client's own context takeover was a hint, which it keeps to without being told.
        (&contexts, "permessage-deflate; server_no_context_takeover", Ok((true, true, 15, 15))),
        // Malformed.
        (&plain, "permessage-deflate; client_max_window_bits", Err(ParamError::WindowInvalid(CLIENT_MAX_WINDOW_BITS))),
        (&plain, "permessage-deflate; server_max_window_bits", Err(ParamError::WindowInvalid(SERVER_MAX_WINDOW_BITS))),
        (
            &plain,
            "permessage-deflate; server_max_window_bits=16",
            Err(ParamError::WindowInvalid(SERVER_MAX_WINDOW_BITS)),
        ),
        (
            &plain,
            "permessage-deflate; client_max_window_bits=7",
            Err(ParamError::WindowInvalid(CLIENT_MAX_WINDOW_BITS)),
        ),
        (
            &plain,
            "permessage-deflate; client_max_window_bits=09",
            Err(ParamError::WindowInvalid(CLIENT_MAX_WINDOW_BITS)),
        ),
        (
            &plain,
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            Err(ParamError::Duplicate(SERVER_NO_CONTEXT_TAKEOVER)),
        ),
        (
            &plain,
            "permessage-deflate; server_no_context_takeover=true",
            Err(ParamError::ValueForbidden(SERVER_NO_CONTEXT_TAKEOVER)),
        ),
        (&plain, "permessage-deflate; x", Err(ParamError::Unknown("x".into()))),
    ];
    for (config, text, expected) in rows {
        let judged = config.accept(params(text)).map(|params| {
            (
                params.server_no_context_takeover,
                params.client_no_context_takeover,
                params.server_max_window_bits,
                params.client_max_window_bits,
            )
        });
        assert_eq!(judged, expected, "{text}");
    }

    // Whoever did not offer to limit the client's window is not asked to.
    let mute = DeflateOffer::default();
    let answer = Parsed::read([(CLIENT_MAX_WINDOW_BITS, Some("15"))], WindowValue::Required).unwrap();
    assert_eq!(mute.judge(&answer), Err(ParamError::NotOffered(CLIENT_MAX_WINDOW_BITS)));
}

#[test]
fn both_roles_agree_on_every_combination() {
    let configs: Vec<DeflateConfig> = (0..64)
        .map(|i| {
            DeflateConfig::default()
                .server_no_context_takeover(i & 1 != 0)
                .client_no_context_takeover(i & 2 != 0)
                .server_max_window_bits([8, 9, 12, 15][i >> 2 & 3])
                .client_max_window_bits([8, 10, 13, 15][i >> 4 & 3])
        })
        .collect();
    for client in &configs {
        for server in &configs {
            let offers: Vec<_> = client.offers().iter().map(|made| offer(&made.to_string())).collect();
            assert_eq!(offers, client.offers());
            let answered = server.answer(&offers).unwrap();
            assert_eq!(client.accept(params(&answered.to_string())), Ok(answered), "{offers:?}");
        }
    }
}
