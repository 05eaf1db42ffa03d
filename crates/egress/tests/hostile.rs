//! A client that holds the keys and means no good costs bounded work and gets a bounded answer.

mod peer;

use std::time::Instant;

use peer::{AUDIO, Peer, RTX, VIDEO, nack, received, received_as, report, rtcp, transport};
use rtcloud_egress::{Feedback, Heard, PacketResult, Profile};

fn peer() -> Peer {
    Peer::new(Profile::AeadAes128Gcm, true)
}

#[test]
fn asking_for_all_numbers_gets_what_is_there_once() {
    let mut peer = peer();
    peer.send(0..400);
    let sent = peer.sink.count;
    let pairs: Vec<(u16, u16)> = (0..300).map(|i| (i * 17, u16::MAX)).collect();
    for _ in 0..20 {
        assert_eq!(peer.say(&nack(VIDEO, &pairs)), Heard::Ours);
    }
    for _ in 0..100 {
        peer.pass(1);
        peer.poll();
    }
    let repeated = peer.sink.count - sent;
    assert!((150..=400).contains(&repeated), "{repeated}");
    assert_eq!(peer.egress.stats(peer.video).nacks, 20 * 300 * 17);
}

#[test]
fn repetitions_take_no_more_than_the_media_and_a_burst() {
    let mut peer = peer();
    let (mut media, mut all) = (0, 0);
    for frame in 0..300u64 {
        let before = peer.sink.bytes;
        for index in 0..5 {
            peer.write(peer.video, frame * 5 + index, index == 4);
        }
        peer.poll();
        media += peer.sink.bytes - before;
        for _ in 0..33 {
            peer.pass(1);
            let newest = (frame * 5 + 4) as u16;
            let pairs: Vec<(u16, u16)> = (0..30).map(|i| (newest.wrapping_sub(i * 17), u16::MAX)).collect();
            peer.say(&nack(VIDEO, &pairs));
            peer.poll();
        }
        all = peer.sink.bytes;
    }
    assert!(all < media * 2 + 256 * 1024, "{all} for {media}");
    assert!(all > media * 3 / 2, "{all} for {media}");
}

#[test]
fn one_number_is_repeated_once_per_round_trip() {
    let mut peer = peer();
    peer.send(0..10);
    let sent = peer.sink.count;
    for _ in 0..40 {
        peer.say(&nack(VIDEO, &[(3, 0)]));
        peer.poll();
        peer.pass(1);
    }
    assert_eq!(peer.sink.count - sent, 1);
    peer.pass(100);
    peer.say(&nack(VIDEO, &[(3, 0)]));
    peer.poll();
    assert_eq!(peer.sink.count - sent, 2);
}

#[test]
fn feedback_about_all_numbers_is_about_what_was_sent() {
    let mut peer = peer();
    peer.send(0..3000);
    let begun = Instant::now();
    for _ in 0..100 {
        // 65,535 lost packets, in a few bytes.
        peer.say(&transport(0, u16::MAX, 0, &[0x1fff; 9], &[]));
    }
    assert!(peer.egress.results().is_empty(), "each is told of once");
    let lost = peer.feedback.iter().filter(|f| **f == Feedback::Transport).count();
    assert_eq!(lost, 1);
    assert!(begun.elapsed().as_millis() < 1000, "{:?}", begun.elapsed());
    peer.say(&received(4000, 100, 0));
    assert!(peer.egress.results().is_empty(), "what was never sent did not arrive");
}

#[test]
fn clocks_that_jump_and_wrap_do_no_harm() {
    let mut peer = peer();
    let mut arrivals = Vec::new();
    // Up to the overflow of 24 bits and across it, 64 ms a step.
    for (number, reference) in
        [0xff_fff0u32, 0xff_ffff, 0x00_0001, 0x00_0000, 0x80_0000, 5].into_iter().enumerate()
    {
        peer.send(number as u64..number as u64 + 1);
        peer.say(&received(number as u16, 1, reference));
        arrivals.extend(peer.egress.results().iter().filter_map(|r| r.arrival));
    }
    assert_eq!(arrivals.len(), 6);
    let step = |from: usize, to: usize| arrivals[to].as_millis() as i64 - arrivals[from].as_millis() as i64;
    assert_eq!(step(0, 1), 15 * 64);
    assert_eq!(step(1, 2), 2 * 64);
    assert_eq!(step(2, 3), -64);
}

#[test]
fn what_was_lost_may_still_arrive() {
    let mut peer = peer();
    peer.send(0..4);
    peer.say(&transport(0, 4, 0, &[4], &[]));
    assert_eq!(peer.egress.results().iter().filter(|r| r.arrival.is_none()).count(), 4);
    peer.say(&received(1, 2, 0));
    let numbers: Vec<u64> = peer.egress.results().iter().map(|r| r.number).collect();
    assert_eq!(numbers, [1, 2]);
    peer.say(&received(0, 4, 0));
    let numbers: Vec<u64> = peer.egress.results().iter().map(|r| r.number).collect();
    assert_eq!(numbers, [0, 3]);
}

#[test]
fn what_feedback_passes_over_is_lost_unless_feedback_is_missing() {
    let mut peer = peer();
    peer.send(0..40);
    let mut told = |number: u8, base: u16, count: u16| {
        peer.say(&received_as(number, base, count));
        let lost = |r: &PacketResult| r.arrival.is_none().then_some(r.number);
        peer.egress.results().iter().filter_map(lost).collect::<Vec<_>>()
    };
    assert_eq!(told(254, 0, 3), []);
    assert_eq!(told(255, 5, 2), [3, 4]);
    assert_eq!(told(0, 9, 1), [7, 8]);
    assert_eq!(told(2, 14, 1), [], "another may have told of them");
    assert_eq!(told(3, 11, 1), [], "what comes late passes over nothing");
    assert_eq!(told(4, 20, 1), []);
    assert_eq!(told(5, 22, 1), [21]);
    assert_eq!(told(6, 2000, 1), [], "what was never sent was not lost");
}

#[test]
fn forged_reports_give_no_absurd_round_trips() {
    let mut peer = peer();
    peer.send(0..10);
    for (last, delay) in [(1, 0), (u32::MAX, u32::MAX), (0x8000_0000, 7), (5, u32::MAX)] {
        peer.say(&report(VIDEO, 255, last, delay));
    }
    for feedback in &peer.feedback {
        if let Feedback::Loss { rtt: Some(rtt), fraction, .. } = feedback {
            assert!(rtt.as_secs() < 10 && *fraction < 1.0);
        }
    }
    assert_eq!(peer.egress.stats(peer.video).reports, 4);
}

#[test]
fn what_is_about_the_receiving_half_is_shared() {
    let mut peer = peer();
    peer.send(0..3);
    assert_eq!(peer.say(&report(VIDEO, 0, 0, 0)), Heard::Ours);
    assert_eq!(peer.say(&report(RTX, 0, 0, 0)), Heard::Ours);
    assert_eq!(peer.say(&report(7, 0, 0, 0)), Heard::Shared);
    assert_eq!(peer.say(&nack(7, &[(1, 1)])), Heard::Shared);
    assert_eq!(peer.say(&rtcp(1, 203, &[])), Heard::Shared, "BYE");
    assert_eq!(peer.say(&rtcp(0, 200, &[0; 20])), Heard::Shared, "sender report");
    assert_eq!(peer.say(&rtcp(1, 206, &AUDIO.to_be_bytes())), Heard::Ours);
    assert_eq!(peer.say(&rtcp(1, 206, &7u32.to_be_bytes())), Heard::Shared);
    let keyframes = peer.feedback.iter().filter(|f| matches!(f, Feedback::Keyframe { .. })).count();
    assert_eq!(keyframes, 1);
}

#[test]
fn a_repeated_intra_request_is_one_request() {
    let mut peer = peer();
    let fir = |number| {
        let mut body = vec![0; 4];
        body.extend(VIDEO.to_be_bytes());
        body.extend([number, 0, 0, 0]);
        rtcp(4, 206, &body)
    };
    for number in [1, 1, 1, 2] {
        peer.say(&fir(number));
    }
    assert_eq!(peer.feedback.len(), 2);
    assert_eq!(peer.egress.stats(peer.video).firs, 4);
}

#[test]
fn nothing_that_an_authentic_client_says_does_harm() {
    let mut rng = fastrand::Rng::with_seed(11);
    let mut peer = peer();
    let mut seq = 0;
    for _ in 0..20_000 {
        peer.send(seq..seq + 2);
        seq += 2;
        let mut compound = Vec::new();
        for _ in 0..rng.usize(1..4) {
            let words = rng.usize(0..12);
            let mut body: Vec<u8> = (0..words * 4).map(|_| rng.u8(..)).collect();
            if body.len() >= 4 && rng.bool() {
                body[..4].copy_from_slice(&rng.choice([VIDEO, RTX, AUDIO]).unwrap().to_be_bytes());
            }
            compound.extend(rtcp(rng.u8(0..32), rng.u8(198..210), &body));
        }
        if rng.bool() {
            let len = compound.len();
            compound[rng.usize(8..len.max(9)) % len] ^= rng.u8(..);
        }
        assert_ne!(peer.say(&compound), Heard::Strange);
        peer.feedback.clear();
        peer.pass(rng.u64(0..20));
        peer.poll();
    }
    // It goes on as before.
    let packets = peer.egress.stats(peer.video).packets;
    peer.send(seq..seq + 10);
    assert_eq!(peer.egress.stats(peer.video).packets, packets + 10);
}

#[test]
fn noise_is_strange() {
    let mut rng = fastrand::Rng::with_seed(12);
    for profile in [Profile::AeadAes128Gcm, Profile::AeadAes256Gcm, Profile::Aes128CmSha1_80] {
        let mut peer = Peer::new(profile, true);
        for _ in 0..20_000 {
            let mut noise: Vec<u8> = (0..rng.usize(0..100)).map(|_| rng.u8(..)).collect();
            if noise.len() > 2 {
                (noise[0], noise[1]) = (0x80, 201);
            }
            let heard = peer.egress.handle_rtcp(&noise, peer.now, &mut peer.feedback);
            assert_eq!(heard, Heard::Strange);
        }
        let long = vec![0x80; 70_000];
        assert_eq!(peer.egress.handle_rtcp(&long, peer.now, &mut peer.feedback), Heard::Strange);
        assert!(peer.feedback.is_empty());
    }
}
