//! What a client's RTCP said.

use std::time::Duration;

use crate::stream::StreamId;

/// What became of a datagram of RTCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Not authentic, seen before, or not RTCP: nothing of it was believed.
    Strange,
    /// Authentic, and all of it is about what is sent here.
    Ours,
    /// Authentic, and something in it is for the receiving half.
    Shared,
}

/// One thing that a client said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Feedback {
    /// It needs a key picture.
    Keyframe {
        /// Of this stream.
        stream: StreamId,
    },
    /// A report block.
    Loss {
        /// About this stream.
        stream: StreamId,
        /// Share of packets lost since the report before.
        fraction: f32,
        /// Interarrival jitter.
        jitter: Duration,
        /// Round trip, if the report tells.
        rtt: Option<Duration>,
    },
    /// Transport-wide feedback; the results are in [`Egress::results`](crate::Egress::results) until the next datagram.
    Transport,
    /// The client's own estimate.
    Remb {
        /// Bits per second.
        bitrate: u64,
    },
}
