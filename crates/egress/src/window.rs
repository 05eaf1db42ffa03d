//! Which numbers were used lately, in whatever order.

/// Remembers the last `64 * (WORDS - 1)` numbers at least; older ones count as used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window<const WORDS: usize> {
    highest: Option<u64>,
    used: [u64; WORDS],
}

impl<const WORDS: usize> Window<WORDS> {
    pub(crate) const fn new() -> Self {
        Self { highest: None, used: [0; WORDS] }
    }

    /// Whether a number is new; then it is not any more.
    pub(crate) fn take(&mut self, number: u64) -> bool {
        let words = WORDS as u64;
        let word = number / 64;
        match self.highest.map(|h| h / 64) {
            None => self.highest = Some(number),
            Some(highest) if word + words <= highest => return false,
            Some(highest) => {
                // Words that come into use are empty.
                for skipped in (highest + 1..=word).rev().take(WORDS) {
                    self.used[(skipped % words) as usize] = 0;
                }
                self.highest = self.highest.max(Some(number));
            }
        }
        let bit = 1 << (number % 64);
        let used = &mut self.used[(word % words) as usize];
        let new = *used & bit == 0;
        *used |= bit;
        new
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_number_is_taken_twice() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut window = Window::<4>::new();
        let mut taken = HashSet::new();
        let mut front = 1000u64;
        let mut late = 0;
        for _ in 0..100_000 {
            front += rng.u64(0..4);
            if rng.u32(0..2000) == 0 {
                front += rng.u64(0..1000);
            }
            let number = front.saturating_sub(rng.u64(0..300));
            let highest = taken.iter().max().copied().unwrap_or(0).max(front);
            let known = taken.contains(&number);
            let new = window.take(number);
            assert!(!(known && new), "{number} twice");
            if !known && !new {
                assert!(highest - number >= 64 * 3 - 4, "{number} of {highest} was refused");
                late += 1;
            }
            if new {
                taken.insert(number);
            }
            if taken.len() > 2000 {
                taken.retain(|n| n + 1000 > front);
            }
        }
        assert!(late > 0);
    }
}
