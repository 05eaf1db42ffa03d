//! One peer connection as a state machine: orders and datagrams in, datagrams, frames and events out.
//!
//! It always offers, and has at most one offer unanswered: an exchange asked for meanwhile follows the answer. Local
//! addresses are learnt from the remote ones (`Output::Remote`), so an offer carries no candidates: the server is
//! ICE-lite and answers where the checks come from. Nothing here reads a clock or a socket.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::ChannelId;
use str0m::media::{KeyframeRequestKind, MediaData, MediaKind, MediaTime, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpPacket;
use str0m::{Candidate, Event, IceConnectionState, Input, Output as RtcOutput, Rtc, RtcError};

use crate::backlog::Backlog;
use crate::counters::Counters;
use crate::error::PeerError;
use crate::inbox::Frame;
use crate::order::{Now, Order, Output};
use crate::probe;
use crate::protocol::{PeerConfig, PeerEvent, TransportState};
use crate::sections::Sections;
use crate::send_clock::opus_ticks;

/// A connection that does not come up, or back, within this time has failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// One peer connection.
#[derive(Debug)]
pub struct Connection {
    rtc: Rtc,
    sections: Sections,
    pending: Option<(u32, SdpPendingOffer)>,
    offer_again: bool,
    requests: u32,
    answered: bool,
    ready: VecDeque<Output>,
    frames: VecDeque<Frame>,
    backlog: Backlog,
    connected: bool,
    fail_at: Option<Instant>,
    finished: bool,
    hold: Duration,
    counters: Arc<Counters>,
    now: Now,
}

impl Connection {
    /// A new one. The first offer is made by `Order::CreateOffer`.
    pub fn new(config: &PeerConfig, counters: Arc<Counters>, now: Now) -> Self {
        let mut builder = Rtc::builder()
            .clear_codecs()
            .enable_opus(true, false)
            .enable_h264(true)
            .enable_vp8(true)
            .set_rtp_mode(config.count_only)
            .set_crypto_provider(Arc::new(str0m::crypto::from_feature_flags()));
        if !config.count_only {
            builder = builder
                .set_rtcp_report_interval_audio(REPORT_INTERVAL)
                .set_rtcp_report_interval_video(REPORT_INTERVAL);
        }
        let mut sections = Sections::default();
        // The first sections always fit.
        let _ = sections.want(config.audio_sections.min(64) as usize, config.video_sections.min(64) as usize);
        Self {
            rtc: builder.build(now.instant),
            sections,
            pending: None,
            offer_again: false,
            requests: 0,
            answered: false,
            ready: VecDeque::new(),
            frames: VecDeque::new(),
            backlog: Backlog::default(),
            connected: false,
            fail_at: None,
            finished: false,
            hold: Duration::from_millis(u64::from(config.hold_ms.min(10_000))),
            counters,
            now,
        }
    }

    /// Carries out an order. Its effects come out of `poll_output`.
    pub fn handle_order(&mut self, order: Order, now: Now) -> Result<(), PeerError> {
        self.now = now;
        match order {
            Order::AddTrack { cid, stream, codec } => {
                let kind = if codec.is_audio() { MediaKind::Audio } else { MediaKind::Video };
                let offset = (now.unix_us ^ (now.unix_us >> 20)) as u32;
                self.sections.add_sender(cid, stream, kind, codec, offset)
            }
            Order::RemoveTrack { cid } => {
                self.sections.remove_sender(&cid);
                Ok(())
            }
            Order::RequireSections { audio, video } => self.sections.want(audio as usize, video as usize),
            Order::CreateOffer { restart_ice } => {
                self.create_offer(restart_ice);
                Ok(())
            }
            Order::AcceptAnswer { request, sdp, mid_to_track } => {
                self.accept_answer(request, &sdp, &mid_to_track);
                Ok(())
            }
            Order::Write { cid, data, capture_us } => {
                let counter = if self.write(&cid, data, capture_us) {
                    &self.counters.frames_sent
                } else {
                    &self.counters.frames_refused
                };
                counter.add(1);
                Ok(())
            }
            Order::SendData { packet, reliable } => {
                self.send_data(packet, reliable);
                Ok(())
            }
            Order::RequestKeyframe { track } => {
                let mid =
                    self.sections.receivers.iter().find(|r| r.track.as_ref() == Some(&track)).map(|r| r.mid);
                if let Some(mid) = mid {
                    self.request_keyframe(mid);
                }
                Ok(())
            }
            Order::Close => self.rtc.close().map_err(|error| PeerError::Engine(error.to_string())),
        }
    }

    /// A local address from which the remote ones can be reached.
    pub fn add_local_address(&mut self, address: SocketAddr) {
        if let Ok(candidate) = Candidate::host(address, Protocol::Udp) {
            self.rtc.add_local_candidate(candidate);
        }
    }

    /// A datagram came. Malformed ones are ignored.
    pub fn handle_datagram(
        &mut self,
        source: SocketAddr,
        destination: SocketAddr,
        datagram: &[u8],
        now: Now,
    ) -> Result<(), PeerError> {
        self.now = now;
        self.counters.datagrams_received.add(1);
        let Ok(receive) = Receive::new(Protocol::Udp, source, destination, datagram) else {
            return Ok(());
        };
        let input = Input::Receive(now.instant, receive);
        if !self.rtc.accepts(&input) {
            return Ok(());
        }
        self.rtc.handle_input(input).map_err(|error| PeerError::Engine(error.to_string()))
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Now) -> Result<(), PeerError> {
        self.now = now;
        if self.fail_at.is_some_and(|at| at <= now.instant) {
            self.fail("no connectivity");
        }
        for receiver in &mut self.sections.receivers {
            receiver.expire(now.instant, &mut self.frames);
        }
        let timeout = Input::Timeout(now.instant);
        self.rtc.handle_input(timeout).map_err(|error| PeerError::Engine(error.to_string()))
    }

    /// The next output. After `Timeout` or `Closed` there is nothing more for now.
    pub fn poll_output(&mut self) -> Result<Output, PeerError> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Ok(Output::Frame(frame));
            }
            if let Some(output) = self.ready.pop_front() {
                return Ok(output);
            }
            if !self.backlog.is_empty() && self.send_backlog() {
                continue;
            }
            let output = match self.rtc.poll_output() {
                Ok(output) => output,
                // What somebody sends may be no media at all: the frame is gone, everybody else's are not.
                Err(RtcError::Packet(mid, _, _)) => {
                    if let Some(receiver) = self.sections.receivers.iter_mut().find(|one| one.mid == mid) {
                        receiver.lost();
                    }
                    continue;
                }
                Err(error) => return Err(PeerError::Engine(error.to_string())),
            };
            match output {
                RtcOutput::Transmit(transmit) => {
                    self.counters.datagrams_sent.add(1);
                    return Ok(Output::Transmit(transmit));
                }
                RtcOutput::Event(event) => self.handle_event(event),
                RtcOutput::Timeout(at) => {
                    if !self.rtc.is_alive() {
                        self.fail("the transport ended");
                        if self.ready.is_empty() {
                            return Ok(Output::Closed);
                        }
                        continue;
                    }
                    let held =
                        self.sections.receivers.iter().filter_map(|receiver| receiver.deadline()).min();
                    let next = [Some(at), held, self.fail_at].into_iter().flatten().min();
                    return Ok(Output::Timeout(next.unwrap_or(at)));
                }
            }
        }
    }

    /// Whether media can be sent.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Whether `Failed` was told.
    pub fn has_failed(&self) -> bool {
        self.finished
    }

    /// Whether data can be sent.
    pub fn is_open(&self) -> bool {
        self.backlog.is_open()
    }

    /// Data waiting for room in the channels.
    pub fn backlog_bytes(&self) -> usize {
        self.backlog.bytes()
    }

    fn create_offer(&mut self, restart_ice: bool) {
        if self.pending.is_some() {
            if !restart_ice {
                self.offer_again = true;
                return;
            }
            if !self.answered {
                return; // the first exchange is still under way; there is nothing to restart
            }
        }
        self.offer_again = false;
        let Some((sdp, pending)) = self.sections.offer(&mut self.rtc, restart_ice) else {
            return;
        };
        self.requests += 1;
        self.pending = Some((self.requests, pending));
        if restart_ice || !self.answered {
            self.fail_at = Some(self.now.instant + CONNECT_TIMEOUT);
        }
        self.ready.push_back(Output::Event(PeerEvent::Offer { request: self.requests, sdp }));
    }

    fn accept_answer(&mut self, request: u32, sdp: &str, mid_to_track: &[(String, String)]) {
        let Some((_, pending)) = self.pending.take_if(|(number, _)| *number == request) else {
            return; // of an offer that was given up
        };
        if let Err(reason) = self.apply_answer(pending, sdp) {
            self.ready.push_back(Output::Event(PeerEvent::AnswerRejected { request, reason }));
            return;
        }
        self.answered = true;
        self.sections.confirm(&mut self.rtc);
        for receiver in &mut self.sections.receivers {
            let track = mid_to_track.iter().find(|(mid, _)| **mid == *receiver.mid);
            receiver.assign(track.map(|(_, track)| track.clone()), &mut self.frames);
        }
        self.ready.push_back(Output::Remote(candidates(sdp)));
        self.ready.push_back(Output::Event(PeerEvent::Answered { request }));
        if self.offer_again {
            self.create_offer(false);
        }
    }

    fn apply_answer(&mut self, pending: SdpPendingOffer, sdp: &str) -> Result<(), String> {
        let answer = SdpAnswer::from_sdp_string(sdp).map_err(|_| "malformed SDP".to_string())?;
        self.rtc.sdp_api().accept_answer(pending, answer).map_err(|_| "it does not fit the offer".to_string())
    }

    fn write(&mut self, cid: &str, data: Vec<u8>, capture_us: u64) -> bool {
        let (true, Some(sender)) = (self.connected, self.sections.sender(cid)) else { return false };
        let Some(mid) = sender.mid else { return false };
        let sending = self.rtc.media(mid).is_some_and(|media| media.direction().is_sending());
        if !sending || !sender.declare(&mut self.rtc) {
            return false;
        }
        let codec = sender.codec;
        let Some(writer) = self.rtc.writer(mid) else { return false };
        let pt = sender.pt.or_else(|| {
            let fitting = || writer.payload_params().filter(|params| params.spec().codec == codec);
            let whole = |params: &&str0m::format::PayloadParams| {
                params.spec().format.packetization_mode.is_none_or(|mode| mode == 1)
            };
            fitting().find(whole).or_else(|| fitting().next()).map(|params| params.pt())
        });
        let Some(pt) = pt else { return false };
        sender.pt = Some(pt);
        let ticks = if sender.kind == MediaKind::Audio { opus_ticks(&data) } else { 0 };
        let (time, capture_us) = sender.clock.stamp(capture_us, ticks);
        let age = Duration::from_micros(self.now.unix_us.saturating_sub(capture_us));
        let wallclock = self.now.instant.checked_sub(age).unwrap_or(self.now.instant);
        let rate = codec_rate(sender.kind);
        writer.write(pt, wallclock, MediaTime::new(time, rate), data).is_ok()
    }

    fn send_data(&mut self, packet: Vec<u8>, reliable: bool) {
        if !self.backlog.push(packet, reliable) {
            self.counters.data_dropped.add(1);
        }
    }

    /// Writes what fits. True if anything was written.
    fn send_backlog(&mut self) -> bool {
        let Some(channels) = self.sections.channels() else { return false };
        let (done, dropped) = self.backlog.write(&mut self.rtc, channels);
        self.counters.data_dropped.add(dropped);
        done > 0
    }

    fn request_keyframe(&mut self, mid: Mid) {
        if let Some(mut writer) = self.rtc.writer(mid)
            && writer.request_keyframe(None, KeyframeRequestKind::Pli).is_ok()
        {
            self.counters.keyframes_requested.add(1);
        }
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Connected => self.set_connected(),
            Event::IceConnectionStateChange(state) => match state {
                IceConnectionState::Disconnected if self.connected => {
                    self.connected = false;
                    self.fail_at = Some(self.now.instant + CONNECT_TIMEOUT);
                    self.state(TransportState::Disconnected, "");
                }
                IceConnectionState::Connected | IceConnectionState::Completed if self.rtc.is_connected() => {
                    self.set_connected();
                }
                _ => {}
            },
            Event::Closed => self.fail("the server closed the transport"),
            Event::ChannelOpen(id, _) => self.channel_open(id),
            Event::ChannelClose(id) => {
                if let Some(channels) = self.sections.channels() {
                    self.backlog.set_open(id, channels, false);
                }
            }
            Event::ChannelData(data) => {
                let reliable = self.sections.channels().is_none_or(|(_, lossy)| lossy != data.id);
                self.ready.push_back(Output::Event(PeerEvent::Data { packet: data.data, reliable }));
            }
            Event::MediaData(data) => self.handle_media(data),
            Event::RtpPacket(packet) => self.count(&packet),
            Event::SenderFeedback(feedback) => {
                let info = feedback.sender_info;
                let unix_us =
                    info.ntp_time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
                if info.sender_packet_count > 0
                    && unix_us > 0
                    && let Some(receiver) = self.sections.receiver(feedback.mid)
                {
                    receiver.report(info.rtp_time.numer() as u32, unix_us, &mut self.frames);
                }
            }
            Event::KeyframeRequest(request) => {
                if let Some(cid) = self.sections.cid(request.mid) {
                    self.ready.push_back(Output::Event(PeerEvent::KeyframeRequested { cid }));
                }
            }
            _ => {}
        }
    }

    fn handle_media(&mut self, data: MediaData) {
        let counters = &self.counters;
        counters.frames_received.add(1);
        counters.packets_received.add(1 + **data.seq_range.end() - **data.seq_range.start());
        counters.bytes_received.add(data.data.len() as u64);
        if !data.contiguous {
            counters.gaps.add(1);
        }
        if let Some(sent_us) = probe::frame_sent_us(&data.data) {
            counters.delay(self.now.unix_us.saturating_sub(sent_us));
        }
        let now = self.now;
        let Some(receiver) = self.sections.receiver(data.mid) else { return };
        let video = receiver.kind == MediaKind::Video;
        let age = now.instant.saturating_duration_since(data.network_time);
        let frame = Frame {
            track: String::new(),
            rtp_time: data.time.numer() as u32,
            capture_us: None,
            arrival_us: now.unix_us.saturating_sub(age.as_micros() as u64),
            keyframe: !video || data.is_keyframe(),
            contiguous: data.contiguous,
            video,
            data: data.data,
        };
        receiver.frame(frame, now.instant, self.hold, &mut self.frames);
        if receiver.keyframe_due(now.instant) {
            self.request_keyframe(data.mid);
        }
    }

    fn count(&mut self, packet: &RtpPacket) {
        let counters = &self.counters;
        counters.packets_received.add(1);
        counters.bytes_received.add(packet.payload.len() as u64);
        if packet.header.marker {
            counters.frames_received.add(1);
        }
        if let Some(sent_us) = probe::sent_us(&packet.payload) {
            counters.delay(self.now.unix_us.saturating_sub(sent_us));
        }
    }

    fn channel_open(&mut self, id: ChannelId) {
        let Some(channels) = self.sections.channels() else { return };
        let before = self.backlog.is_open();
        self.backlog.set_open(id, channels, true);
        if self.backlog.is_open() && !before {
            self.ready.push_back(Output::Event(PeerEvent::ChannelsOpen));
        }
    }

    fn set_connected(&mut self) {
        self.fail_at = None;
        if !self.connected {
            self.connected = true;
            self.state(TransportState::Connected, "");
        }
    }

    fn fail(&mut self, reason: &str) {
        self.fail_at = None;
        self.connected = false;
        if !self.finished {
            self.finished = true;
            self.state(TransportState::Failed, reason);
        }
    }

    fn state(&mut self, state: TransportState, reason: &str) {
        self.ready.push_back(Output::Event(PeerEvent::State { state, reason: reason.into() }));
    }
}

fn codec_rate(kind: MediaKind) -> str0m::media::Frequency {
    if kind == MediaKind::Audio {
        str0m::media::Frequency::FORTY_EIGHT_KHZ
    } else {
        str0m::media::Frequency::NINETY_KHZ
    }
}

/// The UDP addresses that an answer names.
fn candidates(sdp: &str) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = sdp
        .lines()
        .filter_map(|line| line.trim_end().strip_prefix("a="))
        .filter(|line| line.starts_with("candidate:"))
        .filter_map(|line| Candidate::from_sdp_string(line).ok())
        .filter(|candidate| candidate.proto() == Protocol::Udp)
        .map(|candidate| candidate.addr())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}
