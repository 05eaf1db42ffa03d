//! What goes into a connection and what comes out of it.

use std::net::SocketAddr;
use std::time::Instant;

use str0m::format::Codec;
use str0m::net::Transmit;

use crate::inbox::Frame;
use crate::protocol::PeerEvent;

/// The same moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For timers.
    pub instant: Instant,
    /// Unix time in µs.
    pub unix_us: u64,
}

/// What the owner wants.
#[derive(Debug)]
pub enum Order {
    /// A send section in the next offer.
    AddTrack {
        /// Second token of `a=msid`.
        cid: String,
        /// First token of `a=msid`.
        stream: String,
        /// H.264, VP8 or Opus.
        codec: Codec,
    },
    /// Stops it in the next offer.
    RemoveTrack {
        /// The track.
        cid: String,
    },
    /// More receive sections in the next offer.
    RequireSections {
        /// That many more.
        audio: u32,
        /// That many more.
        video: u32,
    },
    /// Makes an offer as soon as the last one is answered; at once if ICE is restarted.
    CreateOffer {
        /// With new ICE credentials.
        restart_ice: bool,
    },
    /// The server's answer.
    AcceptAnswer {
        /// Number of the offer.
        request: u32,
        /// The SDP.
        sdp: String,
        /// Track ids by mid.
        mid_to_track: Vec<(String, String)>,
    },
    /// One encoded frame.
    Write {
        /// The track.
        cid: String,
        /// The frame.
        data: Vec<u8>,
        /// When it was captured.
        capture_us: u64,
    },
    /// A data packet.
    SendData {
        /// The packet.
        packet: Vec<u8>,
        /// Which channel.
        reliable: bool,
    },
    /// Asks the publisher for a keyframe.
    RequestKeyframe {
        /// The received track.
        track: String,
    },
    /// Says goodbye.
    Close,
}

/// What the connection wants.
#[derive(Debug)]
pub enum Output {
    /// Send this datagram.
    Transmit(Transmit),
    /// A frame for the owner.
    Frame(Frame),
    /// An event for the owner.
    Event(PeerEvent),
    /// Make local addresses that reach these, and name them with `add_local_address`.
    Remote(Vec<SocketAddr>),
    /// Nothing more until then (`handle_timeout`) or the next input.
    Timeout(Instant),
    /// The end. Nothing follows.
    Closed,
}
