//! The figures that a room tells of what comes, what is sent, and what is lost on either way.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod world;

use std::time::Duration;

use rtcloud_sfu::{Command, Event, Kind, SubscriptionStats, TrackStats};
use str0m::format::Codec;
use str0m::media::Mid;

use world::World;

const MS: Duration = Duration::from_millis(1);

/// Alice sends a camera, and bob gets it.
fn pair() -> (World, usize, Mid) {
    let mut world = World::new();
    let alice = world.join("alice", Duration::ZERO);
    let mid = world.publish(alice, "camera", Kind::Video, &[("", 1280, 720)]);
    world.connect(alice);
    world.watch("bob", "camera");
    (world, alice, mid)
}

fn play(world: &mut World, alice: usize, mid: Mid, frames: usize) {
    for frame in 0..frames {
        world.send(alice, mid, None, Codec::H264, frame == 0, 4);
        world.run(33 * MS);
    }
}

/// The newest of the one track and the one subscription.
fn newest(world: &World) -> (TrackStats, SubscriptionStats) {
    let figures = |event: &Event| match event {
        Event::Stats { tracks, subscriptions, part: 0, parts: 1, .. } => {
            Some((tracks.first()?.clone(), subscriptions.first()?.clone()))
        }
        _ => None,
    };
    world.events.iter().rev().find_map(figures).unwrap()
}

#[test]
fn what_comes_and_what_goes_is_told_alike() {
    let (mut world, alice, mid) = pair();
    play(&mut world, alice, mid, 180);
    let (came, went) = newest(&world);
    assert_eq!((came.codec.as_str(), came.receivers, came.flowing), ("h264", 1, true));
    assert!((came.fps - 30.3).abs() < 1.0, "{came:?}");
    assert!((came.fps - went.fps).abs() < 1.0, "{went:?}");
    assert!(came.packets.abs_diff(went.packets) <= 4, "{came:?} {went:?}");
    assert_eq!((came.loss, came.raw_loss, came.freezes), (0.0, 0.0, 0));
    assert_eq!((went.loss, went.lost, went.freezes, went.resent), (0.0, 0, 0, 0));
}

#[test]
fn loss_is_told_before_and_after_repair() {
    let (mut world, alice, mid) = pair();
    play(&mut world, alice, mid, 60);
    let mut seen = 0u32;
    world.lose = Some(Box::new(move |down, contents| {
        let media = matches!(contents, [128..=191, kind, ..] if !matches!(kind, 192..=223));
        seen += u32::from(media && !down);
        media && !down && seen.is_multiple_of(10)
    }));
    play(&mut world, alice, mid, 180);
    let (came, _) = newest(&world);
    assert!(came.raw_loss > 0.05 && came.raw_loss < 0.2, "{came:?}");
    assert!(came.loss < came.raw_loss / 2.0 && came.nacks > 0, "{came:?}");
}

#[test]
fn who_stops_without_a_word_freezes_and_who_mutes_does_not() {
    let (mut world, alice, mid) = pair();
    play(&mut world, alice, mid, 90);
    world.run(4000 * MS);
    let (came, _) = newest(&world);
    assert!(!came.flowing && came.frozen_ms >= 1900, "{came:?}");
    world.command(Command::MuteTrack { track: "camera".into(), muted: true });
    world.run(5000 * MS);
    let (came, _) = newest(&world);
    assert_eq!((came.freezes, came.frozen_ms), (0, 0));
}
