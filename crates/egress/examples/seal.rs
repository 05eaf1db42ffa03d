//! What a packet costs, and how much memory a client does:
//! `cargo run --release -p rtcloud-egress --example seal`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rtcloud_egress::{
    Egress, Extensions, Keys, Options, Packet, Patch, Profile, Sink, StreamConfig, StreamId,
};

const ROUNDS: usize = 7;
const FRAMES: u64 = 20_000;

/// Datagrams one after the other, thrown away when there are many.
struct Bytes(Vec<u8>, usize);

impl Sink for Bytes {
    fn begin(&mut self, len: usize) -> &mut [u8] {
        if self.1 + len > self.0.len() {
            self.1 = 0;
        }
        &mut self.0[self.1..self.1 + len]
    }

    fn commit(&mut self, len: usize) {
        self.1 += len;
    }
}

fn egress(profile: Profile, video: bool) -> Option<(Egress, StreamId, Instant)> {
    let now = Instant::now();
    let hold = Duration::from_millis(5);
    let mut egress = Egress::new(Options { padding: true, hold, origin: now, unix: Duration::ZERO }, "bench");
    let material: Vec<u8> = (0..100).collect();
    let (sealing, opening) = Keys::from_dtls(&material, profile, false)?;
    egress.set_keys(sealing, opening);
    let rtx = video.then_some(2);
    let clock_rate = if video { 90_000 } else { 48_000 };
    let stream = egress.add_stream(StreamConfig { ssrc: 1, rtx, video, mid: "0".to_owned(), clock_rate });
    let (twcc, audio_level) = (video.then_some(3), (!video).then_some(1));
    egress.set_extensions(stream, Extensions { twcc, audio_level, mid: Some(4), ..Extensions::default() });
    Some((egress, stream, now))
}

/// Time that this thread ran, as Linux counts it: other programs don't matter much. Elsewhere the clock's.
fn ran(begun: Instant) -> Duration {
    let counted = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = counted.and_then(|text| text.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| begun.elapsed(), Duration::from_nanos)
}

/// Nanoseconds per packet, of the median round.
fn measure(profile: Profile, size: usize, frame: u64) -> Option<f64> {
    let video = frame > 1;
    let payload: Arc<[u8]> = vec![7; size].into();
    let mut sink = Bytes(vec![0; 1 << 20], 0);
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let (mut egress, stream, start) = egress(profile, video)?;
        let begun = Instant::now();
        let before = ran(begun);
        for number in 0..FRAMES {
            let now = start + Duration::from_millis(number * 20);
            for index in 0..frame {
                let packet = Packet {
                    pt: 96,
                    rtx_pt: video.then_some(97),
                    seq: number * frame + index,
                    time: number as u32 * 960,
                    marker: index + 1 == frame,
                    wall: now,
                    payload: &payload,
                    patch: Patch::NONE,
                    level: Some((-30, true)),
                    orientation: None,
                    dependency: None,
                    resend: video,
                };
                egress.write(stream, &packet, now);
            }
            egress.poll(now, &mut sink);
        }
        rounds.push((ran(begun) - before).as_secs_f64() * 1e9 / (FRAMES * frame) as f64);
    }
    rounds.sort_by(f64::total_cmp);
    rounds.get(ROUNDS / 2).copied()
}

/// The same of the cipher alone, on one buffer that stays in the cache.
fn measure_cipher(size: usize) -> Option<f64> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[7; 16]).ok()?);
    let mut buffer = vec![7; size];
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let before = ran(begun);
        for _ in 0..FRAMES * 9 {
            let nonce = Nonce::assume_unique_for_key([7; 12]);
            let tag = key.seal_in_place_separate_tag(nonce, Aad::from([7; 20]), &mut buffer);
            black_box(tag.ok()?.as_ref());
        }
        rounds.push((ran(begun) - before).as_secs_f64() * 1e9 / (FRAMES * 9) as f64);
    }
    rounds.sort_by(f64::total_cmp);
    rounds.get(ROUNDS / 2).copied()
}

#[expect(clippy::print_stdout, reason = "it is what the program is for")]
fn main() {
    for size in [1100, 100] {
        if let Some(cost) = measure_cipher(size) {
            println!("AES-128-GCM alone, {size} B: {cost:.0} ns");
        }
    }
    for profile in [Profile::AeadAes128Gcm, Profile::AeadAes256Gcm, Profile::Aes128CmSha1_80] {
        for (what, size, frame) in [("video, frames of 9 × 1100 B", 1100, 9), ("audio, 100 B", 100, 1)] {
            if let Some(cost) = measure(profile, size, frame) {
                println!("{profile:?}: {what}: {cost:.0} ns per packet");
            }
        }
    }
}
