//! Several codecs in one room.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod world;

use std::time::Duration;

use rtcloud_sfu::{Event, Kind, SubscriptionRefusal};
use str0m::format::Codec;
use str0m::media::Mid;

use world::World;

const MS: Duration = Duration::from_millis(1);

fn refusals(world: &World) -> Vec<String> {
    let refused = |e: &Event| match e {
        Event::SubscriptionRefused { participant, track, reason: SubscriptionRefusal::Codec } => {
            Some(format!("{participant} {track}"))
        }
        _ => None,
    };
    world.events.iter().filter_map(refused).collect()
}

fn play(world: &mut World, alice: usize, mid: Mid, codec: Codec, frames: usize) {
    for frame in 0..frames {
        world.send(alice, mid, None, codec, frame == 0, 2);
        world.run(33 * MS);
    }
}

#[test]
fn who_has_no_codec_for_a_track_is_told_once_and_costs_nobody_anything() {
    let mut world = World::new();
    let alice = world.join("alice", Duration::ZERO);
    let mid = world.publish_with(alice, "camera", Kind::Video, &[("", 1280, 720)], "vp8");
    world.connect(alice);
    world.only_h264 = true;
    let single = world.watch("single", "camera");
    let (_, dual) = world.join_dual("dual");
    world.subscribe(dual, "camera");
    world.connect(dual);
    world.run(300 * MS);
    assert!(refusals(&world).is_empty(), "it is not known yet what will come");
    play(&mut world, alice, mid, Codec::Vp8, 10);
    let mut told = refusals(&world);
    told.sort();
    assert_eq!(told, ["dual camera", "single camera"]);
    let asked = world.clients[alice].keyframes_wanted.len();
    play(&mut world, alice, mid, Codec::Vp8, 60);
    assert_eq!(refusals(&world).len(), 2);
    assert_eq!(world.clients[alice].keyframes_wanted.len(), asked, "no key picture is asked for in vain");

    // It is announced late to who comes later.
    let late = world.watch("late", "camera");
    world.run_until("told", |w| refusals(w).len() == 3);

    // A publisher may change its mind.
    play(&mut world, alice, mid, Codec::H264, 10);
    for client in [single, dual, late] {
        assert_eq!(world.clients[client].packets.len(), 20);
    }
    play(&mut world, alice, mid, Codec::Vp8, 10);
    assert_eq!(refusals(&world).len(), 6);
}

#[test]
fn a_unit_that_never_ends_is_forwarded_only_so_far() {
    let mut world = World::new();
    let alice = world.join("alice", Duration::ZERO);
    let mid = world.publish_with(alice, "camera", Kind::Video, &[("", 1280, 720)], "h264");
    world.connect(alice);
    let bob = world.watch("bob", "camera");
    play(&mut world, alice, mid, Codec::H264, 3);
    let params = world.clients[alice].rtc.codec_config().params().to_vec();
    let negotiated = world.clients[alice].rtc.media(mid).unwrap().remote_pts().to_vec();
    let h264 =
        |p: &&str0m::format::PayloadParams| p.spec().codec == Codec::H264 && negotiated.contains(&p.pt());
    let pt = params.iter().find(h264).unwrap().pt();
    let seq = *world.clients[alice].sequences.values().next().unwrap();
    let before = world.clients[bob].packets.len();
    for n in 1..=4500u64 {
        let mut payload = vec![0; 1150];
        (payload[0], payload[1]) = (0x7c, if n == 1 { 0x85 } else { 0x05 });
        world.send_raw(alice, mid, pt, seq + n, 90_000, n % 10 == 0, payload);
        if n % 10 == 0 {
            world.run(MS);
        }
    }
    world.run(50 * MS);
    let forwarded = world.clients[bob].packets.len() - before;
    assert_eq!(forwarded, 4 * 1024 * 1024 / 1150);
    world.clients[alice].sequences.values_mut().for_each(|s| *s += 4500);
    play(&mut world, alice, mid, Codec::H264, 3);
    assert_eq!(world.clients[bob].packets.len() - before, forwarded + 6);
}
