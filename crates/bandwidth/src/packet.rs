//! What became of a packet that was sent with a transport-wide number.

use std::time::{Duration, Instant};

/// One sent packet, as feedback told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketResult {
    /// Its transport-wide number, unwrapped. The same number may be told of again: twice, or as lost and then as
    /// arrived.
    pub number: u64,
    /// When it was handed to the network, on our clock.
    pub sent_at: Instant,
    /// Bytes of it on the wire, without UDP and IP.
    pub size: usize,
    /// When it came, on the client's clock, from an origin that is the same for all results of one client; none when it
    /// was lost.
    pub arrival: Option<Duration>,
    /// The probe it belongs to, if to any.
    pub probe: Option<u32>,
}
