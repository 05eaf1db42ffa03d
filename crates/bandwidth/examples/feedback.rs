//! What a feedback packet costs: ten packets of a 1 Mb/s stream each, for many clients in turn so that caches are cold.

#![allow(clippy::print_stdout, reason = "a benchmark")]

use std::time::{Duration, Instant};

use rtcloud_bandwidth::{Estimator, Limits, PacketResult};

fn main() {
    for (name, lost) in [("clean", 0), ("a tenth lost", 10)] {
        let origin = Instant::now();
        let mut estimators: Vec<_> = (0..1_000).map(|_| Estimator::new(Limits::default(), origin)).collect();
        let started = Instant::now();
        let rounds = 600_u32;
        for round in 0..rounds {
            let now = origin + Duration::from_millis(100) * (round + 1);
            let results: [PacketResult; 10] = std::array::from_fn(|packet| {
                let sent = Duration::from_millis(100) * round + Duration::from_millis(10) * packet as u32;
                let number = u64::from(round) * 10 + packet as u64;
                let came = lost == 0 || number % lost != 3;
                let arrival = came.then(|| sent + Duration::from_millis(40 + number % 3));
                PacketResult { number, sent_at: origin + sent, size: 1_250, arrival, probe: None }
            });
            for estimator in &mut estimators {
                estimator.handle_sent(12_500, now);
                estimator.handle_feedback(&results, now);
                std::hint::black_box(estimator.probe(2_000_000, true, now));
            }
        }
        let each = started.elapsed().as_nanos() / u128::from(rounds) / estimators.len() as u128;
        println!("{name}: {each} ns per feedback on 10 packets, {} bytes each", size_of::<Estimator>());
    }
}
