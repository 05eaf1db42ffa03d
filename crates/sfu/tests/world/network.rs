//! A bad network, in simulated time: what each datagram of one direction meets on its way.
//!
//! A [`Link`] decides alone and by its seed: the same datagrams at the same times meet the same fate. In this order: an
//! outage swallows it; the bottleneck serialises it at its rate, or drops it when its queue is full; then it may be lost;
//! what is left takes the delay and its jitter, may be overtaken by others, may come twice. [`Network`] holds the
//! links of all clients and what is under way.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What the headers of IP and UDP add to each datagram at the bottleneck.
const HEADERS: usize = 28;
/// The way to and from clients of which nothing was said.
const PLAIN_DELAY: Duration = Duration::from_millis(5);

/// How datagrams are lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Loss {
    /// Each with this probability.
    Random(f64),
    /// Gilbert–Elliott: before each datagram the link may turn bad or good again; in each state it loses that share.
    Bursty { turns_bad: f64, turns_good: f64, when_good: f64, when_bad: f64 },
}

impl Loss {
    /// A share of all that is lost in runs of so many on average, and nothing in between.
    pub(crate) fn in_bursts(share: f64, mean_run: f64) -> Self {
        let turns_good = 1.0 / mean_run.max(1.0);
        let turns_bad = turns_good * share / (1.0 - share).max(1e-9);
        Self::Bursty { turns_bad: turns_bad.min(1.0), turns_good, when_good: 0.0, when_bad: 1.0 }
    }
}

/// A bottleneck with a queue before it. What would wait longer, or behind more bytes, is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Bits per second, headers of IP and UDP included.
    pub(crate) bits: u64,
    pub(crate) queue_bytes: usize,
    pub(crate) queue_delay: Duration,
}

impl Rate {
    /// With a queue like those of home routers.
    pub(crate) fn of(bits: u64) -> Self {
        Self { bits, queue_bytes: 256 * 1024, queue_delay: Duration::from_millis(300) }
    }
}

/// What one direction is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Conditions {
    pub(crate) loss: Loss,
    pub(crate) delay: Duration,
    /// Up to so much more delay, by chance, without overtaking.
    pub(crate) jitter: Duration,
    /// The share of datagrams that take `reorder_by` longer and are overtaken meanwhile.
    pub(crate) reorder: f64,
    pub(crate) reorder_by: Duration,
    /// The share that comes twice.
    pub(crate) duplicate: f64,
    pub(crate) rate: Option<Rate>,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            loss: Loss::Random(0.0),
            delay: PLAIN_DELAY,
            jitter: Duration::ZERO,
            reorder: 0.0,
            reorder_by: Duration::from_millis(20),
            duplicate: 0.0,
            rate: None,
        }
    }
}

/// What became of the datagrams of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) bytes: u64,
    pub(crate) lost: u64,
    /// Dropped before the bottleneck.
    pub(crate) dropped: u64,
    pub(crate) duplicated: u64,
}

/// One direction of a client's network.
#[derive(Debug)]
pub(crate) struct Link {
    conditions: Conditions,
    random: fastrand::Rng,
    is_bad: bool,
    /// When the bottleneck has sent everything that waits before it.
    free_at: Option<Instant>,
    /// When the last one that kept its place arrives.
    last: Option<Instant>,
    outages: Vec<(Instant, Instant)>,
    pub(crate) counts: Counts,
}

impl Link {
    pub(crate) fn new(conditions: Conditions, seed: u64) -> Self {
        Self {
            conditions,
            random: fastrand::Rng::with_seed(seed),
            is_bad: false,
            free_at: None,
            last: None,
            outages: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// From now on it is like this; what is under way is not touched.
    pub(crate) fn change(&mut self, conditions: Conditions) {
        self.conditions = conditions;
    }

    /// Nothing passes from one time to the other.
    pub(crate) fn add_outage(&mut self, from: Instant, until: Instant) {
        self.outages.push((from, until));
    }

    /// When a datagram that is sent now arrives, and when once more.
    pub(crate) fn send(&mut self, len: usize, now: Instant) -> [Option<Instant>; 2] {
        self.counts.sent += 1;
        self.counts.bytes += len as u64;
        if self.outages.iter().any(|(from, until)| (*from..*until).contains(&now)) {
            self.counts.lost += 1;
            return [None; 2];
        }
        let Some(passed) = self.pass_bottleneck(len + HEADERS, now) else {
            self.counts.dropped += 1;
            return [None; 2];
        };
        if self.loses() {
            self.counts.lost += 1;
            return [None; 2];
        }
        let c = self.conditions;
        let at = passed + c.delay + c.jitter.mul_f64(self.random.f64());
        let at = if self.random.f64() < c.reorder {
            at + c.reorder_by
        } else {
            let at = self.last.map_or(at, |last| at.max(last));
            self.last = Some(at);
            at
        };
        let again = (self.random.f64() < c.duplicate).then_some(at);
        self.counts.duplicated += u64::from(again.is_some());
        [Some(at), again]
    }

    fn pass_bottleneck(&mut self, len: usize, now: Instant) -> Option<Instant> {
        let Some(rate) = self.conditions.rate else {
            self.free_at = None;
            return Some(now);
        };
        let begins = self.free_at.map_or(now, |at| at.max(now));
        let wait = begins.duration_since(now);
        let waiting = wait.as_secs_f64() * rate.bits as f64 / 8.0;
        if wait > rate.queue_delay || waiting + len as f64 > rate.queue_bytes as f64 {
            return None;
        }
        let ends = begins + Duration::from_secs_f64(len as f64 * 8.0 / rate.bits as f64);
        self.free_at = Some(ends);
        Some(ends)
    }

    fn loses(&mut self) -> bool {
        let chance = self.random.f64();
        match self.conditions.loss {
            Loss::Random(share) => chance < share,
            Loss::Bursty { turns_bad, turns_good, when_good, when_bad } => {
                let turns = if self.is_bad { turns_good } else { turns_bad };
                self.is_bad ^= self.random.f64() < turns;
                chance < if self.is_bad { when_bad } else { when_good }
            }
        }
    }
}

/// A datagram under way.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Flight {
    pub(crate) at: Instant,
    /// Those of one time arrive as they were sent.
    serial: u64,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) contents: Vec<u8>,
}

/// Both directions of a client.
#[derive(Debug)]
pub(crate) struct Ways {
    pub(crate) up: Link,
    pub(crate) down: Link,
}

/// The links of all clients, and what is under way.
#[derive(Debug, Default)]
pub(crate) struct Network {
    ways: HashMap<SocketAddr, Ways>,
    flights: BinaryHeap<Reverse<Flight>>,
    serial: u64,
}

impl Network {
    /// The ways of a client, made from `seed` when they are asked for first.
    pub(crate) fn ways(&mut self, client: SocketAddr, seed: u64) -> &mut Ways {
        let made = |conditions, which| Link::new(conditions, seed.wrapping_mul(2).wrapping_add(which));
        self.ways.entry(client).or_insert_with(|| Ways {
            up: made(Conditions::default(), 0),
            down: made(Conditions::default(), 1),
        })
    }

    pub(crate) fn counts(&self, client: SocketAddr) -> Option<(Counts, Counts)> {
        self.ways.get(&client).map(|w| (w.up.counts, w.down.counts))
    }

    /// Sends a datagram of or to `client`.
    pub(crate) fn send(
        &mut self,
        client: SocketAddr,
        down: bool,
        (from, to): (SocketAddr, SocketAddr),
        contents: &[u8],
        now: Instant,
    ) {
        let arrivals = match self.ways.get_mut(&client) {
            Some(ways) if down => ways.down.send(contents.len(), now),
            Some(ways) => ways.up.send(contents.len(), now),
            None => [Some(now + PLAIN_DELAY), None],
        };
        for at in arrivals.into_iter().flatten() {
            self.serial += 1;
            let serial = self.serial;
            self.flights.push(Reverse(Flight { at, serial, from, to, contents: contents.to_vec() }));
        }
    }

    /// The next that has arrived until then.
    pub(crate) fn arrive(&mut self, until: Instant) -> Option<Flight> {
        if self.flights.peek().is_none_or(|Reverse(flight)| flight.at > until) {
            return None;
        }
        self.flights.pop().map(|Reverse(flight)| flight)
    }
}
