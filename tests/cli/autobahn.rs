//! `loopwire autobahn client`, against a stand-in for the fuzzing server.

use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use tungstenite::Message;

use crate::peer::accept;
use crate::process::{DEADLINE, loopwire, run};

/// Serves `cases` cases and tells which paths were asked for, and what came back.
fn fuzzing_server(cases: u32) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let (sender, asked) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut socket, request) = accept(stream.unwrap());
            let target = request.uri().to_string();
            let mut told = target.clone();
            if target.starts_with("/getCaseCount") {
                socket.send(Message::text(cases.to_string())).unwrap();
            } else if target.starts_with("/runCase") {
                socket.send(Message::text("echo this")).unwrap();
                told = format!("{target} {}", socket.read().unwrap());
            }
            let _ = socket.close(None);
            while socket.read().is_ok() {}
            let _ = sender.send(told);
        }
    });
    (url, asked)
}

#[test]
fn every_case_is_run_and_the_reports_are_written() {
    let (url, asked) = fuzzing_server(3);
    let outcome = run(loopwire(&["autobahn", "client", &url, "--agent", "me & you"]), b"");
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let asked: Vec<String> = (0..5).map(|_| asked.recv_timeout(DEADLINE).unwrap()).collect();
    assert_eq!(
        asked,
        [
            "/getCaseCount",
            "/runCase?case=1&agent=me%20%26%20you echo this",
            "/runCase?case=2&agent=me%20%26%20you echo this",
            "/runCase?case=3&agent=me%20%26%20you echo this",
            "/updateReports?agent=me%20%26%20you",
        ]
    );
}

#[test]
fn a_range_of_the_cases_can_be_run() {
    for (range, expected) in [("2-3", &[2, 3][..]), ("3", &[3]), ("3-9", &[3, 4])] {
        let (url, asked) = fuzzing_server(4);
        let outcome = run(loopwire(&["autobahn", "client", &url, "--cases", range]), b"");
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        let asked: Vec<String> = asked.try_iter().collect();
        let cases: Vec<String> =
            expected.iter().map(|case| format!("/runCase?case={case}&agent=loopwire echo this")).collect();
        assert_eq!(asked[1..=cases.len()], cases);
    }
}

#[test]
fn a_suite_that_is_not_there_is_code_3() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let outcome = run(loopwire(&["autobahn", "client", &format!("ws://{nobody}")]), b"");
    assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
}
