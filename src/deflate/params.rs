//! The four parameters of permessage-deflate: offered by a client, answered by a server, judged by the client
//! [RFC 7692 §7.1].

use std::error::Error;
use std::fmt;
use std::ops::RangeInclusive;

/// The windows that a parameter may ask for, in bits: 256 bytes to 32 KiB [RFC 7692 §7.1.2].
const WINDOW_BITS: RangeInclusive<u8> = 8..=15;

/// The window when nobody asks for a smaller one.
const DEFAULT_BITS: u8 = *WINDOW_BITS.end();

/// The client's window that a server asks for unless told otherwise: 2 KiB.
const ASKED_BITS: u8 = 11;

const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// How an endpoint wants to compress, and what it asks of its peer.
///
/// Both ends compare: a server takes the narrower of its own wish and the client's, a client offers its wish and
/// refuses an answer that breaks it.
///
/// **Secrets.** Whoever can make an endpoint compress a text of his own together with a secret can learn the secret
/// from the lengths (CRIME, BREACH). Do not agree on compression where messages mix both.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeflateConfig {
    /// How hard to search for repetitions, 0 (not at all) to 9. Default 1: on short messages the others cost several
    /// times as much for a few percent.
    pub level: i32,
    /// Messages shorter than this, in bytes, are sent as they are. Default 64: below it the frame shrinks by less than
    /// a TCP segment's header weighs, and often it grows.
    pub threshold: usize,
    /// Whether a server's messages are to be compressed each for itself. Default no.
    pub server_no_context_takeover: bool,
    /// Whether a client's messages are to be compressed each for itself. Default no.
    pub client_no_context_takeover: bool,
    /// The largest window that a server may compress with, 8–15 bits. Default 15.
    pub server_max_window_bits: u8,
    /// The largest window that a client may compress with, 8–15 bits. Default: a client uses 15 if the server lets it,
    /// and a server asks for 11, because it keeps of every client what fits into that client's window: 2 KiB instead
    /// of 32, for messages about a tenth longer. A server can only ask it of a client that offers to
    /// comply, as browsers do; others use 15.
    pub client_max_window_bits: Option<u8>,
    /// How many bytes of earlier messages each connection keeps for its compressor, at most 32768 (and the window).
    /// Default 2048. More finds more repetitions, and costs that much memory, besides the 2 KiB by which level 1 finds
    /// them. At other levels, and for messages over 8 KiB, it also costs time wherever many connections take turns:
    /// about a microsecond per KiB and message.
    pub history: usize,
}

impl Default for DeflateConfig {
    fn default() -> Self {
        Self {
            level: 1,
            threshold: 64,
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: DEFAULT_BITS,
            client_max_window_bits: None,
            history: 2048,
        }
    }
}

impl DeflateConfig {
    /// Sets [`level`](Self::level), clamped to 0–9.
    #[must_use]
    pub fn level(mut self, level: i32) -> Self {
        self.level = level.clamp(0, 9);
        self
    }

    /// Sets [`threshold`](Self::threshold).
    #[must_use]
    pub const fn threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// Sets [`server_no_context_takeover`](Self::server_no_context_takeover).
    #[must_use]
    pub const fn server_no_context_takeover(mut self, yes: bool) -> Self {
        self.server_no_context_takeover = yes;
        self
    }

    /// Sets [`client_no_context_takeover`](Self::client_no_context_takeover).
    #[must_use]
    pub const fn client_no_context_takeover(mut self, yes: bool) -> Self {
        self.client_no_context_takeover = yes;
        self
    }

    /// Sets [`server_max_window_bits`](Self::server_max_window_bits), clamped to 8–15.
    #[must_use]
    pub fn server_max_window_bits(mut self, bits: u8) -> Self {
        self.server_max_window_bits = clamp_bits(bits);
        self
    }

    /// Sets [`client_max_window_bits`](Self::client_max_window_bits), clamped to 8–15.
    #[must_use]
    pub fn client_max_window_bits(mut self, bits: u8) -> Self {
        self.client_max_window_bits = Some(clamp_bits(bits));
        self
    }

    /// Sets [`history`](Self::history).
    #[must_use]
    pub const fn history(mut self, bytes: usize) -> Self {
        self.history = bytes;
        self
    }

    /// What a client with this configuration offers, best first.
    pub fn offers(&self) -> Vec<DeflateOffer> {
        let server_bits = clamp_bits(self.server_max_window_bits);
        vec![DeflateOffer {
            server_no_context_takeover: self.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover,
            server_max_window_bits: (server_bits < DEFAULT_BITS).then_some(server_bits),
            client_max_window_bits: Some(clamp_bits(self.client_max_window_bits.unwrap_or(DEFAULT_BITS))),
        }]
    }

    /// What a server with this configuration answers: the first of `offers`, narrowed to its own wishes. `None`, no
    /// compression, if there is none.
    ///
    /// Every offer that parsed can be met, so the first is taken: the client's favourite [RFC 7692 §5.1].
    pub fn answer(&self, offers: &[DeflateOffer]) -> Option<DeflateParams> {
        let offer = offers.first()?;
        let server_bits = narrower(self.server_max_window_bits, offer.server_max_window_bits);
        let client_bits = self.client_max_window_bits.unwrap_or(ASKED_BITS);
        Some(DeflateParams {
            server_no_context_takeover: self.server_no_context_takeover || offer.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover || offer.client_no_context_takeover,
            server_max_window_bits: server_bits,
            // Only a client that offered it understands the parameter in the answer [RFC 7692 §7.1.2.2].
            client_max_window_bits: offer
                .client_max_window_bits
                .map_or(DEFAULT_BITS, |bits| narrower(client_bits, Some(bits))),
            names_server_window: offer.server_max_window_bits.is_some() || server_bits < DEFAULT_BITS,
        })
    }

    /// What a client with this configuration agreed to, by the parameters of the server's answer to its
    /// [`offers`](Self::offers).
    ///
    /// # Errors
    /// An answer that is malformed, names what was not offered, or does not grant what was asked. The client fails the
    /// connection then [RFC 7692 §7.1].
    pub fn accept<'a>(
        &self,
        answer: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<DeflateParams, ParamError> {
        DeflateParams::agreed(&self.offers(), answer)
    }
}

/// One offer of permessage-deflate: what a client asks for.
///
/// `Display` writes it as it stands in `Sec-WebSocket-Extensions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeflateOffer {
    /// Asks the server to compress each message for itself.
    pub server_no_context_takeover: bool,
    /// Says that the client will compress each message for itself.
    pub client_no_context_takeover: bool,
    /// Asks the server to compress with a window of at most so many bits.
    pub server_max_window_bits: Option<u8>,
    /// Says that the client can limit its window if asked, and will not use more than so many bits; the parameter
    /// without a value is the same as 15.
    pub client_max_window_bits: Option<u8>,
}

impl DeflateOffer {
    /// Reads the parameters of one offer, in order, quotes already removed.
    ///
    /// # Errors
    /// A parameter that is unknown, stands twice, or has a value that it may not have: a server declines such an offer
    /// and looks at the next [RFC 7692 §7.1].
    pub fn from_params<'a>(params: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Result<Self, ParamError> {
        let params = Parsed::read(params, WindowValue::Optional)?;
        Ok(Self {
            server_no_context_takeover: params.server_no_context_takeover,
            client_no_context_takeover: params.client_no_context_takeover,
            server_max_window_bits: params.server_max_window_bits,
            client_max_window_bits: params.client_max_window_bits,
        })
    }

    /// What `answer` means as an answer to this offer.
    fn judge(self, answer: &Parsed) -> Result<DeflateParams, ParamError> {
        if self.server_no_context_takeover && !answer.server_no_context_takeover {
            return Err(ParamError::NotGranted(SERVER_NO_CONTEXT_TAKEOVER));
        }
        match (self.server_max_window_bits, answer.server_max_window_bits) {
            (Some(_), None) => return Err(ParamError::NotGranted(SERVER_MAX_WINDOW_BITS)),
            (Some(asked), Some(given)) if given > asked => return Err(ParamError::NotGranted(SERVER_MAX_WINDOW_BITS)),
            _ => {}
        }
        match (self.client_max_window_bits, answer.client_max_window_bits) {
            (None, Some(_)) => return Err(ParamError::NotOffered(CLIENT_MAX_WINDOW_BITS)),
            (Some(most), Some(given)) if given > most => return Err(ParamError::NotOffered(CLIENT_MAX_WINDOW_BITS)),
            _ => {}
        }
        Ok(DeflateParams {
            server_no_context_takeover: answer.server_no_context_takeover,
            // What the client said of itself holds even if the server did not repeat it [RFC 7692 §7.1.1.2, §7.1.2.2].
            client_no_context_takeover: self.client_no_context_takeover || answer.client_no_context_takeover,
            server_max_window_bits: answer.server_max_window_bits.unwrap_or(DEFAULT_BITS),
            client_max_window_bits: answer
                .client_max_window_bits
                .or(self.client_max_window_bits)
                .unwrap_or(DEFAULT_BITS),
            names_server_window: answer.server_max_window_bits.is_some(),
        })
    }
}

impl fmt::Display for DeflateOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("permessage-deflate")?;
        write_flag(f, SERVER_NO_CONTEXT_TAKEOVER, self.server_no_context_takeover)?;
        write_flag(f, CLIENT_NO_CONTEXT_TAKEOVER, self.client_no_context_takeover)?;
        write_bits(f, SERVER_MAX_WINDOW_BITS, self.server_max_window_bits)?;
        match self.client_max_window_bits {
            Some(DEFAULT_BITS) => write_flag(f, CLIENT_MAX_WINDOW_BITS, true),
            bits => write_bits(f, CLIENT_MAX_WINDOW_BITS, bits),
        }
    }
}

/// What both ends agreed on.
///
/// `Display` writes the server's answer as it stands in `Sec-WebSocket-Extensions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeflateParams {
    /// The server compresses each message for itself.
    pub server_no_context_takeover: bool,
    /// The client compresses each message for itself.
    pub client_no_context_takeover: bool,
    /// The server's window, in bits.
    pub server_max_window_bits: u8,
    /// The client's window, in bits.
    pub client_max_window_bits: u8,
    /// Whether the answer names the server's window even if it is the largest: a client that asked for it must be
    /// answered [RFC 7692 §7.1.2.1].
    names_server_window: bool,
}

impl DeflateParams {
    /// What was agreed on, by the parameters of the server's answer to these offers.
    ///
    /// # Errors
    /// An answer that is malformed, names what was not offered, or does not grant what was asked, by any of the offers.
    pub fn agreed<'a>(
        offers: &[DeflateOffer],
        answer: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<Self, ParamError> {
        let answer = Parsed::read(answer, WindowValue::Required)?;
        let mut refusal = ParamError::NotGranted(SERVER_NO_CONTEXT_TAKEOVER);
        for offer in offers {
            match offer.judge(&answer) {
                Ok(params) => return Ok(params),
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }
}

impl Default for DeflateParams {
    /// Context takeover and the largest window on both sides.
    fn default() -> Self {
        Self {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: DEFAULT_BITS,
            client_max_window_bits: DEFAULT_BITS,
            names_server_window: false,
        }
    }
}

impl fmt::Display for DeflateParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |bits: u8, always: bool| (always || bits < DEFAULT_BITS).then_some(bits);
        f.write_str("permessage-deflate")?;
        write_flag(f, SERVER_NO_CONTEXT_TAKEOVER, self.server_no_context_takeover)?;
        write_flag(f, CLIENT_NO_CONTEXT_TAKEOVER, self.client_no_context_takeover)?;
        write_bits(f, SERVER_MAX_WINDOW_BITS, named(self.server_max_window_bits, self.names_server_window))?;
        write_bits(f, CLIENT_MAX_WINDOW_BITS, named(self.client_max_window_bits, false))
    }
}

/// What is wrong with an offer or an answer; the parameter's name with it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParamError {
    /// A parameter that the extension does not have.
    Unknown(String),
    /// A parameter that stands twice.
    Duplicate(&'static str),
    /// A parameter that takes no value, with one.
    ValueForbidden(&'static str),
    /// A window that is not a number from 8 to 15 without leading zeros, or lacks a value that it must have.
    WindowInvalid(&'static str),
    /// The server's answer lacks, or exceeds, what the client asked for.
    NotGranted(&'static str),
    /// The server's answer names, or exceeds, what the client did not offer.
    NotOffered(&'static str),
}

impl fmt::Display for ParamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("permessage-deflate: ")?;
        match self {
            Self::Unknown(name) => write!(f, "unknown parameter {name:?}"),
            Self::Duplicate(name) => write!(f, "{name} stands twice"),
            Self::ValueForbidden(name) => write!(f, "{name} takes no value"),
            Self::WindowInvalid(name) => write!(f, "{name} must be a number from 8 to 15 without leading zeros"),
            Self::NotGranted(name) => write!(f, "the server does not grant the {name} that was asked for"),
            Self::NotOffered(name) => write!(f, "the server answers with a {name} that was not offered"),
        }
    }
}

impl Error for ParamError {}

/// Whether `client_max_window_bits` may stand without a value: in an offer yes, in an answer no.
#[derive(Clone, Copy)]
enum WindowValue {
    Optional,
    Required,
}

/// The parameters of an offer or an answer, each well-formed and there at most once.
#[derive(Default)]
struct Parsed {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: Option<u8>,
}

impl Parsed {
    fn read<'a>(
        params: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
        client_window: WindowValue,
    ) -> Result<Self, ParamError> {
        let mut parsed = Self::default();
        for (name, value) in params {
            match name {
                SERVER_NO_CONTEXT_TAKEOVER => {
                    set_flag(&mut parsed.server_no_context_takeover, SERVER_NO_CONTEXT_TAKEOVER, value)?;
                }
                CLIENT_NO_CONTEXT_TAKEOVER => {
                    set_flag(&mut parsed.client_no_context_takeover, CLIENT_NO_CONTEXT_TAKEOVER, value)?;
                }
                SERVER_MAX_WINDOW_BITS => {
                    set_bits(&mut parsed.server_max_window_bits, SERVER_MAX_WINDOW_BITS, value)?;
                }
                CLIENT_MAX_WINDOW_BITS => {
                    let value = match client_window {
                        WindowValue::Optional => value.or(Some("15")),
                        WindowValue::Required => value,
                    };
                    set_bits(&mut parsed.client_max_window_bits, CLIENT_MAX_WINDOW_BITS, value)?;
                }
                unknown => return Err(ParamError::Unknown(unknown.to_owned())),
            }
        }
        Ok(parsed)
    }
}

fn set_flag(flag: &mut bool, name: &'static str, value: Option<&str>) -> Result<(), ParamError> {
    if value.is_some() {
        return Err(ParamError::ValueForbidden(name));
    }
    if std::mem::replace(flag, true) { Err(ParamError::Duplicate(name)) } else { Ok(()) }
}

fn set_bits(bits: &mut Option<u8>, name: &'static str, value: Option<&str>) -> Result<(), ParamError> {
    let value = value.and_then(parse_bits).ok_or(ParamError::WindowInvalid(name))?;
    match bits.replace(value) {
        None => Ok(()),
        Some(_) => Err(ParamError::Duplicate(name)),
    }
}

/// A decimal number without leading zeros, 8–15 [RFC 7692 §7.1.2.1].
fn parse_bits(value: &str) -> Option<u8> {
    match value.as_bytes() {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

fn clamp_bits(bits: u8) -> u8 {
    bits.clamp(*WINDOW_BITS.start(), *WINDOW_BITS.end())
}

fn narrower(own: u8, asked: Option<u8>) -> u8 {
    clamp_bits(own).min(asked.unwrap_or(DEFAULT_BITS))
}

fn write_flag(f: &mut fmt::Formatter<'_>, name: &str, set: bool) -> fmt::Result {
    if set { write!(f, "; {name}") } else { Ok(()) }
}

fn write_bits(f: &mut fmt::Formatter<'_>, name: &str, bits: Option<u8>) -> fmt::Result {
    bits.map_or(Ok(()), |bits| write!(f, "; {name}={bits}"))
}

#[cfg(test)]
mod tests;
