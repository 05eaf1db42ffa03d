//! Whatever a client says, the estimate stays within its limits, and an honest client afterwards is served.

use std::time::{Duration, Instant};

use rtcloud_bandwidth::{Estimator, Limits, PacketResult};

fn any_duration(random: &mut fastrand::Rng) -> Duration {
    match random.u8(0..6) {
        0 => Duration::MAX,
        1 => Duration::ZERO,
        2 => Duration::from_millis(64).saturating_mul(1 << 24),
        3 => Duration::from_nanos(random.u64(..)),
        _ => Duration::from_micros(random.u64(0..10_000_000)),
    }
}

fn any_result(random: &mut fastrand::Rng, origin: Instant, number: &mut u64) -> PacketResult {
    *number = match random.u8(0..20) {
        0 => random.u64(..),
        1..4 => number.saturating_sub(random.u64(0..50)),
        _ => number.saturating_add(random.u64(0..4)),
    };
    let sent = Duration::from_micros(random.u64(0..100_000_000));
    let sent_at = if random.u8(..) == 0 { origin.checked_sub(sent) } else { origin.checked_add(sent) };
    PacketResult {
        number: *number,
        sent_at: sent_at.unwrap_or(origin),
        size: if random.u8(..) == 0 { usize::MAX } else { random.usize(0..1500) },
        arrival: random.bool().then(|| any_duration(random)),
        probe: random.bool().then(|| random.u32(0..40)),
    }
}

#[test]
fn nonsense_is_survived() {
    let limits = Limits::default();
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let origin = Instant::now();
        let mut estimator = Estimator::new(limits, origin);
        let (mut now, mut number) = (origin, 0);
        for _ in 0..300 {
            match random.u8(0..8) {
                0 => estimator.handle_sent(random.usize(..), now),
                1 => estimator.handle_loss(f32::from_bits(random.u32(..)), now),
                2 => estimator.handle_remb(random.u64(..), now),
                3 => estimator.handle_rtt(any_duration(&mut random)),
                4 => estimator.handle_timeout(now),
                _ => {
                    let count = random.usize(0..40);
                    let results: Vec<_> =
                        (0..count).map(|_| any_result(&mut random, origin, &mut number)).collect();
                    estimator.handle_feedback(&results, now);
                }
            }
            let bitrate = estimator.bitrate();
            assert!((limits.floor..=limits.ceiling).contains(&bitrate), "seed {seed}: {bitrate}");
            if let Some(probe) = estimator.probe(random.u64(..), true, now) {
                assert!(probe.bytes <= 100_000 && probe.bitrate > 0, "seed {seed}: {probe:?}");
            }
            assert!(estimator.next_timeout().is_none_or(|at| at < now + Duration::from_secs(20)));
            now += Duration::from_micros(random.u64(0..300_000));
        }
    }
}

/// Half a minute of a megabit that comes as it was sent, with arrivals told by `clock`.
fn after_a_minute(
    clock: impl Fn(Duration) -> Duration,
    tell: impl Fn(&mut Estimator, &[PacketResult], Instant),
) -> u64 {
    let origin = Instant::now();
    let mut estimator = Estimator::new(Limits { start: 1_000_000, ..Limits::default() }, origin);
    let mut number = 0;
    for feedback in 1..=600_u32 {
        let now = origin + Duration::from_millis(100) * feedback;
        let results: Vec<_> = (0..10_u32)
            .map(|packet| {
                number += 1;
                let sent = Duration::from_millis(100) * (feedback - 1) + Duration::from_millis(10) * packet;
                let arrival = Some(clock(sent + Duration::from_millis(40)));
                PacketResult { number, sent_at: origin + sent, size: 1_250, arrival, probe: None }
            })
            .collect();
        estimator.handle_sent(12_500, now);
        tell(&mut estimator, &results, now);
        estimator.handle_timeout(now);
    }
    estimator.bitrate()
}

#[test]
fn clocks_that_wrap_or_jump_starve_nobody() {
    let wrapped = |at: Duration| {
        let at = at + Duration::from_secs(1_073_700);
        Duration::from_micros((at.as_micros() % (64_000 << 24)) as u64)
    };
    let told =
        |estimator: &mut Estimator, results: &[PacketResult], now| estimator.handle_feedback(results, now);
    assert!(after_a_minute(wrapped, told) >= 1_000_000);
    let jumping = |at: Duration| at + Duration::from_secs(at.as_secs() / 10 * 3_600);
    assert!(after_a_minute(jumping, told) >= 1_000_000);
    let stopped = |_: Duration| Duration::from_secs(1);
    assert!(after_a_minute(stopped, told) >= 30_000);
}

#[test]
fn feedback_told_twice_or_in_pieces_changes_nothing() {
    let whole =
        |estimator: &mut Estimator, results: &[PacketResult], now| estimator.handle_feedback(results, now);
    let twice = |estimator: &mut Estimator, results: &[PacketResult], now| {
        estimator.handle_feedback(results, now);
        estimator.handle_feedback(results, now);
    };
    let pieces = |estimator: &mut Estimator, results: &[PacketResult], now| {
        results.iter().for_each(|one| estimator.handle_feedback(std::slice::from_ref(one), now));
    };
    let backwards = |estimator: &mut Estimator, results: &[PacketResult], now| {
        results.chunks(5).rev().for_each(|some| estimator.handle_feedback(some, now));
    };
    let expected = after_a_minute(|at| at, whole);
    assert!(expected >= 1_400_000, "{expected}");
    assert_eq!(after_a_minute(|at| at, twice), expected);
    for got in [after_a_minute(|at| at, pieces), after_a_minute(|at| at, backwards)] {
        assert!(got.abs_diff(expected) < expected / 10, "{got} beside {expected}");
    }
}

#[test]
fn without_feedback_on_packets_reports_are_heeded() {
    let now = Instant::now();
    let mut estimator = Estimator::new(Limits::default(), now);
    estimator.handle_remb(800_000, now);
    assert_eq!(estimator.bitrate(), 800_000);
    for second in 1..=10 {
        estimator.handle_loss(0.3, now + Duration::from_secs(second));
    }
    assert!(estimator.bitrate() < 200_000, "{}", estimator.bitrate());
    for second in 11..=60 {
        estimator.handle_loss(0.0, now + Duration::from_secs(second));
    }
    assert!(estimator.bitrate() > 800_000, "{}", estimator.bitrate());
}

#[test]
fn an_estimator_is_small() {
    assert!(size_of::<Estimator>() <= 3_072, "{} bytes", size_of::<Estimator>());
}
