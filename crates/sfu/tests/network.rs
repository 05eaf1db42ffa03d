//! The emulated network itself: each impairment is what it is said to be, and the same each time.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod world;

use std::time::{Duration, Instant};

use world::network::{Conditions, Link, Loss, Network, Rate};

const MS: Duration = Duration::from_millis(1);

/// One datagram each millisecond; how long each was under way, None for those that never came.
fn sent(link: &mut Link, count: u32, len: usize) -> Vec<Option<Duration>> {
    let start = Instant::now();
    let one = |n| {
        let at = start + MS * n;
        link.send(len, at)[0].map(|arrives| arrives - at)
    };
    (0..count).map(one).collect()
}

fn share(of: &[Option<Duration>]) -> f64 {
    of.iter().filter(|d| d.is_none()).count() as f64 / of.len() as f64
}

/// How many are lost in a row, on average.
fn mean_run(of: &[Option<Duration>]) -> f64 {
    let runs: Vec<usize> = of.split(Option::is_some).map(<[_]>::len).filter(|len| *len > 0).collect();
    runs.iter().sum::<usize>() as f64 / runs.len() as f64
}

#[test]
fn the_same_seed_gives_the_same_network() {
    let conditions = Conditions {
        loss: Loss::in_bursts(0.1, 4.0),
        jitter: 30 * MS,
        reorder: 0.1,
        duplicate: 0.1,
        ..Conditions::default()
    };
    let of = |seed| sent(&mut Link::new(conditions, seed), 1000, 500);
    assert_eq!(of(7), of(7));
    assert_ne!(of(7), of(8));
}

#[test]
fn random_loss_is_of_the_wanted_share_and_rarely_in_a_row() {
    let mut link = Link::new(Conditions { loss: Loss::Random(0.1), ..Conditions::default() }, 1);
    let came = sent(&mut link, 50_000, 500);
    assert!((0.09..0.11).contains(&share(&came)), "{}", share(&came));
    let mean = mean_run(&came);
    assert!((1.0..1.2).contains(&mean), "{mean}");
    assert_eq!(link.counts.lost, came.iter().filter(|d| d.is_none()).count() as u64);
}

#[test]
fn bursts_are_as_long_and_as_many_as_wanted() {
    let mut link = Link::new(Conditions { loss: Loss::in_bursts(0.1, 5.0), ..Conditions::default() }, 1);
    let came = sent(&mut link, 100_000, 500);
    assert!((0.085..0.115).contains(&share(&came)), "{}", share(&came));
    let mean = mean_run(&came);
    assert!((4.5..5.5).contains(&mean), "{mean}");
}

#[test]
fn a_good_state_may_lose_a_little_too() {
    let loss = Loss::Bursty { turns_bad: 0.0, turns_good: 1.0, when_good: 0.02, when_bad: 1.0 };
    let came = sent(&mut Link::new(Conditions { loss, ..Conditions::default() }, 1), 50_000, 500);
    assert!((0.015..0.025).contains(&share(&came)), "{}", share(&came));
}

#[test]
fn jitter_keeps_the_order_and_stays_within_its_bound() {
    let conditions = Conditions { delay: 50 * MS, jitter: 20 * MS, ..Conditions::default() };
    let mut link = Link::new(conditions, 3);
    let start = Instant::now();
    let arrivals: Vec<Instant> = (0..1000).map(|n| link.send(500, start + 5 * MS * n)[0].unwrap()).collect();
    assert!(arrivals.is_sorted());
    let took = |n: u32| arrivals[n as usize] - (start + 5 * MS * n);
    assert!((0..1000).all(|n| (50 * MS..=70 * MS).contains(&took(n))));
    assert!((0..1000).any(|n| took(n) > 65 * MS) && (0..1000).any(|n| took(n) < 55 * MS));
}

#[test]
fn some_are_overtaken_and_some_come_twice() {
    let conditions = Conditions { reorder: 0.1, duplicate: 0.2, ..Conditions::default() };
    let mut link = Link::new(conditions, 3);
    let start = Instant::now();
    let arrivals: Vec<[Option<Instant>; 2]> = (0..2000).map(|n| link.send(500, start + MS * n)).collect();
    let overtaken = arrivals.windows(2).filter(|w| w[1][0] < w[0][0]).count();
    assert!((130..230).contains(&overtaken), "{overtaken}");
    let twice = arrivals.iter().filter(|a| a[1].is_some()).count();
    assert!((340..460).contains(&twice), "{twice}");
    assert_eq!(link.counts.duplicated, twice as u64);
}

#[test]
fn a_bottleneck_sends_at_its_rate_and_its_queue_is_bounded_in_time() {
    // 972 bytes and 28 of headers each millisecond are 8 Mb/s, into 1 Mb/s.
    let rate = Rate { bits: 1_000_000, queue_bytes: 1 << 20, queue_delay: 200 * MS };
    let mut link = Link::new(Conditions { rate: Some(rate), delay: 10 * MS, ..Conditions::default() }, 1);
    let came = sent(&mut link, 4000, 972);
    let delivered = came.iter().flatten().count();
    assert!((490..=540).contains(&delivered), "{delivered}");
    let longest = came.iter().flatten().max().unwrap();
    assert!((205 * MS..=220 * MS).contains(longest), "{longest:?}");
    assert_eq!(link.counts.dropped as usize, 4000 - delivered);
}

#[test]
fn a_bottlenecks_queue_is_bounded_in_bytes() {
    let rate = Rate { bits: 1_000_000, queue_bytes: 5000, queue_delay: Duration::from_secs(9) };
    let mut link = Link::new(Conditions { rate: Some(rate), ..Conditions::default() }, 1);
    let start = Instant::now();
    let came = (0..100).filter(|_| link.send(972, start)[0].is_some()).count();
    assert_eq!(came, 5);
}

#[test]
fn an_outage_swallows_everything_and_ends() {
    let mut link = Link::new(Conditions::default(), 1);
    let start = Instant::now();
    link.add_outage(start + 100 * MS, start + 300 * MS);
    let came: Vec<bool> = (0..500).map(|n| link.send(500, start + MS * n)[0].is_some()).collect();
    assert!(came[..100].iter().chain(&came[300..]).all(|came| *came));
    assert!(came[100..300].iter().all(|came| !came));
}

#[test]
fn what_changes_holds_from_then_on() {
    let mut link = Link::new(Conditions::default(), 1);
    assert_eq!(share(&sent(&mut link, 100, 500)), 0.0);
    link.change(Conditions { loss: Loss::Random(1.0), ..Conditions::default() });
    assert_eq!(share(&sent(&mut link, 100, 500)), 1.0);
}

#[test]
fn datagrams_arrive_in_the_order_of_their_times() {
    let mut network = Network::default();
    let (client, server) = ("198.51.100.1:5000".parse().unwrap(), "192.0.2.1:7882".parse().unwrap());
    let ways = network.ways(client, 5);
    ways.up.change(Conditions { reorder: 0.3, ..Conditions::default() });
    let start = Instant::now();
    for n in 0..100_u32 {
        network.send(client, false, (client, server), &n.to_be_bytes(), start + MS * n);
        network.send(client, true, (server, client), &n.to_be_bytes(), start + MS * n);
    }
    assert!(network.arrive(start).is_none());
    let mut last = start;
    let (mut up, mut down) = (Vec::new(), Vec::new());
    while let Some(flight) = network.arrive(start + 1000 * MS) {
        assert!(flight.at >= last);
        last = flight.at;
        let of = if flight.to == client { &mut down } else { &mut up };
        of.push(u32::from_be_bytes(flight.contents.try_into().unwrap()));
    }
    assert_eq!(down, (0..100).collect::<Vec<_>>());
    assert_ne!(up, down);
    up.sort_unstable();
    assert_eq!(up, down);
    assert_eq!(network.counts(client).map(|(up, down)| (up.sent, down.sent)), Some((100, 100)));
}
