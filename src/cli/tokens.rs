//! `loopwire gentoken` and `loopwire checktoken`: tokens from and for a shell.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use loopwire::gateway::{Claims, Issuer, TokenConfig, TokenError, Verifier};
use serde_json::value::RawValue;

use super::serve::{TokenArgs, kept_secret};
use super::values::{OrOff, Span};
use super::{Exit, Failure, print};

/// How long a token is good for that nobody wants otherwise.
const ONE_HOUR: &str = "1h";

#[derive(Args, Debug)]
pub(crate) struct GentokenArgs {
    /// Whose it is; without one it is for a client that is nobody in particular
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// Make a subscription token, for this channel
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,

    /// Make the subscription token good for this client alone
    #[arg(long, value_name = "ID", requires = "channel")]
    client: Option<String>,

    /// Subscribe the connection to this channel. May be given several times
    #[arg(long, value_name = "NAME", value_delimiter = ',', conflicts_with = "channel")]
    subscribe_to: Vec<String>,

    /// What others may know of the client
    #[arg(long, value_name = "JSON", value_parser = json)]
    info: Option<Box<RawValue>>,

    /// How long it is good for
    #[arg(long, value_name = "TIME", default_value = ONE_HOUR)]
    ttl: OrOff<Span>,

    /// The secret to sign it with; better given as a variable than as a flag [default: that of development mode, in --data]
    #[arg(long, value_name = "SECRET")]
    token_hmac_secret: Option<String>,

    /// Where a server in development mode keeps its secret
    #[arg(long, value_name = "DIR", default_value = "loopwire-data")]
    data: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct ChecktokenArgs {
    /// The token
    #[arg(value_name = "TOKEN")]
    text: String,

    #[command(flatten)]
    keys: TokenArgs,

    /// Where a server in development mode keeps its secret, for when no key is given
    #[arg(long, value_name = "DIR", default_value = "loopwire-data")]
    data: PathBuf,
}

/// Prints a token.
pub(crate) fn generate(args: &GentokenArgs) -> Result<Exit, Failure> {
    let secret = args.token_hmac_secret.clone().or_else(|| kept_secret(&args.data));
    let secret = secret.filter(|secret| !secret.is_empty()).ok_or_else(no_key)?;
    let expires = |Span(ttl)| now().saturating_add(ttl.as_secs().max(1));
    let claims = Claims {
        sub: args.user.clone().unwrap_or_default(),
        channel: args.channel.clone(),
        client: args.client.clone(),
        exp: args.ttl.0.map(expires),
        info: args.info.clone(),
        channels: args.subscribe_to.clone(),
        ..Claims::default()
    };
    Ok(print(&format!("{}\n", Issuer::new(&secret).issue(&claims))))
}

/// Prints what a token says, if it is valid.
pub(crate) fn check(args: &ChecktokenArgs) -> Result<Exit, Failure> {
    let mut config: TokenConfig = args.keys.config().map_err(|error| Failure::new(Exit::Usage, error))?;
    if config.hmac_secret.is_none() && config.rsa_public_key.is_none() && config.ecdsa_public_key.is_none() {
        config.hmac_secret = Some(kept_secret(&args.data).ok_or_else(no_key)?);
    }
    let verifier = Verifier::new(&config).map_err(|error| Failure::new(Exit::Usage, error))?;
    let claims = match verifier.connection(&args.text, now()) {
        Ok(claims) => Ok(claims),
        // A subscription's is none of a connection's, and the other way round.
        Err(error) => match verifier.subscription(&args.text, now()) {
            Ok(claims) => Ok(claims),
            Err(TokenError::Expired) => Err(TokenError::Expired),
            Err(_) => Err(error),
        },
    };
    let claims = claims.map_err(|error| Failure::new(Exit::Refused, error))?;
    let text = serde_json::to_string(&claims).map_err(|error| Failure::new(Exit::Failed, error))?;
    Ok(print(&format!("{text}\n")))
}

fn no_key() -> Failure {
    let what = "there is no key: give --token-hmac-secret (or LOOPWIRE_TOKEN_HMAC_SECRET, or a --config that has it), or the \
                --data of a server in development mode";
    Failure::new(Exit::Usage, what)
}

fn json(text: &str) -> Result<Box<RawValue>, String> {
    RawValue::from_string(text.to_owned()).map_err(|error| format!("it is not JSON: {error}"))
}

/// Seconds since the Unix epoch.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
