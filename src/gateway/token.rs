//! JSON Web Tokens: who somebody is, and what they may subscribe to, signed by the application.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::config::{ConfigError, TokenConfig};
use super::data;
use crate::push::Data;

/// What a token says. A connection's has no `channel`, a subscription's has to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Claims {
    /// The user; empty or absent: anonymous.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub sub: String,
    /// The channel of a subscription token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The client of a subscription token, if it is for that one alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// When it expires, in seconds since the Unix epoch.
    #[serde(deserialize_with = "moment", skip_serializing_if = "Option::is_none")]
    pub exp: Option<u64>,
    /// When the connection or subscription expires, if not with the token; 0: never.
    #[serde(deserialize_with = "moment", skip_serializing_if = "Option::is_none")]
    pub expire_at: Option<u64>,
    /// What others may know, as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<Box<RawValue>>,
    /// The same as bytes, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b64info: Option<String>,
    /// Channels to subscribe the connection to.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
    /// The same with particulars.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub subs: BTreeMap<String, SubscriptionClaims>,
    /// Options of a subscription token's channel that this subscription has otherwise.
    #[serde(rename = "override", skip_serializing_if = "Option::is_none")]
    pub overrides: Option<Overrides>,
}

/// What a token says of a channel that its connection is subscribed to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SubscriptionClaims {
    /// What others in the channel may know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<Box<RawValue>>,
    /// The same as bytes, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b64info: Option<String>,
    /// Data for the subscriber, sent with the subscription.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// Options that this subscription has otherwise.
    #[serde(rename = "override", skip_serializing_if = "Option::is_none")]
    pub overrides: Option<Overrides>,
}

/// Options of a channel that one subscription has otherwise, each `{"value": true}`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Overrides {
    /// See [`ChannelOptions`](crate::push::ChannelOptions), as all here.
    pub presence: Option<Override>,
    #[expect(missing_docs, reason = "as above")]
    pub join_leave: Option<Override>,
    #[expect(missing_docs, reason = "as above")]
    pub force_push_join_leave: Option<Override>,
    #[expect(missing_docs, reason = "as above")]
    pub force_positioning: Option<Override>,
    #[expect(missing_docs, reason = "as above")]
    pub force_recovery: Option<Override>,
}

/// An option's other value.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Override {
    /// The value.
    pub value: bool,
}

/// Why a token is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenError {
    /// Its time is over.
    Expired,
    /// It is not ours, or not for this; the text is for the log, not for the client.
    Invalid(String),
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("the token has expired"),
            Self::Invalid(why) => write!(f, "the token is not valid: {why}"),
        }
    }
}

impl std::error::Error for TokenError {}

impl Claims {
    /// What others may know.
    pub(super) fn info(&self) -> Option<Data> {
        info(self.info.as_deref(), self.b64info.as_deref())
    }

    fn b64infos(&self) -> impl Iterator<Item = &String> {
        self.b64info.iter().chain(self.subs.values().filter_map(|sub| sub.b64info.as_ref()))
    }
}

impl SubscriptionClaims {
    /// What others in the channel may know.
    pub(super) fn info(&self) -> Option<Data> {
        info(self.info.as_deref(), self.b64info.as_deref())
    }

    /// Data for the subscriber.
    pub(super) fn data(&self) -> Option<Data> {
        info(self.data.as_deref(), None)
    }
}

/// The info of either form; bytes come first, as in the protocol's own server. What cannot be read is left out.
fn info(json: Option<&RawValue>, base64: Option<&str>) -> Option<Data> {
    match base64 {
        Some(base64) if !base64.is_empty() => STANDARD.decode(base64).ok().map(|bytes| data::of_bytes(&bytes)),
        _ => json.and_then(|json| data::of_json(json.get().as_bytes())),
    }
}

/// Verifies tokens by the configured keys, and by the algorithms that belong to each key alone.
///
/// The header of a token chooses among the configured keys' own algorithms and nothing else: a public key is never a
/// secret, and `none` is no algorithm [RFC 8725 §3.1].
pub struct Verifier {
    keys: Vec<Key>,
    audience: Option<String>,
    issuer: Option<String>,
}

struct Key {
    algorithms: &'static [Algorithm],
    key: DecodingKey,
}

const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
const RSA: &[Algorithm] = &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512];
/// The bits of the shortest RSA key [RFC 7518 §3.3].
const MIN_RSA_BITS: usize = 2048;

impl Verifier {
    /// A verifier with these keys; with none, no token is valid.
    ///
    /// # Errors
    /// A key that cannot be read; the error names it and never repeats it.
    pub fn new(config: &TokenConfig) -> Result<Self, ConfigError> {
        let mut keys = Vec::new();
        if let Some(secret) = &config.hmac_secret {
            if secret.is_empty() {
                return Err(unusable("token-hmac-secret", "is empty: give a long random one, or leave it out"));
            }
            keys.push(Key { algorithms: HMAC, key: DecodingKey::from_secret(secret.as_bytes()) });
        }
        if let Some(pem) = &config.rsa_public_key {
            keys.push(rsa_key(pem)?);
        }
        if let Some(pem) = &config.ecdsa_public_key {
            keys.push(ecdsa_key(pem)?);
        }
        Ok(Self { keys, audience: config.audience.clone(), issuer: config.issuer.clone() })
    }

    /// The claims of a connection's token. `now` is in seconds since the Unix epoch.
    ///
    /// # Errors
    /// As in [`TokenError`]; a `channel` in it is one.
    pub fn connection(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        let claims = self.claims(token, now)?;
        match claims.channel {
            // A subscription's token says less of its bearer and may be handed out more freely.
            Some(_) => Err(invalid("a channel in a connection's token")),
            None => Ok(claims),
        }
    }

    /// The claims of a subscription's token; its `channel` is there, and for the caller to compare, as are user and client.
    ///
    /// # Errors
    /// As in [`TokenError`].
    pub fn subscription(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        let claims = self.claims(token, now)?;
        match claims.channel.as_deref() {
            None | Some("") => Err(invalid("no channel in a subscription's token")),
            Some(_) => Ok(claims),
        }
    }

    /// What a token says that is signed by one of the keys, in its time and for this server.
    fn claims(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        let payload = self.payload(token)?;
        let text = std::str::from_utf8(&payload).map_err(|_| invalid("claims that are no UTF-8"))?;
        let unreadable = |error| TokenError::Invalid(format!("claims that cannot be read: {error}"));
        let terms: Terms = serde_json::from_str(text).map_err(unreadable)?;
        let claims: Claims = serde_json::from_str(text).map_err(unreadable)?;
        if terms.nbf.is_some_and(|begin| now < begin) {
            return Err(invalid("not valid yet"));
        }
        if self.audience.as_ref().is_some_and(|audience| !terms.aud.contains(audience)) {
            return Err(invalid("for another audience"));
        }
        if self.issuer.is_some() && self.issuer != terms.iss {
            return Err(invalid("of another issuer"));
        }
        if claims.b64infos().any(|info| STANDARD.decode(info).is_err()) {
            return Err(invalid("a b64info that is no base64"));
        }
        if claims.exp.is_some_and(|end| end <= now) {
            return Err(TokenError::Expired);
        }
        Ok(claims)
    }

    /// The bytes that are signed, once the signature is known to be one of ours.
    fn payload(&self, token: &str) -> Result<Vec<u8>, TokenError> {
        let (message, signature) = token.rsplit_once('.').ok_or_else(|| invalid("not three parts"))?;
        let (header, payload) = message.split_once('.').ok_or_else(|| invalid("not three parts"))?;
        let [header, payload, signature] = [header, payload, signature].map(|part| URL_SAFE_NO_PAD.decode(part));
        let header: Header = header
            .ok()
            .and_then(|header| serde_json::from_slice(&header).ok())
            .ok_or_else(|| invalid("a header that cannot be read"))?;
        if header.crit.is_some() {
            return Err(invalid("an extension that has to be understood [RFC 7515 §4.1.11]"));
        }
        let algorithm: Algorithm = header.alg.parse().map_err(|_| invalid("an unknown algorithm"))?;
        let key = self
            .keys
            .iter()
            .find(|key| key.algorithms.contains(&algorithm))
            .ok_or_else(|| invalid("an algorithm without a key"))?;
        let verifier = (DEFAULT_PROVIDER.verifier_factory)(&algorithm, &key.key)
            .map_err(|error| TokenError::Invalid(format!("a key that does not serve: {error}")))?;
        let signature = signature.map_err(|_| invalid("a signature that cannot be read"))?;
        verifier.verify(message.as_bytes(), &signature).map_err(|_| invalid("another signature"))?;
        payload.map_err(|_| invalid("claims that cannot be read"))
    }
}

impl fmt::Debug for Verifier {
    /// Without its keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<_> = self.keys.iter().flat_map(|key| key.algorithms).collect();
        f.debug_struct("Verifier").field("algorithms", &algorithms).finish_non_exhaustive()
    }
}

/// What is looked at in a token's header.
#[derive(Deserialize)]
struct Header {
    alg: String,
    crit: Option<serde::de::IgnoredAny>,
}

/// For whom and when a token is valid, besides until when.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Terms {
    #[serde(deserialize_with = "moment")]
    nbf: Option<u64>,
    #[serde(deserialize_with = "or_default")]
    aud: Audience,
    iss: Option<String>,
}

/// One name or several [RFC 7519 §4.1.3].
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn contains(&self, name: &String) -> bool {
        match self {
            Self::One(one) => one == name,
            Self::Many(many) => many.contains(name),
        }
    }
}

impl Default for Audience {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

fn rsa_key(pem: &str) -> Result<Key, ConfigError> {
    let unreadable = || unusable("token-rsa-public-key", "is no RSA public key in PEM");
    let key = DecodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| unreadable())?;
    // Otherwise it would be looked into at the first token only.
    let (modulus, _) = key
        .try_get_as_bytes()
        .and_then(|der| (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(der))
        .map_err(|_| unreadable())?;
    if modulus.len() * 8 < MIN_RSA_BITS {
        return Err(unusable("token-rsa-public-key", "is shorter than 2048 bits"));
    }
    Ok(Key { algorithms: RSA, key })
}

/// The curve tells the algorithm [RFC 7518 §3.4].
fn ecdsa_key(pem: &str) -> Result<Key, ConfigError> {
    let unreadable = || unusable("token-ecdsa-public-key", "is no ECDSA public key of P-256 or P-384 in PEM");
    let key = DecodingKey::from_ec_pem(pem.as_bytes()).map_err(|_| unreadable())?;
    let curves: [&[Algorithm]; 2] = [&[Algorithm::ES256], &[Algorithm::ES384]];
    let algorithms = curves
        .into_iter()
        .find(|algorithms| (DEFAULT_PROVIDER.verifier_factory)(&algorithms[0], &key).is_ok())
        .ok_or_else(unreadable)?;
    Ok(Key { algorithms, key })
}

fn unusable(key: &str, what: &str) -> ConfigError {
    ConfigError { key: key.to_owned(), what: what.to_owned() }
}

fn invalid(why: &str) -> TokenError {
    TokenError::Invalid(why.to_owned())
}

/// A value, or `null` for none: what PHP's `json_encode` makes of an unset one.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Seconds since the Unix epoch, a begun one not counted; fractions are allowed [RFC 7519 §2].
#[expect(clippy::cast_sign_loss, reason = "what is negative or too large becomes the nearest that there is")]
fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let number: Option<serde_json::Number> = Option::deserialize(deserializer)?;
    Ok(number.map(|number| number.as_u64().unwrap_or_else(|| number.as_f64().unwrap_or(0.0) as u64)))
}

/// Makes tokens with a secret (HS256): for development, tests and the command line.
pub struct Issuer {
    key: EncodingKey,
}

impl Issuer {
    /// An issuer with this secret.
    pub fn new(secret: &str) -> Self {
        Self { key: EncodingKey::from_secret(secret.as_bytes()) }
    }

    /// A token that says this.
    ///
    /// # Panics
    /// Never: a secret of any length signs, and claims are always JSON.
    pub fn issue(&self, claims: &Claims) -> String {
        let header = r#"{"alg":"HS256","typ":"JWT"}"#;
        let payload = serde_json::to_vec(claims).expect("claims are JSON");
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signer = (DEFAULT_PROVIDER.signer_factory)(&Algorithm::HS256, &self.key).expect("any secret serves");
        let signature = signer.sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

impl fmt::Debug for Issuer {
    /// Without its secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
