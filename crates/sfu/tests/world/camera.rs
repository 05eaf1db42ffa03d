//! A publisher as browsers are: three layers of a camera, key pictures when they are asked for, a microphone.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtcloud_sfu::Kind;
use str0m::media::{Mid, Rid};

use super::World;
use super::stamp::Stamp;

/// Name, size, bits per second and frames per second, as livekit-client publishes 720p.
pub(crate) const LAYERS: [(&str, u32, u32, u64, u32); 3] =
    [("q", 320, 180, 150_000, 15), ("h", 640, 360, 500_000, 30), ("f", 1280, 720, 1_700_000, 30)];
/// From a request to the frame that answers it.
const ENCODER_DELAY: Duration = Duration::from_millis(50);
/// Requests so soon after a key picture are ignored.
const HEEDED_AGAIN: Duration = Duration::from_millis(300);
/// How much larger a key picture is; what it costs is saved on those that follow.
const KEY_FACTOR: f64 = 6.0;
/// What the pacer lets go each millisecond: 2.5 times of what all layers take, as in libwebrtc.
const PACED_BYTES_PER_MS: usize = 735;
const PAYLOAD: usize = 1100;
const SOUND_INTERVAL: Duration = Duration::from_millis(20);
/// 32 kb/s.
const SOUND_BYTES: usize = 80;

#[derive(Debug)]
struct Layer {
    interval: Duration,
    bytes: f64,
    next_at: Instant,
    number: u32,
    key_due: Option<Instant>,
    key_sent: Option<Instant>,
    /// Bytes to be saved.
    debt: f64,
}

#[derive(Debug)]
struct Waiting {
    rid: Rid,
    payload: Vec<u8>,
    marker: bool,
    captured: Instant,
}

/// What one client sends.
#[derive(Debug)]
pub(crate) struct Camera {
    client: usize,
    video: Mid,
    audio: Mid,
    layers: Vec<Layer>,
    heard: usize,
    paced: VecDeque<Waiting>,
    /// How many layers are sent, from the smallest on.
    pub(crate) active: usize,
    random: fastrand::Rng,
    sound_at: Instant,
    sounds: u32,
    /// It repeats all that it is asked for, as browsers do; str0m would stop at 15 %.
    repeats: bool,
}

impl Camera {
    /// Announces and offers both tracks; what is sent begins with the first [`Camera::step`] after it is connected.
    pub(crate) fn publish(world: &mut World, client: usize, seed: u64) -> Self {
        Self::publish_as(world, client, ("camera", "microphone"), seed)
    }

    /// The same by other names.
    pub(crate) fn publish_as(world: &mut World, client: usize, names: (&str, &str), seed: u64) -> Self {
        let audio = world.publish(client, names.1, Kind::Audio, &[]);
        let announced = LAYERS.map(|(rid, width, height, ..)| (rid, width, height));
        let video = world.publish(client, names.0, Kind::Video, &announced);
        let layer = |(_, _, _, bits, fps): (&str, u32, u32, u64, u32)| Layer {
            interval: Duration::from_secs(1) / fps,
            bytes: bits as f64 / 8.0 / f64::from(fps),
            next_at: world.now,
            number: 0,
            key_due: Some(world.now),
            key_sent: None,
            debt: 0.0,
        };
        Self {
            client,
            video,
            audio,
            layers: LAYERS.map(layer).into(),
            heard: 0,
            paced: VecDeque::new(),
            active: LAYERS.len(),
            random: fastrand::Rng::with_seed(seed),
            sound_at: world.now,
            sounds: 0,
            repeats: false,
        }
    }

    /// How many packets of sound there were, numbered from 1.
    pub(crate) fn sounds(&self) -> u32 {
        self.sounds
    }

    /// Does what is due now.
    pub(crate) fn step(&mut self, world: &mut World) {
        if !world.clients[self.client].rtc.is_connected() {
            return;
        }
        if !self.repeats {
            self.repeats = true;
            let mut api = world.clients[self.client].rtc.direct_api();
            for (rid, ..) in LAYERS {
                if let Some(stream) = api.stream_tx_by_mid(self.video, Some(Rid::from(rid))) {
                    stream.set_rtx_cache(1024, Duration::from_secs(3), None);
                }
            }
        }
        self.hear(world);
        for index in 0..self.layers.len() {
            self.capture(index, world);
        }
        let mut budget = PACED_BYTES_PER_MS;
        while budget > 0
            && let Some(next) = self.paced.pop_front()
        {
            budget = budget.saturating_sub(next.payload.len());
            world.write(self.client, self.video, Some(next.rid), next.payload, next.marker, next.captured);
        }
        while self.sound_at <= world.now {
            self.speak(world);
            self.sound_at += SOUND_INTERVAL;
        }
        world.flush(self.client);
    }

    fn hear(&mut self, world: &World) {
        let wanted = &world.clients[self.client].keyframes_wanted;
        for rid in wanted[self.heard..].iter().flatten() {
            let Some(index) = LAYERS.iter().position(|(name, ..)| Rid::from(*name) == *rid) else { continue };
            let layer = &mut self.layers[index];
            if layer.key_sent.is_none_or(|at| world.now >= at + HEEDED_AGAIN) && layer.key_due.is_none() {
                layer.key_due = Some(world.now + ENCODER_DELAY);
            }
        }
        self.heard = wanted.len();
    }

    fn capture(&mut self, index: usize, world: &World) {
        let layer = &mut self.layers[index];
        if layer.next_at > world.now {
            return;
        }
        let captured = layer.next_at;
        layer.next_at += layer.interval;
        if index >= self.active {
            // A layer begins anew with a key picture.
            layer.key_due = Some(captured);
            return;
        }
        let key = layer.key_due.is_some_and(|at| at <= captured);
        let spread = 0.8 + 0.4 * self.random.f64();
        let mut bytes = layer.bytes * spread;
        if key {
            layer.key_due = None;
            layer.key_sent = Some(captured);
            layer.debt += layer.bytes * (KEY_FACTOR - 1.0);
            bytes *= KEY_FACTOR;
        } else if layer.debt > 0.0 {
            let saved = bytes * 0.3;
            layer.debt -= saved;
            bytes -= saved;
        }
        layer.number += 1;
        let count = (bytes as usize).div_ceil(PAYLOAD).max(1);
        let len = bytes as usize / count;
        for n in 0..count {
            let stamp = Stamp {
                layer: index as u8,
                key,
                index: n as u16,
                count: count as u16,
                number: layer.number,
                captured: world.micros(captured),
            };
            let (rid, payload) = (Rid::from(LAYERS[index].0), stamp.picture(len));
            self.paced.push_back(Waiting { rid, payload, marker: n + 1 == count, captured });
        }
    }

    fn speak(&mut self, world: &mut World) {
        self.sounds += 1;
        let captured = self.sound_at;
        let stamp = Stamp {
            layer: 0,
            key: false,
            index: 0,
            count: 1,
            number: self.sounds,
            captured: world.micros(captured),
        };
        let plain = stamp.sound(SOUND_BYTES);
        world.write(self.client, self.audio, None, plain, true, captured);
    }
}
