//! Clients of a node over real sockets, by datagrams or by connections.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use rtcloud_node::{InRoom, Node, NodeConfig};
use rtcloud_sfu::{Command, Event, Kind, ParticipantId, Rights, RoomId, Stream, Target, TransportState};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive, TcpType};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event as RtcEvent, Input, Output, Rtc, RtcConfig};

/// A client's way out.
pub(crate) enum Socket {
    Udp(UdpSocket),
    /// And what came of a datagram that is not whole yet.
    Tcp(TcpStream, Vec<u8>),
}

impl Socket {
    fn local_addr(&self) -> SocketAddr {
        match self {
            Self::Udp(socket) => socket.local_addr().unwrap(),
            Self::Tcp(stream, _) => stream.local_addr().unwrap(),
        }
    }

    fn protocol(&self) -> Protocol {
        if matches!(self, Self::Udp(_)) { Protocol::Udp } else { Protocol::Tcp }
    }

    fn send(&self, contents: &[u8], to: SocketAddr) {
        match self {
            Self::Udp(socket) => {
                let _ = socket.send_to(contents, to);
            }
            Self::Tcp(stream, _) => {
                let mut framed = (contents.len() as u16).to_be_bytes().to_vec();
                framed.extend(contents);
                let mut stream: &TcpStream = stream;
                stream.write_all(&framed).unwrap();
            }
        }
    }

    fn receive(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        let mut buffer = [0; 65_536];
        match self {
            Self::Udp(socket) => {
                let (len, source) = socket.recv_from(&mut buffer).ok()?;
                Some((source, buffer[..len].to_vec()))
            }
            Self::Tcp(stream, rest) => {
                if let Ok(len) = stream.read(&mut buffer) {
                    rest.extend(&buffer[..len]);
                }
                let (length, after) = rest.split_first_chunk::<2>()?;
                let contents = after.get(..usize::from(u16::from_be_bytes(*length)))?.to_vec();
                rest.drain(..2 + contents.len());
                Some((stream.peer_addr().unwrap(), contents))
            }
        }
    }
}

/// What of a client's goes out.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Sends {
    Everything,
    Checks,
    Nothing,
}

pub(crate) struct Client {
    room: RoomId,
    id: ParticipantId,
    rtc: Rtc,
    pending: Option<SdpPendingOffer>,
    mid: Mid,
    pub(crate) sends: Sends,
    pub(crate) received: u64,
    keyframe: bool,
    state: Option<TransportState>,
}

impl Client {
    fn handle(&mut self, input: Input<'_>, socket: &Socket) {
        // What is for the other at this address cannot be opened.
        let _ = self.rtc.handle_input(input);
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(_) => break,
                Output::Transmit(t) => {
                    let goes = match self.sends {
                        Sends::Everything => true,
                        Sends::Checks => t.contents[0] < 4,
                        Sends::Nothing => false,
                    };
                    if goes {
                        socket.send(&t.contents, t.destination);
                    }
                }
                Output::Event(RtcEvent::RtpPacket(_)) => self.received += 1,
                Output::Event(RtcEvent::KeyframeRequest(_)) => self.keyframe = true,
                Output::Event(_) => {}
            }
        }
    }
}

pub(crate) struct World {
    pub(crate) node: Node,
    /// One for each address of a client.
    pub(crate) sockets: Vec<Socket>,
    /// Clients, each with the number of its socket.
    pub(crate) clients: Vec<(Client, usize)>,
    frames: u32,
}

impl World {
    pub(crate) fn new(shards: usize) -> Self {
        let config = NodeConfig {
            listen: "127.0.0.1:0,[::1]:0".to_owned(),
            advertise: vec!["127.0.0.1".to_owned(), "::1".to_owned()],
            shards,
            tcp: true,
            video_codecs: vec!["h264".to_owned()],
            queue_size: 64,
            ..NodeConfig::default()
        };
        Self { node: Node::start(&config).unwrap(), sockets: Vec::new(), clients: Vec::new(), frames: 0 }
    }

    pub(crate) fn socket(&mut self) -> usize {
        self.socket_at("127.0.0.1")
    }

    pub(crate) fn socket_at(&mut self, ip: &str) -> usize {
        let ip: IpAddr = ip.parse().unwrap();
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        self.sockets.push(Socket::Udp(socket));
        self.sockets.len() - 1
    }

    pub(crate) fn connect(&mut self, ip: &str) -> usize {
        let ip: IpAddr = ip.parse().unwrap();
        let stream = TcpStream::connect((ip, self.node.local_addr().port())).unwrap();
        stream.set_nonblocking(true).unwrap();
        self.sockets.push(Socket::Tcp(stream, Vec::new()));
        self.sockets.len() - 1
    }

    fn tell(&self, room: &RoomId, body: Command) {
        assert!(self.node.send(vec![InRoom { room: room.clone(), body }]));
    }

    pub(crate) fn join(&mut self, room: &str, name: &str, socket: usize, direction: Direction) -> usize {
        let (room, id) = (RoomId::from(room), ParticipantId::from(name));
        let mut rtc = RtcConfig::new().set_rtp_mode(true).build(Instant::now());
        let address = self.sockets[socket].local_addr();
        let candidate = match &self.sockets[socket] {
            Socket::Udp(_) => Candidate::host(address, "udp"),
            Socket::Tcp(..) => Candidate::builder().tcp().host(address).tcptype(TcpType::Active).build(),
        };
        rtc.add_local_candidate(candidate.unwrap());
        self.tell(
            &room,
            Command::AddParticipant {
                participant: id.clone(),
                identity: name.to_owned(),
                single: true,
                fixed: false,
                adaptive: true,
                rights: Rights::default(),
            },
        );
        let track = format!("TR_{name}");
        if direction == Direction::SendOnly {
            self.tell(
                &room,
                Command::PublishTrack {
                    participant: id.clone(),
                    track: track.as_str().into(),
                    cid: track.clone(),
                    kind: Kind::Video,
                    stream: Stream::default(),
                    codec: String::new(),
                    layers: vec![],
                    muted: false,
                },
            );
        }
        if direction == Direction::RecvOnly {
            self.tell(&room, Command::Subscribe { participant: id.clone(), track: "TR_alice".into() });
        }
        let mut api = rtc.sdp_api();
        let mid = api.add_media(MediaKind::Video, direction, Some("s".into()), Some(track), None);
        let (offer, pending) = api.apply().unwrap();
        let sdp = offer.to_sdp_string();
        self.tell(&room, Command::Offer { participant: id.clone(), request: 1, target: Target::Single, sdp });
        let client = Client {
            room,
            id,
            rtc,
            pending: Some(pending),
            mid,
            sends: Sends::Everything,
            received: 0,
            keyframe: true,
            state: None,
        };
        self.clients.push((client, socket));
        self.clients.len() - 1
    }

    fn handle_events(&mut self) {
        for InRoom { room, body } in self.node.drain(1000) {
            let mut clients = self.clients.iter_mut().map(|(client, _)| client);
            match body {
                Event::Answered { participant, sdp, .. } => {
                    let client = clients.find(|c| c.id == participant && c.room == room).unwrap();
                    let answer = SdpAnswer::from_sdp_string(&sdp).unwrap();
                    client.rtc.sdp_api().accept_answer(client.pending.take().unwrap(), answer).unwrap();
                }
                Event::TransportChanged { participant, state, .. } => {
                    let client = clients.find(|c| c.id == participant && c.room == room).unwrap();
                    client.state = Some(state);
                }
                _ => {}
            }
        }
    }

    pub(crate) fn step(&mut self) {
        self.handle_events();
        let now = Instant::now();
        for (number, socket) in self.sockets.iter_mut().enumerate() {
            while let Some((source, contents)) = socket.receive() {
                let to = socket.local_addr();
                for (client, _) in self.clients.iter_mut().filter(|(_, at)| *at == number) {
                    let receive = Receive::new(socket.protocol(), source, to, &contents).unwrap();
                    let input = Input::Receive(now, receive);
                    if client.rtc.accepts(&input) {
                        client.handle(input, socket);
                    }
                }
            }
        }
        for (client, socket) in &mut self.clients {
            client.handle(Input::Timeout(now), &self.sockets[*socket]);
        }
        std::thread::sleep(Duration::from_millis(2));
    }

    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !holds(self) {
            assert!(Instant::now() < end, "never: {what}");
            self.step();
        }
    }

    /// One picture of ten packets.
    pub(crate) fn play(&mut self, client: usize) {
        self.frames += 1;
        let (client, _) = &mut self.clients[client];
        let (pts, mid) = (client.rtc.media(client.mid).unwrap().remote_pts().to_vec(), client.mid);
        let of = |p: &&str0m::format::PayloadParams| p.spec().codec == Codec::H264 && pts.contains(&p.pt());
        let pt = client.rtc.codec_config().params().iter().find(of).unwrap().pt();
        let key = std::mem::take(&mut client.keyframe);
        for n in 0..10u32 {
            let mut payload = vec![7; 1000];
            payload[0] = if key && n == 0 { 0x65 } else { 0x41 };
            let seq = u64::from(self.frames * 10 + n);
            let rtp =
                RtpWrite::new(pt, seq.into(), self.frames * 3000, Instant::now(), payload).marker(n == 9);
            client.rtc.direct_api().stream_tx_by_mid(mid, None).unwrap().write_rtp(rtp);
        }
    }

    pub(crate) fn connected(&self, client: usize) -> bool {
        self.clients[client].0.state == Some(TransportState::Connected)
    }
}

pub(crate) fn address(world: &World, client: usize) -> SocketAddr {
    world.sockets[world.clients[client].1].local_addr()
}
