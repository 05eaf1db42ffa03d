//! What subscribers say of what they get, and what becomes of it.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod world;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use rtcloud_sfu::{Command, Event, Kind, ParticipantId, Rights, Target, TransportState};
use str0m::RtcConfig;
use str0m::format::Codec;
use str0m::media::{Mid, Pt};

use world::{World, is_run};

const MS: Duration = Duration::from_millis(1);

fn is_rtcp(contents: &[u8]) -> bool {
    matches!(contents, [128..=191, 192..=223, ..])
}

fn is_rtp(contents: &[u8]) -> bool {
    matches!(contents, [128..=191, ..]) && !is_rtcp(contents)
}

fn ssrc(contents: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(contents[at..at + 4].try_into().unwrap())
}

/// A publisher of video and a subscriber with this configuration.
fn pair_with(config: RtcConfig) -> (World, usize, usize, Mid) {
    let mut world = World::new();
    let alice = world.join("alice", Duration::ZERO);
    let mid = world.publish(alice, "camera", Kind::Video, &[("", 1280, 720)]);
    world.connect(alice);
    let id = ParticipantId::from("bob");
    world.command(Command::AddParticipant {
        participant: id.clone(),
        identity: "bob".to_owned(),
        single: true,
        fixed: false,
        adaptive: true,
        rights: Rights::default(),
    });
    let bob = world.add_client_of(id, Target::Single, Duration::ZERO, config.set_rtp_mode(true));
    world.receive(bob, "camera");
    (world, alice, bob, mid)
}

fn pair() -> (World, usize, usize, Mid) {
    pair_with(RtcConfig::new())
}

fn play(world: &mut World, alice: usize, mid: Mid, frames: usize) {
    for frame in 0..frames {
        world.send(alice, mid, None, Codec::H264, frame == 0, 4);
        world.run(33 * MS);
    }
}

/// One media packet of twenty toward subscribers is lost; what went down is noted by SSRC.
fn lose_some(world: &mut World) -> Rc<RefCell<HashMap<u32, usize>>> {
    let noted = Rc::new(RefCell::new(HashMap::new()));
    let (notes, mut seen) = (Rc::clone(&noted), 0u32);
    world.lose = Some(Box::new(move |down, contents| {
        if !down || !is_rtp(contents) {
            return false;
        }
        *notes.borrow_mut().entry(ssrc(contents, 8)).or_default() += 1;
        seen += 1;
        seen.is_multiple_of(20)
    }));
    noted
}

#[test]
fn what_is_lost_is_repeated_in_the_stream_beside() {
    let (mut world, alice, bob, mid) = pair();
    let noted = lose_some(&mut world);
    play(&mut world, alice, mid, 100);
    world.run(1000 * MS);
    let mut sequences = world.clients[bob].sequences();
    sequences.sort_unstable();
    sequences.dedup();
    assert!(sequences.len() >= 399 && is_run(&sequences), "{}", sequences.len());
    let media = *world.clients[bob].packets[0].header.ssrc;
    let noted = noted.borrow();
    assert_eq!(noted[&media], 400, "nothing is repeated in the stream itself");
    let beside: usize = noted.iter().filter(|(ssrc, _)| **ssrc != media).map(|(_, count)| count).sum();
    assert!((18..60).contains(&beside), "{noted:?}");
}

#[test]
fn who_has_no_stream_beside_gets_it_in_the_same() {
    let mut config = RtcConfig::new().clear_codecs().enable_opus(true, false);
    config.codec_config().add_h264(Pt::from(108), None, true, 0x0042_e01f);
    let (mut world, alice, bob, mid) = pair_with(config);
    let line = world.clients[bob].mid_of("camera");
    let mut api = world.clients[bob].rtc.direct_api();
    api.stream_rx_by_mid(line, None).unwrap().suppress_nack(false);
    let noted = lose_some(&mut world);
    play(&mut world, alice, mid, 100);
    world.run(1000 * MS);
    let mut sequences = world.clients[bob].sequences();
    sequences.sort_unstable();
    sequences.dedup();
    assert!(sequences.len() >= 399 && is_run(&sequences), "{}", sequences.len());
    let noted = noted.borrow();
    assert_eq!(noted.len(), 1, "{noted:?}");
    assert!(noted.values().all(|count| (418..460).contains(count)), "{noted:?}");
}

#[test]
fn who_never_reports_is_sent_to_all_the_same() {
    let (mut world, alice, bob, mid) = pair();
    world.lose = Some(Box::new(|down, contents| !down && is_rtcp(contents)));
    play(&mut world, alice, mid, 600);
    assert_eq!(world.clients[bob].packets.len(), 2400);
    let lost = |e: &Event| matches!(e, Event::TransportChanged { state: TransportState::Disconnected, .. });
    assert!(!world.events.iter().any(lost));
}

#[test]
fn what_was_said_once_is_not_heard_again() {
    let (mut world, alice, bob, mid) = pair();
    play(&mut world, alice, mid, 30);
    let line = world.clients[bob].mid_of("camera");
    let said: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
    let notes = Rc::clone(&said);
    world.lose = Some(Box::new(move |down, contents| {
        if !down && is_rtcp(contents) {
            notes.borrow_mut().push(contents.to_vec());
        }
        false
    }));
    world.request_keyframe(bob, line);
    world.run(500 * MS);
    world.lose = None;
    let wanted = world.clients[alice].keyframes_wanted.len();
    let said = said.borrow();
    assert!(!said.is_empty());
    let address = world.clients[bob].address;
    for _ in 0..20 {
        for datagram in said.iter() {
            world.deliver_to_room(address, datagram);
        }
        world.run(50 * MS);
    }
    assert_eq!(world.clients[alice].keyframes_wanted.len(), wanted);
}

#[test]
fn what_only_looks_like_feedback_changes_nothing() {
    let (mut world, alice, bob, mid) = pair();
    play(&mut world, alice, mid, 10);
    let (address, wanted) = (world.clients[bob].address, world.clients[alice].keyframes_wanted.len());
    let mut state = 1u64;
    for n in 0..3000usize {
        let mut garbage = vec![0; 8 + n % 1200];
        for byte in &mut garbage {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (state >> 56) as u8;
        }
        (garbage[0], garbage[1]) = (0x80 | garbage[0] & 0x3f, 192 + garbage[1] % 32);
        world.deliver_to_room(address, &garbage);
    }
    let before = world.clients[bob].packets.len();
    play(&mut world, alice, mid, 10);
    assert_eq!(world.clients[bob].packets.len() - before, 40);
    assert_eq!(world.clients[alice].keyframes_wanted.len(), wanted);
}

#[test]
fn no_number_is_sealed_twice_under_one_key() {
    // Both publish and subscribe on one connection, and lose in both directions: both halves speak under one key.
    let mut world = World::new();
    let names = ["alice", "bob"];
    let clients = names.map(|name| world.join(name, Duration::ZERO));
    let mut lines = Vec::new();
    for (client, name) in clients.into_iter().zip(names) {
        let camera = world.publish(client, &format!("{name}-camera"), Kind::Video, &[("", 1280, 720)]);
        world.connect(client);
        let mic = world.publish(client, &format!("{name}-mic"), Kind::Audio, &[]);
        world.run(50 * MS);
        lines.push((client, camera, mic));
    }
    for (client, other) in [(clients[0], "bob"), (clients[1], "alice")] {
        world.subscribe(client, &format!("{other}-camera"));
        world.subscribe(client, &format!("{other}-mic"));
    }
    world.run(100 * MS);
    type Sealed = HashMap<(usize, bool, u32, u32), Vec<u8>>;
    let sealed: Rc<RefCell<Sealed>> = Rc::default();
    let (notes, mut seen) = (Rc::clone(&sealed), 0u32);
    // Which of the two it is for is told by the SSRCs: they are different everywhere.
    world.lose = Some(Box::new(move |down, contents| {
        let key = match contents {
            _ if !down => None,
            _ if is_rtcp(contents) => Some((0, true, ssrc(contents, 4), ssrc(contents, contents.len() - 4))),
            [_, _, a, b, ..] if is_rtp(contents) => {
                Some((0, false, ssrc(contents, 8), u16::from_be_bytes([*a, *b]).into()))
            }
            _ => None,
        };
        if let Some(key) = key {
            let before = notes.borrow_mut().insert(key, contents.to_vec());
            assert!(before.is_none_or(|before| before == contents), "{key:?}");
        }
        seen += 1;
        seen.is_multiple_of(17)
    }));
    for frame in 0..200 {
        for &(client, camera, mic) in &lines {
            world.send(client, camera, None, Codec::H264, frame % 50 == 0, 3);
            world.send(client, mic, None, Codec::Opus, true, 1);
        }
        world.run(33 * MS);
    }
    assert!(clients.iter().all(|c| world.clients[*c].packets.len() > 500));
    let sealed = sealed.borrow();
    assert!(sealed.keys().filter(|(_, rtcp, ..)| *rtcp).count() > 20);
}

#[test]
fn nothing_is_sent_to_who_has_left() {
    let (mut world, alice, bob, mid) = pair();
    play(&mut world, alice, mid, 10);
    // Half of a frame is held for the rest of it when he leaves.
    world.send(alice, mid, None, Codec::H264, false, 1);
    world.run(2 * MS);
    let address = world.clients[bob].address;
    world.leave(bob);
    let before = world.sent[&address].0;
    play(&mut world, alice, mid, 60);
    assert_eq!(world.sent[&address].0, before);
}

#[test]
fn round_trips_are_told_although_reports_are_rare() {
    let (mut world, alice, bob, mid) =
        pair_with(RtcConfig::new().set_rtcp_report_interval_video(Duration::from_secs(5)));
    play(&mut world, alice, mid, 240);
    world.events.clear();
    play(&mut world, alice, mid, 240);
    let bob = &world.clients[bob].id;
    let told = |e: &Event| match e {
        Event::Quality { participant, rtt_ms, .. } if participant == bob => Some(*rtt_ms),
        _ => None,
    };
    let told: Vec<f64> = world.events.iter().filter_map(told).collect();
    assert!(told.len() >= 3 && told.iter().all(|rtt| (9.0..14.0).contains(rtt)), "{told:?}");
}
