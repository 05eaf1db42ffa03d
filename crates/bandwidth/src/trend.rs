//! Whether delays grow: the slope of a line through the last of them, beside a threshold that adapts.
//!
//! After draft-ietf-rmcat-gcc-02, part 5, with a line fitted by least squares in place of the Kalman filter, as in later
//! practice. The threshold grows with what it sees, so that a flow is not starved by others that fill the queue or by a
//! path whose delay is restless, and falls slowly when it is quiet.

use crate::Usage;
use crate::delay::{Sample, share};

const POINTS: usize = 20;
/// Points older than this, in milliseconds, say nothing any longer.
const AGE: f64 = 1_000.0;
const FEWEST: usize = 5;
/// Over how many milliseconds delays are smoothed.
const SMOOTHING: f64 = 50.0;
const GAIN: f64 = 4.0;
const CONFIDENT_AFTER: u32 = 30;
const THRESHOLD: f64 = 12.5;
const THRESHOLDS: std::ops::RangeInclusive<f64> = 6.0..=600.0;
const RISE: f64 = 0.0087;
const FALL: f64 = 0.039;
/// What is further above the threshold than this is an event of its own and does not move it.
const FAR: f64 = 15.0;
/// For how long the threshold must be passed, in milliseconds.
const PATIENCE: f64 = 10.0;

#[derive(Debug)]
pub(crate) struct Trend {
    points: [(f64, f64); POINTS],
    next: usize,
    length: usize,
    smoothed: f64,
    groups: u32,
    threshold: f64,
    over: f64,
    overs: u32,
    slope: f64,
    usage: Usage,
}

impl Trend {
    pub(crate) fn new() -> Self {
        Self {
            points: [(0.0, 0.0); POINTS],
            next: 0,
            length: 0,
            smoothed: 0.0,
            groups: 0,
            threshold: THRESHOLD,
            over: 0.0,
            overs: 0,
            slope: 0.0,
            usage: Usage::Normal,
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        self.usage
    }

    pub(crate) fn add(&mut self, sample: Sample) -> Usage {
        // After a pause the line starts anew.
        if self.length == 0 || sample.interval > AGE {
            (self.length, self.next, self.smoothed) = (0, 0, sample.delay);
        }
        self.smoothed += (sample.delay - self.smoothed) * share(sample.interval, SMOOTHING);
        self.points[self.next] = (sample.sent, self.smoothed);
        self.next = (self.next + 1) % POINTS;
        self.length = (self.length + 1).min(POINTS);
        self.groups = (self.groups + 1).min(CONFIDENT_AFTER);
        let slope = self.line(sample.sent).unwrap_or(0.0);
        let steepness = slope * GAIN * f64::from(self.groups * 2);
        self.judge(steepness, slope, sample.interval);
        self.adapt(steepness.abs(), sample.interval.min(100.0));
        self.usage
    }

    /// The slope of the line through the points, if there are enough.
    fn line(&self, now: f64) -> Option<f64> {
        let recent = || self.points[..self.length].iter().filter(|point| now - point.0 <= AGE);
        let count = recent().count();
        if count < FEWEST {
            return None;
        }
        let sum = recent().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        let mean = (sum.0 / count as f64, sum.1 / count as f64);
        let (above, below) = recent().fold((0.0, 0.0), |(above, below), point| {
            let (x, y) = (point.0 - mean.0, point.1 - mean.1);
            (above + x * y, below + x * x)
        });
        (below > 0.0).then(|| above / below)
    }

    fn judge(&mut self, steepness: f64, slope: f64, interval: f64) {
        if steepness > self.threshold {
            self.over += if self.overs == 0 { interval / 2.0 } else { interval };
            self.overs = self.overs.saturating_add(1);
            if self.over > PATIENCE && self.overs > 1 && slope >= self.slope {
                (self.over, self.overs, self.usage) = (0.0, 0, Usage::Over);
            }
        } else {
            (self.over, self.overs) = (0.0, 0);
            self.usage = if steepness < -self.threshold { Usage::Under } else { Usage::Normal };
        }
        self.slope = slope;
    }

    fn adapt(&mut self, steepness: f64, interval: f64) {
        if steepness > self.threshold + FAR {
            return;
        }
        let pace = if steepness < self.threshold { FALL } else { RISE };
        let moved = self.threshold + (steepness - self.threshold) * (pace * interval).min(1.0);
        self.threshold = moved.clamp(*THRESHOLDS.start(), *THRESHOLDS.end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(trend: &mut Trend, delay: impl Fn(f64) -> f64, from: u32, to: u32) -> Vec<Usage> {
        let sample = |group: u32| {
            let sent = f64::from(group) * 33.0;
            Sample { sent, delay: delay(sent), interval: 33.0 }
        };
        (from..to).map(|group| trend.add(sample(group))).collect()
    }

    #[test]
    fn a_growing_queue_is_seen_and_its_draining_too() {
        let mut trend = Trend::new();
        assert!(run(&mut trend, |_| 40.0, 0, 60).iter().all(|u| *u == Usage::Normal));
        let grown = run(&mut trend, |at| 40.0 + (at - 1980.0) * 0.1, 60, 75);
        assert!(grown.contains(&Usage::Over), "{grown:?}");
        let drained = run(&mut trend, |at| 90.0 - (at - 2475.0) * 0.1, 75, 90);
        assert!(drained.contains(&Usage::Under), "{drained:?}");
    }

    #[test]
    fn a_drifting_clock_is_no_queue() {
        let mut trend = Trend::new();
        let usages = run(&mut trend, |at| 40.0 + at * 0.0002, 0, 10_000);
        assert!(usages.iter().all(|u| *u == Usage::Normal));
    }

    #[test]
    fn a_restless_path_raises_the_threshold() {
        let mut trend = Trend::new();
        let mut random = fastrand::Rng::with_seed(1);
        let noise: Vec<f64> = (0..2000).map(|_| random.f64() * 60.0).collect();
        let usages = run(&mut trend, |at| noise[(at / 33.0) as usize % 2000], 0, 2000);
        let over = usages[1000..].iter().filter(|u| **u == Usage::Over).count();
        assert!(over < 50, "{over} of 1000 groups");
    }
}
