//! Which packets were told of already: each counts once, whatever is told twice, late or out of order.

/// How many numbers behind the newest are still known; what is older is not heeded.
const WINDOW: u64 = 2048;
const WORDS: usize = (WINDOW / 64) as usize;

/// What a result adds to what was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    Arrived,
    Lost,
    /// It had been told of as lost, and came after all.
    ArrivedAfterAll,
    Nothing,
}

#[derive(Debug)]
pub(crate) struct Seen {
    newest: Option<u64>,
    told: [u64; WORDS],
    arrived: [u64; WORDS],
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self { newest: None, told: [0; WORDS], arrived: [0; WORDS] }
    }

    /// How many packets before this one were passed over, as happens when feedback is lost.
    pub(crate) fn passed_over(&self, number: u64) -> u64 {
        self.newest.map_or(0, |newest| number.saturating_sub(newest).saturating_sub(1))
    }

    /// A later packet was told of before.
    pub(crate) fn is_late(&self, number: u64) -> bool {
        self.newest.is_some_and(|newest| number < newest)
    }

    pub(crate) fn note(&mut self, number: u64, arrived: bool) -> News {
        match self.newest {
            Some(newest) if number <= newest => {
                if newest - number >= WINDOW {
                    return News::Nothing;
                }
            }
            newest => {
                self.forget(newest, number);
                self.newest = Some(number);
            }
        }
        let (word, bit) = place(number);
        let told = self.told[word] & bit != 0;
        let known_arrived = self.arrived[word] & bit != 0;
        self.told[word] |= bit;
        if arrived {
            self.arrived[word] |= bit;
        }
        match (arrived, told, known_arrived) {
            (true, false, _) => News::Arrived,
            (true, true, false) => News::ArrivedAfterAll,
            (false, false, _) => News::Lost,
            _ => News::Nothing,
        }
    }

    /// Makes room for the numbers up to `number`.
    fn forget(&mut self, newest: Option<u64>, number: u64) {
        let newest = newest.filter(|newest| number - newest < WINDOW);
        let Some(newest) = newest else {
            (self.told, self.arrived) = ([0; WORDS], [0; WORDS]);
            return;
        };
        for old in newest + 1..=number {
            let (word, bit) = place(old);
            self.told[word] &= !bit;
            self.arrived[word] &= !bit;
        }
    }
}

fn place(number: u64) -> (usize, u64) {
    let position = number % WINDOW;
    ((position / 64) as usize, 1 << (position % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_packet_counts_once() {
        let mut seen = Seen::new();
        assert_eq!(seen.note(10, true), News::Arrived);
        assert_eq!(seen.note(10, true), News::Nothing);
        assert_eq!(seen.note(12, false), News::Lost);
        assert_eq!(seen.note(12, false), News::Nothing);
        assert_eq!(seen.note(11, true), News::Arrived);
        assert_eq!(seen.note(12, true), News::ArrivedAfterAll);
        assert_eq!(seen.note(12, false), News::Nothing);
    }

    #[test]
    fn what_is_too_old_is_not_heeded() {
        let mut seen = Seen::new();
        seen.note(5000, true);
        assert_eq!(seen.note(5000 - WINDOW, true), News::Nothing);
        assert_eq!(seen.note(5001 - WINDOW, true), News::Arrived);
        assert_eq!(seen.note(u64::MAX, true), News::Arrived);
        assert_eq!(seen.note(5000, true), News::Nothing);
        assert_eq!(seen.note(u64::MAX - 1, true), News::Arrived);
    }
}
