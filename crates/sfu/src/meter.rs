//! What is counted of a stream packet by packet, on its way in and on its way out: O(1) each, nothing is allocated.
//!
//! Bytes are those of payloads, as browsers count them: no headers, no padding. Counts only grow; who tells of a period
//! subtracts what they were at its beginning.

use std::time::{Duration, Instant};

/// A jump larger than this is a new beginning, not loss.
const MAX_JUMP: u64 = 3000;
/// A stream stands still when no whole picture came for three intervals, and for this longer than one.
const PATIENCE: Duration = Duration::from_millis(150);
const FRAME: Duration = Duration::from_millis(33);
/// Packets of sound come so often.
const SOUND: Duration = Duration::from_millis(20);
/// More than anybody's clock is off by in one step, in RTP ticks: what is more is another clock.
const MAX_STEP: u32 = 450_000;

/// After how long without a picture a stream stands still.
fn patience(interval: Duration) -> Duration {
    (interval * 3).max(interval + PATIENCE)
}

/// What a source's packets came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Came {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Numbers that went by.
    pub(crate) passed: u64,
    /// Those that came in their turn, and those that came later: what was repaired, or overtaken.
    pub(crate) in_turn: u64,
    pub(crate) late: u64,
    pub(crate) pictures: u64,
    pub(crate) freezes: u64,
    pub(crate) frozen: Duration,
}

/// A packet as it is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) seq: u64,
    pub(crate) time: u32,
    /// RTP ticks per second.
    pub(crate) rate: u32,
    pub(crate) bytes: usize,
    pub(crate) marker: bool,
    pub(crate) audio: bool,
}

/// The newest picture.
#[derive(Debug, Clone, Copy)]
struct Frame {
    time: u32,
    /// The number before its first.
    after: Option<u64>,
    end: Option<u64>,
    came: u64,
    whole: bool,
}

/// Counts a source.
#[derive(Debug)]
pub(crate) struct Meter {
    came: Came,
    highest: Option<u64>,
    /// RFC 3550, A.8: times 16.
    jitter: u32,
    rate: u32,
    /// RTP time and arrival of the newest packet.
    newest: Option<(u32, Instant)>,
    frame: Option<Frame>,
    /// When the last whole picture came, or what forgives that none did.
    alive: Option<Instant>,
    interval: Duration,
    /// What was counted of the freeze that lasts.
    counted: Option<Duration>,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            came: Came::default(),
            highest: None,
            jitter: 0,
            rate: 90_000,
            newest: None,
            frame: None,
            alive: None,
            interval: FRAME,
            counted: None,
        }
    }

    pub(crate) fn count(&mut self, packet: &Arrival, now: Instant) {
        self.rate = packet.rate.max(1);
        self.came.packets += 1;
        self.came.bytes += packet.bytes as u64;
        let gap = self.number(packet.seq);
        let newer = gap.is_some() && self.time(packet, now);
        if packet.audio {
            self.sound(gap, now);
        } else if packet.bytes > 0 {
            self.picture(packet, gap == Some(1), newer, now);
        }
    }

    /// How far a packet is ahead of the newest so far; none if it comes late.
    fn number(&mut self, seq: u64) -> Option<u64> {
        let passed = match self.highest {
            Some(highest) if seq <= highest => {
                self.came.late += u64::from(highest - seq < MAX_JUMP);
                return None;
            }
            Some(highest) if seq - highest < MAX_JUMP => seq - highest,
            _ => 1,
        };
        self.highest = Some(seq);
        self.came.passed += passed;
        self.came.in_turn += 1;
        Some(passed)
    }

    /// Whether the packet's time is a new one. Packets of one picture leave together but arrive one by one, so only the
    /// first of them tells of the network.
    fn time(&mut self, packet: &Arrival, now: Instant) -> bool {
        let Some((time, arrived)) = self.newest else {
            self.newest = Some((packet.time, now));
            return true;
        };
        let step = packet.time.wrapping_sub(time);
        if step == 0 || step >= 1 << 31 {
            return false;
        }
        self.newest = Some((packet.time, now));
        let micros = now.saturating_duration_since(arrived).as_micros();
        let ticks = u32::try_from(micros * u128::from(self.rate) / 1_000_000).unwrap_or(u32::MAX);
        let off = ticks.abs_diff(step);
        if off < MAX_STEP {
            self.jitter = self.jitter.saturating_add(off).saturating_sub(self.jitter.saturating_add(8) >> 4);
        }
        true
    }

    /// Silence may be sent as nothing at all, so sound has stopped only where something is missing.
    fn sound(&mut self, gap: Option<u64>, now: Instant) {
        let Some(gap) = gap else { return };
        let since = self.alive.replace(now).map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        if gap > 1 && since > patience(SOUND) {
            self.came.freezes += 1;
            self.came.frozen += since;
        }
    }

    fn picture(&mut self, packet: &Arrival, in_turn: bool, newer: bool, now: Instant) {
        let (before, end) = (packet.seq.wrapping_sub(1), packet.marker.then_some(packet.seq));
        match &mut self.frame {
            Some(frame) if frame.time == packet.time => {
                frame.came += 1;
                frame.end = end.or(frame.end);
            }
            Some(_) if !newer => {}
            frame => {
                let after = match frame {
                    Some(frame) if !in_turn => frame.end,
                    _ => Some(before),
                };
                *frame = Some(Frame { time: packet.time, after, end, came: 1, whole: false });
                self.came.pictures += 1;
            }
        }
        let Some(frame) = &mut self.frame else { return };
        if let (false, Some(after), Some(end)) = (frame.whole, frame.after, frame.end)
            && frame.came >= end.saturating_sub(after)
        {
            frame.whole = true;
            self.whole(now);
        }
    }

    fn whole(&mut self, now: Instant) {
        self.look(now);
        if let Some(at) = self.alive.replace(now) {
            let interval = now.saturating_duration_since(at).min(Duration::from_secs(2));
            self.interval = (self.interval * 15 + interval) / 16;
        }
        self.counted = None;
    }

    /// Counts the freeze that lasts, if one does.
    fn look(&mut self, now: Instant) {
        let since = self.alive.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        if since <= patience(self.interval) {
            return;
        }
        if self.counted.is_none() {
            self.came.freezes += 1;
        }
        self.came.frozen += since.saturating_sub(self.counted.unwrap_or_default());
        self.counted = Some(since);
    }

    /// Nothing need come: it is muted, or nobody gets it.
    pub(crate) fn rest(&mut self) {
        (self.alive, self.counted) = (None, None);
    }

    /// All that was counted until now.
    pub(crate) fn read(&mut self, audio: bool, now: Instant) -> Came {
        if !audio {
            self.look(now);
        }
        self.came
    }

    /// Numbers that went by, and those that came in their turn.
    pub(crate) fn numbers(&self) -> (u64, u64) {
        (self.came.passed, self.came.in_turn)
    }

    /// Interarrival jitter (RFC 3550) in milliseconds.
    pub(crate) fn jitter_ms(&self) -> f64 {
        f64::from(self.jitter >> 4) * 1000.0 / f64::from(self.rate)
    }
}

/// What a subscription's packets came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Went {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) pictures: u64,
    pub(crate) freezes: u64,
    pub(crate) frozen: Duration,
}

/// Counts a subscription.
#[derive(Debug, Default)]
pub(crate) struct Departures {
    went: Went,
    time: Option<u32>,
    /// Since when its client waits for a key picture to go on, as far as it is counted.
    waiting: Option<Instant>,
}

impl Departures {
    pub(crate) fn count(&mut self, time: u32, bytes: usize) {
        self.went.packets += 1;
        self.went.bytes += bytes as u64;
        let newer = self.time.is_none_or(|before| (1..1 << 31).contains(&time.wrapping_sub(before)));
        if newer {
            self.time = Some(time);
            self.went.pictures += 1;
        }
    }

    /// The client cannot go on.
    pub(crate) fn wait(&mut self, now: Instant) {
        if self.waiting.is_none() {
            self.waiting = Some(now);
            self.went.freezes += 1;
        }
    }

    /// It can, or nothing is sent to it for another reason.
    pub(crate) fn go_on(&mut self, now: Instant) {
        self.look(now);
        self.waiting = None;
    }

    fn look(&mut self, now: Instant) {
        if let Some(since) = &mut self.waiting {
            self.went.frozen += now.saturating_duration_since(*since);
            *since = now;
        }
    }

    pub(crate) fn read(&mut self, now: Instant) -> Went {
        self.look(now);
        self.went
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn packet(seq: u64, time: u32, marker: bool) -> Arrival {
        Arrival { seq, time, rate: 90_000, bytes: 1000, marker, audio: false }
    }

    /// Pictures of three packets, one each 33 ms; the numbers in `lost` do not come.
    fn play(meter: &mut Meter, begin: Instant, pictures: std::ops::Range<u32>, lost: &[u64]) -> Instant {
        let mut now = begin;
        for picture in pictures {
            now = begin + MS * 33 * picture;
            for part in 0..3 {
                let seq = u64::from(picture * 3 + part);
                if !lost.contains(&seq) {
                    meter.count(&packet(seq, picture * 2970, part == 2), now);
                }
            }
        }
        now
    }

    #[test]
    fn packets_pictures_and_what_is_missing_are_counted() {
        let mut meter = Meter::new();
        let now = play(&mut meter, Instant::now(), 0..100, &[31, 40, 41, 200]);
        meter.count(&packet(40, 13 * 2970, false), now);
        let came = meter.read(false, now);
        assert_eq!((came.packets, came.bytes, came.pictures), (297, 297_000, 100));
        assert_eq!((came.passed, came.in_turn, came.late), (300, 296, 1));
        assert_eq!((came.freezes, came.frozen), (0, Duration::ZERO));
        assert!(meter.jitter_ms() < 0.1, "{}", meter.jitter_ms());
    }

    #[test]
    fn jitter_is_that_of_rfc_3550() {
        let (mut meter, begin) = (Meter::new(), Instant::now());
        let mut exact = 0.0f64;
        for n in 0..500u32 {
            // Every second one comes 8 ms late.
            let now = begin + MS * 20 * n + MS * 8 * (n % 2);
            meter.count(&packet(u64::from(n), n * 1800, true), now);
            if n > 0 {
                exact += (8.0 - exact) / 16.0;
            }
        }
        assert!((meter.jitter_ms() - exact).abs() < 0.1, "{} {exact}", meter.jitter_ms());
    }

    #[test]
    fn a_freeze_begins_after_three_intervals_and_lasts_until_a_whole_picture() {
        let (mut meter, begin) = (Meter::new(), Instant::now());
        let last = play(&mut meter, begin, 0..60, &[]);
        assert_eq!(meter.read(false, last + MS * 180).freezes, 0);
        let came = meter.read(false, last + MS * 500);
        assert_eq!((came.freezes, came.frozen), (1, MS * 500));
        // Half of a picture is none.
        meter.count(&packet(180, 60 * 2970, false), last + MS * 600);
        meter.count(&packet(182, 60 * 2970, true), last + MS * 600);
        assert_eq!(meter.read(false, last + MS * 700).frozen, MS * 700);
        meter.count(&packet(181, 60 * 2970, false), last + MS * 800);
        let came = meter.read(false, last + MS * 900);
        assert_eq!((came.freezes, came.frozen), (1, MS * 800));
    }

    #[test]
    fn what_is_muted_does_not_freeze() {
        let mut meter = Meter::new();
        let last = play(&mut meter, Instant::now(), 0..60, &[]);
        meter.rest();
        assert_eq!(meter.read(false, last + MS * 9000).freezes, 0);
        meter.count(&packet(180, 2970 * 400, true), last + MS * 9000);
        assert_eq!(meter.read(false, last + MS * 9100).freezes, 0);
    }

    #[test]
    fn sound_stops_where_something_is_missing_and_not_in_silence() {
        let (mut meter, begin) = (Meter::new(), Instant::now());
        let sound = |seq, ms: u32| {
            (Arrival { rate: 48_000, audio: true, ..packet(seq, ms * 48, false) }, begin + MS * ms)
        };
        for (seq, ms) in [(1, 0), (2, 20), (3, 420), (4, 820), (9, 860), (40, 1500)] {
            let (packet, now) = sound(seq, ms);
            meter.count(&packet, now);
        }
        let came = meter.read(true, begin + MS * 5000);
        assert_eq!((came.freezes, came.frozen), (1, MS * 640));
    }

    #[test]
    fn any_numbers_and_times_are_survived() {
        let (mut meter, begin) = (Meter::new(), Instant::now());
        for (n, seq) in [0, u64::MAX, 1, u64::MAX - 1, 5000, 70_000, 3, u64::MAX].into_iter().enumerate() {
            let time = (seq as u32).wrapping_mul(0x9e37_79b9);
            meter.count(&Arrival { rate: 0, ..packet(seq, time, n % 2 == 0) }, begin + MS * n as u32);
        }
        assert_eq!(meter.read(false, begin + MS * 10).packets, 8);
    }

    #[test]
    fn a_client_that_asks_for_a_key_picture_stands_still_until_it_gets_one() {
        let (mut sent, begin) = (Departures::default(), Instant::now());
        for n in 0..10 {
            sent.count(n / 2 * 3000, 100);
        }
        sent.wait(begin);
        sent.wait(begin + MS * 100);
        assert_eq!(sent.read(begin + MS * 200).frozen, MS * 200);
        sent.go_on(begin + MS * 300);
        let went = sent.read(begin + MS * 900);
        assert_eq!((went.packets, went.bytes, went.pictures), (10, 1000, 5));
        assert_eq!((went.freezes, went.frozen), (1, MS * 300));
    }
}
