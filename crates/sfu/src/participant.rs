//! A participant of a room and the quality of its connection.

use std::time::{Duration, Instant};

use crate::allowance::Allowance;
use crate::clock::PublisherClock;
use crate::command::Rights;
use crate::event::Refusal;
use crate::ids::ParticipantId;

/// What is told of a connection.
#[derive(Debug, Default)]
pub(crate) struct Quality {
    /// Since the last report.
    pub(crate) downlink: Mean,
    pub(crate) rtt: Option<Duration>,
    /// There were statistics.
    pub(crate) measured: bool,
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

/// Messages dropped, by reason.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    counts: [u64; Refusal::COUNT],
    fresh: bool,
    told_at: Option<Instant>,
}

impl Refusals {
    const INTERVAL: Duration = Duration::from_secs(1);

    pub(crate) fn count(&mut self, reason: Refusal) {
        self.counts[reason as usize] += 1;
        self.fresh = true;
    }

    /// What is to be told now: the first at once, what follows once a second.
    pub(crate) fn take(&mut self, now: Instant) -> impl Iterator<Item = (Refusal, u64)> + use<> {
        let due = self.fresh && self.told_at.is_none_or(|at| now >= at + Self::INTERVAL);
        if due {
            self.told_at = Some(now);
        }
        due.then(|| self.take_all()).into_iter().flatten()
    }

    /// What was not told yet.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = (Refusal, u64)> + use<> {
        self.fresh = false;
        let counts = std::mem::take(&mut self.counts);
        Refusal::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0)
    }
}

#[derive(Debug)]
pub(crate) struct Participant {
    pub(crate) id: ParticipantId,
    pub(crate) identity: String,
    /// One connection (`Target::Single`) instead of two.
    pub(crate) single: bool,
    /// It receives in the sections of its first offer and is never asked for another.
    pub(crate) fixed: bool,
    /// What it is sent follows its network.
    pub(crate) adaptive: bool,
    pub(crate) rights: Rights,
    pub(crate) transports: Vec<usize>,
    pub(crate) tracks: Vec<usize>,
    pub(crate) subscriptions: Vec<usize>,
    pub(crate) clock: PublisherClock,
    pub(crate) allowance: Allowance,
    pub(crate) refusals: Refusals,
    pub(crate) quality: Quality,
    pub(crate) quality_at: Instant,
}
