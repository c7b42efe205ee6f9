//! Development mode: nobody has said who may do what, so everybody on this machine may do everything.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use loopwire::OriginPolicy;
use loopwire::gateway::{Claims, Gateway, GatewayConfig, Issuer};
use loopwire::handshake::{Request, Response};
use loopwire::push::{Audience, ChannelOptions};

use super::page;
use crate::cli::terminal::say;
use crate::cli::{Exit, Failure};

/// The file of the data directory that keeps the secret of tokens over a restart.
const SECRET_FILE: &str = "development-secret";

/// Where a page gets a token for the user that it wants to be.
const TOKEN_PATH: &str = "/dev/token";
const MAX_USER: usize = 255;

/// Whom the token is for that is printed.
const USER: &str = "ada";

/// Everything is allowed, and everything is offered.
pub(super) fn open_to_everybody(config: &mut GatewayConfig, data: Option<&Path>) -> Result<(), Failure> {
    config.hub.insecure = true;
    config.api_insecure = true;
    config.allow_anonymous = true;
    // A page from elsewhere, in a browser on this machine, is somebody else.
    config.origins = OriginPolicy::Loopback;
    let open = ChannelOptions {
        presence: true,
        join_leave: true,
        history_size: 1000,
        history_ttl: 24 * 3600 * 1000,
        force_recovery: true,
        force_positioning: true,
        subscribe: EVERYBODY,
        publish: EVERYBODY,
        history: EVERYBODY,
        presence_for: EVERYBODY,
        ..ChannelOptions::default()
    };
    // Pictures are large.
    config.hub.namespaces.named.insert("images".to_owned(), ChannelOptions { history_size: 20, ..open });
    config.hub.namespaces.plain = open;
    config.hub.namespaces.others = Some(open);
    config.token.hmac_secret = Some(match data {
        Some(dir) => secret_in(dir).map_err(|error| {
            let file = dir.join(SECRET_FILE);
            Failure::new(Exit::Data, format_args!("cannot keep a secret for tokens in {}: {error}", file.display()))
        })?,
        None => new_secret(),
    });
    Ok(())
}

const EVERYBODY: Audience = Audience { client: true, subscriber: true, anonymous: true };

/// The secret that a server in development mode keeps in this directory, if there is one.
pub(crate) fn kept_secret(dir: &Path) -> Option<String> {
    let secret = fs::read_to_string(dir.join(SECRET_FILE)).ok()?;
    Some(secret.trim().to_owned()).filter(|secret| !secret.is_empty())
}

/// The same, made if there is none yet.
fn secret_in(dir: &Path) -> io::Result<String> {
    if let Some(secret) = kept_secret(dir) {
        return Ok(secret);
    }
    fs::create_dir_all(dir)?;
    let secret = new_secret();
    // Nobody else on this machine is to make tokens.
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(dir.join(SECRET_FILE))?;
    writeln!(file, "{secret}")?;
    Ok(secret)
}

/// 32 random bytes, as hexadecimal digits.
pub(crate) fn new_secret() -> String {
    let mut bytes = [0; 32];
    // Without randomness from the system nothing here could be safe.
    getrandom::fill(&mut bytes).expect("the system has random bytes");
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The page at `/`, and tokens for whoever asks.
pub(super) fn add_pages(gateway: Gateway, secret: &str) -> Gateway {
    let issuer = Issuer::new(secret);
    page::add_to(gateway, &page::FILES).page_with(TOKEN_PATH, move |request| token_for(request, &issuer)).reload_with(
        || {
            log::warn!("SIGHUP: of the settings nothing is read again in development mode, start it again instead");
            None
        },
    )
}

/// Answers `?user=NAME` with a token of that user.
fn token_for(request: &Request, issuer: &Issuer) -> Response {
    let user = request.query().unwrap_or_default().split('&').find_map(|part| part.strip_prefix("user="));
    match user.and_then(unescaped) {
        Some(user) if !user.is_empty() && user.len() <= MAX_USER => {
            let claims = Claims { sub: user, ..Claims::default() };
            let answer = Response::text(200, &issuer.issue(&claims));
            answer.clone().with_field("Cache-Control", "no-store").unwrap_or(answer)
        }
        _ => Response::text(
            400,
            &format!("Ask for {TOKEN_PATH}?user=NAME, percent-encoded, at most {MAX_USER} bytes.\n"),
        ),
    }
}

/// A value of a query, its escapes undone [URL Standard, application/x-www-form-urlencoded].
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        (bytes, rest) = match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let byte = digit(*high)? * 16 + digit(*low)?;
                bytes.push(byte as u8);
                (bytes, after)
            }
            (b'%', _) => return None,
            (b'+', after) => {
                bytes.push(b' ');
                (bytes, after)
            }
            (&byte, after) => {
                bytes.push(byte);
                (bytes, after)
            }
        };
    }
    String::from_utf8(bytes).ok()
}

/// What to do next, for who has just started it.
pub(super) fn hints(url: &str, data: Option<&Path>, secret: &str) {
    let kept = match data {
        Some(dir) => format!("Channels' histories are kept in {}.", dir.display()),
        None => "Channels' histories are kept in memory.".to_owned(),
    };
    let insecure = if url.starts_with("https:") { "-k " } else { "" };
    let claims = Claims { sub: USER.to_owned(), ..Claims::default() };
    let token = Issuer::new(secret).issue(&claims);
    say(format_args!(
        "\n  Development mode: on this machine, everybody may do everything. {kept}\n\n  \
         Open {url} in a browser, and {url}/learn to see every bit of a WebSocket.\n  \
         From another terminal, subscribe, and publish:\n    \
         loopwire subscribe news\n    \
         curl {insecure}{url}/api/publish -d '{{\"channel\": \"news\", \"data\": {{\"hello\": \"world\"}}}}'\n  \
         A token of the user {USER}:\n    {token}\n  \
         To serve others: loopwire genconfig > loopwire.toml && loopwire serve --config loopwire.toml\n  \
         Ctrl-C ends it. `loopwire --help` lists what else there is.\n"
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_or_refused() {
        for (text, value) in [
            ("ada", Some("ada")),
            ("", Some("")),
            ("a+b%20c%2B", Some("a b c+")),
            ("%C3%BC%c3%bc", Some("üü")),
            ("%", None),
            ("%4", None),
            ("%4g", None),
            ("%+1", None),
            ("%ff", None),
        ] {
            assert_eq!(unescaped(text).as_deref(), value, "{text}");
        }
    }
}
