//! Sender reports (RFC 3550, 6.4.1), and what report blocks say.
//!
//! A report says which RTP time a stream has now, on the clock that all streams of a client share: receivers play them
//! in step by it. The mapping comes from the capture time of the newest packet.

use std::time::{Duration, Instant};

use crate::rtcp::Report;
use crate::stream::Stream;

/// How often streams that flow are reported.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
/// Streams in one datagram.
pub(crate) const MAX_STREAMS: usize = 8;
/// Longest name of the sender.
pub(crate) const MAX_CNAME: usize = 64;
/// Bytes of a datagram of reports before it is sealed.
pub(crate) const MAX_LEN: usize = MAX_STREAMS * (REPORT + 4 + (2 + MAX_CNAME + 4)) + 4 + DELAY;

const REPORT: usize = 28;
const DELAY: usize = 24;
/// Seconds from 1900 to 1970.
const NTP_OFFSET: u64 = 2_208_988_800;
/// A longer round trip is not believed.
const MAX_RTT: u32 = 10 << 16;

/// Our clock in the world's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WallClock {
    pub(crate) origin: Instant,
    pub(crate) unix: Duration,
}

impl WallClock {
    /// NTP time: seconds, and their fractions.
    pub(crate) fn ntp(&self, now: Instant) -> u64 {
        let time = self.unix + now.saturating_duration_since(self.origin);
        let fraction = (u64::from(time.subsec_nanos()) << 32) / 1_000_000_000;
        (time.as_secs().wrapping_add(NTP_OFFSET) << 32) | fraction
    }

    /// The round trip that a report block tells of.
    pub(crate) fn round_trip(&self, report: &Report, now: Instant) -> Option<Duration> {
        if report.last == 0 {
            return None;
        }
        let now = (self.ntp(now) >> 16) as u32;
        let trip = now.wrapping_sub(report.last).wrapping_sub(report.delay);
        // Clocks that tick differently make short trips negative.
        let trip = if trip > u32::MAX - (1 << 16) { 0 } else { trip };
        (trip < MAX_RTT).then(|| Duration::from_secs_f64(f64::from(trip) / 65_536.0))
    }
}

/// The client's time, to be sent back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReferenceTime {
    pub(crate) ssrc: u32,
    pub(crate) time: u32,
    pub(crate) at: Instant,
}

/// Puts a compound packet together.
pub(crate) struct Compound<'a> {
    room: &'a mut [u8],
    len: usize,
}

impl<'a> Compound<'a> {
    /// `room` has [`MAX_LEN`] bytes.
    pub(crate) fn new(room: &'a mut [u8]) -> Self {
        Self { room, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn put(&mut self, bytes: &[u8]) {
        self.room[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn header(&mut self, count: u8, kind: u8, len: usize) {
        self.put(&[0x80 | count, kind]);
        self.put(&((len / 4 - 1) as u16).to_be_bytes());
    }

    /// The report of a stream; what was never sent has none.
    pub(crate) fn report(&mut self, stream: &Stream, clock: &WallClock, now: Instant) {
        let Some((time, wall)) = stream.last else { return };
        let rate = f64::from(stream.config.clock_rate);
        let since = match now.checked_duration_since(wall) {
            Some(after) => after.as_secs_f64(),
            None => -wall.saturating_duration_since(now).as_secs_f64(),
        };
        let time = time.wrapping_add(((since * rate).round() as i64) as u32);
        self.header(0, 200, REPORT);
        self.put(&stream.config.ssrc.to_be_bytes());
        self.put(&clock.ntp(now).to_be_bytes());
        self.put(&time.to_be_bytes());
        self.put(&(stream.stats.packets as u32).to_be_bytes());
        self.put(&(stream.octets as u32).to_be_bytes());
    }

    /// Who sends the streams.
    pub(crate) fn describe(&mut self, ssrcs: impl ExactSizeIterator<Item = u32>, cname: &[u8]) {
        // At least one zero ends a chunk.
        let chunk = (4 + 2 + cname.len() + 1).next_multiple_of(4);
        self.header(ssrcs.len() as u8, 202, 4 + ssrcs.len() * chunk);
        for ssrc in ssrcs {
            let end = self.len + chunk;
            self.put(&ssrc.to_be_bytes());
            self.put(&[1, cname.len() as u8]);
            self.put(cname);
            self.room[self.len..end].fill(0);
            self.len = end;
        }
    }

    /// Sends the client's time back (RFC 3611, 4.5).
    pub(crate) fn delay(&mut self, ssrc: u32, reference: &ReferenceTime, now: Instant) {
        let delay = now.saturating_duration_since(reference.at).as_secs_f64() * 65_536.0;
        self.header(0, 207, DELAY);
        self.put(&ssrc.to_be_bytes());
        self.put(&[5, 0, 0, 3]);
        self.put(&reference.ssrc.to_be_bytes());
        self.put(&reference.time.to_be_bytes());
        self.put(&(delay as u32).to_be_bytes());
    }
}
