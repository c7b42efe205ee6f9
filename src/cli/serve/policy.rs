//! Who may connect, what clients may have, and which backends decide: everything of the push server that is not its
//! channels, as flags.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use loopwire::OriginPolicy;
use loopwire::gateway::{ConfigError, GatewayConfig, HookConfig, RawConfig, TokenConfig};
use loopwire::handshake::Origin;
use loopwire::protocol::Config;
use loopwire::push::HubLimits;

use super::channels::milliseconds;
use crate::cli::dial::{Field, field};
use crate::cli::values::{OrOff, Size, Span, count, count_or_off};

/// The keys that tokens are verified by.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Tokens")]
#[expect(clippy::struct_field_names, reason = "they are the flags' names")]
pub(crate) struct TokenArgs {
    /// The secret that tokens are signed with (HS256, HS384, HS512); better given as a variable than as a flag
    #[arg(long, value_name = "SECRET", value_parser = secret)]
    pub(crate) token_hmac_secret: Option<String>,

    /// File with the public key of tokens signed by RS256, RS384 or RS512 (PEM)
    #[arg(long, value_name = "FILE")]
    token_rsa_public_key: Option<PathBuf>,

    /// File with the public key of tokens signed by ES256 or ES384 (PEM)
    #[arg(long, value_name = "FILE")]
    token_ecdsa_public_key: Option<PathBuf>,

    /// What a token's aud has to be or contain
    #[arg(long, value_name = "TEXT")]
    token_audience: Option<String>,

    /// What a token's iss has to be
    #[arg(long, value_name = "TEXT")]
    token_issuer: Option<String>,
}

impl TokenArgs {
    pub(crate) fn config(&self) -> Result<TokenConfig, ConfigError> {
        Ok(TokenConfig {
            hmac_secret: self.token_hmac_secret.clone(),
            rsa_public_key: pem("token-rsa-public-key", self.token_rsa_public_key.as_deref())?,
            ecdsa_public_key: pem("token-ecdsa-public-key", self.token_ecdsa_public_key.as_deref())?,
            audience: self.token_audience.clone(),
            issuer: self.token_issuer.clone(),
        })
    }
}

fn pem(key: &str, path: Option<&Path>) -> Result<Option<String>, ConfigError> {
    let read = |path: &Path| {
        fs::read_to_string(path).map_err(|error| ConfigError {
            key: key.to_owned(),
            what: format!("cannot read {}: {error}", path.display()),
        })
    };
    path.map(read).transpose()
}

/// Who may connect.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Access")]
pub(crate) struct AccessArgs {
    /// Clients may connect without a token, as nobody in particular
    #[arg(long)]
    allow_anonymous: bool,

    /// Pages of this origin may connect, such as https://example.com; `same-host`: those that this host serves;
    /// `loopback`: those of localhost, at any port; `any`: all. Programs other than browsers name no origin and always
    /// may. May be given several times
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',', default_value = "same-host")]
    allowed_origin: Vec<AllowedOrigin>,

    /// Subscribe every user to a channel of their own, called #USER
    #[arg(long)]
    personal_channel: bool,

    /// Let everybody do everything with every channel
    #[arg(long)]
    insecure_channels: bool,

    /// Speak the client protocol alone: no /channel/NAME for plain WebSockets
    #[arg(long)]
    no_raw: bool,
}

impl AccessArgs {
    pub(super) fn add_to(&self, config: &mut GatewayConfig) -> Result<(), ConfigError> {
        config.allow_anonymous = self.allow_anonymous;
        config.origins = self.origins()?;
        config.personal_channel = self.personal_channel;
        config.hub.insecure = self.insecure_channels;
        config.raw.enabled = !self.no_raw;
        Ok(())
    }

    fn origins(&self) -> Result<OriginPolicy, ConfigError> {
        let alone = |what: &str| {
            let what = format!("{what} stands alone: leave it or the others out");
            Err(ConfigError { key: "allowed-origin".to_owned(), what })
        };
        let mut origins = Vec::new();
        for origin in &self.allowed_origin {
            match origin {
                AllowedOrigin::One(origin) => origins.push(origin.clone()),
                AllowedOrigin::Policy(name, _) if self.allowed_origin.len() > 1 => return alone(name),
                AllowedOrigin::Policy(_, policy) => return Ok(policy.clone()),
            }
        }
        Ok(OriginPolicy::List(origins))
    }
}

/// Where pages may come from.
#[derive(Clone, Debug)]
enum AllowedOrigin {
    Policy(&'static str, OriginPolicy),
    One(Origin),
}

impl FromStr for AllowedOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let policies =
            [("any", OriginPolicy::Any), ("loopback", OriginPolicy::Loopback), ("same-host", OriginPolicy::SameHost)];
        if let Some((name, policy)) = policies.into_iter().find(|(name, _)| *name == text) {
            return Ok(Self::Policy(name, policy));
        }
        match Origin::parse(text) {
            Some(origin) => Ok(Self::One(origin)),
            None => Err("write an origin such as https://example.com, or same-host, loopback or any".to_owned()),
        }
    }
}

/// The server API.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Server API (/api/…)")]
pub(crate) struct ApiArgs {
    /// The key that applications call the API with; without one it answers 401 to everybody
    #[arg(long, value_name = "KEY", value_parser = secret)]
    api_key: Option<String>,

    /// The API needs no key: for development
    #[arg(long)]
    insecure_api: bool,
}

impl ApiArgs {
    pub(super) fn add_to(&self, config: &mut GatewayConfig) {
        config.api_key.clone_from(&self.api_key);
        config.api_insecure = self.insecure_api;
    }
}

fn secret(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("an empty secret protects nothing".to_owned()) } else { Ok(text.to_owned()) }
}

/// What clients and applications may have.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits of clients")]
pub(crate) struct ClientLimitArgs {
    /// Connections that one user may have; clients without a user are not counted
    #[arg(long, value_name = "N", value_parser = count_or_off, default_value = "off")]
    max_connections_per_user: OrOff<u32>,

    /// Channels that one client may be subscribed to; one more is answered with error 106
    #[arg(long, value_name = "N", value_parser = count::<usize>, default_value_t = HubLimits::default().channels_per_client)]
    max_channels: usize,

    /// Bytes in a channel's name; more are answered with error 107
    #[arg(long, value_name = "N", value_parser = count::<usize>, default_value_t = HubLimits::default().channel_length)]
    max_channel_length: usize,

    /// Users that a channel called …#USER,USER may name
    #[arg(long, value_name = "N", value_parser = count::<usize>, default_value_t = HubLimits::default().users_per_channel)]
    max_users_per_channel: usize,

    /// Groups that one client may be in
    #[arg(long, value_name = "N", value_parser = count::<usize>, default_value_t = HubLimits::default().groups_per_client)]
    max_groups: usize,

    /// Publications that one recovery brings at most; where more are missing it fails
    #[arg(long, value_name = "N", value_parser = count::<usize>, default_value_t = HubLimits::default().recovery_publications)]
    max_recovery: usize,

    /// Bytes of data that one recovery brings at most; where more are missing it fails
    #[arg(long, value_name = "BYTES", default_value_t = Size(HubLimits::default().recovery_bytes))]
    max_recovery_bytes: Size,

    /// Publications in one answer to a history request at most
    #[arg(long, value_name = "N", value_parser = count::<usize>, default_value_t = HubLimits::default().history_publications)]
    max_history: usize,

    /// Bytes of data in one answer to a history request at most, unless it is one publication
    #[arg(long, value_name = "BYTES", default_value_t = Size(HubLimits::default().history_bytes))]
    max_history_bytes: Size,

    /// How long a publication's idempotency key is remembered
    #[arg(long, value_name = "TIME", default_value = "5m")]
    idempotency_ttl: Span,

    /// Publications that may wait to be written to disk; more are answered with error 100
    #[arg(long, value_name = "N", value_parser = count::<usize>, default_value_t = HubLimits::default().waiting)]
    max_waiting: usize,

    /// Bytes of publications that may wait to be written to disk; more are answered with error 111
    #[arg(long, value_name = "BYTES", default_value_t = Size(GatewayConfig::default().max_unwritten))]
    max_unwritten: Size,

    /// Bytes in one message of the client protocol; more fail the connection with 1009
    #[arg(long, value_name = "BYTES", default_value_t = Size(GatewayConfig::default().max_command))]
    max_command: Size,

    /// Commands in one message of the client protocol; more end the connection with 3501
    #[arg(long, value_name = "N", value_parser = count::<usize>, default_value_t = GatewayConfig::default().max_commands_per_message)]
    max_commands: usize,

    /// Commands a second that a client may send on average, and twice that at once; more end the connection with 3013
    #[arg(long, value_name = "N", value_parser = count_or_off, default_value = "off")]
    max_command_rate: OrOff<u32>,

    /// How often a client is pinged
    #[arg(long, value_name = "TIME", default_value_t = Span(GatewayConfig::default().ping_interval))]
    ping_interval: Span,

    /// How soon it has to answer; otherwise the connection ends with 3012
    #[arg(long, value_name = "TIME", default_value_t = Span(GatewayConfig::default().pong_timeout))]
    pong_timeout: Span,

    /// How long a client may take to say who it is; otherwise the connection ends with 3502
    #[arg(long, value_name = "TIME", default_value_t = Span(GatewayConfig::default().connect_timeout))]
    stale_timeout: Span,

    /// How long a connection lives on after its token has expired, for a new one to come; then it ends with 3005
    #[arg(long, value_name = "TIME", default_value_t = Span(GatewayConfig::default().expired_close_delay))]
    expired_close_delay: Span,

    /// The same for subscriptions; then the connection ends with 3006
    #[arg(long, value_name = "TIME", default_value_t = Span(GatewayConfig::default().expired_sub_close_delay))]
    expired_sub_close_delay: Span,

    /// Bytes in one message of a plain WebSocket; more fail the connection with 1009
    #[arg(long, value_name = "BYTES", default_value_t = Size(RawConfig::default().max_message))]
    max_raw_message: Size,

    /// Bytes in a request's body at most; more are answered 413
    #[arg(long, value_name = "BYTES", default_value_t = Size(GatewayConfig::default().max_api_body))]
    max_api_body: Size,
}

impl ClientLimitArgs {
    pub(super) fn add_to(&self, config: &mut GatewayConfig) {
        config.hub.limits = HubLimits {
            channels_per_client: self.max_channels,
            channel_length: self.max_channel_length,
            connections_per_user: self.max_connections_per_user.0.map(|number| number as usize),
            recovery_publications: self.max_recovery,
            recovery_bytes: self.max_recovery_bytes.0,
            history_publications: self.max_history,
            history_bytes: self.max_history_bytes.0,
            idempotency_ttl: milliseconds(self.idempotency_ttl),
            users_per_channel: self.max_users_per_channel,
            groups_per_client: self.max_groups,
            waiting: self.max_waiting,
        };
        config.max_unwritten = self.max_unwritten.0;
        config.max_command = self.max_command.0;
        config.max_commands_per_message = self.max_commands;
        config.max_command_rate = self.max_command_rate.0;
        config.ping_interval = self.ping_interval.0;
        config.pong_timeout = self.pong_timeout.0;
        config.connect_timeout = self.stale_timeout.0;
        config.expired_close_delay = self.expired_close_delay.0;
        config.expired_sub_close_delay = self.expired_sub_close_delay.0;
        config.raw.max_message = self.max_raw_message.0;
        config.max_api_body = self.max_api_body.0;
    }
}

impl ClientLimitArgs {
    /// What every connection has, unless its protocol has it otherwise.
    pub(super) fn add_to_connections(&self, config: &mut Config) {
        config.max_message = self.max_command.0.max(self.max_raw_message.0);
        config.ping_interval = Some(self.ping_interval.0);
        config.pong_timeout = self.pong_timeout.0;
    }
}

/// Backends that decide: URLs of an application, asked by POST.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Backends that decide (asked by POST)")]
#[expect(clippy::struct_field_names, reason = "they are the flags' names")]
pub(crate) struct HookArgs {
    /// Ask this URL who may connect, where a client has no token, and who it is
    #[arg(long, value_name = "URL")]
    hook_connect_url: Option<String>,

    /// Ask this URL whether a connection that it has let in goes on after its time
    #[arg(long, value_name = "URL")]
    hook_refresh_url: Option<String>,

    /// Ask this URL who may subscribe to channels with --subscribe-hook
    #[arg(long, value_name = "URL")]
    hook_subscribe_url: Option<String>,

    /// Ask this URL who may publish to channels with --publish-hook, and what
    #[arg(long, value_name = "URL")]
    hook_publish_url: Option<String>,

    /// Ask this URL for the answers to clients' rpc
    #[arg(long, value_name = "URL")]
    hook_rpc_url: Option<String>,

    /// Ask this URL whether a subscription that it has let in goes on after its time
    #[arg(long, value_name = "URL")]
    hook_sub_refresh_url: Option<String>,

    /// How long an answer may take; without one nothing is allowed
    #[arg(long, value_name = "TIME", default_value_t = Span(HookConfig::default().timeout))]
    hook_timeout: Span,

    /// Questions under way at once
    #[arg(long, value_name = "N", value_parser = count::<usize>, default_value_t = HookConfig::default().concurrency)]
    hook_concurrency: usize,

    /// Questions that may wait for their turn; more are refused at once
    #[arg(long, value_name = "N", value_parser = count::<usize>, default_value_t = HookConfig::default().queue)]
    hook_queue: usize,

    /// Send this field of the client's opening handshake along. May be given several times
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_values_t = HookConfig::default().forward_fields)]
    hook_forward: Vec<String>,

    /// Send this field with each question, such as "Authorization: Bearer x". May be given several times
    #[arg(long, value_name = "NAME: VALUE", value_parser = field)]
    hook_header: Vec<Field>,

    /// Bytes in an answer at most; more are none
    #[arg(long, value_name = "BYTES", default_value_t = Size(HookConfig::default().max_answer))]
    hook_max_answer: Size,

    /// Trust the certificates in this file (PEM) at https URLs and no others, instead of the platform's
    #[arg(long, value_name = "FILE")]
    hook_ca: Option<PathBuf>,
}

impl HookArgs {
    pub(super) fn config(&self) -> Result<HookConfig, ConfigError> {
        Ok(HookConfig {
            connect: self.hook_connect_url.clone(),
            refresh: self.hook_refresh_url.clone(),
            subscribe: self.hook_subscribe_url.clone(),
            publish: self.hook_publish_url.clone(),
            rpc: self.hook_rpc_url.clone(),
            sub_refresh: self.hook_sub_refresh_url.clone(),
            timeout: self.hook_timeout.0,
            concurrency: self.hook_concurrency,
            queue: self.hook_queue,
            forward_fields: self.hook_forward.clone(),
            fields: self.hook_header.iter().map(|Field(name, value)| (name.clone(), value.clone())).collect(),
            max_answer: self.hook_max_answer.0,
            roots: pem("hook-ca", self.hook_ca.as_deref())?,
        })
    }
}
