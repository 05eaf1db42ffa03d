//! What loss says of a path's capacity, and what it does not.
//!
//! A radio link loses packets whatever is sent; a full buffer loses what is too much. Two stories are told of the last
//! observations, each a sending rate and a share lost: "the path loses a share p of everything", and "it carries at
//! most C, and loses p of that". The likelier one is believed, where the second must earn its extra unknown, and a p
//! beyond a tenth must be shown: so in doubt much loss is taken for a full buffer, sending falls, and if the loss stays,
//! the doubt is gone. What was learnt of p is kept as if it had been observed on an idle path. Packets lost in a row are
//! one event and say as much as one.

/// Observations that are remembered, and for how long, in milliseconds.
const OBSERVATIONS: usize = 20;
const AGE: f64 = 20_000.0;
/// An observation is complete with so many packets and milliseconds, or after the long time.
const PACKETS: u32 = 30;
const SHORT: f64 = 250.0;
const LONG: f64 = 1_000.0;
/// No path loses less, for the purpose of likelihoods.
const LEAST: f64 = 0.01;
/// Less loss than this is nothing to think about.
const NEGLIGIBLE: f64 = 0.02;
/// What the unknown of a capacity costs, and what each unit of loss beyond the tolerated share does, in units of log
/// likelihood. The two stories are compared several times a second: a cost of 6 was met by chance within a minute.
const CAPACITY_COST: f64 = 14.0;
const TOLERATED: f64 = 0.1;
const LOSS_COST: f64 = 40.0;
/// How many packets what is known of the path's own loss counts for.
const KNOWN_WEIGHT: f64 = 60.0;
/// So much more loss than known, in so many places, is a change of the path.
const CHANGE: f64 = 0.25;
const CHANGE_RUNS: f64 = 4.0;
/// So many packets lost in a row, over so many milliseconds, are a gap in the path.
const GAP_PACKETS: u32 = 12;
const GAP: f64 = 150.0;
/// How many packets at least must show it before sending is bounded.
const PROOF: f64 = 50.0;
/// So little more than known is no sign of anything.
const CALM: f64 = 0.03;
/// A bound under which nothing is lost is raised by so much with each observation.
const RELIEF: f64 = 1.05;
/// The path's own loss is never believed to be more.
const MOST: f64 = 0.7;

#[derive(Debug, Clone, Copy, Default)]
struct Observation {
    at: f64,
    /// Bits per second.
    sent: f64,
    packets: f64,
    arrived: f64,
    /// How many times packets were lost in a row, be it one.
    runs: f64,
}

#[derive(Debug)]
pub(crate) struct Losses {
    ring: [Observation; OBSERVATIONS],
    next: usize,
    length: usize,
    since: Option<f64>,
    bytes: u64,
    packets: u32,
    lost: u32,
    runs: u32,
    /// Packets that were lost in a row, up to now.
    run: Option<Run>,
    own: Option<f64>,
    bound: Option<Bound>,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    since: f64,
    bytes: u64,
    packets: u32,
}

#[derive(Debug, Clone, Copy)]
struct Bound {
    rate: f64,
    /// The share that was lost when it was set, and whether less was since: only then it may be lowered further.
    loss: f64,
    helped: bool,
}

impl Losses {
    pub(crate) fn new() -> Self {
        Self {
            ring: [Observation::default(); OBSERVATIONS],
            next: 0,
            length: 0,
            since: None,
            bytes: 0,
            packets: 0,
            lost: 0,
            runs: 0,
            run: None,
            own: None,
            bound: None,
        }
    }

    /// A packet sent at `sent` (milliseconds) was lost or not.
    pub(crate) fn add(&mut self, sent: f64, bytes: usize, lost: bool) {
        if lost {
            let run = self.run.get_or_insert(Run { since: sent, bytes: 0, packets: 0 });
            run.bytes += bytes as u64;
            run.packets += 1;
            return;
        }
        if let Some(run) = self.run.take() {
            if run.packets >= GAP_PACKETS && sent - run.since >= GAP {
                // The path was gone for a moment: no story is told of that.
                self.since = self.since.map(|since| since + (sent - run.since));
            } else {
                self.bytes += run.bytes;
                self.packets += run.packets;
                self.lost += run.packets;
                self.runs += 1;
            }
        }
        let since = *self.since.get_or_insert(sent);
        let passed = sent - since;
        if (self.packets >= PACKETS && passed >= SHORT) || passed >= LONG {
            self.observe(sent, passed);
            self.since = Some(sent);
        }
        self.bytes += bytes as u64;
        self.packets += 1;
    }

    /// What was sent up to now was lost with the path itself.
    pub(crate) fn forget(&mut self) {
        *self = Self { own: self.own, ..Self::new() };
    }

    /// A packet that counted as lost came after all.
    pub(crate) fn forgive(&mut self) {
        self.lost = self.lost.saturating_sub(1);
    }

    /// The share that the path loses whatever is sent.
    pub(crate) fn own(&self) -> f64 {
        self.own.unwrap_or(0.0)
    }

    /// What may be sent at most, in bits per second, as far as loss tells.
    pub(crate) fn bound(&self) -> Option<f64> {
        self.bound.map(|bound| bound.rate)
    }

    /// The same, if sending less was seen to help.
    pub(crate) fn proven_bound(&self) -> Option<f64> {
        self.bound.filter(|bound| bound.helped).map(|bound| bound.rate)
    }

    fn observe(&mut self, at: f64, passed: f64) {
        let packets = f64::from(self.packets);
        let arrived = packets - f64::from(self.lost);
        // After a pause the rate over all of it would be of no use.
        let sent = self.bytes as f64 * 8_000.0 / passed.clamp(SHORT, 2.0 * LONG);
        let runs = f64::from(self.runs);
        (self.bytes, self.packets, self.lost, self.runs) = (0, 0, 0, 0);
        let loss = 1.0 - arrived / packets.max(1.0);
        let as_much_before =
            || self.recent(at).any(|one| one.sent > sent * 0.9 && lost(one) < self.own() + CALM);
        let often = runs >= CHANGE_RUNS;
        if often && loss > self.own() + CHANGE && !self.latest_lost_much() && as_much_before() {
            (self.length, self.own) = (0, None);
        }
        if let Some(bound) = &mut self.bound {
            bound.helped |= sent <= bound.rate * 1.1 && loss < bound.loss / 2.0;
        }
        self.ring[self.next] = Observation { at, sent, packets, arrived, runs };
        self.next = (self.next + 1) % OBSERVATIONS;
        self.length = (self.length + 1).min(OBSERVATIONS);
        self.judge(at);
    }

    fn latest_lost_much(&self) -> bool {
        let latest = self.ring[(self.next + OBSERVATIONS - 1) % OBSERVATIONS];
        self.length > 0 && lost(&latest) > self.own() + CHANGE
    }

    fn recent(&self, now: f64) -> impl Iterator<Item = &Observation> {
        (1..=self.length)
            .map(|back| &self.ring[(self.next + OBSERVATIONS - back) % OBSERVATIONS])
            .filter(move |one| now - one.at <= AGE)
    }

    fn judge(&mut self, now: f64) {
        let total = self.recent(now).fold((0.0, 0.0), |sum, one| (sum.0 + one.packets, sum.1 + one.arrived));
        if total.1 >= total.0 * (1.0 - NEGLIGIBLE) {
            self.bound = None;
            self.learn(1.0 - total.1 / total.0.max(1.0));
            return;
        }
        let (mut best, mut own) = self.story(now, f64::INFINITY);
        let mut likeliest = None;
        let most = self.recent(now).map(carried).fold(0.0, f64::max);
        let latest = self.recent(now).next().map_or(most, carried);
        let lossy = || self.recent(now).filter(|one| lost(one) > self.own() + CALM);
        let average = lossy().map(carried).sum::<f64>() / lossy().count().max(1) as f64;
        let enough = self.bound.is_some() || lossy().map(|one| one.packets).sum::<f64>() >= PROOF;
        let least = self.bound.filter(|bound| !bound.helped).map_or(0.0, |bound| bound.rate);
        for capacity in [self.bound().unwrap_or(most), most, latest, average] {
            let (likelihood, loss) = self.story(now, capacity);
            if enough && capacity >= least && likelihood - CAPACITY_COST > best {
                (best, own, likeliest) = (likelihood - CAPACITY_COST, loss, Some(capacity));
            }
        }
        let loss = 1.0 - total.1 / total.0.max(1.0);
        let calm = self.recent(now).next().is_some_and(|one| lost(one) < self.own() + CALM);
        if let (Some(rate), Some(bound)) = (&mut likeliest, self.bound)
            && bound.helped
            && calm
        {
            *rate = rate.max(bound.rate * RELIEF);
        }
        self.bound = likeliest.map(|rate| match self.bound {
            Some(bound) if rate >= bound.rate => Bound { rate, ..bound },
            _ => Bound { rate, loss, helped: false },
        });
        // A capacity that was not put to the proof says nothing of the rest.
        if self.bound.is_none_or(|bound| bound.helped) {
            self.learn(own);
        }
    }

    /// How many packets are lost in a row, on average.
    fn run_length(&self, now: f64) -> f64 {
        let (lost, runs) = self
            .recent(now)
            .fold((0.0, 0.0), |sum, one| (sum.0 + one.packets - one.arrived, sum.1 + one.runs));
        if runs > 0.0 { (lost / runs).max(1.0) } else { 1.0 }
    }

    fn learn(&mut self, own: f64) {
        let known = self.own.unwrap_or(own);
        self.own = Some((known + (own - known) * 0.2).clamp(0.0, MOST));
    }

    /// How likely the observations are if the path carries at most `capacity`, and the share it then loses anyway.
    fn story(&self, now: f64, capacity: f64) -> (f64, f64) {
        let fits = |sent: f64| if sent > capacity { capacity / sent } else { 1.0 };
        let known = self.own.unwrap_or(0.0);
        let weight = if self.own.is_some() { KNOWN_WEIGHT } else { 0.0 };
        let (arrived, possible) =
            self.recent(now).fold((weight * (1.0 - known), weight), |(arrived, possible), one| {
                (arrived + one.arrived, possible + one.packets * fits(one.sent))
            });
        let own = (1.0 - arrived / possible.max(1.0)).clamp(0.0, 1.0);
        let likelihood = |packets: f64, arrived: f64, fits: f64| {
            let lost = (1.0 - (1.0 - own) * fits).clamp(LEAST, 1.0 - LEAST);
            (packets - arrived) * lost.ln() + arrived * (1.0 - lost).ln()
        };
        let observed: f64 =
            self.recent(now).map(|one| likelihood(one.packets, one.arrived, fits(one.sent))).sum();
        let remembered = likelihood(weight, weight * (1.0 - known), 1.0);
        ((observed + remembered) / self.run_length(now) - (own - TOLERATED).max(0.0) * LOSS_COST, own)
    }
}

/// The share that was lost.
fn lost(one: &Observation) -> f64 {
    1.0 - one.arrived / one.packets.max(1.0)
}

/// What arrived of it, in bits per second.
fn carried(one: &Observation) -> f64 {
    one.sent * one.arrived / one.packets.max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends at `rate` for `seconds` over a path that carries `capacity` and loses a share of its own.
    fn send(losses: &mut Losses, at: &mut f64, seconds: u32, rate: f64, capacity: f64, own: f64) {
        let mut random = fastrand::Rng::with_seed(*at as u64);
        let gap = 1_200.0 * 8_000.0 / rate;
        let until = *at + f64::from(seconds) * 1_000.0;
        while *at < until {
            let lost = random.f64() < 1.0 - (1.0 - own) * (capacity / rate).min(1.0);
            losses.add(*at, 1_200, lost);
            *at += gap;
        }
    }

    #[test]
    fn a_tenth_lost_at_random_bounds_nothing() {
        let (mut losses, mut at) = (Losses::new(), 0.0);
        for step in 0..60 {
            let rate = 500_000.0 + f64::from(step % 7) * 200_000.0;
            send(&mut losses, &mut at, 1, rate, f64::INFINITY, 0.1);
            assert!(losses.bound().is_none_or(|bound| bound > rate * 0.8), "{step}: {:?}", losses.bound());
        }
        assert!((0.08..0.12).contains(&losses.own()), "{}", losses.own());
    }

    #[test]
    fn a_tenth_lost_in_bursts_bounds_next_to_nothing() {
        let mut bounded = 0;
        for seed in 0..20 {
            let (mut losses, mut random) = (Losses::new(), fastrand::Rng::with_seed(seed));
            let mut bad = false;
            for packet in 0..10_000 {
                // Four in a row on average, and a tenth of all.
                bad = random.f64() < if bad { 0.75 } else { 1.0 / 36.0 };
                losses.add(f64::from(packet) * 6.0, 1_200, bad);
                bounded += u32::from(losses.bound().is_some());
            }
            assert!((0.05..0.15).contains(&losses.own()), "{seed}: {}", losses.own());
        }
        assert!(bounded < 2_000, "{bounded} of 200,000 packets");
    }

    #[test]
    fn a_full_buffer_bounds_what_is_sent() {
        let (mut losses, mut at) = (Losses::new(), 0.0);
        send(&mut losses, &mut at, 5, 600_000.0, 1e6, 0.0);
        assert_eq!(losses.bound(), None);
        send(&mut losses, &mut at, 2, 1_300_000.0, 1e6, 0.0);
        let bound = losses.bound().expect("a bound");
        assert!((850_000.0..1_100_000.0).contains(&bound), "{bound}");
        assert!(losses.own() < 0.05);
    }

    #[test]
    fn much_loss_that_stays_when_sending_falls_is_the_paths_own() {
        for own in [0.3, 0.5] {
            let (mut losses, mut at) = (Losses::new(), 0.0);
            send(&mut losses, &mut at, 5, 1e6, f64::INFINITY, 0.0);
            for _ in 0..40 {
                let rate = losses.bound().map_or(1e6, |bound: f64| bound.min(1e6));
                assert!(rate > 300_000.0, "{own}: {rate}");
                send(&mut losses, &mut at, 1, rate, f64::INFINITY, own);
            }
            assert_eq!(losses.bound(), None, "{own}");
            assert!((losses.own() - own).abs() < 0.08, "{own}: {}", losses.own());
        }
    }
}
