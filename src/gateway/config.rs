//! Everything that the push server can be told.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::hooks;
use super::token::Verifier;
use crate::handshake::OriginPolicy;
use crate::protocol::Config;
use crate::push::HubConfig;

/// The configuration of a [`Gateway`](super::Gateway).
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Channels and limits of the hub.
    pub hub: HubConfig,
    /// How tokens are verified.
    pub token: TokenConfig,
    /// Whether a client may connect without a token, as an anonymous one.
    pub allow_anonymous: bool,
    /// Every user is subscribed to a channel of their own, `#USER`, on connecting.
    pub personal_channel: bool,
    /// The server API's key; without one the API answers 401 to everybody.
    pub api_key: Option<String>,
    /// The API needs no key: for development on loopback.
    pub api_insecure: bool,
    /// From which pages browsers may connect. A client that names no origin is no browser, and may.
    pub origins: OriginPolicy,
    /// Limits and times of connections as `WebSocket`s; `max_message` and the pings are each protocol's own.
    pub websocket: Config,
    /// How often clients of the client protocol are pinged; zero: never. 25 s.
    pub ping_interval: Duration,
    /// How soon they have to answer. 8 s.
    pub pong_timeout: Duration,
    /// How long a client may take to connect after the handshake. 10 s.
    pub connect_timeout: Duration,
    /// How long a connection lives on after its token has expired, for a refresh to come. 25 s.
    pub expired_close_delay: Duration,
    /// The same for subscriptions.
    pub expired_sub_close_delay: Duration,
    /// Bytes in one message of the client protocol. 65,536.
    pub max_command: usize,
    /// Commands in one message. 1,000.
    pub max_commands_per_message: usize,
    /// Commands a second that a client may send on average, and twice that at once; `None`: any number.
    pub max_command_rate: Option<u32>,
    /// Bytes in a body of the server API. 1 MiB.
    pub max_api_body: usize,
    /// Bytes of publications that may wait to be written to disk; beyond that, publishing where there is a history is refused
    /// for a while. 64 MiB.
    pub max_unwritten: usize,
    /// The raw protocol.
    pub raw: RawConfig,
    /// Backends, by what they are asked.
    pub hooks: HookConfig,
    /// How this server names itself to the API.
    pub node_name: String,
}

/// How tokens are verified. Without a key no token is valid.
#[derive(Clone, Default)]
pub struct TokenConfig {
    /// The secret of HS256, HS384 and HS512.
    pub hmac_secret: Option<String>,
    /// A public key of RS256, RS384 and RS512, PEM.
    pub rsa_public_key: Option<String>,
    /// A public key of ES256 and ES384, PEM.
    pub ecdsa_public_key: Option<String>,
    /// What `aud` has to be or contain, if anything.
    pub audience: Option<String>,
    /// What `iss` has to be, if anything.
    pub issuer: Option<String>,
}

impl fmt::Debug for TokenConfig {
    /// Without its secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenConfig")
            .field("hmac", &self.hmac_secret.is_some())
            .field("rsa", &self.rsa_public_key.is_some())
            .field("ecdsa", &self.ecdsa_public_key.is_some())
            .field("audience", &self.audience)
            .field("issuer", &self.issuer)
            .finish()
    }
}

/// The raw protocol: plain WebSocket clients, a channel each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawConfig {
    /// Whether it is spoken.
    pub enabled: bool,
    /// Bytes in one message. 16 MiB.
    pub max_message: usize,
}

/// Backends that decide: an application's URLs, asked by POST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookConfig {
    /// Who may connect, and who it is.
    pub connect: Option<String>,
    /// Whether a connection goes on after its time.
    pub refresh: Option<String>,
    /// Who may subscribe, in namespaces with `subscribe_hook`.
    pub subscribe: Option<String>,
    /// Who may publish, in namespaces with `publish_hook`.
    pub publish: Option<String>,
    /// Answers to the client protocol's `rpc`.
    pub rpc: Option<String>,
    /// Whether a subscription goes on after its time.
    pub sub_refresh: Option<String>,
    /// How long an answer may take. 1 s.
    pub timeout: Duration,
    /// Requests under way at once. 16.
    pub concurrency: usize,
    /// Requests that may wait for their turn; more are refused at once. 1,024.
    pub queue: usize,
    /// Fields of the client's opening handshake that are sent along, such as Cookie.
    pub forward_fields: Vec<String>,
    /// Fields that are sent with each request, such as Authorization.
    pub fields: BTreeMap<String, String>,
    /// Bytes in an answer. 1 MiB.
    pub max_answer: usize,
    /// Certificates, PEM, that are trusted at `https` URLs, and no others; `None`: the platform's.
    pub roots: Option<String>,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            hub: HubConfig::default(),
            token: TokenConfig::default(),
            allow_anonymous: false,
            personal_channel: false,
            api_key: None,
            api_insecure: false,
            origins: OriginPolicy::SameHost,
            websocket: Config::default(),
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(8),
            connect_timeout: Duration::from_secs(10),
            expired_close_delay: Duration::from_secs(25),
            expired_sub_close_delay: Duration::from_secs(25),
            max_command: 65_536,
            max_commands_per_message: 1_000,
            max_command_rate: None,
            max_api_body: 1 << 20,
            max_unwritten: 64 << 20,
            raw: RawConfig::default(),
            hooks: HookConfig::default(),
            node_name: "loopwire".to_owned(),
        }
    }
}

impl GatewayConfig {
    /// Whether a [`Gateway`](super::Gateway) can be made with it, without making one.
    ///
    /// # Errors
    /// The first key or URL that cannot be used.
    pub fn check(&self) -> Result<(), ConfigError> {
        Verifier::new(&self.token)?;
        hooks::check(&self.hooks)
    }
}

impl Default for RawConfig {
    fn default() -> Self {
        Self { enabled: true, max_message: 16 << 20 }
    }
}

impl Default for HookConfig {
    fn default() -> Self {
        Self {
            connect: None,
            refresh: None,
            subscribe: None,
            publish: None,
            rpc: None,
            sub_refresh: None,
            timeout: Duration::from_secs(1),
            concurrency: 16,
            queue: 1_024,
            forward_fields: vec!["Cookie".to_owned(), "Authorization".to_owned()],
            fields: BTreeMap::new(),
            max_answer: 1 << 20,
            roots: None,
        }
    }
}

/// A configuration that cannot be: which key, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The key, as in a configuration file.
    pub key: String,
    /// What is wrong, and what to do about it.
    pub what: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.what)
    }
}

impl std::error::Error for ConfigError {}
