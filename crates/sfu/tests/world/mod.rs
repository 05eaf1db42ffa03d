//! A room, str0m clients and a network between them, all in simulated time.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtcloud_sfu::{
    Command, Event, Kind, Layer, Output, ParticipantId, Rights, Room, Route, Stream, Target, TrackId,
    TransportConfig, TransportKey, TransportState,
};
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::channel::ChannelId;
use str0m::format::{Codec, PayloadParams};
use str0m::media::{
    Direction, KeyframeRequestKind, MediaKind, Mid, Pt, Rid, SenderFeedback, Simulcast, SimulcastLayer,
};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite, Ssrc};
use str0m::{Candidate, Event as RtcEvent, Input, Output as RtcOutput, Rtc, RtcConfig};

const SERVER: &str = "192.0.2.1:7882";
const DELAY: Duration = Duration::from_millis(5);

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
    timeout: Instant,
    sequences: HashMap<(Mid, Option<Rid>), u64>,
}

pub(crate) type Lose = Box<dyn FnMut(bool, &[u8]) -> bool>;

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) start: Instant,
    pub(crate) room: Room,
    pub(crate) clients: Vec<Client>,
    pub(crate) events: Vec<Event>,
    output: Output,
    wire: VecDeque<(Instant, SocketAddr, SocketAddr, Vec<u8>)>,
    routes: HashMap<String, TransportKey>,
    addresses: HashMap<SocketAddr, TransportKey>,
    /// Says which datagrams are lost; true for those toward clients.
    pub(crate) lose: Option<Lose>,
    /// What tracks are announced as, by name; as their kind says otherwise.
    pub(crate) streams: HashMap<String, Stream>,
    /// The address that a client's datagrams seem to come from, by its own.
    pub(crate) translated: HashMap<SocketAddr, SocketAddr>,
    /// Checks are sent again from here, as somebody could who wants this address to be flooded.
    pub(crate) spoofed: Option<SocketAddr>,
    /// Bytes of media and of everything else that went to an address.
    pub(crate) sent: HashMap<SocketAddr, (usize, usize)>,
}

impl World {
    pub(crate) fn new() -> Self {
        let start = Instant::now();
        let config = Arc::new(TransportConfig {
            candidates: vec![SERVER.parse().unwrap()],
            certificate: rtcloud_sfu::generate_certificate().unwrap(),
            video_codecs: ["h264", "vp8", "vp9", "av1"].map(str::to_owned).to_vec(),
        });
        Self {
            now: start,
            start,
            room: Room::new(config, start),
            clients: Vec::new(),
            events: Vec::new(),
            output: Output::default(),
            wire: VecDeque::new(),
            routes: HashMap::new(),
            addresses: HashMap::new(),
            lose: None,
            streams: HashMap::new(),
            translated: HashMap::new(),
            spoofed: None,
            sent: HashMap::new(),
        }
    }

    pub(crate) fn command(&mut self, command: Command) {
        self.room.handle_command(command, self.now);
        self.poll_room();
    }

    /// A participant with one connection; `skew` is how far its clock is ahead of the server's.
    pub(crate) fn join(&mut self, name: &str, skew: Duration) -> usize {
        let id = ParticipantId::from(name);
        let identity = format!("{name}-user");
        self.command(Command::AddParticipant {
            participant: id.clone(),
            identity,
            single: true,
            rights: Rights::default(),
        });
        self.add_client(id, Target::Single, skew)
    }

    /// A participant with two connections: the one it publishes on, and the one it receives on.
    pub(crate) fn join_dual(&mut self, name: &str) -> (usize, usize) {
        let id = ParticipantId::from(name);
        let publisher = self.add_client(id.clone(), Target::Publisher, Duration::ZERO);
        let subscriber = self.add_client(id.clone(), Target::Subscriber, Duration::ZERO);
        let identity = format!("{name}-user");
        self.command(Command::AddParticipant {
            participant: id,
            identity,
            single: false,
            rights: Rights::default(),
        });
        (publisher, subscriber)
    }

    pub(crate) fn add_client(&mut self, id: ParticipantId, target: Target, skew: Duration) -> usize {
        let address: SocketAddr = format!("198.51.100.{}:5000", self.clients.len() + 1).parse().unwrap();
        let mut rtc = RtcConfig::new()
            .set_rtp_mode(true)
            .set_rtcp_report_interval_audio(Duration::from_secs(1))
            .build(self.now + skew);
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        self.clients.push(Client {
            id,
            target,
            rtc,
            address,
            skew,
            pending: None,
            answered: 0,
            packets: Vec::new(),
            lines: HashMap::new(),
            reports: Vec::new(),
            channels: HashMap::new(),
            messages: Vec::new(),
            keyframes_wanted: Vec::new(),
            mids: BTreeMap::new(),
            description: String::new(),
            level: None,
            timeout: self.now,
            sequences: HashMap::new(),
        });
        self.clients.len() - 1
    }

    /// Changes a client's session and sends its offer.
    pub(crate) fn offer(&mut self, client: usize, change: impl FnOnce(&mut str0m::change::SdpApi<'_>)) {
        let c = &mut self.clients[client];
        let mut api = c.rtc.sdp_api();
        change(&mut api);
        let (offer, pending) = api.apply().expect("something to negotiate");
        c.pending = Some(pending);
        let command = Command::Offer {
            participant: c.id.clone(),
            request: 1,
            target: c.target,
            sdp: offer.to_sdp_string(),
        };
        self.command(command);
    }

    /// Announces a track and offers it. Returns its media line.
    pub(crate) fn publish(
        &mut self,
        client: usize,
        track: &str,
        kind: Kind,
        layers: &[(&str, u32, u32)],
    ) -> Mid {
        self.publish_with(client, track, kind, layers, "")
    }

    pub(crate) fn publish_with(
        &mut self,
        client: usize,
        track: &str,
        kind: Kind,
        layers: &[(&str, u32, u32)],
        codec: &str,
    ) -> Mid {
        let cid = format!("cid-{track}");
        let layer =
            |&(rid, width, height): &(&str, u32, u32)| Layer { rid: rid.into(), width, height, bitrate: 0 };
        self.command(Command::PublishTrack {
            participant: self.clients[client].id.clone(),
            track: TrackId::from(track),
            cid: cid.clone(),
            kind,
            stream: self.streams.get(track).copied().unwrap_or_default(),
            codec: codec.to_owned(),
            layers: layers.iter().map(layer).collect(),
            muted: false,
        });
        let simulcast = (layers.len() > 1).then(|| {
            let mut simulcast = Simulcast::new();
            for (rid, _, _) in layers {
                simulcast.add_send_layer(SimulcastLayer::new(rid));
            }
            simulcast
        });
        let media = if kind == Kind::Audio { MediaKind::Audio } else { MediaKind::Video };
        let mut mid = None;
        self.offer(client, |api| {
            mid =
                Some(api.add_media(media, Direction::SendOnly, Some("stream".into()), Some(cid), simulcast));
        });
        mid.unwrap()
    }

    pub(crate) fn set_rights(&mut self, client: usize, rights: Rights) {
        let participant = self.clients[client].id.clone();
        self.command(Command::SetRights { participant, rights });
    }

    pub(crate) fn subscribe(&mut self, client: usize, track: &str) {
        let participant = self.clients[client].id.clone();
        self.command(Command::Subscribe { participant, track: TrackId::from(track) });
    }

    pub(crate) fn unsubscribe(&mut self, client: usize, track: &str) {
        let participant = self.clients[client].id.clone();
        self.command(Command::Unsubscribe { participant, track: TrackId::from(track) });
    }

    pub(crate) fn want(&mut self, client: usize, track: &str, enabled: bool, width: u32, height: u32) {
        let participant = self.clients[client].id.clone();
        let track = TrackId::from(track);
        self.command(Command::SetSubscription { participant, track, enabled, width, height, fps: 0 });
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.now += Duration::from_millis(1);
            self.step();
        }
    }

    /// Lets time pass until something holds.
    pub(crate) fn run_until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        for _ in 0..10_000 {
            if holds(self) {
                return;
            }
            self.now += Duration::from_millis(1);
            self.step();
        }
        panic!("never: {what}; events: {:?}", self.events);
    }

    pub(crate) fn connect(&mut self, client: usize) {
        self.run_until("connected", |w| {
            w.clients[client].rtc.is_connected()
                && w.is_connected(&w.clients[client].id, w.clients[client].target)
        });
    }

    pub(crate) fn is_connected(&self, id: &ParticipantId, target: Target) -> bool {
        self.events.iter().any(|e| {
            matches!(e, Event::TransportChanged { participant, target: t, state: TransportState::Connected }
                if participant == id && *t == target)
        })
    }

    /// One frame of H.264, VP8 or Opus, in so many packets.
    pub(crate) fn send(
        &mut self,
        client: usize,
        mid: Mid,
        rid: Option<&str>,
        codec: Codec,
        key: bool,
        packets: usize,
    ) {
        self.send_at(client, mid, rid, codec, key, packets, self.now);
    }

    #[allow(clippy::too_many_arguments)]
    pub(crate) fn send_at(
        &mut self,
        client: usize,
        mid: Mid,
        rid: Option<&str>,
        codec: Codec,
        key: bool,
        packets: usize,
        captured: Instant,
    ) {
        let c = &mut self.clients[client];
        let rid: Option<Rid> = rid.map(Rid::from);
        let rate = if codec == Codec::Opus { 48 } else { 90 };
        let at = captured.duration_since(self.start).as_micros() as u64;
        let pt = c.payload_type(mid, codec);
        for n in 0..packets {
            let seq = c.sequences.entry((mid, rid)).or_insert(100);
            *seq += 1;
            let first = n == 0;
            let mut payload = match codec {
                Codec::H264 if first && key => vec![0x65, 0x88],
                Codec::H264 if first => vec![0x41, 0x9a],
                Codec::H264 => vec![0x5c, 0x01],
                Codec::Vp8 => {
                    let picture = *seq as u16 & 0x7fff;
                    let start = if first { 0x90 } else { 0x80 };
                    let key = if key && first { 0x00 } else { 0x01 };
                    vec![start, 0xe0, 0x80 | (picture >> 8) as u8, picture as u8, *seq as u8, 0x20, key]
                }
                _ => vec![0x78],
            };
            payload.extend_from_slice(&seq.to_be_bytes());
            payload.resize(if codec == Codec::Opus { 100 } else { 1000 }, 7);
            let mut api = c.rtc.direct_api();
            let stream = api.stream_tx_by_mid(mid, rid).expect("a stream to send");
            let rtp = RtpWrite::new(pt, (*seq).into(), (at * rate / 1000) as u32, captured + c.skew, payload)
                .marker(n + 1 == packets)
                .ext_vals(ExtensionValues {
                    audio_level: c.level,
                    voice_activity: c.level.map(|_| true),
                    ..Default::default()
                })
                .nackable(codec != Codec::Opus);
            stream.write_rtp(rtp);
        }
        c.rtc.handle_input(Input::Timeout(self.now + c.skew)).unwrap();
        self.poll_client(client);
    }

    /// Empty packets, as probes for bandwidth are.
    pub(crate) fn send_padding(&mut self, client: usize, mid: Mid, count: usize) {
        let c = &mut self.clients[client];
        let pt = c.payload_type(mid, Codec::H264);
        for _ in 0..count {
            let seq = c.sequences.entry((mid, None)).or_insert(100);
            *seq += 1;
            let now = self.now + c.skew;
            let rtp = RtpWrite::new(pt, (*seq).into(), 0, now, Vec::new());
            c.rtc.direct_api().stream_tx_by_mid(mid, None).unwrap().write_rtp(rtp);
        }
        c.rtc.handle_input(Input::Timeout(self.now + c.skew)).unwrap();
        self.poll_client(client);
    }

    pub(crate) fn send_message(&mut self, client: usize, label: &str, message: &[u8]) {
        let c = &mut self.clients[client];
        let id = c.channels[label];
        assert!(c.rtc.channel(id).unwrap().write(true, message).unwrap());
        c.rtc.handle_input(Input::Timeout(self.now + c.skew)).unwrap();
        self.poll_client(client);
    }

    pub(crate) fn request_keyframe(&mut self, client: usize, mid: Mid) {
        let c = &mut self.clients[client];
        let mut api = c.rtc.direct_api();
        api.stream_rx_by_mid(mid, None).unwrap().request_keyframe(KeyframeRequestKind::Pli);
        c.rtc.handle_input(Input::Timeout(self.now + c.skew)).unwrap();
        self.poll_client(client);
    }

    fn step(&mut self) {
        while self.wire.front().is_some_and(|(at, ..)| *at <= self.now) {
            let Some((_, from, to, contents)) = self.wire.pop_front() else { break };
            if to == SERVER.parse().unwrap() {
                let from = self.translated.get(&from).copied().unwrap_or(from);
                if let (Some(spoofed), Some(0)) = (self.spoofed, contents.first()) {
                    self.deliver_to_room(spoofed, &contents);
                }
                self.deliver_to_room(from, &contents);
                continue;
            }
            if self.translated.contains_key(&to) {
                continue;
            }
            let real = self.translated.iter().find(|(_, seen)| **seen == to).map(|(real, _)| *real);
            let to = real.unwrap_or(to);
            if let Some(client) = self.clients.iter().position(|c| c.address == to) {
                let c = &mut self.clients[client];
                let Ok(receive) = Receive::new(Protocol::Udp, from, to, &contents) else { continue };
                c.rtc.handle_input(Input::Receive(self.now + c.skew, receive)).unwrap();
                self.poll_client(client);
            }
        }
        if self.room.next_timeout() <= self.now {
            self.room.handle_timeout(self.now);
        }
        self.poll_room();
        for client in 0..self.clients.len() {
            let c = &mut self.clients[client];
            if c.timeout <= self.now + c.skew {
                c.rtc.handle_input(Input::Timeout(self.now + c.skew)).unwrap();
                self.poll_client(client);
            }
        }
    }

    pub(crate) fn deliver_to_room(&mut self, from: SocketAddr, contents: &[u8]) {
        let named = ufrag(contents).and_then(|name| self.routes.get(name)).copied();
        if let Some(key) = named {
            self.addresses.insert(from, key);
        }
        let Some(key) = self.addresses.get(&from).copied() else { return };
        let to = SERVER.parse().unwrap();
        self.room.handle_datagram(key, from, to, contents, self.now, &mut self.output);
        self.collect();
    }

    pub(crate) fn poll_room(&mut self) {
        self.room.poll(self.now, &mut self.output);
        self.collect();
    }

    fn collect(&mut self) {
        let mut output = std::mem::take(&mut self.output);
        for datagram in output.datagrams.drain(..) {
            let contents = &output.bytes[datagram.range];
            let sent = self.sent.entry(datagram.destination).or_default();
            let part = if contents[0] >= 128 { &mut sent.0 } else { &mut sent.1 };
            *part += contents.len();
            if self.lose.as_mut().is_some_and(|lose| lose(true, contents)) {
                continue;
            }
            self.wire.push_back((self.now + DELAY, datagram.source, datagram.destination, contents.to_vec()));
        }
        for route in output.routes.drain(..) {
            match route {
                Route::Add(name, key) => {
                    self.routes.insert(name, key);
                }
                Route::Remove(key) => {
                    self.routes.retain(|_, k| *k != key);
                    self.addresses.retain(|_, k| *k != key);
                }
            }
        }
        for event in output.events.drain(..) {
            self.handle_event(&event);
            self.events.push(event);
        }
        output.clear();
        self.output = output;
    }

    fn handle_event(&mut self, event: &Event) {
        match event {
            Event::Answered { participant, target, sdp, mid_to_track, .. } => {
                let c =
                    self.clients.iter_mut().find(|c| c.id == *participant && c.target == *target).unwrap();
                let answer = SdpAnswer::from_sdp_string(sdp).expect("an answer that parses");
                let pending = c.pending.take().expect("an offer that was made");
                c.rtc.sdp_api().accept_answer(pending, answer).expect("an answer that is right");
                c.mids = mid_to_track.clone();
                c.description = sdp.clone();
                c.answered += 1;
                c.timeout = self.now;
            }
            Event::Offered { participant, request, sdp, mid_to_track } => {
                let found =
                    self.clients.iter_mut().find(|c| c.id == *participant && c.target == Target::Subscriber);
                let c = found.unwrap();
                let offer = SdpOffer::from_sdp_string(sdp).expect("an offer that parses");
                let answer = c.rtc.sdp_api().accept_offer(offer).expect("an offer that is right");
                c.mids = mid_to_track.clone();
                c.description = sdp.clone();
                c.answered += 1;
                c.timeout = self.now;
                // Some clients number their answers and some do not.
                let request = if request % 2 == 0 { 0 } else { *request };
                let (participant, sdp) = (participant.clone(), answer.to_sdp_string());
                self.room.handle_command(Command::Answer { participant, request, sdp }, self.now);
            }
            Event::SectionsNeeded { participant, audio, video } => {
                let client = self.clients.iter().position(|c| c.id == *participant).unwrap();
                let c = &mut self.clients[client];
                let mut api = c.rtc.sdp_api();
                for _ in 0..*audio {
                    api.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
                }
                for _ in 0..*video {
                    api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
                }
                if !api.has_changes() {
                    // A browser offers again although nothing of its own changed; here a direction must be touched.
                    let free = c.description.split("m=").skip(1).find(|m| m.contains("a=inactive"));
                    let free =
                        free.or_else(|| c.description.split("m=").skip(1).find(|m| m.contains("a=sendonly")));
                    let mid =
                        free.and_then(|m| m.split("a=mid:").nth(1)).and_then(|m| m.split("\r\n").next());
                    let mid = Mid::from(mid.expect("a section of ours"));
                    api.set_direction(mid, Direction::Inactive);
                    api.set_direction(mid, Direction::RecvOnly);
                }
                let (offer, pending) = api.apply().expect("an offer");
                c.pending = Some(pending);
                let sdp = offer.to_sdp_string();
                let (participant, target) = (c.id.clone(), c.target);
                self.room.handle_command(Command::Offer { participant, request: 2, target, sdp }, self.now);
            }
            _ => {}
        }
    }

    fn poll_client(&mut self, client: usize) {
        loop {
            let c = &mut self.clients[client];
            match c.rtc.poll_output().unwrap() {
                RtcOutput::Timeout(at) => {
                    c.timeout = at;
                    return;
                }
                RtcOutput::Transmit(t) => {
                    if self.lose.as_mut().is_some_and(|lose| lose(false, &t.contents)) {
                        continue;
                    }
                    self.wire.push_back((self.now + DELAY, t.source, t.destination, t.contents.to_vec()));
                }
                RtcOutput::Event(event) => match event {
                    RtcEvent::RtpPacket(packet) => {
                        let ssrc = packet.header.ssrc;
                        if let Some(mid) = c.rtc.direct_api().stream_rx(&ssrc).map(|s| s.mid()) {
                            c.lines.insert(ssrc, mid);
                        }
                        c.packets.push(packet);
                    }
                    RtcEvent::SenderFeedback(report) => c.reports.push(report),
                    RtcEvent::ChannelOpen(id, label) => {
                        c.channels.insert(label, id);
                    }
                    RtcEvent::ChannelData(data) => {
                        let reliable = c.channels.get("_reliable") == Some(&data.id);
                        c.messages.push((reliable, data.data));
                    }
                    RtcEvent::KeyframeRequest(request) => c.keyframes_wanted.push(request.rid),
                    _ => {}
                },
            }
        }
    }
}

impl Client {
    fn payload_type(&self, mid: Mid, codec: Codec) -> Pt {
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
}

/// Whether these are all numbers of a run, in whatever order.
pub(crate) fn is_run(sequences: &[u64]) -> bool {
    let mut sorted = sequences.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).all(|w| w[1] == w[0] + 1)
}

fn ufrag(contents: &[u8]) -> Option<&str> {
    if contents.len() < 20 || contents[0] > 1 {
        return None;
    }
    let mut rest = &contents[20..];
    while rest.len() >= 4 {
        let (kind, len) = (rest[1], usize::from(rest[3]));
        if kind == 6 {
            return str::from_utf8(&rest[4..4 + len]).ok()?.split(':').next();
        }
        rest = &rest[4 + len.next_multiple_of(4)..];
    }
    None
}
