//! Negotiation in both modes, restarts, messages, and input that is not what it should be.

mod world;

use std::time::Duration;

use rtcloud_sfu::{Command, Event, Kind, ParticipantId, Target, TransportState};
use str0m::format::Codec;

use world::{World, is_run};

const MS: Duration = Duration::from_millis(1);

fn open_channels(world: &mut World, client: usize) {
    world.offer(client, |api| {
        api.add_channel("_reliable".into());
        api.add_channel("_lossy".into());
    });
    world.connect(client);
    world.run_until("channels", |w| w.clients[client].channels.len() == 2);
}

#[test]
fn two_connections_work_as_one() {
    let mut world = World::new();
    let (alice, alice_receives) = world.join_dual("alice");
    world.connect(alice_receives);
    let camera = world.publish(alice, "camera", Kind::Video, &[("", 640, 360)]);
    world.connect(alice);
    let mic = world.publish(alice, "mic", Kind::Audio, &[]);
    world.run(50 * MS);
    let (_, bob) = world.join_dual("bob");
    world.subscribe(bob, "camera");
    world.connect(bob);
    world.subscribe(bob, "mic");
    world.run(50 * MS);
    for frame in 0..20 {
        world.send(alice, camera, None, Codec::H264, frame == 0, 2);
        world.send(alice, mic, None, Codec::Opus, true, 1);
        world.run(20 * MS);
    }
    assert_eq!(world.clients[bob].packets.len(), 60);
    assert!(world.clients[bob].description.contains("a=msid:alice|mic mic"));

    // A section that is left is told so, and then used again.
    let line = world.clients[bob].mid_of("camera");
    world.unsubscribe(bob, "camera");
    world.run(50 * MS);
    let screen = world.publish(alice, "screen", Kind::Video, &[("", 1280, 720)]);
    world.run(50 * MS);
    world.subscribe(bob, "screen");
    world.run(50 * MS);
    assert_eq!(world.clients[bob].mid_of("screen"), line);
    let before = world.clients[bob].packets.len();
    world.send(alice, screen, None, Codec::H264, true, 3);
    world.run(50 * MS);
    assert_eq!(world.clients[bob].packets.len(), before + 3);
    let video: Vec<u64> =
        world.clients[bob].packets.iter().filter(|p| p.payload.len() > 500).map(|p| *p.seq_no).collect();
    assert!(is_run(&video));
}

#[test]
fn many_changes_at_once_are_offered_one_after_the_other() {
    let mut world = World::new();
    let (alice, _) = world.join_dual("alice");
    for n in 0..6 {
        world.publish(alice, &format!("t{n}"), Kind::Audio, &[]);
    }
    let (_, bob) = world.join_dual("bob");
    for n in 0..6 {
        world.subscribe(bob, &format!("t{n}"));
    }
    world.unsubscribe(bob, "t3");
    world.run(200 * MS);
    let tracks: Vec<&str> = world.clients[bob].mids.values().map(|t| t.as_str()).collect();
    assert_eq!(tracks.len(), 5, "{tracks:?}");
    assert!(!tracks.contains(&"t3"));
}

#[test]
fn media_goes_on_after_an_ice_restart_of_either_side() {
    let mut world = World::new();
    let alice = world.join("alice", Duration::ZERO);
    let camera = world.publish(alice, "camera", Kind::Video, &[("", 640, 360)]);
    world.connect(alice);
    let (_, bob) = world.join_dual("bob");
    world.subscribe(bob, "camera");
    world.connect(bob);
    let ufrag = |d: &str| d.split("a=ice-ufrag:").nth(1).unwrap().split("\r\n").next().unwrap().to_owned();
    for round in 0..3 {
        for frame in 0..10 {
            world.send(alice, camera, None, Codec::H264, frame == 0, 2);
            world.run(33 * MS);
        }
        assert_eq!(world.clients[bob].packets.len(), 20 * (round + 1));
        let before = [alice, bob].map(|c| ufrag(&world.clients[c].description));
        world.offer(alice, |api| {
            api.ice_restart(true);
        });
        world.command(Command::RestartIce { participant: "bob".into() });
        world.run(500 * MS);
        let after = [alice, bob].map(|c| ufrag(&world.clients[c].description));
        assert!(before[0] != after[0] && before[1] != after[1]);
    }
    assert!(is_run(&world.clients[bob].sequences()));
}

#[test]
fn a_restart_takes_back_an_offer_that_was_never_answered() {
    let mut world = World::new();
    let alice = world.join("alice", Duration::ZERO);
    let camera = world.publish(alice, "camera", Kind::Video, &[("", 640, 360)]);
    world.connect(alice);
    let (_, bob) = world.join_dual("bob");
    world.connect(bob);
    // The client is not told of this offer.
    let participant = ParticipantId::from("bob");
    let now = world.now;
    world
        .room
        .handle_command(Command::Subscribe { participant: participant.clone(), track: "camera".into() }, now);
    let mut lost = rtcloud_sfu::Output::default();
    world.room.poll(now, &mut lost);
    assert!(lost.events.iter().any(|e| matches!(e, Event::Offered { .. })));
    world.command(Command::RestartIce { participant });
    world.run(300 * MS);
    world.send(alice, camera, None, Codec::H264, true, 2);
    world.run(50 * MS);
    assert_eq!(world.clients[bob].packets.len(), 2);
}

#[test]
fn messages_carry_their_sender_and_find_their_receivers() {
    let mut world = World::new();
    let alice = world.join("alice", Duration::ZERO);
    let bob = world.join("bob", Duration::ZERO);
    let (carol_sends, carol) = world.join_dual("carol");
    open_channels(&mut world, alice);
    open_channels(&mut world, bob);
    world.connect(carol);
    world.run_until("channels", |w| w.clients[carol].channels.len() == 2);
    open_channels(&mut world, carol_sends);

    // A user packet that claims to be from mallory.
    let claimed = [&[0x22, 7][..], b"mallory", &[0x12, 4, 0x12, 2], b"hi"].concat();
    let user = [&[0x12, 2][..], b"hi", &[0x0a, 5], b"alice", &[0x2a, 10], b"alice-user"].concat();
    let sender = [&[0x22, 10][..], b"alice-user", &[0x8a, 1, 5], b"alice"].concat();
    let mut expected = [&[0x12, user.len() as u8][..], &user, &sender].concat();
    world.send_message(alice, "_reliable", &claimed);
    world.run(50 * MS);
    assert_eq!(world.clients[bob].messages, [(true, expected.clone())]);
    assert_eq!(world.clients[carol].messages, [(true, expected.clone())]);
    assert!(world.clients[alice].messages.is_empty());

    // Only to bob, and lossy.
    let only = [&[0x2a, 8][..], b"bob-user", &claimed[9..]].concat();
    expected = [&[0x08, 1, 0x2a, 8][..], b"bob-user", &expected].concat();
    world.send_message(alice, "_lossy", &only);
    world.run(50 * MS);
    assert_eq!(world.clients[bob].messages.get(1), Some(&(false, expected)));
    assert_eq!(world.clients[carol].messages.len(), 1);

    // Between the modes, and from the server.
    world.send_message(carol_sends, "_reliable", &claimed);
    world.command(Command::SendData {
        participants: vec!["bob".into()],
        reliable: true,
        packet: vec![0x12, 0],
    });
    world.run(50 * MS);
    assert_eq!(world.clients[alice].messages.len(), 1);
    assert_eq!(world.clients[bob].messages.len(), 4);
    assert_eq!(world.clients[bob].messages.iter().filter(|m| m.1 == [0x12, 0]).count(), 1);
}

#[test]
fn a_participant_that_leaves_is_told_and_forgotten() {
    let mut world = World::new();
    let alice = world.join("alice", Duration::ZERO);
    open_channels(&mut world, alice);
    world.command(Command::RemoveParticipant { participant: "alice".into() });
    world.run(50 * MS);
    assert!(!world.clients[alice].rtc.is_alive(), "the connection was closed");
    assert_eq!(world.room.participants(), 0);
    world.command(Command::CloseRoom {});
    assert!(world.room.is_closed());
}

#[test]
fn a_silent_transport_is_lost_after_a_while_and_may_return() {
    let mut world = World::new();
    let alice = world.join("alice", Duration::ZERO);
    open_channels(&mut world, alice);
    let states = |world: &World| -> Vec<TransportState> {
        let state = |e: &Event| match e {
            Event::TransportChanged { state, .. } => Some(*state),
            _ => None,
        };
        world.events.iter().filter_map(state).collect()
    };
    world.lose = Some(Box::new(|_, _| true));
    world.run(Duration::from_secs(9));
    assert_eq!(states(&world), [TransportState::Connected, TransportState::Disconnected]);
    world.lose = None;
    world.run(Duration::from_secs(5));
    assert_eq!(states(&world).last(), Some(&TransportState::Connected));
    world.lose = Some(Box::new(|_, _| true));
    world.run(Duration::from_secs(40));
    assert_eq!(states(&world).last(), Some(&TransportState::Failed));
}

#[test]
fn bad_descriptions_are_rejected_and_change_nothing() {
    let mut world = World::new();
    let alice = world.join("alice", Duration::ZERO);
    let camera = world.publish(alice, "camera", Kind::Video, &[("", 640, 360)]);
    world.connect(alice);
    let bob = world.join("bob", Duration::ZERO);
    world.subscribe(bob, "camera");
    open_channels(&mut world, bob);
    let good = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
    let many = format!("{good}{}", "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n".repeat(600));
    let bad = ["", "nonsense", good, &many, &"x".repeat(300_000)];
    for (n, sdp) in bad.iter().enumerate() {
        world.events.clear();
        let request = n as i64;
        for target in [Target::Single, Target::Publisher] {
            let (participant, sdp) = (ParticipantId::from("alice"), (*sdp).to_owned());
            world.command(Command::Offer { participant, request, target, sdp });
        }
        let rejected = |e: &&Event| matches!(e, Event::SdpRejected { request: r, .. } if *r == request);
        assert_eq!(world.events.iter().filter(rejected).count(), 2, "{n}");
        world.command(Command::Answer { participant: "alice".into(), request: 9, sdp: (*sdp).to_owned() });
    }
    world.send(alice, camera, None, Codec::H264, true, 2);
    world.run(50 * MS);
    assert_eq!(world.clients[bob].packets.len(), 2);
}

#[test]
fn commands_about_the_unknown_are_ignored() {
    let mut world = World::new();
    let nobody = || ParticipantId::from("nobody");
    world.command(Command::Subscribe { participant: nobody(), track: "x".into() });
    world.command(Command::RemoveParticipant { participant: nobody() });
    world.command(Command::MuteTrack { track: "x".into(), muted: true });
    world.command(Command::RestartIce { participant: nobody() });
    world.command(Command::UnpublishTrack { participant: nobody(), track: "x".into() });
    let candidate = "garbage".to_owned();
    world.command(Command::AddCandidate { participant: nobody(), target: Target::Single, candidate });
    world.run(10 * MS);
    assert!(world.events.is_empty());
}
