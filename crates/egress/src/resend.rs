//! Repetitions that a client asked for (RFC 4585, RFC 4588).
//!
//! A number is repeated at most once per round trip, and repetitions take no more than the media itself plus a burst:
//! who asks for everything all the time gets at most twice of what it would get anyway.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::stream::Stream;

/// Repetitions that wait; who asks for more must ask again.
const MAX_WAITING: usize = 512;
/// Repetitions that leave together, and what is between them and the next.
pub(crate) const BURST: usize = 32;
pub(crate) const PACE: Duration = Duration::from_millis(5);
/// Bytes that may be repeated at once: a key picture.
const MAX_BUDGET: u64 = 192 * 1024;
const FIRST_BUDGET: u64 = 32 * 1024;
/// Bounds of the time between repetitions of one number, in milliseconds.
const SHORTEST: u32 = 15;
const LONGEST: u32 = 500;
/// A round trip, before it is known.
const ASSUMED: Duration = Duration::from_millis(60);

/// Bytes that may still be repeated.
#[derive(Debug)]
pub(crate) struct Budget(u64);

impl Budget {
    pub(crate) fn new() -> Self {
        Self(FIRST_BUDGET)
    }

    /// Media was sent.
    pub(crate) fn earn(&mut self, bytes: usize) {
        self.0 = (self.0 + bytes as u64).min(MAX_BUDGET);
    }

    fn spend(&mut self, bytes: usize) -> bool {
        let left = self.0.checked_sub(bytes as u64);
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }
}

/// What was asked for and did not leave yet.
#[derive(Debug, Default)]
pub(crate) struct Resends {
    queue: VecDeque<(u32, u64)>,
    /// Before that nothing more leaves.
    pub(crate) not_before: Option<Instant>,
}

impl Resends {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn pop(&mut self) -> Option<(u32, u64)> {
        self.queue.pop_front()
    }

    /// A client asks for a number of a stream.
    pub(crate) fn ask(&mut self, index: u32, stream: &mut Stream, seq: u16, now: u32, rtt: Option<Duration>) {
        stream.stats.nacks += 1;
        if self.queue.len() >= MAX_WAITING {
            return;
        }
        let rtt = rtt.unwrap_or(ASSUMED).as_millis().min(LONGEST.into()) as u32;
        let Some(seq) = stream.ring.extend(seq) else { return };
        let Some(entry) = stream.ring.get_mut(seq) else { return };
        // Who asks sooner did not see the repetition yet. A quarter is left for what the estimate is off.
        let recent = entry.resent.is_some_and(|at| now.wrapping_sub(at) < (rtt * 3 / 4).max(SHORTEST));
        if recent || !stream.budget.spend(entry.payload.len()) {
            return;
        }
        entry.resent = Some(now);
        self.queue.push_back((index, seq));
    }
}
