//! What people read on standard error: plain sentences, coloured only on a terminal that wants it.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};

/// A colour of the terminal's own palette, as its SGR code.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Colour {
    Red = 31,
    Green = 32,
    Cyan = 36,
    Dim = 2,
}

/// Whether standard error is a terminal and nobody asked for no colour (<https://no-color.org>).
pub(crate) fn colour_on_stderr() -> bool {
    io::stderr().is_terminal() && colour_wanted()
}

/// Whether a person reads standard output.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether standard output is to be coloured, as [`colour_on_stderr`].
pub(crate) fn colour_on_stdout() -> bool {
    stdout_is_terminal() && colour_wanted()
}

fn colour_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|value| value != "dumb")
}

/// `text` in a colour, if `coloured`.
pub(crate) fn paint(text: impl fmt::Display, colour: Colour, coloured: bool) -> String {
    if coloured { format!("\x1b[{}m{text}\x1b[0m", colour as u8) } else { text.to_string() }
}

/// A line on standard error. That nobody reads it is no reason to fail.
pub(crate) fn say(text: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// The same, in a colour.
pub(crate) fn say_in(colour: Colour, text: impl fmt::Display) {
    say(paint(text, colour, colour_on_stderr()));
}

/// Why something ended.
pub(crate) fn error(what: &dyn fmt::Display) {
    say(format_args!("{} {what}", paint("error:", Colour::Red, colour_on_stderr())));
}

/// `text` with whatever a peer could use to drive a terminal made visible.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { format!("{}", c.escape_default()) } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_cannot_drive_the_terminal() {
        assert_eq!(printable("a\x1b[31mb\u{9b}c\nü"), "a\\u{1b}[31mb\\u{9b}c\\nü");
    }
}
