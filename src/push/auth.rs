//! Who may do what: names of channels, and the decisions in their written order.
//!
//! ```text
//! subscribe: `$` without a token ─▶ no          publish: a backend, if the namespace has one
//!            a token decides alone                       ─▶ clients may, by option
//!            ─▶ user-limited: those who are named        ─▶ subscribers may, by option
//!               alone (or insecure)                      ─▶ insecure
//!            ─▶ a backend, if the namespace has one      ─▶ no
//!            ─▶ clients may, by option
//!            ─▶ insecure
//!            ─▶ no
//! ```

use super::{Audience, ChannelOptions, Data, HubConfig, PushError, Time};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To subscribe, without a token.
    Subscribe,
    /// To subscribe, with a token that has been verified for this channel, user and client.
    SubscribeWithToken,
    /// To publish.
    Publish,
    /// To read the history.
    History,
    /// To ask for presence.
    Presence,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow,
    /// The application's backend decides.
    AskBackend,
    /// No.
    Deny(PushError),
}

/// What a token or a backend said about a subscription, besides yes.
#[derive(Clone, Debug, Default)]
pub struct SubscriptionGrant {
    /// What others in the channel may know of the subscriber.
    pub info: Option<Data>,
    /// When the subscription ends if it is not refreshed.
    pub expire_at: Option<Time>,
    /// Options of the channel that this subscription has otherwise: `None` leaves them.
    pub presence: Option<bool>,
    /// As above.
    pub join_leave: Option<bool>,
    /// As above.
    pub force_push_join_leave: Option<bool>,
    /// As above.
    pub force_positioning: Option<bool>,
    /// As above.
    pub force_recovery: Option<bool>,
}

/// A channel's name, taken apart: `$ns:rest#user,user`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelName<'a> {
    /// All of it.
    pub full: &'a str,
    /// What stands before the first `:`, without a leading `$`. Behind a `#` there is none: users' names may have a `:`.
    pub namespace: Option<&'a str>,
    /// Whether it begins with `$`: a token is needed.
    pub is_private: bool,
    /// What stands behind the first `#`: the users that it is limited to, separated by commas.
    pub users: Option<&'a str>,
}

impl<'a> ChannelName<'a> {
    /// Takes `name` apart.
    pub fn parse(name: &'a str) -> Self {
        let is_private = name.starts_with('$');
        let public = if is_private { &name[1..] } else { name };
        let (before_users, users) = match public.split_once('#') {
            Some((before, users)) => (before, Some(users)),
            None => (public, None),
        };
        let namespace = before_users.split_once(':').map(|(namespace, _)| namespace);
        Self { full: name, namespace, is_private, users }
    }

    /// Whether a user-limited channel names this user. The anonymous one is never meant.
    fn names(&self, user: &str) -> bool {
        !user.is_empty() && self.users.is_some_and(|users| users.split(',').any(|named| named == user))
    }
}

impl HubConfig {
    /// The options of a channel.
    ///
    /// # Errors
    /// `UnknownChannel`: its namespace does not exist. `LimitExceeded`: the name is too long. `BadRequest`: empty, or not ASCII.
    pub fn options(&self, channel: &str) -> Result<&ChannelOptions, PushError> {
        if channel.is_empty() || !channel.is_ascii() {
            return Err(PushError::BadRequest);
        }
        if channel.len() > self.limits.channel_length {
            return Err(PushError::LimitExceeded);
        }
        self.namespaces.get(ChannelName::parse(channel).namespace).ok_or(PushError::UnknownChannel)
    }

    /// Whether a client may do something in a channel.
    pub(super) fn decide(&self, asker: Asker<'_>, channel: &str, access: Access) -> Decision {
        let options = match self.options(channel) {
            Ok(options) => options,
            Err(error) => return Decision::Deny(error),
        };
        let name = ChannelName::parse(channel);
        match access {
            Access::SubscribeWithToken => Decision::Allow,
            Access::Subscribe => self.decide_subscribe(asker, name, options),
            Access::Publish if options.publish_hook => Decision::AskBackend,
            Access::Publish => self.decide_by_option(asker, options.publish),
            Access::History if !options.has_history() => Decision::Deny(PushError::NotAvailable),
            Access::History => self.decide_by_option(asker, options.history),
            Access::Presence if !options.presence => Decision::Deny(PushError::NotAvailable),
            Access::Presence => self.decide_by_option(asker, options.presence_for),
        }
    }

    fn decide_subscribe(&self, asker: Asker<'_>, name: ChannelName<'_>, options: &ChannelOptions) -> Decision {
        if name.is_private {
            return Decision::Deny(PushError::PermissionDenied);
        }
        if let Some(users) = name.users {
            if users.split(',').count() > self.limits.users_per_channel {
                return Decision::Deny(PushError::LimitExceeded);
            }
            // Whom it does not name neither a backend nor an option lets in: the limit would be none.
            return if name.names(asker.user) || self.insecure { Decision::Allow } else { DENIED };
        }
        if options.subscribe_hook {
            return Decision::AskBackend;
        }
        self.decide_by_option(Asker { is_subscribed: false, ..asker }, options.subscribe)
    }

    fn decide_by_option(&self, asker: Asker<'_>, audience: Audience) -> Decision {
        let is_meant = audience.client || (audience.subscriber && asker.is_subscribed);
        let is_known = !asker.user.is_empty() || audience.anonymous;
        if (is_meant && is_known) || self.insecure { Decision::Allow } else { DENIED }
    }
}

const DENIED: Decision = Decision::Deny(PushError::PermissionDenied);

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    /// Empty for an anonymous one.
    pub(super) user: &'a str,
    pub(super) is_subscribed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::Namespaces;

    #[test]
    fn names_are_taken_apart() {
        let rows: [(&str, Option<&str>, bool, Option<&str>); 14] = [
            ("news", None, false, None),
            ("chat:room", Some("chat"), false, None),
            ("chat:a:b", Some("chat"), false, None),
            (":room", Some(""), false, None),
            ("$chat:room", Some("chat"), true, None),
            ("$room", None, true, None),
            ("$", None, true, None),
            ("dialog#42", None, false, Some("42")),
            ("dialog#42,43", None, false, Some("42,43")),
            ("chat:dialog#42", Some("chat"), false, Some("42")),
            ("#42", None, false, Some("42")),
            ("#urn:user:42", None, false, Some("urn:user:42")),
            ("a#b#c", None, false, Some("b#c")),
            ("a$b", None, false, None),
        ];
        for (full, namespace, is_private, users) in rows {
            assert_eq!(ChannelName::parse(full), ChannelName { full, namespace, is_private, users });
        }
    }

    fn config(change: impl FnOnce(&mut ChannelOptions)) -> HubConfig {
        let mut plain = ChannelOptions::default();
        change(&mut plain);
        let named = [("chat".to_owned(), ChannelOptions { presence: true, ..ChannelOptions::default() })].into();
        HubConfig { namespaces: Namespaces { plain, named, others: None }, ..HubConfig::default() }
    }

    #[test]
    fn a_name_has_a_namespace_that_exists_and_a_length_and_is_ascii() {
        let config = config(|_| {});
        let longest = "x".repeat(255);
        let too_long = "x".repeat(256);
        let rows = [
            ("news", Ok(false)),
            ("chat:room", Ok(true)),
            ("$chat:room", Ok(true)),
            ("chat", Ok(false)),
            ("chat#a:b", Ok(false)),
            ("talk:room", Err(PushError::UnknownChannel)),
            (":room", Err(PushError::UnknownChannel)),
            ("$:room", Err(PushError::UnknownChannel)),
            ("", Err(PushError::BadRequest)),
            ("caf\u{e9}", Err(PushError::BadRequest)),
            (&longest, Ok(false)),
            (&too_long, Err(PushError::LimitExceeded)),
        ];
        for (name, expected) in rows {
            assert_eq!(config.options(name).map(|options| options.presence), expected, "{name:?}");
        }
        let mut open = config;
        open.namespaces.others = Some(ChannelOptions { join_leave: true, ..ChannelOptions::default() });
        for (name, is_other) in [("talk:room", true), ("chat:room", false), ("news", false)] {
            assert_eq!(open.options(name).map(|options| options.join_leave), Ok(is_other), "{name:?}");
        }
    }

    const CLIENT: Audience = Audience { client: true, subscriber: false, anonymous: false };
    const SUBSCRIBER: Audience = Audience { client: false, subscriber: true, anonymous: false };
    const UNAVAILABLE: Decision = Decision::Deny(PushError::NotAvailable);
    const TOO_MANY: Decision = Decision::Deny(PushError::LimitExceeded);
    const UNKNOWN: Decision = Decision::Deny(PushError::UnknownChannel);

    fn and_anonymous(audience: Audience) -> Audience {
        Audience { anonymous: true, ..audience }
    }

    /// What "42" and the anonymous user are told, unsubscribed and subscribed.
    fn told(config: &HubConfig, channel: &str, access: Access) -> [Decision; 4] {
        [("42", false), ("42", true), ("", false), ("", true)]
            .map(|(user, is_subscribed)| config.decide(Asker { user, is_subscribed }, channel, access))
    }

    #[test]
    fn subscribing_is_decided_in_the_written_order() {
        use Decision::{Allow, AskBackend};
        let closed = config(|_| {});
        let open = config(|options| options.subscribe = and_anonymous(CLIENT));
        let hooked = config(|options| {
            options.subscribe = and_anonymous(CLIENT);
            options.subscribe_hook = true;
        });
        let insecure = HubConfig { insecure: true, ..config(|_| {}) };
        let insecure_hooked = HubConfig { insecure: true, ..config(|options| options.subscribe_hook = true) };
        let mut limited = config(|_| {});
        limited.limits.users_per_channel = 3;
        let to_all = |decision| [decision; 4];
        let to_known = |decision| [decision, decision, DENIED, DENIED];

        let rows = [
            // A `$` needs a token, whatever else is allowed.
            ("private, open", &open, "$news", to_all(DENIED)),
            ("private, backend", &hooked, "$news", to_all(DENIED)),
            ("private, insecure", &insecure, "$news", to_all(DENIED)),
            ("private, names the user", &open, "$news#42", to_all(DENIED)),
            // Then the users that the channel is limited to.
            ("names the user", &closed, "dialog#42,43", to_known(Allow)),
            ("names the user, not first", &closed, "dialog#41,42", to_known(Allow)),
            ("personal", &closed, "#42", to_known(Allow)),
            ("names another", &open, "dialog#41,422", to_all(DENIED)),
            ("names nobody", &open, "dialog#", to_all(DENIED)),
            ("names nobody twice", &open, "dialog#,", to_all(DENIED)),
            ("names the user with a space", &open, "dialog# 42", to_all(DENIED)),
            ("names another, backend", &hooked, "dialog#41", to_all(DENIED)),
            ("names another, insecure", &insecure, "dialog#41", to_all(Allow)),
            ("names as many as may be", &limited, "#40,41,42", to_known(Allow)),
            ("names too many", &limited, "#40,41,42,43", to_all(TOO_MANY)),
            // Then a backend, before any option.
            ("backend", &hooked, "news", to_all(AskBackend)),
            ("backend, insecure", &insecure_hooked, "news", to_all(AskBackend)),
            // Then options.
            ("open to all", &open, "news", to_all(Allow)),
            ("insecure", &insecure, "news", to_all(Allow)),
            ("closed", &closed, "news", to_all(DENIED)),
            ("no such namespace", &insecure, "talk:news", to_all(UNKNOWN)),
        ];
        for (case, config, channel, expected) in rows {
            assert_eq!(told(config, channel, Access::Subscribe), expected, "{case}");
        }

        let to_users = config(|options| options.subscribe = CLIENT);
        assert_eq!(told(&to_users, "news", Access::Subscribe), to_known(Allow));
        // That a subscriber may subscribe says nothing.
        let to_subscribers = config(|options| options.subscribe = and_anonymous(SUBSCRIBER));
        assert_eq!(told(&to_subscribers, "news", Access::Subscribe), to_all(DENIED));
    }

    #[test]
    fn a_token_decides_alone_but_not_on_what_exists() {
        let closed = config(|options| options.subscribe_hook = true);
        for channel in ["news", "$news", "dialog#41", "$chat:dialog#41"] {
            assert_eq!(told(&closed, channel, Access::SubscribeWithToken), [Decision::Allow; 4], "{channel}");
        }
        assert_eq!(told(&closed, "talk:news", Access::SubscribeWithToken), [UNKNOWN; 4]);
    }

    #[test]
    fn publishing_is_decided_in_the_written_order() {
        use Decision::{Allow, AskBackend};
        let by = |audience| config(|options| options.publish = audience);
        let hooked = config(|options| {
            options.publish = and_anonymous(CLIENT);
            options.publish_hook = true;
        });
        let insecure = HubConfig { insecure: true, ..config(|_| {}) };
        let insecure_hooked = HubConfig { insecure: true, ..hooked.clone() };
        let rows = [
            ("closed", config(|_| {}), [DENIED; 4]),
            ("backend", hooked, [AskBackend; 4]),
            ("backend, insecure", insecure_hooked, [AskBackend; 4]),
            ("clients", by(CLIENT), [Allow, Allow, DENIED, DENIED]),
            ("clients and anonymous", by(and_anonymous(CLIENT)), [Allow; 4]),
            ("subscribers", by(SUBSCRIBER), [DENIED, Allow, DENIED, DENIED]),
            ("subscribers and anonymous", by(and_anonymous(SUBSCRIBER)), [DENIED, Allow, DENIED, Allow]),
            ("anonymous alone is nobody", by(and_anonymous(Audience::default())), [DENIED; 4]),
            ("insecure", insecure, [Allow; 4]),
        ];
        for (case, config, expected) in rows {
            for channel in ["news", "$news", "dialog#41"] {
                assert_eq!(told(&config, channel, Access::Publish), expected, "{case}, {channel}");
            }
        }
    }

    #[test]
    fn history_and_presence_are_decided_where_there_are_any() {
        use Decision::Allow;
        let with = |history_size, history_ttl, presence, audience| {
            config(|options| {
                (options.history_size, options.history_ttl, options.presence) = (history_size, history_ttl, presence);
                (options.history, options.presence_for) = (audience, audience);
            })
        };
        let to_known = [Allow, Allow, DENIED, DENIED];
        let to_known_subscribers = [DENIED, Allow, DENIED, DENIED];
        let rows = [
            ("neither", with(0, 0, false, CLIENT), [UNAVAILABLE; 4], [UNAVAILABLE; 4]),
            ("no ttl", with(1, 0, true, CLIENT), [UNAVAILABLE; 4], to_known),
            ("no size", with(0, 1, true, CLIENT), [UNAVAILABLE; 4], to_known),
            ("history alone", with(1, 1, false, CLIENT), to_known, [UNAVAILABLE; 4]),
            ("both", with(1, 1, true, SUBSCRIBER), to_known_subscribers, to_known_subscribers),
            ("anonymous too", with(1, 1, true, and_anonymous(CLIENT)), [Allow; 4], [Allow; 4]),
            ("closed", with(1, 1, true, Audience::default()), [DENIED; 4], [DENIED; 4]),
        ];
        for (case, config, history, presence) in rows {
            assert_eq!(told(&config, "news", Access::History), history, "{case}");
            assert_eq!(told(&config, "news", Access::Presence), presence, "{case}");
            let insecure = HubConfig { insecure: true, ..config };
            let opened = |decisions: [Decision; 4]| decisions.map(|it| if it == DENIED { Allow } else { it });
            assert_eq!(told(&insecure, "news", Access::History), opened(history), "{case}, insecure");
            assert_eq!(told(&insecure, "news", Access::Presence), opened(presence), "{case}, insecure");
        }
    }
}
