//! From the capture time of a frame to be sent to its RTP time.
//!
//! Video: the capture time in 90 kHz ticks. Audio: receivers expect each packet to begin exactly where the one before
//! ended, so while the given times agree with the running length of the packets to within `SLACK_US` the running
//! length wins; beyond that (silence, drift) the clock jumps to the given time.

const SLACK_US: i64 = 15_000;

/// The RTP clock of one track that we send.
#[derive(Debug, Clone)]
pub struct SendClock {
    rate: u64,
    offset: u64,
    expected: Option<u64>,
}

impl SendClock {
    /// `rate` ticks per second; `offset` is where the RTP time starts (RFC 3550 wants it random).
    pub fn new(rate: u32, offset: u32) -> Self {
        Self { rate: u64::from(rate), offset: u64::from(offset), expected: None }
    }

    /// RTP time (extended, never wrapping) of a frame captured at `capture_us` that lasts `ticks` (0: not known).
    pub fn rtp_time(&mut self, capture_us: u64, ticks: u32) -> u64 {
        let given = (u128::from(capture_us) * u128::from(self.rate) / 1_000_000) as u64 + self.offset;
        let time = match self.expected {
            Some(expected) if ticks > 0 && self.us(given.abs_diff(expected)) <= SLACK_US => expected,
            _ => given,
        };
        self.expected = (ticks > 0).then(|| time + u64::from(ticks));
        time
    }

    fn us(&self, ticks: u64) -> i64 {
        (u128::from(ticks) * 1_000_000 / u128::from(self.rate.max(1))) as i64
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
        assert_eq!(clock.rtp_time(1_000_000, 0), 90_007);
        assert_eq!(clock.rtp_time(1_033_333, 0), 93_006);
    }

    #[test]
    fn jitter_of_audio_is_smoothed() {
        let mut clock = SendClock::new(48_000, 0);
        assert_eq!(clock.rtp_time(1_000_000, 960), 48_000);
        assert_eq!(clock.rtp_time(1_023_000, 960), 48_960);
        assert_eq!(clock.rtp_time(1_038_000, 960), 49_920);
    }

    #[test]
    fn a_pause_of_audio_is_kept() {
        let mut clock = SendClock::new(48_000, 0);
        clock.rtp_time(1_000_000, 960);
        assert_eq!(clock.rtp_time(2_000_000, 960), 96_000);
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
