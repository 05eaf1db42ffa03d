//! What a forwarded packet and a subscriber cost in memory.

#![allow(clippy::print_stdout, reason = "the bench reads these figures")]
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use rtcloud_sfu::Kind;
use str0m::format::Codec;
use str0m::media::Mid;

use world::World;

const MS: Duration = Duration::from_millis(1);

thread_local! {
    static LIVE: Cell<i64> = const { Cell::new(0) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static COUNTING: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

fn note(bytes: i64) {
    LIVE.set(LIVE.get() + bytes);
    if COUNTING.get() && bytes > 0 {
        COUNT.set(COUNT.get() + 1);
    }
}

// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        note(-(layout.size() as i64));
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(-(layout.size() as i64));
        note(size as i64);
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A publisher of sound and pictures and so many subscribers of both.
fn meeting(subscribers: usize) -> (World, usize, Mid, Mid) {
    let mut world = World::new();
    let alice = world.join("alice", Duration::ZERO);
    let camera = world.publish(alice, "camera", Kind::Video, &[("", 1280, 720)]);
    world.connect(alice);
    let mic = world.publish(alice, "mic", Kind::Audio, &[]);
    for n in 0..subscribers {
        let bob = world.join(&format!("bob{n}"), Duration::ZERO);
        world.subscribe(bob, "camera");
        world.subscribe(bob, "mic");
        world.offer(bob, |api| {
            api.add_channel("_reliable".into());
        });
    }
    let all = world.clients.len();
    world.run_until("all have both tracks", |w| w.clients[1..all].iter().all(|c| c.mids.len() == 2));
    for client in 1..all {
        world.connect(client);
    }
    (world, alice, camera, mic)
}

fn play(world: &mut World, alice: usize, camera: Mid, mic: Mid, key: bool) {
    world.send(alice, camera, None, Codec::H264, key, 4);
    world.send(alice, mic, None, Codec::Opus, true, 1);
    world.run(33 * MS);
}

/// Allocations in the room while one frame and one packet of sound go by; the least of many, as reports, feedback and
/// other things that are not due with each packet come in between.
fn allocations(subscribers: usize) -> u64 {
    let (mut world, alice, camera, mic) = meeting(subscribers);
    for frame in 0..300 {
        play(&mut world, alice, camera, mic, frame == 0);
    }
    world.metered = Some(|on| COUNTING.set(on));
    let frame = |_| {
        let before = COUNT.get();
        play(&mut world, alice, camera, mic, false);
        COUNT.get() - before
    };
    let least = (0..60).map(frame).min().unwrap();
    assert!(world.clients[1..].iter().all(|c| c.packets.len() >= 5 * 360), "all of it came");
    least
}

#[test]
fn forwarding_allocates_nothing() {
    let (few, many) = (allocations(3), allocations(13));
    // Of ten more subscribers, 5 packets each.
    println!("\n{} allocations per forwarded packet", many.abs_diff(few) as f64 / 50.0);
    assert_eq!(few, many);
}

#[test]
fn a_subscriber_takes_no_more_than_150_kib() {
    const SUBSCRIBERS: usize = 300;
    let room = |subscribers| {
        let (mut world, alice, camera, mic) = meeting(subscribers);
        // Enough for everything that is kept to be full.
        for frame in 0..40 {
            world.send(alice, camera, None, Codec::H264, frame == 0, 15);
            world.send(alice, mic, None, Codec::Opus, true, 1);
            world.run(20 * MS);
        }
        let World { room, .. } = world;
        let before = LIVE.get();
        drop(room);
        before - LIVE.get()
    };
    let each = (room(SUBSCRIBERS) - room(1)) / (SUBSCRIBERS as i64 - 1);
    println!("\n{each} bytes per subscriber");
    assert!(each <= 150 * 1024, "{each}");
}
