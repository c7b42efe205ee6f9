//! Pushing to one, to a set, to all, from any thread; and what becomes of those who do not read.

mod support;

use std::collections::HashMap;
use std::sync::mpsc;
use std::thread;

use loopwire::{
    CloseCode, Closed, ConnectionId, Handler, Message, NetConfig, OverflowPolicy, PreparedMessage, Server, WebSocket,
};
use support::{Heard, Peer, Running, masked, teller};
use tungstenite::Message as Theirs;

fn open(server: &Running, ear: &support::Ear) -> (ConnectionId, Peer) {
    let peer = server.open();
    (ear.opened(), peer)
}

/// The texts that `peer` gets up to one that says so.
fn texts(peer: &mut Peer) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        let text = peer.read().unwrap().into_text().unwrap().to_string();
        if text == "end" {
            return texts;
        }
        texts.push(text);
    }
}

#[test]
fn other_threads_push_to_one_to_a_set_and_to_all() {
    let (teller, ear) = teller();
    let server = Running::start(Server::builder(), teller);
    let (a, mut at_a) = open(&server, &ear);
    let (b, mut at_b) = open(&server, &ear);
    let (c, mut at_c) = open(&server, &ear);
    let handle = server.handle.clone();
    thread::spawn(move || {
        handle.send(a, "one").unwrap();
        handle.send_prepared(b, &PreparedMessage::new("prepared")).unwrap();
        handle.send_to([a, c], &PreparedMessage::new("some")).unwrap();
        handle.broadcast(&PreparedMessage::new("all")).unwrap();
        handle.broadcast_except(a, &PreparedMessage::new("others")).unwrap();
        handle.broadcast(&PreparedMessage::new("end")).unwrap();
        handle.close(b, CloseCode::NORMAL, "done").unwrap();
        handle.post(0, "a task").unwrap();
    })
    .join()
    .unwrap();
    assert_eq!(texts(&mut at_a), ["one", "some", "all"]);
    assert_eq!(texts(&mut at_b), ["prepared", "all", "others"]);
    assert_eq!(texts(&mut at_c), ["some", "all", "others"]);
    let Theirs::Close(Some(frame)) = at_b.read().unwrap() else { panic!("no Close") };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1000, "done"));
    server.handle.abort(c).unwrap();
    assert!(at_c.read().is_err(), "it was aborted");
    assert_eq!(ear.next(), Heard::Task("a task"));
}

#[test]
fn many_threads_push_at_once_and_each_keeps_its_order() {
    const THREADS: usize = 4;
    const EACH: usize = 500;
    let (teller, ear) = teller();
    let server = Running::start(Server::builder(), teller);
    let (id, mut peer) = open(&server, &ear);
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let handle = server.handle.clone();
            thread::spawn(move || {
                for n in 0..EACH {
                    handle.send(id, format!("{thread} {n}")).unwrap();
                }
            })
        })
        .collect();
    let mut next = [0; THREADS];
    for _ in 0..THREADS * EACH {
        let text = peer.read().unwrap().into_text().unwrap();
        let (thread, n) = text.split_once(' ').unwrap();
        let thread: usize = thread.parse().unwrap();
        assert_eq!(n, next[thread].to_string());
        next[thread] += 1;
    }
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(server.handle.metrics().messages_out, (THREADS * EACH) as u64);
}

#[test]
fn a_room_hears_what_is_said_in_it() {
    #[derive(Default)]
    struct Rooms(HashMap<String, Vec<ConnectionId>>);
    impl Handler for Rooms {
        fn on_open(&mut self, ws: &mut WebSocket<'_>) {
            let room = ws.request().unwrap().path().to_owned();
            self.0.entry(room).or_default().push(ws.id());
            ws.send("in").unwrap();
        }
        fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
            let members = self.0[ws.request().unwrap().path()].iter().copied();
            ws.connections().send_to(members, &PreparedMessage::new(message));
        }
        fn on_close(&mut self, ws: &mut WebSocket<'_>, _: &Closed) {
            let id = ws.id();
            let room = self.0.get_mut(ws.request().unwrap().path()).unwrap();
            room.retain(|&member| member != id);
        }
    }
    let server = Running::start(Server::builder(), Rooms::default());
    let mut red: Vec<_> = (0..3).map(|_| server.open_at("/red")).collect();
    let mut blue: Vec<_> = (0..3).map(|_| server.open_at("/blue")).collect();
    for peer in red.iter_mut().chain(&mut blue) {
        assert_eq!(peer.read().unwrap(), Theirs::text("in"));
    }
    let mut gone = red.pop().unwrap();
    gone.close(None).unwrap();
    while gone.read().is_ok() {}
    red[0].send(Theirs::text("red")).unwrap();
    blue[0].send(Theirs::text("blue")).unwrap();
    for (peers, text) in [(&mut red, "red"), (&mut blue, "blue")] {
        for peer in peers {
            assert_eq!(peer.read().unwrap(), Theirs::text(text));
        }
    }
}

#[test]
fn an_id_names_nobody_after_its_connection_is_gone() {
    let (teller, ear) = teller();
    let server = Running::start(Server::builder(), teller);
    let (old, peer) = open(&server, &ear);
    drop(peer);
    assert_eq!(ear.closed().0, old);
    server.ask(|_| ());
    // The next one gets the same slot.
    let (new, mut peer) = open(&server, &ear);
    assert_ne!(old, new);
    server.handle.send(old, "for the one before").unwrap();
    server.handle.close(old, CloseCode::NORMAL, "").unwrap();
    server.handle.abort(old).unwrap();
    let nowhere = ConnectionId::from_u64(u64::MAX);
    server.handle.send(nowhere, "for a loop that is not there").unwrap();
    let message = PreparedMessage::new("for all that are here");
    let pushed = server.ask(move |connections| connections.send_to([old, new, nowhere], &message));
    assert_eq!((pushed.sent, pushed.gone), (1, 1));
    assert_eq!(peer.read().unwrap(), Theirs::text("for all that are here"));
    // The one before, twice: from outside and from within.
    assert_eq!(server.handle.metrics().messages_dropped, 2);
}

fn small_buffers(overflow: OverflowPolicy) -> NetConfig {
    let mut net = NetConfig::default();
    net.max_buffered = 512 << 10;
    net.overflow = overflow;
    net
}

#[test]
fn a_subscriber_that_does_not_read_is_closed_at_the_cap_and_nobody_else_notices() {
    let (teller, ear) = teller();
    let server = Running::start(Server::builder().no_deflate().net(small_buffers(OverflowPolicy::Close)), teller);
    let (reader, mut peer) = open(&server, &ear);
    let slow = server.raw().upgrade("/");
    let slow_id = ear.opened();
    let message = PreparedMessage::new(&vec![7; 256 << 10]);
    let mut most = 0;
    // More than the kernel's buffers take.
    for round in 0.. {
        assert!(round < 500, "never closed: {most}");
        server.handle.broadcast(&message).unwrap();
        assert_eq!(peer.read().unwrap().len(), 256 << 10, "the reader misses nothing");
        let waiting = server.ask(move |connections| connections.get(slow_id).map(|ws| ws.buffered_amount()));
        let Some(waiting) = waiting else { break };
        most = most.max(waiting);
    }
    assert!(most > 0 && most <= 512 << 10, "{most} bytes waited");
    let closed = ear.find(|heard| match heard {
        Heard::Close { id, code, clean, .. } => Some((id, code, clean)),
        _ => None,
    });
    assert_eq!(closed, (slow_id, 1006, false));
    assert!(server.ask(move |connections| connections.contains(reader)));
    assert!(server.handle.metrics().backpressure > 0);
    assert_eq!(server.handle.metrics().messages_dropped, 1);
    drop(slow);
}

#[test]
fn a_subscriber_that_does_not_read_misses_messages_and_hears_when_there_is_room() {
    let (teller, ear) = teller();
    let server = Running::start(Server::builder().no_deflate().net(small_buffers(OverflowPolicy::Drop)), teller);
    let mut slow = server.raw().upgrade("/");
    let id = ear.opened();
    let mut sent = 0;
    loop {
        let message = PreparedMessage::new(&vec![7; 256 << 10]);
        let pushed = server.ask(move |connections| connections.broadcast(&message));
        if pushed.dropped == 1 {
            break;
        }
        assert_eq!(pushed.sent, 1);
        sent += 1;
        assert!(sent < 500, "never dropped");
    }
    assert!(server.ask(move |connections| connections.contains(id)), "it stays");
    // It reads at last: all that was not dropped, whole.
    for _ in 0..sent {
        slow.expect(&[&[0x82, 127, 0, 0, 0, 0, 0, 4, 0, 0][..], &vec![7; 256 << 10]].concat());
    }
    ear.find(|heard| (heard == Heard::Writable(id)).then_some(()));
    server.handle.send(id, "room again").unwrap();
    slow.expect(b"\x81\x0aroom again");
}

#[test]
fn a_handler_can_close_and_send_to_others_and_itself_in_one_call() {
    struct Orders;
    impl Handler for Orders {
        fn on_message(&mut self, ws: &mut WebSocket<'_>, _: Message<'_>) {
            let own = ws.id();
            let others: Vec<_> = ws.connections().ids().filter(|&id| id != own).collect();
            for id in &others {
                ws.connections().send(*id, "farewell").unwrap();
                ws.connections().close(*id, CloseCode::GOING_AWAY, "").unwrap();
                assert!(ws.connections().send(*id, "behind the Close").is_err());
            }
            ws.send("done").unwrap();
            ws.close(CloseCode::NORMAL, "").unwrap();
            assert!(!ws.is_open() && ws.close(CloseCode::NORMAL, "").is_err());
        }
    }
    let server = Running::start(Server::builder(), Orders);
    let mut others: Vec<_> = (0..3).map(|_| server.raw().upgrade("/")).collect();
    let mut own = server.raw().upgrade("/");
    server.wait_until("all are open", |server| server.handle.metrics().connections_open == 4);
    own.send([masked(0x81, b"go"), masked(0x81, b"and again")].concat());
    own.expect(b"\x81\x04done\x88\x02\x03\xe8");
    for other in &mut others {
        other.expect(b"\x81\x08farewell\x88\x02\x03\xe9");
    }
}

#[test]
fn loops_push_to_each_other_s_connections() {
    struct Forward;
    impl Handler for Forward {
        fn on_open(&mut self, ws: &mut WebSocket<'_>) {
            let id = ws.id().to_u64().to_string();
            ws.send(&id).unwrap();
        }
        fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
            let text = message.as_text().unwrap();
            let id = |text: &str| ConnectionId::from_u64(text.parse().unwrap());
            match text.split_once(' ') {
                Some(("close", to)) => ws.connections().close(id(to), CloseCode::NORMAL, "").unwrap(),
                Some(("except", to)) => {
                    ws.connections().broadcast_except(id(to), &PreparedMessage::new("but one"));
                }
                Some((to, text)) => drop(ws.connections().send(id(to), text)),
                None => drop(ws.connections().send_to(text.split(',').map(id), &PreparedMessage::new("set"))),
            }
        }
    }
    let server = Running::start_each(Server::builder().loops(2), |_| Forward);
    let mut peers: [Vec<(u64, Peer)>; 2] = Default::default();
    while peers.iter().any(Vec::is_empty) {
        let mut peer = server.open();
        let id: u64 = peer.read().unwrap().to_text().unwrap().parse().unwrap();
        let index = usize::from(ConnectionId::from_u64(id).loop_index());
        peers[index].push((id, peer));
        assert!(peers[index].len() < 200, "the kernel favours a loop");
    }
    let [mut here, mut there] = peers.map(|mut each| each.remove(0));
    let mut say = |text: String| here.1.send(Theirs::text(text)).unwrap();
    say(format!("{} over there", there.0));
    say(format!("{},{}", here.0, there.0));
    say(format!("except {}", here.0));
    say(format!("close {}", there.0));
    for text in ["over there", "set", "but one"] {
        assert_eq!(there.1.read().unwrap(), Theirs::text(text));
    }
    assert!(there.1.read().unwrap().is_close());
    assert_eq!(here.1.read().unwrap(), Theirs::text("set"));
}

#[test]
fn what_a_handler_holds_need_not_be_send() {
    use std::rc::Rc;
    struct Local(Rc<str>);
    impl Handler for Local {
        fn on_open(&mut self, ws: &mut WebSocket<'_>) {
            ws.send(&*self.0).unwrap();
        }
    }
    let server = Running::start_each(Server::builder(), |_| Local("here".into()));
    assert_eq!(server.open().read().unwrap(), Theirs::text("here"));
    let (sender, receiver) = mpsc::channel();
    server
        .handle
        .run_on_each(move |connections| {
            let _ = sender.send(connections.len());
        })
        .unwrap();
    assert!(receiver.recv_timeout(support::PATIENCE).is_ok());
}
