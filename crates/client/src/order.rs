//! What goes into a connection and what comes out of it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

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

/// Two readings further apart than this are not of one moment.
const TOGETHER: Duration = Duration::from_micros(200);
/// How often clocks are read until they are read together; on a machine so busy the last reading has to do.
const READINGS: usize = 4;

impl Now {
    /// Reads both clocks. A thread that was stopped between them would send its frames with that much too late a
    /// time of capture, to which receivers then fit all others of the same sender.
    pub(crate) fn read(mut instant: impl FnMut() -> Instant, mut unix_us: impl FnMut() -> u64) -> Self {
        let mut before = instant();
        let mut read = Self { instant: before, unix_us: unix_us() };
        for _ in 1..READINGS {
            let after = instant();
            if after.saturating_duration_since(before) <= TOGETHER {
                break;
            }
            before = after;
            read = Self { instant: before, unix_us: unix_us() };
        }
        read
    }
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Reads clocks of which each reading takes so many microseconds, and says how far apart the two are read.
    fn read(stops: &[u64]) -> u64 {
        let (start, passed, count) = (Instant::now(), Cell::new(0), Cell::new(0));
        let advance = || {
            let at = passed.get();
            passed.set(at + stops.get(count.get()).copied().unwrap_or(1));
            count.set(count.get() + 1);
            at
        };
        let now = Now::read(|| start + Duration::from_micros(advance()), advance);
        now.unix_us.abs_diff(now.instant.duration_since(start).as_micros() as u64)
    }

    #[test]
    fn clocks_are_read_together() {
        assert_eq!(read(&[]), 1);
    }

    #[test]
    fn a_thread_that_was_stopped_between_two_clocks_reads_them_again() {
        assert_eq!(read(&[300_000]), 1);
        assert_eq!(read(&[1, 1, 300_000, 1]), 1);
        assert_eq!(read(&[300_000, 1, 300_000]), 1);
    }

    #[test]
    fn reading_comes_to_an_end() {
        assert_eq!(read(&[500; 100]), 500);
    }
}
