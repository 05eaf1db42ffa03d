//! Published tracks, the streams they come in, and who receives them.

use std::time::{Duration, Instant};

use slab::Slab;
use str0m::format::Codec;
use str0m::media::{Mid, Rid};
use str0m::rtp::Ssrc;

use crate::adaptation::{Choice, Grant};
use crate::cadence::Cadence;
use crate::clock::StreamClock;
use crate::codec;
use crate::command::{Kind, Layer, Stream};
use crate::dynacast::Dynacast;
use crate::fragments::Fragments;
use crate::ids::TrackId;
use crate::layer::{self, Candidate};
use crate::meter::Meter;
use crate::picture::Picture;
use crate::rates::Rates;
use crate::red::Protection;
use crate::requests::Requests;
use crate::sound::Redundancy;
use crate::stats::{Sent, SourceTold};
use crate::sublayer::{Aim, Sieve};
use crate::transport::Transport;

/// A stream of which nothing came for so long does not flow.
const FLOWING: Duration = Duration::from_millis(1200);
/// What pictures usually take each second.
const BITS_PER_PIXEL: u64 = 2;

/// What a layer takes, as it was announced, or as pictures of that size usually do.
fn expected(layer: &Layer) -> u64 {
    let pixels = u64::from(layer.width).saturating_mul(u64::from(layer.height));
    if layer.bitrate > 0 { layer.bitrate } else { pixels.saturating_mul(BITS_PER_PIXEL) }
}

/// One stream of a track: the only one, or a simulcast layer.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) rid: Option<Rid>,
    pub(crate) ssrc: Ssrc,
    pub(crate) codec: Codec,
    pub(crate) rate: u32,
    pub(crate) clock: StreamClock,
    pub(crate) last: Instant,
    pub(crate) meter: Meter,
    /// Numbers that quality was told of.
    pub(crate) graded: (u64, u64),
    pub(crate) told: SourceTold,
    /// As its pictures say.
    pub(crate) size: Option<(u32, u32)>,
    /// Somebody needs a key picture of it to begin.
    pub(crate) wanted: bool,
    /// Somebody who gets it already needs one to go on.
    pub(crate) refresh: bool,
    pub(crate) asked_at: Option<Instant>,
    /// RTP time of the picture whose parameter sets came last (H.264).
    pub(crate) parameters: Option<u32>,
    pub(crate) fragments: Fragments,
    pub(crate) cadence: Cadence,
    /// Layers in size that it has.
    pub(crate) spatial: u8,
    pub(crate) redundancy: Redundancy,
    pub(crate) rates: Rates,
}

impl Source {
    pub(crate) fn new(rid: Option<Rid>, ssrc: Ssrc, codec: Codec, rate: u32, now: Instant) -> Self {
        Self {
            rid,
            ssrc,
            codec,
            rate,
            clock: StreamClock::default(),
            last: now,
            meter: Meter::new(),
            graded: (0, 0),
            told: SourceTold::default(),
            size: None,
            wanted: true,
            refresh: false,
            asked_at: None,
            parameters: None,
            fragments: Fragments::default(),
            cadence: Cadence::new(),
            spatial: 1,
            redundancy: Redundancy::new(),
            rates: Rates::default(),
        }
    }

    /// Whether a decoder that had nothing can begin with this packet. Who missed the parameter sets of a key picture
    /// cannot begin with what follows them.
    pub(crate) fn is_entry(&mut self, payload: &[u8], time: u32) -> bool {
        if !codec::starts_keyframe(self.codec, payload) {
            return false;
        }
        if self.codec != Codec::H264 {
            return true;
        }
        if codec::holds_parameters(payload) {
            self.parameters = Some(time);
            return true;
        }
        self.parameters != Some(time)
    }

    /// It goes on as another stream.
    pub(crate) fn replace(&mut self, ssrc: Ssrc, codec: Codec, rate: u32) {
        if self.ssrc != ssrc {
            self.clock = StreamClock::default();
            self.meter = Meter::new();
            (self.graded, self.told, self.size) = ((0, 0), SourceTold::default(), None);
            self.redundancy = Redundancy::new();
            self.rates = Rates::default();
        }
        (self.ssrc, self.codec, self.rate) = (ssrc, codec, rate);
        (self.fragments, self.cadence, self.spatial) = (Fragments::default(), Cadence::new(), 1);
    }

    /// Packets that should have come since the last call, and those of them that did not come in their turn. What was
    /// repaired by retransmission comes late and so counts as lost, as it was.
    pub(crate) fn take_loss(&mut self) -> (u64, u64) {
        let (passed, in_turn) = self.meter.numbers();
        let before = std::mem::replace(&mut self.graded, (passed, in_turn));
        let passed = passed.saturating_sub(before.0);
        (passed, passed.saturating_sub(in_turn.saturating_sub(before.1)))
    }

    /// A packet of a picture came.
    pub(crate) fn measure(&mut self, picture: &Picture, time: u32, now: Instant) {
        if picture.spatial == 0 {
            self.cadence.count(picture.temporal, time, now);
        }
        self.spatial = picture.layers.unwrap_or(self.spatial).max(picture.spatial + 1);
    }
}

#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) id: TrackId,
    pub(crate) participant: usize,
    pub(crate) cid: String,
    pub(crate) kind: Kind,
    /// Never `ByKind`.
    pub(crate) stream: Stream,
    /// Its publisher has the right to send it.
    pub(crate) allowed: bool,
    pub(crate) codec: String,
    pub(crate) layers: Vec<Layer>,
    pub(crate) muted: bool,
    pub(crate) started: bool,
    /// Where it comes in.
    pub(crate) place: Option<(usize, Mid)>,
    pub(crate) sources: Vec<Source>,
    pub(crate) subscriptions: Vec<usize>,
    pub(crate) dynacast: Dynacast,
}

impl Track {
    /// Whether what comes is sent on at all.
    pub(crate) fn flows(&self) -> bool {
        self.allowed && !self.muted
    }

    /// Announced size of a source, 0×0 when unknown.
    pub(crate) fn size(&self, source: usize) -> (u32, u32) {
        let rid = self.sources.get(source).and_then(|s| s.rid);
        let named = rid.and_then(|rid| self.layers.iter().find(|l| l.rid == *rid));
        named.or_else(|| self.layers.last()).map_or((0, 0), |l| (l.width, l.height))
    }

    /// Its sources as layers, from small to large.
    pub(crate) fn candidates(&self, now: Instant) -> Vec<Candidate> {
        let mut layers: Vec<Candidate> = (0..self.sources.len())
            .map(|source| {
                let (width, height) = self.size(source);
                let flowing = now.saturating_duration_since(self.sources[source].last) < FLOWING;
                Candidate { source, width, height, flowing }
            })
            .collect();
        layers.sort_by_key(|l| u64::from(l.width) * u64::from(l.height));
        layers
    }

    /// What could be sent now to somebody, from small to large, up to what is wished for.
    pub(crate) fn choices(&self, size: (u32, u32), fps: u32, now: Instant) -> Vec<Choice> {
        let layers = self.candidates(now);
        let Some(wished) = layer::choose(&layers, size.0, size.1) else { return Vec::new() };
        let mut choices = Vec::new();
        for layer in &layers {
            let source = layer.source;
            if layer.flowing || source == wished {
                let within = self.within(source).map_or(1, <[_]>::len) as u8;
                let highest = self.aim(source, size, fps).spatial.min(within - 1);
                choices.extend((0..=highest).map(|layer| Choice {
                    source,
                    spatial: if layer + 1 == within { Aim::ALL.spatial } else { layer },
                    bitrate: self.bitrate(source, layer, now),
                }));
            }
            if source == wished {
                break;
            }
        }
        choices
    }

    /// Bits per second of a source up to a layer within it: as measured, or as announced before.
    fn bitrate(&self, source: usize, layer: u8, now: Instant) -> u64 {
        let within = self.within(source);
        // Nothing above the highest is left out.
        let top = within.is_none_or(|layers| usize::from(layer) + 1 == layers.len());
        let of = &self.sources[source];
        let measured = of.rates.bitrate(if top { u8::MAX } else { layer }, now);
        measured.unwrap_or_else(|| match within {
            Some(layers) => layers[..=usize::from(layer)].iter().map(expected).max().unwrap_or(0),
            None => {
                let named = of.rid.and_then(|rid| self.layers.iter().find(|l| l.rid == *rid));
                named.or_else(|| self.layers.last()).map_or(0, expected)
            }
        })
    }

    /// The announced layers, if they are those within this source.
    fn within(&self, source: usize) -> Option<&[Layer]> {
        let source = self.sources.get(source)?;
        let layers = self.layers.get(..usize::from(source.spatial))?;
        (source.rid.is_none() && layers.len() > 1).then_some(layers)
    }

    /// The size that is sent of a source.
    pub(crate) fn sent_size(&self, source: usize, sieve: Option<&Sieve>) -> (u32, u32) {
        let layer = sieve.and_then(|sieve| self.within(source)?.get(usize::from(sieve.spatial())));
        layer.map_or_else(|| self.size(source), |l| (l.width, l.height))
    }

    /// The layers of a source that make up what is wanted of it.
    pub(crate) fn aim(&self, source: usize, (width, height): (u32, u32), fps: u32) -> Aim {
        let temporal = self.sources.get(source).map_or(Aim::ALL.temporal, |s| s.cadence.highest(fps));
        let Some(layers) = self.within(source) else { return Aim { temporal, ..Aim::ALL } };
        let candidate = |(source, l): (usize, &Layer)| Candidate {
            source,
            width: l.width,
            height: l.height,
            flowing: true,
        };
        let candidates: Vec<Candidate> = layers.iter().enumerate().map(candidate).collect();
        let wished = layer::choose(&candidates, width, height).unwrap_or_default();
        let spatial = if wished + 1 == layers.len() { Aim::ALL.spatial } else { wished as u8 };
        Aim { spatial, temporal }
    }
}

/// A track toward one participant.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) track: usize,
    pub(crate) participant: usize,
    /// The subscriber wants it now.
    pub(crate) enabled: bool,
    /// The subscriber has the right to receive it.
    pub(crate) allowed: bool,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Transport and section it is sent in.
    pub(crate) place: Option<(usize, usize)>,
    /// The source that is sent.
    pub(crate) current: Option<usize>,
    /// The source that shall be.
    pub(crate) target: Option<usize>,
    /// The size last told.
    pub(crate) told: (u32, u32),
    /// Pictures per second wanted, 0 for all.
    pub(crate) fps: u32,
    /// If not all of the source is sent.
    pub(crate) sieve: Option<Box<Sieve>>,
    pub(crate) protection: Protection,
    pub(crate) sent: Sent,
    pub(crate) requests: Requests,
    /// The subscriber was told that it cannot decode the track.
    pub(crate) refused: bool,
    /// What its network carries.
    pub(crate) grant: Grant,
    /// The subscriber was told that that is nothing.
    pub(crate) shed: bool,
}

impl Subscription {
    /// Nothing more of it leaves, nor what has waited so far; it begins anew with a key picture.
    pub(crate) fn stop(&mut self, transports: &mut Slab<Transport>) {
        self.current = None;
        if let Some((slot, section)) = self.place
            && let Some(transport) = transports.get_mut(slot)
        {
            transport.give_up(section);
        }
    }

    /// What shall be sent of the current source, from the next picture on that allows it.
    pub(crate) fn set_aim(&mut self, aim: Aim) {
        let aim = Aim { spatial: aim.spatial.min(self.grant.spatial()), ..aim };
        match &mut self.sieve {
            Some(sieve) => sieve.set_aim(aim),
            None if aim != Aim::ALL => self.sieve = Some(Box::new(Sieve::new(aim))),
            None => {}
        }
        self.sieve.take_if(|sieve| sieve.is_open());
    }

    /// Whether anything shall be sent.
    pub(crate) fn flows(&self) -> bool {
        self.enabled && self.allowed
    }
}
