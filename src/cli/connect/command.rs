//! What a person types: a message, or a command that begins with a slash.

use loopwire::wire::{CloseCode, CloseFrame};

/// What stands below the help, and what `/help` says.
pub(crate) const HELP: &str = "\
At a terminal, each line is sent as a text message, except:
  /ping [TEXT]            send a ping; its pong shows the round-trip time
  /close [CODE [REASON]]  close the connection (1000) and end
  /help                   show this
  //TEXT                  send /TEXT";

/// One line, understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed<'l> {
    Message(&'l str),
    Ping(&'l str),
    Close(CloseCode, &'l str),
    Help,
    /// The command is wrong, and this is why.
    Wrong(String),
}

impl<'l> Typed<'l> {
    pub(super) fn parse(line: &'l str) -> Self {
        let Some(command) = line.strip_prefix('/') else { return Self::Message(line) };
        if command.starts_with('/') {
            return Self::Message(command);
        }
        let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
        match name {
            "ping" => Self::Ping(rest),
            "close" => Self::parse_close(rest.trim()),
            "help" => Self::Help,
            _ => Self::Wrong(format!("no command is called /{name}; /help lists them, //{command} sends it as it is")),
        }
    }

    fn parse_close(rest: &'l str) -> Self {
        let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        let code = if code.is_empty() { Ok(CloseCode::NORMAL.0) } else { code.parse() };
        match code.map(CloseCode) {
            Ok(code) if !code.is_sendable() => {
                Self::Wrong(format!("close code {code} may not be sent: use 1000–1003, 1007–1014 or 3000–4999"))
            }
            Ok(_) if reason.len() > CloseFrame::MAX_REASON_LEN => {
                Self::Wrong(format!("a reason has at most {} bytes", CloseFrame::MAX_REASON_LEN))
            }
            Ok(code) => Self::Close(code, reason.trim()),
            Err(_) => Self::Wrong("write /close, /close CODE or /close CODE REASON".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_or_commands() {
        for (line, expected) in [
            ("hello", Typed::Message("hello")),
            ("", Typed::Message("")),
            (" /ping", Typed::Message(" /ping")),
            ("//ping", Typed::Message("/ping")),
            ("///", Typed::Message("//")),
            ("/ping", Typed::Ping("")),
            ("/ping a b", Typed::Ping("a b")),
            ("/close", Typed::Close(CloseCode::NORMAL, "")),
            ("/close 4000", Typed::Close(CloseCode(4000), "")),
            ("/close 1001 on my way", Typed::Close(CloseCode::GOING_AWAY, "on my way")),
            ("/help", Typed::Help),
        ] {
            assert_eq!(Typed::parse(line), expected, "{line:?}");
        }
        for line in
            ["/", "/quit", "/close now", "/close 1006", "/close 99999", &format!("/close 1000 {}", "x".repeat(124))]
        {
            assert!(matches!(Typed::parse(line), Typed::Wrong(_)), "{line:?}");
        }
    }
}
