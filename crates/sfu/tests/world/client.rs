//! A client: what it has and what came to it.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtcloud_egress::Sealing;
use rtcloud_sfu::{ParticipantId, Target, TrackId};
use str0m::Rtc;
use str0m::change::SdpPendingOffer;
use str0m::channel::ChannelId;
use str0m::format::{Codec, PayloadParams};
use str0m::media::{Mid, Pt, Rid, SenderFeedback};
use str0m::rtp::{RtpHeader, RtpPacket, Ssrc};

/// A peer connection of a client.
pub(crate) struct Client {
    pub(crate) id: ParticipantId,
    pub(crate) target: Target,
    pub(crate) rtc: Rtc,
    pub(crate) address: SocketAddr,
    /// How far this client's clock is ahead.
    pub(crate) skew: Duration,
    pub(crate) pending: Option<SdpPendingOffer>,
    pub(crate) answered: usize,
    pub(crate) packets: Vec<RtpPacket>,
    /// Packets that it was asked to repeat.
    pub(crate) repeats_wanted: u64,
    /// Media lines of the streams that came.
    pub(crate) lines: HashMap<Ssrc, Mid>,
    pub(crate) reports: Vec<SenderFeedback>,
    pub(crate) channels: HashMap<String, ChannelId>,
    pub(crate) messages: Vec<(bool, Vec<u8>)>,
    pub(crate) keyframes_wanted: Vec<Option<Rid>>,
    pub(crate) mids: BTreeMap<String, TrackId>,
    pub(crate) description: String,
    /// The audio level that packets carry.
    pub(crate) level: Option<i8>,
    pub(super) timeout: Instant,
    pub(crate) sequences: HashMap<(Mid, Option<Rid>), u64>,
    pub(super) robust_sound: bool,
    /// Everything that was decrypted, of clients like browsers.
    pub(crate) raw: Vec<(Instant, RtpHeader, Vec<u8>)>,
    pub(super) sealing: Option<Sealing>,
    pub(super) said: u32,
    pub(super) last_sound: Option<Vec<u8>>,
    /// Why it could not connect.
    pub(crate) failed: Option<String>,
}

impl Client {
    pub(super) fn payload_type(&self, mid: Mid, codec: Codec) -> Pt {
        let negotiated = self.rtc.media(mid).expect("a media line").remote_pts();
        let of = |p: &&PayloadParams| p.spec().codec == codec && negotiated.contains(&p.pt());
        self.rtc.codec_config().params().iter().find(of).expect("a negotiated codec").pt()
    }

    /// Media lines on which a track comes.
    pub(crate) fn mid_of(&self, track: &str) -> Mid {
        let found = self.mids.iter().find(|(_, t)| t.as_str() == track);
        Mid::from(found.unwrap_or_else(|| panic!("{track} in {:?}", self.mids)).0.as_str())
    }

    /// Sequence numbers of one track as they came.
    pub(crate) fn sequences_of(&self, track: &str) -> Vec<u64> {
        let mid = self.mid_of(track);
        let of = |p: &&RtpPacket| self.lines.get(&p.header.ssrc) == Some(&mid);
        self.packets.iter().filter(of).map(|p| *p.seq_no).collect()
    }

    /// Sequence numbers as they came.
    pub(crate) fn sequences(&self) -> Vec<u64> {
        self.packets.iter().map(|p| *p.seq_no).collect()
    }

    /// Whether a packet carries others besides its own (RFC 2198).
    pub(crate) fn is_redundant(&self, header: &RtpHeader) -> bool {
        self.rtc.codec_config().params().iter().any(|p| p.red() == Some(header.payload_type))
    }

    /// Whether a packet repeats another one (RFC 4588).
    pub(crate) fn is_repetition(&self, header: &RtpHeader) -> bool {
        self.rtc.codec_config().params().iter().any(|p| p.resend() == Some(header.payload_type))
    }

    /// The part of the answer that is about a media line.
    fn described(&self, mid: Mid) -> Option<&str> {
        let line = format!("a=mid:{mid}\r\n");
        self.description.split("m=").find(|m| m.contains(&line))
    }

    /// Payload types of Opus and of redundancy around it, where that was negotiated.
    pub(crate) fn redundant_type(&self, mid: Mid) -> Option<(Pt, Pt)> {
        let params = self.rtc.codec_config().params().iter().find(|p| p.spec().codec == Codec::Opus)?;
        let red = params.red()?;
        self.described(mid)?.contains(&format!("a=rtpmap:{red} red/")).then_some((params.pt(), red))
    }

    /// Whether it was negotiated that lost sound may be asked for.
    pub(crate) fn asks_for_sound(&self) -> bool {
        let sound =
            self.description.split("m=").filter(|m| m.starts_with("audio") && m.contains("a=sendonly"));
        sound.flat_map(str::lines).any(|l| l.starts_with("a=rtcp-fb:") && l.trim_end().ends_with(" nack"))
    }

    /// str0m asks for nothing that is lost; somebody else does.
    pub(crate) fn ask_nothing(&mut self) {
        for mid in self.mids.keys() {
            let mut api = self.rtc.direct_api();
            if let Some(stream) = api.stream_rx_by_mid(Mid::from(mid.as_str()), None) {
                stream.suppress_nack(true);
            }
        }
    }

    /// An offer with what livekit-client adds: lost sound is asked for too.
    pub(super) fn described_as_browsers_do(&self, offer: &str) -> String {
        const OPUS: &str = "a=rtpmap:111 opus/48000/2\r\n";
        if !self.robust_sound {
            return offer.to_owned();
        }
        offer.replace(OPUS, &format!("{OPUS}a=rtcp-fb:111 nack\r\n"))
    }

    /// A packet of sound with a copy of the one before in front of it (RFC 2198), as Chromium sends it.
    pub(super) fn with_the_last(&mut self, plain: Pt, payload: Vec<u8>) -> Vec<u8> {
        const TICKS: u32 = 960;
        let mut redundant = Vec::with_capacity(2 * payload.len() + 5);
        if let Some(last) = &self.last_sound {
            let header = 1 << 31 | u32::from(*plain) << 24 | TICKS << 10 | last.len() as u32 & 0x3ff;
            redundant.extend_from_slice(&header.to_be_bytes());
            redundant.push(*plain);
            redundant.extend_from_slice(last);
        } else {
            redundant.push(*plain);
        }
        redundant.extend_from_slice(&payload);
        self.last_sound = Some(payload);
        redundant
    }
}
