//! The way through a proxy: conversations over HTTP CONNECT and SOCKS5, byte for byte, and every way they fail.

use loopwire::handshake::{ProxyError, ProxyHandshake, ProxyScheme, ProxyUri, UriError};

fn proxy(text: &str) -> ProxyUri {
    ProxyUri::parse(text).unwrap()
}

/// What a whole handshake sends, and how many bytes of `answers` it leaves to the server.
type Outcome = Result<(Vec<u8>, usize), ProxyError>;

/// Feeds `answers` in these pieces, as if the proxy spoke without waiting.
fn run<'a>(proxy: &ProxyUri, host: &str, port: u16, answers: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let (mut handshake, mut sent) = ProxyHandshake::new(proxy, host, port)?;
    let mut left = 0;
    let mut done = false;
    for piece in answers {
        if done {
            left += piece.len();
            continue;
        }
        let step = handshake.push(piece)?;
        sent.extend_from_slice(&step.send);
        done = step.done;
        left += piece.len() - step.consumed;
        assert!(done || left == 0, "a handshake that goes on takes everything");
    }
    if done { Ok((sent, left)) } else { Err(ProxyError::Truncated) }
}

/// Runs at all three chunkings.
fn run_every_way(proxy: &ProxyUri, host: &str, port: u16, answers: &[u8]) -> Outcome {
    let whole = run(proxy, host, port, [answers]);
    assert_eq!(run(proxy, host, port, answers.chunks(1)), whole, "one byte at a time");
    for cut in 0..=answers.len() {
        let (first, second) = answers.split_at(cut);
        assert_eq!(run(proxy, host, port, [first, second]), whole, "cut at {cut}");
    }
    whole
}

// ------------------------------------------------------------------------------------------------ addresses

#[test]
fn a_proxy_s_address_is_taken_apart() {
    let rows = [
        ("http://proxy", ProxyScheme::Http, "proxy", 80, true, "http://proxy:80"),
        ("HTTP://proxy:3128/", ProxyScheme::Http, "proxy", 3128, true, "http://proxy:3128"),
        ("socks5://10.0.0.1", ProxyScheme::Socks5, "10.0.0.1", 1080, false, "socks5://10.0.0.1:1080"),
        ("socks5h://user:pass@[::1]:9050", ProxyScheme::Socks5h, "::1", 9050, true, "socks5h://[::1]:9050"),
    ];
    for (text, scheme, host, port, resolves, shown) in rows {
        let proxy = proxy(text);
        assert_eq!((proxy.scheme(), proxy.host(), proxy.port()), (scheme, host, port), "{text}");
        assert_eq!(proxy.resolves_names(), resolves, "{text}");
        assert_eq!(format!("{proxy} {proxy:?}"), format!("{shown} {shown}"), "no credentials in it");
    }
    let rows = [
        ("proxy:3128", UriError::Scheme("proxy:3128".into())),
        ("https://proxy", UriError::Scheme("https".into())),
        ("socks4://proxy", UriError::Scheme("socks4".into())),
        ("http://", UriError::HostEmpty),
        ("http://proxy/path", UriError::ProxyPath),
        ("http://proxy?a", UriError::ProxyPath),
        ("http://proxy#a", UriError::Fragment),
        ("http://proxy:0", UriError::PortInvalid),
        ("http://a b", UriError::Byte(8)),
        ("http://a\r\nb", UriError::Byte(8)),
        ("http://u%3Av:p@proxy", UriError::Credentials),
    ];
    for (text, error) in rows {
        assert_eq!(ProxyUri::parse(text), Err(error), "{text:?}");
    }
}

// ------------------------------------------------------------------------------------------------ HTTP

#[test]
fn connect_asks_for_the_server_and_leaves_it_what_follows() {
    let ok = b"HTTP/1.1 200 Connection established\r\nContent-Length: 99\r\n\r\nserver";
    let rows = [
        ("http://proxy", "example.com", "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"),
        ("http://proxy", "::1", "CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n"),
        (
            "http://user:pa%20ss@proxy",
            "10.0.0.1",
            "CONNECT 10.0.0.1:443 HTTP/1.1\r\nHost: 10.0.0.1:443\r\nProxy-Authorization: Basic dXNlcjpwYSBzcw==\r\n\r\n",
        ),
    ];
    for (uri, host, request) in rows {
        let (sent, left) = run_every_way(&proxy(uri), host, 443, ok).unwrap();
        assert_eq!(String::from_utf8(sent).unwrap(), request);
        assert_eq!(left, "server".len());
    }
    for ok in ["HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 204 x\r\n\r\n", "HTTP/1.1 100 x\r\n\r\nHTTP/1.1 200 x\r\n\r\n"] {
        assert!(run_every_way(&proxy("http://proxy"), "a", 1, ok.as_bytes()).is_ok(), "{ok:?}");
    }
}

#[test]
fn an_http_proxy_s_refusals_say_what_to_do() {
    let rows: &[(&[u8], &str, &str)] = &[
        (
            b"HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm=\"a\"\r\n\r\n",
            "proxy-credentials-required",
            "user:password@",
        ),
        (b"HTTP/1.1 407 x\r\n\r\n", "proxy-credentials-required", "user:password@"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "proxy-refused", "403"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "proxy-refused", "502"),
        (b"HTTP/1.1 301 x\r\nLocation: /\r\n\r\n", "proxy-refused", "301"),
        (b"HTTP/1.1 101 x\r\n\r\n", "proxy-refused", "101"),
        (b"\x05\x00", "control-byte", "0x05"),
        (b"SSH-2.0", "start-line", "first line"),
        (b"HTTP/1.1 200 OK\r\n", "proxy-truncated", "stopped"),
        (b"", "proxy-truncated", "stopped"),
    ];
    for (answer, id, says) in rows {
        let error = run_every_way(&proxy("http://proxy"), "a", 1, answer).unwrap_err();
        assert_eq!(error.rule().id, *id, "{error}");
        assert!(error.to_string().contains(says) && error.to_string().contains(error.section()), "{error}");
    }
    let endless = run(&proxy("http://proxy"), "a", 1, vec![&b"HTTP/1.1 100 x\r\n\r\n"[..]; 10_000]);
    assert_eq!(endless.unwrap_err().rule().id, "head-too-long");
}

#[test]
fn a_host_that_could_say_more_than_a_host_is_not_asked_for() {
    let long = "a".repeat(256);
    for uri in ["http://proxy", "socks5h://proxy"] {
        for host in ["", "a b", "a\r\nX: y", "a\0", "a:1", "a/b", "u@a", "[::1]", "é"] {
            let error = ProxyHandshake::new(&proxy(uri), host, 1).unwrap_err();
            assert!(matches!(error, ProxyError::Host(_)), "{uri} {host:?}: {error}");
        }
    }
    assert!(ProxyHandshake::new(&proxy("socks5h://proxy"), &long[1..], 1).is_ok());
    assert!(ProxyHandshake::new(&proxy("socks5h://proxy"), &long, 1).is_err());
}

// ------------------------------------------------------------------------------------------------ SOCKS5

#[test]
fn socks_asks_for_each_kind_of_address() {
    let ipv6 = b"\x05\x01\x00\x05\x01\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb";
    let rows: &[(&str, &[u8])] = &[
        ("example.com", b"\x05\x01\x00\x05\x01\x00\x03\x0bexample.com\x01\xbb"),
        ("10.1.2.3", b"\x05\x01\x00\x05\x01\x00\x01\x0a\x01\x02\x03\x01\xbb"),
        ("2001:db8::1", ipv6),
    ];
    for (host, expected) in rows {
        let answers = b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x10\x92server";
        let (sent, left) = run_every_way(&proxy("socks5h://proxy"), host, 443, answers).unwrap();
        assert_eq!(sent, *expected, "{host}");
        assert_eq!(left, "server".len());
    }
}

#[test]
fn socks_understands_each_kind_of_bound_address() {
    let rows: &[&[u8]] = &[
        b"\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00",
        b"\x05\x00\x05\x00\x00\x03\x00\x00\x00",
        b"\x05\x00\x05\x00\x00\x03\x05proxy\x10\x92",
        b"\x05\x00\x05\x00\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x10\x92",
    ];
    for answers in rows {
        let followed = [answers, &b"server"[..]].concat();
        let (_, left) = run_every_way(&proxy("socks5://proxy"), "10.0.0.1", 80, &followed).unwrap();
        assert_eq!(left, "server".len(), "{answers:02x?}");
        for cut in 0..answers.len() {
            let outcome = run(&proxy("socks5://proxy"), "10.0.0.1", 80, [&answers[..cut]]);
            assert_eq!(outcome, Err(ProxyError::Truncated), "{answers:02x?} cut at {cut}");
        }
    }
}

#[test]
fn socks_gives_a_name_and_password_if_the_proxy_asks() {
    let with_password = proxy("socks5://user:pa%3Ass@proxy");
    let request = b"\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50";
    let reply = b"\x05\x00\x00\x01\0\0\0\0\0\0";

    let asked = [b"\x05\x02\x01\x00", &reply[..]].concat();
    let (sent, left) = run_every_way(&with_password, "10.0.0.1", 80, &asked).unwrap();
    assert_eq!(sent, [&b"\x05\x02\x00\x02\x01\x04user\x05pa:ss"[..], request].concat());
    assert_eq!(left, 0);

    let not_asked = [b"\x05\x00", &reply[..]].concat();
    let (sent, _) = run_every_way(&with_password, "10.0.0.1", 80, &not_asked).unwrap();
    assert_eq!(sent, [&b"\x05\x02\x00\x02"[..], request].concat(), "the password stays here");

    let long = format!("socks5://{}:p@proxy", "u".repeat(256));
    let error = ProxyHandshake::new(&proxy(&long), "10.0.0.1", 80).unwrap_err();
    assert_eq!(error, ProxyError::CredentialsTooLong);
}

#[test]
fn a_socks_proxy_s_refusals_say_what_to_do() {
    let rows: &[(&str, &[u8], ProxyError)] = &[
        ("socks5://p", b"HTTP/1.1 400 Bad Request", ProxyError::NotSocks(b'H')),
        ("socks5://p", b"\x04", ProxyError::NotSocks(4)),
        ("socks5://p", b"\x05\xff", ProxyError::SocksMethod(255)),
        ("socks5://p", b"\x05\x01", ProxyError::SocksMethod(1)),
        ("socks5://p", b"\x05\x02", ProxyError::SocksMethod(2)),
        ("socks5://u:p@p", b"\x05\x02\x01\x01", ProxyError::CredentialsRefused),
        ("socks5://u:p@p", b"\x05\x02\x05\x00", ProxyError::NotSocks(5)),
        ("socks5://p", b"\x05\x00\x05\x01", ProxyError::SocksRefused(1)),
        ("socks5://p", b"\x05\x00\x05\x05\x00\x01\0\0\0\0\0\0", ProxyError::SocksRefused(5)),
        ("socks5://p", b"\x05\x00\x05\x09", ProxyError::SocksRefused(9)),
        ("socks5://p", b"\x05\x00\x04", ProxyError::NotSocks(4)),
        ("socks5://p", b"\x05\x00\x05\x00\x00\x02\x00", ProxyError::SocksAddress(2)),
        ("socks5://p", b"\x05\x00\x05\x00", ProxyError::Truncated),
        ("socks5://p", b"", ProxyError::Truncated),
    ];
    for (uri, answers, expected) in rows {
        let error = run_every_way(&proxy(uri), "10.0.0.1", 80, answers).unwrap_err();
        assert_eq!(error, *expected, "{answers:02x?}");
        assert!(error.to_string().contains(error.section()), "{error}");
    }
}

#[test]
fn no_bytes_from_a_proxy_make_it_panic() {
    for uri in ["http://u:p@proxy", "socks5://u:p@proxy", "socks5h://proxy"] {
        for good in [&b"\x05\x02\x01\x00\x05\x00\x00\x03\x02ab\x00\x50"[..], b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"] {
            for at in 0..good.len() {
                for byte in 0..=255 {
                    let mut bytes = good.to_vec();
                    bytes[at] = byte;
                    let whole = run(&proxy(uri), "a", 1, [&bytes[..]]);
                    assert_eq!(run(&proxy(uri), "a", 1, bytes.chunks(1)), whole, "{bytes:02x?}");
                }
            }
        }
    }
}
