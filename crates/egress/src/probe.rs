//! More than the media is sent for a moment, to see whether it arrives.

use std::time::{Duration, Instant};

/// How often a probe is continued.
const PACE: Duration = Duration::from_millis(5);
/// A probe that is not done by then ends.
const MAX_DURATION: Duration = Duration::from_secs(1);

/// A probe that runs.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) cluster: u32,
    pub(crate) bitrate: u64,
    bytes: u64,
    sent: u64,
    began: Option<Instant>,
    next: Option<Instant>,
}

impl Probe {
    pub(crate) fn new(cluster: u32, bitrate: u64, bytes: usize) -> Self {
        Self { cluster, bitrate, bytes: bytes as u64, sent: 0, began: None, next: None }
    }

    /// Something was sent with a transport-wide number.
    pub(crate) fn count(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// Bytes that lack to be sent by now, or none when the probe is over.
    pub(crate) fn lacks(&mut self, now: Instant) -> Option<u64> {
        let began = *self.began.get_or_insert(now);
        let passed = now.saturating_duration_since(began);
        if self.sent >= self.bytes || passed > MAX_DURATION {
            return None;
        }
        self.next = Some(now + PACE);
        let micros = (passed + PACE).as_micros() as u64;
        let owed = self.bitrate.saturating_mul(micros) / 8_000_000;
        Some(owed.min(self.bytes).saturating_sub(self.sent))
    }

    /// When it goes on; none if it did not begin.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }
}
