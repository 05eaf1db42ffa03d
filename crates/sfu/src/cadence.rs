//! How often pictures of each temporal layer come, and which layers make up a wanted frame rate.

use std::time::{Duration, Instant};

const LAYERS: usize = 8;
/// What is counted for so long is believed.
const WINDOW: Duration = Duration::from_secs(1);
/// A rate that is exceeded by no more than this is kept: encoders are not exact.
const TOLERANCE: f32 = 1.2;

/// Counts the pictures of one stream.
#[derive(Debug)]
pub(crate) struct Cadence {
    counts: [u32; LAYERS],
    /// Pictures per second by layer, once known.
    rates: Option<[f32; LAYERS]>,
    since: Option<Instant>,
    time: Option<u32>,
}

impl Cadence {
    pub(crate) fn new() -> Self {
        Self { counts: [0; LAYERS], rates: None, since: None, time: None }
    }

    /// A packet of a picture of this RTP time came.
    pub(crate) fn count(&mut self, temporal: u8, time: u32, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since);
        if passed >= WINDOW {
            // After a pause it is not known what comes now.
            self.rates =
                (passed < 2 * WINDOW).then(|| self.counts.map(|count| count as f32 / passed.as_secs_f32()));
            self.counts = [0; LAYERS];
            self.since = Some(now);
        }
        // What comes late was counted, or is missing anyway.
        let newer = self.time.is_none_or(|before| (1..1 << 31).contains(&time.wrapping_sub(before)));
        if newer {
            self.time = Some(time);
            self.counts[usize::from(temporal) % LAYERS] += 1;
        }
    }

    /// The highest temporal layer with which no more than so many pictures per second come; 0 are all.
    pub(crate) fn highest(&self, fps: u32) -> u8 {
        const ALL: u8 = LAYERS as u8 - 1;
        let (Some(rates), true) = (self.rates, fps > 0) else { return ALL };
        let wanted = fps as f32 * TOLERANCE;
        let mut sum = 0.0;
        for (layer, rate) in rates.into_iter().enumerate() {
            sum += rate;
            if sum > wanted {
                return layer.saturating_sub(1) as u8;
            }
        }
        ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three seconds of 30 pictures per second in three layers, of two packets each.
    fn counted() -> Cadence {
        let start = Instant::now();
        let mut cadence = Cadence::new();
        for picture in 0..90u32 {
            let now = start + Duration::from_millis(u64::from(picture) * 1000 / 30);
            let temporal = [0, 2, 1, 2][picture as usize % 4];
            cadence.count(temporal, picture * 3000, now);
            cadence.count(temporal, picture * 3000, now);
        }
        cadence
    }

    #[test]
    fn layers_that_come_more_often_than_wanted_are_left_out() {
        let cadence = counted();
        assert_eq!([0, 60, 30, 25].map(|fps| cadence.highest(fps)), [7, 7, 7, 7]);
        assert_eq!([24, 15, 13].map(|fps| cadence.highest(fps)), [1, 1, 1]);
        assert_eq!([12, 8, 1].map(|fps| cadence.highest(fps)), [0, 0, 0]);
    }

    #[test]
    fn nothing_is_left_out_before_it_is_known_what_comes() {
        let mut cadence = Cadence::new();
        assert_eq!(cadence.highest(5), 7);
        let start = Instant::now();
        cadence.count(0, 0, start);
        cadence.count(1, 1, start + Duration::from_secs(60));
        assert_eq!(cadence.highest(5), 7);
    }
}
