//! The rate itself: up while delays are calm, down to what gets through when a queue grows.
//!
//! After draft-ietf-rmcat-gcc-02, part 5.5: far from where it broke down before the rate grows by a share, near it by a
//! packet at a time. A queue that has grown deep is drained by sending less for as long as it is there; the rate that is
//! returned to afterwards is kept apart.

use std::time::{Duration, Instant};

use crate::Usage;

/// How much of what gets through is sent after a queue grew.
const BACK_OFF: f64 = 0.92;
/// Growth per second, far from where the rate broke down before.
const GROWTH: f64 = 1.08;
/// Growth in bits per second, near there, as long as that is not more than a share of the rate.
const STEP_BITS: f64 = 45_000.0;
const STEP_MOST: f64 = 0.25;
const STEP_LEAST: f64 = 24_000.0;
const STEP_SHARE: f64 = 0.04;
/// What is sent bounds what is believed: to so much of it, and a little more.
const UNPROVEN: f64 = 1.5;
const UNPROVEN_BITS: f64 = 10_000.0;
/// A queue is deep from so many milliseconds; the less is sent the deeper it is.
const DEEP: f64 = 80.0;
const DRAIN_LEAST: f64 = 0.1;
const MILD: f64 = 0.5;
/// With so many milliseconds of queue there is no growth.
const STANDING: f64 = 250.0;
const DRAIN_LONGEST: Duration = Duration::from_secs(4);

/// What was seen since the last time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) usage: Usage,
    /// What the path was seen to carry lately, in bits per second.
    pub(crate) carried: Option<f64>,
    /// It was seen for long enough.
    pub(crate) sure: bool,
    /// What a probe measured of it just now.
    pub(crate) measured: Option<f64>,
    /// Much more is sent than arrives, and it waits long.
    pub(crate) flooded: bool,
    /// How many milliseconds packets wait.
    pub(crate) queue: f64,
    /// How many those wait at least that were told of last.
    pub(crate) least_queue: f64,
    /// By how much that differs from one to the next without any queue.
    pub(crate) noise: f64,
}

#[derive(Debug)]
pub(crate) struct Rate {
    rate: f64,
    floor: f64,
    ceiling: f64,
    /// Where it broke down: mean and deviation.
    broke: Option<(f64, f64)>,
    updated_at: Option<Instant>,
    cut_at: Option<Instant>,
    drain: f64,
}

impl Rate {
    pub(crate) fn new(rate: f64, floor: f64, ceiling: f64) -> Self {
        let rate = rate.clamp(floor, ceiling);
        Self { rate, floor, ceiling, broke: None, updated_at: None, cut_at: None, drain: 1.0 }
    }

    /// The rate that is believed in.
    pub(crate) fn rate(&self) -> f64 {
        self.rate
    }

    /// The rate to send at now.
    pub(crate) fn now(&self) -> f64 {
        (self.rate * self.drain).max(self.floor)
    }

    /// What is not sent for now, to drain a queue that is not so deep that everything has to go.
    pub(crate) fn held_back(&self) -> f64 {
        if self.drain < MILD { 0.0 } else { self.rate * (1.0 - self.drain) }
    }

    pub(crate) fn floor(&self) -> f64 {
        self.floor
    }

    /// About as much was too much before.
    pub(crate) fn is_near(&self) -> bool {
        self.broke.is_some_and(|(mean, deviation)| self.rate > mean - 3.0 * deviation)
    }

    /// When it was last lowered.
    pub(crate) fn cut_at(&self) -> Option<Instant> {
        self.cut_at
    }

    /// It is known to be so much.
    pub(crate) fn set(&mut self, rate: f64) {
        self.rate = rate.clamp(self.floor, self.ceiling);
        if self.broke.is_some_and(|(mean, deviation)| rate > mean + 3.0 * deviation) {
            self.broke = None;
        }
    }

    /// It is known to be no more.
    pub(crate) fn limit(&mut self, most: f64) {
        self.rate = self.rate.min(most.max(self.floor));
    }

    /// There is no queue to drain any longer.
    pub(crate) fn settle(&mut self) {
        self.drain = 1.0;
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.drain >= 1.0
    }

    /// Nothing that was learnt of the path need hold.
    pub(crate) fn forget(&mut self) {
        (self.broke, self.drain) = (None, 1.0);
    }

    /// Returns whether the rate was lowered.
    pub(crate) fn update(&mut self, seen: Seen, now: Instant) -> bool {
        let since = self.updated_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.updated_at = Some(now);
        let real = seen.queue > 10.0 + 2.0 * seen.noise;
        match seen.usage {
            _ if seen.flooded => return self.cut(seen, now),
            Usage::Over if real => return self.cut(seen, now),
            Usage::Over | Usage::Under => {}
            Usage::Normal if seen.queue > STANDING => {}
            Usage::Normal => self.grow(seen, since.min(Duration::from_secs(1)).as_secs_f64()),
        }
        let drained = seen.queue.min(seen.least_queue) < DEEP / 2.0 + 2.0 * seen.noise;
        let long = self.cut_at.is_none_or(|at| now.saturating_duration_since(at) > DRAIN_LONGEST);
        if drained || long {
            self.drain = 1.0;
        }
        false
    }

    fn cut(&mut self, seen: Seen, now: Instant) -> bool {
        // While little is sent little can be carried.
        let carried = seen.carried.unwrap_or(self.rate).max(seen.measured.unwrap_or(0.0));
        let drains = !self.is_settled();
        if seen.queue > DEEP {
            self.drain = self.drain.min((1.0 - (seen.queue - DEEP) / 600.0).max(DRAIN_LEAST));
        }
        if drains && !seen.flooded {
            // What arrives is what little is sent.
            return false;
        }
        if !seen.sure && self.cut_at.is_some() {
            // A few packets say that it is too much, and not how little is enough.
            return false;
        }
        // Where it broke down before tells as much as the last moment, as long as the two agree.
        let carried = match self.broke {
            Some((mean, deviation)) if (carried - mean).abs() <= 3.0 * deviation => (carried + mean) / 2.0,
            _ => carried,
        };
        let target = (carried * BACK_OFF).clamp(self.floor, self.ceiling);
        if target >= self.rate {
            return false;
        }
        self.rate = target;
        self.cut_at = Some(now);
        self.broke = Some(match self.broke {
            Some((mean, deviation)) if (carried - mean).abs() <= 3.0 * deviation => {
                let off = (carried - mean).abs();
                let deviation = deviation + (off - deviation) * 0.2;
                (mean + (carried - mean) * 0.2, deviation.clamp(mean * 0.03, mean * 0.15))
            }
            _ => (carried, carried * 0.06),
        });
        true
    }

    fn grow(&mut self, seen: Seen, seconds: f64) {
        let bound = seen.carried.map_or(self.ceiling, |carried| carried * UNPROVEN + UNPROVEN_BITS);
        if self.rate >= bound.min(self.ceiling) {
            return;
        }
        if let Some((mean, deviation)) = self.broke
            && seen.carried.is_some_and(|carried| carried > mean + 3.0 * deviation)
        {
            self.broke = None;
        }
        // The same for small and large, so that those who compete become alike.
        let step =
            (STEP_LEAST + self.rate * STEP_SHARE).clamp(0.0, STEP_BITS).min(self.rate * STEP_MOST) * seconds;
        let share = self.rate * (GROWTH.powf(seconds) - 1.0);
        let more = if self.is_near() { step } else { share.max(step) };
        self.rate = (self.rate + more).min(bound.min(self.ceiling));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(usage: Usage, carried: f64, queue: f64) -> Seen {
        Seen {
            usage,
            carried: Some(carried),
            sure: true,
            queue,
            least_queue: queue,
            measured: None,
            flooded: false,
            noise: 0.0,
        }
    }

    #[test]
    fn a_growing_queue_lowers_it_to_what_gets_through() {
        let mut rate = Rate::new(1e6, 3e4, 5e7);
        let now = Instant::now();
        assert!(rate.update(seen(Usage::Over, 500_000.0, 50.0), now));
        assert_eq!((rate.rate(), rate.now()), (460_000.0, 460_000.0));
        assert!(!rate.update(seen(Usage::Over, 600_000.0, 50.0), now));
    }

    #[test]
    fn a_trend_without_a_queue_lowers_nothing() {
        let mut rate = Rate::new(1e6, 3e4, 5e7);
        assert!(!rate.update(seen(Usage::Over, 100_000.0, 5.0), Instant::now()));
        assert_eq!(rate.rate(), 1e6);
    }

    #[test]
    fn a_deep_queue_is_drained_and_the_rate_returned_to() {
        let mut rate = Rate::new(2e6, 3e4, 5e7);
        let now = Instant::now();
        rate.update(seen(Usage::Over, 300_000.0, 600.0), now);
        assert!(rate.now() < 110_000.0, "{}", rate.now());
        let later = now + Duration::from_secs(1);
        rate.update(seen(Usage::Under, 300_000.0, 20.0), later);
        assert_eq!(rate.now(), 276_000.0);
    }

    #[test]
    fn what_is_not_sent_is_not_believed() {
        let mut rate = Rate::new(1e6, 3e4, 5e7);
        let now = Instant::now();
        for second in 0..600 {
            rate.update(seen(Usage::Normal, 800_000.0, 0.0), now + Duration::from_secs(second));
        }
        assert_eq!(rate.rate(), 1_210_000.0);
    }
}
