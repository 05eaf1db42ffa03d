//! Transport-wide numbers: what was sent under them, until the client says what became of it.
//!
//! A table by number that grows with the rate of sending, up to [`MAX_ENTRIES`]; what was not told of before it is
//! overwritten is forgotten. Feedback costs what its datagram is long, and at most one visit of each entry.
//!
//! Where no feedback is missing, what lies between one and the next is lost: browsers say so themselves, others begin
//! each with the first packet that came.

use std::time::{Duration, Instant};

use crate::PacketResult;
use crate::rtcp::{Status, TransportFeedback};

const FIRST_ENTRIES: usize = 64;
const MAX_ENTRIES: usize = 2048;
/// How long feedback is waited for before an entry may be overwritten, in microseconds.
const KEEP: u32 = 2_000_000;
/// Feedback counts in steps of 64 ms and of 250 µs.
const REFERENCE_US: i64 = 64_000;
const DELTA_US: i64 = 250;
/// Times before the first one told of are possible.
const MARGIN_US: i64 = 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Empty,
    Sent,
    Lost,
    Received,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sent {
    /// The lower half of the number.
    number: u32,
    /// Microseconds since the beginning, the lower half.
    at: u32,
    probe: u32,
    size: u16,
    state: State,
    probes: bool,
}

/// What was sent with transport-wide numbers.
#[derive(Debug)]
pub(crate) struct History {
    origin: Instant,
    slots: Vec<Sent>,
    next: u64,
    /// The client's time base: last reference time without its overflows, and what is subtracted from it.
    reference: Option<(i64, i64)>,
    /// The feedback that reached furthest: its own number, and the first number after what it told of.
    told: Option<(u8, u64)>,
}

impl History {
    pub(crate) fn new(origin: Instant) -> Self {
        Self { origin, slots: Vec::new(), next: 0, reference: None, told: None }
    }

    /// The number of the next packet.
    pub(crate) fn next(&self) -> u16 {
        self.next as u16
    }

    fn micros(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.origin).as_micros() as u64
    }

    /// A packet left with the next number.
    pub(crate) fn sent(&mut self, size: usize, probe: Option<u32>, now: Instant) {
        let at = self.micros(now) as u32;
        let number = self.next;
        self.next += 1;
        if self.slots.is_empty() {
            self.slots.resize(FIRST_ENTRIES, Sent::default());
        }
        let old = self.slots[number as usize & (self.slots.len() - 1)];
        if old.state == State::Sent && at.wrapping_sub(old.at) < KEEP && self.slots.len() < MAX_ENTRIES {
            self.grow();
        }
        let place = number as usize & (self.slots.len() - 1);
        self.slots[place] = Sent {
            number: number as u32,
            at,
            probe: probe.unwrap_or(0),
            size: u16::try_from(size).unwrap_or(u16::MAX),
            state: State::Sent,
            probes: probe.is_some(),
        };
    }

    fn grow(&mut self) {
        let doubled = self.slots.len() * 2;
        let old = std::mem::replace(&mut self.slots, vec![Sent::default(); doubled]);
        for sent in old.into_iter().filter(|s| s.state != State::Empty) {
            self.slots[sent.number as usize & (doubled - 1)] = sent;
        }
    }

    /// Adds what feedback says of packets that are still known.
    pub(crate) fn handle(
        &mut self,
        feedback: &TransportFeedback<'_>,
        now: Instant,
        results: &mut Vec<PacketResult>,
    ) {
        let Some(highest) = self.next.checked_sub(1) else { return };
        let behind = u64::from((highest as u16).wrapping_sub(feedback.base));
        let Some(base) = highest.checked_sub(behind) else { return };
        let time = self.time_base(feedback.reference);
        let now = self.micros(now);
        let oldest = self.next.saturating_sub(self.slots.len() as u64);
        let end = base.saturating_add(feedback.count.into()).min(self.next);
        if let Some((before, from)) = self.told
            && feedback.number == before.wrapping_add(1)
        {
            for number in from.max(oldest)..base {
                self.tell(number, None, now, results);
            }
        }
        if self.told.is_none_or(|(_, until)| end > until) {
            self.told = Some((feedback.number, end));
        }
        feedback.each(|status| match status {
            Status::Lost { from, count } => {
                let first = (base + u64::from(from)).max(oldest);
                let end = (base + u64::from(from) + u64::from(count)).min(self.next);
                for number in first..end {
                    self.tell(number, None, now, results);
                }
            }
            Status::Received { at, time: delta } => {
                let arrival = time.saturating_add(delta * DELTA_US).max(0).cast_unsigned();
                self.tell(base + u64::from(at), Some(Duration::from_micros(arrival)), now, results);
            }
        });
    }

    /// The reference time as microseconds after the first one, with a margin before it.
    fn time_base(&mut self, reference: i32) -> i64 {
        const RANGE: i64 = 1 << 24;
        let reference = i64::from(reference);
        let (last, origin) = *self.reference.get_or_insert((reference, reference));
        // The nearest one to the last with these 24 bits.
        let mut step = (reference - last).rem_euclid(RANGE);
        if step >= RANGE / 2 {
            step -= RANGE;
        }
        let current = last + step;
        self.reference = Some((current.max(last), origin));
        (current - origin).saturating_mul(REFERENCE_US) + MARGIN_US
    }

    fn tell(&mut self, number: u64, arrival: Option<Duration>, now: u64, results: &mut Vec<PacketResult>) {
        if number >= self.next {
            return;
        }
        let place = number as usize & self.slots.len().wrapping_sub(1);
        let Some(sent) = self.slots.get_mut(place).filter(|s| s.number == number as u32) else { return };
        // Each is told of once, or as lost and then as received.
        let told = match (sent.state, arrival) {
            (State::Sent, None) => State::Lost,
            (State::Sent | State::Lost, Some(_)) => State::Received,
            _ => return,
        };
        sent.state = told;
        let age = u64::from((now as u32).wrapping_sub(sent.at));
        results.push(PacketResult {
            number,
            sent_at: self.origin + Duration::from_micros(now.saturating_sub(age)),
            size: sent.size.into(),
            arrival,
            probe: sent.probes.then_some(sent.probe),
        });
    }
}
