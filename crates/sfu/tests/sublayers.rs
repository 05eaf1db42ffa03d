//! Layers within one stream: VP9 in size and time, VP8 in time.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod world;

use std::time::Duration;

use rtcloud_sfu::{Command, Event, Kind, Layer, TrackId};
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::rtp::RtpPacket;

use world::{World, is_run};

const MS: Duration = Duration::from_millis(1);
const SIZES: [(u32, u32); 3] = [(320, 180), (640, 360), (1280, 720)];

/// Alice sends layers in one stream; Bob gets it.
struct Scene {
    world: World,
    alice: usize,
    bob: usize,
    mid: Mid,
    pt: Pt,
    picture: u16,
    seq: u64,
}

fn scene(codec: Codec, name: &str) -> Scene {
    let mut world = World::new();
    let alice = world.join("alice", Duration::ZERO);
    let layer = |(n, (width, height)): (usize, (u32, u32))| Layer {
        rid: ["q", "h", "f"][n].to_owned(),
        width,
        height,
        bitrate: 0,
    };
    world.command(Command::PublishTrack {
        participant: "alice".into(),
        track: "camera".into(),
        cid: "cam".to_owned(),
        kind: Kind::Video,
        stream: Default::default(),
        codec: name.to_owned(),
        layers: SIZES.into_iter().enumerate().map(layer).collect(),
        muted: false,
    });
    let mut mid = None;
    world.offer(alice, |api| {
        let stream = Some("stream".to_owned());
        mid = Some(api.add_media(MediaKind::Video, Direction::SendOnly, stream, Some("cam".into()), None));
    });
    world.connect(alice);
    let bob = world.watch("bob", "camera");
    let mid = mid.unwrap();
    let negotiated = world.clients[alice].rtc.media(mid).unwrap().remote_pts().to_vec();
    let params = world.clients[alice].rtc.codec_config().params().to_vec();
    let pt = params.iter().find(|p| p.spec().codec == codec && negotiated.contains(&p.pt())).unwrap().pt();
    Scene { world, alice, bob, mid, pt, picture: 0x7ff0, seq: 500 }
}

impl Scene {
    /// One picture of three layers, each of two packets, as Chromium sends it in mode L3T3_KEY.
    fn send_vp9(&mut self, key: bool) {
        let temporal = self.temporal(key);
        for spatial in 0..3u8 {
            for half in 0..2u8 {
                let predicted = if key { 0 } else { 0x40 };
                let first =
                    0xa0 | predicted | (0x08 >> half) | if key && spatial == 0 && half == 0 { 2 } else { 0 };
                // In this mode only key pictures build on the layer below.
                let stacked = u8::from(key && spatial > 0);
                let switch = if temporal == 0 { 0x10 } else { 0 };
                let mut payload = vec![first, 0x80 | (self.picture >> 8) as u8, self.picture as u8];
                payload.extend_from_slice(&[temporal << 5 | switch | spatial << 1 | stacked, 0]);
                if first & 2 != 0 {
                    payload.push(0x50);
                    payload.extend_from_slice(&[0; 12]);
                }
                payload.extend_from_slice(&[0x82; 200]);
                self.send(spatial == 2 && half == 1, payload);
            }
        }
        self.advance();
    }

    /// One picture of two packets, with three layers in time.
    fn send_vp8(&mut self, key: bool) {
        let temporal = self.temporal(key);
        // Of four pictures the second and third refer to the first alone.
        let sync = matches!(self.picture % 4, 1 | 2);
        for half in 0..2u8 {
            let start = if half == 0 { 0x90 } else { 0x80 };
            let mut payload = vec![start, 0xe0, 0x80 | (self.picture >> 8) as u8, self.picture as u8, 9];
            payload.extend_from_slice(&[temporal << 6 | u8::from(sync) << 5, u8::from(!key)]);
            payload.extend_from_slice(&[0; 200]);
            self.send(half == 1, payload);
        }
        self.advance();
    }

    fn temporal(&self, key: bool) -> u8 {
        if key { 0 } else { [0, 2, 1, 2][usize::from(self.picture % 4)] }
    }

    fn send(&mut self, marker: bool, payload: Vec<u8>) {
        self.seq += 1;
        let time = (self.seq / 1000) as u32 + (self.world.now - self.world.start).as_millis() as u32 * 90;
        self.world.send_raw(self.alice, self.mid, self.pt, self.seq, time, marker, payload);
    }

    fn advance(&mut self) {
        self.picture = (self.picture + 1) & 0x7fff;
        self.world.run(33 * MS);
    }

    fn wish(&mut self, width: u32, height: u32, fps: u32) {
        self.world.command(Command::SetSubscription {
            participant: "bob".into(),
            track: TrackId::from("camera"),
            enabled: true,
            width,
            height,
            fps,
        });
    }

    /// What has come since so many packets.
    fn since(&self, before: usize) -> Vec<&RtpPacket> {
        self.world.clients[self.bob].packets[before..].iter().collect()
    }

    fn came(&self) -> usize {
        self.world.clients[self.bob].packets.len()
    }

    fn keys_wanted(&self) -> usize {
        self.world.clients[self.alice].keyframes_wanted.len()
    }

    fn told(&self) -> Vec<(u32, u32)> {
        let size = |e: &Event| match e {
            Event::Receiving { width, height, .. } => Some((*width, *height)),
            _ => None,
        };
        self.world.events.iter().filter_map(size).collect()
    }
}

fn spatial(packet: &RtpPacket) -> u8 {
    packet.payload[3] >> 1 & 0x07
}

#[test]
fn vp9_layers_follow_the_wanted_size() {
    let mut scene = scene(Codec::Vp9, "vp9");
    scene.wish(320, 180, 0);
    for n in 0..30 {
        scene.send_vp9(n == 0);
    }
    let small = scene.since(0);
    assert_eq!(small.len(), 60);
    assert!(small.iter().all(|p| spatial(p) == 0));
    assert_eq!(small.iter().filter(|p| p.header.marker).count(), 30, "each picture has its end");
    assert!(small.chunks(2).all(|p| p[1].header.marker));

    let (before, wanted) = (scene.came(), scene.keys_wanted());
    scene.wish(640, 360, 0);
    for _ in 0..5 {
        scene.send_vp9(false);
    }
    assert!(scene.since(before).iter().all(|p| spatial(p) == 0), "nothing that cannot be decoded");
    assert!(scene.keys_wanted() > wanted);
    let before = scene.came();
    for n in 0..10 {
        scene.send_vp9(n == 0);
    }
    let middle = scene.since(before);
    assert_eq!(middle.len(), 40);
    assert!(middle.chunks(4).all(|p| p[3].header.marker && !p[1].header.marker && spatial(p[3]) == 1));

    scene.wish(0, 0, 0);
    for n in 0..10 {
        scene.send_vp9(n == 0);
    }
    let before = scene.came();
    scene.wish(100, 100, 0);
    scene.send_vp9(false);
    assert_eq!(scene.since(before).len(), 2, "less is sent at once");
    scene.world.run(100 * MS);
    assert_eq!(scene.told(), [SIZES[0], SIZES[1], SIZES[2], SIZES[0]]);
    assert!(is_run(&scene.world.clients[scene.bob].sequences()));
    let keys = scene.keys_wanted();
    for _ in 0..30 {
        scene.send_vp9(false);
    }
    assert_eq!(scene.keys_wanted(), keys, "nobody needs one");
}

#[test]
fn vp9_pictures_above_the_wanted_rate_are_left_out() {
    let mut scene = scene(Codec::Vp9, "vp9");
    for n in 0..60 {
        scene.send_vp9(n == 0);
    }
    scene.wish(0, 0, 8);
    scene.world.run(200 * MS);
    let before = scene.came();
    for _ in 0..60 {
        scene.send_vp9(false);
    }
    let slow = scene.since(before);
    assert_eq!(slow.len(), 90);
    assert!(slow.iter().all(|p| p.payload[3] >> 5 == 0));
    scene.wish(0, 0, 0);
    let before = scene.came();
    for _ in 0..60 {
        scene.send_vp9(false);
    }
    let all = scene.since(before).len();
    assert!((340..=360).contains(&all), "{all}");
    assert!(is_run(&scene.world.clients[scene.bob].sequences()));
}

#[test]
fn vp8_pictures_above_the_wanted_rate_are_left_out_without_a_gap() {
    let mut scene = scene(Codec::Vp8, "vp8");
    for n in 0..60 {
        scene.send_vp8(n == 0);
    }
    scene.wish(0, 0, 15);
    scene.world.run(200 * MS);
    let before = scene.came();
    for _ in 0..60 {
        scene.send_vp8(false);
    }
    let slow = scene.since(before);
    assert_eq!(slow.len(), 60);
    assert!(slow.iter().all(|p| p.payload[5] >> 6 < 2));
    scene.wish(0, 0, 0);
    for _ in 0..60 {
        scene.send_vp8(false);
    }
    let all = scene.since(0);
    assert!(is_run(&scene.world.clients[scene.bob].sequences()));
    let ids: Vec<u16> =
        all.iter().map(|p| u16::from_be_bytes([p.payload[2], p.payload[3]]) & 0x7fff).collect();
    assert!(ids.chunks(2).all(|id| id[0] == id[1]));
    let firsts: Vec<u16> = ids.iter().step_by(2).copied().collect();
    assert!(firsts.windows(2).all(|w| w[1] == (w[0] + 1) & 0x7fff), "{firsts:?}");
    assert!(all.len() >= 2 * (60 + 30 + 50), "{}", all.len());
}
