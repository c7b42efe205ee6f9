//! What a token or a backend grants, as the hub takes it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::data;
use super::token::{Claims, Override, Overrides, SubscriptionClaims};
use crate::push::{Data, SubscriptionGrant};

/// A subscription that a connection's token brings along.
pub(super) fn of_claims(claims: &SubscriptionClaims) -> SubscriptionGrant {
    with_overrides(info(claims.info.as_deref(), claims.b64info.as_deref()), claims.overrides.as_ref())
}

/// A subscription with a token of its own.
pub(super) fn of_token(claims: &Claims) -> SubscriptionGrant {
    with_overrides(info(claims.info.as_deref(), claims.b64info.as_deref()), claims.overrides.as_ref())
}

/// A subscription that is granted with these particulars.
pub(super) fn with_overrides(info: Option<Data>, overrides: Option<&Overrides>) -> SubscriptionGrant {
    let value = |pick: fn(&Overrides) -> Option<Override>| overrides.and_then(pick).map(|it| it.value);
    SubscriptionGrant {
        info,
        expire_at: None,
        presence: value(|it| it.presence),
        join_leave: value(|it| it.join_leave),
        force_push_join_leave: value(|it| it.force_push_join_leave),
        force_positioning: value(|it| it.force_positioning),
        force_recovery: value(|it| it.force_recovery),
    }
}

/// What others may know: JSON, or bytes in base64. What is neither is nothing.
pub(super) fn info(info: Option<&RawValue>, b64info: Option<&str>) -> Option<Data> {
    json(info).or_else(|| STANDARD.decode(b64info?).ok().map(|bytes| data::of_bytes(&bytes)))
}

/// A JSON value of a token or a backend as data.
pub(super) fn json(value: Option<&RawValue>) -> Option<Data> {
    data::of_json(value?.get().as_bytes())
}
