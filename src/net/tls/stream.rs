//! A TLS session over a stream, read and written like the stream itself.
//!
//! rustls holds the session and does no I/O; here its records are carried from and to the stream below, never waiting:
//!
//! ```text
//! read  ◀─ plaintext ◀─ rustls ◀─ records ◀─ stage ◀─ stream        stage: one per thread, used within a call
//! write ─▶ plaintext ─▶ rustls ─▶ records ──────────▶ stream        rustls keeps what the stream refuses, bounded
//! ```
//!
//! Every loop here ends with the stream's `WouldBlock`, with its end, or with bytes for the caller. None asks rustls
//! whether it "wants" something and spins on the answer.

use std::cell::Cell;
use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::mem;

use mio::{Registry, Token};
use rustls::Connection;

use super::TlsError;
use crate::net::{Stream, Transport};

/// Ciphertext that waits in the session at most, in bytes of plaintext; beyond it writes are refused, so that what waits
/// is seen where it is counted, in the outbox.
const WRITE_LIMIT: usize = 64 * 1024;
/// The longest record with its header [RFC 8446 §5.2, RFC 5246 §6.2.3].
const MAX_RECORD: usize = 16 * 1024 + 2048 + 5;
/// Ciphertext read from the stream at once: at most, and at least (what rustls takes at once).
const MAX_READ: usize = 64 * 1024;
const MIN_READ: usize = 4096;
/// Ciphertext that may arrive in a row without any plaintext in it. Records may be empty [RFC 8446 §5.4], and a peer that
/// sends nothing else costs work that no limit on messages sees.
const MAX_BARREN: usize = 256 * 1024;
/// The slices that one write looks at; more are left for the next.
const MAX_SLICES: usize = 32;

thread_local! {
    /// Where records are read into on their way to rustls.
    static STAGE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A TLS session of either role over another stream.
pub struct TlsStream<S = Transport> {
    session: Connection,
    stream: S,
    handshaking: bool,
    /// The peer's first bytes until the handshake is done, to tell what it speaks if that is not TLS.
    first: Vec<u8>,
    /// Records that rustls has not taken yet; mostly none.
    stash: Vec<u8>,
    /// Bytes of plaintext that rustls holds for the next read.
    held: usize,
    /// Ciphertext read since the last plaintext.
    barren: usize,
    /// Whether the last read from the stream came up short.
    drained: bool,
    /// Whether the peer's `close_notify` has come.
    peer_closed: bool,
    /// What the session failed with. Plaintext from before is still delivered.
    failure: Option<rustls::Error>,
    /// Whether the caller has heard of the failure.
    reported: bool,
    /// Whether the stream below has ended.
    ended: bool,
    /// Whether it did so without `close_notify`.
    truncated: bool,
    close_sent: bool,
    /// Whether the stream below has been told, too.
    shut: bool,
}

/// What a session agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The version, such as `TLSv1_3`.
    pub version: String,
    /// The cipher suite by the name that the registry has for it.
    pub cipher: String,
    /// The application protocol, if the client offered any.
    pub alpn: Option<String>,
    /// The name that the client asked for; known to the server alone.
    pub server_name: Option<String>,
    /// Whether it continues an earlier session.
    pub resumed: bool,
}

impl<S: Stream> TlsStream<S> {
    pub(super) fn new(mut session: Connection, stream: S) -> Self {
        session.set_buffer_limit(Some(WRITE_LIMIT));
        Self {
            session,
            stream,
            handshaking: true,
            first: Vec::new(),
            stash: Vec::new(),
            held: 0,
            barren: 0,
            drained: false,
            peer_closed: false,
            failure: None,
            reported: false,
            ended: false,
            truncated: false,
            close_sent: false,
            shut: false,
        }
    }

    /// What was agreed on; nothing before the handshake is done.
    pub fn info(&self) -> Option<TlsInfo> {
        if self.handshaking {
            return None;
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(TlsInfo {
            version: self.session.protocol_version().map_or_else(String::new, |version| format!("{version:?}")),
            cipher: self
                .session
                .negotiated_cipher_suite()
                .map_or_else(String::new, |suite| format!("{:?}", suite.suite())),
            alpn: self.session.alpn_protocol().map(text),
            server_name: match &self.session {
                Connection::Server(server) => server.server_name().map(str::to_owned),
                Connection::Client(_) => None,
            },
            resumed: self.session.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        })
    }

    /// Whether the stream below ended without the peer's `close_notify`: somebody may have cut it short [RFC 8446 §6.1].
    /// Reads report an ordinary end, since a WebSocket connection says by itself whether it was closed.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Reads from the stream once and gives rustls all of it; how many bytes of plaintext went into `buffer`.
    fn pull(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.stash.is_empty() {
            let stash = mem::take(&mut self.stash);
            return self.feed(&stash, buffer);
        }
        // All plaintext of one pull fits: what was read now, and a record that had been kept in part.
        let want = buffer.len().saturating_sub(MAX_RECORD).clamp(MIN_READ, MAX_READ);
        let mut stage = STAGE.take();
        stage.resize(MAX_READ, 0);
        let read = retry(|| self.stream.read(&mut stage[..want]));
        self.drained = read.as_ref().is_ok_and(|&len| !self.stream.may_have_more(len, want));
        let filled = match read {
            Ok(0) => {
                self.ended = true;
                // rustls learns of the end by a read of nothing, and then says whether it was announced.
                self.session.read_tls(&mut io::empty()).map(|_| 0)
            }
            Ok(len) => {
                self.barren = self.barren.saturating_add(len);
                self.feed(&stage[..len], buffer)
            }
            Err(error) => {
                self.drained = error.kind() == io::ErrorKind::WouldBlock;
                Err(error)
            }
        };
        STAGE.set(stage);
        if self.drained {
            // Has rustls give back all of its read buffer but 4 KiB while there is nothing to read.
            let _ = self.session.read_tls(&mut Blocked);
        }
        filled
    }

    fn feed(&mut self, mut records: &[u8], buffer: &mut [u8]) -> io::Result<usize> {
        if self.handshaking && self.first.len() < 16 {
            self.first.extend_from_slice(&records[..records.len().min(16)]);
        }
        let mut filled = 0;
        while !records.is_empty() {
            match self.session.read_tls(&mut records) {
                // What follows a `close_notify` is not taken and means nothing.
                Ok(0) => break,
                Ok(_) => {}
                // It takes no more before the plaintext it holds is read, which a small buffer can bring about.
                Err(_) if self.held > 0 => {
                    self.stash = records.to_owned();
                    break;
                }
                Err(error) => return Err(error),
            }
            match self.session.process_new_packets() {
                Ok(state) => {
                    self.held = state.plaintext_bytes_to_read();
                    self.peer_closed = state.peer_has_closed();
                }
                // The records before the bad one may have had plaintext; what does not fit stays for the next read.
                Err(error) => self.failure = Some(error),
            }
            if (self.held > 0 || self.failure.is_some())
                && let Ok(len) = self.session.reader().read(&mut buffer[filled..])
            {
                self.barren = 0;
                self.held = self.held.saturating_sub(len);
                filled += len;
            }
            if self.failure.is_some() {
                break;
            }
        }
        if self.barren > MAX_BARREN {
            self.failure = Some(rustls::Error::General("too many records without data".to_owned()));
        }
        // Answers to what was read, an alert among them, leave as far as the stream takes them now. If it is broken the
        // next read says so, behind what can still be read.
        let _ = self.send_records();
        Ok(filled)
    }

    /// Writes records until none is left.
    fn send_records(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            if retry(|| self.session.write_tls(&mut Lone(&mut self.stream)))? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Reports what the session has failed with.
    fn check(&mut self) -> io::Result<()> {
        let Some(error) = &self.failure else { return Ok(()) };
        self.reported = true;
        self.barren = 0;
        Err(TlsError::session(error, &self.first).into_io())
    }

    /// Reads on behind a failure up to the end, for nothing: a socket that is closed with bytes unread is reset, and the
    /// reset could overtake the alert that says what was wrong.
    fn discard(&mut self) -> io::Result<usize> {
        let mut stage = STAGE.take();
        stage.resize(MAX_READ, 0);
        let outcome = loop {
            match retry(|| self.stream.read(&mut stage)) {
                Ok(len) if len > 0 && self.barren <= MAX_BARREN => self.barren += len,
                outcome => break outcome.map(|_| 0),
            }
        };
        STAGE.set(stage);
        outcome
    }
}

/// Writes a lone slice, as one record is, by the system's cheaper call.
struct Lone<'s, S>(&'s mut S);

impl<S: Write> Write for Lone<'_, S> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.write(buffer)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        match buffers {
            [buffer] => self.0.write(buffer),
            _ => self.0.write_vectored(buffers),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<S: Stream> Read for TlsStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.reported {
            return self.discard();
        }
        if self.handshaking && !self.handshake()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        loop {
            match self.session.reader().read(buffer) {
                // With bytes, or the end that a `close_notify` announced.
                Ok(len) => {
                    self.held = self.held.saturating_sub(len);
                    return Ok(len);
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    if !mem::replace(&mut self.truncated, true) {
                        log::debug!("the peer ended a TLS stream without close_notify");
                    }
                    return Ok(0);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            self.check()?;
            let filled = self.pull(buffer)?;
            if filled > 0 {
                return Ok(filled);
            }
        }
    }
}

impl<S: Stream> Write for TlsStream<S> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buffer)])
    }

    /// Takes as much as the stream takes, and 64 KiB more at most. Bytes taken may still wait here:
    /// [`wants_write`](Stream::wants_write).
    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.handshaking && !self.handshake()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.failure.is_some() || self.close_sent {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = buffers.len().min(MAX_SLICES);
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        slices[..count].copy_from_slice(&buffers[..count]);
        let mut left = &mut slices[..count];
        IoSlice::advance_slices(&mut left, 0);
        let mut taken = 0;
        while !left.is_empty() {
            // Small slices share a record.
            let len = self.session.writer().write_vectored(left)?;
            taken += len;
            IoSlice::advance_slices(&mut left, len);
            let had_records = self.session.wants_write();
            match self.send_records() {
                // There is room again, in the session and below.
                Ok(()) if had_records => {}
                // The stream has refused, so an event will follow; until then the session takes what it has room for.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && len > 0 => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(()) => return Err(io::Error::other("the TLS session takes no data")),
                // What was taken is lost with the stream, so nobody needs to hear of a part.
                Err(error) => return Err(error),
            }
        }
        if taken == 0 && buffers.iter().any(|buffer| !buffer.is_empty()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send_records()?;
        self.stream.flush()
    }
}

impl<S: Stream> Stream for TlsStream<S> {
    fn shutdown_write(&mut self) -> io::Result<()> {
        if !self.close_sent {
            // After a fatal alert rustls leaves it out, as it must [RFC 8446 §6.2].
            self.session.send_close_notify();
            self.close_sent = true;
        }
        self.flush()?;
        if !self.shut {
            self.stream.shutdown_write()?;
            self.shut = true;
        }
        Ok(())
    }

    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.stream.register(registry, token)
    }

    fn handshake(&mut self) -> io::Result<bool> {
        while self.handshaking {
            self.check()?;
            match self.send_records() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
            if !self.session.is_handshaking() {
                self.handshaking = false;
                self.first = Vec::new();
                break;
            }
            match self.pull(&mut []) {
                Ok(_) if self.ended => return Err(TlsError::Ended.into_io()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn handshaking(&self) -> bool {
        self.handshaking
    }

    fn wants_write(&self) -> bool {
        self.session.wants_write()
    }

    fn may_have_more(&self, _len: usize, _room: usize) -> bool {
        !self.drained || self.has_buffered_plaintext() || self.peer_closed || self.failure.is_some()
    }

    fn has_buffered_plaintext(&self) -> bool {
        self.held > 0 || !self.stash.is_empty()
    }
}

impl<S: fmt::Debug> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("stream", &self.stream)
            .field("handshaking", &self.handshaking)
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for TlsInfo {
    /// As it stands in the log: `TLSv1_3, TLS13_AES_256_GCM_SHA384, ALPN http/1.1, SNI example.com, resumed`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.version, self.cipher)?;
        if let Some(alpn) = &self.alpn {
            write!(f, ", ALPN {alpn}")?;
        }
        if let Some(name) = &self.server_name {
            write!(f, ", SNI {name}")?;
        }
        if self.resumed { f.write_str(", resumed") } else { Ok(()) }
    }
}

/// A stream that has nothing to read just now.
struct Blocked;

impl Read for Blocked {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// Calls again while the answer is that a signal came between.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}
