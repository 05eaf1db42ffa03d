//! A receiver of one camera and one microphone, and what became of them at its end.
//!
//! str0m connects it, decrypts and reports arrivals each 50 ms; the rest is done by libwebrtc's rules: what is lost is
//! asked for (see `repairs`), sound only where that was negotiated; a key picture is asked for when there is none 200 ms
//! after the first packet, when too much is missing, and whenever nothing could be decoded for another [`STUCK`] although
//! packets come. Sound is counted when a packet, or a copy of it in another one, came within [`SOUND_BOUND`] and a round
//! trip of the quickest.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use str0m::media::Mid;
use str0m::rtp::RtpHeader;

use super::World;
use super::pictures::Pictures;
use super::repairs::{Repairs, nack};
use super::stamp::{SOUND, Stamp};

const STUCK: Duration = Duration::from_secs(3);
const NO_KEY: Duration = Duration::from_millis(200);
/// Of a stream of which nothing came for so long nothing is asked.
const ACTIVE: Duration = Duration::from_secs(5);
/// What a jitter buffer for sound may hold back for repairs.
pub(crate) const SOUND_BOUND: Duration = Duration::from_millis(200);
/// Who says what is lost: another than str0m is.
const SENDER: u32 = 0x0b0b;
const LOOKED_AGAIN: Duration = Duration::from_millis(500);

/// One receiving client.
#[derive(Debug)]
pub(crate) struct Viewer {
    client: usize,
    joined: Instant,
    pub(crate) pictures: Pictures,
    /// Microseconds under way of each packet of sound, whichever way it came first.
    pub(crate) sounds: BTreeMap<u32, u64>,
    /// The SSRC of the pictures.
    video: Option<u32>,
    /// Streams by SSRC: what is missing, and whether that is asked for.
    repairs: BTreeMap<u32, (Repairs, bool)>,
    /// When it was last seen to that str0m asks for nothing.
    hushed: Option<Instant>,
    asked: Option<Instant>,
    pub(crate) keyframes_asked: u64,
}

impl Viewer {
    /// A client that is about to join.
    pub(crate) fn new(world: &World, client: usize) -> Self {
        Self {
            client,
            joined: world.now,
            pictures: Pictures::new(world.start),
            sounds: BTreeMap::new(),
            video: None,
            repairs: BTreeMap::new(),
            hushed: None,
            asked: None,
            keyframes_asked: 0,
        }
    }

    pub(crate) fn step(&mut self, world: &mut World) {
        if self.hushed.is_none_or(|at| world.now >= at + LOOKED_AGAIN) {
            self.hushed = Some(world.now);
            world.clients[self.client].ask_nothing();
        }
        world.clients[self.client].packets.clear();
        let mut complete = true;
        for (at, header, payload) in std::mem::take(&mut world.clients[self.client].raw) {
            complete &= self.handle(world, at, &header, &payload);
        }
        let due: Vec<(u32, Vec<u16>)> = self
            .repairs
            .iter_mut()
            .filter(|(_, (_, asks))| *asks)
            .map(|(ssrc, (repairs, _))| (*ssrc, repairs.due(world.now)))
            .collect();
        for (ssrc, numbers) in due.iter().filter(|(_, numbers)| !numbers.is_empty()) {
            world.say(self.client, &nack(SENDER, *ssrc, numbers));
        }
        self.ask(world, complete);
    }

    /// False when too much is missing.
    fn handle(&mut self, world: &World, at: Instant, header: &RtpHeader, payload: &[u8]) -> bool {
        let client = &world.clients[self.client];
        let repetition = client.is_repetition(header);
        let (ssrc, seq, payload) = match (repetition, payload) {
            (false, _) => (Some(*header.ssrc), header.sequence_number, payload),
            (true, [a, b, rest @ ..]) => (self.video, u16::from_be_bytes([*a, *b]), rest),
            // Padding.
            (true, _) => return true,
        };
        let redundant = client.is_redundant(header);
        let sound = redundant || payload.first() == Some(&SOUND);
        let mut complete = true;
        if let Some(ssrc) = ssrc {
            let asks = || !sound || client.asks_for_sound();
            let (repairs, _) = self.repairs.entry(ssrc).or_insert_with(|| (Repairs::default(), asks()));
            complete = repairs.handle(seq);
        }
        if redundant {
            for stamp in Stamp::read_redundant(payload).into_iter().flatten() {
                self.hear(stamp, at);
            }
        } else if sound {
            Stamp::read_sound(payload).into_iter().for_each(|stamp| self.hear(stamp, at));
        } else if let Some(stamp) = Stamp::read_picture(payload) {
            self.video = ssrc;
            self.pictures.handle(stamp, at);
        }
        complete
    }

    fn hear(&mut self, stamp: Stamp, at: Instant) {
        let since = at.saturating_duration_since(self.pictures.start).as_micros() as u64;
        self.sounds.entry(stamp.number).or_insert_with(|| since.saturating_sub(stamp.captured));
    }

    fn ask(&mut self, world: &mut World, complete: bool) {
        let Some((first, came)) = self.pictures.packets else { return };
        let wait = self.pictures.decoded_at.map_or(NO_KEY, |_| STUCK);
        let since = self.pictures.decoded_at.unwrap_or(first);
        let last = self.asked.map_or(since, |at| at.max(since));
        let is_due = world.now >= last + wait && world.now < came + ACTIVE;
        if complete && !is_due {
            return;
        }
        let Some(line) = self.line(world) else { return };
        self.asked = Some(world.now);
        self.keyframes_asked += 1;
        world.request_keyframe(self.client, line);
    }

    fn line(&self, world: &World) -> Option<Mid> {
        let client = &world.clients[self.client];
        client.mids.iter().find(|(_, t)| t.as_str() == "camera").map(|(mid, _)| Mid::from(mid.as_str()))
    }

    /// From joining to the first picture.
    pub(crate) fn first_picture(&self) -> Option<Duration> {
        self.pictures.shown.first().map(|s| s.at.saturating_duration_since(self.joined))
    }

    /// Of the packets of sound with these numbers, the share that came in time.
    pub(crate) fn heard(&self, numbers: std::ops::Range<u32>, rtt: Duration) -> f64 {
        let count = numbers.len();
        let quickest = self.sounds.values().min().copied().unwrap_or(0);
        let bound = quickest + (SOUND_BOUND + rtt).as_micros() as u64;
        let heard = self.sounds.range(numbers).filter(|(_, took)| **took <= bound).count();
        heard as f64 / count.max(1) as f64
    }
}
