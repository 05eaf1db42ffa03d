//! One peer connection of a participant: a str0m instance, the sections it sends in, its data channels.
//!
//! A section is a media line toward the client. It keeps its SSRC, its [`Rewriter`] and its stream in the [`Egress`] for
//! life, whoever is sent in it.
//!
//! Invariant: str0m knows the send stream of a section only while a description is made, so that its SSRC is the same
//! in all of them. Otherwise it is parked here: under these SSRCs packets and reports are sealed beside str0m, which must
//! never seal any with the same numbers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtcloud_egress::{Egress, Extensions, Options, StreamId};
use str0m::change::SdpPendingOffer;
use str0m::channel::ChannelId;
use str0m::config::DtlsCert;
use str0m::format::Codec;
use str0m::media::{Mid, Pt};
use str0m::net::TcpType;
use str0m::rtp::{Extension, Ssrc};
use str0m::{Candidate, Rtc, RtcConfig};

use crate::adaptation::Adaptation;
use crate::codec::{self, Coding, Types};
use crate::command::{Kind, Target};
use crate::data;
use crate::event::TransportState;
use crate::ids::TransportKey;
use crate::path::Path;
use crate::proof;
use crate::rewriter::Rewriter;

/// How often reports go out; receivers wait for the first ones to play in step.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// How often statistics are taken.
const STATS_INTERVAL: Duration = Duration::from_secs(2);
/// Bytes that may wait in the data channels of one transport.
const MAX_BUFFERED: usize = 4 * 1024 * 1024;

/// What every transport of a node has in common.
#[derive(Debug)]
pub struct TransportConfig {
    /// Addresses in our ICE candidates.
    pub candidates: Vec<SocketAddr>,
    /// Those of them that take connections as well, for clients that no datagrams get through to.
    pub tcp_candidates: Vec<SocketAddr>,
    /// The certificate of all DTLS sessions.
    pub certificate: DtlsCert,
    /// Video codecs, best first.
    pub video_codecs: Vec<String>,
    /// How packets are sent, and the clock of their reports.
    pub egress: Options,
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
    pub(crate) ssrc: Option<(Ssrc, Option<Ssrc>)>,
    /// Its stream, once something was sent.
    pub(crate) stream: Option<StreamId>,
    /// What was last sent in it, and its payload types.
    payload_types: Option<(Codec, Types)>,
    /// The client asks for sound that was lost.
    pub(crate) repeats: bool,
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
    pub(crate) egress: Egress,
    pub(crate) adaptation: Adaptation,
    /// Something waits in the egress, and the room knows it.
    pub(crate) queued: bool,
    /// Bytes of media that were sent.
    pub(crate) sent_bytes: u64,
    /// Round trip by the client's last report that told it.
    pub(crate) rtt: Option<Duration>,
    pub(crate) sections: Vec<Section>,
    /// What the client sends: media line and track id in its description.
    pub(crate) publishing: Vec<(Mid, String)>,
    /// Media lines of sound that the client repeats, or asks us to.
    pub(crate) repeating: Vec<Mid>,
    /// Where packets belong that only their payload type tells.
    pub(crate) unnamed: Vec<(Pt, Mid)>,
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
    codecs: HashMap<Pt, Coding>,
}

impl Transport {
    pub(crate) fn new(
        key: TransportKey,
        participant: usize,
        target: Target,
        adaptive: bool,
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
            // Nothing is written there.
            .set_send_buffer_audio(1)
            .set_send_buffer_video(1)
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
        for address in &config.tcp_candidates {
            let candidate = Candidate::builder().tcp().host(*address).tcptype(TcpType::Passive).build();
            if let Ok(candidate) = candidate {
                rtc.add_local_candidate(candidate);
            }
        }
        Self {
            key,
            participant,
            target,
            rtc,
            egress: Egress::new(config.egress, "rtcloud"),
            adaptation: Adaptation::new(adaptive),
            queued: false,
            sent_bytes: 0,
            rtt: None,
            sections: Vec::new(),
            publishing: Vec::new(),
            repeating: Vec::new(),
            unnamed: Vec::new(),
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
            stream: None,
            payload_types: None,
            repeats: self.repeating.contains(&mid),
        });
        let last = self.sections.len() - 1;
        &mut self.sections[last]
    }

    /// Puts parked streams back; before any description is made or taken.
    pub(crate) fn unpark(&mut self) {
        for section in &self.sections {
            let Some((ssrc, rtx)) = section.ssrc else { continue };
            if self.rtc.media(section.mid).is_some() {
                self.rtc.direct_api().declare_stream_tx(ssrc, rtx, section.mid, None);
            }
        }
    }

    /// Takes send streams out of str0m again, remembering their SSRCs. What was negotiated may be new.
    pub(crate) fn park(&mut self) {
        let mut api = self.rtc.direct_api();
        for section in &mut self.sections {
            section.payload_types = None;
            let Some((ssrc, rtx)) = api.stream_tx_by_mid(section.mid, None).map(|s| (s.ssrc(), s.rtx()))
            else {
                continue;
            };
            section.ssrc = Some((ssrc, rtx));
            api.remove_stream_tx(ssrc);
        }
        for index in 0..self.sections.len() {
            if let Some(stream) = self.sections[index].stream {
                let extensions = self.extensions(index);
                self.egress.set_extensions(stream, extensions);
            }
        }
        self.forget_streams();
    }

    /// Whether pictures have transport-wide numbers in a section.
    pub(crate) fn is_numbered(&self, index: usize) -> bool {
        let section = &self.sections[index];
        let media = self.rtc.media(section.mid).filter(|_| section.kind == Kind::Video);
        media.is_some_and(|media| media.remote_extmap().id_of(Extension::TransportSequenceNumber).is_some())
    }

    /// Identifiers of header extensions in a section.
    pub(crate) fn extensions(&self, index: usize) -> Extensions {
        let Some(media) = self.rtc.media(self.sections[index].mid) else { return Extensions::default() };
        let map = media.remote_extmap();
        Extensions {
            audio_level: map.id_of(Extension::AudioLevel),
            twcc: map.id_of(Extension::TransportSequenceNumber),
            mid: map.id_of(Extension::RtpMid),
            orientation: map.id_of(Extension::VideoOrientation),
            dependency: None,
        }
    }

    /// Incoming streams are looked up anew: what they belong to may have changed.
    pub(crate) fn forget_streams(&mut self) {
        self.codecs.clear();
        self.streams.clear();
    }

    /// What an incoming payload type means.
    pub(crate) fn coding_of(&mut self, pt: Pt) -> Option<Coding> {
        if let Some(known) = self.codecs.get(&pt) {
            return Some(*known);
        }
        let found = codec::coding(self.rtc.codec_config().params(), pt)?;
        self.codecs.insert(pt, found);
        Some(found)
    }

    /// Whether a codec can be sent in a section as it was negotiated.
    pub(crate) fn can_send(&mut self, section: usize, codec: Codec) -> bool {
        self.payload_types(section, codec).is_some()
    }

    /// Payload types of a codec in a section.
    pub(crate) fn payload_types(&mut self, index: usize, codec: Codec) -> Option<Types> {
        let section = self.sections.get_mut(index)?;
        if let Some((known, types)) = section.payload_types
            && known == codec
        {
            return Some(types);
        }
        let media = self.rtc.media(section.mid)?;
        let types = codec::payload_types(self.rtc.codec_config().params(), media.remote_pts(), codec)?;
        section.payload_types = Some((codec, types));
        Some(types)
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
