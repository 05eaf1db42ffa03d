//! Clients that no datagrams get through to, and clients by IPv6.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod world;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use str0m::media::Direction;

use crate::world::World;

fn plays(world: &mut World, from: usize, to: usize) {
    let alice = world.join("room", "alice", from, Direction::SendOnly);
    let bob = world.join("room", "bob", to, Direction::RecvOnly);
    world.until("both are there", |w| w.connected(alice) && w.connected(bob));
    let before = world.clients[bob].0.received;
    for _ in 0..1000 {
        world.play(alice);
        for _ in 0..5 {
            world.step();
        }
        if world.clients[bob].0.received > before + 200 {
            return;
        }
    }
    panic!("only {} packets came", world.clients[bob].0.received);
}

#[test]
fn media_passes_by_connections_alone() {
    for ip in ["127.0.0.1", "::1"] {
        let mut world = World::new(1);
        let (from, to) = (world.connect(ip), world.connect(ip));
        plays(&mut world, from, to);
        let status = world.node.status();
        assert_eq!(status.connections, 2);
        assert_eq!(status.refused["packet_unsent"], 0, "{status:?}");
    }
}

#[test]
fn media_passes_between_datagrams_connections_and_families() {
    let mut world = World::new(2);
    let (from, to) = (world.socket_at("::1"), world.connect("127.0.0.1"));
    plays(&mut world, from, to);
    let mut world = World::new(2);
    let (from, to) = (world.connect("::1"), world.socket());
    plays(&mut world, from, to);
}

#[test]
fn who_connects_and_proves_nothing_is_sent_away() {
    let world = World::new(1);
    let address = world.node.local_addr();
    let begun = Instant::now();
    let mut silent = TcpStream::connect(address).unwrap();
    let mut strange = TcpStream::connect(address).unwrap();
    strange.write_all(&[0, 4, 0x80, 1, 2, 3]).unwrap();
    let mut nonsense = TcpStream::connect(address).unwrap();
    nonsense.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let closed = |stream: &mut TcpStream| {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        match stream.read(&mut [0; 100]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    };
    let ended = || {
        let refused = world.node.status().refused;
        (refused["connection_malformed"], refused["connection_unproven"])
    };
    assert!(closed(&mut nonsense) && begun.elapsed() < Duration::from_secs(3));
    assert_eq!(ended(), (1, 0));
    assert!(closed(&mut silent) && closed(&mut strange));
    assert!((4..9).contains(&begun.elapsed().as_secs()));
    assert_eq!(ended(), (1, 2));
}

#[test]
fn few_may_be_unproven_from_one_address() {
    let world = World::new(1);
    let streams: Vec<TcpStream> =
        (0..40).map(|_| TcpStream::connect(world.node.local_addr()).unwrap()).collect();
    let end = Instant::now() + Duration::from_secs(4);
    while world.node.status().refused["connection_full"] < 8 {
        assert!(Instant::now() < end, "{:?}", world.node.status());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!((streams.len(), world.node.status().connections), (40, 32));
}
