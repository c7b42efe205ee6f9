//! `loopwire genconfig` and `loopwire checkconfig`: a configuration to begin with, and whether one will do.

use std::path::PathBuf;

use clap::Args;

use super::serve::new_secret;
use super::{Exit, Failure, print, read_from, serve, terminal};

/// What `{token}` and `{key}` become is random.
const TEMPLATE: &str = include_str!("configure/loopwire.toml");

#[derive(Args, Debug)]
pub(crate) struct GenconfigArgs {}

#[derive(Args, Debug)]
pub(crate) struct CheckconfigArgs {
    /// The file
    #[arg(value_name = "FILE", default_value = "loopwire.toml")]
    file: PathBuf,
}

/// Prints a configuration with secrets that nobody else has.
pub(crate) fn generate() -> Exit {
    print(&TEMPLATE.replace("{token}", &new_secret()).replace("{key}", &new_secret()))
}

/// Judges a configuration as `loopwire serve` would, environment included, and starts nothing.
pub(crate) fn check(args: &CheckconfigArgs) -> Result<Exit, Failure> {
    let arguments = ["loopwire".into(), "serve".into(), "--config".into(), args.file.clone().into_os_string()];
    let (settings, cli) =
        read_from(arguments.to_vec()).map_err(|error| Failure::new(Exit::Usage, error.to_string().trim()))?;
    let Some(super::Command::Serve(serve_args)) = cli.command else {
        return Err(Failure::new(Exit::Failed, "the settings are of another command"));
    };
    for remark in serve::check(&serve_args, &settings)? {
        terminal::say(remark);
    }
    Ok(print(&format!("{}: ok\n", args.file.display())))
}
