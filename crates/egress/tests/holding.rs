//! When packets leave.

mod peer;

use std::time::Duration;

use peer::{Peer, VIDEO, nack};
use rtcloud_egress::{Extensions, Pacing, Profile};

fn peer() -> Peer {
    let mut peer = Peer::new(Profile::AeadAes128Gcm, true);
    // The reports of both streams are out of the way.
    peer.send(0..1);
    peer.write(peer.audio, 0, false);
    peer.poll();
    peer.sink.count = 0;
    peer
}

#[test]
fn a_frame_leaves_with_its_last_packet() {
    let mut peer = peer();
    peer.write(peer.video, 1, false);
    peer.write(peer.video, 2, false);
    assert!(!peer.egress.has_waiting());
    peer.poll();
    assert_eq!(peer.sink.count, 0);
    peer.write(peer.video, 3, true);
    assert!(peer.egress.has_waiting());
    peer.poll();
    assert_eq!(peer.sink.count, 3);
    assert!(!peer.egress.has_waiting());
}

#[test]
fn a_frame_that_does_not_end_leaves_after_the_hold() {
    let mut peer = peer();
    let begun = peer.now;
    peer.write(peer.video, 1, false);
    peer.pass(4);
    peer.write(peer.video, 2, false);
    peer.poll();
    assert_eq!(peer.sink.count, 0);
    assert_eq!(peer.egress.next_timeout(), Some(begun + Duration::from_millis(5)));
    peer.pass(1);
    peer.poll();
    assert_eq!(peer.sink.count, 2);
}

#[test]
fn sound_is_not_held_and_does_not_push_pictures() {
    let mut peer = peer();
    peer.write(peer.video, 1, false);
    peer.write(peer.audio, 1, false);
    assert!(peer.egress.has_waiting());
    peer.poll();
    assert_eq!(peer.sink.count, 1);
    assert_eq!(peer.egress.stats(peer.audio).packets, 2);
}

#[test]
fn a_number_that_was_used_is_not_sent_again() {
    let mut peer = peer();
    for seq in [1, 2, 2, 1, 3] {
        peer.write(peer.video, seq, true);
        peer.poll();
    }
    assert_eq!(peer.sink.count, 3);
    assert_eq!(peer.egress.stats(peer.video).dropped, 2);
    peer.write(peer.video, 1 << 48, true);
    peer.write(peer.video, 2, true);
    assert!(!peer.egress.has_waiting());
}

#[test]
fn what_finds_the_queue_full_is_not_sent() {
    let mut peer = peer();
    for seq in 1..=2100 {
        peer.write(peer.video, seq, false);
    }
    peer.poll();
    assert_eq!(peer.sink.count, 2048);
    assert_eq!(peer.egress.stats(peer.video).dropped, 52);
}

#[test]
fn a_plain_repetition_is_the_same_datagram_or_none() {
    let mut peer = Peer::new(Profile::AeadAes128Gcm, false);
    peer.send(0..1);
    peer.pass(20);
    peer.send(1..2);
    let first = peer.sink.datagram().to_vec();
    peer.pass(20);
    peer.send(2..3);
    peer.say(&nack(VIDEO, &[(1, 0)]));
    peer.poll();
    assert_eq!(peer.sink.datagram(), first);
    let count = peer.sink.count;
    // With other identifiers it would be another datagram under the same number.
    peer.egress.set_extensions(peer.video, Extensions::default());
    peer.pass(500);
    peer.say(&nack(VIDEO, &[(1, 0)]));
    peer.poll();
    assert_eq!(peer.sink.count, count);
}

#[test]
fn many_repetitions_leave_a_few_at_a_time() {
    let mut peer = peer();
    peer.send(1..150);
    peer.sink.count = 0;
    let pairs: Vec<(u16, u16)> = (0..6).map(|i| (i * 17 + 1, u16::MAX)).collect();
    peer.say(&nack(VIDEO, &pairs));
    peer.poll();
    assert_eq!(peer.sink.count, 32);
    peer.poll();
    assert_eq!(peer.sink.count, 32);
    assert_eq!(peer.egress.next_timeout(), Some(peer.now + Duration::from_millis(5)));
    for _ in 0..3 {
        peer.pass(5);
        peer.poll();
    }
    assert_eq!(peer.sink.count, 102);
    // What is asked for later waits for nothing.
    peer.pass(20);
    peer.say(&nack(VIDEO, &[(149, 0)]));
    assert!(peer.egress.has_waiting());
}

#[test]
fn repetitions_take_no_more_than_the_network_carries() {
    let mut peer = peer();
    peer.send(1..60);
    (peer.sink.count, peer.sink.bytes) = (0, 0);
    peer.egress.set_pacing(Pacing { repetitions: Some(400_000), pictures: None });
    peer.say(&nack(VIDEO, &[(1, u16::MAX), (18, u16::MAX)]));
    for _ in 0..290 {
        peer.poll();
        peer.pass(1);
    }
    // A twentieth of a second's worth goes at once, and nothing is saved up.
    let bits = peer.sink.bytes as f64 * 8.0;
    assert!((100_000.0..145_000.0).contains(&bits), "{bits} in 290 ms");
    assert!(peer.sink.count < 20);
    // What has waited too long is not sent any more, and can be asked for again.
    peer.pass(100);
    let count = peer.sink.count;
    peer.poll();
    assert_eq!(peer.sink.count, count);
    peer.egress.set_pacing(Pacing::default());
    peer.pass(100);
    peer.say(&nack(VIDEO, &[(30, 0)]));
    peer.poll();
    assert_eq!(peer.sink.count, count + 1);
}

#[test]
fn who_asks_again_for_what_waits_gets_it_once() {
    let mut peer = peer();
    peer.send(1..30);
    peer.sink.count = 0;
    peer.egress.set_pacing(Pacing { repetitions: Some(1_000_000), pictures: None });
    for _ in 0..20 {
        peer.say(&nack(VIDEO, &[(1, 0x3ff)]));
        peer.poll();
        peer.pass(5);
    }
    assert!((11..=22).contains(&peer.sink.count), "{} for 11, twice a round trip", peer.sink.count);
}

#[test]
fn a_silent_client_is_not_woken_for_ever() {
    let mut peer = peer();
    peer.send(1..10);
    for _ in 0..10 {
        let Some(at) = peer.egress.next_timeout() else { break };
        peer.now = peer.now.max(at);
        peer.poll();
    }
    assert_eq!(peer.egress.next_timeout(), None);
}
