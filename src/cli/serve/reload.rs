//! SIGHUP: the settings are read again, and what of them can be changed while the server runs is.

use clap::{Args as _, Command};
use loopwire::gateway::{Gateway, GatewayConfig};

use super::StoreArgs;
use crate::cli;
use crate::cli::Failure;
use crate::cli::engine::{DeflateArgs, FrameArgs, LimitArgs, ListenArgs};
use crate::cli::settings::Settings;

/// Settings of the server itself, besides those of whole groups, that are looked at only when it starts.
const FIXED: [&str; 3] = ["dev", "log", "max-buffered"];

/// Has the gateway read the settings again on SIGHUP; `settings` are those that it was made with.
pub(super) fn add_to(gateway: Gateway, mut settings: Settings) -> Gateway {
    gateway.reload_with(move || match read_again() {
        Ok((config, now)) => {
            report(&now.changed_from(&settings));
            settings = now;
            Some(config)
        }
        Err(why) => {
            log::error!("the configuration stays as it was: {why}");
            None
        }
    })
}

fn read_again() -> Result<(GatewayConfig, Settings), String> {
    let (settings, cli) = cli::read().map_err(|error| error.to_string())?;
    let Some(cli::Command::Serve(args)) = cli.command else { return Err("it is that of another command".to_owned()) };
    let told = |failure: Failure| failure.what;
    if args.is_development(&settings).map_err(told)? {
        return Err("it says nothing of who may do what any more".to_owned());
    }
    let config = args.gateway_config(&settings).map_err(told)?;
    Ok((config, settings))
}

/// Says what is otherwise now, and what would be after a restart.
fn report(changed: &[String]) {
    let groups = [
        ListenArgs::augment_args(Command::new("listen")),
        StoreArgs::augment_args(Command::new("store")),
        LimitArgs::augment_args(Command::new("limits")),
        FrameArgs::augment_args(Command::new("frames")),
        DeflateArgs::augment_args(Command::new("deflate")),
    ];
    let is_fixed = |key: &str| {
        let in_group = |group: &Command| group.get_arguments().any(|arg| arg.get_long() == Some(key));
        FIXED.contains(&key) || groups.iter().any(in_group)
    };
    let (fixed, taken): (Vec<&str>, Vec<&str>) = changed.iter().map(String::as_str).partition(|key| is_fixed(key));
    if taken.is_empty() {
        log::info!(
            "the configuration has been read again; nothing in it has changed that can be while the server runs"
        );
    } else {
        log::info!("the configuration has been read again; changed: {}", taken.join(", "));
    }
    if !fixed.is_empty() {
        log::warn!("changed in the configuration, and only taken up by a restart: {}", fixed.join(", "));
    }
}
