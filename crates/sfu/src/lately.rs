//! Whether a network loses much these days.

use std::time::{Duration, Instant};

use rtcloud_bandwidth::PacketResult;

/// Of a network that lost more than this lately, estimates jump.
const ROUGH: f64 = 0.05;
/// So many packets tell.
const ENOUGH: usize = 40;
/// What came longer ago than twice this is no longer lately.
const LATELY: Duration = Duration::from_secs(2);

/// Whether much was lost of the last two to four seconds' packets.
#[derive(Debug, Default)]
pub(crate) struct Lately {
    since: Option<Instant>,
    /// How often some were lost in a row, be it one, and all that came: now, and in the stretch before. So an outage or
    /// a full buffer is one matter.
    counts: [(usize, usize); 2],
    losing: bool,
    rough: bool,
}

impl Lately {
    pub(crate) fn count(&mut self, results: &[PacketResult], now: Instant) {
        self.turn(now);
        let (runs, came) = &mut self.counts[0];
        for result in results {
            let lost = result.arrival.is_none();
            *runs += usize::from(lost && !self.losing);
            *came += usize::from(!lost);
            self.losing = lost;
        }
    }

    /// As it was last known: a few packets say nothing.
    pub(crate) fn is_rough(&mut self, now: Instant) -> bool {
        self.turn(now);
        let [(runs, came), (runs_before, came_before)] = self.counts;
        let (runs, came) = (runs + runs_before, came + came_before);
        if came >= ENOUGH {
            self.rough = runs as f64 > ROUGH * came as f64;
        }
        self.rough
    }

    fn turn(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let stretches = now.saturating_duration_since(since).as_secs_f64() / LATELY.as_secs_f64();
        if stretches >= 1.0 {
            self.counts = [(0, 0), if stretches < 2.0 { self.counts[0] } else { (0, 0) }];
            self.since = Some(now);
        }
    }
}
