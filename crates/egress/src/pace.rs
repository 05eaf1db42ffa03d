//! No faster than the network carries.
//!
//! What leaves faster waits in a buffer on the way, with all sound behind it, or finds that buffer full. So where a
//! network's limit is known, pictures and repetitions wait here, and sound goes past them.

use std::time::{Duration, Instant};

/// As much leaves at once after a pause.
const AT_ONCE: Duration = Duration::from_millis(10);
/// What waits is looked at so much later than it might leave, so that timers are few.
const STEP: Duration = Duration::from_millis(5);
/// No picture waits longer than that: what is believed may be too little.
const LONGEST: Duration = Duration::from_secs(1);

/// In so many steps of age what waits is summed up.
const AGES: usize = 32;

/// How much leaves, in bits per second; none where it does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pacing {
    /// Of repetitions.
    pub repetitions: Option<u64>,
    /// Of pictures. Those that would wait a second leave nevertheless.
    pub pictures: Option<u64>,
}

/// How fast what leaves may, and when the next does.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    rates: Pacing,
    /// What left is through by then.
    next: Option<Instant>,
}

impl Pace {
    /// From here on; where nothing matters any longer what left is forgotten.
    pub(crate) fn set(&mut self, rates: Pacing) {
        self.next = self.next.filter(|_| rates != Pacing::default());
        self.rates = rates;
    }

    /// Whether the next may leave.
    pub(crate) fn allows(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| next <= now)
    }

    /// When to look again at repetitions that wait.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next.map(|next| next + STEP)
    }

    /// When to look again at pictures that wait, if they do.
    pub(crate) fn next_picture(&self) -> Option<Instant> {
        self.next().filter(|_| self.rates.pictures.is_some())
    }

    /// The rate of repetitions, in bits per second; none if it does not matter.
    pub(crate) fn repetitions(&self) -> Option<f64> {
        self.rates.repetitions.map(least_bit)
    }

    /// The rate of pictures while some wait: of each its bytes, and for how long it has. None if it does not matter.
    pub(crate) fn pictures(&self, waiting: impl Iterator<Item = (usize, Duration)>) -> Option<f64> {
        let rate = self.rates.pictures.map(least_bit)?;
        let mut by_age = [0; AGES];
        for (bytes, age) in waiting {
            let place = age.as_millis() * AGES as u128 / LONGEST.as_millis();
            by_age[(place as usize).min(AGES - 1)] += bytes;
        }
        // Each with all that is older has to leave before it is too old.
        let mut older = 0;
        let needed = by_age.iter().rev().zip(1_u32..).map(|(bytes, left)| {
            older += bytes;
            older as f64 * 8.0 * AGES as f64 / (LONGEST.as_secs_f64() * f64::from(left))
        });
        Some(needed.fold(rate, f64::max))
    }

    /// Bytes left, at a rate.
    pub(crate) fn count(&mut self, bytes: usize, rate: Option<f64>, now: Instant) {
        let Some(rate) = rate else { return };
        let taken = Duration::from_secs_f64((bytes as f64 * 8.0 / rate).min(1.0));
        let earliest = now.checked_sub(AT_ONCE).unwrap_or(now);
        let from = self.next.map_or(earliest, |next| next.max(earliest));
        self.next = Some(from + taken);
    }
}

fn least_bit(rate: u64) -> f64 {
    rate.max(1) as f64
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;

    const REPETITIONS: Pacing = Pacing { repetitions: Some(800_000), pictures: None };

    fn both(rate: u64) -> Pacing {
        Pacing { repetitions: Some(rate), pictures: Some(rate) }
    }

    /// How many packets of 1,000 bytes leave within a second, looked at every millisecond, and at once.
    fn leave(pace: &mut Pace, rate: impl Fn(&Pace) -> Option<f64>) -> (usize, usize) {
        let (mut now, mut all, mut first) = (Instant::now(), 0, 0);
        for milli in 0..1000 {
            while all < 10_000 && pace.allows(now) {
                pace.count(1000, rate(pace), now);
                all += 1;
                first += usize::from(milli == 0);
            }
            now += Duration::from_millis(1);
        }
        (all, first)
    }

    #[test]
    fn nothing_waits_where_nothing_is_known() {
        let mut pace = Pace::default();
        assert_eq!(leave(&mut pace, Pace::repetitions), (10_000, 10_000));
        pace.set(REPETITIONS);
        assert_eq!(leave(&mut pace, |pace| pace.pictures(iter::empty())), (10_000, 10_000));
    }

    #[test]
    fn as_much_leaves_as_is_carried() {
        let mut pace = Pace::default();
        pace.set(REPETITIONS);
        let (all, first) = leave(&mut pace, Pace::repetitions);
        assert!((100..=103).contains(&all) && first <= 2, "{all}, {first} at once");
        pace.set(Pacing::default());
        pace.set(both(1_000_000));
        let (all, first) = leave(&mut pace, |pace| pace.pictures(iter::empty()));
        assert!((125..=128).contains(&all) && first <= 3, "{all}, {first} at once");
    }

    #[test]
    fn what_is_young_does_not_hurry_what_is_old() {
        let mut pace = Pace::default();
        pace.set(both(30_000));
        let rate = |ages: &[(usize, u64)]| {
            let waiting = ages.iter().map(|(bytes, millis)| (*bytes, Duration::from_millis(*millis)));
            pace.pictures(waiting).unwrap()
        };
        let (key, old) = ((100_000, 100), (10_000, 800));
        assert_eq!(rate(&[key, old]), rate(&[old, key]));
        assert!((900_000.0..1_000_000.0).contains(&rate(&[key, old])));
        assert!((350_000.0..420_000.0).contains(&rate(&[old])));
    }

    #[test]
    fn what_waits_is_gone_in_a_second() {
        let mut pace = Pace::default();
        pace.set(both(30_000));
        let (mut now, mut left) = (Instant::now(), 200_000);
        for milli in 0..1050 {
            while left > 0 && pace.allows(now) {
                let waiting = iter::repeat_n((1000, Duration::from_millis(milli)), left / 1000);
                pace.count(1000, pace.pictures(waiting), now);
                left -= 1000;
            }
            now += Duration::from_millis(1);
        }
        assert_eq!(left, 0);
    }
}
