//! Counters of one peer, written by the network thread and read by the owner.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::probe::{self, BUCKETS};
use crate::protocol::PeerStats;

/// One counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters; see [`PeerStats`] for their meaning.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Counters {
    pub packets_received: Counter,
    pub bytes_received: Counter,
    pub frames_received: Counter,
    pub gaps: Counter,
    pub frames_dropped: Counter,
    pub data_dropped: Counter,
    pub frames_sent: Counter,
    pub frames_refused: Counter,
    pub datagrams_sent: Counter,
    pub datagrams_received: Counter,
    pub keyframes_requested: Counter,
    delays: Vec<Counter>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            packets_received: Counter::default(),
            bytes_received: Counter::default(),
            frames_received: Counter::default(),
            gaps: Counter::default(),
            frames_dropped: Counter::default(),
            data_dropped: Counter::default(),
            frames_sent: Counter::default(),
            frames_refused: Counter::default(),
            datagrams_sent: Counter::default(),
            datagrams_received: Counter::default(),
            keyframes_requested: Counter::default(),
            delays: (0..BUCKETS).map(|_| Counter::default()).collect(),
        }
    }
}

impl Counters {
    /// Notes the delay of a marked packet.
    pub fn delay(&self, delay_us: u64) {
        self.delays[probe::bucket(delay_us)].add(1);
    }

    /// A copy.
    pub fn stats(&self) -> PeerStats {
        PeerStats {
            packets_received: self.packets_received.value(),
            bytes_received: self.bytes_received.value(),
            frames_received: self.frames_received.value(),
            gaps: self.gaps.value(),
            frames_dropped: self.frames_dropped.value(),
            data_dropped: self.data_dropped.value(),
            frames_sent: self.frames_sent.value(),
            frames_refused: self.frames_refused.value(),
            datagrams_sent: self.datagrams_sent.value(),
            datagrams_received: self.datagrams_received.value(),
            keyframes_requested: self.keyframes_requested.value(),
            delays: self.delays.iter().map(Counter::value).collect(),
        }
    }
}
