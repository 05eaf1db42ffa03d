//! The forwarding core: rooms of participants that exchange media and messages.
//!
//! There are no sockets, threads or clocks in here. A [`Room`] takes commands, datagrams and the passing of time, each
//! with `now` as an argument, and gives datagrams, events and the time at which it wants to be called again. One room
//! knows nothing of another. Input from the network never panics by intent; who drives rooms catches what does.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod adaptation;
mod allowance;
mod cadence;
mod clock;
mod codec;
mod command;
pub mod data;
mod demux;
mod dynacast;
mod event;
mod fixed;
mod forward;
mod fragments;
mod h264;
mod handshake;
mod ids;
mod lately;
mod layer;
mod members;
mod message;
mod meter;
mod negotiate;
mod output;
mod participant;
mod path;
mod picture;
mod proof;
mod rates;
mod red;
mod remote;
mod report;
mod requests;
mod resolution;
mod rewriter;
mod room;
mod sdp;
mod sending;
mod sharing;
mod sound;
mod speakers;
mod stats;
mod sublayer;
mod track;
mod transport;

pub use command::{Command, Kind, Layer, Rights, Stream, Target};
pub use event::{Event, LayerWanted, MidMap, Refusal, SpeakerLevel, SubscriptionRefusal, TransportState};
pub use ids::{ParticipantId, RoomId, TrackId, TransportKey};
pub use output::{Datagram, Heard, Output, Route};
pub use remote::{Carrier, Remote};
pub use room::Room;
pub use rtcloud_egress::Options as EgressOptions;
pub use stats::{ParticipantStats, SubscriptionStats, TrackStats};
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

    use crate::codec;
    use crate::fragments::Fragments;
    use crate::h264;
    use crate::picture::Picture;
    use crate::red::{Red, Restorer, Wrapper};
    use crate::rewriter::{Incoming, Rewriter};
    use crate::sdp::{self, Finish};
    use crate::sublayer::{Aim, Sieve};

    /// Reads a media payload as every codec's.
    pub fn read_payload(payload: &[u8]) {
        for codec in [Codec::H264, Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::Opus] {
            let _ = codec::starts_keyframe(codec, payload);
            let _ = crate::resolution::of(codec, payload);
        }
        let mut rewriter = Rewriter::new(0);
        let picture =
            if payload.len().is_multiple_of(2) { Picture::vp8(payload) } else { Picture::vp9(payload) };
        for (i, byte) in payload.iter().enumerate() {
            let seq = u64::from(*byte) << (i % 57);
            match byte % 4 {
                0 => rewriter.skip(seq),
                1 => rewriter.change_source(),
                _ => {
                    let packet = Incoming {
                        seq,
                        time: seq as u32,
                        wall: f64::from(*byte) * 1e9,
                        rate: 90_000,
                        picture,
                    };
                    let _ = rewriter.map(&packet);
                }
            }
        }
    }

    /// Takes packets of sound with redundancy apart and puts them together; each has its length before it.
    pub fn read_sound(packets: &[u8]) {
        let (mut restorer, mut wrapper) = (Restorer::new(), Wrapper::default());
        let (mut rest, mut seq, mut time) = (packets, 0u64, 0u32);
        while let [length, step, tail @ ..] = rest {
            let (payload, after) = tail.split_at(usize::from(*length).min(tail.len()));
            // No number comes twice.
            (seq, time) = (seq + 1 + u64::from(step >> 4), time.wrapping_add(u32::from(*step) << 6));
            if let Some(red) = Red::parse(payload) {
                let fresh = restorer.take(seq, time);
                let restored = if fresh { restorer.restore(seq, time, &red) } else { Vec::new() };
                assert!(restored.iter().all(|r| r.seq < seq && !r.payload.is_empty()));
                if let Some(made) = wrapper.wrap(seq, time, 111, red.primary) {
                    let made = Red::parse(made).map(|made| made.primary.to_vec());
                    assert_eq!(made.as_deref(), Some(red.primary));
                }
                wrapper.remember(seq, time, &red.primary.into());
            }
            rest = after;
        }
    }

    /// Sends packets of VP8, VP9 and H.264 through what leaves parts of them out; each has its length before it.
    pub fn leave_out(packets: &[u8]) {
        let mut sieve = Sieve::new(Aim::ALL);
        let mut fragments = Fragments::default();
        let mut rest = packets;
        while let [length, aim, tail @ ..] = rest {
            let (payload, after) = tail.split_at(usize::from(*length).min(tail.len()));
            sieve.set_aim(Aim { spatial: aim & 0x07, temporal: aim >> 4 & 0x07 });
            for picture in [Picture::vp8(payload), Picture::vp9(payload)].into_iter().flatten() {
                let sent = sieve.take(&picture, aim & 0x08 != 0).is_some();
                let _ = (sent, sieve.needs_key(), sieve.is_open());
                let patch = picture.patch(u16::from(*aim) << 7, *aim, *aim);
                let mut changed = payload.to_vec();
                patch.apply(&mut changed);
                // What is overwritten stays what it was.
                let again = if picture.layers.is_some() || picture.references.is_some() {
                    Picture::vp9(&changed)
                } else {
                    Picture::vp8(&changed).or_else(|| Picture::vp9(&changed))
                };
                assert!(again.is_some());
            }
            let _ = fragments.admit(payload);
            rest = after;
        }
    }

    /// Runs every edit of a session description over any text.
    pub fn edit_sdp(text: &str) {
        let sections = sdp::read(text).unwrap_or_default();
        let mut plan = HashMap::new();
        for (i, section) in sections.into_iter().enumerate() {
            let msid = Some((format!("PA_{i}|TR_{i}"), format!("TR_{i}")));
            let codec = Some("h264".to_owned());
            plan.insert(section.mid, Finish { inactive: i % 3 == 0, msid, codec, repeats: true });
        }
        let (cleaned, aliases) = h264::offer_as_ours(&sdp::clean(&sdp::receive_only(text)));
        let _ = h264::answer_as_theirs(&sdp::finish(&cleaned, &plan), &aliases);
        let (cleaned, aliases) = h264::offer_as_ours(&sdp::clean(text));
        let _ = h264::answer_as_theirs(&sdp::finish(&cleaned, &plan), &aliases);
        if let Ok(offer) = str0m::change::SdpOffer::from_sdp_string(&cleaned) {
            let _ = sdp::finish(&offer.to_sdp_string(), &plan);
        }
    }
}

/// The keys of DTLS sessions, for clients of tests that send beside str0m what it would not.
#[doc(hidden)]
pub mod keys {
    use std::sync::Arc;

    use rtcloud_egress::{Opening, Sealing};
    use str0m::crypto::CryptoProvider;

    use crate::proof;

    /// A crypto library that keeps what keys sessions of this thread come to.
    pub fn crypto() -> Arc<CryptoProvider> {
        proof::crypto()
    }

    /// The keys that a str0m call on this thread brought since this was last called.
    pub fn take() -> Option<(Sealing, Opening)> {
        proof::take_keys()
    }
}
