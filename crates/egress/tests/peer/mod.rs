//! An [`Egress`] and the keys of its client, who says whatever a test wants it to.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use rtcloud_egress::{
    Egress, Extensions, Feedback, Heard, Keys, Options, Packet, Patch, Profile, Sealing, Sink, StreamConfig,
    StreamId,
};

pub(crate) const VIDEO: u32 = 0x1111;
pub(crate) const RTX: u32 = 0x2222;
pub(crate) const AUDIO: u32 = 0x3333;
pub(crate) const CLIENT: u32 = 0x9999;

/// Counts datagrams and keeps the newest.
pub(crate) struct Last {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
    room: Vec<u8>,
    len: usize,
}

impl Sink for Last {
    fn begin(&mut self, len: usize) -> &mut [u8] {
        &mut self.room[..len]
    }

    fn commit(&mut self, len: usize) {
        self.count += 1;
        self.bytes += len;
        self.len = len;
    }
}

impl Last {
    pub(crate) fn new() -> Self {
        Self { count: 0, bytes: 0, room: vec![0; 4096], len: 0 }
    }

    pub(crate) fn datagram(&self) -> &[u8] {
        &self.room[..self.len]
    }
}

pub(crate) struct Peer {
    pub(crate) now: Instant,
    pub(crate) egress: Egress,
    pub(crate) video: StreamId,
    pub(crate) audio: StreamId,
    pub(crate) sink: Last,
    pub(crate) feedback: Vec<Feedback>,
    sealing: Sealing,
    index: u32,
    payload: Arc<[u8]>,
    sound: Arc<[u8]>,
}

impl Peer {
    pub(crate) fn new(profile: Profile, rtx: bool) -> Self {
        let now = Instant::now();
        let unix = Duration::from_secs(1_700_000_000);
        let hold = Duration::from_millis(5);
        let mut egress = Egress::new(Options { padding: true, hold, origin: now, unix }, "somebody");
        let material: Vec<u8> = (0..100).collect();
        let (sealing, opening) = Keys::from_dtls(&material, profile, false).unwrap();
        egress.set_keys(sealing, opening);
        let video = egress.add_stream(StreamConfig {
            ssrc: VIDEO,
            rtx: rtx.then_some(RTX),
            video: true,
            mid: "1".to_owned(),
            clock_rate: 90_000,
        });
        let audio = egress.add_stream(StreamConfig {
            ssrc: AUDIO,
            rtx: None,
            video: false,
            mid: "0".to_owned(),
            clock_rate: 48_000,
        });
        let (twcc, mid) = (Some(3), Some(4));
        egress.set_extensions(video, Extensions { twcc, mid, ..Extensions::default() });
        egress.set_extensions(audio, Extensions { audio_level: Some(1), mid, ..Extensions::default() });
        Self {
            now,
            egress,
            video,
            audio,
            sink: Last::new(),
            feedback: Vec::new(),
            sealing: Keys::from_dtls(&material, profile, true).unwrap().0,
            index: 0,
            payload: Arc::from([7; 1100]),
            sound: Arc::from([7; 100]),
        }
    }

    pub(crate) fn write(&mut self, stream: StreamId, seq: u64, marker: bool) {
        let video = stream != self.audio;
        let packet = Packet {
            pt: if video { 96 } else { 111 },
            rtx_pt: video.then_some(97),
            seq,
            time: seq as u32 * 3000,
            marker,
            wall: self.now,
            payload: if video { &self.payload } else { &self.sound },
            patch: Patch::new(1, &[1, 2, 3]).unwrap(),
            level: Some((-20, true)),
            orientation: None,
            dependency: None,
            resend: video,
        };
        self.egress.write(stream, &packet, self.now);
    }

    /// One more stream of pictures, without repetitions.
    pub(crate) fn add_video(&mut self, ssrc: u32) -> StreamId {
        let config = StreamConfig { ssrc, rtx: None, video: true, mid: "2".to_owned(), clock_rate: 90_000 };
        self.egress.add_stream(config)
    }

    pub(crate) fn poll(&mut self) {
        self.egress.poll(self.now, &mut self.sink);
    }

    /// Packets of media, each sent at once.
    pub(crate) fn send(&mut self, numbers: std::ops::Range<u64>) {
        for seq in numbers {
            self.write(self.video, seq, true);
            self.poll();
        }
    }

    pub(crate) fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    /// The client sends a compound packet.
    pub(crate) fn say(&mut self, compound: &[u8]) -> Heard {
        let mut room = [0; 1500];
        room[..compound.len()].copy_from_slice(compound);
        self.index += 1;
        let len = self.sealing.seal_rtcp(&mut room, compound.len(), self.index).unwrap();
        self.egress.handle_rtcp(&room[..len], self.now, &mut self.feedback)
    }
}

/// One packet of RTCP from the client.
pub(crate) fn rtcp(count: u8, kind: u8, body: &[u8]) -> Vec<u8> {
    assert!(body.len().is_multiple_of(4));
    let mut packet = vec![0x80 | count, kind];
    packet.extend((1 + body.len() as u16 / 4).to_be_bytes());
    packet.extend(CLIENT.to_be_bytes());
    packet.extend(body);
    packet
}

pub(crate) fn nack(media: u32, pairs: &[(u16, u16)]) -> Vec<u8> {
    let mut body = media.to_be_bytes().to_vec();
    for (first, more) in pairs {
        body.extend(first.to_be_bytes());
        body.extend(more.to_be_bytes());
    }
    rtcp(1, 205, &body)
}

/// Feedback about `count` numbers, all received one step of 250 µs apart, in at most 13 bits.
pub(crate) fn received(base: u16, count: u16, reference: u32) -> Vec<u8> {
    transport(base, count, reference, &[0x2000 | count], &vec![1; count.into()])
}

/// The same as the feedback of this number.
pub(crate) fn received_as(number: u8, base: u16, count: u16) -> Vec<u8> {
    let mut feedback = received(base, count, 0);
    feedback[19] = number;
    feedback
}

pub(crate) fn transport(base: u16, count: u16, reference: u32, chunks: &[u16], deltas: &[u8]) -> Vec<u8> {
    let mut body = VIDEO.to_be_bytes().to_vec();
    body.extend(base.to_be_bytes());
    body.extend(count.to_be_bytes());
    body.extend((reference << 8).to_be_bytes());
    body.extend(chunks.iter().flat_map(|c| c.to_be_bytes()));
    body.extend(deltas);
    body.resize(body.len().next_multiple_of(4), 0);
    rtcp(15, 205, &body)
}

/// A report block about one of our streams.
pub(crate) fn report(ssrc: u32, fraction: u8, last: u32, delay: u32) -> Vec<u8> {
    let mut body = ssrc.to_be_bytes().to_vec();
    body.extend([fraction, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0, 90]);
    body.extend(last.to_be_bytes());
    body.extend(delay.to_be_bytes());
    rtcp(1, 201, &body)
}
