//! Through a proxy first, no I/O: HTTP CONNECT [RFC 9110 §9.3.6] or SOCKS5 [RFC 1928, RFC 1929].
//!
//! ```text
//! HTTP      CONNECT host:port ──▶            SOCKS5    methods ──▶
//!                             ◀── 200                          ◀── the method chosen
//!                                                     [ name and password ──▶
//!                                                                         ◀── accepted ]
//!                                                      connect to host:port ──▶
//!                                                                           ◀── succeeded, bound address
//! ```

use std::fmt;
use std::net::IpAddr;

use super::answer::AnswerReader;
use super::authority::{Authority, Credentials, is_name};
use super::fields::{excerpt, write_field};
use super::uri::{check_bytes, parse_authority};
use super::{HeadFault, HeadLimits, UriError};
use crate::wire::Rule;

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyScheme {
    /// `http:`, CONNECT; the proxy resolves names.
    Http,
    /// `socks5:`, the client resolves names.
    Socks5,
    /// `socks5h:`, the proxy resolves names.
    Socks5h,
}

/// A proxy's address and credentials; `Display` and `Debug` leave the credentials out.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ProxyUri {
    scheme: ProxyScheme,
    host: Box<str>,
    is_ipv6: bool,
    port: u16,
    credentials: Option<Credentials>,
}

impl ProxyUri {
    /// Reads `http://user:password@host:port`, or the same with `socks5` or `socks5h`.
    ///
    /// # Errors
    /// What is wrong with it and what to write instead.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        check_bytes(text)?;
        let (scheme, rest) = text.split_once("://").ok_or_else(|| UriError::Scheme(excerpt(text)))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => ProxyScheme::Http,
            "socks5" => ProxyScheme::Socks5,
            "socks5h" => ProxyScheme::Socks5h,
            _ => return Err(UriError::Scheme(excerpt(scheme))),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?']) {
            return Err(UriError::ProxyPath);
        }
        let (credentials, authority) = parse_authority(authority)?;
        Ok(Self {
            scheme,
            host: authority.host.into(),
            is_ipv6: authority.is_ipv6,
            port: authority.port.unwrap_or(if scheme == ProxyScheme::Http { 80 } else { 1080 }),
            credentials,
        })
    }

    /// How it is spoken to.
    pub fn scheme(&self) -> ProxyScheme {
        self.scheme
    }

    /// The host to connect to, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; without one 80 for `http`, 1080 for SOCKS.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the proxy resolves the server's name; else the caller does, and gives [`ProxyHandshake::new`] an address.
    pub fn resolves_names(&self) -> bool {
        self.scheme != ProxyScheme::Socks5
    }
}

impl fmt::Display for ProxyUri {
    /// The address without name and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            ProxyScheme::Http => "http",
            ProxyScheme::Socks5 => "socks5",
            ProxyScheme::Socks5h => "socks5h",
        };
        let authority = Authority { host: &self.host, is_ipv6: self.is_ipv6, port: Some(self.port) };
        write!(f, "{scheme}://{authority}")
    }
}

impl fmt::Debug for ProxyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for ProxyUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        Self::parse(text)
    }
}

/// What to do after [`ProxyHandshake::push`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyStep {
    /// Bytes to send to the proxy now.
    pub send: Vec<u8>,
    /// How many bytes of the piece belonged to the proxy's handshake.
    pub consumed: usize,
    /// Whether the way to the server is open: the bytes that follow are the server's.
    pub done: bool,
}

/// A proxy's handshake under way.
#[derive(Debug)]
pub struct ProxyHandshake(State);

#[derive(Debug)]
enum State {
    Http(AnswerReader),
    Socks(Socks),
}

impl ProxyHandshake {
    /// Begins to ask for `host` (a name, or an address without brackets) and `port`; gives the first bytes to send.
    ///
    /// # Errors
    /// A host or credentials that cannot be sent.
    pub fn new(proxy: &ProxyUri, host: &str, port: u16) -> Result<(Self, Vec<u8>), ProxyError> {
        if proxy.scheme == ProxyScheme::Http {
            let request = connect_request(proxy.credentials.as_ref(), host, port)?;
            Ok((Self(State::Http(AnswerReader::new(HeadLimits::default()))), request))
        } else {
            let (socks, greeting) = Socks::new(proxy.credentials.as_ref(), host, port)?;
            Ok((Self(State::Socks(socks)), greeting))
        }
    }

    /// Takes the next piece of what the proxy answers.
    ///
    /// # Errors
    /// The proxy refused, or does not speak its protocol.
    pub fn push(&mut self, piece: &[u8]) -> Result<ProxyStep, ProxyError> {
        let reader = match &mut self.0 {
            State::Socks(socks) => return socks.push(piece),
            State::Http(reader) => reader,
        };
        let Some((answer, consumed)) = reader.push(piece)? else {
            return Ok(ProxyStep { consumed: piece.len(), ..ProxyStep::default() });
        };
        match answer.status {
            // Whatever a success says of a body, what follows is the tunnel [RFC 9110 §9.3.6].
            200..=299 => Ok(ProxyStep { send: Vec::new(), consumed, done: true }),
            407 => {
                let challenge = answer.fields.all("Proxy-Authenticate").next().unwrap_or_default();
                Err(ProxyError::CredentialsRequired(excerpt(challenge)))
            }
            status => Err(ProxyError::Refused(status)),
        }
    }
}

/// The request for a tunnel.
fn connect_request(credentials: Option<&Credentials>, host: &str, port: u16) -> Result<Vec<u8>, ProxyError> {
    let is_ipv6 = matches!(host.parse(), Ok(IpAddr::V6(_)));
    if !is_ipv6 && !is_name(host) {
        return Err(ProxyError::Host(excerpt(host)));
    }
    let authority = Authority { host, is_ipv6, port: Some(port) }.to_string();
    let mut out = format!("CONNECT {authority} HTTP/1.1\r\n").into_bytes();
    write_field(&mut out, "Host", &authority);
    if let Some(credentials) = credentials {
        write_field(&mut out, "Proxy-Authorization", &credentials.basic());
    }
    out.extend_from_slice(b"\r\n");
    Ok(out)
}

const SOCKS_VERSION: u8 = 5;
const SOCKS_CONNECT: u8 = 1;
const METHOD_NONE: u8 = 0;
const METHOD_PASSWORD: u8 = 2;
const PASSWORD_VERSION: u8 = 1;
const ADDRESS_IPV4: u8 = 1;
const ADDRESS_NAME: u8 = 3;
const ADDRESS_IPV6: u8 = 4;

/// The SOCKS5 side: what is sent next was written at the start, as nothing in it depends on the answers.
#[derive(Debug)]
struct Socks {
    stage: Stage,
    /// The bytes of the answer that is being read; never more than it has.
    answer: Vec<u8>,
    password: Option<Vec<u8>>,
    request: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Method,
    Password,
    Reply,
    Done,
}

impl Socks {
    fn new(credentials: Option<&Credentials>, host: &str, port: u16) -> Result<(Self, Vec<u8>), ProxyError> {
        let password = credentials.map(password_message).transpose()?;
        let request = socks_request(host, port)?;
        let greeting = match password {
            None => vec![SOCKS_VERSION, 1, METHOD_NONE],
            Some(_) => vec![SOCKS_VERSION, 2, METHOD_NONE, METHOD_PASSWORD],
        };
        Ok((Self { stage: Stage::Method, answer: Vec::new(), password, request }, greeting))
    }

    fn push(&mut self, piece: &[u8]) -> Result<ProxyStep, ProxyError> {
        let mut step = ProxyStep::default();
        loop {
            if matches!(self.stage, Stage::Done) {
                step.done = true;
                return Ok(step);
            }
            // How long the answer is may show only when more of it is there.
            let missing = self.answer_len()? - self.answer.len();
            if missing == 0 {
                self.take_answer(&mut step.send)?;
                continue;
            }
            let rest = &piece[step.consumed..];
            if rest.is_empty() {
                return Ok(step);
            }
            let taken = &rest[..rest.len().min(missing)];
            self.answer.extend_from_slice(taken);
            step.consumed += taken.len();
        }
    }

    /// How long the answer is as far as its beginning shows.
    fn answer_len(&self) -> Result<usize, ProxyError> {
        let expected_version = if matches!(self.stage, Stage::Password) { PASSWORD_VERSION } else { SOCKS_VERSION };
        match self.answer.first() {
            Some(&version) if version != expected_version => return Err(ProxyError::NotSocks(version)),
            _ => {}
        }
        match (self.stage, &self.answer[..]) {
            // A proxy that refuses may leave the rest out, so the code is looked at first.
            (Stage::Reply, [_, code, ..]) if *code != 0 => Err(ProxyError::SocksRefused(*code)),
            (Stage::Reply, [_, _, _, kind, first, ..]) => match *kind {
                ADDRESS_IPV4 => Ok(4 + 4 + 2),
                ADDRESS_IPV6 => Ok(4 + 16 + 2),
                ADDRESS_NAME => Ok(4 + 1 + usize::from(*first) + 2),
                kind => Err(ProxyError::SocksAddress(kind)),
            },
            // The address's type and its first byte, which for a name is its length, are not there yet.
            (Stage::Reply, [_, _, ..]) => Ok(5),
            _ => Ok(2),
        }
    }

    /// Acts on a whole answer.
    fn take_answer(&mut self, send: &mut Vec<u8>) -> Result<(), ProxyError> {
        let code = self.answer.get(1).copied().unwrap_or_default();
        self.stage = match (self.stage, code) {
            (Stage::Method, METHOD_NONE) | (Stage::Password, 0) => {
                send.append(&mut self.request);
                Stage::Reply
            }
            (Stage::Method, METHOD_PASSWORD) if self.password.is_some() => {
                send.append(&mut self.password.take().unwrap_or_default());
                Stage::Password
            }
            (Stage::Method, method) => return Err(ProxyError::SocksMethod(method)),
            (Stage::Password, _) => return Err(ProxyError::CredentialsRefused),
            (Stage::Reply | Stage::Done, _) => Stage::Done,
        };
        self.answer.clear();
        Ok(())
    }
}

/// Name and password, each after its length [RFC 1929 §2].
fn password_message(credentials: &Credentials) -> Result<Vec<u8>, ProxyError> {
    let mut message = vec![PASSWORD_VERSION];
    for part in [&credentials.user, &credentials.password] {
        message.push(u8::try_from(part.len()).map_err(|_| ProxyError::CredentialsTooLong)?);
        message.extend_from_slice(part);
    }
    Ok(message)
}

/// The request to connect [RFC 1928 §4].
fn socks_request(host: &str, port: u16) -> Result<Vec<u8>, ProxyError> {
    let mut request = vec![SOCKS_VERSION, SOCKS_CONNECT, 0];
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(ADDRESS_IPV4);
            request.extend_from_slice(&address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(ADDRESS_IPV6);
            request.extend_from_slice(&address.octets());
        }
        Err(_) => {
            let len = u8::try_from(host.len()).ok().filter(|_| is_name(host));
            let len = len.ok_or_else(|| ProxyError::Host(excerpt(host)))?;
            request.extend_from_slice(&[ADDRESS_NAME, len]);
            request.extend_from_slice(host.as_bytes());
        }
    }
    request.extend_from_slice(&port.to_be_bytes());
    Ok(request)
}

/// Why there is no way through the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyError {
    /// A host that cannot be asked for.
    Host(String),
    /// A name or password of more than 255 bytes, which SOCKS5 cannot say.
    CredentialsTooLong,
    /// An HTTP proxy's answer is broken.
    Head(HeadFault),
    /// An HTTP proxy answered with this status.
    Refused(u16),
    /// An HTTP proxy wants credentials, or others; its Proxy-Authenticate.
    CredentialsRequired(String),
    /// A SOCKS5 proxy began its answer with this byte instead of a version.
    NotSocks(u8),
    /// A SOCKS5 proxy wants this method of authentication, 255 for none of those offered.
    SocksMethod(u8),
    /// A SOCKS5 proxy did not take the name and password.
    CredentialsRefused,
    /// A SOCKS5 proxy refused with this code.
    SocksRefused(u8),
    /// A SOCKS5 proxy's answer has an address of this unknown type.
    SocksAddress(u8),
    /// The proxy closed the connection, or time was up, before its handshake was done.
    Truncated,
}

impl ProxyError {
    /// The rule that was broken.
    pub fn rule(&self) -> &'static Rule {
        match self {
            Self::Head(fault) => fault.rule(),
            Self::Host(_) => Rule::PROXY_HOST,
            Self::CredentialsTooLong => Rule::PROXY_CREDENTIALS_TOO_LONG,
            Self::Refused(_) => Rule::PROXY_REFUSED,
            Self::CredentialsRequired(_) => Rule::PROXY_CREDENTIALS_REQUIRED,
            Self::NotSocks(_) => Rule::PROXY_NOT_SOCKS,
            Self::SocksMethod(_) => Rule::PROXY_METHOD,
            Self::CredentialsRefused => Rule::PROXY_CREDENTIALS_REFUSED,
            Self::SocksRefused(_) => Rule::PROXY_SOCKS_REFUSED,
            Self::SocksAddress(_) => Rule::PROXY_ADDRESS,
            Self::Truncated => Rule::PROXY_TRUNCATED,
        }
    }

    /// Where the rule is written, such as `RFC 1928 §6`.
    pub fn section(&self) -> &'static str {
        self.rule().section
    }
}

impl From<HeadFault> for ProxyError {
    fn from(fault: HeadFault) -> Self {
        Self::Head(fault)
    }
}

impl fmt::Display for ProxyError {
    /// What happened, then the rule and its section.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("proxy: ")?;
        match self {
            Self::Host(host) => write!(f, "host {host:?} cannot be asked for"),
            Self::CredentialsTooLong => f.write_str("a name or password of more than 255 bytes"),
            Self::Head(fault) => fault.fmt(f),
            Self::Refused(status) => write!(f, "it answered {status}"),
            Self::CredentialsRequired(challenge) => write!(f, "it asks for credentials: {challenge:?}"),
            Self::NotSocks(byte) => write!(f, "an answer that begins with byte {byte:#04x}"),
            Self::SocksMethod(255) => f.write_str("it takes none of the methods of authentication offered"),
            Self::SocksMethod(method) => write!(f, "it wants authentication by method {method}, which was not offered"),
            Self::CredentialsRefused => f.write_str("it refused the name and password"),
            Self::SocksRefused(code) => write!(f, "{}", socks_reply(*code)),
            Self::SocksAddress(kind) => write!(f, "an address of type {kind}"),
            Self::Truncated => f.write_str("it stopped before its handshake was done"),
        }?;
        let rule = self.rule();
        write!(f, ": {} [{}]", rule.sentence, rule.section)
    }
}

impl std::error::Error for ProxyError {}

/// What a reply's code means [RFC 1928 §6].
fn socks_reply(code: u8) -> &'static str {
    match code {
        1 => "general failure",
        2 => "its rules do not allow the connection",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "time to live expired",
        7 => "it does not know the command",
        8 => "it does not know the type of address",
        _ => "it refused with an unknown code",
    }
}
