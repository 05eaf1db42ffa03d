//! Two sessions that say they are at one address: who was there keeps it until the other has proved itself.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rtcloud_node::{InRoom, Node, NodeConfig};
use rtcloud_sfu::{Command, Event, Kind, ParticipantId, Rights, RoomId, Stream, Target, TransportState};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event as RtcEvent, Input, Output, Rtc, RtcConfig};

/// What of a client's goes out.
#[derive(Clone, Copy, PartialEq)]
enum Sends {
    Everything,
    Checks,
    Nothing,
}

struct Client {
    room: RoomId,
    id: ParticipantId,
    rtc: Rtc,
    pending: Option<SdpPendingOffer>,
    mid: Mid,
    sends: Sends,
    received: u64,
    keyframe: bool,
    state: Option<TransportState>,
}

impl Client {
    fn handle(&mut self, input: Input<'_>, socket: &UdpSocket) {
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
                        let _ = socket.send_to(&t.contents, t.destination);
                    }
                }
                Output::Event(RtcEvent::RtpPacket(_)) => self.received += 1,
                Output::Event(RtcEvent::KeyframeRequest(_)) => self.keyframe = true,
                Output::Event(_) => {}
            }
        }
    }
}

struct World {
    node: Node,
    /// One for each address of a client.
    sockets: Vec<UdpSocket>,
    /// Clients, each with the number of its socket.
    clients: Vec<(Client, usize)>,
    frames: u32,
}

impl World {
    fn new(shards: usize) -> Self {
        let config = NodeConfig {
            listen: "127.0.0.1:0".to_owned(),
            advertise: vec!["127.0.0.1".to_owned()],
            shards,
            video_codecs: vec!["h264".to_owned()],
            queue_size: 64,
        };
        Self { node: Node::start(&config).unwrap(), sockets: Vec::new(), clients: Vec::new(), frames: 0 }
    }

    fn socket(&mut self) -> usize {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        self.sockets.push(socket);
        self.sockets.len() - 1
    }

    fn tell(&self, room: &RoomId, body: Command) {
        assert!(self.node.send(vec![InRoom { room: room.clone(), body }]));
    }

    fn join(&mut self, room: &str, name: &str, socket: usize, direction: Direction) -> usize {
        let (room, id) = (RoomId::from(room), ParticipantId::from(name));
        let mut rtc = RtcConfig::new().set_rtp_mode(true).build(Instant::now());
        let address = self.sockets[socket].local_addr().unwrap();
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        self.tell(
            &room,
            Command::AddParticipant {
                participant: id.clone(),
                identity: name.to_owned(),
                single: true,
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

    fn step(&mut self) {
        self.handle_events();
        let now = Instant::now();
        let mut buffer = [0; 2000];
        for (number, socket) in self.sockets.iter().enumerate() {
            while let Ok((len, source)) = socket.recv_from(&mut buffer) {
                let to = socket.local_addr().unwrap();
                for (client, _) in self.clients.iter_mut().filter(|(_, at)| *at == number) {
                    let receive = Receive::new(Protocol::Udp, source, to, &buffer[..len]).unwrap();
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

    fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !holds(self) {
            assert!(Instant::now() < end, "never: {what}");
            self.step();
        }
    }

    /// One picture of ten packets.
    fn play(&mut self, client: usize) {
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

    fn connected(&self, client: usize) -> bool {
        self.clients[client].0.state == Some(TransportState::Connected)
    }
}

fn address(world: &World, client: usize) -> SocketAddr {
    world.sockets[world.clients[client].1].local_addr().unwrap()
}

fn contest(shards: usize, other_room: &str) {
    let mut world = World::new(shards);
    let (here, elsewhere) = (world.socket(), world.socket());
    let alice = world.join("room", "alice", here, Direction::SendOnly);
    let bob = world.join("room", "bob", elsewhere, Direction::RecvOnly);
    world.until("both are there", |w| w.connected(alice) && w.connected(bob));
    for _ in 0..1000 {
        world.play(alice);
        for _ in 0..5 {
            world.step();
        }
        if world.clients[bob].0.received > 100 {
            break;
        }
    }
    assert!(world.clients[bob].0.received > 100);
    for _ in 0..50 {
        world.step();
    }

    // Another participant's checks come from alice's address and name nothing of hers.
    let mallory = world.join(other_room, "mallory", here, Direction::SendOnly);
    world.clients[mallory].0.sends = Sends::Checks;
    assert_eq!(address(&world, alice), address(&world, mallory));
    let before = world.clients[bob].0.received;
    let mut sent = 0;
    let end = Instant::now() + Duration::from_millis(700);
    while Instant::now() < end {
        world.play(alice);
        sent += 10;
        for _ in 0..5 {
            world.step();
        }
    }
    world.until("all of it arrives", |w| w.clients[bob].0.received - before >= sent);
    assert!(world.connected(alice) && !world.connected(mallory));

    // Alice is gone and her address is the other's now: the proof moves it.
    world.clients[alice].0.sends = Sends::Nothing;
    world.clients[mallory].0.sends = Sends::Everything;
    world.until("the other is there", |w| w.connected(mallory));
    let refused = world.node.status().refused["packet_refused"];
    for _ in 0..10 {
        world.play(mallory);
        world.step();
    }
    assert!(world.node.status().refused["packet_refused"] <= refused + 1);
}

#[test]
fn a_contested_address_moves_with_proof_only() {
    contest(1, "another");
}

#[test]
fn that_is_so_across_shards() {
    for other in ["a", "b"] {
        contest(3, other);
    }
}
