//! What the API offers, by name.

macro_rules! methods {
    ($($(#[$doc:meta])* $method:ident = $name:literal,)*) => {
        /// A method of the API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Method {
            $($(#[$doc])* $method,)*
        }

        impl Method {
            /// All of them.
            #[cfg(test)]
            pub(super) const ALL: &'static [Self] = &[$(Self::$method),*];

            /// The method of this name.
            pub(super) fn parse(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$method),)*
                    _ => None,
                }
            }

            /// Its name, as paths and batches have it.
            pub(super) const fn name(self) -> &'static str {
                match self {
                    $(Self::$method => $name,)*
                }
            }
        }
    };
}

methods! {
    /// `{channel, data|b64data, skip_history?, tags?, idempotency_key?}` → `{offset?, epoch?}`
    Publish = "publish",
    /// The same to many: `{channels, …}` → `{responses: [{result} or {error}, …]}`
    Broadcast = "broadcast",
    /// `{channel, user|client, info|b64info?, data|b64data?, recover_since?, expire_at?, override?}`
    Subscribe = "subscribe",
    /// `{channel, user|client}`
    Unsubscribe = "unsubscribe",
    /// `{user|client, whitelist?, disconnect: {code, reason}?}`
    Disconnect = "disconnect",
    /// `{user|client, expired?, expire_at?, info|b64info?}`
    Refresh = "refresh",
    /// `{channel}` → `{presence: {client: {user, client, conn_info?, chan_info?}}}`
    Presence = "presence",
    /// `{channel}` → `{num_clients, num_users}`
    PresenceStats = "presence_stats",
    /// `{channel, limit?, since: {offset, epoch}?, reverse?}` → `{publications, offset, epoch}`
    History = "history",
    /// `{channel}`
    HistoryRemove = "history_remove",
    /// `{pattern?}` → `{channels: {channel: {num_clients}}}`
    Channels = "channels",
    /// `{}` → `{nodes: [{uid, name, version, num_clients, num_users, num_channels, num_subs, uptime}]}`
    Info = "info",
    /// `{commands: [{method: {…}}, …]}` → `{replies: [{method: {…}} or {error}, …]}`
    Batch = "batch",
    /// `{user|client|group|all, except?, data|b64data}` → `{receivers}`: a message that belongs to no channel.
    Send = "send",
    /// `{group, user|client}` → `{num_clients}`: so many are in the group by this, or were before.
    GroupJoin = "group_join",
    /// `{group, user|client}` → `{num_clients}`: so many were.
    GroupLeave = "group_leave",
    /// `{group}` → `{clients: {client: {user}}}`
    GroupMembers = "group_members",
    /// `{user}` → `{connections: {client: {user, transport, protocol}}}`: none is offline.
    Connections = "connections",
    /// `{}` → `{users: {user: {num_clients}}}`
    Users = "users",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_method_is_found_by_its_name_and_no_other() {
        for method in Method::ALL {
            assert_eq!(Method::parse(method.name()), Some(*method));
        }
        for name in ["", "Publish", "publish/", "rpc", "__proto__"] {
            assert_eq!(Method::parse(name), None, "{name}");
        }
    }
}
