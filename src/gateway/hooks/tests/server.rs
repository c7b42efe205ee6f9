//! An HTTP server of a few lines, to be an application's backend.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Which connection it came on, from 0.
    pub(super) connection: usize,
    /// The request line and the fields.
    pub(super) head: String,
    pub(super) body: String,
}

impl Seen {
    /// The values of a field.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }
}

/// Answers requests for as long as the process lives.
pub(super) struct TinyServer {
    pub(super) address: String,
    /// What has come.
    pub(super) seen: Receiver<Seen>,
}

impl TinyServer {
    /// `answer` writes an answer and says whether the connection goes on.
    pub(super) fn start(answer: impl Fn(&Seen, &mut TcpStream) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (tell, seen) = channel();
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (tell, answer, mut stream) = (tell.clone(), Arc::clone(&answer), stream.unwrap());
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    while let Some(request) = read(&mut reader, connection) {
                        let _ = tell.send(request.clone());
                        if !answer(&request, &mut stream) {
                            break;
                        }
                    }
                });
            }
        });
        Self { address, seen }
    }

    /// One that answers every request with this.
    pub(super) fn saying(json: &'static str) -> Self {
        Self::start(move |_, stream| stream.write_all(ok(json).as_bytes()).is_ok())
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// A 200 with this body.
pub(super) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn read(reader: &mut BufReader<TcpStream>, connection: usize) -> Option<Seen> {
    let mut head = String::new();
    loop {
        let before = head.len();
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
        if head[before..] == *"\r\n" {
            break;
        }
    }
    let mut request = Seen { connection, head, body: String::new() };
    let length = request.all("Content-Length").first().map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).unwrap();
    Some(request)
}
