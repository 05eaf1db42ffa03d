//! Whether the client still answers.
//!
//! What was sent and not answered for a second is taken for an outage: for a second more nothing changes, then the rate
//! falls by half each second, so that a path that comes back is not flooded. What was known before is kept for then.

use std::time::{Duration, Instant};

const UNANSWERED: Duration = Duration::from_secs(1);
const HELD: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(250);
/// Half a second's worth of halving a second.
const FALL: f64 = 0.84;
/// It falls to this share, and no further.
const LEAST: f64 = 1.0 / 16.0;

#[derive(Debug)]
pub(crate) struct Silence {
    /// When the oldest packets that nothing was heard of were sent.
    unanswered_since: Option<Instant>,
    heard: bool,
    share: f64,
    fell_at: Option<Instant>,
}

impl Silence {
    pub(crate) fn new() -> Self {
        Self { unanswered_since: None, heard: false, share: 1.0, fell_at: None }
    }

    pub(crate) fn handle_sent(&mut self, now: Instant) {
        self.unanswered_since.get_or_insert(now);
    }

    /// Something was heard; returns whether that ended an outage.
    pub(crate) fn handle_answer(&mut self) -> bool {
        self.heard = true;
        self.unanswered_since = None;
        self.fell_at = None;
        std::mem::replace(&mut self.share, 1.0) < 1.0
    }

    pub(crate) fn handle_timeout(&mut self, rtt: Duration, now: Instant) {
        while let Some(at) = self.next_timeout(rtt).filter(|at| *at <= now) {
            self.share = (self.share * FALL).max(LEAST);
            self.fell_at = Some(at);
        }
    }

    pub(crate) fn next_timeout(&self, rtt: Duration) -> Option<Instant> {
        if !self.heard || self.share <= LEAST {
            return None;
        }
        let first = |at| at + UNANSWERED + HELD + rtt.min(Duration::from_secs(1));
        self.fell_at.map(|at| at + STEP).or_else(|| self.unanswered_since.map(first))
    }

    /// The share of the rate that may be sent.
    pub(crate) fn share(&self) -> f64 {
        self.share
    }

    /// Nothing was heard for so long that nothing should be tried. Once there is nothing left to give up it should:
    /// what is not sent is not answered.
    pub(crate) fn lasts(&self, rtt: Duration, now: Instant) -> bool {
        self.share > LEAST
            && self.unanswered_since.is_some_and(|at| now.saturating_duration_since(at) > UNANSWERED + rtt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);

    #[test]
    fn silence_is_held_through_and_then_heeded() {
        let start = Instant::now();
        let mut silence = Silence::new();
        silence.handle_answer();
        silence.handle_sent(start);
        silence.handle_timeout(RTT, start + Duration::from_secs(2));
        assert_eq!(silence.share(), 1.0);
        silence.handle_timeout(RTT, start + Duration::from_secs(4));
        assert!((0.2..0.3).contains(&silence.share()), "{}", silence.share());
        silence.handle_timeout(RTT, start + Duration::from_secs(4000));
        assert_eq!(silence.share(), LEAST);
        assert_eq!(silence.next_timeout(RTT), None);
        assert!(silence.handle_answer());
        assert!(!silence.handle_answer());
        assert_eq!(silence.share(), 1.0);
    }

    #[test]
    fn who_is_sent_nothing_is_not_silent() {
        let mut silence = Silence::new();
        silence.handle_answer();
        assert_eq!(silence.next_timeout(RTT), None);
    }

    #[test]
    fn who_never_spoke_is_not_silent() {
        let mut silence = Silence::new();
        silence.handle_sent(Instant::now());
        assert_eq!(silence.next_timeout(RTT), None);
    }
}
