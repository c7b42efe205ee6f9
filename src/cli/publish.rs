//! `loopwire publish`: one publication by the server API.

use std::io::Read as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::values::Span;
use super::{Exit, Failure, print};

/// Where a server listens that nobody told where to.
pub(crate) const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";

/// Bytes of an answer that are read.
const MAX_ANSWER: u64 = 1 << 20;

#[derive(Args, Debug)]
pub(crate) struct PublishArgs {
    /// Where to
    #[arg(value_name = "CHANNEL")]
    channel: String,

    /// What: JSON, or any text, which is published as a JSON string [default: standard input]
    #[arg(value_name = "DATA")]
    data: Option<String>,

    /// Publish the text as a string, even if it is JSON
    #[arg(long, conflicts_with = "binary")]
    text: bool,

    /// Publish the bytes as they are
    #[arg(long)]
    binary: bool,

    /// Publish nothing if this key has been used in the channel before, and say what was published then
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,

    /// The server
    #[arg(long, value_name = "URL", default_value = DEFAULT_SERVER)]
    server: String,

    /// The server API's key; better given as a variable than as a flag
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,

    /// How long the answer may take
    #[arg(long, value_name = "TIME", default_value = "10s")]
    api_timeout: Span,

    /// Trust the certificates in this file (PEM) and no others, instead of the platform's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Trust any certificate: for development
    #[arg(long)]
    insecure: bool,
}

#[derive(Serialize)]
struct Request<'a> {
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b64data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<&'a str>,
}

#[derive(Deserialize)]
struct Answer {
    result: Option<Box<RawValue>>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    code: u32,
    message: String,
}

/// Publishes, and prints where in the channel's stream it stands.
pub(crate) fn run(args: &PublishArgs) -> Result<Exit, Failure> {
    let bytes = match &args.data {
        Some(data) => data.clone().into_bytes(),
        None => read_input()?,
    };
    let failed = |error: serde_json::Error| Failure::new(Exit::Failed, error);
    let (data, b64data) = if args.binary {
        (None, Some(STANDARD.encode(bytes)))
    } else {
        let text = String::from_utf8(bytes)
            .map_err(|_| Failure::new(Exit::Usage, "it is no text: --binary publishes any bytes"))?;
        (Some(as_json(&text, args.text).map_err(failed)?), None)
    };
    let key = args.idempotency_key.as_deref();
    let body = serde_json::to_vec(&Request { channel: &args.channel, data, b64data, idempotency_key: key });
    let result = args.post(body.map_err(failed)?)?;
    Ok(print(&format!("{result}\n")))
}

/// JSON as it is, any other text as a JSON string; without the line break that an editor or `echo` puts behind it.
fn as_json(text: &str, is_text: bool) -> serde_json::Result<Box<RawValue>> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    match serde_json::from_str::<&RawValue>(text) {
        Ok(value) if !is_text => Ok(value.to_owned()),
        _ => serde_json::value::to_raw_value(text),
    }
}

fn read_input() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::new(Exit::Failed, format_args!("cannot read standard input: {error}")))?;
    Ok(bytes)
}

impl PublishArgs {
    fn post(&self, body: Vec<u8>) -> Result<Box<RawValue>, Failure> {
        let server = self.server.trim_end_matches('/');
        let url = format!("{server}/api/publish");
        if !server.starts_with("http://") && !server.starts_with("https://") {
            return Err(Failure::new(Exit::Usage, format_args!("--server: write http://host:port, not {server}")));
        }
        let mut request = self.agent()?.post(&url).content_type("application/json");
        if let Some(key) = &self.api_key {
            request = request.header("X-API-Key", key);
        }
        let unreachable = |error: ureq::Error| Failure::new(Exit::NotConnected, format_args!("{url}: {error}"));
        let mut response = request.send(body).map_err(unreachable)?;
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(MAX_ANSWER).read_to_string().map_err(unreachable)?;
        let refused = |what: &str| Failure::new(Exit::Refused, format_args!("{url}: {what}"));
        if status == 401 {
            return Err(refused("the server wants its API's key: give --api-key, or LOOPWIRE_API_KEY"));
        }
        match serde_json::from_str(&text) {
            Ok(Answer { result: Some(result), .. }) => Ok(result),
            Ok(Answer { error: Some(Refusal { code, message }), .. }) => {
                Err(refused(&format!("error {code}, {message}")))
            }
            _ => Err(refused(&format!("status {status}, which is no answer of a push server's API"))),
        }
    }

    fn agent(&self) -> Result<Agent, Failure> {
        let mut tls = TlsConfig::builder().disable_verification(self.insecure);
        if let Some(path) = &self.ca {
            let wrong = |error: &dyn std::fmt::Display| {
                Failure::new(Exit::Usage, format_args!("--ca {}: {error}", path.display()))
            };
            let pem = std::fs::read(path).map_err(|error| wrong(&error))?;
            let mut roots = Vec::new();
            for item in parse_pem(&pem) {
                if let PemItem::Certificate(certificate) = item.map_err(|error| wrong(&error))? {
                    roots.push(certificate);
                }
            }
            tls = tls.root_certs(RootCerts::new_with_certs(&roots));
        } else if self.server.starts_with("https:") && !self.insecure {
            let platform = rustls_native_certs::load_native_certs().certs;
            let roots: Vec<_> = platform.iter().map(|root| Certificate::from_der(root).to_owned()).collect();
            tls = tls.root_certs(RootCerts::new_with_certs(&roots));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(self.api_timeout.0))
            .user_agent(concat!("loopwire/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build());
        Ok(config.build().new_agent())
    }
}

#[cfg(test)]
mod tests {
    use super::as_json;

    #[test]
    fn text_that_is_no_json_becomes_a_string() {
        for (text, is_text, json) in [
            ("{\"a\": 1}\n", false, "{\"a\": 1}"),
            ("12", false, "12"),
            ("12", true, "\"12\""),
            ("hello \"you\"\n", false, "\"hello \\\"you\\\"\""),
            ("a\nb\n", false, "\"a\\nb\""),
            ("", false, "\"\""),
        ] {
            assert_eq!(as_json(text, is_text).unwrap().get(), json, "{text}");
        }
    }
}
