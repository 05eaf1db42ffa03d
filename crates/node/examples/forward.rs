//! Load for profiling the engine without Python: one publisher to many subscribers over loopback.
//!
//! `cargo run --release -p rtcloud-node --example forward -- [subscribers] [seconds] [packets per frame] [bytes]`
//! prints packets received by subscribers per second of CPU of the node's threads. With 0 packets per frame it is
//! sound: one Opus packet each 20 ms.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for developers")]

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rtcloud_node::{InRoom, Node, NodeConfig};
use rtcloud_sfu::{Command, Event, Kind, ParticipantId, Rights, RoomId, Stream, Target};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event as RtcEvent, Input, Output, Rtc, RtcConfig};

struct Client {
    id: ParticipantId,
    rtc: Rtc,
    socket: UdpSocket,
    address: SocketAddr,
    pending: Option<SdpPendingOffer>,
    timeout: Instant,
    received: u64,
    subscribed: bool,
    keyframe: bool,
}

fn in_room(body: Command) -> InRoom<Command> {
    InRoom { room: RoomId::from("room"), body }
}

impl Client {
    fn new(name: &str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let mut rtc = RtcConfig::new().set_rtp_mode(true).build(Instant::now());
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        Self {
            id: ParticipantId::from(name),
            rtc,
            socket,
            address,
            pending: None,
            timeout: Instant::now(),
            received: 0,
            subscribed: false,
            keyframe: false,
        }
    }

    fn offer(&mut self, node: &Node, kind: MediaKind, direction: Direction) -> Mid {
        let mut api = self.rtc.sdp_api();
        let mid = api.add_media(kind, direction, Some("s".into()), Some("cid".into()), None);
        let (offer, pending) = api.apply().unwrap();
        self.pending = Some(pending);
        let (participant, sdp) = (self.id.clone(), offer.to_sdp_string());
        node.send(vec![in_room(Command::Offer { participant, request: 1, target: Target::Single, sdp })]);
        mid
    }

    fn drive(&mut self, now: Instant) {
        let mut buffer = [0; 2000];
        while let Ok((len, source)) = self.socket.recv_from(&mut buffer) {
            if let Ok(receive) = Receive::new(Protocol::Udp, source, self.address, &buffer[..len]) {
                self.rtc.handle_input(Input::Receive(now, receive)).unwrap();
                self.poll();
            }
        }
        if self.timeout <= now {
            self.rtc.handle_input(Input::Timeout(now)).unwrap();
            self.poll();
        }
    }

    fn poll(&mut self) {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(at) => {
                    self.timeout = at;
                    return;
                }
                Output::Transmit(t) => {
                    let _ = self.socket.send_to(&t.contents, t.destination);
                }
                Output::Event(RtcEvent::RtpPacket(_)) => self.received += 1,
                Output::Event(RtcEvent::KeyframeRequest(_)) => self.keyframe = true,
                Output::Event(_) => {}
            }
        }
    }
}

fn main() {
    let args: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let arg = |n: usize, default| args.get(n).copied().unwrap_or(default);
    let (subscribers, seconds, packets, bytes) = (arg(0, 100), arg(1, 10), arg(2, 9), arg(3, 1100));
    let audio = packets == 0;
    let (kind, media_kind) =
        if audio { (Kind::Audio, MediaKind::Audio) } else { (Kind::Video, MediaKind::Video) };
    let (packets, bytes) = if audio { (1, bytes.min(120)) } else { (packets, bytes) };
    let (period, ticks, codec) = if audio { (20, 960, Codec::Opus) } else { (33, 3000, Codec::H264) };
    let node = Node::start(&NodeConfig {
        listen: "127.0.0.1:0".into(),
        advertise: vec!["127.0.0.1".into()],
        shards: 1,
        video_codecs: vec!["h264".into()],
        queue_size: 16384,
        ..NodeConfig::default()
    })
    .unwrap();
    let mut clients: Vec<Client> = (0..=subscribers).map(|n| Client::new(&format!("PA_{n}"))).collect();
    for client in &clients {
        let participant = client.id.clone();
        let identity = participant.to_string();
        node.send(vec![in_room(Command::AddParticipant {
            participant,
            identity,
            single: true,
            fixed: false,
            adaptive: false,
            rights: Rights::default(),
        })]);
    }
    node.send(vec![in_room(Command::PublishTrack {
        participant: clients[0].id.clone(),
        track: "TR_0".into(),
        cid: "cid".into(),
        kind,
        stream: Stream::default(),
        codec: String::new(),
        layers: vec![],
        muted: false,
    })]);
    let mid = clients[0].offer(&node, media_kind, Direction::SendOnly);
    for client in &mut clients[1..] {
        let participant = client.id.clone();
        node.send(vec![in_room(Command::Subscribe { participant, track: "TR_0".into() })]);
        client.offer(&node, media_kind, Direction::RecvOnly);
    }

    let frame = Duration::from_millis(period);
    let (mut next, mut seq, mut frames) = (Instant::now(), 0u64, 0u32);
    let mut begun: Option<(Instant, u64, u64)> = None;
    loop {
        for event in node.drain(1000) {
            match event.body {
                Event::Answered { participant, sdp, .. } => {
                    let client = clients.iter_mut().find(|c| c.id == participant).unwrap();
                    let answer = SdpAnswer::from_sdp_string(&sdp).unwrap();
                    client.rtc.sdp_api().accept_answer(client.pending.take().unwrap(), answer).unwrap();
                    client.timeout = Instant::now();
                    client.subscribed = true;
                }
                Event::SdpRejected { reason, .. } => panic!("{reason}"),
                _ => {}
            }
        }
        let now = Instant::now();
        if now >= next && clients[0].rtc.is_connected() {
            next = now.max(next) + frame;
            frames += 1;
            let publisher = &mut clients[0];
            let key = std::mem::take(&mut publisher.keyframe);
            let media = publisher.rtc.media(mid).unwrap();
            let negotiated = media.remote_pts();
            let of =
                |p: &&str0m::format::PayloadParams| p.spec().codec == codec && negotiated.contains(&p.pt());
            let pt = publisher.rtc.codec_config().params().iter().find(of).unwrap().pt();
            for n in 0..packets {
                let mut payload = vec![7; bytes as usize];
                payload[0] = if key && n == 0 { 0x65 } else { 0x41 };
                seq += 1;
                let rtp =
                    RtpWrite::new(pt, seq.into(), frames * ticks, now, payload).marker(n + 1 == packets);
                publisher
                    .rtc
                    .direct_api()
                    .stream_tx_by_mid(mid, None)
                    .unwrap()
                    .write_rtp(rtp.nackable(!audio));
            }
            publisher.rtc.handle_input(Input::Timeout(now)).unwrap();
            publisher.poll();
        }
        for client in &mut clients {
            client.drive(now);
        }
        let received: u64 = clients.iter().map(|c| c.received).sum();
        match begun {
            None if clients[1..].iter().all(|c| c.received > 0) => {
                std::thread::sleep(Duration::from_millis(0));
                begun = Some((now, received, node.status().threads_cpu_ms));
            }
            Some((at, before, cpu)) if now >= at + Duration::from_secs(seconds) => {
                let status = node.status();
                let cpu = (status.threads_cpu_ms - cpu) as f64 / 1000.0;
                let count = (received - before) as f64;
                let wall = now.duration_since(at).as_secs_f64();
                println!(
                    "{subscribers} subscribers: {:.0} packets/s, {:.1} % of a core, {:.0} packets per CPU-second",
                    count / wall,
                    cpu / wall * 100.0,
                    count / cpu
                );
                println!("{status:?}");
                return;
            }
            _ => {}
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}
