//! What is promised of bad networks, on short calls; `make bench ARGS=netem` has the whole matrix.

mod world;

use std::time::Duration;

use world::cell::{Cell, Had, Side};

const MS: Duration = Duration::from_millis(1);

/// Calls of twenty seconds with other seeds, beside each other.
fn calls(cell: Cell, seeds: std::ops::Range<u64>) -> Vec<Had> {
    std::thread::scope(|scope| {
        let started: Vec<_> = seeds.map(|seed| scope.spawn(move || Cell { seed, ..cell }.run())).collect();
        started.into_iter().map(|call| call.join().expect("a call that ends")).collect()
    })
}

fn cell(loss: f64, rtt: Duration, rate: Option<u64>) -> Cell {
    Cell { side: Side::Downlink, loss, run: 1.0, rtt, rate, steady: Duration::from_secs(20), seed: 1 }
}

fn mean(of: &[Had], what: impl Fn(&Had) -> f64) -> f64 {
    of.iter().map(what).sum::<f64>() / of.len() as f64
}

#[test]
fn a_tenth_lost_at_100_ms_freezes_less_than_2_percent() {
    let had = calls(cell(0.1, 100 * MS, None), 1..5);
    let frozen = mean(&had, |h| h.freeze_ratio);
    assert!(frozen <= 0.02, "{frozen}: {had:?}");
    assert!(had.iter().all(|h| h.fps > 28.0), "{had:?}");
}

#[test]
fn sound_survives_the_loss_of_three_tenths() {
    for rtt in [20 * MS, 100 * MS] {
        let had = calls(cell(0.3, rtt, None), 1..4);
        let sound = mean(&had, |h| h.sound);
        assert!(sound >= 0.98, "{rtt:?} {sound}: {had:?}");
    }
}

#[test]
fn a_picture_comes_back_after_five_seconds_without_any_network() {
    for had in calls(cell(0.0, 100 * MS, None), 1..3) {
        assert!(had.recovered.is_some_and(|took| took < 1500 * MS), "{had:?}");
    }
}

#[test]
fn what_a_narrow_link_carries_is_shown_without_flapping() {
    for (rate, height, fps) in [(1_000_000, 360.0, 30.0), (300_000, 180.0, 15.0)] {
        let cell = Cell { steady: Duration::from_secs(30), ..cell(0.0, 100 * MS, Some(rate)) };
        for had in calls(cell, 1..3) {
            assert!((had.height - height).abs() < height * 0.05, "{rate}: {had:?}");
            assert!(had.fps > fps * 0.93, "{rate}: {had:?}");
            assert!(had.flaps <= 1, "{rate}: {had:?}");
            assert!(had.sound >= 0.98, "{rate}: {had:?}");
            assert!(had.recovered.is_some_and(|took| took < 5000 * MS), "{rate}: {had:?}");
        }
    }
}

#[test]
fn what_a_narrow_link_does_not_carry_is_given_up_soon() {
    for rtt in [20 * MS, 100 * MS] {
        let had = calls(cell(0.0, rtt, Some(500_000)), 1..4);
        assert!(had.iter().all(|h| h.first_picture.is_some_and(|took| took < 1200 * MS)), "{rtt:?} {had:?}");
        let frozen = mean(&had, |h| h.freeze_ratio);
        assert!(frozen < 0.13, "{rtt:?} {frozen}: {had:?}");
    }
}

#[test]
fn a_squeezed_viewer_has_a_small_picture_and_all_sound() {
    for rtt in [20 * MS, 100 * MS] {
        for seed in 1..4 {
            let had = Cell { seed, ..cell(0.0, rtt, None) }.squeeze(300_000);
            assert!(had.small.is_some_and(|took| took < 4000 * MS), "{rtt:?} {had:?}");
            assert!(had.sound > 0.99, "{rtt:?} {had:?}");
            assert!(had.big.is_some_and(|took| took < 8000 * MS), "{rtt:?} {had:?}");
        }
    }
}

#[test]
fn after_an_outage_the_picture_is_soon_as_good_as_before() {
    for had in calls(cell(0.1, 100 * MS, None), 1..4) {
        assert!(had.as_before.is_some_and(|took| took < 3000 * MS), "{had:?}");
    }
}
