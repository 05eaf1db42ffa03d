//! One outgoing stream: what it is and what was counted of it.

use std::time::{Duration, Instant};

use crate::packet::Entry;
use crate::resend::Budget;
use crate::ring::Ring;
use crate::window::Window;

/// Packets that may wait in one stream; more than any second of a sane encoder. What comes then is lost.
const MAX_PENDING: usize = 2048;
/// As many leave in one piece at most (GSO).
const MAX_RUN: usize = 63;
/// Packets that carry the MID.
const MID_PACKETS: u16 = 32;

/// A stream of one [`Egress`](crate::Egress).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(crate) u32);

/// What a stream is. It stays so for life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamConfig {
    /// SSRC of the media.
    pub ssrc: u32,
    /// SSRC of repetitions, when they have their own.
    pub rtx: Option<u32>,
    /// Video is held until its frame is whole, and padded; audio leaves at once.
    pub video: bool,
    /// Media line, as in the MID extension. Cut after 16 bytes.
    pub mid: String,
    /// RTP ticks per second.
    pub clock_rate: u32,
}

/// Identifiers of header extensions as they were negotiated; what is none is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extensions {
    /// RFC 6464.
    pub audio_level: Option<u8>,
    /// Transport-wide sequence number.
    pub twcc: Option<u8>,
    /// RFC 9143; only on the first packets.
    pub mid: Option<u8>,
    /// 3GPP TS 26.114.
    pub orientation: Option<u8>,
    /// Dependency descriptor.
    pub dependency: Option<u8>,
}

/// What was sent in a stream, and what the client said of it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SendStats {
    /// Packets of media, without repetitions.
    pub packets: u64,
    /// Their bytes on the wire, without UDP and IP.
    pub bytes: u64,
    /// Packets that were repeated because the client asked.
    pub resent: u64,
    /// Their bytes.
    pub resent_bytes: u64,
    /// Bytes that only fill: equalising padding and probes.
    pub padding_bytes: u64,
    /// Packets that were not sent: given up, or the queue was full, or their number used.
    pub dropped: u64,
    /// Numbers that the client asked for.
    pub nacks: u64,
    /// Requests for a key picture, by kind.
    pub plis: u64,
    /// Full intra requests.
    pub firs: u64,
    /// Report blocks that came.
    pub reports: u64,
    /// Share of packets lost between the last two reports.
    pub fraction_lost: f32,
    /// Packets lost in all, as the client counts.
    pub lost: i64,
    /// Interarrival jitter at the client.
    pub jitter: Duration,
    /// Round trip, from reports.
    pub rtt: Option<Duration>,
}

/// A stream with what waits in it and what can be repeated.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) config: StreamConfig,
    pub(crate) ids: Extensions,
    /// Changes with the identifiers: what was sealed with others cannot be sealed again the same.
    pub(crate) state: u8,
    pub(crate) mid_left: u16,
    /// Numbers that were given to packets of media.
    numbers: Window<17>,
    pub(crate) pending: Vec<Entry>,
    /// When what waits has waited long enough.
    pub(crate) deadline: Instant,
    /// It leaves with the next poll, if it is its turn.
    pub(crate) due: bool,
    pub(crate) ring: Ring,
    /// Number of the last packet on the SSRC of repetitions.
    pub(crate) rtx_seq: u64,
    /// What repetitions of this stream may still take.
    pub(crate) budget: Budget,
    /// Payload type of repetitions.
    pub(crate) rtx_pt: Option<u8>,
    /// RTP time of the newest packet, and when that was.
    pub(crate) last: Option<(u32, Instant)>,
    /// A packet left since the last report.
    pub(crate) unreported: bool,
    /// No report was sent yet.
    pub(crate) unknown: bool,
    /// The last full intra request.
    pub(crate) last_command: Option<u8>,
    /// Bytes of payloads, as reports count them.
    pub(crate) octets: u64,
    pub(crate) stats: SendStats,
}

impl Stream {
    pub(crate) fn new(mut config: StreamConfig, origin: Instant) -> Self {
        let end = (0..=config.mid.len().min(16)).rev().find(|i| config.mid.is_char_boundary(*i));
        config.mid.truncate(end.unwrap_or(0));
        Self {
            // Any start below 2^15 will do.
            rtx_seq: u64::from(config.rtx.unwrap_or(0) & 0x7fff),
            config,
            ids: Extensions::default(),
            state: 0,
            mid_left: MID_PACKETS,
            numbers: Window::new(),
            pending: Vec::new(),
            deadline: origin,
            due: false,
            ring: Ring::default(),
            budget: Budget::new(),
            rtx_pt: None,
            last: None,
            unreported: false,
            unknown: true,
            last_command: None,
            octets: 0,
            stats: SendStats::default(),
        }
    }

    pub(crate) fn set_extensions(&mut self, ids: Extensions) {
        // 0 is filling.
        let ids = Extensions {
            audio_level: ids.audio_level.filter(|id| *id != 0),
            twcc: ids.twcc.filter(|id| *id != 0),
            mid: ids.mid.filter(|id| *id != 0),
            orientation: ids.orientation.filter(|id| *id != 0),
            dependency: ids.dependency.filter(|id| *id != 0),
        };
        if ids != self.ids {
            self.ids = ids;
            self.state = self.state.wrapping_add(1);
            self.mid_left = MID_PACKETS;
        }
    }

    /// Takes a packet in, if there is room for it.
    pub(crate) fn queue(&mut self, entry: Entry, wall: Instant) {
        // A number that was used before must not be sealed again, whoever gave it.
        if self.pending.len() >= MAX_PENDING || entry.seq >> 48 != 0 || !self.numbers.take(entry.seq) {
            self.stats.dropped += 1;
            return;
        }
        if self.last.is_none_or(|(_, last)| wall >= last) {
            self.last = Some((entry.time, wall));
        }
        self.rtx_pt = entry.rtx_pt.filter(|_| self.config.rtx.is_some()).or(self.rtx_pt);
        self.due |= entry.marker || !self.config.video || self.pending.len() >= MAX_RUN;
        self.pending.push(entry);
    }

    /// The next number on the SSRC of repetitions.
    pub(crate) fn next_repetition(&mut self) -> u64 {
        self.rtx_seq += 1;
        self.rtx_seq
    }

    /// Length of a packet's header.
    pub(crate) fn header_len(&self, entry: &Entry) -> usize {
        let mid = entry.mid.then_some(self.config.mid.as_bytes());
        entry.elements(entry.twcc, mid).header_len(&self.ids)
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.due || self.deadline <= now
    }
}
