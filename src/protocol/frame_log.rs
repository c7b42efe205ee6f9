//! The debug log: one line per frame, such as `0.17.3: server < text fin 5 bytes masked`. Costs one comparison when it is
//! off.

use std::cell::RefCell;
use std::fmt::{self, Write as _};

use super::Role;
use crate::wire::{Encoding, FrameHeader, PreparedMessage, ProtocolError};

/// Which way a frame goes, seen from this end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Direction {
    Received,
    Sent,
}

/// Whether anyone reads it.
#[inline]
pub(super) fn is_on() -> bool {
    log::log_enabled!(log::Level::Debug)
}

thread_local! {
    /// What each line begins with.
    static SUBJECT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Says whose frames this thread reads and writes from here on. A connection knows no name of its own; whoever drives
/// many of them gives each line one.
#[inline]
pub(crate) fn log_as(subject: impl fmt::Display) {
    if is_on() {
        set_subject(&subject);
    }
}

#[cold]
fn set_subject(subject: &dyn fmt::Display) {
    SUBJECT.with_borrow_mut(|line| {
        line.clear();
        // Nothing that is written into memory fails.
        let _ = write!(line, "{subject}: ");
    });
}

/// Logs a frame by its header.
#[inline]
pub(super) fn frame(role: Role, direction: Direction, header: &FrameHeader) {
    if is_on() {
        write_frame(role, direction, header);
    }
}

/// Logs a frame that was encoded for many.
#[inline]
pub(super) fn encoded(role: Role, message: &PreparedMessage, encoding: Encoding) {
    if is_on()
        && let Ok(Some((header, _))) = FrameHeader::decode(message.encoded(encoding))
    {
        write_frame(role, Direction::Sent, &header);
    }
}

#[cold]
fn write_frame(role: Role, direction: Direction, header: &FrameHeader) {
    SUBJECT.with_borrow(|subject| log::debug!("{subject}{}", Line { role, direction, header }));
}

/// Logs what a connection failed by.
#[cold]
pub(super) fn failure(role: Role, error: ProtocolError) {
    SUBJECT.with_borrow(|subject| log::debug!("{subject}{} fails the connection: {error}", name(role)));
}

struct Line<'h> {
    role: Role,
    direction: Direction,
    header: &'h FrameHeader,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = match self.direction {
            Direction::Received => '<',
            Direction::Sent => '>',
        };
        let flag = |set: bool, word: &'static str| if set { word } else { "" };
        let FrameHeader { fin, rsv1, opcode, masking_key, payload_len, .. } = self.header;
        write!(
            f,
            "{} {arrow} {opcode}{}{} {payload_len} bytes{}",
            name(self.role),
            flag(*fin, " fin"),
            flag(*rsv1, " compressed"),
            flag(masking_key.is_some(), " masked"),
        )
    }
}

const fn name(role: Role) -> &'static str {
    match role {
        Role::Client => "client",
        Role::Server => "server",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MaskingKey, Opcode};

    #[test]
    fn a_line_says_who_which_way_and_what() {
        let text = FrameHeader { masking_key: Some(MaskingKey([1, 2, 3, 4])), ..FrameHeader::new(Opcode::Text, 5) };
        let part = FrameHeader { fin: false, rsv1: true, ..FrameHeader::new(Opcode::Binary, 70_000) };
        let rows = [
            (Role::Server, Direction::Received, text, "server < text fin 5 bytes masked"),
            (Role::Server, Direction::Sent, part, "server > binary compressed 70000 bytes"),
            (Role::Client, Direction::Sent, FrameHeader::new(Opcode::Close, 2), "client > close fin 2 bytes"),
        ];
        for (role, direction, header, line) in rows {
            assert_eq!(Line { role, direction, header: &header }.to_string(), line);
        }
    }
}
