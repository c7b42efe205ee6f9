//! tungstenite as it comes: `server` echoes and prints its port, `client URL` connects once and takes what comes.

use std::env;
use std::net::{TcpListener, TcpStream};
use std::thread;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server"] => serve(),
        ["client", url] => {
            if let Ok((mut socket, _)) = tungstenite::connect(*url) {
                while socket.read().is_ok() {}
            }
        }
        _ => panic!("usage: server | client URL"),
    }
}

fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("{{\"port\": {}}}", listener.local_addr().expect("an address").port());
    for stream in listener.incoming().flatten() {
        thread::spawn(move || echo(stream));
    }
}

fn echo(stream: TcpStream) {
    let Ok(mut socket) = tungstenite::accept(stream) else { return };
    while let Ok(message) = socket.read() {
        if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
            return;
        }
    }
}
