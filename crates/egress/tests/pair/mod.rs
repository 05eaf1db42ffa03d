//! A str0m client, a str0m server whose sending half is an [`Egress`], and a network between them, in simulated time.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

pub(crate) mod tap;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtcloud_egress::{
    Egress, Extensions, Feedback, Heard, Keys, Options, Packet, PacketResult, Patch, Sink, StreamConfig,
    StreamId,
};
use str0m::format::{Codec, PayloadParams};
use str0m::media::{Direction, MediaKind, Mid, SenderFeedback};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{Extension, RtpPacket};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

const DELAY: Duration = Duration::from_millis(10);
pub(crate) const UNIX: Duration = Duration::from_secs(1_700_000_000);

/// Datagrams one after the other, as a room collects them.
#[derive(Default)]
pub(crate) struct Datagrams {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Sink for Datagrams {
    fn begin(&mut self, len: usize) -> &mut [u8] {
        let start = self.ends.last().copied().unwrap_or(0);
        self.bytes.resize(start + len, 0xaa);
        &mut self.bytes[start..]
    }

    fn commit(&mut self, len: usize) {
        self.ends.push(self.ends.last().copied().unwrap_or(0) + len);
    }
}

impl Datagrams {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[*start..*end])
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// What is lost on the way to the client, by the count of datagrams of media.
pub(crate) type Lose = Box<dyn FnMut(&[u8]) -> bool>;

pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) start: Instant,
    pub(crate) egress: Egress,
    pub(crate) video: StreamId,
    pub(crate) audio: StreamId,
    pub(crate) video_pt: (u8, Option<u8>),
    pub(crate) audio_pt: u8,
    pub(crate) video_mid: Mid,
    pub(crate) client: Rtc,
    server: Rtc,
    addresses: (SocketAddr, SocketAddr),
    wire: VecDeque<(Instant, bool, Vec<u8>)>,
    pub(crate) lose: Option<Lose>,
    pub(crate) sent: Vec<Vec<u8>>,
    pub(crate) packets: Vec<RtpPacket>,
    pub(crate) reports: Vec<SenderFeedback>,
    /// Round trips that the client measured by what came back of its reference times.
    pub(crate) round_trips: Vec<Duration>,
    pub(crate) feedback: Vec<Feedback>,
    pub(crate) results: Vec<PacketResult>,
    /// Datagrams of RTCP that the server heard of, and the last of them.
    pub(crate) heard: Vec<Heard>,
    pub(crate) last_rtcp: Vec<u8>,
    datagrams: Datagrams,
}

impl Pair {
    pub(crate) fn new(rtx: bool, padding: bool) -> Self {
        let start = Instant::now();
        let (at_server, at_client) =
            ("192.0.2.1:7882".parse().unwrap(), "198.51.100.1:5000".parse().unwrap());
        let config = RtcConfig::new().set_rtp_mode(true);
        let mut server = config.set_ice_lite(true).set_crypto_provider(tap::provider(true)).build(start);
        server.add_local_candidate(Candidate::host(at_server, "udp").unwrap());
        let config = RtcConfig::new().set_rtp_mode(true).set_crypto_provider(tap::provider(false));
        let mut client = config.set_stats_interval(Some(Duration::from_secs(1))).build(start);
        client.add_local_candidate(Candidate::host(at_client, "udp").unwrap());
        let mut api = client.sdp_api();
        let audio_mid = api.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
        let video_mid = api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        let (offer, pending) = api.apply().unwrap();
        let answer = server.sdp_api().accept_offer(offer).unwrap();
        let mut egress = Egress::new(
            Options { padding, hold: Duration::from_millis(5), origin: start, unix: UNIX },
            "somebody",
        );
        let mut streams = Vec::new();
        for (mid, video, clock_rate) in [(audio_mid, false, 48_000), (video_mid, true, 90_000)] {
            let mut api = server.direct_api();
            let stream = api.stream_tx_by_mid(mid, None).unwrap();
            let (ssrc, repetitions) = (stream.ssrc(), stream.rtx());
            api.remove_stream_tx(ssrc);
            let stream = egress.add_stream(StreamConfig {
                ssrc: *ssrc,
                rtx: repetitions.filter(|_| rtx && video).map(|s| *s),
                video,
                mid: mid.to_string(),
                clock_rate,
            });
            let media = server.media(mid).unwrap();
            let id = |extension: &Extension| media.remote_extmap().id_of(extension.clone());
            egress.set_extensions(
                stream,
                Extensions {
                    audio_level: id(&Extension::AudioLevel),
                    twcc: id(&Extension::TransportSequenceNumber).filter(|_| video),
                    mid: id(&Extension::RtpMid),
                    orientation: id(&Extension::VideoOrientation),
                    dependency: None,
                },
            );
            streams.push(stream);
        }
        client.sdp_api().accept_answer(pending, answer).unwrap();
        let of = |rtc: &mut Rtc, codec| {
            let params = rtc.codec_config().params();
            let found: &PayloadParams = params.iter().find(|p| p.spec().codec == codec).unwrap();
            (*found.pt(), found.resend().map(|pt| *pt))
        };
        let (video_pt, audio_pt) = (of(&mut server, Codec::Vp8), of(&mut server, Codec::Opus).0);
        let mut pair = Self {
            now: start,
            start,
            egress,
            video: streams[1],
            audio: streams[0],
            video_pt,
            audio_pt,
            video_mid,
            client,
            server,
            addresses: (at_server, at_client),
            wire: VecDeque::new(),
            lose: None,
            sent: Vec::new(),
            packets: Vec::new(),
            reports: Vec::new(),
            round_trips: Vec::new(),
            feedback: Vec::new(),
            results: Vec::new(),
            heard: Vec::new(),
            last_rtcp: Vec::new(),
            datagrams: Datagrams::default(),
        };
        for _ in 0..5000 {
            if pair.egress.has_keys() && pair.client.is_connected() {
                return pair;
            }
            pair.run(1);
        }
        panic!("never connected");
    }

    /// Lets so many milliseconds pass.
    pub(crate) fn run(&mut self, millis: u32) {
        for _ in 0..millis {
            self.now += Duration::from_millis(1);
            while self.wire.front().is_some_and(|(at, _, _)| *at <= self.now) {
                let (_, to_client, contents) = self.wire.pop_front().unwrap();
                self.deliver(to_client, &contents);
            }
            self.server.handle_input(Input::Timeout(self.now)).unwrap();
            self.client.handle_input(Input::Timeout(self.now)).unwrap();
            self.poll();
        }
    }

    fn deliver(&mut self, to_client: bool, contents: &[u8]) {
        let (server, client) = self.addresses;
        if to_client {
            let receive = Receive::new(Protocol::Udp, server, client, contents).unwrap();
            self.client.handle_input(Input::Receive(self.now, receive)).unwrap();
        } else {
            if contents[0] >> 6 == 2 && (192..224).contains(&contents[1]) {
                let heard = self.egress.handle_rtcp(contents, self.now, &mut self.feedback);
                self.results.extend(self.egress.results());
                self.heard.push(heard);
                self.last_rtcp = contents.to_vec();
                if heard != Heard::Shared {
                    return;
                }
            }
            let receive = Receive::new(Protocol::Udp, client, server, contents).unwrap();
            self.server.handle_input(Input::Receive(self.now, receive)).unwrap();
        }
        self.poll();
    }

    fn poll(&mut self) {
        while let Some(contents) = match self.server.poll_output().unwrap() {
            Output::Timeout(_) => None,
            Output::Transmit(t) => Some(t.contents.to_vec()),
            Output::Event(_) => Some(Vec::new()),
        } {
            if !contents.is_empty() {
                self.wire.push_back((self.now + DELAY, true, contents));
            }
        }
        if let Some((material, profile, client)) = tap::take() {
            let (sealing, opening) = Keys::from_dtls(&material, profile, client).unwrap();
            self.egress.set_keys(sealing, opening);
        }
        loop {
            match self.client.poll_output().unwrap() {
                Output::Timeout(_) => break,
                Output::Transmit(t) => self.wire.push_back((self.now + DELAY, false, t.contents.to_vec())),
                Output::Event(Event::RtpPacket(packet)) => self.packets.push(packet),
                Output::Event(Event::SenderFeedback(report)) => self.reports.push(report),
                Output::Event(Event::MediaIngressStats(stats)) => self.round_trips.extend(stats.rtt),
                Output::Event(_) => {}
            }
        }
        if self.egress.has_waiting() || self.egress.next_timeout().is_some_and(|at| at <= self.now) {
            self.egress.poll(self.now, &mut self.datagrams);
        }
        for datagram in self.datagrams.iter() {
            self.sent.push(datagram.to_vec());
            if self.lose.as_mut().is_some_and(|lose| lose(datagram)) {
                continue;
            }
            self.wire.push_back((self.now + DELAY, true, datagram.to_vec()));
        }
        self.datagrams.clear();
    }

    /// A frame of video whose packets have these sizes, numbered from `seq` on.
    pub(crate) fn send_video(&mut self, seq: u64, sizes: &[usize]) {
        let time = ((self.now - self.start).as_millis() * 90) as u32;
        for (index, size) in sizes.iter().enumerate() {
            let seq = seq + index as u64;
            let packet = Packet {
                pt: self.video_pt.0,
                rtx_pt: self.video_pt.1,
                seq,
                time,
                marker: index + 1 == sizes.len(),
                wall: self.now,
                payload: &payload(seq, *size),
                patch: Patch::NONE,
                level: None,
                orientation: None,
                dependency: None,
                resend: true,
            };
            self.egress.write(self.video, &packet, self.now);
        }
        self.poll();
    }

    pub(crate) fn send_audio(&mut self, seq: u64, level: i8) {
        let packet = Packet {
            pt: self.audio_pt,
            rtx_pt: None,
            seq,
            time: ((self.now - self.start).as_millis() * 48) as u32,
            marker: false,
            wall: self.now,
            payload: &payload(seq, 80),
            patch: Patch::NONE,
            level: Some((level, true)),
            orientation: None,
            dependency: None,
            resend: false,
        };
        self.egress.write(self.audio, &packet, self.now);
        self.poll();
    }

    /// Numbers of the video packets that came.
    pub(crate) fn video_numbers(&self) -> Vec<u64> {
        let video = |p: &&RtpPacket| *p.header.payload_type == self.video_pt.0;
        self.packets.iter().filter(video).map(|p| *p.seq_no).collect()
    }

    pub(crate) fn hear(&mut self, datagram: &[u8]) -> Heard {
        self.egress.handle_rtcp(datagram, self.now, &mut self.feedback)
    }
}

/// Contents that tell which packet they are of.
pub(crate) fn payload(seq: u64, size: usize) -> Arc<[u8]> {
    let mut payload = vec![0x10, 0x01];
    payload.extend(seq.to_be_bytes());
    payload.resize(size, seq as u8);
    payload.into()
}
