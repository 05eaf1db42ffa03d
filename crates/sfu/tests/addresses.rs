//! Where media goes when somebody's address changes, or seems to.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod world;

use std::net::SocketAddr;
use std::time::Duration;

use rtcloud_sfu::{Event, Kind, TransportState};
use str0m::format::Codec;
use str0m::media::Mid;

use world::World;

const MS: Duration = Duration::from_millis(1);

fn pair() -> (World, usize, usize, Mid) {
    let mut world = World::new();
    let alice = world.join("alice", Duration::ZERO);
    let camera = world.publish(alice, "camera", Kind::Video, &[("", 640, 360)]);
    world.connect(alice);
    let bob = world.watch("bob", "camera");
    (world, alice, bob, camera)
}

fn play(world: &mut World, alice: usize, camera: Mid, frames: usize) {
    for frame in 0..frames {
        world.send(alice, camera, None, Codec::H264, frame == 0, 3);
        world.run(33 * MS);
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn checks_that_name_a_stranger_send_it_no_media_and_take_none_away() {
    let (mut world, alice, bob, camera) = pair();
    play(&mut world, alice, camera, 10);
    let victim = address("203.0.113.9:53");
    let before = world.clients[bob].packets.len();
    world.spoofed = Some(victim);
    play(&mut world, alice, camera, 600);
    let (media, rest) = world.sent.get(&victim).copied().unwrap_or_default();
    assert_eq!(media, 0);
    assert!(rest > 0, "the checks were answered");
    assert!(rest < 20_000, "{rest}");
    assert_eq!(world.clients[bob].packets.len() - before, 1800, "nothing went elsewhere");
}

#[test]
fn media_follows_a_client_to_its_new_address() {
    let (mut world, alice, bob, camera) = pair();
    play(&mut world, alice, camera, 10);
    let (old, new) = (world.clients[bob].address, address("198.51.100.77:6000"));
    world.translated.insert(old, new);
    // It is followed once it is heard there, long before its old address is given up.
    play(&mut world, alice, camera, 240);
    assert!(world.sent[&new].0 > 20_000, "{:?}", world.sent);
    let before = (world.sent[&old], world.clients[bob].packets.len());
    play(&mut world, alice, camera, 30);
    assert_eq!(world.sent[&old], before.0);
    assert_eq!(world.clients[bob].packets.len() - before.1, 90);
}

#[test]
fn what_proves_nothing_keeps_no_transport_alive() {
    let (mut world, alice, bob, camera) = pair();
    play(&mut world, alice, camera, 10);
    let silent = world.clients[bob].address;
    world.lose = Some(Box::new(|down, _| !down));
    // Bob is gone; somebody sends all kinds of things from where he was.
    let check = [&[0u8, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    for n in 0..900u32 {
        for garbage in [&[0x80; 40][..], &[22, 254, 253, 0, 0, 0, 0], &[23; 60], &[0x81, 200, 0, 6], &check] {
            world.deliver_to_room(silent, garbage);
        }
        world.run(10 * MS);
        assert!(n < 800 || world.room.participants() == 2);
    }
    let lost = |e: &Event| {
        matches!(e, Event::TransportChanged { participant, state: TransportState::Disconnected, .. }
            if participant.as_str() == "bob")
    };
    assert!(world.events.iter().any(lost));
}
