//! How much may be sent to one client.
//!
//! Delays say when a queue grows, arrivals what gets through, losses what a full buffer leaves, probes whether there is
//! room for more, silence that the path is gone. Each has a module; here they meet.

use std::time::{Duration, Instant};

use crate::PacketResult;
use crate::delay::{Delays, Step};
use crate::loss::Losses;
use crate::prober::{Prober, Told};
use crate::rate::{self, Rate};
use crate::seen::{News, Seen};
use crate::silence::Silence;
use crate::standing::Standing;
use crate::throughput::Throughput;
use crate::trend::Trend;

/// What arrives is measured over so many milliseconds.
const WINDOW: i64 = 500;
/// And where a queue keeps the path busy: no pause is in between then.
const BUSY_WINDOW: i64 = 200;
/// With so many milliseconds of queue it is.
const BUSY: f64 = 40.0;
/// Sending less than this share of the estimate says nothing of what more would do.
const IDLE: f64 = 0.8;
/// How long after the last news a queue is taken to be gone: when it must be, and so much later; at most after this.
const SETTLED_LATER: Duration = Duration::from_millis(150);
const SETTLED: Duration = Duration::from_secs(1);
/// How long after the rate was lowered there are no probes, unless they are urgent and little is sent.
const REST: Duration = Duration::from_secs(4);
/// After a pause so long queues are others than before.
const PAUSED: Duration = Duration::from_millis(500);
/// A bound that has proven right leaves so much of a higher estimate.
const BEYOND_BOUND: f64 = 1.25;
/// No packet is larger.
const MOST_BYTES: usize = 65_535;
/// More packets than this are not made up for.
const MOST_UNTOLD: u64 = 1_000;
/// Packets that wait so many milliseconds while so much more is sent than arrives need no trend.
const FLOODED: f64 = 100.0;
const EXCESS: f64 = 1.2;
/// After an outage: what is believed at first of the rate before, and what is tried at once.
const KEPT_AFTER_OUTAGE: f64 = 0.5;
const STEP_AFTER_OUTAGE: f64 = 2.0;
/// Receiver reports that come faster than this say little each.
const REPORTS: Duration = Duration::from_millis(500);

/// Between which rates an estimate moves, in bits per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// What is believed before anything was heard.
    pub start: u64,
    /// The estimate is never less.
    pub floor: u64,
    /// The estimate is never more.
    pub ceiling: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { start: 300_000, floor: 30_000, ceiling: 50_000_000 }
    }
}

/// What the delay of packets says of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Usage {
    /// A queue drains.
    Under,
    /// Nothing changes.
    #[default]
    Normal,
    /// A queue grows.
    Over,
}

/// Packets to send in order to learn whether more gets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Marks the packets of it.
    pub cluster: u32,
    /// At which rate to send, in bits per second.
    pub bitrate: u64,
    /// How many bytes to send, in all.
    pub bytes: usize,
}

/// Learns from feedback how much the path to one client carries.
///
/// Bounded in memory and in work whatever it is fed; about 2 KiB.
#[derive(Debug)]
pub struct Estimator {
    /// Where times are counted from: ours, and the client's.
    origin: Instant,
    client_origin: Option<Duration>,
    seen: Seen,
    delays: Delays,
    trend: Trend,
    arrived: Throughput,
    sent: Throughput,
    /// How many packets were not told of, and when the last came that was.
    untold: u64,
    /// How many of them were made up for, and are not to count again should feedback only have come late.
    filled: u64,
    arrived_at: Option<f64>,
    /// When something was told of last, and when the newest packet that was told of had been sent.
    told_at: Option<Instant>,
    told_sent: f64,
    losses: Losses,
    /// What was sent until then and is told of as lost was too much for a buffer.
    overfull: f64,
    /// A queue that does not grow, and does not drain.
    standing: Standing,
    rate: Rate,
    prober: Prober,
    silence: Silence,
    fallback: Fallback,
    rtt: Duration,
    usage: Usage,
}

impl Estimator {
    /// Nothing is known yet.
    pub fn new(limits: Limits, now: Instant) -> Self {
        let floor = limits.floor.max(1) as f64;
        Self {
            origin: now,
            client_origin: None,
            seen: Seen::new(),
            delays: Delays::new(),
            trend: Trend::new(),
            arrived: Throughput::new(),
            sent: Throughput::new(),
            untold: 0,
            filled: 0,
            arrived_at: None,
            told_at: None,
            told_sent: 0.0,
            losses: Losses::new(),
            overfull: f64::NEG_INFINITY,
            standing: Standing::default(),
            rate: Rate::new(limits.start as f64, floor, (limits.ceiling as f64).max(floor)),
            prober: Prober::new(),
            silence: Silence::new(),
            fallback: Fallback::default(),
            rtt: Duration::from_millis(100),
            usage: Usage::Normal,
        }
    }

    /// Packets with transport-wide numbers were handed to the network: `bytes` of them in all. To be called once per
    /// flush.
    pub fn handle_sent(&mut self, bytes: usize, now: Instant) {
        self.sent.add(self.since_origin(now), bytes);
        self.silence.handle_sent(now);
    }

    /// The client told what became of packets.
    pub fn handle_feedback(&mut self, results: &[PacketResult], now: Instant) {
        if results.is_empty() {
            return;
        }
        self.fallback.heard = true;
        let after_outage = self.silence.handle_answer();
        if after_outage {
            // What is on its way from before the outage says nothing of the path after it.
            self.rate.forget();
            self.prober.hurry(STEP_AFTER_OUTAGE);
            self.rate.set(self.rate.rate() * KEPT_AFTER_OUTAGE);
            self.losses.forget();
        }
        if self.told_at.is_some_and(|at| now.saturating_duration_since(at) > PAUSED) {
            (self.trend, self.usage) = (Trend::new(), Usage::Normal);
            self.delays.pause();
        }
        self.delays.next_time();
        let mut over = false;
        let mut news = false;
        for result in results {
            if after_outage && result.arrival.is_none() {
                continue;
            }
            let found = self.heed(result, &mut over, &mut news, now);
            if let Some(found) = found {
                self.rate.set(found);
            }
        }
        if !news {
            return;
        }
        let waits = self.delays.latest_queue();
        let stands = self.standing.handle(waits, self.delays.noise(), self.rtt, now);
        let over = over || stands;
        self.usage = match self.trend.usage() {
            Usage::Under => Usage::Under,
            _ if over => Usage::Over,
            usage => usage,
        };
        let flooded = self.is_flooded(now);
        let busy = flooded || self.delays.queue().min(self.delays.latest_queue()) > BUSY;
        let carried = if busy { self.carried_busy() } else { self.carried() };
        let idle = self.is_idle(now);
        let seen = rate::Seen {
            usage: self.usage,
            carried,
            sure: self.arrived.rate(WINDOW).is_some(),
            measured: self.prober.measured(now).filter(|_| idle),
            flooded,
            queue: if flooded { self.flood(carried) } else { self.delays.queue() },
            least_queue: self.delays.latest_queue(),
            noise: self.delays.noise(),
        };
        let before = self.rate.is_settled();
        let felt = self.prober.is_felt(idle, now);
        let lowered = if felt && (idle || self.usage == Usage::Over && !flooded) {
            // A queue of our own making, and gone soon.
            false
        } else {
            self.rate.update(seen, now)
        };
        if stands && (lowered || !self.rate.is_settled()) {
            self.standing.handle_action(waits, now);
        }
        if flooded || !before {
            // What is lost now is lost for that reason, whenever that is told of.
            self.losses.forget();
            self.overfull = self.since_origin(now);
        }
        if let Some(bound) = self.losses.proven_bound() {
            self.rate.limit(bound * BEYOND_BOUND);
        }
        if lowered {
            self.prober.handle_cut(self.rate.rate(), now);
        } else if self.usage == Usage::Normal {
            self.prober.handle_calm(now);
        }
    }

    fn heed(&mut self, result: &PacketResult, over: &mut bool, news: &mut bool, now: Instant) -> Option<f64> {
        let sent = self.since_origin(result.sent_at);
        let size = result.size.min(MOST_BYTES);
        let late = self.seen.is_late(result.number);
        self.untold += self.seen.passed_over(result.number).min(MOST_UNTOLD);
        match self.seen.note(result.number, result.arrival.is_some()) {
            News::Nothing => return None,
            News::Lost if sent <= self.overfull => {}
            News::Lost => self.losses.add(sent, size, true),
            News::Arrived => self.losses.add(sent, size, false),
            News::ArrivedAfterAll => self.losses.forgive(),
        }
        *news = true;
        self.told_at = Some(now);
        self.told_sent = self.told_sent.max(sent);
        let arrival = result.arrival.map(|arrival| self.since_client_origin(arrival));
        if let Some(arrival) = arrival {
            self.fill(arrival, size);
            if late && self.filled > 0 {
                self.filled -= 1;
            } else {
                self.arrived.add(arrival, size);
            }
            match self.delays.add(sent, arrival) {
                Step::Nothing => {}
                Step::Group(sample) => *over |= self.trend.add(sample) == Usage::Over,
                Step::Jump => {
                    (self.trend, self.arrived) = (Trend::new(), Throughput::new());
                    self.arrived_at = None;
                }
            }
        }
        let told = Told { sent, arrival, size, probe: result.probe };
        self.prober.handle(told, self.losses.own(), self.rate.rate(), now)
    }

    /// What the path carried of late, with what it loses anyway.
    fn carried(&self) -> Option<f64> {
        self.arrived.rate(WINDOW).map(|rate| rate / (1.0 - self.losses.own()))
    }

    /// The same of a path that is kept busy, and so all that it carries.
    fn carried_busy(&self) -> Option<f64> {
        let busy = self.arrived.rate(BUSY_WINDOW).map(|rate| rate / (1.0 - self.losses.own()));
        [busy, self.carried()].into_iter().flatten().reduce(f64::max)
    }

    /// Packets wait long and much more is sent than arrives: no trend is needed to see that.
    fn is_flooded(&self, now: Instant) -> bool {
        let sent = self.sent(now);
        self.delays.latest_queue() > FLOODED
            && self.carried_busy().is_some_and(|carried| sent > carried * EXCESS)
    }

    /// How many milliseconds it takes until all that was sent after what was told of last has arrived.
    fn flood(&self, carried: Option<f64>) -> f64 {
        let bits = self.sent.bytes_since(self.told_sent) as f64 * 8.0;
        let waits = bits / carried.unwrap_or(f64::INFINITY).max(self.rate.floor()) * 1_000.0;
        waits.max(self.delays.latest_queue())
    }

    /// What lost feedback would have told is taken to have come in between, like the rest.
    fn fill(&mut self, arrival: f64, size: usize) {
        let untold = std::mem::take(&mut self.untold).min(MOST_UNTOLD);
        self.filled = (self.filled + untold).min(MOST_UNTOLD);
        let untold = untold as f64;
        let before = self.arrived_at.unwrap_or(arrival);
        if untold > 0.0 {
            self.arrived.spread(before, arrival, untold * size as f64 * (1.0 - self.losses.own()));
        }
        self.arrived_at = Some(before.max(arrival));
    }

    /// A receiver report told of a share of packets lost. Heeded only while there is no feedback on packets, for it
    /// counts as well what was lost on the publisher's way to us.
    pub fn handle_loss(&mut self, fraction: f32, now: Instant) {
        if !self.fallback.heard {
            self.fallback.handle_loss(fraction, &mut self.rate, now);
        }
    }

    /// The client estimated for itself. Heeded only while there is no feedback on packets.
    pub fn handle_remb(&mut self, bitrate: u64, _now: Instant) {
        if !self.fallback.heard {
            self.rate.set(bitrate as f64);
        }
    }

    /// A round trip was measured.
    pub fn handle_rtt(&mut self, rtt: Duration) {
        let rtt = rtt.clamp(Duration::from_millis(1), Duration::from_secs(5));
        self.rtt = (self.rtt * 7 + rtt) / 8;
    }

    /// Time went on; to be called at [`Self::next_timeout`], and harmless at any other time.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.silence.handle_timeout(self.rtt, now);
        if self.settles_at().is_some_and(|at| at <= now) {
            // Nobody is left to tell that the queue has drained.
            (self.usage, self.standing) = (Usage::Normal, Standing::default());
            self.trend = Trend::new();
            self.rate.settle();
        }
    }

    fn settles_at(&self) -> Option<Instant> {
        let settled = self.usage == Usage::Normal && self.rate.is_settled() && !self.standing.is_there();
        let queue = Duration::from_secs_f64(self.delays.latest_queue().min(1e3) / 1e3);
        let wait = (queue + self.rtt + SETTLED_LATER).min(SETTLED);
        self.told_at.filter(|_| !settled).map(|at| at + wait)
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.silence.next_timeout(self.rtt).into_iter().chain(self.settles_at()).min()
    }

    /// How much may be sent, in bits per second: everything that carries transport-wide numbers.
    pub fn bitrate(&self) -> u64 {
        let bound = self.losses.bound().unwrap_or(f64::INFINITY);
        (self.rate.now().min(bound) * self.silence.share()).max(self.rate.floor()) as u64
    }

    /// The share of packets that the path loses whatever is sent, 0 to 1: so much of what is sent are repeats.
    pub fn own_loss(&self) -> f64 {
        self.losses.own()
    }

    /// A queue is being drained: what may be sent is less than the path carries, so as to shorten it.
    pub fn drains(&self) -> bool {
        !self.rate.is_settled()
    }

    /// How much more there will be once a queue has drained, where that is not so deep that everything has to go for it.
    pub fn held_back(&self) -> u64 {
        self.rate.held_back() as u64
    }

    /// Until when a buffer ran over, if one ever did: that is why what was sent then was lost, sound as well.
    pub fn ran_over(&self) -> Option<Instant> {
        let since = self.overfull.is_finite().then(|| self.overfull.max(0.0) / 1_000.0)?;
        self.origin.checked_add(Duration::try_from_secs_f64(since).ok()?)
    }

    /// What is sent beside probes, in bits per second.
    pub fn sent(&self, now: Instant) -> f64 {
        self.sent.rate_until(self.since_origin(now)) - self.prober.recent_bits(now)
    }

    /// Less is sent than the estimate allows, by so much that it says nothing of what more would do.
    pub fn is_idle(&self, now: Instant) -> bool {
        self.sent(now) < self.rate.rate() * IDLE
    }

    /// Nothing was heard for so long that less is sent.
    pub fn is_silent(&self) -> bool {
        self.silence.share() < 1.0
    }

    /// What the delay of packets says of the path.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// What to send now to learn whether `wanted` bits per second would get through; none while that is known, or not
    /// worth another try yet: what is not `urgent` rests for a while after the rate was lowered. To be asked after each
    /// feedback and timeout; cheap.
    pub fn probe(&mut self, wanted: u64, urgent: bool, now: Instant) -> Option<Probe> {
        if let Some(found) = self.prober.handle_late(self.losses.own(), self.rate.rate(), now) {
            self.rate.set(found);
        }
        let rate = self.rate.rate();
        let rested = |at: Instant| now.saturating_duration_since(at) >= REST;
        let idle = self.is_idle(now);
        let calm = self.usage == Usage::Normal
            && self.losses.bound().is_none()
            && !self.standing.is_there()
            && !self.silence.lasts(self.rtt, now)
            && (self.prober.is_eager()
                || idle && (urgent || self.rate.cut_at().is_none_or(rested))
                || !self.rate.is_near() && self.rate.cut_at().is_none_or(rested));
        self.prober.probe(rate, wanted as f64, calm, self.rtt, now)
    }

    fn since_origin(&self, at: Instant) -> f64 {
        match at.checked_duration_since(self.origin) {
            Some(since) => since.as_secs_f64() * 1_000.0,
            None => -self.origin.saturating_duration_since(at).as_secs_f64() * 1_000.0,
        }
    }

    fn since_client_origin(&mut self, at: Duration) -> f64 {
        let origin = *self.client_origin.get_or_insert(at);
        match at.checked_sub(origin) {
            Some(since) => since.as_secs_f64() * 1_000.0,
            None => -origin.saturating_sub(at).as_secs_f64() * 1_000.0,
        }
    }
}

/// What is gone by where the client gives no feedback on packets.
#[derive(Debug, Default)]
struct Fallback {
    /// There is feedback on packets.
    heard: bool,
    at: Option<Instant>,
}

impl Fallback {
    fn handle_loss(&mut self, fraction: f32, rate: &mut Rate, now: Instant) {
        let fraction = if fraction.is_finite() { f64::from(fraction.clamp(0.0, 1.0)) } else { return };
        if self.at.is_some_and(|at| now.saturating_duration_since(at) < REPORTS) {
            return;
        }
        self.at = Some(now);
        match fraction {
            few if few < 0.02 => rate.set(rate.rate() * 1.05),
            many if many > 0.1 => rate.set(rate.rate() * (1.0 - many / 2.0)),
            _ => {}
        }
    }
}
