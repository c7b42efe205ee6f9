//! A client of the push server, as lean as one can be: frames out, lines of JSON in.

use std::io::{self, Read as _, Write as _};

use loopwire::net::{Stream as _, Transport};
use loopwire::wire::{CloseCode, FrameHeader, Opcode};

use super::super::opening::{Opened, is_for_later};
use super::super::payloads::frame;

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    transport: Transport,
    /// What is to be written, and how much of it has been.
    out: Vec<u8>,
    written: usize,
    /// The beginning of a frame whose rest has not come.
    partial: Vec<u8>,
}

impl Client {
    pub(super) fn new(opened: Opened) -> Self {
        Self { transport: opened.transport, out: Vec::new(), written: 0, partial: opened.rest }
    }

    /// Queues a message of the client protocol. [`flush`](Self::flush) sends it.
    pub(super) fn say(&mut self, text: &str) {
        frame(FrameHeader::new(Opcode::Text, 0), text.as_bytes(), &mut self.out);
    }

    /// Says goodbye, as far as the socket lets it.
    pub(super) fn close(&mut self) {
        frame(FrameHeader::new(Opcode::Close, 0), &CloseCode::NORMAL.0.to_be_bytes(), &mut self.out);
        let _ = self.flush();
    }

    /// Writes what is queued, as far as the socket takes it.
    pub(super) fn flush(&mut self) -> Result<(), String> {
        while self.written < self.out.len() {
            match self.transport.write(&self.out[self.written..]) {
                Ok(len) => self.written += len,
                Err(error) if is_for_later(&error) => return Ok(()),
                Err(error) => return Err(lost(&error)),
            }
        }
        self.out.clear();
        // Ten thousand of these are not to keep what their longest message took.
        self.out.shrink_to(512);
        self.written = 0;
        if self.transport.wants_write() {
            match self.transport.flush() {
                Err(error) if !is_for_later(&error) => return Err(lost(&error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads all there is, through `buffer`: `each` gets every line of every message. The server's pings are answered.
    /// How many bytes came.
    pub(super) fn receive(&mut self, buffer: &mut [u8], mut each: impl FnMut(&[u8])) -> Result<u64, String> {
        let mut bytes = self.partial.len() as u64;
        if !self.partial.is_empty() {
            // What came with the answer to the opening handshake may be whole.
            let mut taken = std::mem::take(&mut self.partial);
            let used = self.walk(&taken, &mut each)?;
            taken.drain(..used);
            bytes -= taken.len() as u64;
            self.partial = taken;
        }
        loop {
            let len = match self.transport.read(buffer) {
                Ok(0) => return Err("the server ended the connection without closing it".to_owned()),
                Ok(len) => len,
                Err(error) if is_for_later(&error) => return Ok(bytes),
                Err(error) => return Err(lost(&error)),
            };
            bytes += len as u64;
            if self.partial.is_empty() {
                let used = self.walk(&buffer[..len], &mut each)?;
                self.partial.extend_from_slice(&buffer[used..len]);
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(&buffer[..len]);
                let used = self.walk(&whole, &mut each)?;
                whole.drain(..used);
                self.partial = whole;
            }
            if self.partial.is_empty() {
                self.partial = Vec::new();
            }
            if !self.transport.may_have_more(len, buffer.len()) {
                return Ok(bytes);
            }
        }
    }

    /// Takes whole frames from the beginning of `bytes`; how many bytes those were.
    fn walk(&mut self, bytes: &[u8], each: &mut impl FnMut(&[u8])) -> Result<usize, String> {
        let mut used = 0;
        while let Some((header, len)) = FrameHeader::decode(&bytes[used..]).map_err(|error| error.to_string())? {
            let Ok(payload_len) = usize::try_from(header.payload_len) else {
                return Err("a frame larger than memory".to_owned());
            };
            let Some(payload) = bytes[used + len..].get(..payload_len) else { break };
            used += len + payload_len;
            match header.opcode {
                Opcode::Text if header.fin && !header.rsv1 => self.lines(payload, each),
                Opcode::Ping => frame(FrameHeader::new(Opcode::Pong, 0), payload, &mut self.out),
                Opcode::Pong => {}
                Opcode::Close => return Err(format!("the server closed the connection: {}", close(payload))),
                _ => return Err("a message that is not one frame of text".to_owned()),
            }
        }
        Ok(used)
    }

    fn lines(&mut self, message: &[u8], each: &mut impl FnMut(&[u8])) {
        for line in message.split(|byte| *byte == b'\n') {
            match line {
                b"" => {}
                b"{}" => self.say("{}"),
                line => each(line),
            }
        }
    }
}

fn lost(error: &io::Error) -> String {
    format!("the connection was lost: {error}")
}

fn close(payload: &[u8]) -> String {
    match payload.split_first_chunk::<2>() {
        Some((code, reason)) => format!("{} {}", u16::from_be_bytes(*code), String::from_utf8_lossy(reason)),
        None => "without a code".to_owned(),
    }
}

/// The number that stands behind `key`.
pub(super) fn number_after(line: &[u8], key: &[u8]) -> Option<u64> {
    let at = line.windows(key.len()).position(|window| window == key)?;
    let digits = line[at + key.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.map(|digit| u64::from(digit - b'0')).try_fold(None, |number: Option<u64>, digit| {
        Some(Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit)?))
    })?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_behind_its_key() {
        for (line, number) in [
            (&br#"{"push":{"channel":"a","pub":{"data":{"n":42,"x":""}}}}"#[..], Some(42)),
            (br#""n":18446744073709551615"#, Some(u64::MAX)),
            (br#""n":18446744073709551616"#, None),
            (br#""n":"#, None),
            (br#""n":"4""#, None),
            (br#"{"m":1}"#, None),
            (b"", None),
        ] {
            assert_eq!(number_after(line, b"\"n\":"), number, "{}", String::from_utf8_lossy(line));
        }
    }
}
