//! A bottleneck, and who sends over it: seeded, without a clock, far faster than real time.
//!
//! Senders are like the server: frames leave as bursts that nobody paces, probes are spread, and the client answers every
//! tenth of a second with what came, in steps of 250 µs of a clock of its own.

#![allow(dead_code, reason = "not every test uses all of it")]

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use rtcloud_bandwidth::{Estimator, Limits, PacketResult, Probe};

const TICK_US: u64 = 500;
const PACKET: usize = 1_150;
const FEEDBACK_US: u64 = 100_000;

/// What the path is like.
#[derive(Clone)]
pub(crate) struct Link {
    /// Bits per second.
    pub(crate) rate: f64,
    /// How much waits at most, in bytes.
    pub(crate) buffer: usize,
    /// One way, in milliseconds.
    pub(crate) delay: f64,
    /// Added to it at random, up to so many milliseconds; and whether packets overtake each other for it.
    pub(crate) jitter: f64,
    pub(crate) overtaking: bool,
    /// Shares lost at random, there and back.
    pub(crate) loss: f64,
    pub(crate) feedback_loss: f64,
    /// Bits per second of others that do not yield.
    pub(crate) cross: f64,
    /// Nothing gets through, either way.
    pub(crate) down: bool,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            rate: 1e6,
            buffer: 100_000,
            delay: 25.0,
            jitter: 0.0,
            overtaking: false,
            loss: 0.0,
            feedback_loss: 0.0,
            cross: 0.0,
            down: false,
        }
    }
}

/// What a sender has to send.
#[derive(Clone)]
pub(crate) enum Source {
    /// As much as the estimate allows, up to so much.
    Elastic(f64),
    /// The largest of these layers that the estimate allows; none if none fits.
    Layers(Vec<f64>),
}

impl Source {
    fn rate(&self, budget: f64) -> f64 {
        match self {
            Self::Elastic(most) => budget.min(*most),
            Self::Layers(layers) => layers.iter().copied().filter(|rate| *rate <= budget).fold(0.0, f64::max),
        }
    }
}

struct Flying {
    flow: usize,
    number: u64,
    size: usize,
}

struct Answer {
    at: u64,
    results: Vec<PacketResult>,
}

pub(crate) struct Flow {
    pub(crate) estimator: Estimator,
    pub(crate) source: Source,
    pub(crate) wanted: u64,
    pub(crate) starts_us: u64,
    /// What the client's clock gains, in parts per million, and where it starts.
    pub(crate) drift_ppm: f64,
    pub(crate) clock: Duration,
    pub(crate) fps: u64,
    pub(crate) probes: usize,
    pub(crate) sent_bytes: u64,
    number: u64,
    sent: BTreeMap<u64, (u64, usize, Option<u32>)>,
    came: BTreeMap<u64, Duration>,
    newest: Option<u64>,
    answers: VecDeque<Answer>,
    probe: Option<(Probe, f64, u64)>,
    frames: u64,
}

impl Flow {
    pub(crate) fn new(start: u64, source: Source, world: &World) -> Self {
        let limits = Limits { start, ..Limits::default() };
        Self {
            estimator: Estimator::new(limits, world.origin),
            source,
            wanted: 20_000_000,
            starts_us: 0,
            drift_ppm: 0.0,
            clock: Duration::from_secs(1_000_000),
            fps: 30,
            probes: 0,
            sent_bytes: 0,
            number: 65_000,
            sent: BTreeMap::new(),
            came: BTreeMap::new(),
            newest: None,
            answers: VecDeque::new(),
            probe: None,
            frames: 0,
        }
    }
}

pub(crate) struct World {
    pub(crate) link: Link,
    pub(crate) flows: Vec<Flow>,
    pub(crate) origin: Instant,
    pub(crate) now_us: u64,
    random: fastrand::Rng,
    queue: VecDeque<Flying>,
    queued: usize,
    credit: f64,
    cross: f64,
    arrivals: BTreeMap<(u64, u64), Flying>,
    order: u64,
    last_arrival: u64,
}

impl World {
    pub(crate) fn new(link: Link, seed: u64) -> Self {
        Self {
            link,
            flows: Vec::new(),
            origin: Instant::now(),
            now_us: 0,
            random: fastrand::Rng::with_seed(seed),
            queue: VecDeque::new(),
            queued: 0,
            credit: 0.0,
            cross: 0.0,
            arrivals: BTreeMap::new(),
            order: 0,
            last_arrival: 0,
        }
    }

    /// One sender that starts at `start` and has as much to send as it may.
    pub(crate) fn with_one(link: Link, start: u64, seed: u64) -> Self {
        let mut world = Self::new(link, seed);
        world.add(start, Source::Elastic(20e6));
        world
    }

    pub(crate) fn add(&mut self, start: u64, source: Source) -> &mut Flow {
        let mut flow = Flow::new(start, source, self);
        flow.starts_us = self.now_us + self.flows.len() as u64 * 7_000;
        self.flows.push(flow);
        self.flows.last_mut().expect("just added")
    }

    pub(crate) fn estimate(&self) -> f64 {
        self.flows[0].estimator.bitrate() as f64
    }

    /// How long a packet would wait now, in milliseconds.
    pub(crate) fn wait(&self) -> f64 {
        self.queued as f64 * 8_000.0 / self.link.rate
    }

    /// Runs for so long and returns the first sender's estimate every tenth of a second.
    pub(crate) fn run(&mut self, seconds: f64) -> Vec<f64> {
        let until = self.now_us + (seconds * 1e6) as u64;
        let mut estimates = Vec::new();
        while self.now_us < until {
            self.step();
            if self.now_us.is_multiple_of(100_000) {
                estimates.push(self.estimate());
            }
        }
        estimates
    }

    /// Runs until `done`, for so many seconds at most; returns how many it took.
    pub(crate) fn run_until(&mut self, seconds: f64, done: impl Fn(&Self) -> bool) -> Option<f64> {
        let start = self.now_us;
        while self.now_us < start + (seconds * 1e6) as u64 {
            self.step();
            if done(self) {
                return Some((self.now_us - start) as f64 / 1e6);
            }
        }
        None
    }

    fn step(&mut self) {
        self.now_us += TICK_US;
        for index in 0..self.flows.len() {
            self.send(index);
        }
        self.carry();
        self.arrive();
        for index in 0..self.flows.len() {
            self.answer(index);
            self.hear(index);
        }
    }

    fn now(&self) -> Instant {
        self.origin + Duration::from_micros(self.now_us)
    }

    fn send(&mut self, index: usize) {
        let (now_us, now) = (self.now_us, self.now());
        let flow = &mut self.flows[index];
        if now_us < flow.starts_us {
            return;
        }
        let mut packets = Vec::new();
        let age = now_us - flow.starts_us;
        if age / (1_000_000 / flow.fps) >= flow.frames {
            flow.frames += 1;
            let rate = flow.source.rate(flow.estimator.bitrate() as f64);
            let bytes = (rate / 8.0 / flow.fps as f64 * (0.8 + 0.4 * self.random.f64())) as usize;
            let count = bytes.div_ceil(PACKET);
            packets.extend((0..count).map(|_| (bytes / count, None)));
        }
        // Spread in bursts of up to 5 ms.
        if let Some((probe, sent, since)) = &mut flow.probe
            && now_us.is_multiple_of(5_000)
        {
            let due = (probe.bitrate as f64 / 8e6 * (now_us - *since + 5_000) as f64).min(probe.bytes as f64);
            while *sent < due {
                packets.push((PACKET, Some(probe.cluster)));
                *sent += PACKET as f64;
            }
            if *sent >= probe.bytes as f64 {
                flow.probe = None;
            }
        }
        if packets.is_empty() {
            return;
        }
        let bytes: usize = packets.iter().map(|packet| packet.0).sum();
        flow.estimator.handle_sent(bytes, now);
        flow.sent_bytes += bytes as u64;
        for (size, probe) in packets {
            let number = self.flows[index].number;
            self.flows[index].number += 1;
            self.flows[index].sent.insert(number, (now_us, size, probe));
            self.enqueue(Flying { flow: index, number, size });
        }
    }

    fn enqueue(&mut self, packet: Flying) {
        if !self.link.down && self.queued + packet.size <= self.link.buffer {
            self.queued += packet.size;
            self.queue.push_back(packet);
        }
    }

    fn carry(&mut self) {
        self.cross += self.link.cross / 8e6 * TICK_US as f64;
        while self.cross >= PACKET as f64 {
            self.cross -= PACKET as f64;
            self.enqueue(Flying { flow: usize::MAX, number: 0, size: PACKET });
        }
        self.credit += self.link.rate / 8e6 * TICK_US as f64;
        while let Some(size) = self.queue.front().map(|packet| packet.size)
            && self.credit >= size as f64
        {
            self.credit -= size as f64;
            self.queued -= size;
            let packet = self.queue.pop_front().expect("a packet");
            if packet.flow == usize::MAX || self.random.f64() < self.link.loss {
                continue;
            }
            let jitter = self.random.f64() * self.link.jitter;
            let mut at = self.now_us + ((self.link.delay + jitter) * 1_000.0) as u64;
            if !self.link.overtaking {
                at = at.max(self.last_arrival);
                self.last_arrival = at;
            }
            self.order += 1;
            self.arrivals.insert((at, self.order), packet);
        }
        if self.queue.is_empty() {
            self.credit = self.credit.min(0.0);
        }
    }

    fn arrive(&mut self) {
        while let Some(entry) = self.arrivals.first_entry().filter(|entry| entry.key().0 <= self.now_us) {
            let ((at, _), packet) = entry.remove_entry();
            let flow = &mut self.flows[packet.flow];
            let local = at as f64 * (1.0 + flow.drift_ppm / 1e6);
            let clock = flow.clock + Duration::from_micros(local as u64 / 250 * 250);
            flow.came.insert(packet.number, clock);
        }
    }

    /// The client tells of all up to the newest that came, from the oldest it has not told of.
    fn answer(&mut self, index: usize) {
        let back = (self.link.delay * 1_000.0) as u64;
        let flow = &mut self.flows[index];
        if !(self.now_us + index as u64 * 13_000).is_multiple_of(FEEDBACK_US) {
            return;
        }
        let (Some(first), Some(last)) = (flow.came.keys().next().copied(), flow.came.keys().last().copied())
        else {
            return;
        };
        let from = flow.newest.map_or(first, |newest| first.min(newest + 1));
        let results = (from..=last)
            .filter_map(|number| {
                let (sent, size, probe) = *flow.sent.get(&number)?;
                let sent_at = self.origin + Duration::from_micros(sent);
                Some(PacketResult { number, sent_at, size, arrival: flow.came.get(&number).copied(), probe })
            })
            .collect();
        flow.came.clear();
        flow.newest = Some(flow.newest.map_or(last, |newest| newest.max(last)));
        if self.link.down || self.random.f64() < self.link.feedback_loss {
            return;
        }
        flow.answers.push_back(Answer { at: self.now_us + back, results });
    }

    fn hear(&mut self, index: usize) {
        let now = self.now();
        let flow = &mut self.flows[index];
        if now - self.origin < Duration::from_micros(flow.starts_us) {
            return;
        }
        while flow.answers.front().is_some_and(|answer| answer.at <= self.now_us) {
            let answer = flow.answers.pop_front().expect("an answer");
            flow.estimator.handle_rtt(Duration::from_micros((self.link.delay * 2_000.0) as u64));
            flow.estimator.handle_feedback(&answer.results, now);
        }
        if flow.estimator.next_timeout().is_some_and(|at| at <= now) {
            flow.estimator.handle_timeout(now);
        }
        if self.now_us.is_multiple_of(10_000)
            && let Some(probe) = flow.estimator.probe(flow.wanted, true, now)
        {
            flow.probes += 1;
            flow.probe = Some((probe, 0.0, self.now_us));
        }
        if self.now_us.is_multiple_of(10_000_000) {
            let old = flow.number.saturating_sub(10_000);
            flow.sent = flow.sent.split_off(&old);
        }
    }
}
