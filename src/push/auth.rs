//! Who may do what: names of channels, and the decisions in their written order.
//!
//! ```text
//! subscribe: `$` without a token ─▶ no          publish: a backend, if the namespace has one
//!            a token decides alone                       ─▶ clients may, by option
//!            ─▶ user-limited: the user is named          ─▶ subscribers may, by option
//!            ─▶ a backend, if the namespace has one      ─▶ insecure
//!            ─▶ clients may, by option                   ─▶ no
//!            ─▶ insecure
//!            ─▶ no
//! ```

use super::{ChannelOptions, Data, HubConfig, PushError, Time};

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
    /// What stands before the first `:`, without a leading `$`.
    pub namespace: Option<&'a str>,
    /// Whether it begins with `$`: a token is needed.
    pub is_private: bool,
    /// What stands behind the first `#`: the users that it is limited to, separated by commas.
    pub users: Option<&'a str>,
}

impl<'a> ChannelName<'a> {
    /// Takes `name` apart.
    pub fn parse(name: &'a str) -> Self {
        let _ = name;
        todo!()
    }
}

impl HubConfig {
    /// The options of a channel.
    ///
    /// # Errors
    /// `UnknownChannel`: its namespace does not exist. `LimitExceeded`: the name is too long. `BadRequest`: empty, or not ASCII.
    pub fn options(&self, channel: &str) -> Result<&ChannelOptions, PushError> {
        let _ = channel;
        todo!()
    }
}
