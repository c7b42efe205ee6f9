//! Who may use the API: whoever has its key.

use subtle::ConstantTimeEq;

use super::answer::Refusal;
use crate::gateway::config::GatewayConfig;
use crate::gateway::raw::percent_decoded;
use crate::handshake::{OriginPolicy, Request, Response};
use crate::push::PushError;

/// Judges a request by its key; where none is needed, by the page that it comes from: a browser would send it for anyone.
///
/// # Errors
/// The answer, without a word about what is wrong with the key.
pub(super) fn judge(config: &GatewayConfig, request: &Request) -> Result<(), Response> {
    if config.api_insecure {
        let policy = match &config.origins {
            OriginPolicy::Loopback => OriginPolicy::Loopback,
            _ => OriginPolicy::SameHost,
        };
        return policy.judge_plain(request).map_err(|rejection| rejection.response());
    }
    let is_ours = |key: &str| {
        let ours = config.api_key.as_deref().unwrap_or_default();
        !ours.is_empty() && bool::from(ours.as_bytes().ct_eq(key.as_bytes()))
    };
    if key_of(request).is_some_and(|key| is_ours(&key)) { Ok(()) } else { Err(unauthorized()) }
}

fn unauthorized() -> Response {
    let response = Refusal::from(PushError::Unauthorized).response(401);
    response.clone().with_field("WWW-Authenticate", "apikey").unwrap_or(response)
}

/// The key that a request brings: the first of the places where one may be.
fn key_of(request: &Request) -> Option<std::borrow::Cow<'_, str>> {
    if let Some(key) = request.fields().get("X-API-Key") {
        return Some(key.into());
    }
    if let Some((scheme, key)) = request.fields().get("Authorization").and_then(|value| value.split_once(' '))
        && scheme.eq_ignore_ascii_case("apikey")
    {
        return Some(key.trim_ascii().into());
    }
    let mut parameters = request.query()?.split('&').filter_map(|pair| pair.split_once('='));
    parameters.find(|(name, _)| *name == "api_key").and_then(|(_, key)| percent_decoded(key, true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::HeadLimits;

    fn status(config: &GatewayConfig, target: &str, fields: &str) -> u16 {
        let head = format!("POST {target} HTTP/1.1\r\nHost: push.example\r\n{fields}\r\n");
        let request = Request::parse(head.as_bytes(), &HeadLimits::default()).unwrap();
        judge(config, &request).map_or_else(|response| response.status(), |()| 200)
    }

    #[test]
    fn a_key_opens_from_each_of_its_places_and_nothing_else_does() {
        let config = GatewayConfig { api_key: Some("k+y &1".to_owned()), ..GatewayConfig::default() };
        let rows = [
            ("/api/info", "X-API-Key: k+y &1\r\n", 200),
            ("/api/info", "x-api-key:  k+y &1 \r\n", 200),
            ("/api/info", "Authorization: apikey k+y &1\r\n", 200),
            ("/api/info", "Authorization: APIKey  k+y &1\r\n", 200),
            ("/api/info?api_key=k%2By+%261", "", 200),
            ("/api/info?a=b&api_key=k%2by%20%261&c", "", 200),
            ("/api/info", "", 401),
            ("/api/info", "X-API-Key:\r\n", 401),
            ("/api/info", "X-API-Key: k+y &\r\n", 401),
            ("/api/info", "X-API-Key: k+y &12\r\n", 401),
            ("/api/info", "X-API-Key: K+Y &1\r\n", 401),
            ("/api/info", "X-API-Key: k+y &1\r\nX-API-Key: k+y &1\r\n", 401),
            ("/api/info", "Authorization: Bearer k+y &1\r\n", 401),
            ("/api/info", "Authorization: k+y &1\r\n", 401),
            ("/api/info?api_key=k+y", "", 401),
            ("/api/info?api_key=%", "", 401),
            ("/api/info?api_key", "", 401),
            ("/api/info?xapi_key=k%2By+%261", "", 401),
        ];
        for (target, fields, expected) in rows {
            assert_eq!(status(&config, target, fields), expected, "{target} {fields:?}");
        }
    }

    #[test]
    fn without_a_key_there_is_no_way_in() {
        for api_key in [None, Some(String::new())] {
            let config = GatewayConfig { api_key, ..GatewayConfig::default() };
            for fields in ["", "X-API-Key: \r\n", "X-API-Key: a\r\n"] {
                assert_eq!(status(&config, "/api/info?api_key=", fields), 401, "{fields:?}");
            }
        }
    }

    #[test]
    fn where_no_key_is_needed_pages_from_elsewhere_are_kept_out() {
        let config = GatewayConfig { api_insecure: true, ..GatewayConfig::default() };
        let rows = [
            ("", 200),
            ("Origin: http://push.example\r\n", 200),
            ("Origin: https://evil.example\r\n", 403),
            ("Origin: http://push.example.evil\r\n", 403),
            ("Origin: null\r\n", 403),
            ("Origin: http://push.example\r\nOrigin: https://evil.example\r\n", 403),
        ];
        for (fields, expected) in rows {
            assert_eq!(status(&config, "/api/info", fields), expected, "{fields:?}");
        }
        // A name that somebody else has pointed at this machine.
        let config = GatewayConfig { origins: OriginPolicy::Loopback, ..config };
        assert_eq!(status(&config, "/api/info", "Origin: http://push.example\r\n"), 403);
    }
}
