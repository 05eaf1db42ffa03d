//! What leaves in a transport's sections, and what the client says of it.
//!
//! Packets go from [`Room::forward`](crate::Room) into the transport's egress, and from there with the room's next poll,
//! together, straight into the output. str0m is not asked: it has no part in them. RTCP that is about nothing else is
//! kept from it as well.

use std::sync::Arc;
use std::time::Instant;

use rtcloud_egress::{Feedback, Packet, StreamConfig};
use str0m::format::Codec;

use crate::command::Kind;
use crate::event::TransportState;
use crate::output::Output;
use crate::proof;
use crate::rewriter::Outgoing;
use crate::room::Room;
use crate::transport::{Transport, Use};

/// A packet as all of its subscribers get it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Media<'a> {
    pub(crate) codec: Codec,
    /// It has redundancy.
    pub(crate) red: bool,
    /// RTP ticks per second.
    pub(crate) rate: u32,
    pub(crate) marker: bool,
    /// When it was captured.
    pub(crate) wall: Instant,
    pub(crate) payload: &'a Arc<[u8]>,
    pub(crate) level: Option<(i8, bool)>,
    pub(crate) orientation: Option<u8>,
}

/// Whether a datagram is RTCP (RFC 5761).
pub(crate) fn is_rtcp(contents: &[u8]) -> bool {
    matches!(contents, [128..=191, 192..=223, ..])
}

impl Transport {
    /// Queues a packet in a section; false when it cannot be sent there.
    pub(crate) fn write(&mut self, index: usize, media: &Media<'_>, numbers: Outgoing, now: Instant) -> bool {
        let Some(types) = self.payload_types(index, media.codec) else { return false };
        let pt = if media.red { types.red } else { Some(types.pt) };
        let Some(pt) = pt else { return false };
        let section = &self.sections[index];
        let video = section.kind == Kind::Video;
        let stream = match section.stream {
            Some(stream) => stream,
            None => {
                let Some((ssrc, rtx)) = section.ssrc else { return false };
                let stream = self.egress.add_stream(StreamConfig {
                    ssrc: *ssrc,
                    rtx: rtx.map(|rtx| *rtx),
                    video,
                    mid: section.mid.to_string(),
                    clock_rate: media.rate,
                });
                let extensions = self.extensions(index);
                self.egress.set_extensions(stream, extensions);
                self.sections[index].stream = Some(stream);
                stream
            }
        };
        let packet = Packet {
            pt: *pt,
            rtx_pt: types.rtx.map(|pt| *pt),
            seq: numbers.seq,
            time: numbers.time,
            marker: media.marker,
            wall: media.wall,
            payload: media.payload,
            patch: numbers.patch,
            level: media.level,
            orientation: media.orientation,
            dependency: None,
            resend: video || self.sections[index].repeats,
        };
        self.egress.write(stream, &packet, now);
        self.sent_bytes = self.sent_bytes.wrapping_add(media.payload.len() as u64);
        true
    }

    /// Whether pictures of a section wait for their turn.
    pub(crate) fn is_behind(&self, index: usize) -> bool {
        let stream = self.sections.get(index).and_then(|section| section.stream);
        stream.is_some_and(|stream| self.egress.is_behind(stream))
    }

    /// Pictures of a section that did not leave yet are of no use any more.
    pub(crate) fn give_up(&mut self, index: usize) {
        let section = self.sections.get(index).filter(|section| section.kind == Kind::Video);
        if let Some(stream) = section.and_then(|section| section.stream) {
            self.egress.give_up(stream);
        }
    }

    /// Takes the keys that the last call into str0m brought, if it did.
    pub(crate) fn take_keys(&mut self) {
        if let Some((sealing, opening)) = proof::take_keys() {
            self.egress.set_keys(sealing, opening);
        }
    }

    /// The client told when packets arrived.
    fn handle_results(&mut self, now: Instant) {
        self.adaptation.handle_results(self.egress.results(), now);
        self.egress.set_pacing(self.adaptation.pacing(now));
    }

    /// Writes what is due. Nothing leaves before it is certain where the client is, and after it has gone.
    /// When it wants to be called again, if it does.
    fn flush(&mut self, now: Instant, output: &mut Output) -> Option<Instant> {
        let alive = matches!(self.state, Some(TransportState::Connected | TransportState::Disconnected));
        let (remote, ours) = self.path.newest().filter(|_| alive)?;
        self.egress.poll(now, &mut output.sink(ours, remote));
        self.adaptation.handle_sent(self.egress.bytes_numbered(), self.egress.bytes_sent(), now);
        self.egress.next_timeout()
    }
}

impl Room {
    /// Something waits in a transport's egress.
    pub(crate) fn mark_queued(&mut self, slot: usize) {
        if !std::mem::replace(&mut self.transports[slot].queued, true) {
            self.queued.push(slot);
        }
    }

    /// Writes what waits in all transports, each one's packets together.
    pub(crate) fn flush(&mut self, now: Instant, output: &mut Output) {
        for index in 0..self.queued.len() {
            let slot = self.queued[index];
            let Some(transport) = self.transports.get_mut(slot) else { continue };
            transport.queued = false;
            self.flushes[slot] = transport.flush(now, output);
        }
        self.queued.clear();
    }

    /// Does what the client's RTCP asks for.
    pub(crate) fn handle_feedback(&mut self, slot: usize, now: Instant) {
        let mut all = std::mem::take(&mut self.feedback);
        for feedback in all.drain(..) {
            match feedback {
                Feedback::Keyframe { stream } => {
                    let sections = &self.transports[slot].sections;
                    let section = sections.iter().find(|s| s.stream == Some(stream));
                    if let Some(Use::Taken(subscription)) = section.map(|s| s.usage) {
                        self.handle_keyframe_request(subscription, now);
                    }
                }
                Feedback::Loss { stream, fraction, rtt, .. } => {
                    let sections = &self.transports[slot].sections;
                    let section = sections.iter().find(|s| s.stream == Some(stream));
                    if let Some(Use::Taken(subscription)) = section.map(|s| s.usage) {
                        let ran_over = self.transports[slot].adaptation.ran_over();
                        self.subscriptions[subscription].protection.handle_loss(fraction, ran_over, now);
                    }
                    let transport = &mut self.transports[slot];
                    transport.rtt = rtt.or(transport.rtt);
                    if let Some(rtt) = rtt {
                        transport.adaptation.handle_rtt(rtt);
                    }
                    self.participants[transport.participant].quality.downlink.add(fraction);
                }
                Feedback::Transport => {
                    self.transports[slot].handle_results(now);
                    self.probe(slot, now);
                }
                Feedback::Remb { bitrate } => self.transports[slot].adaptation.handle_remb(bitrate, now),
            }
        }
        self.feedback = all;
        if self.transports[slot].egress.has_waiting() {
            self.mark_queued(slot);
        }
    }
}
