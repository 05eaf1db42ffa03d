//! What crosses the seam to the control plane, as msgpack maps: the other half of `src/rtcloud/media/node.py`.

use std::collections::BTreeMap;

use rtcloud_sfu::{
    Command, Event, Kind, Layer, LayerWanted, MidMap, ParticipantId, ParticipantStats, Refusal, Rights,
    RoomId, SpeakerLevel, Stream, SubscriptionRefusal, SubscriptionStats, Target, TrackId, TrackStats,
    TransportState,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How a node is set up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeConfig {
    /// Addresses to listen on, with their ports, separated by commas.
    pub listen: String,
    /// IPs for ICE candidates.
    pub advertise: Vec<String>,
    /// Shard threads; 0 is one per core less one.
    #[serde(default)]
    pub shards: usize,
    /// Video codecs, best first.
    #[serde(default = "default_codecs")]
    pub video_codecs: Vec<String>,
    /// Entries in the command queue.
    #[serde(default = "default_queue_size")]
    pub queue_size: usize,
    /// Whether connections are taken too, at the same addresses (ICE over TCP).
    #[serde(default)]
    pub tcp: bool,
    /// Share of a core at which a shard takes nobody else; 0: none.
    #[serde(default)]
    pub cpu_limit: f64,
    /// Bits sent a second at which nobody else is taken; 0: none.
    #[serde(default)]
    pub bitrate_limit: u64,
    /// Whether packets of equal size for one subscriber leave in one call of the system.
    #[serde(default = "yes")]
    pub egress_gso: bool,
    /// Whether packets of a picture are padded to equal sizes, so that they can.
    #[serde(default = "yes")]
    pub egress_padding: bool,
    /// How long video may wait for the rest of its picture.
    #[serde(default = "default_hold_ms")]
    pub egress_hold_ms: u64,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            listen: String::new(),
            advertise: Vec::new(),
            shards: 0,
            video_codecs: default_codecs(),
            queue_size: default_queue_size(),
            tcp: false,
            cpu_limit: 0.0,
            bitrate_limit: 0,
            egress_gso: true,
            egress_padding: true,
            egress_hold_ms: default_hold_ms(),
        }
    }
}

fn default_codecs() -> Vec<String> {
    ["h264", "vp8", "vp9", "av1"].map(str::to_owned).to_vec()
}

fn yes() -> bool {
    true
}

fn default_hold_ms() -> u64 {
    5
}

fn default_queue_size() -> usize {
    16384
}

/// Counters since the start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "described in media/node.py")]
pub struct NodeStatus {
    pub rooms: u64,
    pub participants: u64,
    pub packets_received: u64,
    pub packets_sent: u64,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    pub packets_dropped: u64,
    pub commands_refused: u64,
    pub rooms_failed: u64,
    pub threads_cpu_ms: u64,
    #[serde(default)]
    pub refused: BTreeMap<String, u64>,
    #[serde(default)]
    pub connections: u64,
    #[serde(default)]
    pub bitrate_sent: u64,
    #[serde(default)]
    pub bitrate_over: bool,
    #[serde(default)]
    pub shards: Vec<ShardStatus>,
}

/// One shard now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "described in media/node.py")]
pub struct ShardStatus {
    pub cpu: f64,
    pub rooms: u64,
    pub participants: u64,
    pub over: bool,
}

/// A command or event and the room it is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InRoom<T> {
    /// The room.
    pub room: RoomId,
    /// What is said.
    #[serde(flatten)]
    pub body: T,
}

/// Bytes that are not what they should be.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// They do not decode.
    #[error("{0}")]
    Decode(#[from] rmp_serde::decode::Error),
    /// They could not be made.
    #[error("{0}")]
    Encode(#[from] rmp_serde::encode::Error),
}

/// Reads anything of this module.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ProtocolError> {
    Ok(rmp_serde::from_slice(bytes)?)
}

/// Writes anything of this module.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, ProtocolError> {
    Ok(rmp_serde::to_vec_named(value)?)
}

/// One of each event and one of each command, for the contract test.
pub fn samples() -> (Vec<InRoom<Event>>, Vec<InRoom<Command>>) {
    let participant = || ParticipantId::from("PA_alice");
    let track = || TrackId::from("TR_camera");
    let mids = || MidMap::from([("0".to_owned(), TrackId::from("TR_camera"))]);
    let sdp = || "v=0\r\n".to_owned();
    let speaker = SpeakerLevel { participant: participant(), level: 0.25, active: true };
    let events = vec![
        Event::Answered {
            participant: participant(),
            request: 1,
            target: Target::Single,
            sdp: sdp(),
            mid_to_track: mids(),
        },
        Event::Offered { participant: participant(), request: 2, sdp: sdp(), mid_to_track: mids() },
        Event::SdpRejected {
            participant: participant(),
            request: 3,
            target: Target::Publisher,
            reason: "the description cannot be parsed".to_owned(),
        },
        Event::SectionsNeeded { participant: participant(), audio: 1, video: 2 },
        Event::TransportChanged {
            participant: participant(),
            target: Target::Subscriber,
            state: TransportState::Connected,
        },
        Event::TrackStarted { participant: participant(), track: track(), codec: "h264".to_owned() },
        Event::TrackEnded { participant: participant(), track: track() },
        Event::Speakers { speakers: vec![speaker] },
        Event::Quality {
            participant: participant(),
            uplink_loss: 0.5,
            downlink_loss: 0.0,
            rtt_ms: -1.0,
            uplink_bitrate: 1_500_000,
            downlink_bitrate: 300,
        },
        Event::Receiving { participant: participant(), track: track(), width: 1280, height: 720 },
        Event::SubscriptionRefused {
            participant: participant(),
            track: track(),
            reason: SubscriptionRefusal::Codec,
        },
        Event::SubscriptionShed {
            participant: participant(),
            publisher: ParticipantId::from("PA_bob"),
            track: track(),
            shed: true,
        },
        Event::LayersWanted {
            participant: participant(),
            track: track(),
            codec: "vp8".to_owned(),
            layers: vec![LayerWanted { rid: "q".to_owned(), wanted: true }],
        },
        Event::RoomFailed { reason: "a fault".to_owned() },
        stats(participant(), track()),
        Event::DataRefused { participant: participant(), reason: Refusal::TooMany, count: 12 },
    ];
    let layer = Layer { rid: "q".to_owned(), width: 320, height: 180, bitrate: 150_000 };
    let commands = vec![
        Command::AddParticipant {
            participant: participant(),
            identity: "alice".to_owned(),
            single: true,
            fixed: true,
            adaptive: false,
            rights: Rights { send_screen: false, ..Rights::default() },
        },
        Command::SetRights {
            participant: participant(),
            rights: Rights { receive_video: false, data: false, ..Rights::default() },
        },
        Command::RemoveParticipant { participant: participant() },
        Command::CloseRoom {},
        Command::PublishTrack {
            participant: participant(),
            track: track(),
            cid: "cam".to_owned(),
            kind: Kind::Video,
            stream: Stream::Aux,
            codec: "h264".to_owned(),
            layers: vec![layer],
            muted: true,
        },
        Command::UnpublishTrack { participant: participant(), track: track() },
        Command::MuteTrack { track: track(), muted: true },
        Command::Offer { participant: participant(), request: 4, target: Target::Single, sdp: sdp() },
        Command::Answer { participant: participant(), request: 5, sdp: sdp() },
        Command::AddCandidate {
            participant: participant(),
            target: Target::Publisher,
            candidate: "candidate:1 1 udp 1 192.0.2.1 9 typ host".to_owned(),
        },
        Command::RestartIce { participant: participant() },
        Command::Subscribe { participant: participant(), track: track() },
        Command::Unsubscribe { participant: participant(), track: track() },
        Command::SetSubscription {
            participant: participant(),
            track: track(),
            enabled: false,
            width: 640,
            height: 360,
            fps: 15,
        },
        Command::SendData { participants: vec![participant()], reliable: false, packet: vec![0, 255, 7] },
    ];
    let room = || RoomId::from("RM_room");
    (
        events.into_iter().map(|body| InRoom { room: room(), body }).collect(),
        commands.into_iter().map(|body| InRoom { room: room(), body }).collect(),
    )
}

fn stats(participant: ParticipantId, track: TrackId) -> Event {
    Event::Stats {
        serial: 7,
        part: 0,
        parts: 1,
        period_ms: 2001,
        tracks: vec![TrackStats {
            participant: participant.clone(),
            track: track.clone(),
            rid: "h".to_owned(),
            codec: "vp8".to_owned(),
            flowing: true,
            receivers: 3,
            bitrate: 500_000,
            bytes: 125_000,
            packets: 130,
            loss: 0.01,
            raw_loss: 0.03,
            jitter_ms: 1.5,
            rtt_ms: 20.25,
            fps: 30.0,
            width: 640,
            height: 360,
            freezes: 1,
            frozen_ms: 420,
            nacks: 4,
            plis: 2,
        }],
        subscriptions: vec![SubscriptionStats {
            participant: participant.clone(),
            track,
            subscriptions: 1,
            rid: "h".to_owned(),
            bitrate: 490_000,
            bytes: 122_500,
            packets: 129,
            loss: 0.02,
            lost: -1,
            jitter_ms: 2.5,
            rtt_ms: -1.0,
            fps: 29.5,
            width: 640,
            height: 360,
            freezes: 1,
            frozen_ms: 300,
            nacks: 5,
            plis: 1,
            resent: 5,
        }],
        participants: vec![ParticipantStats { participant, estimate: 2_000_000 }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_survives_the_wire() {
        let (events, commands) = samples();
        let bytes = encode(&(&events, &commands)).unwrap();
        let back: (Vec<InRoom<Event>>, Vec<InRoom<Command>>) = decode(&bytes).unwrap();
        assert_eq!(back, (events, commands));
    }

    #[test]
    fn garbage_is_an_error() {
        for bytes in [&b""[..], b"\xc1", b"\x91\x81\xa4type\xa3foo", b"\xdd\xff\xff\xff\xff"] {
            assert!(decode::<Vec<InRoom<Command>>>(bytes).is_err());
        }
    }
}
