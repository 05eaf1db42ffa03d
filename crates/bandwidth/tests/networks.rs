//! What the estimate does on networks of many kinds, each with several seeds.

mod link;

use link::{Link, Source, World};

const SEEDS: std::ops::Range<u64> = 0..4;

fn least(estimates: &[f64]) -> f64 {
    estimates.iter().copied().fold(f64::INFINITY, f64::min)
}

fn most(estimates: &[f64]) -> f64 {
    estimates.iter().copied().fold(0.0, f64::max)
}

fn mean(estimates: &[f64]) -> f64 {
    estimates.iter().sum::<f64>() / estimates.len() as f64
}

/// The mean over each second: what an allocator would have to live with.
fn by_second(estimates: &[f64]) -> Vec<f64> {
    estimates.chunks(10).map(mean).collect()
}

#[test]
fn the_rate_is_found_from_below_and_from_above() {
    for rate in [3e5, 1e6, 5e6] {
        for start in [300_000, 20_000_000] {
            for seed in SEEDS {
                let mut world = World::with_one(Link { rate, ..Link::default() }, start, seed);
                world.run(7.0);
                let found = mean(&world.run(3.0));
                let share = found / rate;
                assert!((0.85..=1.05).contains(&share), "{rate} from {start}, seed {seed}: {found}");
            }
        }
    }
}

#[test]
fn a_steady_path_has_a_steady_estimate() {
    for rate in [3e5, 1e6, 5e6] {
        for seed in SEEDS {
            let mut world = World::with_one(Link { rate, ..Link::default() }, 300_000, seed);
            world.run(10.0);
            let estimates = by_second(&world.run(60.0));
            let swing = (most(&estimates) - least(&estimates)) / mean(&estimates);
            assert!(swing <= 0.2, "{rate}, seed {seed}: {swing:.3} {estimates:.0?}");
            assert!(least(&estimates) >= rate * 0.85, "{rate}, seed {seed}: {estimates:.0?}");
        }
    }
}

#[test]
fn two_who_compete_share() {
    for (rate, later) in [(2e6, 0.0), (2e6, 20.0), (6e5, 0.0), (6e5, 20.0)] {
        for seed in SEEDS {
            let mut world = World::with_one(Link { rate, ..Link::default() }, 300_000, seed);
            world.run(later);
            world.add(300_000, Source::Elastic(20e6));
            world.run(30.0);
            let before: Vec<u64> = world.flows.iter().map(|flow| flow.sent_bytes).collect();
            world.run(30.0);
            let sent: Vec<f64> = world
                .flows
                .iter()
                .zip(before)
                .map(|(flow, before)| (flow.sent_bytes - before) as f64)
                .collect();
            let ratio = sent[0].max(sent[1]) / sent[0].min(sent[1]);
            assert!(ratio <= 2.0, "{rate} after {later}, seed {seed}: {ratio:.2}");
            let used = (sent[0] + sent[1]) * 8.0 / 30.0 / rate;
            assert!(used > 0.8, "{rate} after {later}, seed {seed}: {used:.2} of it used");
        }
    }
}

#[test]
fn a_queue_is_drained_when_the_rate_falls() {
    for seed in SEEDS {
        let mut world = World::with_one(Link { rate: 2e6, ..Link::default() }, 300_000, seed);
        world.run(20.0);
        world.link.rate = 3e5;
        world.run(3.0);
        assert!(world.wait() < 300.0, "seed {seed}: {} ms", world.wait());
        let waits: Vec<f64> = (0..200).map(|_| (world.run(0.1), world.wait()).1).collect();
        assert!(most(&waits) < 300.0, "seed {seed}: {} ms later", most(&waits));
        let found = mean(&world.run(5.0));
        assert!((0.8..1.1).contains(&(found / 3e5)), "seed {seed}: {found}");
    }
}

#[test]
fn room_is_found_again_for_a_larger_layer() {
    for seed in SEEDS {
        let mut world = World::new(Link { rate: 3e5, ..Link::default() }, seed);
        world.add(300_000, Source::Layers(vec![150e3, 500e3, 1.7e6])).wanted = 2_000_000;
        let estimates = world.run(30.0);
        assert!(least(&estimates[20..]) > 150e3, "seed {seed}: {estimates:.0?}");
        assert!(most(&estimates[20..]) < 500e3, "seed {seed}: {estimates:.0?}");
        world.link.rate = 3e6;
        let took = world.run_until(8.0, |world| world.estimate() >= 1.7e6);
        assert!(took.is_some_and(|took| took < 6.0), "seed {seed}: {took:?}");
        assert!(least(&world.run(30.0)) >= 1.7e6, "seed {seed}");
    }
}

#[test]
fn an_estimate_that_fell_grows_back() {
    for seed in SEEDS {
        let mut world = World::with_one(Link { rate: 3e5, ..Link::default() }, 300_000, seed);
        world.run(20.0);
        world.link.rate = 2e6;
        let took = world.run_until(15.0, |world| world.estimate() >= 1.7e6);
        assert!(took.is_some(), "seed {seed}: {}", world.estimate());
    }
}

#[test]
fn an_outage_is_recovered_from_within_seconds() {
    for outage in [0.5, 2.0, 5.0, 20.0] {
        for seed in SEEDS {
            let mut world = World::with_one(Link { rate: 2e6, ..Link::default() }, 300_000, seed);
            world.run(20.0);
            world.link.down = true;
            world.run(outage);
            let held = world.estimate();
            assert!(outage < 5.0 || held < 600e3, "seed {seed}: {held} after {outage} s of silence");
            world.link.down = false;
            let took = world.run_until(5.0, |world| world.estimate() >= 1.6e6);
            assert!(took.is_some_and(|took| took < 3.0), "{outage} s, seed {seed}: {took:?}");
            assert!(mean(&world.run(10.0)) >= 1.6e6, "{outage} s, seed {seed}");
        }
    }
}

#[test]
fn random_loss_does_not_starve() {
    for (loss, delay) in [(0.02, 10.0), (0.05, 50.0), (0.1, 50.0), (0.1, 10.0)] {
        for seed in SEEDS {
            let link = Link { rate: 2e6, loss, feedback_loss: loss, delay, ..Link::default() };
            let mut world = World::with_one(link, 300_000, seed);
            world.run(10.0);
            let estimates = by_second(&world.run(60.0));
            assert!(mean(&estimates) >= 1.4e6, "{loss}, seed {seed}: {estimates:.0?}");
            assert!(least(&estimates) >= 1e6, "{loss}, seed {seed}: {estimates:.0?}");
        }
    }
}

#[test]
fn heavy_loss_leaves_what_is_possible() {
    for loss in [0.2, 0.3, 0.5] {
        for delay in [10.0, 50.0] {
            for seed in SEEDS {
                let link = Link { rate: 2e6, loss, feedback_loss: loss, delay, ..Link::default() };
                let mut world = World::with_one(link, 300_000, seed);
                world.run(20.0);
                let estimates = by_second(&world.run(60.0));
                assert!(mean(&estimates) >= 1.2e6, "{loss}, seed {seed}: {estimates:.0?}");
                assert!(most(&estimates) < 3e6, "{loss}, seed {seed}: {estimates:.0?}");
            }
        }
    }
}

#[test]
fn loss_that_begins_in_the_middle_does_not_starve() {
    for loss in [0.1, 0.3, 0.5] {
        for seed in SEEDS {
            let mut world = World::with_one(Link { rate: 2e6, ..Link::default() }, 300_000, seed);
            world.run(30.0);
            (world.link.loss, world.link.feedback_loss) = (loss, loss);
            world.run(10.0);
            let estimates = by_second(&world.run(30.0));
            assert!(mean(&estimates) >= 1.2e6, "{loss}, seed {seed}: {estimates:.0?}");
        }
    }
}

#[test]
fn a_drifting_clock_changes_nothing() {
    for drift_ppm in [-200.0, 200.0] {
        for seed in SEEDS {
            let mut world = World::with_one(Link { rate: 2e6, ..Link::default() }, 300_000, seed);
            world.flows[0].drift_ppm = drift_ppm;
            world.run(10.0);
            let estimates = by_second(&world.run(60.0));
            assert!(
                least(&estimates) >= 1.6e6 && most(&estimates) <= 2.2e6,
                "{drift_ppm}, seed {seed}: {estimates:.0?}"
            );
        }
    }
}

#[test]
fn jitter_is_no_congestion() {
    for overtaking in [false, true] {
        for seed in SEEDS {
            let link = Link { rate: 2e6, delay: 20.0, jitter: 60.0, overtaking, ..Link::default() };
            let mut world = World::with_one(link, 300_000, seed);
            world.run(20.0);
            let estimates = by_second(&world.run(60.0));
            assert!(mean(&estimates) >= 1.6e6, "overtaking {overtaking}, seed {seed}: {estimates:.0?}");
            assert!(least(&estimates) >= 1.2e6, "overtaking {overtaking}, seed {seed}: {estimates:.0?}");
        }
    }
}

#[test]
fn a_buffer_of_ten_packets_is_enough() {
    for seed in SEEDS {
        let link = Link { rate: 1e6, buffer: 12_000, ..Link::default() };
        let mut world = World::with_one(link, 300_000, seed);
        world.run(20.0);
        let found = mean(&world.run(30.0));
        assert!((0.8..1.1).contains(&(found / 1e6)), "seed {seed}: {found}");
    }
}

#[test]
fn others_who_do_not_yield_are_yielded_to() {
    for seed in SEEDS {
        let mut world = World::with_one(Link { rate: 2e6, ..Link::default() }, 300_000, seed);
        world.run(15.0);
        world.link.cross = 1e6;
        world.run(5.0);
        let found = mean(&world.run(30.0));
        assert!((0.75..1.1).contains(&(found / 1e6)), "seed {seed}: {found}");
        assert!(world.wait() < 300.0, "seed {seed}: {} ms", world.wait());
    }
}

#[test]
fn a_buffer_that_stays_full_is_emptied() {
    for seed in SEEDS {
        // Somebody else fills it until it runs over, and then takes a part that leaves it as full as it is.
        let link = Link { rate: 2e6, buffer: 75_000, ..Link::default() };
        let mut world = World::with_one(link, 300_000, seed);
        world.run(15.0);
        world.link.cross = 2.5e6;
        world.run(1.0);
        world.link.cross = 1e6;
        let emptied = world.run_until(6.0, |world| world.wait() < 100.0);
        assert!(emptied.is_some(), "seed {seed}: {} ms", world.wait());
    }
}

#[test]
fn a_longer_way_is_got_used_to() {
    for seed in SEEDS {
        let mut world = World::with_one(Link { rate: 2e6, ..Link::default() }, 300_000, seed);
        world.run(15.0);
        world.link.delay += 150.0;
        world.run(45.0);
        let found = mean(&world.run(10.0));
        assert!(found > 1.2e6, "seed {seed}: {found}");
    }
}

#[test]
fn what_is_not_wanted_is_not_probed_for() {
    for seed in SEEDS {
        let mut world = World::new(Link { rate: 5e6, ..Link::default() }, seed);
        world.add(300_000, Source::Layers(vec![150e3, 500e3])).wanted = 600_000;
        world.run(5.0);
        let before = world.flows[0].probes;
        assert!(world.estimate() >= 600e3, "seed {seed}: {}", world.estimate());
        world.run(60.0);
        assert_eq!(world.flows[0].probes, before, "seed {seed}");
    }
}

#[test]
fn who_was_paused_is_probed_for_without_any_video() {
    for seed in SEEDS {
        let mut world = World::new(Link { rate: 2e6, ..Link::default() }, seed);
        // Not even the smallest layer fits what is believed at the start.
        world.add(50_000, Source::Layers(vec![150e3, 500e3])).wanted = 600_000;
        let took = world.run_until(10.0, |world| world.estimate() >= 600e3);
        assert!(took.is_some_and(|took| took < 3.0), "seed {seed}: {took:?}");
    }
}

#[test]
fn who_lost_all_video_to_a_queue_gets_it_back() {
    for rate in [3e5, 2e5] {
        for seed in SEEDS {
            let mut world = World::new(Link { rate: 3e6, ..Link::default() }, seed);
            world.add(300_000, Source::Layers(vec![150e3, 500e3, 1.7e6])).wanted = 2_000_000;
            world.run(15.0);
            assert!(world.estimate() >= 1.7e6, "seed {seed}: {}", world.estimate());
            world.link.rate = rate;
            world.run(8.0);
            let estimates = by_second(&world.run(20.0));
            assert!(least(&estimates) >= 150e3, "{rate}, seed {seed}: {estimates:.0?}");
            assert!(most(&estimates) <= 500e3, "{rate}, seed {seed}: {estimates:.0?}");
        }
    }
}

#[test]
fn a_shallow_buffer_far_below_what_is_believed_is_found() {
    for rate in [3e5, 1e6] {
        for seed in SEEDS {
            let link = Link { rate, buffer: 12_000, ..Link::default() };
            let mut world = World::with_one(link, 20_000_000, seed);
            world.run(15.0);
            let found = mean(&world.run(10.0));
            assert!((0.75..1.15).contains(&(found / rate)), "{rate}, seed {seed}: {found}");
        }
    }
}
