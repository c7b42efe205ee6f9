//! The options of channels: as flags for those without a namespace, as tables of the file for namespaces.

use std::collections::BTreeMap;

use clap::{ArgMatches, Args, Command, FromArgMatches as _, ValueEnum};
use loopwire::push::{Audience, ChannelOptions, Namespaces, RecoveryMode};

use crate::cli::settings::Tables;
use crate::cli::values::{OrOff, Span, count_or_off};

/// The options of one kind of channels. Nobody may do anything unless a token, a backend or one of these lets them.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Channels without a namespace ([serve.namespaces.NAME]: those called NAME:…)")]
pub(crate) struct ChannelArgs {
    /// Who is subscribed can be asked
    #[arg(long)]
    presence: bool,

    /// Joins and leaves are told to subscribers that ask for them
    #[arg(long)]
    join_leave: bool,

    /// Joins and leaves are told to all subscribers
    #[arg(long)]
    force_push_join_leave: bool,

    /// Publications kept at most; history needs --history-ttl as well
    #[arg(long, value_name = "N", value_parser = count_or_off, default_value = "off")]
    history_size: OrOff<u32>,

    /// How long a publication is kept
    #[arg(long, value_name = "TIME", default_value = "off")]
    history_ttl: OrOff<Span>,

    /// How long after its last publication a stream's position is remembered
    #[arg(long, value_name = "TIME", default_value = "720h")]
    history_meta_ttl: Span,

    /// With a store, deliver and acknowledge publications before they are on disk: a crash can lose the last few, which
    /// subscribers then learn
    #[arg(long)]
    no_durable: bool,

    /// Tell every subscriber if a publication is missing, asked for or not
    #[arg(long)]
    force_positioning: bool,

    /// Let every subscriber recover, asked for or not
    #[arg(long)]
    force_recovery: bool,

    /// What recovery brings back: all publications since the position, or the latest alone
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Recovery::Stream)]
    force_recovery_mode: Recovery,

    /// Users may subscribe
    #[arg(long)]
    allow_subscribe_for_client: bool,

    /// Clients without a user may subscribe as well
    #[arg(long)]
    allow_subscribe_for_anonymous: bool,

    /// Users may publish
    #[arg(long)]
    allow_publish_for_client: bool,

    /// Subscribers may publish
    #[arg(long)]
    allow_publish_for_subscriber: bool,

    /// Clients without a user may publish as well, where users or subscribers may
    #[arg(long)]
    allow_publish_for_anonymous: bool,

    /// Users may read the history
    #[arg(long)]
    allow_history_for_client: bool,

    /// Subscribers may read the history
    #[arg(long)]
    allow_history_for_subscriber: bool,

    /// Clients without a user may read the history as well, where users or subscribers may
    #[arg(long)]
    allow_history_for_anonymous: bool,

    /// Users may ask who is subscribed
    #[arg(long)]
    allow_presence_for_client: bool,

    /// Subscribers may ask who is subscribed
    #[arg(long)]
    allow_presence_for_subscriber: bool,

    /// Clients without a user may ask who is subscribed as well, where users or subscribers may
    #[arg(long)]
    allow_presence_for_anonymous: bool,

    /// The backend at --hook-subscribe-url decides on subscriptions that no token decides
    #[arg(long)]
    subscribe_hook: bool,

    /// The backend at --hook-publish-url decides on clients' publications
    #[arg(long)]
    publish_hook: bool,
}

impl ChannelArgs {
    pub(super) fn options(&self) -> ChannelOptions {
        ChannelOptions {
            presence: self.presence,
            join_leave: self.join_leave,
            force_push_join_leave: self.force_push_join_leave,
            history_size: self.history_size.0.map_or(0, |size| size as usize),
            history_ttl: self.history_ttl.0.map_or(0, milliseconds),
            history_meta_ttl: milliseconds(self.history_meta_ttl),
            force_positioning: self.force_positioning,
            force_recovery: self.force_recovery,
            recovery_mode: self.force_recovery_mode.into(),
            durable: !self.no_durable,
            subscribe: Audience {
                client: self.allow_subscribe_for_client,
                subscriber: false,
                anonymous: self.allow_subscribe_for_anonymous,
            },
            publish: Audience {
                client: self.allow_publish_for_client,
                subscriber: self.allow_publish_for_subscriber,
                anonymous: self.allow_publish_for_anonymous,
            },
            history: Audience {
                client: self.allow_history_for_client,
                subscriber: self.allow_history_for_subscriber,
                anonymous: self.allow_history_for_anonymous,
            },
            presence_for: Audience {
                client: self.allow_presence_for_client,
                subscriber: self.allow_presence_for_subscriber,
                anonymous: self.allow_presence_for_anonymous,
            },
            subscribe_hook: self.subscribe_hook,
            publish_hook: self.publish_hook,
        }
    }

    /// Options that ask for something that others leave out: which key, and what is missing.
    pub(super) fn contradiction(&self) -> Option<(&'static str, &'static str)> {
        let has_history = self.history_size.0.is_some() && self.history_ttl.0.is_some();
        if self.history_size.0.is_some() && !has_history {
            return Some(("history-ttl", "history-size alone keeps nothing: say for how long"));
        }
        if self.history_ttl.0.is_some() && !has_history {
            return Some(("history-size", "history-ttl alone keeps nothing: say how many publications"));
        }
        if let (Some(ttl), Span(meta)) = (self.history_ttl.0, self.history_meta_ttl)
            && ttl.0 > meta
        {
            return Some((
                "history-meta-ttl",
                "a stream's position has to be remembered for as long as its publications",
            ));
        }
        [("force-recovery", self.force_recovery), ("force-positioning", self.force_positioning)]
            .into_iter()
            .find(|(_, is_set)| *is_set && !has_history)
            .map(|(key, _)| (key, "there is nothing to recover without history-size and history-ttl"))
    }
}

/// Namespaces, as tables of the file.
pub(crate) fn tables() -> Tables {
    let keys = ChannelArgs::augment_args(Command::new("namespace"));
    Tables { command: "serve", key: "namespaces", keys, judge_name }
}

/// The options of all channels, or the key that is wrong and why.
pub(super) fn namespaces(
    plain: &ChannelArgs,
    tables: &BTreeMap<String, ArgMatches>,
) -> Result<Namespaces, (String, String)> {
    let checked = |prefix: &str, args: &ChannelArgs| match args.contradiction() {
        Some((key, what)) => Err((format!("{prefix}{key}"), what.to_owned())),
        None => Ok(args.options()),
    };
    let mut named = BTreeMap::new();
    for (name, matches) in tables {
        let args = ChannelArgs::from_arg_matches(matches).map_err(|error| (name.clone(), error.to_string()))?;
        named.insert(name.clone(), checked(&format!("namespaces.{name}."), &args)?);
    }
    Ok(Namespaces { plain: checked("", plain)?, named, others: None })
}

fn judge_name(name: &str) -> Result<(), String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !name.is_empty() && name.bytes().all(is_name) {
        Ok(())
    } else {
        Err("a namespace is called by letters, digits, -, _ and . alone".to_owned())
    }
}

/// Milliseconds of a time, at least one; what does not fit is for ever.
pub(super) fn milliseconds(Span(time): Span) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// [`RecoveryMode`] by its names here.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Recovery {
    Stream,
    Cache,
}

impl From<Recovery> for RecoveryMode {
    fn from(recovery: Recovery) -> Self {
        match recovery {
            Recovery::Stream => Self::Stream,
            Recovery::Cache => Self::Cache,
        }
    }
}
