//! What a room tells the control plane.
//!
//! The Python half is `src/rtcloud/media/node.py`; field names and defaults are the same on both sides. The room's
//! id is not in here: whoever carries events from rooms adds it.

use serde::{Deserialize, Serialize};

use crate::command::Target;
use crate::ids::{ParticipantId, TrackId};
use crate::stats::{ParticipantStats, SubscriptionStats, TrackStats};

/// Whether anybody wants a layer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LayerWanted {
    /// Its restriction id, as announced.
    pub rid: String,
    /// Somebody does.
    pub wanted: bool,
}

/// State of a transport as its owner sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportState {
    /// ICE and DTLS are up.
    Connected,
    /// Nothing was heard for a few seconds; it may come back.
    Disconnected,
    /// Gone for good.
    Failed,
}

/// How loud a participant is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SpeakerLevel {
    /// Who.
    pub participant: ParticipantId,
    /// 0 silent … 1 loudest.
    pub level: f64,
    /// Speaks now.
    pub active: bool,
}

/// Why a message of a participant was dropped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// It is no message.
    Malformed,
    /// A kind that only the server sends, or a command with a number that does not exist.
    Forbidden,
    /// Larger than a message, or a command, may be.
    TooLarge,
    /// More than a participant may send, or make the room send.
    TooMany,
    /// Its sender may not send messages.
    NoRight,
    /// A reliable one for the participant did not fit into what waits for it already.
    Undelivered,
}

impl Refusal {
    /// How many there are.
    pub const COUNT: usize = 6;
    /// All of them, each at its own index.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Malformed, Self::Forbidden, Self::TooLarge, Self::TooMany, Self::NoRight, Self::Undelivered];

    /// Its name outside.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Forbidden => "forbidden",
            Self::TooLarge => "too_large",
            Self::TooMany => "too_many",
            Self::NoRight => "no_right",
            Self::Undelivered => "undelivered",
        }
    }
}

/// Why a subscriber is sent nothing of a track.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionRefusal {
    /// It has no codec for it.
    Codec,
}

/// Pairs of mid and track id, in the order of the description.
pub type MidMap = std::collections::BTreeMap<String, TrackId>;

/// A fact about one room.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The answer to an offer.
    Answered {
        /// To whom.
        participant: ParticipantId,
        /// The offer's number.
        request: i64,
        /// Which connection.
        target: Target,
        /// Ready to send.
        sdp: String,
        /// Every mid that carries a track, in either direction.
        mid_to_track: MidMap,
    },
    /// An offer of the subscriber connection.
    Offered {
        /// To whom.
        participant: ParticipantId,
        /// Its number.
        request: i64,
        /// Ready to send.
        sdp: String,
        /// Every mid that carries a track.
        mid_to_track: MidMap,
    },
    /// A description was not usable.
    SdpRejected {
        /// Whose.
        participant: ParticipantId,
        /// Its number.
        request: i64,
        /// Which connection.
        target: Target,
        /// Why, without any part of the description.
        reason: String,
    },
    /// The client must offer again with so many more receive sections.
    SectionsNeeded {
        /// Whose client.
        participant: ParticipantId,
        /// More audio sections.
        audio: u32,
        /// More video sections.
        video: u32,
    },
    /// A transport came up or went.
    TransportChanged {
        /// Whose.
        participant: ParticipantId,
        /// Which connection.
        target: Target,
        /// Its state now.
        state: TransportState,
    },
    /// The first media packet of a publication arrived.
    TrackStarted {
        /// The publisher.
        participant: ParticipantId,
        /// The track.
        track: TrackId,
        /// What it is encoded with.
        codec: String,
    },
    /// The publisher's offer no longer sends the track.
    TrackEnded {
        /// The publisher.
        participant: ParticipantId,
        /// The track.
        track: TrackId,
    },
    /// Changed speakers.
    Speakers {
        /// Only those that changed.
        speakers: Vec<SpeakerLevel>,
    },
    /// Quality of a participant's connection over the last period.
    Quality {
        /// Whose.
        participant: ParticipantId,
        /// Fraction lost on the way to us.
        uplink_loss: f64,
        /// Fraction lost on the way to it.
        downlink_loss: f64,
        /// Round trip, −1 when unknown.
        rtt_ms: f64,
        /// Bits per second received from it.
        uplink_bitrate: u64,
        /// Bits per second sent to it.
        downlink_bitrate: u64,
    },
    /// The figures of a room over one period.
    Stats {
        /// The period's number.
        serial: u32,
        /// Which part of what is told of it, from 0.
        part: u32,
        /// How many there are.
        parts: u32,
        /// How long it was.
        period_ms: u32,
        /// Of streams that come in.
        tracks: Vec<TrackStats>,
        /// Of what is sent.
        subscriptions: Vec<SubscriptionStats>,
        /// Of connections.
        participants: Vec<ParticipantStats>,
    },
    /// Messages of a participant were dropped; told at most once a second for each reason.
    DataRefused {
        /// Whose.
        participant: ParticipantId,
        /// Why.
        reason: Refusal,
        /// How many since it was told last.
        count: u64,
    },
    /// The size a subscriber now gets of a track.
    Receiving {
        /// The subscriber.
        participant: ParticipantId,
        /// The track.
        track: TrackId,
        /// Pixels across, 0 when paused.
        width: u32,
        /// Pixels down.
        height: u32,
    },
    /// A subscriber cannot decode what a track is encoded with, and gets nothing of it.
    SubscriptionRefused {
        /// The subscriber.
        participant: ParticipantId,
        /// The track.
        track: TrackId,
        /// Why.
        reason: SubscriptionRefusal,
    },
    /// A subscriber's network began or ceased to carry nothing of a track.
    SubscriptionShed {
        /// The subscriber.
        participant: ParticipantId,
        /// Whose track.
        publisher: ParticipantId,
        /// The track.
        track: TrackId,
        /// Nothing is sent of it until the network carries more.
        shed: bool,
    },
    /// Which layers of its track a publisher need send; told when it changes.
    LayersWanted {
        /// The publisher.
        participant: ParticipantId,
        /// The track.
        track: TrackId,
        /// What it is encoded with.
        codec: String,
        /// All that were announced, from small to large.
        layers: Vec<LayerWanted>,
    },
    /// The room is gone after a fault of ours.
    RoomFailed {
        /// What happened.
        reason: String,
    },
}
