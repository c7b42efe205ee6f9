//! Recordings for the commands that read them, and what is in those that they write.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A request for a WebSocket, with this key.
pub(crate) fn request(key: &str) -> Vec<u8> {
    format!(
        "GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\
         Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    )
    .into_bytes()
}

/// The RFC's own key, and what answers it [RFC 6455 §1.3].
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Another, and what answers that.
pub(crate) const OTHER_KEY: &str = "AQIDBAUGBwgJCgsMDQ4PEA==";
pub(crate) const OTHER_ACCEPT: &str = "C/0nmHhBztSRGR1CwL6Tf4ZjwpY=";

/// An answer with these fields, each with its line end.
pub(crate) fn answer(accept: &str, fields: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{fields}\r\n"
    )
    .into_bytes()
}

/// A file that goes when this does.
#[derive(Debug)]
pub(crate) struct File(PathBuf);

impl File {
    /// A name that no other test has.
    pub(crate) fn named(name: &str) -> Self {
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{}", std::process::id())))
    }

    pub(crate) fn with(name: &str, contents: impl AsRef<[u8]>) -> Self {
        let file = Self::named(name);
        fs::write(&file.0, contents).unwrap();
        file
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// All that one end said on connection 0, and whether it has ended.
    pub(crate) fn said(&self, from: &str) -> (Vec<u8>, bool) {
        let (mut bytes, mut has_ended) = (Vec::new(), false);
        for line in fs::read_to_string(&self.0).unwrap().lines().skip(1) {
            let line: Value = serde_json::from_str(line).unwrap();
            if line["from"] == from && line["connection"] == 0 {
                assert!(!has_ended, "nothing behind the end");
                has_ended = line["end"] == true;
                bytes.extend(STANDARD.decode(line["bytes"].as_str().unwrap_or_default()).unwrap());
            }
        }
        (bytes, has_ended)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Something that passed: on which connection, from whom, and what; nothing is the end.
pub(crate) type Passed<'p> = (u64, &'p str, Option<&'p [u8]>);

/// A recording of this, with a millisecond between.
pub(crate) fn recording(passed: &[Passed<'_>]) -> String {
    let mut out = String::from("{\"recording\":1,\"upstream\":\"ws://localhost/\"}\n");
    for ((connection, from, bytes), millis) in passed.iter().zip(0u32..) {
        let mut line = json!({"at": f64::from(millis) / 1000.0, "connection": connection, "from": from});
        match bytes {
            Some(bytes) => line["bytes"] = STANDARD.encode(bytes).into(),
            None => line["end"] = true.into(),
        }
        out += &line.to_string();
        out.push('\n');
    }
    out
}
