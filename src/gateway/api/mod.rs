//! The server API: an application publishes, asks and commands by HTTP on the same port, in Centrifugo's shapes.
//!
//! ```text
//! POST /api/METHOD ─▶ access ─▶ body ─▶ Run: one method, or a batch ─▶ Answer, whose parts may wait for the store
//!                       │ 401                                            │ all there        ▲
//!                       ▼                                                ▼                  │ acknowledged
//! GET /healthz, /readyz, /metrics                                  {"result":…}         the store
//! ```
//!
//! What a method refuses is answered 200 with `{"error":{"code":…,"message":…}}`; a body that cannot be read 400; a
//! method that is not there 404; a wrong key 401, before anything of the body is read.

mod access;
mod answer;
mod methods;
mod requests;
mod results;
mod run;

use std::collections::HashMap;

use self::answer::{Answer, Refusal};
use self::methods::Method;
use self::run::Run;
use super::core::{Core, new_client_id};
use super::metrics;
use crate::endpoint::{Connections, HttpAnswer, HttpExchange};
use crate::handshake::{Request, Response};
use crate::net::ConnectionId;
use crate::push::{Position, PushError, Time};

/// What paths of the API begin with.
const PATH: &str = "/api/";

/// What the API keeps.
#[derive(Debug)]
pub(super) struct Api {
    /// Answers of which a part is not on disk yet.
    waiting: HashMap<ConnectionId, Answer>,
    /// Names this process among others of the same name.
    node: String,
    started: Time,
}

impl Api {
    pub(super) fn new(now: Time) -> Self {
        Self { waiting: HashMap::new(), node: new_client_id().to_string(), started: now }
    }

    /// Requests whose answer waits for the store.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

/// Who may not is not listened to.
pub(super) fn body_limit(core: &Core, request: &Request) -> usize {
    let is_command = request.method() == "POST" && request.path().starts_with(PATH);
    if is_command && access::judge(&core.config, request).is_ok() { core.config.max_api_body } else { 0 }
}

pub(super) fn on_http(core: &mut Core, connections: &mut Connections<'_>, exchange: HttpExchange<'_>) -> HttpAnswer {
    let request = exchange.request;
    if let Some(name) = request.path().strip_prefix(PATH) {
        let method = Method::parse(name);
        let answer = command(core, connections, &exchange, method);
        if let HttpAnswer::Now(response) = &answer {
            core.metrics.api_request(method.map_or("", Method::name), response.status());
        }
        return answer;
    }
    let is_read = matches!(request.method(), "GET" | "HEAD");
    match request.path() {
        "/healthz" | "/readyz" | "/metrics" if !is_read => not_allowed("GET, HEAD"),
        "/healthz" => Response::text(200, "ok\n").into(),
        "/readyz" => ready(core).into(),
        "/metrics" => match access::judge(&core.config, request) {
            Ok(()) => metrics::tell(core, connections).into(),
            Err(refused) => refused.into(),
        },
        _ => HttpAnswer::Default,
    }
}

/// A part of an answer is on disk, or could not be brought there.
pub(super) fn acknowledged(
    core: &mut Core,
    connections: &mut Connections<'_>,
    exchange: ConnectionId,
    index: usize,
    result: Result<Position, PushError>,
) {
    let Some(answer) = core.api.waiting.get_mut(&exchange) else { return };
    answer.fill(index, result.map_err(Refusal::from).and_then(|position| answer::published(&position)));
    if answer.is_complete()
        && let Some(answer) = core.api.waiting.remove(&exchange)
    {
        core.metrics.api_request(answer.method(), 200);
        // Who has gone meanwhile has no use for it.
        connections.respond(exchange, answer.response());
    }
}

/// Carries out what is posted.
fn command(
    core: &mut Core,
    connections: &mut Connections<'_>,
    exchange: &HttpExchange<'_>,
    method: Option<Method>,
) -> HttpAnswer {
    let request = exchange.request;
    if let Err(refused) = access::judge(&core.config, request) {
        return refused.into();
    }
    let Some(method) = method else {
        return Refusal::from(PushError::MethodNotFound).response(404).into();
    };
    if request.method() != "POST" {
        return not_allowed("POST");
    }
    let Ok(text) = std::str::from_utf8(exchange.body) else {
        return Refusal::bad("the body is not UTF-8").response(400).into();
    };
    // A method without parameters needs no body.
    let text = if text.trim_ascii().is_empty() { "{}" } else { text };
    match Run::new(core, connections, exchange.id, method).carry_out(text) {
        Ok(answer) if answer.is_complete() => answer.response().into(),
        Ok(answer) => {
            core.api.waiting.insert(exchange.id, answer);
            HttpAnswer::Later
        }
        Err(refusal) => refusal.response(400).into(),
    }
}

/// Whether requests should be sent here.
fn ready(core: &Core) -> Response {
    match (core.draining, core.store_failing) {
        (false, false) => Response::text(200, "ready\n"),
        (true, _) => Response::text(503, "draining\n"),
        (_, true) => Response::text(503, "the store has failed\n"),
    }
}

fn not_allowed(allow: &str) -> HttpAnswer {
    let response = Response::text(405, &format!("use {allow}\n"));
    response.clone().with_field("Allow", allow).unwrap_or(response).into()
}
