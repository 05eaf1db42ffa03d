//! Participants that offer once: what they are sent changes without a word to them.

mod world;

use std::time::Duration;

use rtcloud_sfu::{Event, Kind, Rights, Stream};
use str0m::format::Codec;
use str0m::media::Mid;
use str0m::rtp::RtpPacket;

use world::{World, is_run};

const MS: Duration = Duration::from_millis(1);

/// A publisher of sound and pictures.
struct Publisher {
    client: usize,
    mic: Mid,
    camera: Mid,
    codec: Codec,
}

impl Publisher {
    fn join(world: &mut World, name: &str, codec: Codec) -> Self {
        let client = world.join(name, Duration::ZERO);
        let mic = world.publish(client, &format!("{name}-mic"), Kind::Audio, &[]);
        world.connect(client);
        let camera = world.publish(client, &format!("{name}-camera"), Kind::Video, &[("", 640, 360)]);
        Self { client, mic, camera, codec }
    }

    /// What a publisher sends in about a third of a second: a key picture at the beginning and when one is asked for.
    fn send(&self, world: &mut World) {
        for frame in 0..10 {
            let wanted = std::mem::take(&mut world.clients[self.client].keyframes_wanted);
            let key = frame == 0 || !wanted.is_empty();
            world.send(self.client, self.camera, None, self.codec, key, 3);
            world.send(self.client, self.mic, None, Codec::Opus, true, 1);
            world.run(33 * MS);
        }
    }
}

fn subscribe(world: &mut World, player: usize, name: &str) {
    world.subscribe(player, &format!("{name}-mic"));
    world.subscribe(player, &format!("{name}-camera"));
}

/// Video packets that came, and sound, by what they weigh.
fn received(world: &World, player: usize) -> (Vec<&RtpPacket>, Vec<&RtpPacket>) {
    world.clients[player].packets.iter().partition(|p| p.payload.len() > 500)
}

/// The name of the media line's track that a packet came in.
fn lines(world: &World, player: usize) -> Vec<Mid> {
    let mut lines: Vec<Mid> = world.clients[player].lines.values().copied().collect();
    lines.sort_by_key(Mid::to_string);
    lines.dedup();
    lines
}

fn is_quiet(world: &World, player: usize) -> bool {
    let asked = world.events.iter().any(|e| {
        matches!(e, Event::SectionsNeeded { participant, .. }
        if *participant == world.clients[player].id)
    });
    !asked && world.clients[player].answered == 1
}

#[test]
fn a_player_that_comes_first_is_sent_publishers_as_they_come_and_go() {
    for codecs in [[Codec::H264, Codec::H264], [Codec::Vp8, Codec::Vp8], [Codec::H264, Codec::Vp8]] {
        let mut world = World::new();
        let player = world.join_fixed("player", 1, 1);
        let answer = world.clients[player].description.clone();
        assert_eq!(answer.matches("a=sendonly").count(), 2, "{answer}");
        assert!(answer.contains("a=msid:stream0 audio0\r\n") && answer.contains("a=msid:stream0 video0\r\n"));
        assert!(answer.contains(" msid:stream0 video0\r\n") && answer.contains(" cname:stream0\r\n"));

        let publishers = [("alice", codecs[0]), ("carol", codecs[1])].map(|(name, codec)| {
            let publisher = Publisher::join(&mut world, name, codec);
            subscribe(&mut world, player, name);
            publisher
        });
        let mut counts = Vec::new();
        for (round, publisher) in publishers.iter().enumerate() {
            publishers.iter().for_each(|p| p.send(&mut world));
            publishers.iter().skip(round).for_each(|p| p.send(&mut world));
            counts.push(received(&world, player).0.len());
            world.leave(publisher.client);
            world.run(2000 * MS);
        }
        assert!(counts[0] >= 50 && counts[1] - counts[0] >= 50, "{counts:?}");
        let (video, audio) = received(&world, player);
        for (packets, rate) in [(video, 90.0), (audio, 48.0)] {
            let numbers: Vec<u64> = packets.iter().map(|p| *p.seq_no).collect();
            assert!(is_run(&numbers), "{numbers:?}");
            assert!(packets.iter().all(|p| p.header.ssrc == packets[0].header.ssrc));
            for pair in packets.windows(2) {
                let passed = (pair[1].timestamp - pair[0].timestamp).as_secs_f64() * 1000.0;
                let since = pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp);
                assert!((f64::from(since) / rate - passed).abs() < 40.0, "{since} in {passed} ms");
            }
        }
        assert!(is_quiet(&world, player), "nothing was negotiated");
    }
}

#[test]
fn sound_and_pictures_of_a_publisher_go_together() {
    let mut world = World::new();
    let player = world.join_fixed("player", 2, 2);
    let alice = Publisher::join(&mut world, "alice", Codec::H264);
    let carol = Publisher::join(&mut world, "carol", Codec::H264);
    // Crosswise: in the order alone they would come apart.
    for track in ["alice-mic", "carol-camera", "alice-camera", "carol-mic"] {
        world.subscribe(player, track);
    }
    for publisher in [&alice, &carol, &alice, &carol] {
        publisher.send(&mut world);
    }
    let mids = |world: &mut World| {
        // A restart tells what is sent where.
        world.offer(player, |api| {
            api.ice_restart(true);
        });
        world.run(100 * MS);
        let client = &world.clients[player];
        ["alice-mic", "alice-camera", "carol-mic", "carol-camera"].map(|t| client.mid_of(t).to_string())
    };
    let found = mids(&mut world);
    let place = |mid: &str| {
        let description = &world.clients[player].description;
        let section = description.split("m=").find(|s| s.contains(&format!("a=mid:{mid}\r\n"))).unwrap();
        section.split("a=msid:").nth(1).unwrap().split(' ').next().unwrap().to_owned()
    };
    assert_eq!(place(&found[0]), place(&found[1]));
    assert_eq!(place(&found[2]), place(&found[3]));
    assert_ne!(place(&found[0]), place(&found[2]));
    assert_eq!(lines(&world, player).len(), 4);
    let before = world.clients[player].packets.len();
    alice.send(&mut world);
    assert_eq!(world.clients[player].packets.len(), before + 40, "it goes on after the restart");
}

#[test]
fn a_codec_that_was_not_negotiated_is_passed_over() {
    let mut world = World::new();
    let alice = Publisher::join(&mut world, "alice", Codec::Vp8);
    let carol = Publisher::join(&mut world, "carol", Codec::H264);
    world.only_h264 = true;
    let player = world.join_fixed("player", 1, 1);
    // It begins before it is known what it is encoded with.
    subscribe(&mut world, player, "alice");
    subscribe(&mut world, player, "carol");
    for _ in 0..3 {
        alice.send(&mut world);
        carol.send(&mut world);
    }
    let (video, audio) = received(&world, player);
    assert!(video.len() >= 60, "{}", video.len());
    assert!(!audio.is_empty());
    let before = video.len();
    world.leave(carol.client);
    alice.send(&mut world);
    assert_eq!(received(&world, player).0.len(), before);
    // Whoever changes to a codec that was negotiated is sent.
    let alice = Publisher { codec: Codec::H264, ..alice };
    alice.send(&mut world);
    alice.send(&mut world);
    assert!(received(&world, player).0.len() > before + 30);
    assert!(is_quiet(&world, player));
}

#[test]
fn what_rights_forbid_leaves_its_section_to_the_next() {
    let mut world = World::new();
    let player = world.join_fixed("player", 0, 1);
    world.streams.insert("alice-camera".to_owned(), Stream::Aux);
    let alice = Publisher::join(&mut world, "alice", Codec::H264);
    let carol = Publisher::join(&mut world, "carol", Codec::H264);
    subscribe(&mut world, player, "alice");
    subscribe(&mut world, player, "carol");
    alice.send(&mut world);
    carol.send(&mut world);
    let count = |world: &World| world.clients[player].packets.len();
    assert_eq!(count(&world), 30, "the first alone");
    world.set_rights(player, Rights { receive_screen: false, ..Rights::default() });
    alice.send(&mut world);
    assert_eq!(count(&world), 30);
    carol.send(&mut world);
    assert_eq!(count(&world), 60);
    world.set_rights(carol.client, Rights { send_video: false, ..Rights::default() });
    world.set_rights(player, Rights::default());
    carol.send(&mut world);
    alice.send(&mut world);
    assert_eq!(count(&world), 90);
    assert!(is_run(&world.clients[player].sequences()));
    assert!(is_quiet(&world, player));
}

#[test]
fn sections_are_given_back_however_often() {
    let mut world = World::new();
    let player = world.join_fixed("player", 1, 1);
    let alice = Publisher::join(&mut world, "alice", Codec::H264);
    for round in 1..=20 {
        subscribe(&mut world, player, "alice");
        alice.send(&mut world);
        assert_eq!(world.clients[player].packets.len(), 40 * round);
        for track in ["alice-mic", "alice-camera"] {
            world.unsubscribe(player, track);
        }
        alice.send(&mut world);
    }
    let (video, audio) = received(&world, player);
    for packets in [video, audio] {
        assert!(is_run(&packets.iter().map(|p| *p.seq_no).collect::<Vec<_>>()));
    }
    assert!(is_quiet(&world, player));
}
