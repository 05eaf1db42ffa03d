//! How much a stream takes, layer by layer: bits per second as they came of late.

use std::time::{Duration, Instant};

const PERIOD: Duration = Duration::from_millis(500);
/// How much of the newest period goes into the rate, which so is that of about the last second.
const WEIGHT: f64 = 0.5;
/// Periods after which what was measured is believed.
const ENOUGH: u32 = 2;
/// Of what did not come for so long nothing is known any more.
const FORGOTTEN: Duration = Duration::from_secs(2);
/// Header, extensions and tag of a packet, and those of UDP and IP.
const OVERHEAD: usize = 60;
/// Layers in size within a stream.
const LAYERS: usize = 4;

/// Rates of the layers within one stream.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    began: Option<Instant>,
    bits: [u64; LAYERS],
    rates: [f64; LAYERS],
    periods: u32,
}

impl Rates {
    /// A packet came, of the layer in size that is given.
    pub(crate) fn count(&mut self, spatial: u8, payload: usize, now: Instant) {
        let began = *self.began.get_or_insert(now);
        let passed = now.saturating_duration_since(began);
        if passed >= FORGOTTEN {
            *self = Self { began: Some(now), ..Self::default() };
        } else if passed >= PERIOD {
            let weight = if self.periods == 0 { 1.0 } else { WEIGHT };
            for (rate, bits) in self.rates.iter_mut().zip(&mut self.bits) {
                let newest = std::mem::take(bits) as f64 / passed.as_secs_f64();
                *rate += (newest - *rate) * weight;
            }
            self.periods = self.periods.saturating_add(1);
            self.began = Some(now);
        }
        let layer = usize::from(spatial).min(LAYERS - 1);
        self.bits[layer] = self.bits[layer].saturating_add((payload + OVERHEAD) as u64 * 8);
    }

    /// Bits per second of a layer with those below it; none before enough was measured.
    pub(crate) fn bitrate(&self, spatial: u8, now: Instant) -> Option<u64> {
        let known = self.periods >= ENOUGH
            && self.began.is_some_and(|began| now.saturating_duration_since(began) < FORGOTTEN);
        let layers = usize::from(spatial).min(LAYERS - 1) + 1;
        known.then(|| self.rates[..layers].iter().sum::<f64>() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A packet of each layer every 20 ms.
    fn fill(rates: &mut Rates, from: Instant, millis: u32, payload: usize) -> Instant {
        for n in 0..millis / 20 {
            rates.count(0, payload, from + 20 * n * MS);
            rates.count(2, payload * 2, from + 20 * n * MS);
        }
        from + millis * MS
    }

    #[test]
    fn a_layer_takes_what_it_needs_of_those_below_too() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let now = fill(&mut rates, start, 3000, 440);
        let rate = |layer| rates.bitrate(layer, now).unwrap();
        assert!((195_000..=205_000).contains(&rate(0)), "{}", rate(0));
        assert_eq!(rate(0), rate(1));
        assert!((570_000..=590_000).contains(&rate(2)), "{}", rate(2));
        assert_eq!(rate(2), rate(200));
    }

    #[test]
    fn nothing_is_known_before_a_second_and_after_a_pause() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let now = fill(&mut rates, start, 900, 440);
        assert_eq!(rates.bitrate(0, now), None);
        let now = fill(&mut rates, now, 300, 440);
        assert!(rates.bitrate(0, now).is_some());
        assert_eq!(rates.bitrate(0, now + FORGOTTEN), None);
        let now = fill(&mut rates, now + FORGOTTEN, 900, 440);
        assert_eq!(rates.bitrate(0, now), None);
    }

    #[test]
    fn a_new_rate_is_known_within_a_second_and_a_half() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let now = fill(&mut rates, start, 5000, 1000);
        let now = fill(&mut rates, now, 1600, 100);
        let rate = rates.bitrate(0, now).unwrap();
        assert!(rate < 200_000, "{rate}");
    }
}
