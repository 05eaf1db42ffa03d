//! The media sections and channels of a connection: which are wanted, which are offered, which are in force.
//!
//! An offer that is given up (its answer never came) leaves nothing behind: what it added is added again to the next
//! one. Receive sections are offered `recvonly` in every offer, also those the server answered `inactive`, so the
//! server may use any of them at each answer. The section of a track that was removed is offered `inactive` and taken
//! again by the next track of its kind: sections can never leave an SDP, so a long session would grow without end.

use str0m::Rtc;
use str0m::change::SdpPendingOffer;
use str0m::channel::{ChannelConfig, ChannelId, Reliability};
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::rtp::Ssrc;

use crate::error::PeerError;
use crate::receiving::Receiver;
use crate::send_clock::SendClock;

/// Sections of one connection.
const MAX_SECTIONS: usize = 256;

/// One track that we send.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) cid: String,
    /// The cid that the engine knows the section by: that of its first track.
    first_cid: String,
    stream: String,
    pub(crate) kind: MediaKind,
    pub(crate) codec: Codec,
    offered: Option<Mid>,
    /// Set when the answer came.
    pub(crate) mid: Option<Mid>,
    /// The announced SSRCs.
    ssrcs: Option<(Ssrc, Option<Ssrc>)>,
    declared: bool,
    pub(crate) pt: Option<Pt>,
    pub(crate) clock: SendClock,
    removed: bool,
}

impl Sender {
    /// Makes the stream before its first frame. False when there is nothing to send on.
    pub(crate) fn declare(&mut self, rtc: &mut Rtc) -> bool {
        if let (false, Some(mid), Some((ssrc, rtx))) = (self.declared, self.mid, self.ssrcs) {
            rtc.direct_api().declare_stream_tx(ssrc, rtx, mid, None);
            self.declared = true;
        }
        self.declared
    }
}

/// All sections of a connection.
#[derive(Debug, Default)]
pub(crate) struct Sections {
    pub(crate) senders: Vec<Sender>,
    pub(crate) receivers: Vec<Receiver>,
    offered: Vec<(Mid, MediaKind)>,
    wanted_audio: usize,
    wanted_video: usize,
    channels: Option<(ChannelId, ChannelId)>,
    made: usize,
}

impl Sections {
    pub(crate) fn add_sender(
        &mut self,
        cid: String,
        stream: String,
        kind: MediaKind,
        codec: Codec,
        offset: u32,
    ) -> Result<(), PeerError> {
        if self.senders.iter().any(|sender| sender.cid == cid && !sender.removed) {
            return Err(PeerError::DuplicateTrack(cid));
        }
        let free = |sender: &&mut Sender| sender.removed && sender.mid.is_some() && sender.kind == kind;
        if let Some(sender) = self.senders.iter_mut().find(free) {
            sender.cid = cid;
            sender.codec = codec;
            sender.pt = None;
            sender.removed = false;
            return Ok(());
        }
        self.reserve(1)?;
        let rate = if kind == MediaKind::Audio { 48_000 } else { 90_000 };
        self.senders.push(Sender {
            first_cid: cid.clone(),
            cid,
            stream,
            kind,
            codec,
            offered: None,
            mid: None,
            ssrcs: None,
            declared: false,
            pt: None,
            clock: SendClock::new(rate, offset),
            removed: false,
        });
        Ok(())
    }

    pub(crate) fn remove_sender(&mut self, cid: &str) {
        for sender in &mut self.senders {
            sender.removed |= sender.cid == cid;
        }
        let before = self.senders.len();
        self.senders.retain(|sender| !sender.removed || sender.mid.is_some() || sender.offered.is_some());
        self.made -= before - self.senders.len();
    }

    pub(crate) fn want(&mut self, audio: usize, video: usize) -> Result<(), PeerError> {
        self.reserve(audio.saturating_add(video))?;
        self.wanted_audio += audio;
        self.wanted_video += video;
        Ok(())
    }

    fn reserve(&mut self, count: usize) -> Result<(), PeerError> {
        if count > MAX_SECTIONS - self.made {
            return Err(PeerError::TooManySections);
        }
        self.made += count;
        Ok(())
    }

    /// Data channels are made by us, with livekit's labels.
    pub(crate) fn channels(&self) -> Option<(ChannelId, ChannelId)> {
        self.channels
    }

    /// An offer with everything that is wanted and not in force.
    pub(crate) fn offer(&mut self, rtc: &mut Rtc, restart_ice: bool) -> Option<(String, SdpPendingOffer)> {
        let mut api = rtc.sdp_api();
        if self.channels.is_none() {
            let lossy = api.add_channel_with_config(ChannelConfig {
                label: "_lossy".into(),
                ordered: false,
                reliability: Reliability::MaxRetransmits { retransmits: 0 },
                ..ChannelConfig::default()
            });
            let reliable = api.add_channel("_reliable".into());
            self.channels = Some((reliable, lossy));
        }
        for sender in &mut self.senders {
            match (sender.mid, sender.removed) {
                (Some(mid), true) => api.set_direction(mid, Direction::Inactive),
                (Some(mid), false) => api.set_direction(mid, Direction::SendOnly),
                (None, false) => {
                    let (stream, cid) = (sender.stream.clone(), sender.cid.clone());
                    let mid = api.add_media(sender.kind, Direction::SendOnly, Some(stream), Some(cid), None);
                    sender.offered = Some(mid);
                }
                (None, true) => {}
            }
        }
        for receiver in &self.receivers {
            api.set_direction(receiver.mid, Direction::RecvOnly);
        }
        self.offered.clear();
        for (kind, wanted) in [(MediaKind::Audio, self.wanted_audio), (MediaKind::Video, self.wanted_video)] {
            let have = self.receivers.iter().filter(|receiver| receiver.kind == kind).count();
            for _ in have..wanted {
                self.offered.push((api.add_media(kind, Direction::RecvOnly, None, None, None), kind));
            }
        }
        if !api.has_changes() && self.made < MAX_SECTIONS {
            // Nothing to say, yet an exchange is asked for: an offer needs some change.
            self.made += 1;
            self.wanted_audio += 1;
            self.offered.push((
                api.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None),
                MediaKind::Audio,
            ));
        }
        if restart_ice {
            api.ice_restart(true);
        }
        let (offer, pending) = api.apply()?;
        let mut sdp = offer.to_sdp_string();
        for sender in self.senders.iter().filter(|sender| sender.cid != sender.first_cid) {
            sdp = sdp.replace(&sender.first_cid, &sender.cid);
        }
        Some((sdp, pending))
    }

    /// The answer to the last offer is in force.
    pub(crate) fn confirm(&mut self, rtc: &mut Rtc) {
        for (mid, kind) in self.offered.drain(..) {
            self.receivers.push(Receiver::new(mid, kind));
        }
        for sender in &mut self.senders {
            sender.mid = sender.mid.or_else(|| sender.offered.take());
            sender.pt = None;
        }
        // Streams that never sent would report an RTP time of zero, and a stream's first report comes with its first
        // packet only if it was declared just before it: so streams exist from their first frame on.
        let mut api = rtc.direct_api();
        for sender in self.senders.iter_mut().filter(|sender| !sender.declared) {
            if let Some(stream) = sender.mid.and_then(|mid| api.stream_tx_by_mid(mid, None)) {
                let ssrcs = (stream.ssrc(), stream.rtx());
                sender.ssrcs.get_or_insert(ssrcs);
                api.remove_stream_tx(ssrcs.0);
            }
        }
        for receiver in &self.receivers {
            if let Some(ssrc) = api.stream_tx_by_mid(receiver.mid, None).map(|stream| stream.ssrc()) {
                api.remove_stream_tx(ssrc);
            }
        }
    }

    pub(crate) fn sender(&mut self, cid: &str) -> Option<&mut Sender> {
        self.senders.iter_mut().find(|sender| sender.cid == cid && !sender.removed)
    }

    /// The track that is sent on a section.
    pub(crate) fn cid(&self, mid: Mid) -> Option<String> {
        let sender = self.senders.iter().find(|sender| sender.mid == Some(mid) && !sender.removed);
        sender.map(|sender| sender.cid.clone())
    }

    pub(crate) fn receiver(&mut self, mid: Mid) -> Option<&mut Receiver> {
        self.receivers.iter_mut().find(|receiver| receiver.mid == mid)
    }
}
