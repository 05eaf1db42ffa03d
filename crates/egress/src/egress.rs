//! The whole of what is sent to one client.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::PacketResult;
use crate::pace::{Pace, Pacing};
use crate::packet::{Entry, Packet};
use crate::probe::Probe;
use crate::replay::Replay;
use crate::report::{self, ReferenceTime, WallClock};
use crate::resend::Resends;
use crate::srtp::{Opening, Sealing};
use crate::stream::{Extensions, SendStats, Stream, StreamConfig, StreamId};
use crate::writer::Writer;

/// What is the same for all streams of one client.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Packets of a frame that differ little in size are made equal, so that they leave in one piece (GSO).
    pub padding: bool,
    /// Longest time that video waits for the rest of its frame.
    pub hold: Duration,
    /// A moment on our clock, not later than any other that is given.
    pub origin: Instant,
    /// What time it was then, since 1970. All clients of a room share both, so that reports place all they get on one
    /// clock.
    pub unix: Duration,
}

/// Pictures that have waited so long take turns with what is repeated.
const OVERDUE: Duration = Duration::from_millis(800);

/// Where datagrams go.
pub trait Sink {
    /// Room for a datagram of at most `len` bytes, with any contents.
    fn begin(&mut self, len: usize) -> &mut [u8];
    /// The first `len` bytes of that room are a datagram; what follows is free again.
    fn commit(&mut self, len: usize);
}

/// What an SSRC of ours is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    Media(u32),
    Repetitions,
}

/// What is sent to one client, and the RTCP that comes back.
#[derive(Debug)]
pub struct Egress {
    options: Options,
    cname: Box<[u8]>,
    pub(crate) clock: WallClock,
    pub(crate) opening: Option<Opening>,
    pub(crate) writer: Option<Writer>,
    pub(crate) streams: Vec<Stream>,
    pub(crate) by_ssrc: HashMap<u32, Place>,
    /// Streams in which something waits.
    waiting: Vec<u32>,
    pub(crate) resends: Resends,
    pace: Pace,
    pub(crate) replay: Replay,
    /// Round trip, smoothed.
    pub(crate) rtt: Option<Duration>,
    pub(crate) reference: Option<ReferenceTime>,
    /// When all streams that flow are reported.
    next_report: Option<Instant>,
    /// A stream flows of which the client knows no time yet.
    report_soon: bool,
    pub(crate) results: Vec<PacketResult>,
}

impl Egress {
    /// Nothing is sent before it has keys and streams. `cname` is cut after 64 bytes.
    pub fn new(options: Options, cname: &str) -> Self {
        let cname = cname.as_bytes();
        Self {
            options,
            cname: cname[..cname.len().min(report::MAX_CNAME)].into(),
            clock: WallClock { origin: options.origin, unix: options.unix },
            opening: None,
            writer: None,
            streams: Vec::new(),
            by_ssrc: HashMap::new(),
            waiting: Vec::new(),
            resends: Resends::default(),
            pace: Pace::default(),
            replay: Replay::default(),
            rtt: None,
            reference: None,
            next_report: None,
            report_soon: false,
            results: Vec::new(),
        }
    }

    /// The keys of the DTLS session. New keys belong to a new session, with a new `Egress`: a second set is ignored,
    /// because numbers would begin again under keys that may be the same.
    pub fn set_keys(&mut self, sealing: Sealing, opening: Opening) {
        if self.writer.is_none() {
            self.writer = Some(Writer::new(sealing, self.options.origin));
            self.opening = Some(opening);
        }
    }

    /// Whether packets can be sealed.
    pub fn has_keys(&self) -> bool {
        self.writer.is_some()
    }

    /// A new stream. Its SSRCs must be its own, and nobody else may send under them.
    pub fn add_stream(&mut self, config: StreamConfig) -> StreamId {
        let index = self.streams.len() as u32;
        self.by_ssrc.insert(config.ssrc, Place::Media(index));
        if let Some(rtx) = config.rtx {
            self.by_ssrc.insert(rtx, Place::Repetitions);
        }
        self.streams.push(Stream::new(config, self.options.origin));
        StreamId(index)
    }

    /// What was negotiated for a stream; repeats the MID if it is something else than before.
    pub fn set_extensions(&mut self, stream: StreamId, ids: Extensions) {
        if let Some(stream) = self.streams.get_mut(stream.0 as usize) {
            stream.set_extensions(ids);
        }
    }

    /// What is sent in a stream is somebody else's from now on: its clock is told anew with the next packet.
    pub fn renew(&mut self, stream: StreamId) {
        if let Some(stream) = self.streams.get_mut(stream.0 as usize) {
            stream.unknown = true;
        }
    }

    /// What was written and did not leave yet is of no use any more, and what did is not repeated: the network does not
    /// carry it, or nobody is to have it.
    pub fn give_up(&mut self, stream: StreamId) {
        let Some(at) = self.streams.get_mut(stream.0 as usize) else { return };
        at.stats.dropped += at.pending.len() as u64;
        at.pending.clear();
        at.due = false;
        at.ring.clear();
        self.resends.forget(stream.0);
        self.waiting.retain(|index| *index != stream.0);
    }

    /// Whether something of an RTP time, a picture, has not left yet.
    pub fn waits(&self, stream: StreamId, time: u32) -> bool {
        self.streams.get(stream.0 as usize).is_some_and(|s| s.pending.iter().any(|e| e.time == time))
    }

    /// Whether pictures of a stream wait for their turn.
    pub fn is_behind(&self, stream: StreamId) -> bool {
        let paced = self.pace.next_picture().is_some();
        paced && self.streams.get(stream.0 as usize).is_some_and(|s| !s.pending.is_empty())
    }

    /// Takes a packet into the queue; it leaves with a [`poll`](Self::poll), pictures when it is their turn. Without keys it
    /// is dropped.
    pub fn write(&mut self, stream: StreamId, packet: &Packet<'_>, now: Instant) {
        let (Some(at), Some(writer)) = (self.streams.get_mut(stream.0 as usize), &self.writer) else {
            return;
        };
        let waited = !at.pending.is_empty();
        let mut entry = Entry::new(packet);
        entry.sent = writer.millis(now);
        at.queue(entry, packet.wall);
        if !waited && !at.pending.is_empty() {
            self.waiting.push(stream.0);
            at.due |= self.options.hold.is_zero();
            at.deadline = now + if at.config.video { self.options.hold } else { Duration::ZERO };
        }
    }

    /// What became of packets, from the datagram taken last.
    pub fn results(&self) -> &[PacketResult] {
        &self.results
    }

    /// Writes everything that is due.
    pub fn poll(&mut self, now: Instant, sink: &mut impl Sink) {
        if self.writer.is_none() {
            return;
        }
        // Sound first: it is late sooner. What was lost is late already.
        self.flush(false, now, sink);
        self.resend(now, sink);
        self.flush(true, now, sink);
        self.fill(now, sink);
        if self.report_soon || self.next_report.is_some_and(|at| at <= now) {
            self.report(now, sink);
        }
    }

    fn flush(&mut self, video: bool, now: Instant, sink: &mut impl Sink) {
        let rate = if video { self.picture_rate(now) } else { None };
        let Some(writer) = &mut self.writer else { return };
        let padding = self.options.padding && rate.is_none();
        let mut unfinished = None;
        self.waiting.retain(|&index| {
            let stream = &mut self.streams[index as usize];
            if stream.config.video != video || !stream.is_due(now) {
                return true;
            }
            let mut may_leave = |len| {
                let allowed = rate.is_none() || self.pace.allows(now);
                if allowed {
                    self.pace.count(len, rate, now);
                }
                allowed
            };
            if writer.flush(stream, padding, &mut may_leave, now, sink) == 0 {
                return true;
            }
            // After a silence too: whoever forgot the clock meanwhile would wait for it.
            stream.unknown |= self.next_report.is_none();
            self.report_soon |= stream.unknown;
            self.next_report.get_or_insert(now + report::INTERVAL);
            if !stream.pending.is_empty() {
                unfinished = Some(index);
            }
            !stream.pending.is_empty()
        });
        if let Some(index) = unfinished {
            // The others' turn.
            self.waiting.retain(|other| *other != index);
            self.waiting.push(index);
        }
    }

    /// How fast pictures may leave, in bits per second, if that matters: as fast as a probe would be, for they go first.
    fn picture_rate(&self, now: Instant) -> Option<f64> {
        let rate = self.pace.pictures(self.waiting_pictures(now))?;
        let probe = self.writer.as_ref().and_then(|w| w.probe.as_ref()).map_or(0.0, |p| p.bitrate as f64);
        Some(rate.max(probe))
    }

    /// Packets of pictures that wait: their bytes, and for how long they have.
    fn waiting_pictures(&self, now: Instant) -> impl Iterator<Item = (usize, Duration)> {
        let millis = self.writer.as_ref().map_or(0, |w| w.millis(now));
        let streams = self.waiting.iter().map(|index| &self.streams[*index as usize]);
        let entries = streams.filter(|s| s.config.video).flat_map(|s| &s.pending);
        entries.map(move |e| (e.payload.len(), Duration::from_millis(millis.wrapping_sub(e.sent).into())))
    }

    fn resend(&mut self, now: Instant, sink: &mut impl Sink) {
        if self.resends.is_empty() {
            return;
        }
        // What was lost is late already, but so are others that wait as long.
        let late = self.waiting_pictures(now).any(|(_, age)| age >= OVERDUE);
        let Some(writer) = &mut self.writer else { return };
        let millis = writer.millis(now);
        let send = |stream: &mut Stream, seq| writer.resend(stream, seq, now, sink);
        self.resends.poll(&mut self.streams, &mut self.pace, late, millis, now, send);
    }

    fn fill(&mut self, now: Instant, sink: &mut impl Sink) {
        let Some(writer) = &mut self.writer else { return };
        let Some(probe) = &mut writer.probe else { return };
        let Some(lacks) = probe.lacks(now) else {
            writer.probe = None;
            return;
        };
        // The one that was heard of last.
        let fits = |s: &&mut Stream| s.config.rtx.is_some() && s.rtx_pt.is_some() && s.ids.twcc.is_some();
        let stream = self.streams.iter_mut().filter(fits).max_by_key(|s| s.last.map(|(_, wall)| wall));
        match stream {
            Some(stream) => writer.fill(stream, lacks, now, sink),
            None => writer.probe = None,
        }
    }

    /// Reports streams that flow: all of them when it is time, else those that begin.
    fn report(&mut self, now: Instant, sink: &mut impl Sink) {
        let Some(writer) = &mut self.writer else { return };
        let all = self.next_report.is_some_and(|at| at <= now);
        let mut reference = self.reference.take();
        let mut begin = 0;
        while begin < self.streams.len() {
            let mut chosen = [0; report::MAX_STREAMS];
            let mut count = 0;
            while let (Some(stream), Some(place)) = (self.streams.get_mut(begin), chosen.get_mut(count)) {
                if stream.unreported && (all || stream.unknown) {
                    (stream.unreported, stream.unknown) = (!all, false);
                    *place = begin;
                    count += 1;
                }
                begin += 1;
            }
            let chosen = chosen[..count].iter().map(|index| &self.streams[*index]);
            writer.report(chosen, &self.cname, reference.take(), &self.clock, now, sink);
        }
        self.report_soon = false;
        if all {
            // It goes on until nothing was sent for so long that nothing is left to repeat.
            let kept = self.streams.iter_mut().fold(false, |kept, s| writer.expire(&mut s.ring, now) | kept);
            let flows = kept || !self.waiting.is_empty();
            self.next_report = flows.then(|| now + report::INTERVAL);
        }
    }

    /// When [`poll`](Self::poll) has something to do though nothing is written; may lie in the past.
    pub fn next_timeout(&self) -> Option<Instant> {
        let held = self.waiting.iter().map(|index| {
            let stream = &self.streams[*index as usize];
            let at = if stream.due { None } else { Some(stream.deadline) };
            let free = self.pace.next_picture().filter(|_| stream.config.video);
            at.max(free).unwrap_or(stream.deadline)
        });
        let resends = self.resends.next(&self.pace);
        let probe = self.writer.as_ref().and_then(|w| w.probe.as_ref()).and_then(Probe::next);
        [held.min(), resends, probe, self.next_report].into_iter().flatten().min()
    }

    /// Whether there is something for [`poll`](Self::poll) to look at: to do at once, or to wait for.
    pub fn has_waiting(&self) -> bool {
        let probe = self.writer.as_ref().and_then(|w| w.probe.as_ref()).is_some_and(|p| p.next().is_none());
        !self.resends.is_empty() || probe || self.waiting.iter().any(|i| self.streams[*i as usize].due)
    }

    /// Fills up what is sent to `bitrate` until `bytes` were sent in all, with repetitions and padding. What is sent
    /// meanwhile carries `cluster` in its [`PacketResult`]. Takes the place of a probe that still runs; nothing happens
    /// where no stream has transport-wide numbers and an SSRC for repetitions.
    pub fn probe(&mut self, cluster: u32, bitrate: u64, bytes: usize) {
        if let Some(writer) = &mut self.writer {
            writer.probe = Some(Probe::new(cluster, bitrate, bytes));
        }
    }

    /// How fast things leave from here on: no faster than the network carries, where that is known.
    pub fn set_pacing(&mut self, rates: Pacing) {
        self.pace.set(rates);
    }

    /// Counts of a stream.
    pub fn stats(&self, stream: StreamId) -> SendStats {
        self.streams.get(stream.0 as usize).map(|s| s.stats).unwrap_or_default()
    }

    /// Bytes of datagrams that had transport-wide numbers.
    pub fn bytes_numbered(&self) -> u64 {
        self.writer.as_ref().map_or(0, |w| w.numbered)
    }

    /// Bytes of datagrams in all, without UDP and IP.
    pub fn bytes_sent(&self) -> u64 {
        self.writer.as_ref().map_or(0, |w| w.bytes)
    }
}
