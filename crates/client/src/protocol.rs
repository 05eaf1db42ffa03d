//! What crosses to the owner of a peer as msgpack (the other half is `src/rtcloud/client/native.py`): maps, tagged by
//! `type`.

use serde::{Deserialize, Serialize};

/// How a peer is to behave. Every field has a default.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct PeerConfig {
    /// Receive sections of the first offer.
    pub audio_sections: u32,
    /// Receive sections of the first offer.
    pub video_sections: u32,
    /// How long frames of a track wait for the first sender report, that is for their capture times.
    pub hold_ms: u32,
    /// Media is counted and measured, not handed out. For load generators.
    pub count_only: bool,
    /// Received frames that may wait for the owner.
    pub max_frames: u32,
    /// Bytes of received frames that may wait for the owner.
    pub max_bytes: u64,
}

impl Default for PeerConfig {
    fn default() -> Self {
        Self {
            audio_sections: 3,
            video_sections: 3,
            hold_ms: 1000,
            count_only: false,
            max_frames: 4096,
            max_bytes: 64 << 20,
        }
    }
}

/// State of the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransportState {
    /// ICE and DTLS are up.
    Connected,
    /// No consent from the other side for a few seconds; may come back.
    Disconnected,
    /// Gone for good.
    Failed,
}

/// What happened, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum PeerEvent {
    /// Send this offer; its answer must name `request`.
    Offer {
        /// Number of the offer.
        request: u32,
        /// The SDP.
        sdp: String,
    },
    /// The answer to `request` is in force.
    Answered {
        /// Number of the offer.
        request: u32,
    },
    /// The answer to `request` was not usable; the session needs a new connection.
    AnswerRejected {
        /// Number of the offer.
        request: u32,
        /// Why; holds no part of the SDP.
        reason: String,
    },
    /// The transport changed.
    State {
        /// Its new state.
        state: TransportState,
        /// Why it failed.
        reason: String,
    },
    /// Both data channels are open.
    ChannelsOpen,
    /// A livekit `DataPacket`, serialised.
    Data {
        /// The packet.
        #[serde(with = "serde_bytes")]
        packet: Vec<u8>,
        /// Which channel it came on.
        reliable: bool,
    },
    /// A subscriber needs a keyframe of our track.
    KeyframeRequested {
        /// The track.
        cid: String,
    },
}

/// Counters since the peer was made.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PeerStats {
    /// Media packets received.
    pub packets_received: u64,
    /// Media bytes received.
    pub bytes_received: u64,
    /// Frames received.
    pub frames_received: u64,
    /// Frames that followed a gap.
    pub gaps: u64,
    /// Received frames dropped because the owner was slow.
    pub frames_dropped: u64,
    /// Data packets dropped because the owner was slow.
    pub data_dropped: u64,
    /// Frames written to the transport.
    pub frames_sent: u64,
    /// Frames refused by the transport after they were queued.
    pub frames_refused: u64,
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Keyframe requests sent.
    pub keyframes_requested: u64,
    /// Delays of marked packets (`probe`), as a histogram: see `probe::bucket_floor_us`.
    pub delays: Vec<u64>,
}
