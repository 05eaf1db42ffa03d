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

use rtcloud_bandwidth::{Allocator, Budget, Class, Estimator, Limits, PacketResult, Probe, Shared, Want};
use rtcloud_egress::Pacing;

use crate::command::{Kind, Stream};
use crate::event::Event;
use crate::rates::Rates;
use crate::room::Room;
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
/// Of a network that lost more than this lately, estimates jump.
const ROUGH: f64 = 0.05;
/// So many packets tell.
const ENOUGH: usize = 40;
/// What came longer ago than twice this is no longer lately.
const LATELY: Duration = Duration::from_secs(2);
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
    /// When the estimate was last lowered. If it was, it is a bound that was met, and not only what was tried so far.
    met: Option<Instant>,
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
            let before = estimator.bitrate();
            estimator.handle_feedback(results, now);
            self.met = if estimator.bitrate() < before { Some(now) } else { self.met };
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

    /// Nothing is wished for.
    fn share_nothing(&mut self, now: Instant) {
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
            self.met = if estimator.bitrate() < before { Some(now) } else { self.met };
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
            let bitrate =
                if self.met.is_some() { estimate } else { estimate.max((least as f64 * FOUND) as u64) };
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
        let narrow = self.met.is_some_and(|at| lacks || now.saturating_duration_since(at) < NARROW);
        Pacing { repetitions: Some(carried), pictures: narrow.then_some((carried as f64 * faster) as u64) }
    }

    /// What was lost lately was too much for its network, and comes through when less is sent.
    pub(crate) fn ran_over(&self, now: Instant) -> bool {
        self.estimator.as_ref().is_some_and(|e| e.ran_over(now) && e.own_loss() < FEW)
    }

    /// What to send to learn whether more would get through.
    pub(crate) fn probe(&mut self, now: Instant) -> Option<Probe> {
        let estimator = self.estimator.as_mut().filter(|_| self.heard)?;
        // Also when everything is granted: it may turn out to take more than was announced.
        let wanted = (self.shared.wished as f64 * FOUND / (1.0 - estimator.own_loss())) as u64;
        if estimator.bitrate() >= wanted { None } else { estimator.probe(wanted, now) }
    }
}

/// Whether much was lost of the last two to four seconds' packets.
#[derive(Debug, Default)]
struct Lately {
    since: Option<Instant>,
    /// How often some were lost in a row, be it one, and all that came: now, and in the stretch before. So an outage or
    /// a full buffer is one matter.
    counts: [(usize, usize); 2],
    losing: bool,
    rough: bool,
}

impl Lately {
    fn count(&mut self, results: &[PacketResult], now: Instant) {
        self.turn(now);
        let (runs, came) = &mut self.counts[0];
        for result in results {
            let lost = result.arrival.is_none();
            *runs += usize::from(lost && !self.losing);
            *came += usize::from(!lost);
            self.losing = lost;
        }
    }

    /// As it was last known: a few packets say nothing.
    fn is_rough(&mut self, now: Instant) -> bool {
        self.turn(now);
        let [(runs, came), (runs_before, came_before)] = self.counts;
        let (runs, came) = (runs + runs_before, came + came_before);
        if came >= ENOUGH {
            self.rough = runs as f64 > ROUGH * came as f64;
        }
        self.rough
    }

    fn turn(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let stretches = now.saturating_duration_since(since).as_secs_f64() / LATELY.as_secs_f64();
        if stretches >= 1.0 {
            self.counts = [(0, 0), if stretches < 2.0 { self.counts[0] } else { (0, 0) }];
            self.since = Some(now);
        }
    }
}

fn steady(bitrate: u64) -> Budget {
    Budget { bitrate, held_back: 0, rough: false }
}

/// What one subscription could get.
struct Wish {
    subscription: usize,
    class: Class,
    choices: Vec<Choice>,
    current: Option<usize>,
}

impl Room {
    /// Grants layers in all transports, and looks for room where more is wished for.
    pub(crate) fn adapt_all(&mut self, now: Instant) {
        for slot in 0..self.timers.len() {
            if self.transports.get(slot).is_some_and(|t| t.is_connected()) {
                self.adapt(slot, now);
                self.probe(slot, now);
            }
        }
    }

    /// Sends a probe if it is time for one.
    pub(crate) fn probe(&mut self, slot: usize, now: Instant) {
        let transport = &mut self.transports[slot];
        let Some(probe) = transport.adaptation.probe(now) else { return };
        transport.egress.probe(probe.cluster, probe.bitrate, probe.bytes);
        self.mark_queued(slot);
    }

    /// Shares out what a transport's network carries.
    pub(crate) fn adapt(&mut self, slot: usize, now: Instant) {
        let transport = &self.transports[slot];
        if !transport.is_connected() {
            return;
        }
        let mut wishes = Vec::new();
        for &index in &self.participants[transport.participant].subscriptions {
            let subscription = &mut self.subscriptions[index];
            let track = &self.tracks[subscription.track];
            if track.kind != Kind::Video || subscription.place.is_none_or(|(to, _)| to != slot) {
                continue;
            }
            let choices = if subscription.flows() && track.flows() && !subscription.refused {
                track.choices((subscription.width, subscription.height), subscription.fps, now)
            } else {
                Vec::new()
            };
            if choices.is_empty() {
                subscription.grant = Grant::Unasked;
                continue;
            }
            let class = match track.stream {
                Stream::Aux => Class::Screen,
                _ if self.speakers.is_active(&self.participants[track.participant].id) => Class::Speaker,
                _ => Class::Other,
            };
            let last = choices.len() - 1;
            let current = match subscription.grant {
                Grant::Layer { source, spatial } => {
                    let same = |c: &Choice| c.source == source && c.spatial == spatial;
                    Some(choices.iter().position(same).unwrap_or(last))
                }
                Grant::Everything => Some(last),
                Grant::Unasked => choices.iter().position(|c| Some(c.source) == subscription.current),
                Grant::Nothing => None,
            };
            wishes.push(Wish { subscription: index, class, choices, current });
        }
        if wishes.is_empty() {
            // Nothing to share out: most transports of an audience of sound, ten times a second.
            self.transports[slot].adaptation.share_nothing(now);
            return;
        }
        let numbered = (0..transport.sections.len()).any(|section| transport.is_numbered(section));
        let least = wishes.iter().map(|wish| wish.choices[0].bitrate).sum();
        let rates: Vec<Vec<u64>> =
            wishes.iter().map(|wish| wish.choices.iter().map(|c| c.bitrate).collect()).collect();
        let wants: Vec<Want<'_>> = wishes
            .iter()
            .zip(&rates)
            .map(|(wish, layers)| Want {
                key: wish.subscription,
                class: wish.class,
                layers,
                current: wish.current,
            })
            .collect();
        let adaptation = &mut self.transports[slot].adaptation;
        let budget = adaptation.budget(numbered, least, now);
        let mut grants = Vec::with_capacity(wants.len());
        adaptation.shared = adaptation.allocator.allocate(budget, &wants, now, &mut grants);
        let pacing = adaptation.pacing(now);
        self.transports[slot].egress.set_pacing(pacing);
        for (wish, grant) in wishes.iter().zip(grants) {
            self.subscriptions[wish.subscription].grant = match grant {
                _ if budget.is_none() => Grant::Everything,
                Some(layer) => {
                    let Choice { source, spatial, .. } = wish.choices[layer];
                    Grant::Layer { source, spatial }
                }
                None => Grant::Nothing,
            };
            self.tell_shed(wish.subscription);
        }
    }

    /// Says so when the network begins or ceases to carry nothing of a track.
    fn tell_shed(&mut self, index: usize) {
        let subscription = &mut self.subscriptions[index];
        let shed = subscription.grant == Grant::Nothing;
        if std::mem::replace(&mut subscription.shed, shed) != shed {
            if let Some((slot, section)) = subscription.place.filter(|_| shed) {
                let transport = &mut self.transports[slot];
                if let Some(stream) = transport.sections.get(section).and_then(|section| section.stream) {
                    transport.egress.give_up(stream);
                }
            }
            let track = &self.tracks[subscription.track];
            self.events.push(Event::SubscriptionShed {
                participant: self.participants[subscription.participant].id.clone(),
                publisher: self.participants[track.participant].id.clone(),
                track: track.id.clone(),
                shed,
            });
        }
    }
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
        adaptation.met = Some(now);
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
        adaptation.met = Some(now);
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
