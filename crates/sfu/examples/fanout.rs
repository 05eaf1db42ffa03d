//! What the core alone takes for a forwarded packet, without sockets: `fanout [subscribers] [packets of a frame, 0 for
//! sound]`. The median of many frames, as the machine may be busy with other things.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for developers")]

#[path = "../tests/world/mod.rs"]
mod world;

use std::cell::Cell;
use std::time::{Duration, Instant};

use rtcloud_sfu::Kind;
use str0m::format::Codec;

use world::World;

thread_local! {
    static BEGUN: Cell<Option<Instant>> = const { Cell::new(None) };
    static SPENT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

fn meter(on: bool) {
    if on {
        BEGUN.set(Some(Instant::now()));
    } else if let Some(begun) = BEGUN.take() {
        SPENT.set(SPENT.get() + begun.elapsed());
    }
}

fn main() {
    let args: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let arg = |n: usize, default| args.get(n).copied().unwrap_or(default);
    let (subscribers, packets) = (arg(0, 100), arg(1, 9));
    let (kind, codec, interval) = match packets {
        0 => (Kind::Audio, Codec::Opus, Duration::from_millis(20)),
        _ => (Kind::Video, Codec::H264, Duration::from_millis(33)),
    };
    let packets = packets.max(1);
    let mut world = World::new();
    let alice = world.join("alice", Duration::ZERO);
    let line = world.publish(alice, "track", kind, &[("", 1280, 720)]);
    world.connect(alice);
    for n in 0..subscribers {
        let bob = world.join(&format!("bob{n}"), Duration::ZERO);
        world.subscribe(bob, "track");
        world.offer(bob, |api| {
            api.add_channel("_reliable".into());
        });
    }
    for client in 1..world.clients.len() {
        world.connect(client);
    }
    world.run(Duration::from_millis(300));
    let mut frames = Vec::new();
    world.metered = Some(meter);
    for frame in 0..300 {
        SPENT.set(Duration::ZERO);
        let before = world.clients[1].packets.len();
        world.send(alice, line, None, codec, frame == 0, packets);
        world.run(interval);
        if frame > 100 && world.clients[1].packets.len() - before == packets {
            frames.push(SPENT.get());
        }
        for client in &mut world.clients[1..] {
            client.packets.truncate(1);
        }
    }
    frames.sort_unstable();
    let each = |d: Duration| d.as_nanos() as f64 / (packets * subscribers) as f64;
    let (least, median) = (frames[0], frames[frames.len() / 2]);
    println!(
        "{subscribers} subscribers, {packets} packets: {:.0} ns each, at least {:.0}",
        each(median),
        each(least)
    );
}
