//! All tracks of all publishers are reported on one clock.

mod world;

use std::time::{Duration, Instant, SystemTime};

use rtcloud_sfu::Kind;
use str0m::format::Codec;
use str0m::media::Mid;

use world::World;

const MS: Duration = Duration::from_millis(1);

struct Source {
    client: usize,
    mid: Mid,
    codec: Codec,
    /// From capture to sending.
    delay: Duration,
}

/// What each report says: the moment of capture in the world's time, and the server's clock at it.
fn offsets(world: &World, subscriber: usize, from: usize) -> Vec<f64> {
    let base = SystemTime::UNIX_EPOCH;
    let offset = |r: &str0m::media::SenderFeedback| {
        let info = r.sender_info;
        let ntp = info.ntp_time.duration_since(base).expect("a time after 1970").as_secs_f64();
        ntp - info.rtp_time.numer() as f64 / f64::from(info.rtp_time.denom())
    };
    world.clients[subscriber].reports[from..].iter().map(offset).collect()
}

fn spread(offsets: &[f64]) -> f64 {
    let max = offsets.iter().copied().fold(f64::MIN, f64::max);
    let min = offsets.iter().copied().fold(f64::MAX, f64::min);
    (max - min) * 1000.0
}

#[test]
fn sender_reports_put_everything_on_one_clock() {
    let mut world = World::new();
    let alice = world.join("alice", Duration::from_secs(50));
    let carol = world.join("carol", Duration::from_secs(100_000));
    let mut sources = Vec::new();
    for (client, name) in [(alice, "alice"), (carol, "carol")] {
        let mid = world.publish(client, &format!("{name}-camera"), Kind::Video, &[("", 640, 360)]);
        world.connect(client);
        sources.push(Source { client, mid, codec: Codec::H264, delay: 45 * MS });
        let mid = world.publish(client, &format!("{name}-mic"), Kind::Audio, &[]);
        world.run(30 * MS);
        sources.push(Source { client, mid, codec: Codec::Opus, delay: 22 * MS });
    }
    let bob = world.join("bob", Duration::ZERO);
    for track in ["alice-camera", "alice-mic", "carol-camera", "carol-mic"] {
        world.subscribe(bob, track);
    }
    world.offer(bob, |api| {
        api.add_channel("_reliable".into());
    });
    world.connect(bob);
    world.run(50 * MS);

    let begin = world.now;
    let mut next: Vec<Instant> = vec![world.now; sources.len()];
    let mut early = None;
    while world.now < begin + Duration::from_secs(12) {
        for (source, next) in sources.iter().zip(&mut next) {
            if world.now < *next {
                continue;
            }
            let key = source.codec == Codec::Opus || world.now < begin + 200 * MS;
            let captured = world.now - source.delay;
            world.send_at(source.client, source.mid, None, source.codec, key, 1, captured);
            *next += if source.codec == Codec::Opus { 20 * MS } else { 33 * MS };
        }
        world.run(MS);
        if early.is_none() && world.now > begin + 1500 * MS {
            early = Some(world.clients[bob].reports.len());
        }
    }
    let early = early.unwrap();
    // From the first moments on, before all publishers have reported, within a frame.
    let first = offsets(&world, bob, 0);
    assert!(first.len() >= 40, "{}", first.len());
    assert!(spread(&first) < 50.0, "{first:?}");
    let later = offsets(&world, bob, early);
    assert!(spread(&later) < 8.0, "{later:?}");
    let reported: std::collections::HashSet<Mid> = world.clients[bob].reports.iter().map(|r| r.mid).collect();
    assert_eq!(reported.len(), 4);
}

#[test]
fn streams_that_were_never_written_are_not_reported() {
    let mut world = World::new();
    let alice = world.join("alice", Duration::ZERO);
    world.publish(alice, "camera", Kind::Video, &[("", 640, 360)]);
    world.connect(alice);
    let bob = world.watch("bob", "camera");
    world.run(Duration::from_secs(5));
    assert!(world.clients[bob].reports.is_empty());
}

#[test]
fn a_report_made_at_a_packets_arrival_tells_its_time() {
    let mut world = World::new();
    // Unix times in microseconds, as floating point has them, are multiples of a quarter: this one is rounded up.
    world.now += Duration::from_nanos(123_400);
    let alice = world.join("alice", Duration::from_secs(50));
    let mid = world.publish(alice, "alice-mic", Kind::Audio, &[]);
    world.connect(alice);
    let bob = world.join("bob", Duration::ZERO);
    world.subscribe(bob, "alice-mic");
    world.offer(bob, |api| {
        api.add_channel("_reliable".into());
    });
    world.connect(bob);
    // Something arrives at every moment at which a report can be due, and each time as soon after its capture as ever.
    for _ in 0..8000 {
        world.send_at(alice, mid, None, Codec::Opus, true, 1, world.now);
        world.run(MS);
    }
    let times: Vec<u64> = world.clients[bob].reports.iter().map(|r| r.sender_info.rtp_time.numer()).collect();
    assert!(times.len() >= 8, "{times:?}");
    assert!(times.iter().all(|time| *time != 0), "{times:?}");
    let offsets = offsets(&world, bob, 3);
    assert!(spread(&offsets) < 1.0, "{offsets:?}");
}
