//! How fast bytes arrive, or are sent, over the last second.

const SLOT: i64 = 25;
const SLOTS: usize = 40;

/// Bytes by time, in slots of 25 ms. Times are milliseconds of one clock; one that jumps starts anew.
#[derive(Debug)]
pub(crate) struct Throughput {
    slots: [u32; SLOTS],
    /// The newest slot, and the first one since the start.
    newest: Option<(i64, i64)>,
}

impl Throughput {
    pub(crate) fn new() -> Self {
        Self { slots: [0; SLOTS], newest: None }
    }

    pub(crate) fn add(&mut self, at: f64, bytes: usize) {
        let slot = (at as i64).div_euclid(SLOT);
        match self.newest {
            Some((newest, first)) if slot > newest => {
                let passed = slot.saturating_sub(newest);
                if passed >= 8 * SLOTS as i64 {
                    (self.slots, self.newest) = ([0; SLOTS], Some((slot, slot)));
                } else {
                    for old in (newest + 1)..=slot {
                        self.slots[place(old)] = 0;
                    }
                    self.newest = Some((slot, first));
                }
            }
            Some((newest, _)) if newest.saturating_sub(slot) >= SLOTS as i64 => return,
            Some((newest, first)) => self.newest = Some((newest, first.min(slot))),
            None => self.newest = Some((slot, slot)),
        }
        let slot = &mut self.slots[place(slot)];
        *slot = slot.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// `bytes` came between two times; not heeded if these are far apart or the wrong way round.
    pub(crate) fn spread(&mut self, from: f64, to: f64, bytes: f64) {
        let steps = (to - from) / SLOT as f64;
        if (0.0..=2.0 * SLOTS as f64).contains(&steps) {
            let steps = steps as u32 + 1;
            for step in 1..=steps {
                let at = from + (to - from) * f64::from(step) / f64::from(steps);
                self.add(at, (bytes / f64::from(steps)) as usize);
            }
        }
    }

    /// Bits per second over the last `window` milliseconds up to the newest byte, once as much time has passed. The
    /// newest slot is left out: it is not over.
    pub(crate) fn rate(&self, window: i64) -> Option<f64> {
        let (newest, first) = self.newest?;
        let slots = (window / SLOT).clamp(1, SLOTS as i64 - 1);
        if newest.saturating_sub(first) < slots {
            return None;
        }
        let bytes: u64 = (newest - slots..newest).map(|slot| u64::from(self.slots[place(slot)])).sum();
        Some(bytes as f64 * 8_000.0 / (slots * SLOT) as f64)
    }

    /// Bytes of the last second that are newer than `at`.
    pub(crate) fn bytes_since(&self, at: f64) -> u64 {
        let Some((newest, _)) = self.newest else { return 0 };
        let from = (at as i64).div_euclid(SLOT).saturating_add(1).max(newest - SLOTS as i64 + 1);
        (from..=newest).map(|slot| u64::from(self.slots[place(slot)])).sum()
    }

    /// Bits per second over the last second before `now`.
    pub(crate) fn rate_until(&self, now: f64) -> f64 {
        let Some((newest, first)) = self.newest else { return 0.0 };
        let until = (now as i64).div_euclid(SLOT);
        let from =
            until.saturating_sub(SLOTS as i64 - 1).max(newest.saturating_sub(SLOTS as i64 - 1)).max(first);
        let bytes: u64 = (from..until.min(newest + 1)).map(|slot| u64::from(self.slots[place(slot)])).sum();
        bytes as f64 * 8_000.0 / ((until - first).clamp(4, SLOTS as i64 - 1) * SLOT) as f64
    }
}

fn place(slot: i64) -> usize {
    slot.rem_euclid(SLOTS as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_flow_has_its_rate() {
        let mut throughput = Throughput::new();
        for at in 0..2000 {
            throughput.add(f64::from(at), 125);
        }
        assert_eq!(throughput.rate(400), Some(1_000_000.0));
        assert_eq!(throughput.rate_until(2000.0), 1_000_000.0);
        assert!(throughput.rate_until(2500.0) < 600_000.0);
        assert_eq!(throughput.rate_until(9e15), 0.0);
    }

    #[test]
    fn absurd_times_are_survived() {
        let mut throughput = Throughput::new();
        for at in [0.0, f64::MAX, f64::MIN, f64::NAN, -1.0, 1e18, 5.0] {
            throughput.add(at, usize::MAX);
            throughput.rate(400);
            throughput.rate_until(at);
        }
    }
}
