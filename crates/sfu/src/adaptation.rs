//! Pictures follow the network: what a client gets of what it wishes for.
//!
//! What its network carries is estimated from its feedback, shared out among the pictures that it wishes for, and granted
//! to each subscription: a layer, or nothing for now. Sound has no part in this: it is never shed, and as it carries no
//! transport-wide numbers, the estimate is of what is left beside it.
//!
//! Nothing is shed where nothing is known: for clients that give no feedback, and for participants that are not to be
//! adapted to (recorders, relays). Until the first feedback a client gets no more than a usual network carries, and until
//! it was too much once, something of everything.

use std::time::{Duration, Instant};

use rtcloud_bandwidth::{Allocator, Budget, Estimator, Limits, PacketResult, Probe, Shared, Want};
use rtcloud_egress::Pacing;

use crate::lately::Lately;
use crate::rates::Rates;
use crate::sublayer::Aim;

/// What a network is taken to carry before anything was heard.
const START: u64 = 1_000_000;
/// What is left of the estimate for repetitions.
const MARGIN: f64 = 0.95;
/// The loss up to which that and what granted layers leave suffice; of more, repetitions take their share.
const REPAIRED: f64 = 0.1;
/// Who loses no more than that anyway needs no redundancy for what a full buffer took.
const FEW: f64 = 0.02;
/// More than what is wished for has to be found, for a layer is only taken where it fits well.
const FOUND: f64 = 1.25;
/// How much faster than the estimate pictures leave, where they wait,
const FASTER: f64 = 1.25;
/// and for how long they do after the estimate was lowered.
const NARROW: Duration = Duration::from_secs(20);
/// Who gave no feedback in so long gives none.
const PATIENCE: Duration = Duration::from_secs(2);
/// A client's own estimate is old after this.
const REMB_LASTS: Duration = Duration::from_secs(10);
/// More than any network carries.
const UNBOUNDED: u64 = 1 << 40;

/// What a subscription gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Grant {
    /// What it wishes for; it was not asked about yet.
    #[default]
    Unasked,
    /// What it wishes for.
    Everything,
    /// A source, and layers in size of it, or less.
    Layer { source: usize, spatial: u8 },
    /// The network does not carry it.
    Nothing,
}

impl Grant {
    /// Layers in size that may be sent.
    pub(crate) fn spatial(self) -> u8 {
        match self {
            Self::Layer { spatial, .. } => spatial,
            _ => Aim::ALL.spatial,
        }
    }
}

/// A layer that could be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) source: usize,
    pub(crate) spatial: u8,
    pub(crate) bitrate: u64,
}

/// What is known of one transport's network.
#[derive(Debug, Default)]
pub(crate) struct Adaptation {
    /// Whether anything is ever shed.
    enabled: bool,
    estimator: Option<Box<Estimator>>,
    allocator: Allocator,
    /// There was feedback on packets.
    heard: bool,
    /// The estimate was lowered once: it is a bound that was met, and not only what was tried so far.
    met: bool,
    /// When it was last lowered while as much was sent.
    narrow: Option<Instant>,
    /// Bytes sent with transport-wide numbers, and in all.
    numbered: u64,
    bytes: u64,
    began: Option<Instant>,
    sent: Rates,
    remb: Option<(u64, Instant)>,
    lately: Lately,
    shared: Shared,
}

impl Adaptation {
    pub(crate) fn new(enabled: bool) -> Self {
        Self { enabled, ..Self::default() }
    }

    /// Something left: bytes with transport-wide numbers so far, and bytes in all.
    pub(crate) fn handle_sent(&mut self, numbered: u64, bytes: u64, now: Instant) {
        if !self.enabled {
            return;
        }
        let all = bytes.saturating_sub(std::mem::replace(&mut self.bytes, bytes));
        if all > 0 {
            self.sent.count(0, all as usize, now);
        }
        let new = numbered.saturating_sub(std::mem::replace(&mut self.numbered, numbered));
        if new == 0 {
            return;
        }
        self.began.get_or_insert(now);
        // What goes out anyway is no surprise.
        let start = START.max((self.shared.granted as f64 * FOUND) as u64);
        let limits = Limits { start, ..Limits::default() };
        let estimator = self.estimator.get_or_insert_with(|| Box::new(Estimator::new(limits, now)));
        estimator.handle_sent(new as usize, now);
    }

    /// The client told what became of packets.
    pub(crate) fn handle_results(&mut self, results: &[PacketResult], now: Instant) {
        if let Some(estimator) = &mut self.estimator {
            self.heard |= !results.is_empty();
            self.lately.count(results, now);
            if estimator.is_silent() {
                self.allocator.forgive();
            }
            let (before, idle) = (estimator.bitrate(), estimator.is_idle(now));
            estimator.handle_feedback(results, now);
            let after = estimator.bitrate();
            if after < before {
                self.met = true;
                let flooded = estimator.sent(now) > after as f64 * FASTER;
                self.narrow = if flooded || !idle { Some(now) } else { self.narrow };
            }
        }
    }

    /// The client told its own estimate.
    pub(crate) fn handle_remb(&mut self, bitrate: u64, now: Instant) {
        self.remb = Some((bitrate, now));
    }

    /// A round trip was measured.
    pub(crate) fn handle_rtt(&mut self, rtt: Duration) {
        if let Some(estimator) = &mut self.estimator {
            estimator.handle_rtt(rtt);
        }
    }

    /// Shares out what the network carries among what is wished for. `numbered` is whether packets have transport-wide
    /// numbers. What each gets, of its layers, or none; no grants at all where nothing is known and each gets everything.
    pub(crate) fn share(
        &mut self,
        numbered: bool,
        wants: &[Want<'_>],
        now: Instant,
    ) -> Option<Vec<Option<usize>>> {
        let least = wants.iter().filter_map(|want| want.layers.first()).sum();
        let budget = self.budget(numbered, least, now);
        let mut grants = Vec::with_capacity(wants.len());
        self.shared = self.allocator.allocate(budget, wants, now, &mut grants);
        budget.map(|_| grants)
    }

    /// Nothing is wished for.
    pub(crate) fn share_nothing(&mut self, now: Instant) {
        self.handle_timeout(now);
        if self.shared != Shared::default() {
            self.shared = Shared::default();
            self.allocator = Allocator::new();
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some(estimator) = self.estimator.as_mut().filter(|_| self.heard) {
            let before = estimator.bitrate();
            estimator.handle_timeout(now);
            self.met |= estimator.bitrate() < before;
        }
    }

    /// What there is for pictures; none where nothing is known. `numbered` is whether packets have transport-wide
    /// numbers, `least` what the smallest layers take.
    fn budget(&mut self, numbered: bool, least: u64, now: Instant) -> Option<Budget> {
        if !self.enabled {
            return None;
        }
        self.handle_timeout(now);
        if let Some(estimator) = self.estimator.as_ref().filter(|_| self.heard) {
            let repeats = (estimator.own_loss() - REPAIRED).max(0.0);
            let estimate = (estimator.bitrate() as f64 * MARGIN * (1.0 - repeats)) as u64;
            // Of a network that has carried everything so far nobody knows that it does not carry something of the next.
            let bitrate = if self.met { estimate } else { estimate.max((least as f64 * FOUND) as u64) };
            let held_back = estimator.held_back();
            return Some(Budget { bitrate, held_back, rough: self.lately.is_rough(now) });
        }
        if let Some((remb, at)) = self.remb
            && now.saturating_duration_since(at) < REMB_LASTS
        {
            // It is made of what arrives, and more than that says nothing of how much more there could be.
            let sent = self.sent.bitrate(0, now).unwrap_or(0);
            return Some(steady(if remb > sent { UNBOUNDED } else { (remb as f64 * MARGIN) as u64 }));
        }
        let early = self.began.is_none_or(|began| now.saturating_duration_since(began) < PATIENCE);
        (numbered && early).then(|| steady(START.max((least as f64 * FOUND) as u64)))
    }

    /// What its connection is believed to take, in bits per second, if anything is known.
    pub(crate) fn estimate(&self) -> Option<u64> {
        self.carried().or_else(|| self.remb.map(|(remb, _)| remb))
    }

    /// What its network is known to carry, in bits per second, from feedback on packets.
    pub(crate) fn carried(&self) -> Option<u64> {
        self.estimator.as_ref().filter(|_| self.heard).map(|e| e.bitrate())
    }
    /// How fast things may leave. Pictures wait where the network is what keeps them small, or was too narrow lately;
    /// and leave a little faster than it is believed to carry, for on average they are less, but not while a queue drains.
    pub(crate) fn pacing(&self, now: Instant) -> Pacing {
        let Some(estimator) = self.estimator.as_ref().filter(|_| self.heard) else {
            return Pacing::default();
        };
        let carried = estimator.bitrate();
        let faster = if estimator.drains() { 1.0 } else { FASTER };
        let lacks = self.shared.granted < self.shared.wished;
        let lately = self.narrow.is_some_and(|at| now.saturating_duration_since(at) < NARROW);
        let narrow = self.met && lacks || lately;
        Pacing { repetitions: Some(carried), pictures: narrow.then_some((carried as f64 * faster) as u64) }
    }

    /// Until when what was lost was too much for its network, and comes through where less is sent.
    pub(crate) fn ran_over(&self) -> Option<Instant> {
        self.estimator.as_ref().filter(|e| e.own_loss() < FEW)?.ran_over()
    }

    /// What to send to learn whether more would get through.
    pub(crate) fn probe(&mut self, now: Instant) -> Option<Probe> {
        let estimator = self.estimator.as_mut().filter(|_| self.heard)?;
        // Also when everything is granted: it may turn out to take more than was announced.
        let wanted = (self.shared.wished as f64 * FOUND / (1.0 - estimator.own_loss())) as u64;
        if estimator.bitrate() >= wanted {
            None
        } else {
            estimator.probe(wanted, self.shared.granted == 0, now)
        }
    }
}

fn steady(bitrate: u64) -> Budget {
    Budget { bitrate, held_back: 0, rough: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(number: u64, at: Instant) -> PacketResult {
        PacketResult { number, sent_at: at, size: 1200, arrival: Some(Duration::from_secs(9)), probe: None }
    }

    #[test]
    fn a_usual_network_is_assumed_until_something_is_heard() {
        let (mut adaptation, now) = (Adaptation::new(true), Instant::now());
        assert_eq!(adaptation.budget(true, 200_000, now), Some(steady(START)));
        assert_eq!(
            adaptation.budget(true, 2_000_000, now),
            Some(steady(2_500_000)),
            "something of everything"
        );
        adaptation.handle_sent(1200, 1200, now);
        adaptation.handle_results(&[result(1, now)], now);
        assert_eq!(adaptation.budget(true, 200_000, now), Some(steady(950_000)));
        assert_eq!(
            adaptation.budget(true, 2_000_000, now),
            Some(steady(2_500_000)),
            "nothing was too much yet"
        );
        adaptation.met = true;
        assert_eq!(adaptation.budget(true, 2_000_000, now), Some(steady(950_000)));
    }

    #[test]
    fn pictures_wait_where_the_network_was_too_narrow_lately_or_is() {
        let (mut adaptation, now) = (Adaptation::new(true), Instant::now());
        assert_eq!(adaptation.pacing(now), Pacing::default());
        adaptation.handle_sent(1200, 1200, now);
        adaptation.handle_results(&[result(1, now)], now);
        let unbound = Pacing { repetitions: Some(START), pictures: None };
        assert_eq!(adaptation.pacing(now), unbound, "it was never too narrow");
        (adaptation.met, adaptation.narrow) = (true, Some(now));
        let waits = Pacing { pictures: Some(START * 5 / 4), ..unbound };
        assert_eq!(adaptation.pacing(now), waits);
        assert_eq!(adaptation.pacing(now + NARROW), unbound, "all that is wished for is there");
        adaptation.shared.wished = 2_000_000;
        assert_eq!(adaptation.pacing(now + NARROW), waits);
    }

    #[test]
    fn a_network_that_loses_much_is_rough_until_it_no_longer_does() {
        let (mut adaptation, mut now) = (Adaptation::new(true), Instant::now());
        let mut feedback = |adaptation: &mut Adaptation, lost: bool| {
            now += Duration::from_millis(10);
            adaptation.handle_sent(1200, 1200, now);
            let heard = result(1, now);
            let arrival = heard.arrival.filter(|_| !lost);
            adaptation.handle_results(&[PacketResult { arrival, ..heard }], now);
            adaptation.budget(true, 0, now).unwrap().rough
        };
        for number in 0..1000 {
            let rough = feedback(&mut adaptation, number % 50 == 0);
            assert!(!rough || number < 50, "2 % are no matter");
        }
        for number in 0..1000 {
            let rough = feedback(&mut adaptation, number % 5 == 0);
            assert!(rough || number < 400);
        }
        let rough = (0..1000).filter(|_| feedback(&mut adaptation, false)).count();
        assert!((100..=400).contains(&rough), "{rough} of 10 ms");
    }

    #[test]
    fn who_gives_no_feedback_gets_everything() {
        let (mut adaptation, now) = (Adaptation::new(true), Instant::now());
        assert_eq!(adaptation.budget(false, 0, now), None);
        adaptation.handle_sent(1200, 1200, now);
        assert!(adaptation.budget(true, 0, now + PATIENCE / 2).is_some());
        assert_eq!(adaptation.budget(true, 0, now + PATIENCE), None);
        assert_eq!(adaptation.probe(now + PATIENCE), None);
    }

    #[test]
    fn who_is_not_adapted_to_gets_everything_whatever_it_says() {
        let (mut adaptation, now) = (Adaptation::new(false), Instant::now());
        adaptation.handle_sent(1200, 1200, now);
        adaptation.handle_results(&[result(1, now)], now);
        adaptation.handle_remb(1, now);
        assert_eq!(adaptation.budget(true, 0, now), None);
    }

    #[test]
    fn a_clients_own_estimate_bounds_what_is_more_than_it() {
        let (mut adaptation, mut now) = (Adaptation::new(true), Instant::now());
        for n in 1..300 {
            now += Duration::from_millis(10);
            adaptation.handle_sent(0, n * 1200, now);
        }
        adaptation.handle_remb(500_000, now);
        assert_eq!(adaptation.budget(false, 0, now), Some(steady(475_000)));
        adaptation.handle_remb(1_500_000, now);
        assert_eq!(adaptation.budget(false, 0, now), Some(steady(UNBOUNDED)));
        assert_eq!(adaptation.budget(false, 0, now + REMB_LASTS), None);
    }
}
