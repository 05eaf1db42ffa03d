//! The forwarding core: rooms of participants that exchange media and messages.
//!
//! There are no sockets, threads or clocks in here. A [`Room`] takes commands, datagrams and the passing of time, each
//! with `now` as an argument, and gives datagrams, events and the time at which it wants to be called again. One room
//! knows nothing of another. Input from the network never panics by intent; who drives rooms catches what does.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod allowance;
mod clock;
mod codec;
mod command;
pub mod data;
mod forward;
mod ids;
mod layer;
mod message;
mod negotiate;
mod output;
mod participant;
mod path;
mod proof;
mod report;
mod rewriter;
mod room;
mod sdp;
mod speakers;
mod track;
mod transport;

pub use command::{
    Command, Event, Kind, Layer, MidMap, Refusal, Rights, SpeakerLevel, Stream, Target, TransportState,
};
pub use ids::{ParticipantId, RoomId, TrackId, TransportKey};
pub use output::{Datagram, Heard, Output, Route};
pub use room::Room;
pub use str0m::config::DtlsCert;
pub use transport::TransportConfig;

/// Makes the certificate that all transports of a node share. None when the crypto library cannot.
pub fn generate_certificate() -> Option<DtlsCert> {
    str0m::crypto::from_feature_flags().dtls_provider.generate_certificate()
}

/// Entry points for fuzzing of parsers that are not public otherwise.
#[doc(hidden)]
pub mod fuzzing {
    use std::collections::HashMap;

    use str0m::format::Codec;
    use str0m::rtp::Vp8Descriptor;

    use crate::codec;
    use crate::rewriter::{Incoming, Rewriter};
    use crate::sdp::{self, Finish};

    /// Reads a media payload as every codec's.
    pub fn read_payload(payload: &[u8]) {
        for codec in [Codec::H264, Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::Opus] {
            let _ = codec::starts_keyframe(codec, payload);
        }
        let mut rewriter = Rewriter::new(0);
        let vp8 = Vp8Descriptor::parse(payload).ok();
        for (i, byte) in payload.iter().enumerate() {
            let seq = u64::from(*byte) << (i % 57);
            match byte % 4 {
                0 => rewriter.skip(seq),
                1 => rewriter.change_source(),
                _ => {
                    let packet =
                        Incoming { seq, time: seq as u32, wall: f64::from(*byte) * 1e9, rate: 90_000, vp8 };
                    let _ = rewriter.map(&packet);
                }
            }
        }
    }

    /// Runs every edit of a session description over any text.
    pub fn edit_sdp(text: &str) {
        let sections = sdp::read(text).unwrap_or_default();
        let mut plan = HashMap::new();
        for (i, section) in sections.into_iter().enumerate() {
            let msid = Some((format!("PA_{i}|TR_{i}"), format!("TR_{i}")));
            let codec = Some("h264".to_owned());
            plan.insert(section.mid, Finish { inactive: i % 3 == 0, msid, codec });
        }
        let cleaned = sdp::clean(text);
        let _ = sdp::finish(&cleaned, &plan);
        if let Ok(offer) = str0m::change::SdpOffer::from_sdp_string(&cleaned) {
            let _ = sdp::finish(&offer.to_sdp_string(), &plan);
        }
    }
}
