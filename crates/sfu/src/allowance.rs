//! How much work a participant may make for the room: messages to send on, descriptions to read.
//!
//! One message costs as much as the number of those who get it, so what counts is what goes out: a file to one person
//! passes at full speed, a flood to everybody does not. What is lossy stops when half is used up; the other half is
//! for what is reliable, and a reliable message beyond it is dropped as well.
//!
//! Custom commands have limits of their own beside, those of the documents, in what their sender sends.
//!
//! Reading a description takes about 130 ns per byte in the thread that many rooms share.

use std::time::Instant;

/// Messages sent on per second.
const MESSAGES: f64 = 20_000.0;
/// Bytes sent on per second.
const BYTES: f64 = 16.0 * 1024.0 * 1024.0;
/// Bytes of descriptions per second.
const DESCRIPTIONS: f64 = 512.0 * 1024.0;
/// Bytes of descriptions that may come at once: in a room that fills quickly each newcomer causes one.
const DESCRIPTIONS_BURST: f64 = 8.0 * DESCRIPTIONS;
/// How many seconds' worth may be used at once.
const BURST: f64 = 2.0;
/// Custom commands per second, and at once.
const COMMANDS: f64 = 30.0;
/// Their bytes per second, and at once.
const COMMAND_BYTES: f64 = 8.0 * 1024.0;

/// What one participant has left.
#[derive(Debug)]
pub(crate) struct Allowance {
    /// Both as parts of a full burst.
    messages: f64,
    bytes: f64,
    at: Instant,
    descriptions: f64,
    described_at: Instant,
    commands: f64,
    command_bytes: f64,
    commanded_at: Instant,
}

impl Allowance {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            messages: 1.0,
            bytes: 1.0,
            at: now,
            descriptions: DESCRIPTIONS_BURST,
            described_at: now,
            commands: COMMANDS,
            command_bytes: COMMAND_BYTES,
            commanded_at: now,
        }
    }

    /// Whether another message may be read at all.
    pub(crate) fn is_open(&mut self, now: Instant, reliable: bool) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64() / BURST;
        self.at = now.max(self.at);
        self.messages = (self.messages + passed).min(1.0);
        self.bytes = (self.bytes + passed).min(1.0);
        let least = if reliable { 0.0 } else { 0.5 };
        self.messages > least && self.bytes > least
    }

    /// Whether a message of `size` bytes may go to so many; if so it is counted.
    pub(crate) fn take(&mut self, now: Instant, reliable: bool, receivers: usize, size: usize) -> bool {
        if !self.is_open(now, reliable) {
            return false;
        }
        // Reading a message costs too, even if nobody gets it. The last one may overdraw.
        let receivers = receivers.max(1) as f64;
        self.messages -= receivers / (MESSAGES * BURST);
        self.bytes -= receivers * size as f64 / (BYTES * BURST);
        true
    }

    /// Whether a custom command with `size` bytes of content may go; if so it is counted.
    pub(crate) fn take_command(&mut self, now: Instant, size: usize) -> bool {
        let passed = now.saturating_duration_since(self.commanded_at).as_secs_f64();
        self.commanded_at = now.max(self.commanded_at);
        self.commands = (self.commands + passed * COMMANDS).min(COMMANDS);
        self.command_bytes = (self.command_bytes + passed * COMMAND_BYTES).min(COMMAND_BYTES);
        let size = size as f64;
        if self.commands < 1.0 || self.command_bytes < size {
            return false;
        }
        self.commands -= 1.0;
        self.command_bytes -= size;
        true
    }

    /// Whether a description of `size` bytes may be read; if so it is counted.
    pub(crate) fn take_description(&mut self, now: Instant, size: usize) -> bool {
        let passed = now.saturating_duration_since(self.described_at).as_secs_f64();
        self.described_at = now.max(self.described_at);
        self.descriptions = (self.descriptions + passed * DESCRIPTIONS).min(DESCRIPTIONS_BURST);
        if self.descriptions <= 0.0 {
            return false;
        }
        // Even a short one has to be answered.
        self.descriptions -= size.max(4096) as f64;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn near(count: usize, expected: usize) -> bool {
        count.abs_diff(expected) <= 1
    }

    fn passed(
        allowance: &mut Allowance,
        at: Instant,
        reliable: bool,
        receivers: usize,
        size: usize,
    ) -> usize {
        (0..100_000).take_while(|_| allowance.take(at, reliable, receivers, size)).count()
    }

    #[test]
    fn what_is_lossy_stops_first_and_both_come_back() {
        let begun = Instant::now();
        let mut allowance = Allowance::new(begun);
        assert!(near(passed(&mut allowance, begun, false, 100, 10), 200));
        assert!(near(passed(&mut allowance, begun, true, 100, 10), 200));
        assert!(!allowance.take(begun, true, 1, 10));
        let later = begun + Duration::from_secs(1);
        assert!(!allowance.take(later, false, 1, 10), "half is for what is reliable");
        assert!(near(passed(&mut allowance, later, true, 100, 10), 200));
        let rested = begun + Duration::from_secs(60);
        assert!(near(passed(&mut allowance, rested, true, 100, 10), 400));
    }

    #[test]
    fn bytes_count_as_often_as_they_are_sent() {
        let begun = Instant::now();
        let to_one = passed(&mut Allowance::new(begun), begun, true, 1, 64 * 1024);
        let to_many = passed(&mut Allowance::new(begun), begun, true, 64, 64 * 1024);
        assert!(near(to_one, 512) && near(to_many, 8), "{to_one} {to_many}");
    }

    #[test]
    fn descriptions_cannot_keep_a_thread_busy() {
        let begun = Instant::now();
        let mut allowance = Allowance::new(begun);
        let count = |allowance: &mut Allowance, at, size| {
            (0..100_000).take_while(|_| allowance.take_description(at, size)).count()
        };
        assert_eq!(count(&mut allowance, begun, 256 * 1024), 16);
        assert_eq!(count(&mut allowance, begun + Duration::from_secs(1), 256 * 1024), 2);
        assert_eq!(count(&mut allowance, begun + Duration::from_secs(60), 1), 1024);
    }

    #[test]
    fn commands_keep_to_the_documented_limits() {
        let begun = Instant::now();
        let count = |allowance: &mut Allowance, at, size| {
            (0..1000).take_while(|_| allowance.take_command(at, size)).count()
        };
        let mut allowance = Allowance::new(begun);
        assert_eq!(count(&mut allowance, begun, 1), 30);
        let later = begun + Duration::from_millis(500);
        assert!(near(count(&mut allowance, later, 1), 15));
        let mut allowance = Allowance::new(begun);
        assert_eq!(count(&mut allowance, begun, 1000), 8);
        // Thirty a second, evenly, pass for ever; so do eight large ones.
        let mut allowance = Allowance::new(begun);
        let every = |n: u32, per_second: u32| begun + Duration::from_secs(1) * n / per_second;
        assert!((0..900).all(|n| allowance.take_command(every(n, 30), 100)));
        let mut allowance = Allowance::new(begun);
        assert!((0..240).all(|n| allowance.take_command(every(n, 8), 1000)));
        assert!(allowance.take(begun, true, 1, 1), "other messages have an allowance of their own");
    }

    #[test]
    fn messages_to_nobody_and_a_clock_that_stands_are_no_way_around() {
        let begun = Instant::now();
        let mut allowance = Allowance::new(begun + Duration::from_secs(1));
        assert!(near(passed(&mut allowance, begun, true, 0, 0), 40_000));
    }
}
