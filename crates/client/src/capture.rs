//! From the RTP time of a received frame to the moment of its capture on the server's Unix clock.
//!
//! A sender report pairs an RTP time with a wall clock time; the newest one is the truth. RTP times are compared as
//! wrapping 32-bit numbers, so a frame may lie up to half a wrap (6.6 hours at 90 kHz) before or after the report.

/// Maps the RTP times of one track.
#[derive(Debug, Clone, Copy)]
pub struct CaptureClock {
    rate: u32,
    report: Option<(u32, u64)>,
}

impl CaptureClock {
    /// For a track whose RTP clock runs at `rate` per second.
    pub fn new(rate: u32) -> Self {
        Self { rate: rate.max(1), report: None }
    }

    /// Takes a sender report: `rtp_time` was `unix_us`.
    pub fn report(&mut self, rtp_time: u32, unix_us: u64) {
        self.report = Some((rtp_time, unix_us));
    }

    /// Whether a report came.
    pub fn is_known(&self) -> bool {
        self.report.is_some()
    }

    /// When `rtp_time` was, in Unix µs. None before the first report.
    pub fn capture_us(&self, rtp_time: u32) -> Option<u64> {
        let (at, unix_us) = self.report?;
        let ticks = i64::from(rtp_time.wrapping_sub(at) as i32);
        let us = ticks * 1_000_000 / i64::from(self.rate);
        unix_us.checked_add_signed(us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_known_before_a_report() {
        assert_eq!(CaptureClock::new(90_000).capture_us(5), None);
    }

    #[test]
    fn frames_before_and_after_the_report_are_placed() {
        let mut clock = CaptureClock::new(90_000);
        clock.report(90_000, 1_700_000_000_000_000);
        assert_eq!(clock.capture_us(180_000), Some(1_700_000_001_000_000));
        assert_eq!(clock.capture_us(0), Some(1_699_999_999_000_000));
    }

    #[test]
    fn the_rtp_time_may_wrap() {
        let mut clock = CaptureClock::new(48_000);
        clock.report(u32::MAX - 479, 1_000_000);
        assert_eq!(clock.capture_us(480), Some(1_020_000));
    }

    #[test]
    fn a_time_before_the_epoch_is_unknown() {
        let mut clock = CaptureClock::new(48_000);
        clock.report(48_000, 10);
        assert_eq!(clock.capture_us(0), None);
    }
}
