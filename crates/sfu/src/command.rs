//! What the control plane tells a room.
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

/// What a track is for who may send and receive it. A shared screen's pictures are `Aux`; its sound counts as sound.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// As its kind says.
    #[default]
    #[serde(rename = "")]
    ByKind,
    /// Sound.
    Audio,
    /// The camera.
    Video,
    /// The screen.
    Aux,
}

impl Stream {
    /// The stream a track of this kind is. What it was announced as never makes sound of pictures or the reverse.
    pub(crate) fn of(self, kind: Kind) -> Self {
        match (kind, self) {
            (Kind::Audio, _) => Self::Audio,
            (Kind::Video, Self::Aux) => Self::Aux,
            (Kind::Video, _) => Self::Video,
        }
    }
}

/// What a participant may do. The control plane decides; this is what holds whatever a client sends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub struct Rights {
    /// Send sound.
    pub send_audio: bool,
    /// Send the camera.
    pub send_video: bool,
    /// Send the screen.
    pub send_screen: bool,
    /// Receive sound.
    pub receive_audio: bool,
    /// Receive cameras.
    pub receive_video: bool,
    /// Receive screens.
    pub receive_screen: bool,
    /// Send messages.
    pub data: bool,
}

impl Default for Rights {
    fn default() -> Self {
        Self {
            send_audio: true,
            send_video: true,
            send_screen: true,
            receive_audio: true,
            receive_video: true,
            receive_screen: true,
            data: true,
        }
    }
}

impl Rights {
    pub(crate) fn sends(&self, stream: Stream) -> bool {
        match stream {
            Stream::Audio => self.send_audio,
            Stream::Aux => self.send_screen,
            Stream::Video | Stream::ByKind => self.send_video,
        }
    }

    pub(crate) fn receives(&self, stream: Stream) -> bool {
        match stream {
            Stream::Audio => self.receive_audio,
            Stream::Aux => self.receive_screen,
            Stream::Video | Stream::ByKind => self.receive_video,
        }
    }
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
        /// It offers its one connection once; what is sent to it moves through the sections of that offer.
        #[serde(default)]
        fixed: bool,
        /// What it is sent follows what its network carries.
        #[serde(default = "yes")]
        adaptive: bool,
        /// What it may do.
        #[serde(default)]
        rights: Rights,
    },
    /// Changes what a participant may do; the next packet is judged by it.
    SetRights {
        /// Who.
        participant: ParticipantId,
        /// What it may do from now on.
        rights: Rights,
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
        /// What it is for rights.
        #[serde(default)]
        stream: Stream,
        /// The codec its publisher prefers, or empty; `red` is Opus with redundancy.
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
