//! Which of a subscriber's requests for key pictures are heeded: each costs everybody who gets the stream.
//!
//! What comes soon after a key picture left was said before that could arrive, and a second one would only delay the
//! first. Beyond that a few requests are free, and then so many a second: who asks all the time is not helped by more.

use std::time::{Duration, Instant};

/// Requests at once, and each second after that.
const FREE: f64 = 5.0;
const PER_SECOND: f64 = 1.0;
/// Beside two round trips: how long a key picture takes to arrive and to be decoded.
const ARRIVAL: Duration = Duration::from_millis(150);
const LONGEST: Duration = Duration::from_secs(1);
/// A round trip, before it is known.
const ASSUMED: Duration = Duration::from_millis(60);

/// One subscription's requests.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// When the last key picture left, as far as is known, and its RTP time.
    key_at: Option<(u32, Instant)>,
    /// Requests heeded, less those that time has paid for, and when that was so.
    owed: f64,
    at: Option<Instant>,
}

impl Requests {
    /// A key picture of an RTP time leaves, or waits for its turn.
    pub(crate) fn handle_key(&mut self, time: u32, now: Instant) {
        self.key_at = Some((time, now));
    }

    /// A request came; whether it is heeded. `waits` is whether a picture of such a time has not left yet.
    pub(crate) fn heed(&mut self, waits: impl Fn(u32) -> bool, rtt: Option<Duration>, now: Instant) -> bool {
        let wait = (2 * rtt.unwrap_or(ASSUMED) + ARRIVAL).min(LONGEST);
        if let Some((time, at)) = &mut self.key_at {
            if waits(*time) {
                *at = now;
            }
            if now.saturating_duration_since(*at) < wait {
                return false;
            }
        }
        let passed = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.at = Some(now);
        self.owed = (self.owed - passed.as_secs_f64() * PER_SECOND).max(0.0);
        let free = self.owed + 1.0 <= FREE;
        self.owed += f64::from(u8::from(free));
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(_time: u32) -> bool {
        false
    }

    const RTT: Option<Duration> = Some(Duration::from_millis(100));

    #[test]
    fn what_is_asked_before_a_key_picture_can_have_come_is_not_heeded() {
        let (mut requests, start) = (Requests::default(), Instant::now());
        assert!(requests.heed(left, RTT, start));
        requests.handle_key(1, start);
        assert!(!requests.heed(left, RTT, start + Duration::from_millis(300)));
        assert!(requests.heed(left, RTT, start + Duration::from_millis(400)));
        requests.handle_key(1, start);
        assert!(requests.heed(left, Some(Duration::from_secs(30)), start + LONGEST));
    }

    #[test]
    fn a_key_picture_that_waits_has_not_left() {
        let (mut requests, start) = (Requests::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        requests.handle_key(7, start);
        assert!(!requests.heed(|time| time == 7, RTT, at(800)));
        assert!(!requests.heed(left, RTT, at(1100)));
        assert!(requests.heed(left, RTT, at(1200)));
    }

    #[test]
    fn who_asks_all_the_time_is_heeded_once_a_second() {
        let (mut requests, start) = (Requests::default(), Instant::now());
        let heeded = |requests: &mut Requests, from: u64, until: u64| {
            (from..until).filter(|n| requests.heed(left, RTT, start + Duration::from_millis(10 * n))).count()
        };
        assert_eq!(heeded(&mut requests, 0, 1000), 5 + 9);
        assert_eq!(heeded(&mut requests, 10_000, 10_010), 5);
    }
}
