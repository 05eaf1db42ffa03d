//! Whether more would get through: packets sent faster than the estimate, for a moment, to see how they arrive.
//!
//! A server sends what there is: a layer or the next one, seldom as much as the estimate. Without probes nothing would
//! ever be learnt of the room for the next layer. A probe is judged by its own packets and whatever was sent among them:
//! what arrived, over how long. It can only raise the estimate. One that fails makes the next wait longer; one whose
//! promise a growing queue belies soon after, much longer.

use std::time::{Duration, Instant};

use crate::Probe;

/// How long a probe lasts, and how few bytes are too few to tell anything.
const LENGTH: f64 = 0.05;
const BYTES: std::ops::RangeInclusive<usize> = 6_000..=100_000;
const FEWEST_ARRIVED: u32 = 4;
/// How much of a probe must have been told of.
const ENOUGH: f64 = 0.85;
/// The first probes: so many times the start.
const FIRST: f64 = 3.0;
const STEP: f64 = 2.0;
/// A probe that gets so much of what it tried for is followed by a larger one at once.
const PROMISING: f64 = 0.75;
/// Arriving at less than this share of what was sent shows the path's capacity, of which a little is left free.
const SATURATED: f64 = 0.9;
const LEFT: f64 = 0.95;
/// Between probes: after one that succeeded, after ones that failed, after ones that were belied.
const PAUSE: Duration = Duration::from_secs(1);
const FAILED_MOST: Duration = Duration::from_secs(4);
const BELIED_LEAST: Duration = Duration::from_secs(8);
const BELIED_MOST: Duration = Duration::from_secs(60);
/// A queue that grows within this long of a success belies it.
const TRIAL: Duration = Duration::from_secs(5);
/// A success of which less than this share is left has been belied.
const KEPT: f64 = 0.7;
/// A second, and what of the probe is sent late.
const RECENT: Duration = Duration::from_millis(1_100);
/// How long a probe's measurement holds for.
const FRESH: Duration = Duration::from_secs(3);
/// How long a probe's queue may take to drain, beside a round trip.
const FELT: Duration = Duration::from_millis(400);
/// How long to wait for what became of a probe, beside its own length and a round trip.
const LATE: Duration = Duration::from_millis(1_500);

/// A packet in milliseconds and bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) sent: f64,
    pub(crate) arrival: Option<f64>,
    pub(crate) size: usize,
    pub(crate) probe: Option<u32>,
}

/// The packets between two.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    packets: u32,
    bytes: f64,
    arrived: u32,
    arrived_bytes: f64,
    sent: Option<(f64, f64)>,
    last_size: f64,
    arrival: Option<(f64, f64)>,
    first_size: f64,
}

#[derive(Debug)]
struct Cluster {
    probe: Probe,
    until: Instant,
    probed_bytes: f64,
    /// Up to the last packet that is marked, and beyond it.
    sure: Tally,
    open: Tally,
}

#[derive(Debug)]
pub(crate) struct Prober {
    next: u32,
    cluster: Option<Cluster>,
    /// Multiples of the rate to try at once, without asking whether it is time.
    eager: Option<f64>,
    not_before: Option<Instant>,
    pause: Duration,
    belied: Duration,
    /// When an estimate was last raised, and to what.
    raised: Option<(Instant, f64)>,
    /// When the last probe was sent, and how many bytes.
    probed: Option<(Instant, usize)>,
    /// What the last probe measured, be it more or less.
    measured: Option<(Instant, f64)>,
    /// Until when its packets may stand in the way of others.
    felt_until: Option<(Instant, Duration)>,
}

impl Prober {
    pub(crate) fn new() -> Self {
        Self {
            next: 1,
            cluster: None,
            eager: Some(FIRST),
            not_before: None,
            pause: PAUSE,
            belied: Duration::ZERO,
            raised: None,
            probed: None,
            measured: None,
            felt_until: None,
        }
    }

    /// The path is not what it was: find out soon, with `factor` times the rate.
    pub(crate) fn hurry(&mut self, factor: f64) {
        self.cluster = None;
        self.eager = Some(factor.max(STEP));
        self.not_before = None;
        self.pause = PAUSE;
    }

    /// A probe is due at once.
    pub(crate) fn is_eager(&self) -> bool {
        self.eager.is_some()
    }

    /// The next probe, if it is time; `calm` if nothing speaks against more being sent.
    pub(crate) fn probe(
        &mut self,
        rate: f64,
        wanted: f64,
        calm: bool,
        rtt: Duration,
        now: Instant,
    ) -> Option<Probe> {
        if self.cluster.as_ref().is_some_and(|cluster| now >= cluster.until) {
            self.cluster = None;
            self.fail(now);
        }
        let early = self.not_before.is_some_and(|at| now < at);
        if self.cluster.is_some() || wanted <= rate || !calm || early {
            return None;
        }
        let factor = self.eager.take().unwrap_or(STEP);
        let bitrate = (rate * factor).min(wanted * 1.1);
        let bytes = ((bitrate * LENGTH / 8.0) as usize).clamp(*BYTES.start(), *BYTES.end());
        let probe = Probe { cluster: self.next, bitrate: bitrate as u64, bytes };
        self.next = self.next.wrapping_add(1);
        let ends = now + Duration::from_secs_f64((bytes as f64 * 8.0 / bitrate).min(2.0)) + rtt;
        let until = ends + LATE;
        // What it leaves in a queue drains beside what is sent anyway.
        let drains = Duration::from_secs_f64((bytes as f64 * 8.0 / rate * 3.0).clamp(0.0, 2.0));
        self.probed = Some((now, bytes));
        self.felt_until = Some((ends + FELT, drains));
        let (sure, open) = (Tally::default(), Tally::default());
        self.cluster = Some(Cluster { probe, until, probed_bytes: 0.0, sure, open });
        Some(probe)
    }

    /// Heeds what became of a packet; returns what the path was found to carry, where that is more than `rate`. `own` is
    /// the share of packets that it loses whatever is sent.
    pub(crate) fn handle(&mut self, told: Told, own: f64, rate: f64, now: Instant) -> Option<f64> {
        let cluster = self.cluster.as_mut()?;
        let marked = told.probe == Some(cluster.probe.cluster);
        if !marked && cluster.sure.packets == 0 {
            return None;
        }
        cluster.open.add(told);
        if !marked {
            return None;
        }
        cluster.sure = cluster.open;
        cluster.probed_bytes += told.size as f64;
        if cluster.probed_bytes < cluster.probe.bytes as f64 * ENOUGH {
            return None;
        }
        self.judge(own, rate, now)
    }

    /// Judges a probe by what is known of it when no more can be expected: feedback on the rest may have been lost.
    pub(crate) fn handle_late(&mut self, own: f64, rate: f64, now: Instant) -> Option<f64> {
        let late = self.cluster.as_ref().is_some_and(|cluster| now >= cluster.until);
        if late { self.judge(own, rate, now) } else { None }
    }

    fn judge(&mut self, own: f64, rate: f64, now: Instant) -> Option<f64> {
        let cluster = self.cluster.take()?;
        let wished = cluster.probe.bitrate as f64;
        let found = cluster.sure.rate(wished, own);
        self.measured = found.map(|found| (now, found)).or(self.measured);
        let Some(found) = found.filter(|found| *found > rate) else {
            self.fail(now);
            return None;
        };
        if found >= wished * PROMISING {
            (self.eager, self.not_before, self.pause) = (Some(STEP), None, PAUSE);
        } else {
            self.fail(now);
        }
        self.raised = Some((now, found));
        Some(found)
    }

    fn fail(&mut self, now: Instant) {
        self.eager = None;
        self.not_before = Some(now + self.pause.max(self.belied));
        self.pause = (self.pause * 2).min(FAILED_MOST);
    }

    /// Bits of a probe in the last second.
    pub(crate) fn recent_bits(&self, now: Instant) -> f64 {
        let recent = self.probed.filter(|(at, _)| now.saturating_duration_since(*at) < RECENT);
        recent.map_or(0.0, |(_, bytes)| bytes as f64 * 8.0)
    }

    /// What a probe showed the path to carry, if that was just now.
    pub(crate) fn measured(&self, now: Instant) -> Option<f64> {
        self.measured.filter(|(at, _)| now.saturating_duration_since(*at) < FRESH).map(|(_, found)| found)
    }

    /// A queue may be the last probe's: for longer if what is sent beside it is no reason for any.
    pub(crate) fn is_felt(&self, idle: bool, now: Instant) -> bool {
        self.felt_until.is_some_and(|(at, drains)| now < if idle { at + drains } else { at })
    }

    /// The rate was lowered to `rate`, for a queue grew.
    pub(crate) fn handle_cut(&mut self, rate: f64, now: Instant) {
        let soon = |at: Instant| now.saturating_duration_since(at) < TRIAL;
        if self.raised.take().is_some_and(|(at, found)| soon(at) && rate < found * KEPT) {
            self.belied = (self.belied * 2).clamp(BELIED_LEAST, BELIED_MOST);
        }
        self.eager = None;
        self.not_before = Some(now + self.pause.max(self.belied));
    }

    /// What probes promised has held for long enough.
    pub(crate) fn handle_calm(&mut self, now: Instant) {
        if self.raised.is_some_and(|(at, _)| now.saturating_duration_since(at) >= TRIAL) {
            (self.raised, self.belied) = (None, Duration::ZERO);
        }
    }
}

impl Tally {
    fn add(&mut self, told: Told) {
        let size = told.size as f64;
        self.packets = self.packets.saturating_add(1);
        self.bytes += size;
        let (first, last) = self.sent.unwrap_or((told.sent, told.sent));
        if told.sent >= last {
            self.last_size = size;
        }
        self.sent = Some((first.min(told.sent), last.max(told.sent)));
        let Some(arrival) = told.arrival else { return };
        self.arrived = self.arrived.saturating_add(1);
        self.arrived_bytes += size;
        let (first, last) = self.arrival.unwrap_or((arrival, arrival));
        if self.arrived == 1 || arrival < first {
            self.first_size = size;
        }
        self.arrival = Some((first.min(arrival), last.max(arrival)));
    }

    /// Bits per second that the path carries, as these packets show it.
    fn rate(&self, wished: f64, own: f64) -> Option<f64> {
        let (sent, arrival) = (self.sent?, self.arrival?);
        let lost = 1.0 - f64::from(self.arrived) / f64::from(self.packets);
        // More loss than the path is known for is a buffer that overflowed.
        if self.arrived < FEWEST_ARRIVED || lost > own * 1.5 + 0.15 {
            return None;
        }
        let took = arrival.1 - arrival.0;
        if took <= 0.0 {
            return None;
        }
        let came = (self.arrived_bytes - self.first_size) * 8_000.0 / took / (1.0 - own.min(lost).min(0.7));
        let span = sent.1 - sent.0;
        let went = if span > 1.0 { (self.bytes - self.last_size) * 8_000.0 / span } else { wished };
        Some(if came < went * SATURATED { came * LEFT } else { went.min(came) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(50);

    /// Sends `probe` over a path that carries `capacity`; what was found.
    fn send(prober: &mut Prober, probe: Probe, capacity: f64, rate: f64, now: Instant) -> Option<f64> {
        let (mut arrival, mut found) = (0.0_f64, None);
        for packet in 0..probe.bytes.div_ceil(1_200) {
            let sent = packet as f64 * 9_600_000.0 / probe.bitrate as f64;
            arrival = arrival.max(sent + 20.0) + 9_600_000.0 / capacity;
            let told = Told { sent, arrival: Some(arrival), size: 1_200, probe: Some(probe.cluster) };
            found = found.or_else(|| prober.handle(told, 0.0, rate, now));
        }
        found
    }

    #[test]
    fn the_start_is_probed_up_until_the_path_is_full() {
        let (mut prober, mut now, mut rate) = (Prober::new(), Instant::now(), 300_000.0);
        let mut tried = Vec::new();
        while let Some(probe) = prober.probe(rate, 1e7, true, RTT, now) {
            tried.push(probe.bitrate / 10_000);
            rate = send(&mut prober, probe, 3e6, rate, now).unwrap_or(rate);
            now += Duration::from_millis(100);
        }
        assert_eq!(tried[..2], [90, 180]);
        assert!((2.6e6..3.05e6).contains(&rate), "{rate} by {tried:?}");
    }

    #[test]
    fn no_more_is_probed_than_is_wanted() {
        let mut prober = Prober::new();
        let now = Instant::now();
        assert_eq!(prober.probe(300_000.0, 300_000.0, true, RTT, now), None);
        assert_eq!(prober.probe(300_000.0, 400_000.0, true, RTT, now).map(|p| p.bitrate), Some(440_000));
        assert_eq!(prober.probe(300_000.0, 400_000.0, true, RTT, now), None, "one at a time");
    }

    #[test]
    fn failed_probes_wait_longer_and_never_too_long() {
        let (mut prober, mut now) = (Prober::new(), Instant::now());
        let mut at = Vec::new();
        let start = now;
        while now < start + Duration::from_secs(60) {
            if let Some(probe) = prober.probe(300_000.0, 1e6, true, RTT, now) {
                assert_eq!(send(&mut prober, probe, 250_000.0, 300_000.0, now), None);
                at.push(now);
            }
            now += Duration::from_millis(10);
        }
        let gaps: Vec<_> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps[0] >= PAUSE && gaps[1] > gaps[0]);
        assert!(gaps.iter().all(|gap| *gap <= FAILED_MOST + Duration::from_millis(20)), "{gaps:?}");
    }

    #[test]
    fn a_probe_that_vanishes_has_failed() {
        let (mut prober, now) = (Prober::new(), Instant::now());
        assert!(prober.probe(300_000.0, 1e6, true, RTT, now).is_some());
        assert_eq!(prober.probe(300_000.0, 1e6, true, RTT, now + Duration::from_secs(1)), None);
        assert_eq!(prober.probe(300_000.0, 1e6, true, RTT, now + Duration::from_secs(3)), None);
        assert!(prober.probe(300_000.0, 1e6, true, RTT, now + Duration::from_secs(5)).is_some());
    }

    #[test]
    fn promises_that_are_belied_make_it_wait() {
        let (mut prober, mut now) = (Prober::new(), Instant::now());
        for pause in [8, 16, 32, 60, 60] {
            let probe = prober.probe(300_000.0, 900_000.0, true, RTT, now).expect("a probe");
            assert!(send(&mut prober, probe, 1e7, 300_000.0, now).is_some());
            now += Duration::from_secs(2);
            prober.handle_cut(300_000.0, now);
            now += Duration::from_secs(pause) - Duration::from_millis(1);
            assert_eq!(prober.probe(300_000.0, 900_000.0, true, RTT, now), None);
            now += Duration::from_millis(1);
        }
    }
}
