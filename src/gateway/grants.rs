//! What a token or a backend grants, as the hub takes it.

use super::token::{Claims, Override, Overrides, SubscriptionClaims};
use crate::push::{Data, SubscriptionGrant};

/// A subscription that a connection's token brings along.
pub(super) fn of_claims(claims: &SubscriptionClaims) -> SubscriptionGrant {
    with_overrides(claims.info(), claims.overrides.as_ref())
}

/// A subscription with a token of its own.
pub(super) fn of_token(claims: &Claims) -> SubscriptionGrant {
    with_overrides(claims.info(), claims.overrides.as_ref())
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
