//! The JSON encoding: items joined by line breaks, zero and empty fields left out, data verbatim.

use super::messages::{Command, Connected, Malformed, Push, Refusal, Reply, SubscribeResult, seconds};
use super::requests::Envelope;
use crate::gateway::data::{write_json, write_json_string};
use crate::push::{ClientInfo, Data, Publication, Subscribed};

/// The commands of a message. One line break after the last is let pass.
pub(super) fn decode(message: &[u8], max_commands: usize) -> Result<Vec<Command>, Malformed> {
    let text = simdutf8::basic::from_utf8(message).map_err(|_| Malformed("no UTF-8".to_owned()))?;
    let mut commands = Vec::new();
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        if commands.len() == max_commands {
            return Err(Malformed(format!("more than {max_commands} commands in a message")));
        }
        commands.push(Envelope::from_json(line)?.into_command()?);
    }
    Ok(commands)
}

pub(super) fn encode_reply(id: u32, reply: &Reply) -> String {
    write(|item| {
        item.number("id", id.into());
        match reply {
            Reply::Connect(connected) => item.object("connect", |result| write_connected(result, connected)),
            Reply::Subscribe(subscribed) => item.object("subscribe", |result| write_subscribed(result, subscribed)),
            Reply::Unsubscribe => item.object("unsubscribe", |_| {}),
            Reply::Publish => item.object("publish", |_| {}),
            Reply::History(page) => item.object("history", |result| {
                result.array("publications", &page.publications, |object, publication| {
                    write_publication(object, publication);
                });
                result.text("epoch", &page.position.epoch);
                result.number("offset", page.position.offset);
            }),
            Reply::Presence(clients) => item.object("presence", |result| {
                result.object("presence", |presence| {
                    for info in clients {
                        presence.object(&info.client.to_string(), |object| write_info(object, info));
                    }
                });
            }),
            Reply::PresenceStats { clients, users } => item.object("presence_stats", |result| {
                result.number("num_clients", *clients as u64);
                result.number("num_users", *users as u64);
            }),
            Reply::Rpc { data } => item.object("rpc", |result| result.data("data", data.as_ref())),
            Reply::Refresh { client, version, ttl } => item.object("refresh", |result| {
                result.text("client", &client.to_string());
                result.text("version", version);
                result.ttl(*ttl);
            }),
            Reply::SubRefresh { ttl } => item.object("sub_refresh", |result| result.ttl(*ttl)),
            Reply::Ping => item.object("ping", |_| {}),
        }
    })
}

pub(super) fn encode_error(id: u32, refusal: &Refusal) -> String {
    write(|item| {
        item.number("id", id.into());
        item.object("error", |error| {
            error.number("code", refusal.code.into());
            error.text("message", &refusal.message);
            error.flag("temporary", refusal.temporary);
        });
    })
}

pub(super) fn encode_push(push: Push<'_>) -> String {
    write(|item| {
        item.object("push", |object| match push {
            Push::Publication { channel, publication } => {
                object.text("channel", channel);
                object.object("pub", |body| write_publication(body, publication));
            }
            Push::Join { channel, info } => {
                object.text("channel", channel);
                object.object("join", |body| body.object("info", |object| write_info(object, info)));
            }
            Push::Leave { channel, info } => {
                object.text("channel", channel);
                object.object("leave", |body| body.object("info", |object| write_info(object, info)));
            }
            Push::Subscribe { channel, answer, data } => {
                object.text("channel", channel);
                object.object("subscribe", |body| {
                    body.flag("recoverable", answer.recoverable);
                    write_position(body, answer);
                    body.flag("positioned", answer.positioned);
                    body.data("data", data);
                });
            }
            Push::Unsubscribe { channel, why } => {
                object.text("channel", channel);
                object.object("unsubscribe", |body| {
                    body.number("code", why.code().into());
                    body.text("reason", why.reason());
                });
            }
            Push::Message { data } => object.object("message", |body| body.data("data", Some(data))),
            Push::Disconnect(disconnect) => object.object("disconnect", |body| {
                body.number("code", disconnect.code.into());
                body.text("reason", &disconnect.reason);
            }),
        });
    })
}

fn write_connected(result: &mut Object<'_>, connected: &Connected) {
    result.text("client", &connected.client.to_string());
    result.text("version", connected.version);
    result.ttl(connected.ttl);
    result.data("data", connected.data.as_ref());
    if !connected.subs.is_empty() {
        result.object("subs", |subs| {
            for (channel, subscribed) in &connected.subs {
                subs.object(channel, |object| write_subscribed(object, subscribed));
            }
        });
    }
    result.number("ping", connected.ping.into());
    result.flag("pong", connected.pong);
    result.text("node", &connected.node);
    result.number("time", connected.time.0);
}

fn write_subscribed(result: &mut Object<'_>, subscribed: &SubscribeResult) {
    let SubscribeResult { answer, data } = subscribed;
    result.ttl(answer.ttl);
    result.flag("recoverable", answer.recoverable);
    result.array("publications", &answer.publications, |object, publication| write_publication(object, publication));
    result.flag("recovered", answer.recovered);
    write_position(result, answer);
    result.flag("positioned", answer.positioned);
    result.data("data", data.as_ref());
    result.flag("was_recovering", answer.was_recovering);
}

fn write_position(object: &mut Object<'_>, answer: &Subscribed) {
    if let Some(position) = &answer.position {
        object.text("epoch", &position.epoch);
        object.number("offset", position.offset);
    }
}

fn write_publication(object: &mut Object<'_>, publication: &Publication) {
    object.data("data", Some(&publication.data));
    if let Some(info) = &publication.info {
        object.object("info", |object| write_info(object, info));
    }
    object.number("offset", publication.offset);
    if !publication.tags.is_empty() {
        object.object("tags", |tags| {
            for (name, value) in &publication.tags {
                tags.key(name);
                write_json_string(value, tags.out);
            }
        });
    }
    object.number("time", publication.time.0);
}

fn write_info(object: &mut Object<'_>, info: &ClientInfo) {
    object.text("user", &info.user);
    object.text("client", &info.client.to_string());
    object.data("conn_info", info.conn_info.as_ref());
    object.data("chan_info", info.chan_info.as_ref());
}

/// The text of an object with what `fields` writes.
fn write(fields: impl FnOnce(&mut Object<'_>)) -> String {
    let mut out = Vec::with_capacity(256);
    write_object(&mut out, fields);
    // All that is written is text; data that say they are JSON and are no UTF-8 must not end the server all the same.
    String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn write_object(out: &mut Vec<u8>, fields: impl FnOnce(&mut Object<'_>)) {
    out.push(b'{');
    let mut object = Object { out, is_empty: true };
    fields(&mut object);
    object.out.push(b'}');
}

/// An object being written.
struct Object<'o> {
    out: &'o mut Vec<u8>,
    is_empty: bool,
}

impl Object<'_> {
    fn key(&mut self, name: &str) {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
        write_json_string(name, self.out);
        self.out.push(b':');
    }

    /// Left out if it is 0.
    fn number(&mut self, name: &str, value: u64) {
        if value != 0 {
            self.key(name);
            self.out.extend_from_slice(value.to_string().as_bytes());
        }
    }

    /// Left out if it is empty.
    fn text(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.key(name);
            write_json_string(value, self.out);
        }
    }

    /// Left out if it is false.
    fn flag(&mut self, name: &str, value: bool) {
        if value {
            self.key(name);
            self.out.extend_from_slice(b"true");
        }
    }

    fn data(&mut self, name: &str, data: Option<&Data>) {
        if let Some(data) = data {
            self.key(name);
            write_json(data, self.out);
        }
    }

    /// That it expires, and in how many seconds, begun ones counted as whole.
    fn ttl(&mut self, milliseconds: Option<u64>) {
        if let Some(milliseconds) = milliseconds {
            self.flag("expires", true);
            self.number("ttl", seconds(milliseconds).into());
        }
    }

    fn object(&mut self, name: &str, fields: impl FnOnce(&mut Object<'_>)) {
        self.key(name);
        write_object(self.out, fields);
    }

    /// An array of objects; left out if it is empty.
    fn array<T>(&mut self, name: &str, items: &[T], mut fields: impl FnMut(&mut Object<'_>, &T)) {
        if items.is_empty() {
            return;
        }
        self.key(name);
        for (index, item) in items.iter().enumerate() {
            self.out.push(if index == 0 { b'[' } else { b',' });
            write_object(self.out, |object| fields(object, item));
        }
        self.out.push(b']');
    }
}
