//! What is sent to one client, and what it says of it: everything here is authentic, from a client that means harm.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtcloud_bandwidth::{Allocator, Budget, Class, Estimator, Limits, PacketResult, Want};
use rtcloud_egress::{
    Egress, Extensions, Feedback, Heard, Keys, Options, Pacing, Packet, Patch, Profile, Sealing, Sink,
    StreamConfig, StreamId,
};

const VIDEO: u32 = 0x1111;
const RTX: u32 = 0x2222;
const AUDIO: u32 = 0x3333;
const CLIENT: u32 = 0x9999;
const PROFILES: [Profile; 3] = [Profile::Aes128CmSha1_80, Profile::AeadAes128Gcm, Profile::AeadAes256Gcm];

/// Looks at all that leaves: under one number of one SSRC there is one datagram.
#[derive(Default)]
struct Watching {
    room: Vec<u8>,
    bytes: usize,
    seen: HashMap<(u32, u16), Vec<u8>>,
    reports: HashMap<(u32, Vec<u8>), Vec<u8>>,
}

impl Sink for Watching {
    fn begin(&mut self, len: usize) -> &mut [u8] {
        self.room.clear();
        self.room.resize(len, 0xaa);
        &mut self.room
    }

    fn commit(&mut self, len: usize) {
        self.bytes += len;
        let datagram = &self.room[..len];
        let word = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|n| datagram[at + n]));
        if (192..224).contains(&datagram[1]) {
            // With GCM the index is last, before that there is no telling; both hold it within the last 14 bytes.
            let tail = datagram[len - 14..].to_vec();
            assert!(
                self.reports.insert((word(4), tail), datagram.to_vec()).is_none(),
                "a report's number again"
            );
        } else {
            let number = u16::from_be_bytes([datagram[2], datagram[3]]);
            let before = self.seen.insert((word(8), number), datagram.to_vec());
            assert!(
                before.is_none_or(|before| before == datagram),
                "other contents under a number that was used"
            );
        }
    }
}

struct Session {
    now: Instant,
    egress: Egress,
    video: StreamId,
    audio: StreamId,
    sink: Watching,
    feedback: Vec<Feedback>,
    client: Sealing,
    index: u32,
    payload: Arc<[u8]>,
}

impl Session {
    fn new(profile: Profile, rtx: bool) -> Option<Self> {
        let now = Instant::now();
        let (unix, hold) = (Duration::from_secs(1_700_000_000), Duration::from_millis(5));
        let mut egress = Egress::new(Options { padding: true, hold, origin: now, unix }, "somebody");
        let material: Vec<u8> = (0..100).collect();
        let (sealing, opening) = Keys::from_dtls(&material, profile, false)?;
        let (client, _) = Keys::from_dtls(&material, profile, true)?;
        egress.set_keys(sealing, opening);
        let config = |ssrc, rtx, video| {
            let (mid, clock_rate) = ("0".to_owned(), if video { 90_000 } else { 48_000 });
            StreamConfig { ssrc, rtx, video, mid, clock_rate }
        };
        let video = egress.add_stream(config(VIDEO, rtx.then_some(RTX), true));
        let audio = egress.add_stream(config(AUDIO, None, false));
        let (twcc, mid) = (Some(3), Some(4));
        egress.set_extensions(video, Extensions { twcc, mid, ..Extensions::default() });
        egress.set_extensions(audio, Extensions { audio_level: Some(1), mid, ..Extensions::default() });
        let (sink, feedback) = (Watching::default(), Vec::new());
        Some(Self { now, egress, video, audio, sink, feedback, client, index: 0, payload: [7; 900].into() })
    }

    fn write(&mut self, stream: StreamId, seq: u64, marker: bool, payload: &Arc<[u8]>, patch: Patch) {
        let video = stream == self.video;
        let packet = Packet {
            pt: if video { 96 } else { 111 },
            rtx_pt: video.then_some(97),
            seq,
            time: (seq as u32).wrapping_mul(3000),
            marker,
            wall: self.now,
            payload,
            patch,
            level: Some((-20, true)),
            orientation: None,
            dependency: None,
            resend: true,
        };
        self.egress.write(stream, &packet, self.now);
    }

    fn send(&mut self, from: u64, count: u64) {
        let payload = Arc::clone(&self.payload);
        for seq in from..from + count {
            self.write(self.video, seq, true, &payload, Patch::NONE);
            self.write(self.audio, seq, true, &payload, Patch::NONE);
            self.poll();
        }
    }

    fn poll(&mut self) {
        self.egress.poll(self.now, &mut self.sink);
        assert!(self.egress.next_timeout().is_none_or(|at| at > self.now), "nothing is left to do at once");
    }

    fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        self.poll();
    }

    /// The client says something, well sealed.
    fn say(&mut self, compound: &[u8]) -> Heard {
        let mut room = [0; 1540];
        let len = compound.len().clamp(8, 1400);
        let said = compound.len().min(len);
        room[..said].copy_from_slice(&compound[..said]);
        self.index += 1;
        let Some(len) = self.client.seal_rtcp(&mut room, len, self.index) else { return Heard::Strange };
        self.feedback.clear();
        let heard = self.egress.handle_rtcp(&room[..len], self.now, &mut self.feedback);
        assert_ne!(heard, Heard::Strange, "it was authentic");
        assert!(self.feedback.len() <= 512 && self.egress.results().len() <= 20_000);
        assert_eq!(
            self.egress.handle_rtcp(&room[..len], self.now, &mut self.feedback),
            Heard::Strange,
            "once only"
        );
        heard
    }
}

fn packet(count: u8, kind: u8, body: &[u8]) -> Vec<u8> {
    let words = (body.len() / 4) as u16;
    [&[0x80 | count, kind][..], &words.to_be_bytes(), body].concat()
}

/// A compound packet of a client that gets a few streams: what leaves for it is bounded.
pub fn rtcp(input: &[u8]) {
    let Some((way, said)) = input.split_first() else { return };
    let profile = PROFILES[usize::from(way & 3).min(2)];
    let Some(mut session) = Session::new(profile, way & 4 != 0) else { return };
    session.send(10, 40);
    let media = session.sink.bytes;
    for compound in said.chunks(1400) {
        for _ in 0..3 {
            session.say(compound);
            session.pass(20);
        }
    }
    session.pass(2000);
    assert!(session.sink.bytes <= media * 2 + 64 * 1024, "{} of {media}", session.sink.bytes);
}

pub fn rtcp_seeds() -> Vec<Vec<u8>> {
    let (client, video) = (CLIENT.to_be_bytes(), VIDEO.to_be_bytes());
    let about = |rest: &[u8]| [&client[..], &video, rest].concat();
    let report = about(&[0x20, 0, 0, 3, 0, 0, 0, 40, 0, 0, 1, 0, 1, 2, 3, 4, 0, 0, 0, 9]);
    let blocks = [
        packet(1, 201, &report),
        packet(1, 202, &[&client[..], &[1, 2, b'a', b'b', 0, 0, 0, 0]].concat()),
        packet(1, 205, &about(&[0, 10, 0xff, 0xff, 0, 30, 0, 255])),
        packet(1, 206, &about(&[])),
        packet(4, 206, &[&client[..], &[0; 4], &video, &[7, 0, 0, 0]].concat()),
        packet(15, 206, &[&client[..], &[0; 4], b"REMB", &[1, 0x0b, 0xff, 0xff], &video].concat()),
        packet(0, 207, &[&client[..], &[4, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8]].concat()),
        packet(0, 200, &[&client[..], &[0; 20]].concat()),
        packet(1, 203, &client),
        packet(15, 205, &about(&[0, 0, 0, 20, 0, 0, 1, 0, 0x20, 20, 1, 1, 1, 1, 1, 1])),
    ];
    let all = (0..8).map(|way| [&[way][..], &blocks.concat()].concat());
    all.chain(blocks.iter().map(|block| [&[5][..], block].concat())).collect()
}

/// Datagrams that nobody sealed: nothing of them is believed.
pub fn srtcp(input: &[u8]) {
    for profile in PROFILES {
        let Some(mut session) = Session::new(profile, true) else { return };
        assert_eq!(session.egress.handle_rtcp(input, session.now, &mut session.feedback), Heard::Strange);
        assert!(session.feedback.is_empty());
    }
    for profile in PROFILES {
        for we_are_client in [true, false] {
            let _ = Keys::from_dtls(input, profile, we_are_client);
        }
    }
}

pub fn srtcp_seeds() -> Vec<Vec<u8>> {
    let plain = packet(1, 206, &[0, 0, 0x99, 0x99, 0, 0, 0x11, 0x11]);
    let index = [0x80, 0, 0, 1];
    vec![
        [&plain[..], &[7; 16], &index].concat(),
        [&plain[..], &index, &[7; 10]].concat(),
        [&plain[..4], &[0; 4], &index, &[0; 10]].concat(),
        (0..88).collect(),
    ]
}

/// Feedback on transport-wide numbers, several times: how many are sent before, how long after, and the contents.
pub fn twcc(input: &[u8]) {
    let Some(mut session) = Session::new(Profile::AeadAes128Gcm, true) else { return };
    let mut estimator = Estimator::new(Limits::default(), session.now);
    let (mut rest, mut next) = (input, 10);
    for _ in 0..16 {
        let [sent, millis, length, tail @ ..] = rest else { break };
        session.send(next, u64::from(*sent));
        next += u64::from(*sent);
        session.pass(u64::from(*millis) * 10);
        let (contents, after) = tail.split_at(usize::from(*length).min(tail.len()));
        let mut body = [&CLIENT.to_be_bytes()[..], &[0; 4], contents].concat();
        body.resize(body.len().next_multiple_of(4), 0);
        session.say(&packet(15, 205, &body));
        for result in session.egress.results() {
            assert!(result.sent_at <= session.now && result.number < next);
        }
        estimator.handle_sent(usize::from(*sent) * 900, session.now);
        estimator.handle_feedback(session.egress.results(), session.now);
        check(&estimator);
        if let Some(probe) = estimator.probe(5_000_000, true, session.now) {
            session.egress.probe(probe.cluster, probe.bitrate, probe.bytes);
        }
        rest = after;
    }
}

pub fn twcc_seeds() -> Vec<Vec<u8>> {
    let told = |base: u8, count: u8, chunks: &[u8], deltas: &[u8]| {
        let body = [&[0, base, 0, count, 0, 0, 1, base][..], chunks, deltas].concat();
        [&[count, 10, body.len() as u8][..], &body].concat()
    };
    vec![
        [told(0, 20, &[0x20, 20], &[4; 20]), told(20, 20, &[0x00, 5, 0x20, 15], &[4; 15])].concat(),
        [told(0, 14, &[0xbf, 0xff], &[1; 14]), told(14, 7, &[0xe6, 0x66], &[0, 1, 2, 3, 4, 5, 6, 7])]
            .concat(),
        told(250, 255, &[0x5f, 0xff], &[0xff; 60]),
    ]
}

/// Packets to send, of any numbers and sizes.
pub fn packets(input: &[u8]) {
    let Some((way, mut rest)) = input.split_first() else { return };
    let profile = PROFILES[usize::from(way & 3).min(2)];
    let Some(mut session) = Session::new(profile, way & 4 != 0) else { return };
    let mut seq = 0u64;
    for _ in 0..200 {
        let [what, step, size, tail @ ..] = rest else { break };
        seq = seq.wrapping_add_signed(i64::from(step.cast_signed()));
        let payload: Arc<[u8]> = vec![*step; usize::from(*size) * 6].into();
        let (patch, after) = tail.split_at(usize::from(what >> 5).min(tail.len()));
        let patch = Patch::new(*size, patch).unwrap_or(Patch::NONE);
        let stream = if what & 1 == 0 { session.video } else { session.audio };
        // Sequence numbers begin again only after more packets than there are here.
        session.write(stream, seq & 0xffff, what & 2 != 0, &payload, patch);
        match what & 12 {
            0 => session.poll(),
            4 => session.pass(u64::from(*size)),
            8 => {
                let id = Some(*step).filter(|id| *id > 0);
                session
                    .egress
                    .set_extensions(stream, Extensions { twcc: id, mid: id, ..Extensions::default() });
            }
            _ => {
                let about = [CLIENT.to_be_bytes(), VIDEO.to_be_bytes(), [0, *step, 255, 255]].concat();
                let rate = |bit: u8| (*size & bit != 0).then(|| u64::from(*step) << 10);
                session.egress.set_pacing(Pacing { repetitions: rate(1), pictures: rate(2) });
                if *size & 16 == 16 {
                    session.egress.give_up(stream);
                }
                session.say(&packet(1, 205, &about));
            }
        }
        rest = after;
    }
    session.pass(3000);
}

pub fn packet_seeds() -> Vec<Vec<u8>> {
    let run: Vec<u8> = (0..40).flat_map(|n| [n & 0x0f, 1, 150 + n % 4]).collect();
    vec![
        [&[1][..], &run].concat(),
        [&[6][..], &run].concat(),
        [&[0][..], &[0x6e, 0xff, 9, 1, 2, 3].repeat(20)].concat(),
    ]
}

fn check(estimator: &Estimator) {
    let limits = Limits::default();
    assert!((limits.floor..=limits.ceiling).contains(&estimator.bitrate()), "{}", estimator.bitrate());
}

/// What was told of packets, whatever it is, and time that passes.
pub fn bandwidth(input: &[u8]) {
    let origin = Instant::now();
    let mut now = origin;
    let mut estimator = Estimator::new(Limits::default(), now);
    let mut results = Vec::new();
    let mut number = 0u64;
    for op in input.chunks_exact(8).take(512) {
        let value = u32::from_be_bytes([op[4], op[5], op[6], op[7]]);
        now += Duration::from_millis(op[3].into());
        match op[0] % 8 {
            0..=3 => {
                number = number.wrapping_add_signed(i64::from(op[1].cast_signed()) << (op[2] % 48));
                let far = Duration::from_micros(u64::from(value) << (op[2] % 40));
                results.push(PacketResult {
                    number,
                    sent_at: now.checked_sub(Duration::from_millis(value.into())).unwrap_or(now),
                    size: usize::from(op[1]) << (op[2] % 20),
                    arrival: (op[0] & 16 == 0).then_some(far),
                    probe: (op[0] & 32 != 0).then_some(op[1].into()),
                });
            }
            4 => estimator.handle_sent(value as usize, now),
            5 => {
                estimator.handle_loss(f32::from_bits(value), now);
                estimator.handle_remb(u64::from(value) << (op[2] % 33), now);
                estimator.handle_rtt(Duration::from_micros(value.into()));
            }
            6 => {
                estimator.handle_feedback(&results, now);
                results.clear();
            }
            _ => {
                estimator.handle_timeout(now);
                let probe = estimator.probe(u64::from(value) << (op[2] % 33), true, now);
                assert!(probe.is_none_or(|probe| probe.bytes <= 1 << 20));
            }
        }
        check(&estimator);
    }
}

pub fn bandwidth_seeds() -> Vec<Vec<u8>> {
    let packet = |n: u8| [0, 1, 8, 5, 0, 0, n * 20, 0];
    let steady: Vec<u8> = (1..12)
        .flat_map(|n| [packet(n), [4, 0, 0, 1, 0, 0, 4, 0], [6, 0, 0, 1, 0, 0, 0, 0]].concat())
        .collect();
    let probing = [&[7, 0, 3, 9, 0, 0xff, 0, 0][..], &steady, &[7, 0, 3, 9, 0, 0xff, 0, 0]].concat();
    vec![steady, probing, [5, 0, 9, 1, 0x3e, 0, 0, 0].repeat(3)]
}

/// Which layers get what there is.
pub fn allocation(input: &[u8]) {
    let mut now = Instant::now();
    let mut allocator = Allocator::new();
    let mut grants = Vec::new();
    for op in input.chunks_exact(8).take(256) {
        now += Duration::from_millis(u64::from(op[1]) * 50);
        let layers: Vec<Vec<u64>> = op
            .iter()
            .map(|byte| (0..u64::from(byte % 5)).map(|n| (n + 1) * u64::from(*byte) * 10_000).collect())
            .collect();
        let classes = [Class::Screen, Class::Speaker, Class::Other];
        let want = |(key, layers): (usize, &Vec<u64>)| {
            let current = grants.get(key).copied().flatten().filter(|layer| *layer < layers.len());
            (key, current, classes[usize::from(op[0]).wrapping_add(key) % 3])
        };
        let told: Vec<_> = layers.iter().enumerate().map(want).collect();
        let wants: Vec<Want<'_>> = told
            .iter()
            .map(|(key, current, class)| Want {
                key: *key,
                class: *class,
                layers: &layers[*key],
                current: *current,
            })
            .collect();
        let budget = u64::from(u16::from_be_bytes([op[2], op[3]])) * 1_000;
        let known = Budget { bitrate: budget, held_back: u64::from(op[6]) * 1_000, rough: op[7] & 2 == 0 };
        let shared = allocator.allocate((op[7] & 1 == 0).then_some(known), &wants, now, &mut grants);
        // One smallest layer may lack a quarter, and more that comes soon.
        let smallest = layers.iter().filter_map(|layers| layers.first()).max().copied().unwrap_or(0);
        assert!(
            op[7] & 1 != 0 || shared.granted <= budget + smallest / 4 + known.held_back + 1,
            "{shared:?} of {budget}"
        );
        assert_eq!(grants.len(), wants.len());
    }
}
