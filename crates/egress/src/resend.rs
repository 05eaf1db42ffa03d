//! Repetitions that a client asked for (RFC 4585, RFC 4588).
//!
//! A number is repeated at most once per round trip, and repetitions take no more than the media itself plus a burst:
//! who asks for everything all the time gets at most twice of what it would get anyway. Nor do they take more than the
//! network is known to carry: what a full buffer lost would only fill it again. Sound goes before pictures; what has
//! waited long is left out, for who still needs it asks again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::pace::Pace;
use crate::stream::Stream;

/// Repetitions that wait; who asks for more must ask again.
const MAX_WAITING: usize = 512;
/// Repetitions that leave together, and what is between them and the next.
const BURST: usize = 32;
/// And while pictures wait that are late themselves.
const FEW: usize = 1;
const PAUSE: Duration = Duration::from_millis(5);
/// How long repetitions wait, in milliseconds.
const PATIENCE: u32 = 300;
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
    sounds: VecDeque<(u32, u64)>,
    pictures: VecDeque<(u32, u64)>,
    /// Before that nothing more leaves.
    not_before: Option<Instant>,
}

impl Resends {
    pub(crate) fn is_empty(&self) -> bool {
        self.sounds.is_empty() && self.pictures.is_empty()
    }

    /// When something may leave, if something waits.
    pub(crate) fn next(&self, pace: &Pace) -> Option<Instant> {
        if self.is_empty() { None } else { self.not_before.max(pace.next()) }
    }

    /// Nothing of a stream is repeated any more.
    pub(crate) fn forget(&mut self, index: u32) {
        self.sounds.retain(|(of, _)| *of != index);
        self.pictures.retain(|(of, _)| *of != index);
    }

    /// A client asks for a number of a stream.
    pub(crate) fn ask(&mut self, index: u32, stream: &mut Stream, seq: u16, now: u32, rtt: Option<Duration>) {
        stream.stats.nacks += 1;
        let queue = if stream.config.video { &mut self.pictures } else { &mut self.sounds };
        if queue.len() >= MAX_WAITING {
            return;
        }
        let rtt = rtt.unwrap_or(ASSUMED).as_millis().min(LONGEST.into()) as u32;
        let Some(seq) = stream.ring.extend(seq) else { return };
        let Some(entry) = stream.ring.get_mut(seq) else { return };
        // Who asks sooner did not see the repetition yet. A quarter is left for what the estimate is off.
        let recent = entry.resent.is_some_and(|at| now.wrapping_sub(at) < (rtt * 3 / 4).max(SHORTEST));
        if entry.asked || recent {
            return;
        }
        (entry.asked, entry.resent) = (true, Some(now));
        queue.push_back((index, seq));
    }

    /// Hands out what may leave now, and knows then when the next may; of pictures only a few if they are `late`
    /// themselves.
    pub(crate) fn poll(
        &mut self,
        streams: &mut [Stream],
        pace: &mut Pace,
        late: bool,
        millis: u32,
        now: Instant,
        mut send: impl FnMut(&mut Stream, u64),
    ) {
        if self.is_empty() || self.not_before.is_some_and(|at| at > now) {
            return;
        }
        let rate = pace.repetitions();
        let mut count = 0;
        let burst = if late { FEW } else { BURST };
        while count < burst && pace.allows(now) {
            let next = self.sounds.pop_front().or_else(|| self.pictures.pop_front());
            let Some((index, seq)) = next else { break };
            let stream = &mut streams[index as usize];
            let Some(entry) = stream.ring.get_mut(seq) else { continue };
            entry.asked = false;
            let waited = entry.resent.replace(millis).map_or(0, |at| millis.wrapping_sub(at));
            // What is not sent costs nothing of what may be.
            if waited > PATIENCE || !stream.budget.spend(entry.payload.len()) {
                entry.resent = None;
                continue;
            }
            pace.count(entry.payload.len(), rate, now);
            count += 1;
            send(stream, seq);
        }
        self.not_before = (count > 0 || !self.is_empty()).then(|| now + PAUSE);
    }
}
