//! A room, str0m clients and a network between them, all in simulated time.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

pub(crate) mod camera;
pub(crate) mod cell;
mod client;
mod joining;
pub(crate) mod network;
pub(crate) mod pictures;
pub(crate) mod repairs;
mod sending;
pub(crate) mod stamp;
pub(crate) mod viewer;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtcloud_sfu::{
    Command, EgressOptions, Event, Output, ParticipantId, Room, Route, Stream, Target, TransportConfig,
    TransportKey, TransportState,
};
use str0m::change::{SdpAnswer, SdpOffer};
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RawPacket;
use str0m::{Event as RtcEvent, Input, Output as RtcOutput};

pub(crate) use client::Client;
use network::{Conditions, Flight, Network};

pub(crate) const SERVER: &str = "192.0.2.1:7882";

pub(crate) type Lose = Box<dyn FnMut(bool, &[u8]) -> bool>;

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) start: Instant,
    pub(crate) room: Room,
    pub(crate) clients: Vec<Client>,
    pub(crate) events: Vec<Event>,
    output: Output,
    pub(crate) network: Network,
    routes: HashMap<String, TransportKey>,
    addresses: HashMap<SocketAddr, TransportKey>,
    /// Says which datagrams are lost; true for those toward clients.
    pub(crate) lose: Option<Lose>,
    /// The next clients know no other video codec.
    pub(crate) only_h264: bool,
    /// The next clients send and take sound as livekit-client does, with redundancy and asking for what was lost, and
    /// can say what str0m would not.
    pub(crate) robust_sound: bool,
    /// What tracks are announced as, by name; as their kind says otherwise.
    pub(crate) streams: HashMap<String, Stream>,
    /// The address that a client's datagrams seem to come from, by its own.
    pub(crate) translated: HashMap<SocketAddr, SocketAddr>,
    /// Checks are sent again from here, as somebody could who wants this address to be flooded.
    pub(crate) spoofed: Option<SocketAddr>,
    /// Told before and after each call into the room.
    pub(crate) metered: Option<fn(bool)>,
    /// Bytes of media and of everything else that went to an address.
    pub(crate) sent: HashMap<SocketAddr, (usize, usize)>,
}

impl World {
    pub(crate) fn new() -> Self {
        let start = Instant::now();
        let config = Arc::new(TransportConfig {
            candidates: vec![SERVER.parse().unwrap()],
            tcp_candidates: vec![SERVER.parse().unwrap()],
            certificate: rtcloud_sfu::generate_certificate().unwrap(),
            video_codecs: ["h264", "vp8", "vp9", "av1"].map(str::to_owned).to_vec(),
            egress: EgressOptions {
                padding: true,
                hold: Duration::from_millis(5),
                origin: start,
                unix: Duration::from_secs(1_700_000_000),
            },
        });
        Self {
            now: start,
            start,
            room: Room::new(config, start),
            clients: Vec::new(),
            events: Vec::new(),
            output: Output::default(),
            network: Network::default(),
            routes: HashMap::new(),
            addresses: HashMap::new(),
            lose: None,
            only_h264: false,
            robust_sound: false,
            streams: HashMap::new(),
            translated: HashMap::new(),
            spoofed: None,
            metered: None,
            sent: HashMap::new(),
        }
    }

    pub(crate) fn command(&mut self, command: Command) {
        self.room.handle_command(command, self.now);
        self.poll_room();
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

    fn step(&mut self) {
        let end = self.now;
        while let Some(Flight { at, from, to, contents, .. }) = self.network.arrive(end) {
            self.now = at;
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
                if c.failed.is_some() {
                    continue;
                }
                let Ok(receive) = Receive::new(Protocol::Udp, from, to, &contents) else { continue };
                c.rtc.handle_input(Input::Receive(self.now + c.skew, receive)).unwrap();
                self.poll_client(client);
            }
        }
        self.now = end;
        if self.room.next_timeout() <= self.now {
            self.room.handle_timeout(self.now);
        }
        self.poll_room();
        for client in 0..self.clients.len() {
            let c = &mut self.clients[client];
            if c.failed.is_none() && c.timeout <= self.now + c.skew {
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
        self.meter(true);
        self.room.handle_datagram(key, from, to, contents, self.now, &mut self.output);
        self.meter(false);
        self.collect();
    }

    pub(crate) fn poll_room(&mut self) {
        self.meter(true);
        self.room.poll(self.now, &mut self.output);
        self.meter(false);
        self.collect();
    }

    fn meter(&self, on: bool) {
        if let Some(meter) = self.metered {
            meter(on);
        }
    }

    fn collect(&mut self) {
        let mut output = std::mem::take(&mut self.output);
        for datagram in output.datagrams.drain(..) {
            let contents = &output.bytes[datagram.range];
            let sent = self.sent.entry(datagram.destination.address).or_default();
            let part = if contents[0] >= 128 { &mut sent.0 } else { &mut sent.1 };
            *part += contents.len();
            if self.lose.as_mut().is_some_and(|lose| lose(true, contents)) {
                continue;
            }
            let to = datagram.destination.address;
            self.network.send(to, true, (datagram.source, to), contents, self.now);
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
                // Who offered a text of its own reads the answer itself.
                if let Some(pending) = c.pending.take() {
                    c.rtc.sdp_api().accept_answer(pending, answer).expect("an answer that is right");
                }
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
                let sdp = c.described_as_browsers_do(&offer.to_sdp_string());
                let (participant, target) = (c.id.clone(), c.target);
                self.room.handle_command(Command::Offer { participant, request: 2, target, sdp }, self.now);
            }
            _ => {}
        }
    }

    pub(crate) fn poll_client(&mut self, client: usize) {
        loop {
            let c = &mut self.clients[client];
            let output = match c.rtc.poll_output() {
                // What cannot connect on a network as bad as this has no picture; the call goes on without it.
                Err(error) if c.robust_sound => {
                    c.failed = Some(error.to_string());
                    return;
                }
                output => output.unwrap(),
            };
            match output {
                RtcOutput::Timeout(at) => {
                    c.timeout = at;
                    if let Some((sealing, _)) = rtcloud_sfu::keys::take() {
                        c.sealing = Some(sealing);
                    }
                    return;
                }
                RtcOutput::Transmit(t) => {
                    if self.lose.as_mut().is_some_and(|lose| lose(false, &t.contents)) {
                        continue;
                    }
                    let way = (t.source, t.destination);
                    self.network.send(c.address, false, way, &t.contents, self.now);
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
                    RtcEvent::MediaEgressStats(stats) => c.repeats_wanted = c.repeats_wanted.max(stats.nacks),
                    RtcEvent::RawPacket(raw) => {
                        if let RawPacket::RtpRx(header, payload) = *raw {
                            c.raw.push((self.now, header, payload));
                        }
                    }
                    RtcEvent::KeyframeRequest(request) => c.keyframes_wanted.push(request.rid),
                    _ => {}
                },
            }
        }
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
