//! The limit: what the kernel lets any server on one epoll reach that answers each read with one write.
//!
//! It does no WebSocket work. Every message is taken to have the payload size given on the command line, so that a frame
//! ends where counting says, no byte of it is looked at, and the payload goes back as it came, still masked. A client's
//! frame is four bytes longer than a server's, its masking key: after the first frame of a read what follows is shifted
//! by that much instead of moved, so that headers stand where a client expects them, and between them as many bytes as
//! they say. Whoever measures this must not compare payloads. Messages of no size at all are taken for pings, which is how
//! idle connections are asked in the end whether they still work.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::ManuallyDrop;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};

use loopwire_peers::{Arguments, Mode, Request, listen};

const BUFFER: usize = 512 * 1024;
/// The buffer begins in the middle of a page: the kernel's copies are slow on some processors where they go to a few bytes
/// behind where they come from, counted within a page, and what comes over loopback often lies at the beginning of one.
const PAGE: usize = 4096;
const EVENTS: usize = 1024;

fn main() -> io::Result<()> {
    let arguments = Arguments::read(&[Mode::Echo]);
    let frames = Frames::new(arguments.size);
    let listener = listen(arguments.port);
    let epoll = Epoll::new()?;
    epoll.add(listener.as_raw_fd(), libc::EPOLLIN)?;

    let mut connections: Vec<Connection> = Vec::new();
    let mut memory = vec![0; BUFFER + PAGE];
    let place = (memory.as_ptr().align_offset(PAGE) + PAGE / 2) % PAGE;
    let buffer = &mut memory[place..][..BUFFER];
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
    loop {
        for event in epoll.wait(&mut events)? {
            let fd = event.u64 as RawFd;
            if fd == listener.as_raw_fd() {
                accept(&listener, &epoll, &mut connections)?;
                continue;
            }
            let hung_up = event.events & (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32 != 0;
            // SAFETY: the descriptor is a connection's: it was put into epoll by `accept`, and left it if it was closed.
            let mut stream = ManuallyDrop::new(unsafe { TcpStream::from_raw_fd(fd) });
            if connections[fd as usize].turn(&mut stream, buffer, &frames, hung_up).is_err() {
                connections[fd as usize] = Connection::default();
                drop(ManuallyDrop::into_inner(stream));
            }
        }
    }
}

/// Takes in all who wait; their place in `connections` is their descriptor's number.
fn accept(listener: &TcpListener, epoll: &Epoll, connections: &mut Vec<Connection>) -> io::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => ManuallyDrop::new(stream),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let fd = stream.as_raw_fd();
        if connections.len() <= fd as usize {
            connections.resize_with(fd as usize + 1, Connection::default);
        }
        epoll.add(fd, libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET)?;
    }
}

#[derive(Default)]
struct Connection {
    upgraded: bool,
    /// Until upgraded, what there is of the request; then what the kernel did not take.
    kept: Vec<u8>,
    /// How many bytes of the current frame were read.
    position: usize,
}

impl Connection {
    /// Everything that is to be done for one event: as a rule one read and one write. An error ends the connection.
    fn turn(&mut self, stream: &mut TcpStream, buffer: &mut [u8], frames: &Frames, hung_up: bool) -> io::Result<()> {
        loop {
            if self.upgraded && !self.kept.is_empty() {
                let written = write(stream, &self.kept)?;
                self.kept.drain(..written);
                if !self.kept.is_empty() {
                    return Ok(());
                }
                self.kept = Vec::new();
            }
            let read = match stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            if self.upgraded {
                let reply = frames.answer(&mut buffer[..read], &mut self.position);
                let written = write(stream, reply)?;
                self.kept.extend_from_slice(&reply[written..]);
            } else {
                self.upgrade(stream, &buffer[..read])?;
            }
            // A short read has drained the socket: epoll will tell of what comes next.
            if read < buffer.len() && self.kept.is_empty() && !hung_up {
                return Ok(());
            }
        }
    }

    fn upgrade(&mut self, stream: &mut TcpStream, read: &[u8]) -> io::Result<()> {
        self.kept.extend_from_slice(read);
        if let Some(request) = Request::parse(&self.kept) {
            stream.write_all(request.answer(None).as_bytes())?;
            self.upgraded = true;
            self.kept = Vec::new();
        }
        Ok(())
    }
}

/// As much as the kernel takes.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match stream.write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}

/// The frames of a stream in which all are alike.
struct Frames {
    /// The header of each reply.
    header: Vec<u8>,
    /// The length of a client's frame.
    length: usize,
}

const KEY: usize = 4;
const BINARY: u8 = 0x82;
const PONG: u8 = 0x8a;

impl Frames {
    fn new(payload: usize) -> Self {
        let mut header = vec![if payload == 0 { PONG } else { BINARY }];
        match payload {
            0..126 => header.push(payload as u8),
            126..0x1_0000 => header.extend([&[126][..], &(payload as u16).to_be_bytes()].concat()),
            _ => header.extend([&[127][..], &(payload as u64).to_be_bytes()].concat()),
        }
        Self { length: header.len() + KEY + payload, header }
    }

    /// Turns what was read, from `position` in a frame on, into the reply, in place.
    fn answer<'a>(&self, read: &'a mut [u8], position: &mut usize) -> &'a [u8] {
        // Of each frame, the first four bytes are left out.
        let out_from = *position - KEY.min(*position);
        let end = *position + read.len();
        let (whole, rest) = (end / self.length, end % self.length);
        let out_to = whole * (self.length - KEY) + rest - KEY.min(rest);
        let start = KEY.saturating_sub(*position).min(read.len());
        let reply = &mut read[start..][..out_to - out_from];
        *position = rest;

        let mut at = 0;
        while at < out_to {
            // The header's part that lies in this reply: all of it, but where a read ended within it.
            let (from, to) = (at.max(out_from), (at + self.header.len()).min(out_to));
            if from < to {
                reply[from - out_from..to - out_from].copy_from_slice(&self.header[from - at..to - at]);
            }
            at += self.length - KEY;
        }
        reply
    }
}

struct Epoll(RawFd);

impl Epoll {
    fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer.
        succeed(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map(Self)
    }

    fn add(&self, fd: RawFd, events: i32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events as u32, u64: fd as u64 };
        // SAFETY: the event outlives the call.
        succeed(unsafe { libc::epoll_ctl(self.0, libc::EPOLL_CTL_ADD, fd, &raw mut event) }).map(drop)
    }

    fn wait<'a>(&self, events: &'a mut [libc::epoll_event]) -> io::Result<&'a [libc::epoll_event]> {
        // SAFETY: the kernel writes at most as many events as there is room for.
        match succeed(unsafe { libc::epoll_wait(self.0, events.as_mut_ptr(), events.len() as i32, -1) }) {
            Ok(count) => Ok(&events[..count as usize]),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(&[]),
            Err(error) => Err(error),
        }
    }
}

fn succeed(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every way to cut a stream of three frames in two gives a stream of three headers with payloads between them.
    #[test]
    fn replies_are_frames_however_the_stream_is_cut() {
        for payload in [0, 1, 5, 125, 126, 300, 0xffff, 0x1_0000] {
            let frames = Frames::new(payload);
            let stream = vec![0x55; 3 * frames.length];
            let near_the_ends = |at: &usize| {
                let within = at % frames.length;
                within < 20 || within > frames.length - 20
            };
            for cut in (0..=stream.len()).filter(near_the_ends) {
                let (mut position, mut replies) = (0, Vec::new());
                for part in [&stream[..cut], &stream[cut..]] {
                    replies.extend_from_slice(frames.answer(&mut part.to_vec(), &mut position));
                }
                let expected = [&frames.header[..], &vec![0x55; payload]].concat().repeat(3);
                assert_eq!(replies.len(), expected.len(), "{payload} cut at {cut}");
                for frame in replies.chunks(frames.length - KEY) {
                    assert!(frame.starts_with(&frames.header), "{payload} cut at {cut}");
                }
                assert_eq!(position, 0);
            }
        }
    }
}
