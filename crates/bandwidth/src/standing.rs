//! A queue that stands: a full buffer shows no trend, and where packets are paced hardly a loss.
//!
//! Less is sent then, as if it grew. A queue that this does not shorten is somebody else's, or no queue at all but a longer
//! way, and nothing is done about it any more.

use std::time::{Duration, Instant};

/// Packets that wait so many milliseconds, none less,
const LONG: f64 = 100.0;
/// for so long and a round trip.
const STANDS: Duration = Duration::from_millis(400);
/// How long less is sent for it, at most; and if then so much of it is left it is not ours.
const AGAIN: Duration = Duration::from_millis(4_500);
const UNMOVED: f64 = 0.8;

#[derive(Debug, Default)]
pub(crate) struct Standing {
    since: Option<Instant>,
    /// When less was sent for it the last time, and how long it was.
    acted: Option<(Instant, f64)>,
    foreign: bool,
}

impl Standing {
    /// Packets wait so many milliseconds at least; whether less should be sent for that from now on, which
    /// [`Self::handle_action`] then has to be told of. Asked again and again until it is.
    pub(crate) fn handle(&mut self, queue: f64, noise: f64, rtt: Duration, now: Instant) -> bool {
        if queue <= LONG + 2.0 * noise {
            *self = Self::default();
            return false;
        }
        let since = *self.since.get_or_insert(now);
        match self.acted {
            None => now.saturating_duration_since(since) >= STANDS + rtt,
            Some((at, before)) if now.saturating_duration_since(at) >= AGAIN => {
                self.foreign |= queue > before * UNMOVED;
                !self.foreign
            }
            Some(_) => false,
        }
    }

    /// Less is sent from now on, because of a queue that is so long.
    pub(crate) fn handle_action(&mut self, queue: f64, now: Instant) {
        self.acted = Some((now, queue));
    }

    /// There is one that is taken to be ours.
    pub(crate) fn is_there(&self) -> bool {
        self.since.is_some() && !self.foreign
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);

    /// When something was done, in tenths of a second, of a queue that is so long.
    fn acted(standing: &mut Standing, tenths: u64, queue: impl Fn(u64) -> f64) -> Vec<u64> {
        let start = Instant::now();
        let at = |tenth: u64| start + Duration::from_millis(100 * tenth);
        let mut acts = |tenth: &u64| {
            let act = standing.handle(queue(*tenth), 1.0, RTT, at(*tenth));
            if act {
                standing.handle_action(queue(*tenth), at(*tenth));
            }
            act
        };
        (0..tenths).filter(|tenth| acts(tenth)).collect()
    }

    #[test]
    fn a_queue_that_lasts_is_acted_upon_until_it_is_gone() {
        let mut standing = Standing::default();
        assert_eq!(acted(&mut standing, 20, |tenth| if tenth % 5 == 4 { 0.0 } else { 300.0 }), [0; 0]);
        assert_eq!(acted(&mut standing, 70, |tenth| 300.0 - 2.0 * tenth as f64), [5, 50]);
        assert!(standing.is_there());
        acted(&mut standing, 1, |_| 50.0);
        assert!(!standing.is_there());
    }

    #[test]
    fn what_sending_less_does_not_shorten_is_left_alone() {
        let mut standing = Standing::default();
        assert_eq!(acted(&mut standing, 300, |_| 300.0), [5]);
        assert!(!standing.is_there());
    }
}
