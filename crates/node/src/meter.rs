//! How busy a thread is: its share of a core over the last seconds, and whether that is too much.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(5);
/// One sample in so long: what is kept is bounded by it.
const SPACING: Duration = Duration::from_millis(100);

/// Load over a sliding window, from a count that only grows.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    samples: VecDeque<(Instant, u64)>,
}

impl Meter {
    /// Takes the count and gives its growth per second over the window: 0 until a whole one has passed, for the
    /// beginning says little.
    pub(crate) fn record(&mut self, now: Instant, count: u64) -> u64 {
        if self.samples.back().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= SPACING) {
            self.samples.push_back((now, count));
        }
        let is_older = |sample: Option<&(Instant, u64)>| {
            sample.is_some_and(|(at, _)| now.saturating_duration_since(*at) >= WINDOW)
        };
        // The oldest kept is the last that is as old as the window.
        while is_older(self.samples.get(1)) {
            self.samples.pop_front();
        }
        let Some((at, before)) = self.samples.front().filter(|oldest| is_older(Some(oldest))) else {
            return 0;
        };
        let micros = now.saturating_duration_since(*at).as_micros().max(1);
        (u128::from(count.saturating_sub(*before)) * 1_000_000 / micros).try_into().unwrap_or(u64::MAX)
    }
}

/// Whether something is above its limit. It is until it has fallen by a tenth, so that it does not flap.
#[derive(Debug, Default)]
pub(crate) struct Limit {
    /// 0: none.
    limit: u64,
    over: bool,
}

impl Limit {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, over: false }
    }

    pub(crate) fn judge(&mut self, value: u64) -> bool {
        let limit = if self.over { self.limit - self.limit / 10 } else { self.limit };
        self.over = self.limit > 0 && value >= limit.max(1);
        self.over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_is_what_the_last_seconds_were_and_takes_little_to_remember() {
        let begin = Instant::now();
        let mut meter = Meter::default();
        let mut loads = Vec::new();
        for step in 0..2000u64 {
            // Idle for ten seconds, then half of a core.
            let busy = step.saturating_sub(1000) * 5000;
            loads.push(meter.record(begin + Duration::from_millis(10) * step as u32, busy));
            assert!(meter.samples.len() <= 52);
        }
        assert_eq!((loads[999], loads[1250], loads[1999]), (0, 250_000, 500_000));
    }

    #[test]
    fn too_much_ends_only_well_below_the_limit() {
        let mut limit = Limit::new(900);
        let values = [0, 899, 900, 850, 811, 809, 899, 900];
        assert_eq!(values.map(|v| limit.judge(v)), [false, false, true, true, true, false, false, true]);
        assert!(!Limit::new(0).judge(u64::MAX));
    }
}
