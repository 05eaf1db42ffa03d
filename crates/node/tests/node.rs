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
        ..NodeConfig::default()
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
            fixed: false,
            adaptive: true,
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
        NodeConfig { cpu_limit: -1.0, ..config("127.0.0.1:0") },
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
    let to = node.local_addr();
    for len in 1..200 {
        socket.send_to(&vec![len as u8; len], to).unwrap();
    }
    eventually(|| (node.status().packets_dropped >= 199).then_some(()));
    assert_eq!(node.status().packets_received, 199);
}

#[test]
fn rooms_go_to_the_shard_with_the_least_to_do_and_stay_there() {
    let node = Node::start(&NodeConfig { shards: 3, queue_size: 64, ..config("127.0.0.1:0") }).unwrap();
    let rooms = |node: &Node| node.status().shards.iter().map(|s| s.rooms).collect::<Vec<_>>();
    for n in 0..9 {
        assert!(node.send(vec![join(&format!("room-{n}"))]));
    }
    eventually(|| (rooms(&node) == [3, 3, 3]).then_some(()));
    // The first and the fourth are of the same shard, which has two fewer to begin with than the others now.
    for room in ["room-0", "room-3"] {
        assert!(node.send(vec![in_room(room, Command::CloseRoom {})]));
    }
    eventually(|| (rooms(&node) == [1, 3, 3]).then_some(()));
    for n in 9..11 {
        assert!(node.send(vec![join(&format!("room-{n}"))]));
    }
    eventually(|| (rooms(&node) == [3, 3, 3]).then_some(()));
    let leave = Command::RemoveParticipant { participant: ParticipantId::from("PA_1") };
    assert!(node.send(vec![in_room("room-10", leave), in_room("nowhere", Command::CloseRoom {})]));
    eventually(|| (node.status().shards[0].participants == 2).then_some(()));
    assert!(
        (0..100).all(|_| node.send(vec![in_room("nowhere", Command::CloseRoom {})])),
        "nothing waits for nobody"
    );
}

#[test]
fn too_much_sent_closes_the_door_to_others() {
    let limited = NodeConfig { bitrate_limit: 1, cpu_limit: 0.9, ..config("127.0.0.1:0") };
    let node = Node::start(&limited).unwrap();
    let room = RoomId::from("room");
    assert_eq!(node.overload(&room), None);
    assert!(!node.status().bitrate_over && node.status().shards.iter().all(|s| !s.over));
}
