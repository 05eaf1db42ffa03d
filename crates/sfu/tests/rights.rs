//! What participants may do holds at the next packet, whatever they send.

mod world;

use std::time::Duration;

use rtcloud_sfu::{Command, Event, Kind, Refusal, Rights, Stream};
use str0m::format::Codec;
use str0m::media::Mid;

use world::{World, is_run};

const MS: Duration = Duration::from_millis(1);
const TRACKS: [&str; 3] = ["mic", "camera", "screen"];

/// Alice may publish all three; Bob and Carol get them.
struct Meeting {
    world: World,
    alice: usize,
    bob: usize,
    carol: usize,
    mids: [Mid; 3],
}

fn meeting(rights: Rights) -> Meeting {
    let mut world = World::new();
    world.streams.insert("screen".to_owned(), Stream::Aux);
    let alice = world.join("alice", Duration::ZERO);
    world.set_rights(alice, rights);
    let mids = TRACKS.map(|track| {
        let kind = if track == "mic" { Kind::Audio } else { Kind::Video };
        world.publish(alice, track, kind, &[("", 640, 360)])
    });
    world.connect(alice);
    let [bob, carol] = ["bob", "carol"].map(|name| {
        let client = world.join(name, Duration::ZERO);
        for track in TRACKS {
            world.subscribe(client, track);
        }
        world.offer(client, |api| {
            api.add_channel("_reliable".into());
            api.add_channel("_lossy".into());
        });
        world.connect(client);
        world.run_until("the tracks", |w| w.clients[client].mids.len() == 3);
        client
    });
    world.offer(alice, |api| {
        api.add_channel("_reliable".into());
        api.add_channel("_lossy".into());
    });
    world.run_until("channels", |w| {
        [alice, bob, carol].iter().all(|client| w.clients[*client].channels.len() == 2)
    });
    world.run(200 * MS);
    Meeting { world, alice, bob, carol, mids }
}

impl Meeting {
    /// One frame of each; says which of them came to a client.
    fn round(&mut self, key: bool) -> [[bool; 3]; 2] {
        let clients = [self.bob, self.carol];
        let before = clients.map(|client| self.world.clients[client].packets.len());
        for (track, mid) in TRACKS.into_iter().zip(self.mids) {
            let codec = if track == "mic" { Codec::Opus } else { Codec::H264 };
            self.world.clients[self.alice].level = (track == "mic").then_some(-20);
            self.world.send(self.alice, mid, None, codec, key, 1);
        }
        self.world.run(40 * MS);
        [0, 1].map(|n| {
            let client = &self.world.clients[clients[n]];
            let came = &client.packets[before[n]..];
            TRACKS.map(|track| {
                let mid = client.mid_of(track);
                came.iter().any(|packet| client.lines.get(&packet.header.ssrc) == Some(&mid))
            })
        })
    }

    fn started(&self) -> Vec<&str> {
        let track = |e: &'_ Event| match e {
            Event::TrackStarted { track, .. } => TRACKS.into_iter().find(|t| *t == track.as_str()),
            _ => None,
        };
        self.world.events.iter().filter_map(track).collect()
    }

    fn spoke(&self) -> bool {
        self.world.events.iter().any(|e| matches!(e, Event::Speakers { .. }))
    }
}

fn without(take: impl Fn(&mut Rights)) -> Rights {
    let mut rights = Rights::default();
    take(&mut rights);
    rights
}

const TAKE_SENDING: [fn(&mut Rights); 3] =
    [|r| r.send_audio = false, |r| r.send_video = false, |r| r.send_screen = false];
const TAKE_RECEIVING: [fn(&mut Rights); 3] =
    [|r| r.receive_audio = false, |r| r.receive_video = false, |r| r.receive_screen = false];

#[test]
fn what_may_not_be_sent_reaches_nobody_from_the_next_packet_on() {
    for (n, take) in TAKE_SENDING.into_iter().enumerate() {
        let mut meeting = meeting(Rights::default());
        assert_eq!(meeting.round(true), [[true; 3]; 2]);
        meeting.world.set_rights(meeting.alice, without(take));
        let mut expected = [true; 3];
        expected[n] = false;
        for key in [false, true, false] {
            assert_eq!(meeting.round(key), [expected; 2], "{}", TRACKS[n]);
        }
        // Back again; pictures with the key picture that is asked for.
        meeting.world.clients[meeting.alice].keyframes_wanted.clear();
        meeting.world.set_rights(meeting.alice, Rights::default());
        meeting.world.run(20 * MS);
        let asked = meeting.world.clients[meeting.alice].keyframes_wanted.len();
        assert_eq!(asked, usize::from(n > 0), "{}", TRACKS[n]);
        assert_eq!(meeting.round(true), [[true; 3]; 2]);
        assert_eq!(meeting.round(false), [[true; 3]; 2]);
    }
}

#[test]
fn what_may_not_be_received_reaches_others_only() {
    for (n, take) in TAKE_RECEIVING.into_iter().enumerate() {
        let mut meeting = meeting(Rights::default());
        assert_eq!(meeting.round(true), [[true; 3]; 2]);
        meeting.world.set_rights(meeting.bob, without(take));
        let mut expected = [true; 3];
        expected[n] = false;
        for key in [false, true, false] {
            assert_eq!(meeting.round(key), [expected, [true; 3]], "{}", TRACKS[n]);
        }
        if n > 0 {
            let stopped = |e: &Event| match e {
                Event::Receiving { participant, track, width: 0, .. } => {
                    participant.as_str() == "bob" && track.as_str() == TRACKS[n]
                }
                _ => false,
            };
            assert!(meeting.world.events.iter().any(stopped));
        }
        meeting.world.run(300 * MS);
        meeting.world.clients[meeting.alice].keyframes_wanted.clear();
        meeting.world.set_rights(meeting.bob, Rights::default());
        meeting.world.run(20 * MS);
        let asked = meeting.world.clients[meeting.alice].keyframes_wanted.len();
        assert_eq!(asked, usize::from(n > 0), "{}", TRACKS[n]);
        assert_eq!(meeting.round(true), [[true; 3]; 2]);
        assert!(is_run(&meeting.world.clients[meeting.carol].sequences_of(TRACKS[n])));
    }
}

#[test]
fn what_lacked_the_right_from_the_start_is_not_started_before_it_has_it() {
    for (n, take) in TAKE_SENDING.into_iter().enumerate() {
        let mut meeting = meeting(without(take));
        for _ in 0..40 {
            meeting.round(true);
        }
        let others: Vec<&str> = TRACKS.into_iter().filter(|track| *track != TRACKS[n]).collect();
        assert_eq!(meeting.started(), others);
        assert_eq!(meeting.spoke(), TRACKS[n] != "mic", "who may not speak is no speaker");
        assert!(meeting.round(true).iter().all(|came| !came[n]));
        meeting.world.set_rights(meeting.alice, Rights::default());
        assert_eq!(meeting.round(true), [[true; 3]; 2]);
        assert_eq!(meeting.started().last(), Some(&TRACKS[n]));
    }
}

#[test]
fn a_right_holds_for_what_is_subscribed_and_published_later() {
    let mut meeting = meeting(Rights::default());
    let dave = meeting.world.join("dave", Duration::ZERO);
    meeting.world.set_rights(dave, without(|r| r.receive_video = false));
    meeting.world.subscribe(dave, "camera");
    meeting.world.subscribe(dave, "mic");
    meeting.world.offer(dave, |api| {
        api.add_channel("_reliable".into());
    });
    meeting.world.connect(dave);
    meeting.world.run(100 * MS);
    for _ in 0..5 {
        meeting.round(true);
    }
    let came = &meeting.world.clients[dave].packets;
    assert!(!came.is_empty() && came.iter().all(|packet| packet.payload.len() == 100), "sound alone");

    meeting.world.set_rights(meeting.alice, without(|r| r.send_video = false));
    let second = meeting.world.publish(meeting.alice, "second", Kind::Video, &[("", 640, 360)]);
    meeting.world.subscribe(meeting.bob, "second");
    meeting.world.run(100 * MS);
    meeting.world.send(meeting.alice, second, None, Codec::H264, true, 2);
    meeting.world.run(50 * MS);
    assert!(!meeting.started().contains(&"second"));
    assert!(meeting.world.clients[meeting.bob].sequences_of("second").is_empty());
}

#[test]
fn sound_announced_as_a_screen_is_sound() {
    let mut world = World::new();
    world.streams.insert("mic".to_owned(), Stream::Aux);
    let alice = world.join("alice", Duration::ZERO);
    world.set_rights(alice, without(|r| r.send_audio = false));
    let mic = world.publish(alice, "mic", Kind::Audio, &[]);
    world.connect(alice);
    for _ in 0..10 {
        world.send(alice, mic, None, Codec::Opus, true, 1);
        world.run(20 * MS);
    }
    assert!(!world.events.iter().any(|e| matches!(e, Event::TrackStarted { .. })));
}

fn command(number: u8, size: usize) -> Vec<u8> {
    let topic = format!("trtc.cmd.{number}");
    let mut user = vec![0x12];
    let mut length = size;
    while length >= 128 {
        user.push(length as u8 | 128);
        length >>= 7;
    }
    user.push(length as u8);
    user.extend(vec![b'x'; size]);
    user.extend([0x22, topic.len() as u8]);
    user.extend(topic.as_bytes());
    let (low, high) = (user.len() as u8 | 128, (user.len() >> 7) as u8);
    [&[0x12, low, high][..], &user].concat()
}

fn refused(world: &World) -> Vec<(Refusal, u64)> {
    let mut all: Vec<(Refusal, u64)> = Vec::new();
    for event in &world.events {
        let Event::DataRefused { reason, count, participant } = event else { continue };
        assert_eq!(participant.as_str(), "alice");
        match all.iter_mut().find(|(known, _)| known == reason) {
            Some((_, sum)) => *sum += count,
            None => all.push((*reason, *count)),
        }
    }
    all
}

#[test]
fn messages_without_the_right_are_dropped_and_counted() {
    let mut meeting = meeting(Rights::default());
    let (alice, bob) = (meeting.alice, meeting.bob);
    let world = &mut meeting.world;
    world.send_message(alice, "_reliable", &command(1, 200));
    world.run(50 * MS);
    assert_eq!(world.clients[bob].messages.len(), 1);
    world.set_rights(alice, without(|r| r.data = false));
    for label in ["_reliable", "_lossy", "_reliable"] {
        world.send_message(alice, label, &command(1, 200));
    }
    world.run(1200 * MS);
    assert_eq!(world.clients[bob].messages.len(), 1);
    assert_eq!(refused(world), [(Refusal::NoRight, 3)]);
    world.set_rights(alice, Rights::default());
    world.send_message(alice, "_reliable", &command(1, 200));
    world.run(50 * MS);
    assert_eq!(world.clients[bob].messages.len(), 2);
    world.set_rights(alice, without(|r| r.data = false));
    for _ in 0..2 {
        world.send_message(alice, "_reliable", &command(1, 200));
        world.run(200 * MS);
    }
    world.command(Command::RemoveParticipant { participant: "alice".into() });
    assert_eq!(refused(world), [(Refusal::NoRight, 5)], "also of one that leaves before it is told");
}

#[test]
fn custom_commands_keep_to_their_limits_and_what_exceeds_is_told_once_a_second() {
    let mut meeting = meeting(Rights::default());
    let (alice, bob, carol) = (meeting.alice, meeting.bob, meeting.carol);
    let world = &mut meeting.world;
    for n in 0..100 {
        world.send_message(alice, if n % 2 == 0 { "_reliable" } else { "_lossy" }, &command(10, 130));
    }
    world.send_message(alice, "_reliable", &command(11, 130));
    world.send_message(alice, "_reliable", &command(1, 1001));
    world.send_message(alice, "_reliable", b"\xff\xff");
    // Another sender and another topic have allowances of their own.
    world.send_message(bob, "_reliable", &command(2, 1000));
    world.send_message(alice, "_reliable", &[0x12, 4, 0x12, 2, b'h', b'i']);
    world.run(50 * MS);
    assert_eq!(world.clients[carol].messages.len(), 32);
    let told = world.events.iter().filter(|e| matches!(e, Event::DataRefused { .. })).count();
    assert!(told <= 4, "{told}");
    world.run(1500 * MS);
    let mut counts = refused(world);
    counts.sort_unstable();
    let expected =
        [(Refusal::Malformed, 1), (Refusal::Forbidden, 1), (Refusal::TooLarge, 1), (Refusal::TooMany, 70)];
    assert_eq!(counts, expected);
    // The allowance comes back; the server's own commands have none.
    world.send_message(alice, "_reliable", &command(10, 1000));
    for _ in 0..50 {
        let packet = command(1, 1000);
        world.command(Command::SendData { participants: vec!["carol".into()], reliable: true, packet });
    }
    world.run(300 * MS);
    assert_eq!(world.clients[carol].messages.len(), 32 + 51);
}

#[test]
fn a_reliable_message_that_does_not_fit_any_more_is_counted_for_who_misses_it() {
    let mut meeting = meeting(Rights::default());
    let (bob, carol) = (meeting.bob, meeting.carol);
    let world = &mut meeting.world;
    let (from, until) = (world.now, world.now + Duration::from_secs(3));
    world.cut(bob, from, until);
    let (mut packet, size) = (vec![0x12], 32 * 1024u32);
    // A user packet (field 2) with a payload (field 2) of so many bytes.
    let varint = |n: u32| [n as u8 | 0x80, (n >> 7) as u8 | 0x80, (n >> 14) as u8];
    packet.extend(varint(size + 4));
    packet.push(0x12);
    packet.extend(varint(size));
    packet.resize(packet.len() + size as usize, 7);
    for _ in 0..200 {
        let packet = packet.clone();
        world.command(Command::SendData { participants: vec![], reliable: true, packet });
        world.run(10 * MS);
    }
    world.run(Duration::from_secs(8));
    let mut missed = 0;
    for event in &world.events {
        if let Event::DataRefused { participant, reason, count } = event {
            assert_eq!((participant.as_str(), *reason), ("bob", Refusal::Undelivered));
            missed += count;
        }
    }
    assert!((50..200).contains(&missed), "{missed} did not fit into 4 MiB");
    let received = |client: usize| world.clients[client].messages.len() as u64;
    assert_eq!(received(carol), 200, "nobody else misses anything");
    assert!(received(bob) >= 200 - missed && received(bob) < 200, "{} of {missed}", received(bob));
}
