//! JSON Web Tokens: who somebody is, and what they may subscribe to, signed by the application.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::config::{ConfigError, TokenConfig};

/// What a token says. A connection's has no `channel`, a subscription's has to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Claims {
    /// The user; empty or absent: anonymous.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sub: String,
    /// The channel of a subscription token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The client of a subscription token, if it is for that one alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// When it expires, in seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<u64>,
    /// When the connection or subscription expires, if not with the token; 0: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expire_at: Option<u64>,
    /// What others may know, as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<Box<RawValue>>,
    /// The same as bytes, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b64info: Option<String>,
    /// Channels to subscribe the connection to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
    /// The same with particulars.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
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

/// Verifies tokens by the configured keys, and by the algorithms that belong to each key alone.
#[derive(Debug)]
pub struct Verifier {}

impl Verifier {
    /// A verifier with these keys; with none, no token is valid.
    ///
    /// # Errors
    /// A key that cannot be read; the error names it and never repeats it.
    pub fn new(config: &TokenConfig) -> Result<Self, ConfigError> {
        let _ = config;
        todo!()
    }

    /// The claims of a connection's token. `now` is in seconds since the Unix epoch.
    ///
    /// # Errors
    /// As in [`TokenError`]; a `channel` in it is one.
    pub fn connection(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        let _ = (token, now);
        todo!()
    }

    /// The claims of a subscription's token; its `channel` is there, and for the caller to compare, as are user and client.
    ///
    /// # Errors
    /// As in [`TokenError`].
    pub fn subscription(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        let _ = (token, now);
        todo!()
    }
}

/// Makes tokens with a secret (HS256): for development, tests and the command line.
#[derive(Debug)]
pub struct Issuer {}

impl Issuer {
    /// An issuer with this secret.
    pub fn new(secret: &str) -> Self {
        let _ = secret;
        todo!()
    }

    /// A token that says this.
    pub fn issue(&self, claims: &Claims) -> String {
        let _ = claims;
        todo!()
    }
}
