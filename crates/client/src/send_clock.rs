//! From the capture time of a frame to be sent to its RTP time, and back to the moment that this RTP time stands for.
//!
//! Video: the capture time in 90 kHz ticks. Audio: receivers expect each packet to begin exactly where the one before
//! ended, so while the given times agree with the running length of the packets to within `SLACK_US` the running
//! length wins; beyond that (silence, drift) the clock jumps to the given time. Given times are late now and then but
//! never early, so the running length stands for the earliest of them, with a slow rise that follows drift.

const SLACK_US: i64 = 15_000;
const RISE: i64 = 64;

/// The RTP clock of one track that we send.
#[derive(Debug, Clone)]
pub struct SendClock {
    rate: u64,
    offset: u64,
    expected: Option<u64>,
    shift_us: i64,
}

impl SendClock {
    /// `rate` ticks per second; `offset` is where the RTP time starts (RFC 3550 wants it random).
    pub fn new(rate: u32, offset: u32) -> Self {
        Self { rate: u64::from(rate.max(1)), offset: u64::from(offset), expected: None, shift_us: 0 }
    }

    /// RTP time (extended, never wrapping) of a frame captured at `capture_us` that lasts `ticks` (0: not known), and
    /// the Unix time in µs that it stands for.
    pub fn stamp(&mut self, capture_us: u64, ticks: u32) -> (u64, u64) {
        let given = (u128::from(capture_us) * u128::from(self.rate) / 1_000_000) as u64 + self.offset;
        let running = self.expected.filter(|expected| {
            ticks > 0
                && (u128::from(given.abs_diff(*expected)) * 1_000_000 / u128::from(self.rate)) as i64
                    <= SLACK_US
        });
        let time = running.unwrap_or(given);
        self.expected = (ticks > 0).then(|| time + u64::from(ticks));
        if running.is_none() {
            self.shift_us = 0;
            return (time, capture_us);
        }
        let stands_for = (u128::from(time - self.offset) * 1_000_000 / u128::from(self.rate)) as i64;
        let late = capture_us as i64 - stands_for;
        self.shift_us =
            if late < self.shift_us { late } else { self.shift_us + (late - self.shift_us) / RISE };
        (time, (stands_for + self.shift_us) as u64)
    }
}

/// Length of an Opus packet in 48 kHz ticks, from its first bytes (RFC 6716, 3.1). 0 when it is malformed.
pub fn opus_ticks(packet: &[u8]) -> u32 {
    let Some(&toc) = packet.first() else { return 0 };
    let config = toc >> 3;
    let frame = match config {
        0..=11 => [480, 960, 1920, 2880][usize::from(config & 3)],
        12..=15 => [480, 960][usize::from(config & 1)],
        _ => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => packet.get(1).map_or(0, |count| u32::from(count & 0x3f)),
    };
    let ticks = frame * frames;
    if ticks > 5760 { 0 } else { ticks }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn video_follows_the_capture_time() {
        let mut clock = SendClock::new(90_000, 7);
        assert_eq!(clock.stamp(1_000_000, 0), (90_007, 1_000_000));
        assert_eq!(clock.stamp(1_033_333, 0), (93_006, 1_033_333));
    }

    #[test]
    fn jitter_of_audio_is_smoothed() {
        let mut clock = SendClock::new(48_000, 0);
        assert_eq!(clock.stamp(1_000_000, 960), (48_000, 1_000_000));
        assert_eq!(clock.stamp(1_026_400, 960), (48_960, 1_020_100));
        assert_eq!(clock.stamp(1_040_000, 960), (49_920, 1_040_000));
    }

    #[test]
    fn a_late_first_packet_does_not_delay_the_others() {
        let mut clock = SendClock::new(48_000, 9);
        assert_eq!(clock.stamp(1_012_000, 960).1, 1_012_000);
        assert_eq!(clock.stamp(1_020_000, 960), (48_000 + 576 + 960 + 9, 1_020_000));
        assert_eq!(clock.stamp(1_040_000, 960).1, 1_040_000);
    }

    #[test]
    fn a_pause_of_audio_is_kept() {
        let mut clock = SendClock::new(48_000, 0);
        clock.stamp(1_000_000, 960);
        assert_eq!(clock.stamp(2_000_000, 960), (96_000, 2_000_000));
    }

    #[test]
    fn length_of_opus_packets() {
        assert_eq!(opus_ticks(&[0xfc, 0]), 960); // CELT, full band, 20 ms, one frame
        assert_eq!(opus_ticks(&[0xfd, 0]), 1920);
        assert_eq!(opus_ticks(&[0xff, 3]), 2880);
        assert_eq!(opus_ticks(&[0x08, 0]), 960); // SILK, 20 ms
        assert_eq!(opus_ticks(&[]), 0);
        assert_eq!(opus_ticks(&[0xff]), 0);
        assert_eq!(opus_ticks(&[0xff, 63]), 0);
    }
}
