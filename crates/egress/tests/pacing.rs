//! Where it is known what the network carries, pictures wait for their turn, and sound does not.

mod peer;

use peer::{Peer, VIDEO, nack};
use rtcloud_egress::{Pacing, Profile};

const RATE: u64 = 400_000;

/// A peer whose network carries [`RATE`].
fn narrow() -> Peer {
    let mut peer = Peer::new(Profile::AeadAes128Gcm, true);
    peer.egress.set_pacing(Pacing { repetitions: Some(RATE), pictures: Some(RATE) });
    peer
}

/// A key picture of as many packets, beginning with a number.
fn key_picture(peer: &mut Peer, from: u64, packets: u64) {
    for seq in from..from + packets {
        peer.write(peer.video, seq, seq + 1 == from + packets);
    }
}

/// Bits of video in so many milliseconds, polled when it is due.
fn bits_in(peer: &mut Peer, millis: u64) -> f64 {
    let (before, end) =
        (peer.egress.stats(peer.video).bytes, peer.now + std::time::Duration::from_millis(millis));
    while peer.now < end {
        peer.pass(1);
        if peer.egress.next_timeout().is_some_and(|at| at <= peer.now) {
            peer.poll();
        }
    }
    (peer.egress.stats(peer.video).bytes - before) as f64 * 8.0
}

#[test]
fn a_key_picture_leaves_no_faster_than_the_network_carries() {
    let mut peer = narrow();
    key_picture(&mut peer, 1, 20);
    peer.poll();
    assert!(peer.sink.count <= 2, "{} at once", peer.sink.count);
    let bits = bits_in(&mut peer, 300);
    assert!((100_000.0..140_000.0).contains(&bits), "{bits} in 300 ms");
    bits_in(&mut peer, 300);
    assert_eq!(peer.egress.stats(peer.video).packets, 20);
    assert_eq!(peer.egress.stats(peer.video).padding_bytes, 0, "there is no room for it");
}

#[test]
fn sound_goes_past_what_waits() {
    let mut peer = narrow();
    key_picture(&mut peer, 1, 20);
    peer.poll();
    for seq in 1..10 {
        peer.write(peer.audio, seq, true);
        peer.poll();
        assert_eq!(peer.egress.stats(peer.audio).packets, seq);
    }
    assert!(peer.egress.stats(peer.video).packets < 5);
}

#[test]
fn nothing_waits_longer_than_a_second() {
    let mut peer = narrow();
    // Eight times as much as the network is believed to carry, all the time.
    for second in 0..10 {
        for frame in 0..30 {
            key_picture(&mut peer, 1 + (second * 30 + frame) * 12, 12);
            bits_in(&mut peer, 33);
        }
    }
    let lacks = 3600 - peer.egress.stats(peer.video).packets;
    assert!(lacks <= 370, "{lacks} packets wait, of 360 a second");
    assert_eq!(peer.egress.stats(peer.video).dropped, 0);
}

#[test]
fn repetitions_and_pictures_share_what_there_is() {
    let mut peer = narrow();
    peer.egress.set_pacing(Pacing::default());
    peer.send(1..40);
    peer.egress.set_pacing(Pacing { repetitions: Some(RATE), pictures: Some(RATE) });
    peer.sink.bytes = 0;
    key_picture(&mut peer, 40, 20);
    peer.say(&nack(VIDEO, &[(20, 0xff)]));
    bits_in(&mut peer, 300);
    let bits = peer.sink.bytes as f64 * 8.0;
    assert!((100_000.0..145_000.0).contains(&bits), "{bits} in 300 ms");
    assert!(peer.egress.stats(peer.video).resent >= 8, "what was lost is late already");
}

#[test]
fn what_is_given_up_neither_leaves_nor_is_repeated() {
    let mut peer = narrow();
    key_picture(&mut peer, 1, 20);
    peer.poll();
    let sent = peer.egress.stats(peer.video).packets;
    peer.say(&nack(VIDEO, &[(1, 0)]));
    peer.egress.give_up(peer.video);
    bits_in(&mut peer, 500);
    peer.say(&nack(VIDEO, &[(1, 0)]));
    bits_in(&mut peer, 500);
    let stats = peer.egress.stats(peer.video);
    assert_eq!((stats.packets, stats.resent, stats.dropped), (sent, 0, 20 - sent));
    // What comes after that does leave.
    key_picture(&mut peer, 21, 1);
    bits_in(&mut peer, 50);
    assert_eq!(peer.egress.stats(peer.video).packets, sent + 1);
}

#[test]
fn streams_take_turns() {
    let mut peer = narrow();
    let other = peer.add_video(0x5555);
    key_picture(&mut peer, 1, 30);
    for seq in 1..5 {
        peer.write(other, seq, seq == 4);
    }
    bits_in(&mut peer, 250);
    assert!(peer.egress.stats(peer.video).packets >= 4);
    assert_eq!(peer.egress.stats(other).packets, 4);
}
