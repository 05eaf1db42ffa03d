//! How long packets are under way, seen through the bursts they are sent in.
//!
//! A frame leaves as one burst, faster than any path carries it, so its packets queue behind each other at the
//! bottleneck. That queue is of our own making and gone before the next frame; what matters is the queue a burst finds.
//! So packets sent together make a group, and the shortest delay in it is the group's.
//!
//! Clocks: only differences count, so the client's origin is of no importance. A jump of its clock starts everything anew.

/// Packets sent within this many milliseconds belong together.
const BURST: f64 = 5.0;
/// A delay that changes by more than this many milliseconds from one packet to the next is a clock that jumped.
const JUMP: f64 = 10_000.0;
/// The shortest delay is looked for in the last one to two of these, in milliseconds: long enough that a queue drains in
/// between, short enough that clocks drift little.
const ERA: f64 = 15_000.0;

/// A group's delay, beside that of the group before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// When the group was sent, in milliseconds.
    pub(crate) sent: f64,
    /// Its delay in milliseconds, from an arbitrary origin.
    pub(crate) delay: f64,
    /// Milliseconds since the group before it was sent.
    pub(crate) interval: f64,
}

/// What a packet's arrival says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Step {
    Nothing,
    Group(Sample),
    /// Nothing that was learnt of delays holds any longer.
    Jump,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    first_sent: f64,
    delay: f64,
}

#[derive(Debug)]
pub(crate) struct Delays {
    last: Option<f64>,
    group: Option<Group>,
    before: Option<Group>,
    shortest: Shortest,
    smoothed: f64,
    noise: f64,
    /// The shortest delays of the packets told of now, and the time before.
    told: f64,
    told_before: f64,
}

impl Delays {
    pub(crate) fn new() -> Self {
        let shortest = Shortest { now: f64::INFINITY, before: f64::INFINITY, since: 0.0 };
        Self {
            last: None,
            group: None,
            before: None,
            shortest,
            smoothed: 0.0,
            noise: 0.0,
            told: f64::INFINITY,
            told_before: f64::INFINITY,
        }
    }

    /// A packet sent at `sent` came at `arrival`, both in milliseconds.
    pub(crate) fn add(&mut self, sent: f64, arrival: f64) -> Step {
        let delay = arrival - sent;
        if self.last.is_some_and(|last| (delay - last).abs() > JUMP) {
            *self = Self::new();
            self.last = Some(delay);
            return Step::Jump;
        }
        self.last = Some(delay);
        self.told = self.told.min(delay);
        match &mut self.group {
            None => {
                self.group = Some(Group { first_sent: sent, delay });
                Step::Nothing
            }
            // Overtaken by later ones: its group is closed.
            Some(group) if sent < group.first_sent => Step::Nothing,
            Some(group) if sent - group.first_sent <= BURST => {
                group.delay = group.delay.min(delay);
                Step::Nothing
            }
            Some(group) => {
                let closed = std::mem::replace(group, Group { first_sent: sent, delay });
                self.close(closed)
            }
        }
    }

    fn close(&mut self, group: Group) -> Step {
        self.shortest.add(group.first_sent, group.delay);
        let Some(before) = self.before.replace(group) else {
            self.smoothed = group.delay;
            return Step::Nothing;
        };
        let interval = group.first_sent - before.first_sent;
        self.smoothed += (group.delay - self.smoothed) * share(interval, 100.0);
        self.noise += ((group.delay - before.delay).abs() - self.noise) * 0.05;
        Step::Group(Sample { sent: group.first_sent, delay: group.delay, interval })
    }

    /// How many milliseconds packets wait in queues, as far as can be told.
    pub(crate) fn queue(&self) -> f64 {
        self.beyond_shortest(self.smoothed)
    }

    /// How many milliseconds the packets waited at least that were told of this time and the time before.
    pub(crate) fn latest_queue(&self) -> f64 {
        self.beyond_shortest(self.told.min(self.told_before))
    }

    /// Nothing was told of for a while: what comes next does not follow what was before.
    pub(crate) fn pause(&mut self) {
        (self.group, self.before) = (None, None);
        (self.told, self.told_before) = (f64::INFINITY, f64::INFINITY);
        self.smoothed = self.shortest.now.min(self.shortest.before);
    }

    /// What is told of from here on is told of another time.
    pub(crate) fn next_time(&mut self) {
        if self.told.is_finite() {
            (self.told_before, self.told) = (self.told, f64::INFINITY);
        }
    }

    fn beyond_shortest(&self, delay: f64) -> f64 {
        let shortest = self.shortest.now.min(self.shortest.before);
        if shortest.is_finite() && delay.is_finite() { (delay - shortest).max(0.0) } else { 0.0 }
    }

    /// By how many milliseconds delays differ from group to group.
    pub(crate) fn noise(&self) -> f64 {
        self.noise
    }
}

/// The weight of a value that stands for `interval`, smoothed over `time`.
pub(crate) fn share(interval: f64, time: f64) -> f64 {
    1.0 - (-interval.max(0.0) / time).exp()
}

#[derive(Debug)]
struct Shortest {
    now: f64,
    before: f64,
    since: f64,
}

impl Shortest {
    fn add(&mut self, at: f64, delay: f64) {
        if at - self.since > ERA {
            (self.before, self.now, self.since) = (self.now, delay, at);
        }
        self.now = self.now.min(delay);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bursts_own_queue_does_not_count() {
        let mut delays = Delays::new();
        let mut groups = Vec::new();
        for frame in 0..30 {
            let sent = f64::from(frame) * 33.0;
            let packets = if frame % 10 == 0 { 8 } else { 2 };
            for packet in 0..packets {
                if let Step::Group(sample) = delays.add(sent, sent + 50.0 + f64::from(packet) * 3.0) {
                    groups.push(sample);
                }
            }
        }
        assert_eq!(groups.len(), 28);
        assert!(groups.iter().all(|g| g.delay == 50.0 && g.interval == 33.0));
        assert_eq!(delays.queue(), 0.0);
    }

    #[test]
    fn a_jump_of_the_clock_starts_anew() {
        let mut delays = Delays::new();
        delays.add(0.0, 100.0);
        assert_eq!(delays.add(33.0, 133.0), Step::Nothing);
        assert_eq!(delays.add(66.0, 66.0 - 1.1e9), Step::Jump);
        assert_eq!(delays.add(99.0, 99.0 - 1.1e9), Step::Nothing);
        assert_eq!(delays.queue(), 0.0);
    }
}
