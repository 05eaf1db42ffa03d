//! What is sent is what a str0m client receives, and what it answers is understood.

mod pair;

use std::collections::HashSet;
use std::time::Duration;

use pair::{Pair, UNIX, payload, tap};
use rtcloud_egress::{Feedback, Heard, Profile};

const PROFILES: [Profile; 3] = [Profile::Aes128CmSha1_80, Profile::AeadAes128Gcm, Profile::AeadAes256Gcm];

/// Frames of nearly equal packets, as encoders make them, 30 times a second.
fn stream(pair: &mut Pair, first: u64, frames: u64) -> Vec<u64> {
    for frame in 0..frames {
        pair.send_video(first + frame * 4, &[1000, 1001, 999, 700]);
        pair.run(33);
    }
    (first..first + frames * 4).collect()
}

#[test]
fn every_packet_arrives_as_it_was_written() {
    for profile in PROFILES {
        tap::choose(profile);
        for padding in [false, true] {
            let mut pair = Pair::new(true, padding);
            // Across the overflow of sequence numbers.
            let sent = stream(&mut pair, 65_536 - 80, 40);
            for seq in 100..150 {
                pair.send_audio(seq, -30);
                pair.run(20);
            }
            pair.run(100);
            let mut came = pair.video_numbers();
            came.sort_unstable();
            assert_eq!(came.len(), sent.len(), "{profile:?}");
            // The client cannot know how often the numbers overflowed before it came.
            assert!(came.windows(2).all(|w| w[1] == w[0] + 1), "{came:?}");
            for packet in &pair.packets {
                let video = *packet.header.payload_type == pair.video_pt.0;
                let seq = *packet.seq_no;
                if video {
                    let low = u64::from_be_bytes(packet.payload[2..10].try_into().unwrap());
                    assert_eq!(low as u16, seq as u16);
                    assert!(packet.payload[..] == payload(low, packet.payload.len())[..], "{seq}");
                } else {
                    assert_eq!(packet.header.ext_vals.audio_level, Some(-30));
                    assert_eq!(packet.header.ext_vals.voice_activity, Some(true));
                    assert!(packet.payload[..] == payload(seq, 80)[..]);
                }
            }
            let audio = pair.packets.len() - came.len();
            assert_eq!(audio, 50);
            let stats = pair.egress.stats(pair.video);
            assert_eq!((stats.packets, stats.resent), (160, 0));
            assert_eq!(stats.padding_bytes > 0, padding);
        }
    }
}

#[test]
fn padded_packets_of_a_frame_are_equal_but_the_last() {
    let mut pair = Pair::new(true, true);
    // Until the client needs no MID any more.
    stream(&mut pair, 1, 30);
    pair.sent.clear();
    pair.send_video(500, &[1000, 1001, 999, 1010, 700]);
    pair.send_video(505, &[300, 1000, 1001]);
    let sizes: Vec<usize> = pair.sent.iter().map(Vec::len).collect();
    assert_eq!(sizes.len(), 8);
    assert!(sizes[..4].iter().all(|s| *s == sizes[3]), "{sizes:?}");
    assert!(sizes[4] < sizes[3] && sizes[5] < sizes[6] && sizes[6] == sizes[7], "{sizes:?}");
}

#[test]
fn a_lost_packet_is_repeated_on_its_own_stream() {
    for profile in PROFILES {
        tap::choose(profile);
        let mut pair = Pair::new(true, true);
        let mut count = 0;
        pair.lose = Some(Box::new(move |datagram| {
            count += usize::from(datagram.len() > 600);
            count % 10 == 0
        }));
        let sent = stream(&mut pair, 1, 100);
        pair.lose = None;
        pair.run(500);
        let came: HashSet<u64> = pair.video_numbers().into_iter().collect();
        let missing: Vec<u64> = sent.iter().copied().filter(|s| !came.contains(s)).collect();
        assert_eq!(missing, [], "{profile:?}");
        let stats = pair.egress.stats(pair.video);
        assert!(stats.resent >= 35 && stats.nacks >= stats.resent, "{stats:?}");
        assert!(pair.heard.contains(&Heard::Ours));
    }
}

#[test]
fn without_a_stream_for_repetitions_the_same_datagram_comes_again() {
    for profile in PROFILES {
        tap::choose(profile);
        let mut pair = Pair::new(false, true);
        let mut count = 0;
        pair.lose = Some(Box::new(move |datagram| {
            count += usize::from(datagram.len() > 600);
            count % 10 == 0
        }));
        let sent = stream(&mut pair, 1, 60);
        pair.lose = None;
        pair.run(500);
        let came: HashSet<u64> = pair.video_numbers().into_iter().collect();
        let stats = pair.egress.stats(pair.video);
        let missing: Vec<u64> = sent.iter().copied().filter(|s| !came.contains(s)).collect();
        assert_eq!(missing, [], "{profile:?} {stats:?} {:?} {:?}", pair.heard, pair.feedback);
        assert!(pair.egress.stats(pair.video).resent >= 20);
        // Whatever went out under one number of one stream was always the same.
        let mut known: HashSet<&[u8]> = HashSet::new();
        let mut numbers = HashSet::new();
        for datagram in pair.sent.iter().filter(|d| d.len() > 600) {
            if known.insert(datagram) {
                assert!(numbers.insert((&datagram[8..12], &datagram[2..4])));
            }
        }
        assert!(known.len() < pair.sent.len());
    }
}

#[test]
fn transport_wide_feedback_tells_of_each_packet() {
    let mut pair = Pair::new(true, true);
    let mut count = 0;
    pair.lose = Some(Box::new(move |datagram| {
        count += usize::from(datagram.len() > 600);
        count == 50 || count == 51
    }));
    stream(&mut pair, 1, 60);
    pair.run(300);
    assert!(pair.feedback.contains(&Feedback::Transport));
    let lost: HashSet<u64> = pair.results.iter().filter(|r| r.arrival.is_none()).map(|r| r.number).collect();
    assert_eq!(lost.len(), 2, "{lost:?}");
    let mut arrived: Vec<_> = pair.results.iter().filter(|r| r.arrival.is_some()).collect();
    let told: HashSet<u64> = arrived.iter().map(|r| r.number).collect();
    assert!(told.len() >= 235 && told.len() == arrived.len(), "{}", told.len());
    // The same way takes the same time, whatever the clock of the client shows.
    arrived.sort_by_key(|r| r.number);
    let delay = |r: &rtcloud_egress::PacketResult| {
        r.arrival.unwrap().as_secs_f64() - r.sent_at.duration_since(pair.start).as_secs_f64()
    };
    let first = delay(arrived[0]);
    for result in &arrived {
        assert!((delay(result) - first).abs() < 0.002, "{result:?}");
        assert!(result.size > 700);
    }
}

#[test]
fn reports_place_streams_on_one_clock_and_come_back_with_the_round_trip() {
    let mut pair = Pair::new(true, false);
    for step in 0..150u64 {
        pair.send_audio(step, -20);
        pair.send_video(step, &[800]);
        pair.run(20);
    }
    assert!(pair.reports.len() >= 6, "{}", pair.reports.len());
    // RTP time 0 of both is the beginning, which was at a known time.
    for report in &pair.reports {
        let info = &report.sender_info;
        let rate = if report.mid == pair.video_mid { 90_000.0 } else { 48_000.0 };
        let media = info.rtp_time.numer() as f64 / rate;
        let ntp = info.ntp_time.duration_since(std::time::UNIX_EPOCH).unwrap() - UNIX;
        assert!((media - ntp.as_secs_f64()).abs() < 0.001, "{report:?}");
    }
    let rtts: Vec<Duration> = pair
        .feedback
        .iter()
        .filter_map(|f| match f {
            Feedback::Loss { rtt, .. } => *rtt,
            _ => None,
        })
        .collect();
    assert!(!rtts.is_empty());
    assert!(rtts.iter().all(|rtt| (18..=23).contains(&rtt.as_millis())), "{rtts:?}");
    assert!(pair.egress.stats(pair.video).reports > 0);
    assert!(!pair.round_trips.is_empty());
    assert!(
        pair.round_trips.iter().all(|rtt| (18..=23).contains(&rtt.as_millis())),
        "{:?}",
        pair.round_trips
    );
}

#[test]
fn a_clock_is_told_at_once_where_somebody_else_is_sent() {
    let mut pair = Pair::new(true, false);
    for step in 0..10u64 {
        pair.send_video(step, &[800]);
        pair.run(20);
    }
    let before = pair.reports.len();
    let video = pair.video;
    pair.egress.renew(video);
    pair.send_video(10, &[800]);
    pair.run(60);
    assert_eq!(pair.reports.len(), before + 1, "with the first packet, and not within a second");
}

#[test]
fn a_key_picture_is_asked_for() {
    let mut pair = Pair::new(true, false);
    stream(&mut pair, 1, 10);
    let mid = pair.video_mid;
    for kind in [str0m::media::KeyframeRequestKind::Pli, str0m::media::KeyframeRequestKind::Fir] {
        pair.feedback.clear();
        pair.client.direct_api().stream_rx_by_mid(mid, None).unwrap().request_keyframe(kind);
        pair.run(1100);
        let wanted = Feedback::Keyframe { stream: pair.video };
        assert_eq!(pair.feedback.iter().filter(|f| **f == wanted).count(), 1, "{kind:?}");
    }
    let stats = pair.egress.stats(pair.video);
    assert_eq!((stats.plis, stats.firs), (1, 1));
}

#[test]
fn a_datagram_is_heard_once() {
    for profile in PROFILES {
        tap::choose(profile);
        let mut pair = Pair::new(true, false);
        stream(&mut pair, 1, 60);
        let again = pair.last_rtcp.clone();
        assert_eq!(pair.hear(&again), Heard::Strange);
        let mut changed = again.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(pair.hear(&changed), Heard::Strange);
    }
}

#[test]
fn a_probe_fills_up_with_what_the_client_understands() {
    let mut pair = Pair::new(true, true);
    stream(&mut pair, 1, 30);
    pair.results.clear();
    let before = pair.egress.bytes_sent();
    pair.egress.probe(7, 4_000_000, 20_000);
    pair.run(60);
    let sent = pair.egress.bytes_sent() - before;
    assert!((20_000..22_500).contains(&sent), "{sent}");
    pair.run(300);
    let probed: Vec<_> = pair.results.iter().filter(|r| r.probe == Some(7)).collect();
    let bytes: usize = probed.iter().map(|r| r.size).sum();
    assert!((20_000..22_500).contains(&bytes), "{bytes}");
    let times: Vec<_> = probed.iter().map(|r| r.arrival.unwrap()).collect();
    let took = *times.iter().max().unwrap() - *times.iter().min().unwrap();
    assert!((30..45).contains(&took.as_millis()), "{took:?}");
    // Media goes on as if nothing had been.
    let numbers = pair.video_numbers().len();
    stream(&mut pair, 121, 10);
    pair.run(50);
    assert_eq!(pair.video_numbers().len(), numbers + 40);
    assert!(pair.egress.stats(pair.video).resent == 0);
}
