//! Packets become datagrams: header, payload and padding are written where they leave from, and sealed there.
//!
//! An SSRC of media has the numbers it is given; the SSRC of repetitions has numbers of its own, so every packet on it
//! is a new one. A repetition on the SSRC of the media is the same datagram again, byte for byte: to seal other
//! contents under a number that was used would give the key away.

use std::time::Instant;

use crate::egress::Sink;
use crate::header::{self, Elements, Header};
use crate::packet::Entry;
use crate::padding;
use crate::probe::Probe;
use crate::report::{self, Compound, ReferenceTime, WallClock};
use crate::ring::Ring;
use crate::srtp::{RTCP_OVERHEAD, RTP_OVERHEAD, Sealing};
use crate::stream::Stream;
use crate::twcc::History;

/// Entries in the rings of all streams of one client, beyond which no ring grows.
const MAX_ENTRIES: usize = 1024;
/// The original number, before the payload of a repetition (RFC 4588).
const ORIGINAL: usize = 2;
/// Bytes of a packet that is nothing but padding.
const FILLING: usize = 255;
/// A packet that is shorter is no use for a probe.
const WORTH_REPEATING: usize = 400;
/// Packets of a probe in one go.
const MAX_FILLERS: usize = 64;

/// What all streams of a client are written with.
#[derive(Debug)]
pub(crate) struct Writer {
    sealing: Sealing,
    origin: Instant,
    pub(crate) history: History,
    pub(crate) probe: Option<Probe>,
    /// Slots in all rings.
    entries: usize,
    rtcp_index: u32,
    /// Bytes of all datagrams, and of those with transport-wide numbers.
    pub(crate) bytes: u64,
    pub(crate) numbered: u64,
}

impl Writer {
    pub(crate) fn new(sealing: Sealing, origin: Instant) -> Self {
        let history = History::new(origin);
        Self { sealing, origin, history, probe: None, entries: 0, rtcp_index: 0, bytes: 0, numbered: 0 }
    }

    /// Milliseconds since the beginning; they overflow after 49 days, which age comparisons bear.
    pub(crate) fn millis(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.origin).as_millis() as u32
    }

    /// Sends what waits in a stream, as long as the next with its bytes may leave; how many packets did.
    pub(crate) fn flush(
        &mut self,
        stream: &mut Stream,
        equalise: bool,
        mut may_leave: impl FnMut(usize) -> bool,
        now: Instant,
        sink: &mut impl Sink,
    ) -> usize {
        let mut pending = std::mem::take(&mut stream.pending);
        let leave = pending.iter().position(|e| !may_leave(e.payload.len())).unwrap_or(pending.len());
        let sent = self.millis(now);
        stream.due = leave < pending.len();
        stream.unreported |= leave > 0;
        for entry in pending[..leave].iter_mut().take(usize::from(stream.mid_left)) {
            entry.mid = true;
            stream.mid_left -= 1;
        }
        if equalise && stream.config.video && leave > 1 {
            padding::equalise(stream, &mut pending[..leave]);
        }
        for mut entry in pending.drain(..leave) {
            entry.sent = sent;
            entry.state = stream.state;
            entry.twcc = self.history.next();
            let Some(len) = self.write_media(stream, &entry, sink) else { continue };
            self.count(stream, len, now);
            stream.stats.packets += 1;
            stream.stats.bytes += len as u64;
            stream.stats.padding_bytes += u64::from(entry.padding);
            stream.octets += entry.payload.len() as u64;
            stream.budget.earn(len);
            if entry.resend {
                self.keep(&mut stream.ring, entry, sent);
            }
        }
        stream.pending = pending;
        leave
    }

    /// Sends a packet again that the client asked for.
    pub(crate) fn resend(&mut self, stream: &mut Stream, seq: u64, now: Instant, sink: &mut impl Sink) {
        let apart =
            stream.config.rtx.is_some() && stream.ring.get_mut(seq).is_some_and(|e| e.rtx_pt.is_some());
        let len = if apart {
            self.write_repetition(stream, seq, now, sink)
        } else {
            self.write_again(stream, seq, sink)
        };
        if let Some(len) = len {
            stream.stats.resent += 1;
            stream.stats.resent_bytes += len as u64;
        }
    }

    /// Fills up to what a probe needs. Packets of late are repeated, which helps who lost them; padding goes where
    /// there are none.
    pub(crate) fn fill(&mut self, stream: &mut Stream, lacks: u64, now: Instant, sink: &mut impl Sink) {
        let repeated = stream.ring.newest(|e| e.payload.len() >= WORTH_REPEATING && e.rtx_pt.is_some());
        let mut sent = 0;
        for _ in 0..MAX_FILLERS {
            if sent >= lacks {
                return;
            }
            let len = match repeated {
                Some(seq) => self.write_repetition(stream, seq, now, sink),
                None => self.write_filling(stream, now, sink),
            };
            let Some(len) = len else { return };
            stream.stats.padding_bytes += len as u64;
            sent += len as u64;
        }
    }

    /// Sends reports of streams, at most [`report::MAX_STREAMS`].
    pub(crate) fn report<'a>(
        &mut self,
        streams: impl ExactSizeIterator<Item = &'a Stream> + Clone,
        cname: &[u8],
        reference: Option<ReferenceTime>,
        clock: &WallClock,
        now: Instant,
        sink: &mut impl Sink,
    ) {
        let Some(first) = streams.clone().next() else { return };
        let room = sink.begin(report::MAX_LEN + RTCP_OVERHEAD);
        let mut compound = Compound::new(room);
        for stream in streams.clone() {
            compound.report(stream, clock, now);
        }
        compound.describe(streams.map(|s| s.config.ssrc), cname);
        if let Some(reference) = reference {
            compound.delay(first.config.ssrc, &reference, now);
        }
        let len = compound.len();
        self.rtcp_index = (self.rtcp_index + 1) & (u32::MAX >> 1);
        let Some(len) = self.sealing.seal_rtcp(room, len, self.rtcp_index) else { return };
        sink.commit(len);
        self.bytes += len as u64;
    }

    fn keep(&mut self, ring: &mut Ring, entry: Entry, now: u32) {
        let others = self.entries.saturating_sub(ring.len());
        ring.insert(entry, now, MAX_ENTRIES.saturating_sub(self.entries));
        self.entries = others + ring.len();
    }

    /// Lets go of what nobody asks for any more; whether something is left.
    pub(crate) fn expire(&mut self, ring: &mut Ring, now: Instant) -> bool {
        let others = self.entries.saturating_sub(ring.len());
        let left = ring.expire(self.millis(now));
        self.entries = others + ring.len();
        left
    }

    /// A datagram with the next transport-wide number has left, if the stream has such numbers.
    fn count(&mut self, stream: &Stream, len: usize, now: Instant) {
        if stream.ids.twcc.is_some() {
            self.numbered += len as u64;
            self.history.sent(len, self.probe.as_ref().map(|p| p.cluster), now);
            if let Some(probe) = &mut self.probe {
                probe.count(len);
            }
        }
    }

    /// Writes a packet of media as its entry says, which is the same each time.
    fn write_media(&mut self, stream: &Stream, entry: &Entry, sink: &mut impl Sink) -> Option<usize> {
        let mid = entry.mid.then_some(stream.config.mid.as_bytes());
        let header = Header {
            pt: entry.pt,
            marker: entry.marker,
            padding: entry.padding > 0,
            seq: entry.seq as u16,
            time: entry.time,
            ssrc: stream.config.ssrc,
        };
        let elements = entry.elements(entry.twcc, mid);
        let payload = entry.payload.len();
        let fill = |room: &mut [u8]| {
            let (place, padding) = room.split_at_mut(payload);
            entry.write_payload(place);
            padding::write(padding);
        };
        self.write(stream, header, &elements, payload + usize::from(entry.padding), fill, entry.seq, sink)
    }

    /// The same datagram again; none if what was negotiated has changed since, and it would not be the same.
    fn write_again(&mut self, stream: &mut Stream, seq: u64, sink: &mut impl Sink) -> Option<usize> {
        let state = stream.state;
        let entry = stream.ring.get_mut(seq).filter(|e| e.state == state)?.clone();
        self.write_media(stream, &entry, sink)
    }

    fn write_repetition(
        &mut self,
        stream: &mut Stream,
        seq: u64,
        now: Instant,
        sink: &mut impl Sink,
    ) -> Option<usize> {
        let ssrc = stream.config.rtx?;
        let entry = stream.ring.get_mut(seq)?.clone();
        let pt = entry.rtx_pt?;
        let number = stream.next_repetition();
        let header =
            Header { pt, marker: entry.marker, padding: false, seq: number as u16, time: entry.time, ssrc };
        let elements = entry.elements(self.history.next(), None);
        let fill = |room: &mut [u8]| {
            let (original, payload) = room.split_at_mut(ORIGINAL);
            original.copy_from_slice(&(seq as u16).to_be_bytes());
            entry.write_payload(payload);
        };
        let len = entry.payload.len() + ORIGINAL;
        let len = self.write(stream, header, &elements, len, fill, number, sink)?;
        self.count(stream, len, now);
        Some(len)
    }

    fn write_filling(&mut self, stream: &mut Stream, now: Instant, sink: &mut impl Sink) -> Option<usize> {
        let (ssrc, pt, (time, _)) = (stream.config.rtx?, stream.rtx_pt?, stream.last?);
        let number = stream.next_repetition();
        let header = Header { pt, marker: false, padding: true, seq: number as u16, time, ssrc };
        let elements = Elements { twcc: self.history.next(), ..Elements::default() };
        let len = self.write(stream, header, &elements, FILLING, padding::write, number, sink)?;
        self.count(stream, len, now);
        Some(len)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one datagram")]
    fn write(
        &mut self,
        stream: &Stream,
        header: Header,
        elements: &Elements<'_>,
        body: usize,
        fill: impl FnOnce(&mut [u8]),
        index: u64,
        sink: &mut impl Sink,
    ) -> Option<usize> {
        let room = sink.begin(header::MAX + body + RTP_OVERHEAD);
        let head = header.write(&stream.ids, elements, room);
        fill(&mut room[head..head + body]);
        let len = self.sealing.seal_rtp(room, head, head + body, header.ssrc, index)?;
        sink.commit(len);
        self.bytes += len as u64;
        Some(len)
    }
}
