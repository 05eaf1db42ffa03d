//! What subscribers get of what is published.

mod world;

use std::time::Duration;

use rtcloud_sfu::{Command, Event, Kind, TrackId};
use str0m::format::Codec;
use str0m::media::{Direction, Mid, Rid};

use world::{World, is_run};

const MS: Duration = Duration::from_millis(1);
const CODECS: [(Codec, &str); 2] = [(Codec::H264, "h264"), (Codec::Vp8, "vp8")];

/// One publisher of video and one subscriber, connected, with the first key picture asked for.
fn pair(codec: &str) -> (World, usize, usize, Mid) {
    let mut world = World::new();
    let alice = world.join("alice", Duration::ZERO);
    let mid = world.publish_with(alice, "camera", Kind::Video, &[("", 1280, 720)], codec);
    world.connect(alice);
    let bob = world.watch("bob", "camera");
    (world, alice, bob, mid)
}

#[test]
fn video_reaches_a_subscriber_whole_and_named() {
    for (codec, name) in CODECS {
        let (mut world, alice, bob, mid) = pair(name);
        for frame in 0..30 {
            world.send(alice, mid, None, codec, frame == 0, 4);
            world.run(33 * MS);
        }
        let received = &world.clients[bob].packets;
        assert_eq!(received.len(), 120, "{name}");
        assert!(is_run(&world.clients[bob].sequences()));
        assert!(received.iter().filter(|p| p.header.marker).count() == 30);
        assert!(world.clients[bob].description.contains("a=msid:alice|camera camera"));
        let started = Event::TrackStarted {
            participant: "alice".into(),
            track: "camera".into(),
            codec: name.to_owned(),
        };
        assert!(world.events.contains(&started));
        let receiving =
            Event::Receiving { participant: "bob".into(), track: "camera".into(), width: 1280, height: 720 };
        assert!(world.events.contains(&receiving));
    }
}

#[test]
fn the_answer_names_the_wanted_codec_first() {
    let (world, alice, ..) = pair("vp8");
    let description = &world.clients[alice].description;
    let line = description.lines().find(|l| l.starts_with("m=video")).unwrap();
    let first = line.split(' ').nth(3).unwrap();
    assert!(description.contains(&format!("a=rtpmap:{first} VP8/90000")), "{line}");
}

#[test]
fn a_late_subscriber_gets_a_keyframe() {
    let (mut world, alice, bob, mid) = pair("");
    for frame in 0..10 {
        world.send(alice, mid, None, Codec::H264, frame == 0, 2);
        world.run(33 * MS);
    }
    let before = world.clients[alice].keyframes_wanted.len();
    let carol = world.join("carol", Duration::ZERO);
    world.subscribe(carol, "camera");
    world.offer(carol, |api| {
        api.add_channel("_reliable".into());
    });
    let wanted = |w: &World| w.clients[alice].keyframes_wanted.len() > before;
    for _ in 0..100 {
        if wanted(&world) {
            break;
        }
        world.send(alice, mid, None, Codec::H264, false, 2);
        world.run(33 * MS);
    }
    assert!(wanted(&world));
    assert!(world.clients[carol].packets.is_empty(), "nothing before a key picture");
    world.send(alice, mid, None, Codec::H264, true, 3);
    world.run(50 * MS);
    assert_eq!(world.clients[carol].packets.len(), 3);
    assert!(is_run(&world.clients[bob].sequences()));
}

#[test]
fn a_subscribers_keyframe_request_is_passed_up_but_not_too_often() {
    let (mut world, alice, bob, mid) = pair("");
    world.send(alice, mid, None, Codec::H264, true, 2);
    world.run(400 * MS);
    let before = world.clients[alice].keyframes_wanted.len();
    let line = world.clients[bob].mid_of("camera");
    for _ in 0..20 {
        world.request_keyframe(bob, line);
        world.run(10 * MS);
    }
    world.run(50 * MS);
    assert_eq!(world.clients[alice].keyframes_wanted.len() - before, 1);
    world.run(400 * MS);
    assert_eq!(world.clients[alice].keyframes_wanted.len() - before, 2, "the throttled one comes later");
}

#[test]
fn who_enters_soon_after_another_does_not_wait_long_for_a_keyframe() {
    let (mut world, alice, bob, mid) = pair("");
    world.send(alice, mid, None, Codec::H264, true, 2);
    world.run(500 * MS);
    let asked = |world: &World| world.clients[alice].keyframes_wanted.len();
    let before = asked(&world);
    for entered in 1..=3 {
        world.want(bob, "camera", false, 0, 0);
        world.want(bob, "camera", true, 0, 0);
        world.run(60 * MS);
        world.send(alice, mid, None, Codec::H264, true, 2);
        world.run(50 * MS);
        assert_eq!(asked(&world) - before, entered);
    }
    world.run(1000 * MS);
    assert_eq!(asked(&world) - before, 3, "what has come is not asked for again");
}

#[test]
fn gaps_of_padding_are_closed() {
    let (mut world, alice, bob, mid) = pair("");
    for frame in 0..10 {
        world.send(alice, mid, None, Codec::H264, frame == 0, 2);
        world.send_padding(alice, mid, 3);
        world.run(33 * MS);
    }
    let bob = &world.clients[bob];
    assert_eq!(bob.packets.len(), 20);
    assert!(is_run(&bob.sequences()));
}

#[test]
fn nothing_is_forwarded_while_muted_or_paused() {
    let (mut world, alice, bob, mid) = pair("");
    let send = |world: &mut World, key| {
        world.send(alice, mid, None, Codec::H264, key, 2);
        world.run(33 * MS);
    };
    let count = |world: &World| world.clients[bob].packets.len();
    let stopped = |world: &World| {
        let is = |e: &&Event| matches!(e, Event::Receiving { .. });
        matches!(world.events.iter().rev().find(is), Some(Event::Receiving { width: 0, height: 0, .. }))
    };
    send(&mut world, true);
    assert_eq!(count(&world), 2);
    world.command(Command::MuteTrack { track: "camera".into(), muted: true });
    assert!(stopped(&world));
    send(&mut world, true);
    assert_eq!(count(&world), 2);
    world.command(Command::MuteTrack { track: "camera".into(), muted: false });
    send(&mut world, false);
    assert_eq!(count(&world), 2, "nothing before a key picture");
    send(&mut world, true);
    assert_eq!(count(&world), 4);
    world.want(bob, "camera", false, 0, 0);
    assert!(stopped(&world));
    send(&mut world, true);
    assert_eq!(count(&world), 4);
    world.want(bob, "camera", true, 0, 0);
    send(&mut world, true);
    assert_eq!(count(&world), 6);
    assert!(is_run(&world.clients[bob].sequences()));
    let times: Vec<u64> = world.clients[bob].packets.iter().map(|p| p.time.numer()).collect();
    assert!(times.is_sorted());
    // 33 ms a frame, five frames between the first and the last, on one clock.
    let passed = times[5] - times[0];
    assert!((4 * 33 * 90..=6 * 33 * 90).contains(&passed), "{passed}");
}

#[test]
fn layers_follow_the_wanted_size_at_keyframes() {
    for (codec, name) in CODECS {
        let mut world = World::new();
        let alice = world.join("alice", Duration::ZERO);
        let layers = [("q", 320, 180), ("h", 640, 360), ("f", 1280, 720)];
        let mid = world.publish_with(alice, "camera", Kind::Video, &layers, name);
        world.connect(alice);
        let bob = world.watch("bob", "camera");
        let all = |world: &mut World, key| {
            for (rid, ..) in layers {
                world.send(alice, mid, Some(rid), codec, key, 2);
            }
            world.run(33 * MS);
        };
        for frame in 0..12 {
            all(&mut world, frame == 0);
        }
        all(&mut world, true);
        let size = |world: &World| {
            let found = world.events.iter().rev().find_map(|e| match e {
                Event::Receiving { width, height, .. } => Some((*width, *height)),
                _ => None,
            });
            found.unwrap()
        };
        assert_eq!(size(&world), (1280, 720), "{name}");
        world.clients[alice].keyframes_wanted.clear();
        world.want(bob, "camera", true, 300, 170);
        all(&mut world, false);
        assert_eq!(size(&world), (1280, 720), "{name}: not before a key picture");
        assert_eq!(world.clients[alice].keyframes_wanted, [Some(Rid::from("q"))]);
        all(&mut world, true);
        assert_eq!(size(&world), (320, 180), "{name}");
        let before = world.clients[bob].packets.len();
        all(&mut world, false);
        assert_eq!(world.clients[bob].packets.len() - before, 2, "{name}: one layer only");
        assert!(is_run(&world.clients[bob].sequences()), "{name}");
        if codec == Codec::Vp8 {
            let id = |p: &str0m::rtp::RtpPacket| u16::from_be_bytes([p.payload[2] & 0x7f, p.payload[3]]);
            let ids: Vec<u16> = world.clients[bob].packets.iter().map(id).collect();
            assert!(ids.windows(2).all(|w| w[1] == w[0] + 1), "{ids:?}");
        }
        // The wanted layer dries up: another one takes over.
        world.want(bob, "camera", true, 0, 0);
        all(&mut world, true);
        assert_eq!(size(&world), (1280, 720), "{name}");
        for frame in 0..60 {
            for rid in ["q", "h"] {
                world.send(alice, mid, Some(rid), codec, frame % 10 == 0, 1);
            }
            world.run(33 * MS);
        }
        assert_eq!(size(&world), (640, 360), "{name}");
    }
}

#[test]
fn a_section_used_again_runs_on() {
    let mut world = World::new();
    let alice = world.join("alice", Duration::ZERO);
    let first = world.publish(alice, "first", Kind::Video, &[("", 640, 360)]);
    let carol = world.join("carol", Duration::from_secs(1000));
    let second = world.publish(carol, "second", Kind::Video, &[("", 640, 360)]);
    world.connect(alice);
    world.connect(carol);
    let bob = world.watch("bob", "first");
    for frame in 0..10 {
        world.send(alice, first, None, Codec::H264, frame < 2, 2);
        world.run(33 * MS);
    }
    let line = world.clients[bob].mid_of("first");
    let before = world.clients[bob].packets.len();
    assert!(before > 10);
    let ssrc = world.clients[bob].packets[0].header.ssrc;
    world.unsubscribe(bob, "first");
    world.run(50 * MS);
    assert!(!world.clients[bob].mids.values().any(|t| t.as_str() == "first"));
    assert!(world.clients[bob].description.contains("a=inactive"));
    world.subscribe(bob, "second");
    world.run(50 * MS);
    assert_eq!(world.clients[bob].mid_of("second"), line, "the section is used again");
    assert!(world.clients[bob].description.contains("a=msid:carol|second second"));
    for frame in 0..10 {
        world.send(carol, second, None, Codec::H264, frame < 5, 2);
        world.run(33 * MS);
    }
    let bob = &world.clients[bob];
    assert!(bob.packets.len() > before + 8);
    assert!(bob.packets.iter().all(|p| p.header.ssrc == ssrc));
    assert!(is_run(&bob.sequences()));
    let times: Vec<u64> = bob.packets.iter().map(|p| p.time.numer()).collect();
    assert!(times.is_sorted());
    assert!(times[before] - times[before - 1] < 90_000, "time runs on as the clock did");
}

#[test]
fn lost_packets_are_sent_again() {
    let (mut world, alice, bob, mid) = pair("");
    let mut seen = 0u32;
    // One media packet of twenty is lost in each direction.
    world.lose = Some(Box::new(move |_, contents| {
        if contents.len() < 500 || !(128..192).contains(&contents[0]) {
            return false;
        }
        seen += 1;
        seen.is_multiple_of(20)
    }));
    for frame in 0..100 {
        world.send(alice, mid, None, Codec::H264, frame == 0, 4);
        world.run(33 * MS);
    }
    world.lose = None;
    world.send(alice, mid, None, Codec::H264, false, 4);
    world.run(1000 * MS);
    let mut sequences = world.clients[bob].sequences();
    sequences.sort_unstable();
    sequences.dedup();
    assert_eq!(sequences.len(), 404);
    assert!(is_run(&sequences));
}

#[test]
fn audio_levels_become_speakers() {
    let mut world = World::new();
    let alice = world.join("alice", Duration::ZERO);
    let mid = world.publish(alice, "mic", Kind::Audio, &[]);
    world.connect(alice);
    for level in [-20i8, -127] {
        world.clients[alice].level = Some(level);
        for _ in 0..200 {
            world.send(alice, mid, None, Codec::Opus, true, 1);
            world.run(20 * MS);
        }
    }
    let told: Vec<bool> = world
        .events
        .iter()
        .filter_map(|e| match e {
            Event::Speakers { speakers } => Some(speakers[0].active),
            _ => None,
        })
        .collect();
    assert!(told.first() == Some(&true) && told.last() == Some(&false), "{told:?}");
    assert_eq!(told.iter().filter(|active| !**active).count(), 1);
}

#[test]
fn quality_is_measured() {
    let (mut world, alice, _, mid) = pair("");
    let mut seen = 0u32;
    world.lose = Some(Box::new(move |down, contents| {
        seen += u32::from(!down && contents.len() > 500);
        !down && contents.len() > 500 && seen.is_multiple_of(10)
    }));
    for frame in 0..400 {
        world.send(alice, mid, None, Codec::H264, frame % 30 == 0, 4);
        world.run(33 * MS);
    }
    let last = world.events.iter().rev().find_map(|e| match e {
        Event::Quality { participant, uplink_loss, uplink_bitrate, .. }
            if participant.as_str() == "alice" =>
        {
            Some((*uplink_loss, *uplink_bitrate))
        }
        _ => None,
    });
    let (loss, bitrate) = last.unwrap();
    assert!((0.02..0.25).contains(&loss), "{loss}");
    assert!((700_000..1_300_000).contains(&bitrate), "{bitrate}");
}

#[test]
fn what_is_no_longer_offered_has_ended() {
    let (mut world, alice, _, mid) = pair("");
    world.send(alice, mid, None, Codec::H264, true, 1);
    world.offer(alice, |api| api.set_direction(mid, Direction::Inactive));
    let ended = Event::TrackEnded { participant: "alice".into(), track: TrackId::from("camera") };
    assert_eq!(world.events.iter().filter(|e| **e == ended).count(), 1);
}
