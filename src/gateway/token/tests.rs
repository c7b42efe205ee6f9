//! Tokens of others' making, and all the ways in which one can be wrong.

use super::*;
use crate::push::Kind;

const SECRET: &str = "secret";
/// `{"sub":"42"}` and `{"sub":"42","channel":"news"}`, signed with [`SECRET`].
const USER_42: &str =
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI0MiJ9.79CVgMIG_JB921dVUeJDWNJubJojFodH3-XtC_1C408";
const NEWS_FOR_42: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI0MiIsImNoYW5uZWwiOiJuZXdzIn0.oxUUBcXxLORo9RiMfWQ4yGrbeHoHRfPk-5rM-TARuEY";

// Made with the `openssl` command, whose private keys are gone; each token says `{"sub":"42"}`.
const RSA_KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA6erbQD3G/7GEDZjauYXg\n\
1rEfqaYlSyBGpQXqZnXPKpM8htuUvXcTIxPMKBO8P0ts9HZPMyBRA+sI/xAXqxaD\n\
bJ0FIkLab+AVmz3bBEZUs3DG8Z+M0H8d9P1D7QapDl6TgqVU7e8rKQRxsinNceAg\n\
E1/hih6gMYCqloWC3q++8O8mJhLNTF1x9SAmuktlJPN4c/xmRMwpKg4N/mITuA1n\n\
ITmYRXYKcUNTtpkkbUVBZNDFBTtKHiCrMs8PjRl+fKkBLMr8mL0Ys32XdovZY1Ix\n\
fORW+PrJ+vkJO6/PrZWxHhbVIAmRir1Npe/fsKfnxPrWgp/lRE7eSFLyZQeZcWsG\n\
gQIDAQAB\n\
-----END PUBLIC KEY-----\n\
";
const SHORT_RSA_KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC4BFsa5oO3sN1/rLIekDF/BgPC\n\
U2TMS7HvIk/1vo1I75K6kafUzcaCmyPeeAOWJnbmhnZ4/QB8dwK9VZr8fakcq2uO\n\
Jup64dj3lxi7L/nHWZ5eaVZBGSBxsBnOVaD+oCMZU15fQ3HikASUsLQaHhsgmrfB\n\
MMuTMb3u0ttRXwIyhwIDAQAB\n\
-----END PUBLIC KEY-----\n\
";
const P256_KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE5S9Yn4PTc+HZ4dCbEaZqUW93OMc1\n\
C+xOgzHE8kEOWMfv7J6kmXvlNVvu/0i8ec+tGR/e3kwdq8lURjrOj6zgFw==\n\
-----END PUBLIC KEY-----\n\
";
const P384_KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAERGLhfV6ckig+pPSBjR4JW4NQVGrAaQbn\n\
H3/+SZ3FNayWpwt7T42VANCqxqkmM/vK4842aNF3nf2FFCfbh6cxbrs818GFU/4c\n\
E7ej2HBwYWvpl6Uh1VXPpLdDk7c1REq4\n\
-----END PUBLIC KEY-----\n\
";
const P521_KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQAY1EZzJguPIUEArPnfJ7OEU0XuBLA\n\
W8y2cxRAMiK7Mv+bDTjGW3jDE+NwXxifn+/1NNyQJjuLMXCJQFp5bv9XUTEA3ieJ\n\
eojfvPbW5IripLZ8mvqJ/yrvuuIC/tu//7jJ1yDY+6i8W/g1sICUgaV1+SF7Bot7\n\
vUGhZFj7I+lRrsw/fIQ=\n\
-----END PUBLIC KEY-----\n\
";
const BY_RSA: [&str; 3] = [
    "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI0MiJ9.gjSkKDJHjfw7nnSOs8Ex9-6iqu7M8L1WhuMYkC-EnPHhaVutLbPXKCz3teWmycgjAzHJx_qEDQv2JL6Mv1RKzS05E8DC0fVfCh_WRxV7jWoZtuVREn5cNRnnqqEHalJK7ZfEhwHAmvwuaGFhtRqjtbMQmB7kFXrMKBNxbi-1DU6Nj4gHeIOVGtd-Hjj3dJaN7633oFpboqgW5HZI5toZmqCzJRvys9XYPs5aZZaBlJTqHe9kD-_KIjL0i0I9K9Cf45NFS_LdriYirUrL5u5dapoAWN_Ge29hfaucYbq4rE8EuBVGZ1EjL66_qYoCGqOKv06cID9M3AOkWfXQdV5VRA",
    "eyJhbGciOiJSUzM4NCIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI0MiJ9.yQuQP2YeM34WH1h533Afi1kHCttOVBf3QCNRhf9bfuST-7yoGULxGdul25ICABssVejq7wVGTSQFVMzqqMWFHUzImC0kacM3Cb3dCM4Vog13CSByHI4zM_GVsf_t867Lxq4jL3R9NOHPoRqXwydlDjoGL54uGXRLcuSGSUg-EqmCqN3cQdvCJeTuh3tHptXI5u4DLZSnLk4VXNGsl2giGtQzTmO_Msqt9iTOl5OBohp4QK23KWYT_iexByHE0c-g3QN4MofkSvdkcu3Tpy8HsubtNtV5AlOMvfmqAu3y41erOXPWHI0r60JrjJABu0BiOO6oWmlY_8x8XfYPIhhCxQ",
    "eyJhbGciOiJSUzUxMiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI0MiJ9.WWegjtPP5GeJrkWgmtZaWPjHkL12cNRA9wXYgyXpUDo8x-J1Za8hFwTd7PGx073JDNEn4dTHDcg_4HLhgJDm4-zuhFU_EhD1-iUO_DFNbrrPJtfHfVsLLmF8V0LkaVdQlJMeHmYTXr_0ugUNK_9FeSDJsizwZvCuXFTxUhF1MSNa-TDUmKpsjCFCBQGzSH0V396L52HfwIaqTq6IWJUA2UvZCF6hjExIYCMSSfhrRsq9otUGyCNRm2Sm6J9Ummen19pNmnUKrxqFDISwI2VDCIDkmztLzJKKvZBXaoWLbNsNxXJteMIQBm1MWfH-FP4BzMNPqVRUKdnK5dW1uIJ9xw",
];
const BY_P256: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI0MiJ9.xSquWWNTxsiE80LkyIhwFL23JlB-vOyK1QWZFj7edybRPXEQEBCfH8mrpOZunPY1COTMI5XF2rU53EqgD7DdgQ";
const BY_P384: &str = "eyJhbGciOiJFUzM4NCIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI0MiJ9.yUiBEwzWcavt0IAPgjTNJBCi_54xWhcJXeEEkquNtmsSb6wqVJZ48oGFjJoeU312PWKGiFkqPlKQArrZB0qzmKJut7sSCRdtLpl568abVC3V4H2nebM2dF03f_Mdx4MR";

fn hmac() -> TokenConfig {
    TokenConfig { hmac_secret: Some(SECRET.to_owned()), ..TokenConfig::default() }
}

fn rsa() -> TokenConfig {
    TokenConfig { rsa_public_key: Some(RSA_KEY.to_owned()), ..TokenConfig::default() }
}

fn ecdsa(key: &str) -> TokenConfig {
    TokenConfig { ecdsa_public_key: Some(key.to_owned()), ..TokenConfig::default() }
}

fn verifier(config: &TokenConfig) -> Verifier {
    Verifier::new(config).expect("keys that can be read")
}

/// A token with any header and claims, signed with a secret by HS256 whatever the header says.
fn token(header: &str, claims: &str, secret: &[u8]) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signer = (DEFAULT_PROVIDER.signer_factory)(&Algorithm::HS256, &EncodingKey::from_secret(secret));
    let signature = signer.expect("a signer").sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn signed(claims: &str) -> String {
    token(r#"{"alg":"HS256"}"#, claims, SECRET.as_bytes())
}

/// Why this is not a connection's token now.
fn refused(config: &TokenConfig, token: &str) -> String {
    match verifier(config).connection(token, 1_000) {
        Err(TokenError::Invalid(why)) => why,
        other => panic!("{token}: {other:?}"),
    }
}

#[test]
fn tokens_of_others_are_read() {
    let mut rows = vec![(hmac(), USER_42), (ecdsa(P256_KEY), BY_P256), (ecdsa(P384_KEY), BY_P384)];
    rows.extend(BY_RSA.map(|token| (rsa(), token)));
    for (config, token) in rows {
        assert_eq!(verifier(&config).connection(token, 0).map(|claims| claims.sub), Ok("42".to_owned()), "{token}");
        let all = TokenConfig { ecdsa_public_key: config.ecdsa_public_key.or(Some(P256_KEY.to_owned())), ..rsa() };
        let all = TokenConfig { hmac_secret: Some(SECRET.to_owned()), ..all };
        assert!(verifier(&all).connection(token, 0).is_ok(), "{token} with all keys");
        assert!(verifier(&TokenConfig::default()).connection(token, 0).is_err(), "{token} without a key");
    }
    let claims = verifier(&hmac()).subscription(NEWS_FOR_42, 0).expect("a subscription's token");
    assert_eq!((claims.sub.as_str(), claims.channel.as_deref()), ("42", Some("news")));
}

#[test]
fn our_tokens_are_those_of_others() {
    let issuer = Issuer::new(SECRET);
    let claims = Claims { sub: "42".to_owned(), ..Claims::default() };
    assert_eq!(issuer.issue(&claims), USER_42);
    assert_eq!(issuer.issue(&Claims { channel: Some("news".to_owned()), ..claims }), NEWS_FOR_42);
}

#[test]
fn one_kind_of_token_is_not_the_other() {
    let verifier = verifier(&hmac());
    assert!(matches!(verifier.connection(NEWS_FOR_42, 0), Err(TokenError::Invalid(_))));
    assert!(matches!(verifier.connection(&signed(r#"{"channel":""}"#), 0), Err(TokenError::Invalid(_))));
    assert!(matches!(verifier.subscription(USER_42, 0), Err(TokenError::Invalid(_))));
    assert!(matches!(verifier.subscription(&signed(r#"{"channel":""}"#), 0), Err(TokenError::Invalid(_))));
}

/// Any one character changed, left out or doubled.
#[test]
fn a_token_that_was_touched_is_none() {
    // Curves are slow without optimization.
    for (config, original, step) in [(hmac(), USER_42, 1), (ecdsa(P256_KEY), BY_P256, 19)] {
        let verifier = verifier(&config);
        for at in (0..original.len()).step_by(step) {
            let (before, after) = (&original[..at], &original[at + 1..]);
            for instead in ["", "A", "B", "=", ".", "..", "\u{e9}"] {
                let changed = format!("{before}{instead}{after}");
                if changed != original {
                    assert!(verifier.connection(&changed, 0).is_err(), "{changed}");
                }
            }
            assert!(verifier.connection(before, 0).is_err(), "{before}");
        }
        for changed in [format!("{original}="), format!("{original}.x"), format!(" {original}"), String::new()] {
            assert!(verifier.connection(&changed, 0).is_err(), "{changed}");
        }
    }
}

#[test]
fn the_algorithm_is_one_of_the_key_and_never_none() {
    let claims = r#"{"sub":"42"}"#;
    let with_rsa = TokenConfig { rsa_public_key: Some(RSA_KEY.to_owned()), ..hmac() };
    let none = |alg: &str| format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#);
    for alg in ["none", "None", "NONE", "nOnE", "", "HS255", "hs256", "HS256 ", "PS256", "EdDSA", "RS256", "ES256"] {
        assert_eq!(
            verifier(&hmac()).connection(&token(&none(alg), claims, b""), 0).ok().map(|claims| claims.sub),
            None
        );
        refused(&with_rsa, &token(&none(alg), claims, SECRET.as_bytes()));
        let signed = token(&none(alg), claims, SECRET.as_bytes());
        let unsigned = &signed[..=signed.rfind('.').unwrap_or(0)];
        refused(&with_rsa, unsigned);
    }
    // The public key, which everybody knows, as if it were the secret.
    let der = URL_SAFE_NO_PAD.encode(RSA_KEY);
    for secret in [RSA_KEY, RSA_KEY.trim(), &der] {
        refused(&with_rsa, &token(&none("HS256"), claims, secret.as_bytes()));
        assert_eq!(refused(&rsa(), &token(&none("HS256"), claims, secret.as_bytes())), "an algorithm without a key");
    }
    for header in ["{}", "[]", "null", r#"{"alg":null}"#, r#"{"alg":["HS256"]}"#, r#"{"alg":"HS256","alg":"none"}"#] {
        assert_eq!(refused(&hmac(), &token(header, claims, SECRET.as_bytes())), "a header that cannot be read");
    }
    let critical = r#"{"alg":"HS256","crit":["exp"]}"#;
    assert!(refused(&hmac(), &token(critical, claims, SECRET.as_bytes())).contains("7515"));
    let key_of_its_own = r#"{"alg":"HS256","jku":"http://evil","kid":"../../dev/null","jwk":{"kty":"oct","k":""}}"#;
    assert!(verifier(&hmac()).connection(&token(key_of_its_own, claims, SECRET.as_bytes()), 0).is_ok());
    refused(&hmac(), &token(key_of_its_own, claims, b""));
}

#[test]
fn a_token_has_its_time() {
    let rows: [(&str, Result<Option<u64>, bool>); 15] = [
        ("{}", Ok(None)),
        (r#"{"exp":1001}"#, Ok(Some(1001))),
        (r#"{"exp":1001.9}"#, Ok(Some(1001))),
        (r#"{"exp":1000}"#, Err(true)),
        (r#"{"exp":999}"#, Err(true)),
        (r#"{"exp":0}"#, Err(true)),
        (r#"{"exp":-1}"#, Err(true)),
        (r#"{"exp":1e300}"#, Ok(Some(u64::MAX))),
        (r#"{"exp":18446744073709551616}"#, Ok(Some(u64::MAX))),
        (r#"{"exp":null}"#, Ok(None)),
        (r#"{"exp":"1001"}"#, Err(false)),
        (r#"{"nbf":1000}"#, Ok(None)),
        (r#"{"nbf":1001}"#, Err(false)),
        (r#"{"nbf":"1"}"#, Err(false)),
        (r#"{"exp":999,"nbf":1001}"#, Err(false)),
    ];
    for (claims, expected) in rows {
        let outcome = verifier(&hmac()).connection(&signed(claims), 1_000);
        assert_eq!(
            outcome.map(|claims| claims.exp).map_err(|error| error == TokenError::Expired),
            expected,
            "{claims}"
        );
    }
    let claims = verifier(&hmac()).connection(&signed(r#"{"expire_at":0}"#), 1_000);
    assert_eq!(claims.map(|claims| claims.expire_at), Ok(Some(0)));
}

#[test]
fn audience_and_issuer_are_those_that_are_asked_for() {
    let config = TokenConfig { audience: Some("push".to_owned()), issuer: Some("shop".to_owned()), ..hmac() };
    let rows = [
        (r#"{"aud":"push","iss":"shop"}"#, true),
        (r#"{"aud":["web","push"],"iss":"shop"}"#, true),
        (r#"{"aud":["web"],"iss":"shop"}"#, false),
        (r#"{"aud":[],"iss":"shop"}"#, false),
        (r#"{"aud":"pushy","iss":"shop"}"#, false),
        (r#"{"aud":"push","iss":"Shop"}"#, false),
        (r#"{"aud":"push","iss":null}"#, false),
        (r#"{"aud":"push"}"#, false),
        (r#"{"aud":{"push":1},"iss":"shop"}"#, false),
        (r#"{"iss":"shop"}"#, false),
        (r#"{"aud":"push","iss":"shop","iss":"shop"}"#, false),
    ];
    for (claims, taken) in rows {
        let outcome = verifier(&config).connection(&signed(claims), 0);
        assert_eq!(outcome.is_ok(), taken, "{claims}: {outcome:?}");
    }
    assert!(verifier(&hmac()).connection(&signed(r#"{"aud":"any","iss":"any"}"#), 0).is_ok());
}

#[test]
fn claims_are_read_strictly_and_null_is_absent() {
    let all = r#"{"sub":"42","info":{"a":1},"channels":["a"],"subs":{"b":{"info":[2],"b64info":"AP8=","data":{"c":3},
        "override":{"presence":{"value":true},"join_leave":{"value":false}}}},"meta":{},"jti":"1"}"#;
    let claims = verifier(&hmac()).connection(&signed(all), 0).expect("claims");
    assert_eq!(claims.info(), Some(Data::json(r#"{"a":1}"#)));
    assert_eq!(claims.channels, ["a"]);
    let sub = &claims.subs["b"];
    assert_eq!(sub.info(), Some(Data::new(Kind::Binary, b"\x00\xff")), "bytes come first");
    assert_eq!(sub.data(), Some(Data::json(r#"{"c":3}"#)));
    let overrides = sub.overrides.as_ref().expect("overrides");
    assert_eq!(overrides.presence.map(|option| option.value), Some(true));
    assert_eq!(overrides.join_leave.map(|option| option.value), Some(false));
    assert!(overrides.force_recovery.is_none());

    let nulls = r#"{"sub":null,"channel":null,"client":null,"exp":null,"expire_at":null,"info":null,"b64info":null,
        "channels":null,"subs":null,"override":null}"#;
    let claims = verifier(&hmac()).connection(&signed(nulls), 0).expect("claims");
    assert_eq!((claims.sub.as_str(), claims.info()), ("", None));
    let both = r#"{"info":{"a":1},"b64info":"eyJiIjoyfQ=="}"#;
    let claims = verifier(&hmac()).connection(&signed(both), 0).expect("claims");
    assert_eq!(claims.info(), Some(Data::json(r#"{"b":2}"#)), "bytes come first here, too");

    for wrong in [
        r#"{"sub":42}"#,
        r#"{"channels":"a"}"#,
        r#"{"channels":[1]}"#,
        r#"{"subs":["a"]}"#,
        r#"{"override":{"presence":true}}"#,
        r#"{"b64info":1}"#,
        r#"{"b64info":"no base64","info":1}"#,
        r#"{"subs":{"b":{"b64info":"AP8"}}}"#,
        r#"{"sub":"a","sub":"b"}"#,
        r#""sub""#,
        "",
        "{",
    ] {
        refused(&hmac(), &signed(wrong));
    }
    let not_text = token(r#"{"alg":"HS256"}"#, "{\"sub\":\"x\"}", SECRET.as_bytes());
    assert!(verifier(&hmac()).connection(&not_text, 0).is_ok());
}

#[test]
fn keys_that_cannot_be_used_are_named_and_not_told() {
    let rows = [
        (TokenConfig { hmac_secret: Some(String::new()), ..TokenConfig::default() }, "token-hmac-secret"),
        (TokenConfig { rsa_public_key: Some("no key".to_owned()), ..TokenConfig::default() }, "token-rsa-public-key"),
        (
            TokenConfig { rsa_public_key: Some(SHORT_RSA_KEY.to_owned()), ..TokenConfig::default() },
            "token-rsa-public-key",
        ),
        (TokenConfig { rsa_public_key: Some(P256_KEY.to_owned()), ..TokenConfig::default() }, "token-rsa-public-key"),
        (TokenConfig { rsa_public_key: Some(String::new()), ..TokenConfig::default() }, "token-rsa-public-key"),
        (ecdsa(RSA_KEY), "token-ecdsa-public-key"),
        (ecdsa(P521_KEY), "token-ecdsa-public-key"),
        (ecdsa("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), "token-ecdsa-public-key"),
    ];
    for (config, key) in rows {
        let error = Verifier::new(&config).expect_err("a key that cannot be used");
        assert_eq!(error.key, key);
        assert!(!error.to_string().contains("BEGIN"), "{error}");
    }
    let shown = format!("{:?} {:?} {:?}", verifier(&hmac()), Issuer::new(SECRET), hmac());
    assert!(!shown.contains(SECRET), "{shown}");
}
