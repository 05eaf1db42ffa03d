//! A node from outside: start, commands, events, stop.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use rtcloud_node::{InRoom, Node, NodeConfig, StartError};
use rtcloud_sfu::{Command, Event, ParticipantId, Rights, RoomId, Target};

fn config(listen: &str) -> NodeConfig {
    NodeConfig {
        listen: listen.to_owned(),
        advertise: vec!["127.0.0.1".to_owned()],
        shards: 2,
        video_codecs: vec!["h264".to_owned()],
        queue_size: 8,
    }
}

fn in_room(room: &str, body: Command) -> InRoom<Command> {
    InRoom { room: RoomId::from(room), body }
}

fn join(room: &str) -> InRoom<Command> {
    let participant = ParticipantId::from("PA_1");
    in_room(
        room,
        Command::AddParticipant {
            participant,
            identity: "i".to_owned(),
            single: false,
            rights: Rights::default(),
        },
    )
}

fn eventually<T>(mut poll: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(Instant::now() < end, "it did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn rooms_live_in_their_shards() {
    let mut node = Node::start(&config("127.0.0.1:0")).unwrap();
    for n in 0..8 {
        let room = format!("room-{n}");
        eventually(|| node.send(vec![join(&room)]).then_some(()));
    }
    let mut offered = Vec::new();
    eventually(|| {
        offered.extend(node.drain(3));
        (offered.len() == 8).then_some(())
    });
    assert!(offered.iter().all(|e| matches!(e.body, Event::Offered { .. })));
    let status = node.status();
    assert_eq!((status.rooms, status.participants), (8, 8));
    let sdp = "nonsense".to_owned();
    let participant = ParticipantId::from("PA_1");
    let offer = Command::Offer { participant, request: 7, target: Target::Publisher, sdp };
    assert!(node.send(vec![in_room("room-3", offer)]));
    let answer = eventually(|| node.drain(10).pop());
    assert!(matches!(answer.body, Event::SdpRejected { request: 7, .. }));
    node.close();
    node.close();
    assert_eq!(node.status().rooms, 0);
}

#[test]
fn a_full_queue_takes_nothing() {
    let node = Node::start(&config("127.0.0.1:0")).unwrap();
    assert!(!node.send((0..9).map(|_| join("room")).collect()));
    assert_eq!(node.status().commands_refused, 9);
    assert!(node.send((0..8).map(|_| join("room")).collect()));
}

#[test]
fn bad_configuration_and_a_taken_port_are_errors() {
    for bad in [
        NodeConfig { listen: "nowhere".to_owned(), ..config("") },
        NodeConfig { advertise: vec![], ..config("127.0.0.1:0") },
        NodeConfig { advertise: vec!["a name".to_owned()], ..config("127.0.0.1:0") },
        NodeConfig { queue_size: 0, ..config("127.0.0.1:0") },
    ] {
        assert!(matches!(Node::start(&bad), Err(StartError::Config(_))));
    }
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let error = Node::start(&config(&taken.local_addr().unwrap().to_string())).unwrap_err();
    assert!(matches!(error, StartError::Io(e) if e.kind() == std::io::ErrorKind::AddrInUse));
}

#[test]
fn strange_datagrams_are_counted_and_survived() {
    let node = Node::start(&config("127.0.0.1:0")).unwrap();
    node.send(vec![join("room")]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = node.local_addr().unwrap();
    for len in 1..200 {
        socket.send_to(&vec![len as u8; len], to).unwrap();
    }
    eventually(|| (node.status().packets_dropped >= 199).then_some(()));
    assert_eq!(node.status().packets_received, 199);
}
