//! Two sessions that say they are at one address: who was there keeps it until the other has proved itself.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod world;

use std::time::{Duration, Instant};

use str0m::media::Direction;

use crate::world::{Sends, World, address};

fn contest(shards: usize, other_room: &str) {
    let mut world = World::new(shards);
    let (here, elsewhere) = (world.socket(), world.socket());
    let alice = world.join("room", "alice", here, Direction::SendOnly);
    let bob = world.join("room", "bob", elsewhere, Direction::RecvOnly);
    world.until("both are there", |w| w.connected(alice) && w.connected(bob));
    for _ in 0..1000 {
        world.play(alice);
        for _ in 0..5 {
            world.step();
        }
        if world.clients[bob].0.received > 100 {
            break;
        }
    }
    assert!(world.clients[bob].0.received > 100);
    for _ in 0..50 {
        world.step();
    }

    // Another participant's checks come from alice's address and name nothing of hers.
    let mallory = world.join(other_room, "mallory", here, Direction::SendOnly);
    world.clients[mallory].0.sends = Sends::Checks;
    assert_eq!(address(&world, alice), address(&world, mallory));
    let before = world.clients[bob].0.received;
    let mut sent = 0;
    let end = Instant::now() + Duration::from_millis(700);
    while Instant::now() < end {
        world.play(alice);
        sent += 10;
        for _ in 0..5 {
            world.step();
        }
    }
    world.until("all of it arrives", |w| w.clients[bob].0.received - before >= sent);
    assert!(world.connected(alice) && !world.connected(mallory));

    // Alice is gone and her address is the other's now: the proof moves it.
    world.clients[alice].0.sends = Sends::Nothing;
    world.clients[mallory].0.sends = Sends::Everything;
    world.until("the other is there", |w| w.connected(mallory));
    let refused = world.node.status().refused["packet_refused"];
    for _ in 0..10 {
        world.play(mallory);
        world.step();
    }
    assert!(world.node.status().refused["packet_refused"] <= refused + 1);
}

#[test]
fn a_contested_address_moves_with_proof_only() {
    contest(1, "another");
}

#[test]
fn that_is_so_across_shards() {
    for other in ["a", "b"] {
        contest(3, other);
    }
}
