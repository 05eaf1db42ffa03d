//! One wall clock for everything that is sent.
//!
//! Receivers place a track on a clock by its RTCP sender reports. Publishers report in clocks of their own, so each
//! publisher gets one offset from its clock to ours: the smallest transit seen, with a slow upward leak that follows
//! drift. All tracks of a publisher share that offset, which keeps sound and picture as far apart as they were
//! captured. The result is given with each packet we send, and the sender reports toward subscribers follow from it.
//!
//! Invariant: a mapped time never lies after the arrival of its packet.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How fast an offset rises when no packet holds it down: more than any crystal drifts.
const LEAK_PPM: f64 = 100.0;
/// A report that puts a packet further from its arrival than this is not believed.
const PLAUSIBLE_US: f64 = 10_000_000.0;
/// An offset this far below what reports say, for this many reports, means the publisher's clock was set.
const STEP_US: f64 = 500_000.0;
const STEP_REPORTS: u32 = 3;
/// How long Opus packets usually are: a packet cannot leave before its last sample was captured.
const AUDIO_PACKET_US: f64 = 20_000.0;

/// A lower envelope of delays that leaks upward.
#[derive(Debug, Clone, Copy)]
struct Envelope {
    value: f64,
    at: f64,
}

impl Envelope {
    fn update(this: &mut Option<Self>, at: f64, sample: f64) -> f64 {
        let value = match this {
            Some(e) => sample.min(e.value + (at - e.at).max(0.0) * LEAK_PPM / 1e6),
            None => sample,
        };
        *this = Some(Self { value, at });
        value
    }
}

/// The offset of one publisher's clock.
#[derive(Debug)]
pub(crate) struct PublisherClock {
    epoch: Instant,
    offset: Option<Envelope>,
    above: u32,
}

/// What is known of one RTP stream's clock.
#[derive(Debug, Default)]
pub(crate) struct StreamClock {
    /// The publisher's clock in microseconds and the RTP time at that moment.
    report: Option<(f64, u32)>,
    arrivals: Option<Envelope>,
}

impl PublisherClock {
    pub(crate) fn new(epoch: Instant) -> Self {
        Self { epoch, offset: None, above: 0 }
    }

    fn micros(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.epoch).as_secs_f64() * 1e6
    }

    /// Takes a sender report of one of this publisher's streams.
    pub(crate) fn handle_report(
        &mut self,
        stream: &mut StreamClock,
        received: Instant,
        ntp: SystemTime,
        rtp_time: u32,
    ) {
        let ntp = match ntp.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_secs_f64() * 1e6,
            Err(before) => -(before.duration().as_secs_f64() * 1e6),
        };
        let received = self.micros(received);
        let transit = received - ntp;
        if self.offset.is_some_and(|o| transit > o.value + STEP_US) {
            self.above += 1;
            if self.above >= STEP_REPORTS {
                self.offset = None;
                self.above = 0;
            }
        } else {
            self.above = 0;
        }
        Envelope::update(&mut self.offset, received, transit);
        stream.report = Some((ntp, rtp_time));
    }

    /// When the packet's media was captured, on our clock, in microseconds since the epoch.
    ///
    /// `time` is the extended RTP time. Before the publisher's first report it is estimated from arrivals.
    pub(crate) fn map(
        &mut self,
        stream: &mut StreamClock,
        arrival: Instant,
        time: u64,
        rate: u32,
        audio: bool,
    ) -> f64 {
        let arrival = self.micros(arrival);
        if let (Some((ntp, rtp)), Some(offset)) = (stream.report, self.offset) {
            let since = f64::from((time as u32).wrapping_sub(rtp).cast_signed()) / f64::from(rate) * 1e6;
            let captured = ntp + since;
            let mapped = captured + offset.value;
            if (mapped - arrival).abs() < PLAUSIBLE_US {
                if mapped <= arrival {
                    return mapped;
                }
                let offset = Envelope::update(&mut self.offset, arrival, arrival - captured);
                // Unix times are so large that the sum is rounded, by a quarter of a microsecond.
                return (captured + offset).min(arrival);
            }
        }
        let media = time as f64 / f64::from(rate) * 1e6;
        let ahead = if audio { AUDIO_PACKET_US } else { 0.0 };
        if stream.arrivals.is_some_and(|a| (arrival - media - a.value).abs() > PLAUSIBLE_US) {
            stream.arrivals = None;
        }
        let offset = Envelope::update(&mut stream.arrivals, arrival, arrival - media);
        (media + offset - ahead).min(arrival)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: f64 = 1000.0;

    fn at(epoch: Instant, ms: u64) -> Instant {
        epoch + Duration::from_millis(ms)
    }

    #[test]
    fn tracks_of_one_publisher_keep_their_distance() {
        let epoch = Instant::now();
        let remote = UNIX_EPOCH + Duration::from_secs(3_000_000_000);
        let mut clock = PublisherClock::new(epoch);
        let (mut sound, mut picture) = (StreamClock::default(), StreamClock::default());
        // Both report that RTP time 1000 was captured when the remote clock began; transit is 10 ms and 35 ms.
        clock.handle_report(&mut sound, at(epoch, 10), remote, 1000);
        clock.handle_report(&mut picture, at(epoch, 35), remote, 1000);
        let heard = clock.map(&mut sound, at(epoch, 1030), 1000 + 48_000, 48_000, true);
        let seen = clock.map(&mut picture, at(epoch, 1090), 1000 + 90_000, 90_000, false);
        assert!((heard - seen).abs() < 0.5 * MS, "{heard} {seen}");
        assert!((heard - 1010.0 * MS).abs() < 1.0 * MS, "{heard}");
    }

    #[test]
    fn before_the_first_report_arrival_is_used_without_jitter() {
        let epoch = Instant::now();
        let mut clock = PublisherClock::new(epoch);
        let mut stream = StreamClock::default();
        let first = clock.map(&mut stream, at(epoch, 100), 0, 90_000, false);
        let late = clock.map(&mut stream, at(epoch, 160), 3000, 90_000, false);
        assert!((first - 100.0 * MS).abs() < 1.0);
        assert!((late - first - 33.3 * MS).abs() < 1.0 * MS, "{late}");
    }

    #[test]
    fn a_mapped_time_is_never_in_the_future() {
        let epoch = Instant::now();
        let mut clock = PublisherClock::new(epoch);
        let mut stream = StreamClock::default();
        clock.handle_report(&mut stream, at(epoch, 1000), UNIX_EPOCH + Duration::from_secs(1), 0);
        let mapped = clock.map(&mut stream, at(epoch, 1100), 90_000, 90_000, false);
        assert!(mapped <= 1100.0 * MS);
        let next = clock.map(&mut stream, at(epoch, 1200), 93_000, 90_000, false);
        assert!((next - mapped - 33.3 * MS).abs() < 1.0 * MS);
    }

    #[test]
    fn rounding_moves_nothing_into_the_future() {
        let epoch = Instant::now();
        let began = UNIX_EPOCH + Duration::from_secs(1_795_298_702);
        let mut clock = PublisherClock::new(epoch);
        let mut stream = StreamClock::default();
        clock.handle_report(&mut stream, at(epoch, 50), began, 0);
        for n in 1..2000u32 {
            // Each comes a little sooner after its capture than any before it.
            let sent = Duration::from_nanos(50_000_000 - u64::from(n) * 7);
            let arrival = epoch + Duration::from_micros(11_111) * n + sent;
            let mapped = clock.map(&mut stream, arrival, 1000 * u64::from(n), 90_000, false);
            assert!(mapped <= clock.micros(arrival), "{n}: {mapped} {arrival:?}");
        }
    }

    #[test]
    fn absurd_reports_are_not_believed() {
        let epoch = Instant::now();
        let mut clock = PublisherClock::new(epoch);
        let mut stream = StreamClock::default();
        clock.handle_report(&mut stream, at(epoch, 10), UNIX_EPOCH - Duration::from_secs(1 << 40), 0);
        let mapped = clock.map(&mut stream, at(epoch, 20), 0x7fff_0000, 90_000, false);
        assert!((mapped - 20.0 * MS).abs() < 1.0);
    }

    #[test]
    fn a_clock_that_was_set_is_followed_after_a_few_reports() {
        let epoch = Instant::now();
        let mut clock = PublisherClock::new(epoch);
        let mut stream = StreamClock::default();
        let ntp = |s| UNIX_EPOCH + Duration::from_secs(s);
        clock.handle_report(&mut stream, at(epoch, 1000), ntp(5000), 0);
        for i in 1..=3u32 {
            clock.handle_report(
                &mut stream,
                at(epoch, 1000 + 1000 * u64::from(i)),
                ntp(4000 + u64::from(i)),
                90_000 * i,
            );
        }
        let mapped = clock.map(&mut stream, at(epoch, 4010), 270_000, 90_000, false);
        assert!((mapped - 4000.0 * MS).abs() < 1.0 * MS, "{mapped}");
    }
}
