//! Which pages may connect: origins compared as a whole, never by their looks.

use loopwire::handshake::{HeadLimits, OriginPolicy, Request, Version};

use crate::exchange::*;

#[test]
fn an_origin_is_compared_as_a_whole() {
    let list = OriginPolicy::list(["https://good.com", "http://LOCALHOST:3000", "chrome-extension://abcd"]).unwrap();
    let same = OriginPolicy::SameHost;
    // Origin, allowed by the list, allowed as the same host (Host: good.com).
    let rows = [
        ("https://good.com", true, true),
        ("https://good.com:443", true, true),
        ("HTTPS://GOOD.COM", true, true),
        ("http://localhost:3000", true, false),
        ("chrome-extension://abcd", true, false),
        ("http://good.com", false, true),
        ("wss://good.com", false, false),
        ("chrome-extension://good.com", false, false),
        ("http://good.com:443", false, false),
        ("https://good.com:8443", false, false),
        ("https://good.com.evil", false, false),
        ("https://evilgood.com", false, false),
        ("https://good.com@evil", false, false),
        ("https://good.com%2eevil", false, false),
        ("https://good.com\u{e9}", false, false),
        ("https://sub.good.com", false, false),
        ("https://good.co", false, false),
        ("https://good.com/", false, false),
        ("https://good.com/path", false, false),
        ("https://good.com https://evil.com", false, false),
        ("https://good.com,https://evil.com", false, false),
        ("http://localhost", false, false),
        ("good.com", false, false),
        ("//good.com", false, false),
        ("://good.com", false, false),
        ("null", false, false),
        ("file://", false, false),
        ("*", false, false),
        ("", false, false),
    ];
    for (origin, listed, same_host) in rows {
        let bytes = head(LINE, format!("Origin: {origin}\r\nHost: good.com\r\n{}", good_fields_but("Host")));
        let request = accepted(&bytes);
        assert_eq!(request.origin(), Some(origin));
        assert_eq!(OriginPolicy::Any.judge(&request), Ok(()));
        for (policy, allowed) in [(&list, listed), (&same, same_host)] {
            match policy.judge(&request) {
                Ok(()) => assert!(allowed, "{policy:?} allowed {origin:?}"),
                Err(rejection) => {
                    assert!(!allowed, "{policy:?} refused {origin:?}");
                    check_answer(&rejection, 403, "origin-forbidden");
                }
            }
        }
    }
    for not_one in ["null", "*", "good.com", "https://good.com/", "https://*.good.com", ""] {
        assert!(OriginPolicy::list([not_one]).unwrap_err().to_string().contains("not an origin"), "{not_one}");
    }
}

#[test]
fn a_missing_or_doubled_origin_is_refused_by_every_policy_but_any() {
    let missing = accepted(&good());
    let doubled = accepted(&with_each("Origin", &["https://example.com", "https://example.com"]));
    assert_eq!(doubled.origin(), None);
    for policy in [OriginPolicy::SameHost, OriginPolicy::list(["https://example.com"]).unwrap()] {
        check_answer(&policy.judge(&missing).unwrap_err(), 403, "origin-missing");
        check_answer(&policy.judge(&doubled).unwrap_err(), 403, "origin-duplicate");
    }
    assert_eq!(OriginPolicy::default().judge(&doubled), Ok(()));
}

#[test]
fn version_8_says_its_origin_in_another_field() {
    let fields = good_fields_but("Sec-WebSocket-Version");
    let old = format!("{fields}Sec-WebSocket-Version: 8\r\nSec-WebSocket-Origin: http://old\r\nOrigin: http://new\r\n");
    let old = accepted(&head(LINE, old));
    assert_eq!((old.version(), old.origin()), (Version::Hybi10, Some("http://old")));
    let new = accepted(&plus("Sec-WebSocket-Origin: http://old\r\nOrigin: http://new\r\n"));
    assert_eq!((new.version(), new.origin()), (Version::Rfc6455, Some("http://new")));
}

#[test]
fn loopback_allows_this_machine_by_names_that_are_nobody_elses() {
    for (origin, allowed) in [
        ("http://localhost:3000", true),
        ("https://LOCALHOST", true),
        ("http://127.0.0.1:8080", true),
        ("http://127.8.9.10", true),
        ("http://[::1]:8080", true),
        // Whoever has a name can have it point here: this is what Host says then, too.
        ("http://good.com", false),
        ("http://localhost.good.com", false),
        ("http://127.0.0.1.good.com", false),
        ("http://128.0.0.1", false),
        ("http://[::2]", false),
        ("http://0.0.0.0", false),
        ("null", false),
        ("file://", false),
    ] {
        let bytes = head(LINE, format!("Origin: {origin}\r\nHost: good.com\r\n{}", good_fields_but("Host")));
        assert_eq!(OriginPolicy::Loopback.judge(&accepted(&bytes)).is_ok(), allowed, "{origin}");
    }
    check_answer(&OriginPolicy::Loopback.judge(&accepted(&good())).unwrap_err(), 403, "origin-missing");
}

#[test]
fn a_plain_request_that_names_no_origin_is_judged_by_its_host_where_that_can_be_forged() {
    let list = OriginPolicy::list(["https://good.com"]).unwrap();
    // Fields, and which of Any, SameHost, Loopback and the list allow them.
    for (fields, allowed) in [
        ("Host: localhost:8080\r\n", [true, true, true, true]),
        ("Host: [::1]:8080\r\n", [true, true, true, true]),
        ("Host: good.com\r\n", [true, true, false, true]),
        ("Host: good.com\r\nOrigin: https://good.com\r\n", [true, true, false, true]),
        ("Host: localhost\r\nOrigin: https://good.com\r\n", [true, false, false, true]),
        ("Host: localhost\r\nOrigin: http://localhost:3000\r\n", [true, false, true, false]),
        ("Host: localhost\r\nOrigin: null\r\n", [true, false, false, false]),
        ("Host: localhost\r\nOrigin: http://localhost\r\nOrigin: http://localhost\r\n", [true, false, false, false]),
    ] {
        let bytes = format!("POST / HTTP/1.1\r\n{fields}\r\n").into_bytes();
        let request = Request::parse(&bytes, &HeadLimits::default()).unwrap();
        let policies = [OriginPolicy::Any, OriginPolicy::SameHost, OriginPolicy::Loopback, list.clone()];
        assert_eq!(policies.map(|policy| policy.judge_plain(&request).is_ok()), allowed, "{fields}");
    }
}
