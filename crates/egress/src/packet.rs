//! A packet as it is given to be sent, and as it is kept.

use std::sync::Arc;
use std::time::Instant;

use crate::header::Elements;

/// Bytes at the beginning of a payload that go out changed, while the payload is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Patch {
    at: u8,
    len: u8,
    bytes: [u8; Self::MAX],
}

impl Patch {
    /// Longest run that can be overwritten.
    pub const MAX: usize = 8;
    /// Nothing changes.
    pub const NONE: Self = Self { at: 0, len: 0, bytes: [0; Self::MAX] };

    /// Overwrites a run of at most [`Patch::MAX`] bytes; none if it is longer.
    pub fn new(at: u8, contents: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::MAX];
        bytes.get_mut(..contents.len())?.copy_from_slice(contents);
        Some(Self { at, len: contents.len() as u8, bytes })
    }

    /// Whether nothing changes.
    pub fn is_none(&self) -> bool {
        self.len == 0
    }

    /// What does not fit is left out.
    pub fn apply(&self, payload: &mut [u8]) {
        let end = usize::from(self.at) + usize::from(self.len);
        if let Some(place) = payload.get_mut(usize::from(self.at)..end) {
            place.copy_from_slice(&self.bytes[..usize::from(self.len)]);
        }
    }
}

/// A packet to send.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// Payload type.
    pub pt: u8,
    /// Payload type of its repetitions, where they have their own SSRC.
    pub rtx_pt: Option<u8>,
    /// Sequence number with its overflows, which is the SRTP index: each is given once per stream, and begins below
    /// 2^15.
    pub seq: u64,
    /// RTP time.
    pub time: u32,
    /// Last of its frame.
    pub marker: bool,
    /// When it was captured, on our clock.
    pub wall: Instant,
    /// What it carries, shared by all who get it.
    pub payload: &'a Arc<[u8]>,
    /// What differs from the shared payload.
    pub patch: Patch,
    /// Audio level in dBov (-127 to 0) and voice activity.
    pub level: Option<(i8, bool)>,
    /// Video orientation as it is written.
    pub orientation: Option<u8>,
    /// Dependency descriptor as it is written, at most 255 bytes.
    pub dependency: Option<&'a Arc<[u8]>>,
    /// Kept to be repeated.
    pub resend: bool,
}

/// A packet in a queue or a ring: what [`Packet`] said, and how it was sent.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) payload: Arc<[u8]>,
    dependency: Option<Arc<[u8]>>,
    pub(crate) time: u32,
    /// Milliseconds since the beginning: when it was sent, or queued as long as it is not, and when repeated last.
    pub(crate) sent: u32,
    pub(crate) resent: Option<u32>,
    /// A repetition waits to be sent.
    pub(crate) asked: bool,
    /// The transport-wide number it was sent with.
    pub(crate) twcc: u16,
    pub(crate) pt: u8,
    pub(crate) rtx_pt: Option<u8>,
    pub(crate) marker: bool,
    pub(crate) resend: bool,
    /// It was sent with the MID, under this state of the negotiation.
    pub(crate) mid: bool,
    pub(crate) state: u8,
    pub(crate) padding: u8,
    level: Option<(i8, bool)>,
    orientation: Option<u8>,
    patch: Patch,
}

impl Entry {
    pub(crate) fn new(packet: &Packet<'_>) -> Self {
        Self {
            seq: packet.seq,
            payload: Arc::clone(packet.payload),
            dependency: packet.dependency.cloned(),
            time: packet.time,
            sent: 0,
            resent: None,
            asked: false,
            twcc: 0,
            pt: packet.pt,
            rtx_pt: packet.rtx_pt,
            marker: packet.marker,
            resend: packet.resend,
            mid: false,
            state: 0,
            padding: 0,
            level: packet.level,
            orientation: packet.orientation,
            patch: packet.patch,
        }
    }

    /// The contents of its extensions.
    pub(crate) fn elements<'a>(&'a self, twcc: u16, mid: Option<&'a [u8]>) -> Elements<'a> {
        Elements {
            twcc,
            level: self.level,
            orientation: self.orientation,
            mid,
            dependency: self.dependency.as_deref(),
        }
    }

    /// Writes the payload as it goes out.
    pub(crate) fn write_payload(&self, room: &mut [u8]) {
        room.copy_from_slice(&self.payload);
        self.patch.apply(room);
    }
}
