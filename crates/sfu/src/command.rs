//! What the control plane tells a room, and what a room tells the control plane.
//!
//! The Python half is `src/rtcloud/media/node.py`; field names and defaults are the same on both sides. The room's
//! id is not in here: whoever carries commands to rooms adds it.

use serde::{Deserialize, Serialize};

use crate::ids::{ParticipantId, TrackId};

/// Audio or video.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

/// Which peer connection of a participant is meant.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// The one connection of a participant that has only one; the client offers.
    Single,
    /// The connection a client sends on, of two; the client offers.
    Publisher,
    /// The connection a client receives on, of two; the room offers.
    Subscriber,
}

/// One simulcast layer as its publisher announced it; `rid` is empty when there is only one.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Layer {
    /// Restriction id of the layer.
    pub rid: String,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Bits per second.
    pub bitrate: u64,
}

fn yes() -> bool {
    true
}

/// An order for one room.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Command {
    /// Makes a participant known; with `single` false it has two connections.
    AddParticipant {
        /// Who.
        participant: ParticipantId,
        /// The user id its data messages carry.
        identity: String,
        /// One connection instead of two.
        single: bool,
    },
    /// Closes its transports and everything it published or subscribed.
    RemoveParticipant {
        /// Who.
        participant: ParticipantId,
    },
    /// Ends the room.
    CloseRoom {},
    /// Announces a track before the offer that carries it.
    PublishTrack {
        /// Its publisher.
        participant: ParticipantId,
        /// The track.
        track: TrackId,
        /// The track id in the offer's `a=msid`.
        cid: String,
        /// Audio or video.
        kind: Kind,
        /// The codec its publisher prefers, or empty.
        #[serde(default)]
        codec: String,
        /// Announced layers, in any order.
        #[serde(default)]
        layers: Vec<Layer>,
        /// Starts muted.
        #[serde(default)]
        muted: bool,
    },
    /// Ends a publication.
    UnpublishTrack {
        /// Its publisher.
        participant: ParticipantId,
        /// The track.
        track: TrackId,
    },
    /// While muted nothing of the track is forwarded.
    MuteTrack {
        /// The track.
        track: TrackId,
        /// Muted or not.
        muted: bool,
    },
    /// The client's offer.
    Offer {
        /// Who offers.
        participant: ParticipantId,
        /// Repeated in the answer.
        request: i64,
        /// Which connection.
        target: Target,
        /// The session description.
        sdp: String,
    },
    /// The client's answer to an offer of ours.
    Answer {
        /// Who answers.
        participant: ParticipantId,
        /// The number of our offer, or 0 from a client that does not number.
        request: i64,
        /// The session description.
        sdp: String,
    },
    /// A trickled candidate.
    AddCandidate {
        /// Whose.
        participant: ParticipantId,
        /// Of which connection.
        target: Target,
        /// The `candidate:…` line.
        candidate: String,
    },
    /// Offer the subscriber connection again with new ICE credentials.
    RestartIce {
        /// Whose.
        participant: ParticipantId,
    },
    /// Send a track to a participant.
    Subscribe {
        /// The subscriber.
        participant: ParticipantId,
        /// The track.
        track: TrackId,
    },
    /// Stop sending a track to a participant.
    Unsubscribe {
        /// The subscriber.
        participant: ParticipantId,
        /// The track.
        track: TrackId,
    },
    /// What the subscriber wants of a track.
    SetSubscription {
        /// The subscriber.
        participant: ParticipantId,
        /// The track.
        track: TrackId,
        /// False pauses it.
        #[serde(default = "yes")]
        enabled: bool,
        /// Pixels across at which it is shown, 0 for the largest.
        #[serde(default)]
        width: u32,
        /// Pixels down.
        #[serde(default)]
        height: u32,
        /// Frames per second wanted, 0 for all.
        #[serde(default)]
        fps: u32,
    },
    /// A data message made by the server.
    SendData {
        /// To whom; to all when empty.
        #[serde(default)]
        participants: Vec<ParticipantId>,
        /// Over the reliable channel.
        #[serde(default = "yes")]
        reliable: bool,
        /// The serialised packet.
        #[serde(default, with = "serde_bytes")]
        packet: Vec<u8>,
    },
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
    /// The room is gone after a fault of ours.
    RoomFailed {
        /// What happened.
        reason: String,
    },
}
