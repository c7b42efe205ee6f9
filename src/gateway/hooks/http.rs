//! One question as one POST: its URL and fields, its limits of time and size.

use std::collections::BTreeMap;
use std::time::Duration;

use ureq::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ureq::http::{Method, Request, Uri};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::{HookAnswer, HookFailure, HookRequest, json};
use crate::gateway::config::{ConfigError, HookConfig};

/// How long a connection that nobody uses is kept. Shorter than the five seconds after which Node.js and PHP-FPM's usual
/// front ends close it: a question must not be sent into a connection that ends just then.
const IDLE: Duration = Duration::from_secs(4);

/// Fields that say how a request is framed and where it goes: not an application's to set, nor a client's to send along.
const RESERVED: [HeaderName; 10] = [
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::EXPECT,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

const HEADER: &str = "hook-header";
const ROOTS: &str = "hook-ca";

/// The application's URLs, and the connections kept to them.
pub(super) struct Backend {
    agent: Agent,
    urls: BTreeMap<&'static str, Uri>,
    /// Sent with each request.
    fields: HeaderMap,
    max_answer: usize,
}

impl Backend {
    pub(super) fn new(config: &HookConfig) -> Result<Self, ConfigError> {
        let mut urls = BTreeMap::new();
        for (kind, url) in config.urls() {
            if let Some(url) = url {
                urls.insert(kind, parse_url(kind, url)?);
            }
        }
        for name in &config.forward_fields {
            field_name("hook-forward", name)?;
        }
        let secure = urls.iter().find(|(_, url)| url.scheme_str() == Some("https")).map(|(kind, _)| *kind);
        let agent = agent(config, secure)?;
        Ok(Self { agent, urls, fields: given_fields(&config.fields)?, max_answer: config.max_answer })
    }

    /// Whether there is a URL for such a question.
    pub(super) fn answers(&self, request: &HookRequest) -> bool {
        self.urls.contains_key(request.kind())
    }

    /// Asks, and reads the answer, all of it within `left`.
    pub(super) fn ask(&self, request: &HookRequest, left: Duration) -> Result<HookAnswer, HookFailure> {
        let unavailable = |why: String| HookFailure::Unavailable(format!("{}: {why}", key_of(request.kind())));
        let body = self.post(request, left).map_err(unavailable)?;
        json::answer(request, &body).map_err(|refusal| match refusal {
            json::Refusal::Says(failure) => failure,
            json::Refusal::Unintelligible(why) => unavailable(why),
        })
    }

    fn post(&self, request: &HookRequest, left: Duration) -> Result<Vec<u8>, String> {
        let url = self.urls.get(request.kind()).ok_or("is not set")?;
        let mut post = Request::new(json::question(request)?);
        *post.method_mut() = Method::POST;
        *post.uri_mut() = url.clone();
        *post.headers_mut() = self.fields_for(request)?;
        let post = self.agent.configure_request(post).timeout_global(Some(left)).build();
        let (head, mut body) = self.agent.run(post).map_err(|error| error.to_string())?.into_parts();
        if head.status.as_u16() != 200 {
            return Err(format!("the backend answered {}, not 200", head.status));
        }
        read(&mut body, self.max_answer)
    }

    /// The fields of a request: the client's, but nothing in place of or beside the application's own.
    fn fields_for(&self, request: &HookRequest) -> Result<HeaderMap, String> {
        let mut fields = self.fields.clone();
        for (name, value) in &request.client().fields {
            let field =
                HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_bytes(value.as_bytes()).ok());
            let Some((name, value)) = field else {
                return Err(format!("the client's {} cannot be sent along", name.escape_debug()));
            };
            if !self.fields.contains_key(&name) && !RESERVED.contains(&name) {
                fields.append(name, value);
            }
        }
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(fields)
    }
}

fn read(body: &mut Body, max: usize) -> Result<Vec<u8>, String> {
    let too_long = || format!("the answer is longer than {max} bytes");
    // A limit of ureq's is one that must not be reached.
    match body.with_config().limit((max as u64).saturating_add(1)).read_to_vec() {
        Ok(body) if body.len() <= max => Ok(body),
        Ok(_) | Err(ureq::Error::BodyExceedsLimit(_)) => Err(too_long()),
        Err(error) => Err(error.to_string()),
    }
}

/// `secure` is the kind of a URL that needs TLS, if one does.
fn agent(config: &HookConfig, secure: Option<&str>) -> Result<Agent, ConfigError> {
    let mut builder = Agent::config_builder()
        // An application is beside this server: the environment's proxy is for the way out.
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .max_idle_age(IDLE)
        .max_idle_connections(config.concurrency)
        .max_idle_connections_per_host(config.concurrency)
        .max_response_header_size(16 << 10)
        .user_agent(concat!("loopwire/", env!("CARGO_PKG_VERSION")));
    if let Some(kind) = secure {
        let roots = match &config.roots {
            Some(pem) => given_roots(pem)?,
            None => platform_roots().map_err(|what| ConfigError { key: key_of(kind), what })?,
        };
        builder = builder.tls_config(TlsConfig::builder().root_certs(roots).build());
    }
    Ok(builder.build().new_agent())
}

/// What the platform trusts, as for connections that this crate dials.
fn platform_roots() -> Result<RootCerts, String> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let what = "https needs root certificates, and the platform has none: hook-ca can name a file of them";
        return Err(what.to_owned());
    }
    let roots: Vec<_> = found.certs.iter().map(|root| Certificate::from_der(root).to_owned()).collect();
    Ok(RootCerts::new_with_certs(&roots))
}

fn given_roots(pem: &str) -> Result<RootCerts, ConfigError> {
    let wrong = |what: String| ConfigError { key: ROOTS.to_owned(), what };
    let mut roots = Vec::new();
    for item in parse_pem(pem.as_bytes()) {
        if let PemItem::Certificate(root) = item.map_err(|error| wrong(format!("is no PEM: {error}")))? {
            roots.push(root);
        }
    }
    if roots.is_empty() {
        Err(wrong("has no certificate in it".to_owned()))
    } else {
        Ok(RootCerts::new_with_certs(&roots))
    }
}

/// A URL's key in a configuration.
pub(super) fn key_of(kind: &str) -> String {
    format!("hook-{}-url", kind.replace('_', "-"))
}

fn parse_url(kind: &str, text: &str) -> Result<Uri, ConfigError> {
    let wrong = |what: &str| ConfigError { key: key_of(kind), what: format!("`{text}` {what}") };
    let url: Uri = text.parse().map_err(|_| wrong("is no URL"))?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err(wrong("has to begin with http:// or https://"));
    }
    match url.authority() {
        Some(authority) if authority.as_str().contains('@') => {
            Err(wrong("has a user in it: give an Authorization field by hook-header instead"))
        }
        Some(authority) if !authority.host().is_empty() => Ok(url),
        _ => Err(wrong("names no host")),
    }
}

fn given_fields(given: &BTreeMap<String, String>) -> Result<HeaderMap, ConfigError> {
    let mut fields = HeaderMap::new();
    for (name, value) in given {
        let wrong =
            |what: &str| ConfigError { key: HEADER.to_owned(), what: format!("`{}` {what}", name.escape_debug()) };
        let value =
            HeaderValue::from_bytes(value.as_bytes()).map_err(|_| wrong("has a control character in its value"))?;
        if fields.insert(field_name(HEADER, name)?, value).is_some() {
            return Err(wrong("is there twice, in upper and lower case"));
        }
    }
    Ok(fields)
}

fn field_name(key: &str, name: &str) -> Result<HeaderName, ConfigError> {
    let wrong = |what| ConfigError { key: key.to_owned(), what: format!("`{}` {what}", name.escape_debug()) };
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("is no field's name"))?;
    if RESERVED.contains(&name) {
        return Err(wrong("belongs to the request itself"));
    }
    Ok(name)
}
