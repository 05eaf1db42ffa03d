//! A connection against an ICE-lite counterpart of the same library, in simulated time: no sockets, no clocks.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rtcloud_client::{
    Connection, Counters, Frame, Now, Order, Output, PeerConfig, PeerEvent, TransportState,
};
use str0m::change::SdpOffer;
use str0m::format::Codec;
use str0m::media::{Direction, KeyframeRequestKind, MediaKind, MediaTime, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Rtc};

const CLIENT: ([u8; 4], u16) = ([10, 0, 0, 1], 4000);
const SERVER: ([u8; 4], u16) = ([10, 0, 0, 2], 7882);
const STEP: Duration = Duration::from_millis(5);

struct World {
    client: Connection,
    counters: Arc<Counters>,
    server: Rtc,
    began: Instant,
    began_us: u64,
    elapsed: Duration,
    to_client: VecDeque<Vec<u8>>,
    to_server: VecDeque<Vec<u8>>,
    /// Datagrams toward the client that are lost, by their number from now.
    lose: Vec<usize>,
    offers: Vec<(u32, String)>,
    events: Vec<PeerEvent>,
    frames: Vec<Frame>,
    server_events: Vec<Event>,
}

impl World {
    fn new(config: PeerConfig) -> Self {
        let began = Instant::now();
        let began_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
        let now = Now { instant: began, unix_us: began_us };
        let counters = Arc::<Counters>::default();
        let server = Rtc::builder()
            .set_ice_lite(true)
            .set_crypto_provider(Arc::new(str0m::crypto::from_feature_flags()))
            .set_rtcp_report_interval_audio(Duration::from_millis(500))
            .set_rtcp_report_interval_video(Duration::from_millis(500))
            .build(began);
        let mut world = Self {
            client: Connection::new(&config, counters.clone(), now),
            counters,
            server,
            began,
            began_us,
            elapsed: Duration::ZERO,
            to_client: VecDeque::new(),
            to_server: VecDeque::new(),
            lose: Vec::new(),
            offers: Vec::new(),
            events: Vec::new(),
            frames: Vec::new(),
            server_events: Vec::new(),
        };
        world.server.add_local_candidate(Candidate::host(SERVER.into(), Protocol::Udp).unwrap()).unwrap();
        world
    }

    fn joined() -> Self {
        let mut world = Self::new(PeerConfig::default());
        world.order(Order::CreateOffer { restart_ice: false });
        world.answer(&[]);
        world.run_until("joined", |world| {
            world.events.contains(&PeerEvent::ChannelsOpen) && world.client.is_connected()
        });
        world
    }

    fn now(&self) -> Now {
        Now { instant: self.began + self.elapsed, unix_us: self.began_us + self.elapsed.as_micros() as u64 }
    }

    fn order(&mut self, order: Order) {
        let now = self.now();
        self.client.handle_order(order, now).unwrap();
        self.drain();
    }

    /// Lets the server answer the newest offer, and the client take the answer.
    fn answer(&mut self, mid_to_track: &[(Mid, &str)]) -> String {
        let (request, offer) = self.offers.pop().expect("an offer");
        let answer = self.server.sdp_api().accept_offer(SdpOffer::from_sdp_string(&offer).unwrap()).unwrap();
        let mid_to_track =
            mid_to_track.iter().map(|(mid, track)| (mid.to_string(), track.to_string())).collect();
        self.order(Order::AcceptAnswer { request, sdp: answer.to_sdp_string(), mid_to_track });
        offer
    }

    fn drain(&mut self) {
        loop {
            match self.client.poll_output().unwrap() {
                Output::Transmit(transmit) => self.to_server.push_back(transmit.contents.to_vec()),
                Output::Frame(frame) => self.frames.push(frame),
                Output::Event(PeerEvent::Offer { request, sdp }) => self.offers.push((request, sdp)),
                Output::Event(event) => self.events.push(event),
                Output::Remote(remotes) => {
                    assert_eq!(remotes, [SocketAddr::from(SERVER)]);
                    self.client.add_local_address(CLIENT.into());
                }
                Output::Timeout(_) | Output::Closed => break,
            }
        }
        loop {
            match self.server.poll_output().unwrap() {
                str0m::Output::Transmit(transmit) => self.to_client.push_back(transmit.contents.to_vec()),
                str0m::Output::Event(event) => self.server_events.push(event),
                str0m::Output::Timeout(_) => break,
            }
        }
    }

    fn step(&mut self) {
        self.elapsed += STEP;
        let now = self.now();
        self.client.handle_timeout(now).unwrap();
        self.server.handle_input(Input::Timeout(now.instant)).unwrap();
        self.drain();
        while let Some(datagram) = self.to_client.pop_front() {
            let lost = self.lose.contains(&0);
            self.lose = self.lose.iter().filter_map(|number| number.checked_sub(1)).collect();
            if !lost {
                self.client.handle_datagram(SERVER.into(), CLIENT.into(), &datagram, now).unwrap();
            }
            self.drain();
        }
        while let Some(datagram) = self.to_server.pop_front() {
            let receive = Receive::new(Protocol::Udp, CLIENT.into(), SERVER.into(), &datagram).unwrap();
            self.server.handle_input(Input::Receive(now.instant, receive)).unwrap();
            self.drain();
        }
    }

    fn run_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = self.elapsed + Duration::from_secs(30);
        while !done(self) {
            assert!(self.elapsed < deadline, "never: {what}");
            self.step();
        }
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.elapsed + time;
        while self.elapsed < end {
            self.step();
        }
    }

    fn publish(&mut self, cid: &str, codec: Codec) {
        self.order(Order::AddTrack { cid: cid.into(), stream: "stream".into(), codec });
        self.order(Order::CreateOffer { restart_ice: false });
        self.answer(&[]);
    }

    fn write(&mut self, cid: &str, data: &[u8]) {
        let capture_us = self.now().unix_us;
        self.order(Order::Write { cid: cid.into(), data: data.into(), capture_us });
    }

    /// A receive section of the client; it carries `track` from now on.
    fn subscribe(&mut self, kind: MediaKind, track: &str) -> Mid {
        let sections: Vec<Mid> = self
            .server_events
            .iter()
            .filter_map(|event| match event {
                Event::MediaAdded(added) if added.kind == kind => Some(added.mid),
                _ => None,
            })
            .collect();
        let mid = sections[0];
        self.order(Order::RequireSections { audio: 1, video: 0 });
        self.order(Order::CreateOffer { restart_ice: false });
        self.answer(&[(mid, track)]);
        mid
    }

    /// The server sends a frame that it captured just now.
    fn send(&mut self, mid: Mid, codec: Codec, data: &[u8]) {
        let now = self.now();
        let writer = self.server.writer(mid).unwrap();
        let pt = writer.payload_params().find(|params| params.spec().codec == codec).unwrap().pt();
        let rate = if codec.is_audio() { 48_000 } else { 90_000 };
        let time = MediaTime::new(
            self.elapsed.as_micros() as u64 * rate / 1_000_000,
            str0m::media::Frequency::new(rate as u32).unwrap(),
        );
        writer.write(pt, now.instant, time, data).unwrap();
        self.drain();
    }
}

fn keyframe() -> Vec<u8> {
    rtcloud_client::probe::access_unit(4, 1100, true, 1)
}

fn other_frame() -> Vec<u8> {
    rtcloud_client::probe::access_unit(4, 1100, false, 1)
}

#[test]
fn the_first_offer_has_channels_and_receive_sections_and_no_candidates() {
    let mut world = World::new(PeerConfig::default());
    world.order(Order::CreateOffer { restart_ice: false });
    let offer = &world.offers[0].1;
    assert_eq!(offer.matches("m=audio").count(), 3);
    assert_eq!(offer.matches("m=video").count(), 3);
    assert_eq!(offer.matches("m=application").count(), 1);
    assert_eq!(offer.matches("a=recvonly").count(), 6);
    assert!(!offer.contains("a=candidate"));
}

#[test]
fn a_published_track_arrives_with_its_capture_times() {
    let mut world = World::joined();
    world.publish("cam", Codec::H264);
    world.run_for(Duration::from_millis(100));
    let mut captured = Vec::new();
    for index in 0..20 {
        captured.push(world.now().unix_us);
        world.write("cam", &if index == 0 { keyframe() } else { other_frame() });
        world.run_for(Duration::from_millis(35));
    }
    let mut report = None;
    let mut frames = Vec::new();
    for event in &world.server_events {
        match event {
            Event::SenderFeedback(feedback) => {
                let unix_us =
                    feedback.sender_info.ntp_time.duration_since(UNIX_EPOCH).unwrap().as_micros() as i64;
                assert!(feedback.sender_info.sender_packet_count > 0, "a report before the first packet");
                report = report
                    .or_else(|| Some((feedback.sender_info.rtp_time.numer() as u32, unix_us, frames.len())));
            }
            Event::MediaData(data) => {
                assert!(data.contiguous);
                frames.push((data.time.numer() as u32, data.is_keyframe()));
            }
            _ => {}
        }
    }
    assert_eq!(frames.len(), 20);
    assert!(frames[0].1);
    let (rtp_time, unix_us, after) = report.expect("a sender report");
    assert!(after <= 1, "the first report came after {after} frames");
    for ((time, _), captured) in frames.iter().zip(captured) {
        let at = unix_us + i64::from(time.wrapping_sub(rtp_time) as i32) * 100 / 9;
        assert!(at.abs_diff(captured as i64) < 2_000, "{at} {captured}");
    }
}

#[test]
fn received_frames_carry_track_keyframe_and_capture_time_from_the_first_on() {
    let mut world = World::joined();
    let video = world.subscribe(MediaKind::Video, "TR_video");
    let audio = world.subscribe(MediaKind::Audio, "TR_audio");
    world.run_for(Duration::from_millis(200));
    // the second exchange named the audio track alone: both must be named
    world.order(Order::CreateOffer { restart_ice: true });
    world.answer(&[(video, "TR_video"), (audio, "TR_audio")]);
    world.run_for(Duration::from_millis(200));
    let mut captured = Vec::new();
    for index in 0..50 {
        captured.push(world.now().unix_us);
        world.send(video, Codec::H264, &if index == 0 { keyframe() } else { other_frame() });
        world.send(audio, Codec::Opus, &[0xfc, 1, 2, 3]);
        world.run_for(Duration::from_millis(20));
    }
    for (track, is_video) in [("TR_video", true), ("TR_audio", false)] {
        let frames: Vec<&Frame> = world.frames.iter().filter(|frame| frame.track == track).collect();
        assert!(frames.len() >= 49, "{} frames of {track}", frames.len());
        for (index, frame) in frames.iter().enumerate() {
            assert_eq!(frame.keyframe, !is_video || index == 0);
            assert!(frame.contiguous);
            let capture_us = frame.capture_us.expect("a capture time");
            assert!(capture_us.abs_diff(captured[index]) < 2_000);
            assert!(frame.arrival_us >= captured[index]);
        }
    }
    assert_eq!(*world.frames.iter().find(|frame| frame.video).unwrap().data, *keyframe());
}

#[test]
fn data_goes_both_ways() {
    let mut world = World::joined();
    world.order(Order::SendData { packet: b"kept".to_vec(), reliable: true });
    world.order(Order::SendData { packet: b"perhaps".to_vec(), reliable: false });
    world.run_for(Duration::from_millis(300));
    let mut labels = Vec::new();
    let mut received = Vec::new();
    for event in &world.server_events {
        match event {
            Event::ChannelOpen(id, label) => labels.push((*id, label.clone())),
            Event::ChannelData(data) => received.push((data.id, data.data.clone())),
            _ => {}
        }
    }
    let id = |label: &str| labels.iter().find(|(_, name)| name == label).unwrap().0;
    assert_eq!(received.len(), 2);
    assert!(received.contains(&(id("_reliable"), b"kept".to_vec())));
    assert!(received.contains(&(id("_lossy"), b"perhaps".to_vec())));
    assert!(world.server.channel(id("_lossy")).unwrap().write(true, b"back").unwrap());
    world.run_for(Duration::from_millis(100));
    assert!(world.events.contains(&PeerEvent::Data { packet: b"back".to_vec(), reliable: false }));
}

#[test]
fn data_beyond_the_window_waits_and_arrives() {
    let mut world = World::joined();
    for _ in 0..40 {
        world.order(Order::SendData { packet: vec![7; 60_000], reliable: true });
    }
    world.run_for(Duration::from_secs(5));
    let bytes: usize = world
        .server_events
        .iter()
        .map(|event| if let Event::ChannelData(data) = event { data.data.len() } else { 0 })
        .sum();
    assert_eq!(bytes, 40 * 60_000);
    assert_eq!(world.client.backlog_bytes(), 0);
}

#[test]
fn keyframes_are_asked_for_in_both_directions() {
    let mut world = World::joined();
    world.publish("cam", Codec::H264);
    let mid = world.subscribe(MediaKind::Video, "TR_video");
    world.run_for(Duration::from_millis(100));
    world.write("cam", &keyframe());
    world.send(mid, Codec::H264, &other_frame());
    world.run_for(Duration::from_millis(200));
    let asked = |world: &World| {
        world.server_events.iter().filter(|event| matches!(event, Event::KeyframeRequest(_))).count()
    };
    assert_eq!(asked(&world), 1, "a track that starts without a keyframe");
    world.send(mid, Codec::H264, &keyframe());
    world.run_for(Duration::from_millis(600));
    world.order(Order::RequestKeyframe { track: "TR_video".into() });
    world.run_for(Duration::from_millis(200));
    assert_eq!(asked(&world), 2);
    let published = world.server_events.iter().find_map(|event| match event {
        Event::MediaData(data) => Some(data.mid),
        _ => None,
    });
    world
        .server
        .writer(published.expect("media of ours"))
        .unwrap()
        .request_keyframe(None, KeyframeRequestKind::Pli)
        .unwrap();
    world.run_for(Duration::from_millis(100));
    assert!(world.events.contains(&PeerEvent::KeyframeRequested { cid: "cam".into() }));
}

#[test]
fn lost_packets_are_sent_again() {
    let mut world = World::joined();
    let mid = world.subscribe(MediaKind::Video, "TR_video");
    world.run_for(Duration::from_millis(100));
    world.send(mid, Codec::H264, &keyframe());
    world.run_for(Duration::from_millis(100));
    for index in 0..30 {
        if index == 5 {
            world.lose = vec![1, 2];
        }
        world.send(mid, Codec::H264, &other_frame());
        world.run_for(Duration::from_millis(30));
    }
    world.run_for(Duration::from_millis(500));
    assert_eq!(world.frames.len(), 31);
    assert!(world.frames.iter().all(|frame| frame.contiguous));
}

#[test]
fn a_removed_track_leaves_its_section_to_the_next() {
    let mut world = World::joined();
    for round in 0..5 {
        let cid = format!("cid-of-round-{round}");
        world.publish(&cid, Codec::H264);
        world.run_for(Duration::from_millis(100));
        world.server_events.clear();
        world.write(&cid, &keyframe());
        world.run_for(Duration::from_millis(100));
        assert!(
            world.server_events.iter().any(|event| matches!(event, Event::MediaData(_))),
            "round {round}"
        );
        world.order(Order::RemoveTrack { cid: cid.clone() });
        world.order(Order::CreateOffer { restart_ice: false });
        let offer = world.answer(&[]);
        assert_eq!(offer.matches("m=video").count(), 4);
        assert_eq!(offer.matches("a=sendonly").count(), 0);
        world.run_for(Duration::from_millis(50));
    }
}

#[test]
fn an_exchange_asked_for_meanwhile_follows_the_answer() {
    let mut world = World::joined();
    world.order(Order::AddTrack { cid: "one".into(), stream: "s".into(), codec: Codec::Opus });
    world.order(Order::CreateOffer { restart_ice: false });
    world.order(Order::AddTrack { cid: "two".into(), stream: "s".into(), codec: Codec::Vp8 });
    world.order(Order::CreateOffer { restart_ice: false });
    assert_eq!(world.offers.len(), 1);
    let first = world.answer(&[]);
    assert!(first.contains(" one") && !first.contains(" two"));
    let second = world.answer(&[]);
    assert!(second.contains(" one") && second.contains(" two"));
    assert!(world.offers.is_empty());
}

#[test]
fn an_ice_restart_keeps_the_media_and_gives_up_the_offer_before() {
    let mut world = World::joined();
    world.publish("cam", Codec::H264);
    world.run_for(Duration::from_millis(100));
    world.order(Order::AddTrack { cid: "mic".into(), stream: "s".into(), codec: Codec::Opus });
    world.order(Order::CreateOffer { restart_ice: false });
    let given_up = world.offers.pop().unwrap();
    world.order(Order::CreateOffer { restart_ice: true });
    let offer = world.answer(&[]);
    assert!(offer.contains(" mic"));
    let events = world.events.len();
    world.order(Order::AcceptAnswer { request: given_up.0, sdp: given_up.1, mid_to_track: vec![] });
    assert_eq!(world.events.len(), events, "the answer to an offer that was given up says nothing");
    world.run_for(Duration::from_secs(2));
    world.server_events.clear();
    world.write("cam", &keyframe());
    world.write("mic", &[0xfc, 1, 2]);
    world.run_for(Duration::from_millis(100));
    let media = world.server_events.iter().filter(|event| matches!(event, Event::MediaData(_))).count();
    assert_eq!(media, 2);
}

#[test]
fn an_unusable_answer_is_told_and_nothing_panics() {
    for sdp in ["", "v=0", "m=audio 9\r\n", "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"] {
        let mut world = World::new(PeerConfig::default());
        world.order(Order::CreateOffer { restart_ice: false });
        let (request, _) = world.offers.pop().unwrap();
        world.order(Order::AcceptAnswer { request, sdp: sdp.into(), mid_to_track: vec![] });
        assert!(matches!(world.events[..], [PeerEvent::AnswerRejected { request: 1, .. }]), "{sdp:?}");
    }
}

#[test]
fn malformed_datagrams_are_ignored() {
    let mut world = World::joined();
    let now = world.now();
    for length in 0..200 {
        for first in [0u8, 1, 20, 22, 63, 64, 128, 129, 144, 191, 192, 255] {
            let mut datagram = vec![first; length];
            if let Some(second) = datagram.get_mut(1) {
                *second = 200;
            }
            world.client.handle_datagram(SERVER.into(), CLIENT.into(), &datagram, now).unwrap();
            world.drain();
        }
    }
    assert!(world.client.is_connected());
}

#[test]
fn frames_that_are_none_cost_their_track_a_keyframe_and_nobody_else_anything() {
    let mut world = World::joined();
    let hostile = world.subscribe(MediaKind::Video, "TR_hostile");
    let honest = world.subscribe(MediaKind::Audio, "TR_honest");
    world.run_for(Duration::from_millis(200));
    world.order(Order::CreateOffer { restart_ice: true });
    world.answer(&[(hostile, "TR_hostile"), (honest, "TR_honest")]);
    world.run_for(Duration::from_millis(200));
    for index in 0..40 {
        let kind = [0, 26, 31][index % 3];
        let nonsense = [0, 0, 0, 1, kind, 1, 2, 3];
        world.send(hostile, Codec::H264, if index == 0 { &[0, 0, 0, 1, 0x65, 1, 2] } else { &nonsense });
        world.send(honest, Codec::Opus, &[0xfc, 1, 2, 3]);
        world.run_for(Duration::from_millis(20));
    }
    assert!(!world.client.has_failed());
    assert!(world.frames.iter().filter(|frame| frame.track == "TR_honest").count() >= 39);
    world.send(hostile, Codec::H264, &keyframe());
    world.run_for(Duration::from_millis(100));
    assert_eq!(*world.frames.iter().rfind(|frame| frame.video).unwrap().data, *keyframe());
}

#[test]
fn a_server_that_falls_silent_is_told_as_lost_and_then_failed() {
    let mut world = World::joined();
    let step = |world: &mut World| {
        world.elapsed += Duration::from_millis(50);
        let now = world.now();
        world.client.handle_timeout(now).unwrap();
        world.drain();
        world.to_server.clear();
        world.to_client.clear();
    };
    for _ in 0..2000 {
        step(&mut world);
    }
    let states: Vec<TransportState> = world
        .events
        .iter()
        .filter_map(|event| if let PeerEvent::State { state, .. } = event { Some(*state) } else { None })
        .collect();
    assert_eq!(states, [TransportState::Connected, TransportState::Disconnected, TransportState::Failed]);
}

#[test]
fn counting_measures_the_delay_of_marked_packets() {
    let mut world = World::new(PeerConfig { count_only: true, ..PeerConfig::default() });
    world.order(Order::CreateOffer { restart_ice: false });
    world.answer(&[]);
    world.run_until("connected", |world| world.client.is_connected());
    let mid = world.subscribe(MediaKind::Video, "TR_video");
    assert_eq!(world.server.media(mid).unwrap().direction(), Direction::SendOnly);
    let unix_us = world.now().unix_us;
    world.send(mid, Codec::H264, &rtcloud_client::probe::access_unit(9, 1100, false, unix_us));
    world.run_for(Duration::from_millis(100));
    let stats = world.counters.stats();
    assert_eq!((stats.packets_received, stats.frames_received), (9, 1));
    assert_eq!(stats.delays.iter().sum::<u64>(), 9);
    assert!(world.frames.is_empty());
}
