//! What the fuzzer gets to see of this protocol's insides; built for it alone.

use super::messages::{self, Encoded, Format, Method, Push, data_of, encode_push};
use crate::push::Data;

/// A command: its id, and the data that came in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// Its id.
    pub id: u32,
    /// All of it.
    pub shown: String,
    /// The data, and a message with them to a client that speaks JSON.
    pub data: Option<(Data, String)>,
}

/// The commands of a message.
///
/// # Errors
/// Why it is no message of the protocol.
pub fn decode(is_protobuf: bool, message: &[u8], max_commands: usize) -> Result<Vec<Command>, String> {
    let format = if is_protobuf { Format::Protobuf } else { Format::Json };
    let commands = messages::decode(format, message, max_commands).map_err(|malformed| malformed.0)?;
    let shown = |command: messages::Command| {
        let bytes = match &command.method {
            Method::Publish { data, .. } | Method::Send { data } | Method::Rpc { data, .. } => &data[..],
            Method::Connect(connect) => &connect.data,
            Method::Subscribe(subscribe) => &subscribe.data,
            _ => &[],
        };
        let data = data_of(format, bytes).map(|data| (data.clone(), to_json_client(&data)));
        Command { id: command.id, shown: format!("{command:?}"), data }
    };
    Ok(commands.into_iter().map(shown).collect())
}

fn to_json_client(data: &Data) -> String {
    match encode_push(Format::Json, Push::Message { data }) {
        Encoded::Json(text) => text,
        Encoded::Protobuf(_) => String::new(),
    }
}
