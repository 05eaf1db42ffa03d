//! A receiver's pictures: packets become frames, frames are decoded in order and shown after a playout delay.
//!
//! The rules are those of libwebrtc, simplified. A frame can be decoded when it is whole and the one before it was
//! decoded, or when it is a key picture; a whole key picture is not kept waiting for what was lost before it. The playout
//! delay is what the latest 1 % of the last 300 frames needed more than the quickest, at most [`MAX_PLAYOUT_DELAY`];
//! what comes later still is shown at once. A freeze is what W3C's `freezeCount` counts: nothing new for
//! max(3 × mean, mean + 150 ms), the mean being that of the last 30 intervals.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::stamp::Stamp;

const MAX_PLAYOUT_DELAY: Duration = Duration::from_secs(1);
const REMEMBERED: usize = 300;
const MEAN_OF: usize = 30;
const FREEZE_MARGIN: Duration = Duration::from_millis(150);
/// What is expected of the first picture's successor.
const FIRST_INTERVAL: Duration = Duration::from_micros(33_333);
/// Frames that may wait for others; more than any repair takes.
const MAX_WAITING: usize = 600;

#[derive(Debug)]
struct Assembly {
    came: Vec<bool>,
    missing: usize,
    stamp: Stamp,
}

/// A picture that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) at: Instant,
    pub(crate) layer: u8,
    pub(crate) captured: u64,
}

/// How often and how long the picture stood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Freezes {
    pub(crate) count: usize,
    pub(crate) time: Duration,
}

/// Everything that came of one track of pictures.
#[derive(Debug)]
pub(crate) struct Pictures {
    pub(crate) start: Instant,
    waiting: BTreeMap<(u64, u8, u32), Assembly>,
    decoded: Option<Stamp>,
    /// Microseconds that whole frames were under way, the last of them.
    transit: VecDeque<u64>,
    pub(crate) shown: Vec<Shown>,
    /// When the last frame was decoded.
    pub(crate) decoded_at: Option<Instant>,
    /// When the first and the last packet came.
    pub(crate) packets: Option<(Instant, Instant)>,
}

impl Pictures {
    pub(crate) fn new(start: Instant) -> Self {
        Self {
            start,
            waiting: BTreeMap::new(),
            decoded: None,
            transit: VecDeque::new(),
            shown: Vec::new(),
            decoded_at: None,
            packets: None,
        }
    }

    pub(crate) fn handle(&mut self, stamp: Stamp, at: Instant) {
        self.packets = Some((self.packets.map_or(at, |(first, _)| first), at));
        if self.decoded.is_some_and(|d| stamp.captured < d.captured || is_same_frame(&d, &stamp)) {
            return;
        }
        let name = (stamp.captured, stamp.layer, stamp.number);
        let assembly = self.waiting.entry(name).or_insert_with(|| Assembly {
            came: vec![false; usize::from(stamp.count)],
            missing: usize::from(stamp.count),
            stamp,
        });
        match assembly.came.get_mut(usize::from(stamp.index)) {
            Some(came) if !*came => *came = true,
            _ => return,
        }
        assembly.missing -= 1;
        if assembly.missing > 0 {
            if self.waiting.len() > MAX_WAITING {
                self.waiting.pop_first();
            }
            return;
        }
        self.remember_transit(stamp, at);
        while let Some(name) = self.decodable() {
            let Some(assembly) = self.waiting.remove(&name) else { break };
            self.decode(assembly.stamp, at);
        }
    }

    /// The first whole frame whose predecessor was decoded, or that needs none.
    fn decodable(&self) -> Option<(u64, u8, u32)> {
        let follows = |s: &Stamp| {
            s.key || self.decoded.is_some_and(|d| d.layer == s.layer && d.number.wrapping_add(1) == s.number)
        };
        self.waiting.iter().find(|(_, a)| a.missing == 0 && follows(&a.stamp)).map(|(name, _)| *name)
    }

    fn decode(&mut self, stamp: Stamp, at: Instant) {
        self.decoded = Some(stamp);
        self.decoded_at = Some(at);
        self.waiting.retain(|(captured, ..), _| *captured >= stamp.captured);
        let due = self.start + Duration::from_micros(stamp.captured + self.playout());
        let last = self.shown.last().map_or(at, |s| s.at);
        let shown = Shown { at: due.max(at).max(last), layer: stamp.layer, captured: stamp.captured };
        self.shown.push(shown);
    }

    fn remember_transit(&mut self, stamp: Stamp, at: Instant) {
        let since = at.saturating_duration_since(self.start).as_micros() as u64;
        if self.transit.len() == REMEMBERED {
            self.transit.pop_front();
        }
        self.transit.push_back(since.saturating_sub(stamp.captured));
    }

    /// From capture to display, microseconds.
    fn playout(&self) -> u64 {
        let mut sorted: Vec<u64> = self.transit.iter().copied().collect();
        sorted.sort_unstable();
        let (Some(least), Some(late)) =
            (sorted.first(), sorted.get((sorted.len() * 99).div_ceil(100).max(1) - 1))
        else {
            return 0;
        };
        least + (late - least).min(MAX_PLAYOUT_DELAY.as_micros() as u64)
    }

    /// Freezes that ended between two times, and the one that lasts at the second.
    pub(crate) fn freezes(&self, from: Instant, until: Instant) -> Freezes {
        let mut freezes = Freezes::default();
        let mut last: Option<Instant> = None;
        let mut intervals: VecDeque<Duration> = VecDeque::new();
        let ends = self.shown.iter().map(|s| s.at).take_while(|at| *at < until).chain([until]);
        for at in ends {
            // What is decoded together is shown as one picture.
            let Some(interval) = last.map(|l| at.saturating_duration_since(l)).filter(|i| !i.is_zero())
            else {
                last = last.or(Some(at));
                continue;
            };
            last = Some(at);
            let mean = intervals.iter().sum::<Duration>().checked_div(intervals.len() as u32);
            let mean = mean.unwrap_or(FIRST_INTERVAL);
            if interval >= (3 * mean).max(mean + FREEZE_MARGIN) && at > from {
                freezes.count += 1;
                freezes.time += interval.min(at.duration_since(from));
            }
            if intervals.len() == MEAN_OF {
                intervals.pop_front();
            }
            intervals.push_back(interval);
        }
        freezes
    }

    /// Changes of the layer: when, and to which.
    pub(crate) fn switches(&self) -> Vec<(Instant, u8)> {
        let changes = self.shown.windows(2).filter(|w| w[0].layer != w[1].layer);
        changes.map(|w| (w[1].at, w[1].layer)).collect()
    }
}

fn is_same_frame(a: &Stamp, b: &Stamp) -> bool {
    (a.captured, a.layer, a.number) == (b.captured, b.layer, b.number)
}

/// The most changes of direction within ten seconds, of switches of one stream: a flap is a switch up soon after one
/// down, or the reverse.
pub(crate) fn flaps(first: u8, switches: &[(Instant, u8)]) -> usize {
    const WITHIN: Duration = Duration::from_secs(10);
    let mut layer = first;
    let mut up: Option<(Instant, bool)> = None;
    let mut turns: Vec<Instant> = Vec::new();
    for (at, to) in switches {
        let goes_up = *to > layer;
        if up.is_some_and(|(before, was)| was != goes_up && *at - before <= WITHIN) {
            turns.push(*at);
        }
        up = Some((*at, goes_up));
        layer = *to;
    }
    let most = |from: &Instant| turns.iter().filter(|at| *at >= from && **at - *from <= WITHIN).count();
    turns.iter().map(most).max().unwrap_or(0)
}
