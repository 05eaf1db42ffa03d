//! A participant of a room and the quality of its connection.

use std::time::{Duration, Instant};

use crate::allowance::Allowance;
use crate::clock::PublisherClock;
use crate::ids::ParticipantId;

/// Sums over one period.
#[derive(Debug, Default)]
pub(crate) struct QualitySums {
    pub(crate) downlink: Mean,
    pub(crate) rtt: Option<Duration>,
    /// Statistics came since the last report.
    pub(crate) fresh: bool,
}

/// A mean of fractions.
#[derive(Debug, Default)]
pub(crate) struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    pub(crate) fn add(&mut self, fraction: f32) {
        if fraction.is_finite() {
            self.sum += f64::from(fraction.clamp(0.0, 1.0));
            self.count += 1;
        }
    }

    pub(crate) fn value(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / f64::from(self.count) }
    }
}

#[derive(Debug)]
pub(crate) struct Participant {
    pub(crate) id: ParticipantId,
    pub(crate) identity: String,
    /// One connection (`Target::Single`) instead of two.
    pub(crate) single: bool,
    pub(crate) transports: Vec<usize>,
    pub(crate) tracks: Vec<usize>,
    pub(crate) subscriptions: Vec<usize>,
    pub(crate) clock: PublisherClock,
    pub(crate) allowance: Allowance,
    pub(crate) quality: QualitySums,
    pub(crate) quality_at: Instant,
}
