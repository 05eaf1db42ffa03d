//! Published tracks, the streams they come in, and who receives them.

use std::time::Instant;

use str0m::format::Codec;
use str0m::media::{Mid, Rid};
use str0m::rtp::Ssrc;

use crate::clock::StreamClock;
use crate::command::{Kind, Layer, Stream};
use crate::ids::TrackId;

/// Loss on the way to us: of the numbers that went by, how many did not come in their turn. What was repaired by
/// retransmission comes late and so counts as lost, as it was.
#[derive(Debug, Default)]
pub(crate) struct LossMeter {
    highest: Option<u64>,
    expected: u64,
    came: u64,
}

impl LossMeter {
    pub(crate) fn count(&mut self, seq: u64) {
        let passed = match self.highest {
            Some(highest) if seq <= highest => return,
            // A jump is a new beginning.
            Some(highest) if seq - highest < 3000 => seq - highest,
            _ => 1,
        };
        self.highest = Some(seq);
        self.expected += passed;
        self.came += 1;
    }

    /// Expected and lost since the last call.
    pub(crate) fn take(&mut self) -> (u64, u64) {
        let counted = (self.expected, self.expected - self.came);
        (self.expected, self.came) = (0, 0);
        counted
    }
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
    pub(crate) loss: LossMeter,
    /// Somebody needs a key picture of it to begin.
    pub(crate) wanted: bool,
    /// Somebody who gets it already needs one to go on.
    pub(crate) refresh: bool,
    pub(crate) asked_at: Option<Instant>,
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
}

impl Subscription {
    /// Whether anything shall be sent.
    pub(crate) fn flows(&self) -> bool {
        self.enabled && self.allowed
    }
}
