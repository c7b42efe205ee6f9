//! `loopwire serve`: the push server.
//!
//! [`policy`] and [`channels`] are its settings, [`development`] is what it does when nobody has made any, with a [`page`]
//! to try it and one to [`learn`] from, [`reload`] reads the settings again.

mod channels;
mod development;
mod learn;
mod page;
mod policy;
mod reload;

use std::path::PathBuf;

use clap::{Args, Command};
use loopwire::gateway::{ConfigError, Gateway, GatewayConfig};
use loopwire::protocol::Config;
use loopwire::push::{ChannelOptions, Disconnect, Restored};
use loopwire::store::Store;
use loopwire::{CloseCode, NetConfig, OverflowPolicy, Server, ServerHandle};

use super::engine::{DeflateArgs, FrameArgs, LimitArgs, ListenArgs};
use super::settings::{Settings, SettingsError};
use super::values::Size;
use super::{Exit, Failure, server};
use channels::ChannelArgs;
use learn::Learn;
use policy::{AccessArgs, ApiArgs, ClientLimitArgs, HookArgs};

pub(crate) use channels::tables;
pub(crate) use development::{kept_secret, new_secret};
pub(crate) use policy::TokenArgs;

#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// Development mode, which is what runs without a configuration: on this machine alone, everybody may do everything
    #[arg(long)]
    dev: bool,

    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    rules: RuleArgs,
    #[command(flatten)]
    client_limits: ClientLimitArgs,
    #[command(flatten)]
    limits: LimitArgs,

    /// Bytes waiting to be sent to one client beyond which it is too slow, and its connection ends with 3008
    #[arg(long, value_name = "BYTES", default_value_t = Size(1 << 20), help_heading = "Limits")]
    max_buffered: Size,

    #[command(flatten)]
    frames: FrameArgs,
    #[command(flatten)]
    deflate: DeflateArgs,
}

/// Where streams are kept.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Store")]
pub(crate) struct StoreArgs {
    /// Keep channels' histories in this directory, where they survive a restart
    #[arg(long, value_name = "DIR", default_value = "loopwire-data")]
    data: PathBuf,

    /// Keep them in memory alone
    #[arg(long)]
    memory: bool,
}

/// Who may do what: all that development mode decides by itself.
#[derive(Args, Clone, Debug)]
struct RuleArgs {
    #[command(flatten)]
    token: TokenArgs,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    channels: ChannelArgs,
    #[command(flatten)]
    hooks: HookArgs,
}

pub(crate) fn run(args: &ServeArgs, settings: Settings) -> Result<Exit, Failure> {
    let is_development = args.is_development(&settings)?;
    let config = args.gateway_config(&settings)?;
    if !is_development {
        for remark in remarks(&config) {
            log::warn!("{remark}");
        }
    }
    let (secret, origins) = (config.token.hmac_secret.clone(), config.origins.clone());
    let server = server::listen(args.builder(), &args.listen)?;
    let gateway = Gateway::new(config, args.open_store(server.handle())?, server.handle()).map_err(wrong)?;
    let urls = server::urls(&server, &args.listen, "http");
    match server::announce(&urls) {
        Exit::Done => {}
        exit => return Ok(exit),
    }
    let outcome = match (secret, urls.first()) {
        (Some(secret), Some(url)) if is_development => {
            development::hints(url, args.store.dir(), &secret);
            server.run(Learn::beside(development::add_pages(gateway, &secret), origins))
        }
        _ => server.run(reload::add_to(gateway, settings)),
    };
    outcome.map_err(|error| Failure::new(Exit::Failed, error))?;
    Ok(Exit::Done)
}

/// Whether the server would start with these settings, and what is to be said of them. Nothing is started.
pub(crate) fn check(args: &ServeArgs, settings: &Settings) -> Result<Vec<&'static str>, Failure> {
    let config = args.gateway_config(settings)?;
    args.listen.check()?;
    Ok(remarks(&config))
}

/// What is no mistake, and may still not be what was meant.
fn remarks(config: &GatewayConfig) -> Vec<&'static str> {
    let GatewayConfig { token, hooks, hub, .. } = config;
    let has_key = token.hmac_secret.is_some() || token.rsa_public_key.is_some() || token.ecdsa_public_key.is_some();
    let has_hook =
        |uses: fn(&ChannelOptions) -> bool| uses(&hub.namespaces.plain) || hub.namespaces.named.values().any(uses);
    let all = [
        (
            !has_key && hooks.connect.is_none() && !config.allow_anonymous,
            "nobody can connect: there is no key of tokens, no hook-connect-url, and no allow-anonymous",
        ),
        (
            config.api_key.is_none() && !config.api_insecure,
            "the server API answers 401 to everybody: there is no api-key",
        ),
        (config.api_insecure, "insecure-api: whoever reaches this port can publish and disconnect"),
        (hub.insecure, "insecure-channels: every client can subscribe and publish to every channel"),
        (
            has_hook(|options| options.subscribe_hook) && hooks.subscribe.is_none(),
            "subscribe-hook allows nothing: there is no hook-subscribe-url",
        ),
        (
            has_hook(|options| options.publish_hook) && hooks.publish.is_none(),
            "publish-hook allows nothing: there is no hook-publish-url",
        ),
    ];
    all.into_iter().filter(|(is_so, _)| *is_so).map(|(_, remark)| remark).collect()
}

impl ServeArgs {
    /// Whether everybody may do everything, because nobody has said who may do what; and that nobody else hears of it.
    fn is_development(&self, settings: &Settings) -> Result<bool, Failure> {
        let rules = RuleArgs::augment_args(Command::new("rules"));
        let given = rules.get_arguments().find(|rule| settings.is_set(rule.get_id().as_str()));
        match given {
            Some(rule) if self.dev => {
                let key = rule.get_long().unwrap_or_default();
                let what = format_args!("--dev lets everybody do everything: leave it or --{key} out");
                return Err(Failure::new(Exit::Usage, what));
            }
            Some(_) => return Ok(false),
            None if settings.has_file() && !self.dev => return Ok(false),
            None => {}
        }
        match self.listen.listen.iter().find(|address| !address.ip().is_loopback()) {
            None => Ok(true),
            Some(address) => {
                let what = format_args!(
                    "development mode lets everybody do everything, so it does not listen at {address}, where others are: \
                     say who may do what (`loopwire genconfig` writes a configuration), or listen on 127.0.0.1"
                );
                Err(Failure::new(Exit::Usage, what))
            }
        }
    }

    /// All that the push server is told.
    fn gateway_config(&self, settings: &Settings) -> Result<GatewayConfig, Failure> {
        let tables = settings.tables().map_err(|error: SettingsError| Failure::new(Exit::Usage, error))?;
        let rules = &self.rules;
        let mut config = GatewayConfig { websocket: self.frames.config(&self.deflate), ..GatewayConfig::default() };
        self.client_limits.add_to_connections(&mut config.websocket);
        self.client_limits.add_to(&mut config);
        if self.is_development(settings)? {
            development::open_to_everybody(&mut config, self.store.dir())?;
            return Ok(config);
        }
        config.token = rules.token.config().map_err(wrong)?;
        rules.access.add_to(&mut config).map_err(wrong)?;
        rules.api.add_to(&mut config);
        config.hooks = rules.hooks.config().map_err(wrong)?;
        config.hub.namespaces =
            channels::namespaces(&rules.channels, &tables).map_err(|(key, what)| wrong(ConfigError { key, what }))?;
        config.check().map_err(wrong)?;
        Ok(config)
    }

    fn builder(&self) -> loopwire::ServerBuilder {
        let mut net: NetConfig = self.limits.config();
        net.max_buffered = self.max_buffered.0;
        net.overflow = OverflowPolicy::Close;
        net.overflow_close = Some((CloseCode(Disconnect::SLOW.code), "slow"));
        let mut config: Config = self.frames.config(&self.deflate);
        self.client_limits.add_to_connections(&mut config);
        let builder = Server::builder().net(net).config(config).forget_requests();
        if self.deflate.no_deflate { builder.no_deflate() } else { builder }
    }

    fn open_store(&self, handle: ServerHandle) -> Result<Option<(Store, Restored)>, Failure> {
        let Some(dir) = self.store.dir() else { return Ok(None) };
        let tell = move |event| {
            // A server that has stopped has nobody to tell.
            let _ = handle.post(0, event);
        };
        Store::open(dir, tell).map(Some).map_err(|error| Failure::new(Exit::Data, error))
    }
}

impl StoreArgs {
    /// Where to, unless they are kept in memory.
    fn dir(&self) -> Option<&std::path::Path> {
        (!self.memory).then_some(&*self.data)
    }
}

fn wrong(error: ConfigError) -> Failure {
    Failure::new(Exit::Usage, error)
}
