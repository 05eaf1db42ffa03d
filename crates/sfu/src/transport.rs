//! One peer connection of a participant: a str0m instance, the sections it sends in, its data channels.
//!
//! A section is a media line toward the client. It keeps its SSRC and its [`Rewriter`] for life, whoever is sent in
//! it. Its send stream is declared to str0m only with its first packet: str0m would report streams that were never
//! written with RTP time 0, which throws receivers' clocks off. Between negotiations such a stream is parked here,
//! and put back while a description is made, so that its SSRC stays the same in every description.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::SdpPendingOffer;
use str0m::channel::ChannelId;
use str0m::config::DtlsCert;
use str0m::format::Codec;
use str0m::media::{Mid, Pt};
use str0m::rtp::{Extension, ExtensionValues, RtpWrite, Ssrc};
use str0m::{Candidate, Rtc, RtcConfig};

use crate::codec;
use crate::command::{Kind, Target, TransportState};
use crate::data;
use crate::ids::TransportKey;
use crate::path::Path;
use crate::proof;
use crate::rewriter::{Outgoing, Rewriter};

/// How often reports go out; receivers wait for the first ones to play in step.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// How often statistics are taken.
const STATS_INTERVAL: Duration = Duration::from_secs(2);
/// Bytes that may wait in the data channels of one transport.
const MAX_BUFFERED: usize = 4 * 1024 * 1024;
/// Packets kept for retransmission, per video stream: most of a second of 720p, and most of a subscriber's memory.
const RESEND_PACKETS: usize = 256;

/// What every transport of a node has in common.
#[derive(Debug)]
pub struct TransportConfig {
    /// Addresses in our ICE candidates.
    pub candidates: Vec<SocketAddr>,
    /// The certificate of all DTLS sessions.
    pub certificate: DtlsCert,
    /// Video codecs, best first.
    pub video_codecs: Vec<String>,
}

/// Whether a section can be given to a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// The client knows that nothing is sent in it.
    Free,
    /// It carries this subscription.
    Taken(usize),
    /// Its subscription ended, which the client must be told before another one takes it.
    Left,
    /// It is told so in an offer that waits for its answer.
    Leaving,
}

/// A media line toward the client.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) mid: Mid,
    pub(crate) kind: Kind,
    pub(crate) usage: Use,
    /// The client has accepted what it carries now.
    pub(crate) negotiated: bool,
    pub(crate) rewriter: Rewriter,
    ssrc: Option<(Ssrc, Option<Ssrc>)>,
    declared: bool,
    payload_type: Option<(Codec, Pt)>,
}

/// An offer of ours that waits for its answer.
#[derive(Debug)]
pub(crate) struct OpenOffer {
    pub(crate) request: i64,
    pub(crate) pending: SdpPendingOffer,
    /// Media lines that come to be with the answer.
    pub(crate) added: Vec<Mid>,
}

/// What is negotiated and what remains to be.
#[derive(Debug, Default)]
pub(crate) struct Negotiation {
    /// The first description was exchanged.
    pub(crate) begun: bool,
    /// The client was asked to offer.
    pub(crate) asked: bool,
    pub(crate) restart: bool,
    pub(crate) open: Option<OpenOffer>,
    pub(crate) requests: i64,
}

/// Channels by label.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    pub(crate) reliable: Option<ChannelId>,
    pub(crate) lossy: Option<ChannelId>,
}

/// Media bits per second, from counts of bytes.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) up: f64,
    pub(crate) down: f64,
    counted: Option<(Instant, u64, u64)>,
}

impl Traffic {
    /// Whether the rates are known: that takes two counts.
    pub(crate) fn count(&mut self, at: Instant, up: u64, down: u64) -> bool {
        let Some((before, up_before, down_before)) = self.counted.replace((at, up, down)) else {
            return false;
        };
        let seconds = at.saturating_duration_since(before).as_secs_f64().max(0.001);
        self.up = up.saturating_sub(up_before) as f64 * 8.0 / seconds;
        self.down = down.saturating_sub(down_before) as f64 * 8.0 / seconds;
        true
    }
}

/// One peer connection.
pub(crate) struct Transport {
    pub(crate) key: TransportKey,
    pub(crate) participant: usize,
    pub(crate) target: Target,
    pub(crate) rtc: Rtc,
    pub(crate) sections: Vec<Section>,
    /// What the client sends: media line and track id in its description.
    pub(crate) publishing: Vec<(Mid, String)>,
    pub(crate) channels: Channels,
    pub(crate) negotiation: Negotiation,
    pub(crate) state: Option<TransportState>,
    /// When something authentic came: media, a message, a valid check.
    pub(crate) last_heard: Instant,
    pub(crate) path: Path,
    pub(crate) dirty: bool,
    pub(crate) traffic: Traffic,
    /// Tracks that come in, by media line.
    pub(crate) incoming: Vec<(Mid, usize)>,
    /// Track and source of incoming streams, found so far.
    pub(crate) streams: HashMap<Ssrc, (usize, usize)>,
    /// Codecs of incoming payload types.
    codecs: HashMap<Pt, (Codec, u32)>,
}

impl Transport {
    pub(crate) fn new(
        key: TransportKey,
        participant: usize,
        target: Target,
        config: &TransportConfig,
        now: Instant,
    ) -> Self {
        let mut rtc = RtcConfig::new()
            .set_ice_lite(true)
            .set_rtp_mode(true)
            .set_dtls_cert(config.certificate.clone())
            .set_crypto_provider(proof::crypto())
            .set_stats_interval(Some(STATS_INTERVAL))
            .set_rtcp_report_interval_audio(REPORT_INTERVAL)
            .set_rtcp_report_interval_video(REPORT_INTERVAL)
            .set_send_buffer_video(RESEND_PACKETS)
            .set_sctp_max_message_size(data::MAX_MESSAGE as u32)
            .set_sctp_max_buffered_amount(MAX_BUFFERED)
            .clear_extension_map()
            .set_extension(1, Extension::AudioLevel)
            .set_extension(3, Extension::TransportSequenceNumber)
            .set_extension(4, Extension::RtpMid)
            .set_extension(10, Extension::RtpStreamId)
            .set_extension(11, Extension::RepairedRtpStreamId)
            .set_extension(13, Extension::VideoOrientation);
        codec::configure(rtc.codec_config(), &config.video_codecs);
        let mut rtc = rtc.build(now);
        for address in &config.candidates {
            if let Ok(candidate) = Candidate::host(*address, "udp") {
                rtc.add_local_candidate(candidate);
            }
        }
        Self {
            key,
            participant,
            target,
            rtc,
            sections: Vec::new(),
            publishing: Vec::new(),
            channels: Channels::default(),
            negotiation: Negotiation::default(),
            state: None,
            last_heard: now,
            path: Path::new(),
            dirty: true,
            traffic: Traffic::default(),
            incoming: Vec::new(),
            streams: HashMap::new(),
            codecs: HashMap::new(),
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.state == Some(TransportState::Connected)
    }

    /// Name by which the client's ICE checks find this transport.
    pub(crate) fn local_ufrag(&mut self) -> String {
        self.rtc.direct_api().local_ice_credentials().ufrag.clone()
    }

    pub(crate) fn section_of(&self, subscription: usize) -> Option<usize> {
        self.sections.iter().position(|s| s.usage == Use::Taken(subscription))
    }

    pub(crate) fn add_section(&mut self, mid: Mid, kind: Kind) -> &mut Section {
        // Any start below 2^15 will do; it only has to differ between streams.
        let first = (self.sections.len() as u16).wrapping_mul(997) & 0x7fff;
        self.sections.push(Section {
            mid,
            kind,
            usage: Use::Free,
            negotiated: false,
            rewriter: Rewriter::new(first),
            ssrc: None,
            declared: false,
            payload_type: None,
        });
        let last = self.sections.len() - 1;
        &mut self.sections[last]
    }

    /// Puts parked streams back; before any description is made or taken.
    pub(crate) fn unpark(&mut self) {
        for section in &self.sections {
            let Some((ssrc, rtx)) = section.ssrc else { continue };
            if !section.declared && self.rtc.media(section.mid).is_some() {
                self.rtc.direct_api().declare_stream_tx(ssrc, rtx, section.mid, None);
            }
        }
    }

    /// Takes streams that were never written out of str0m again, remembering their SSRCs.
    pub(crate) fn park(&mut self) {
        let mut api = self.rtc.direct_api();
        for section in &mut self.sections {
            section.payload_type = None;
            if section.declared {
                continue;
            }
            let Some((ssrc, rtx)) = api.stream_tx_by_mid(section.mid, None).map(|s| (s.ssrc(), s.rtx()))
            else {
                continue;
            };
            section.ssrc = Some((ssrc, rtx));
            api.remove_stream_tx(ssrc);
        }
        self.forget_streams();
    }

    /// Incoming streams are looked up anew: what they belong to may have changed.
    pub(crate) fn forget_streams(&mut self) {
        self.codecs.clear();
        self.streams.clear();
    }

    /// Codec and clock rate of an incoming payload type.
    pub(crate) fn codec_of(&mut self, pt: Pt) -> Option<(Codec, u32)> {
        if let Some(known) = self.codecs.get(&pt) {
            return Some(*known);
        }
        let params = self.rtc.codec_config().params().iter().find(|p| p.pt() == pt)?;
        let found = (params.spec().codec, params.spec().clock_rate.get());
        self.codecs.insert(pt, found);
        Some(found)
    }

    /// Whether a codec can be sent in a section as it was negotiated.
    pub(crate) fn can_send(&mut self, section: usize, codec: Codec) -> bool {
        self.payload_type(section, codec).is_some()
    }

    fn payload_type(&mut self, index: usize, codec: Codec) -> Option<Pt> {
        let section = self.sections.get_mut(index)?;
        if let Some((known, pt)) = section.payload_type
            && known == codec
        {
            return Some(pt);
        }
        let media = self.rtc.media(section.mid)?;
        let pt = codec::payload_type(self.rtc.codec_config().params(), media.remote_pts(), codec)?;
        section.payload_type = Some((codec, pt));
        Some(pt)
    }

    /// Queues a packet in a section. It leaves with the next poll.
    #[expect(clippy::too_many_arguments, reason = "the fields of one packet")]
    pub(crate) fn write(
        &mut self,
        index: usize,
        codec: Codec,
        numbers: Outgoing,
        wallclock: Instant,
        marker: bool,
        extensions: ExtensionValues,
        payload: Arc<[u8]>,
    ) -> bool {
        let Some(pt) = self.payload_type(index, codec) else { return false };
        let section = &mut self.sections[index];
        let Some((ssrc, rtx)) = section.ssrc else { return false };
        let mut api = self.rtc.direct_api();
        if !section.declared {
            api.declare_stream_tx(ssrc, rtx, section.mid, None);
            section.declared = true;
        }
        let Some(stream) = api.stream_tx(&ssrc) else { return false };
        let mut rtp = RtpWrite::new(pt, numbers.seq.into(), numbers.time, wallclock, payload)
            .marker(marker)
            .ext_vals(extensions)
            .nackable(section.kind == Kind::Video);
        if let Some(patch) = numbers.vp8 {
            rtp = rtp.vp8_patch(patch);
        }
        stream.write_rtp(rtp);
        true
    }

    /// Sends a data message; false when the channel is not open or full.
    pub(crate) fn send_data(&mut self, reliable: bool, packet: &[u8]) -> bool {
        let channel = if reliable { self.channels.reliable } else { self.channels.lossy };
        let Some(mut channel) = channel.and_then(|id| self.rtc.channel(id)) else { return false };
        // What is lossy is late when much waits before it.
        if !reliable && channel.buffered_amount() > MAX_BUFFERED / 16 {
            return false;
        }
        channel.write(true, packet).unwrap_or(false)
    }
}
