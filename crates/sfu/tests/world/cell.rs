//! One cell of the matrix of bad networks: a call on one network, and what its receiver had of it.
//!
//! A publisher of three layers and sound, one viewer. One of the two has the bad network, from before its first packet.
//! After [`STEADY`] everything of that network is out for [`OUTAGE`]; then [`AFTER`] more. Signalling takes no time here,
//! so the time to the first picture is that of ICE, DTLS, the key picture and its repair.

use std::time::{Duration, Instant};

use super::World;
use super::camera::{Camera, LAYERS};
use super::network::{Conditions, Loss, Rate};
use super::pictures::flaps;
use super::viewer::Viewer;

pub(crate) const STEADY: Duration = Duration::from_secs(40);
pub(crate) const OUTAGE: Duration = Duration::from_secs(5);
pub(crate) const AFTER: Duration = Duration::from_secs(20);
/// What everything is given before it counts as steady: the connection, the first key picture, the way up.
const SETTLING: Duration = Duration::from_secs(10);
const RUN_IN: Duration = Duration::from_secs(2);
/// Who has no picture by then gets none.
const PATIENCE: Duration = Duration::from_secs(30);
const JITTER: Duration = Duration::from_millis(2);

/// Whose network is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Downlink,
    Uplink,
}

/// What a network is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cell {
    pub(crate) side: Side,
    /// Of the datagrams toward the viewer, or of those of the publisher; the other direction loses nothing.
    pub(crate) loss: f64,
    /// Mean length of a run of losses; 1 is random loss.
    pub(crate) run: f64,
    pub(crate) rtt: Duration,
    pub(crate) rate: Option<u64>,
    pub(crate) steady: Duration,
    pub(crate) seed: u64,
}

/// What the viewer had. Times are None when it did not come to that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Had {
    pub(crate) first_picture: Option<Duration>,
    pub(crate) freezes: usize,
    /// Of the time from the first picture to the outage.
    pub(crate) freeze_ratio: f64,
    /// Pictures shown a second while steady.
    pub(crate) fps: f64,
    /// Pixels down, the mean over the time while steady.
    pub(crate) height: f64,
    /// Share of the packets of sound while steady that came, or a copy of which came, in time.
    pub(crate) sound: f64,
    /// From the first picture to the last change of layer before the outage.
    pub(crate) settled: Option<Duration>,
    /// The most turns within ten seconds once settled.
    pub(crate) flaps: usize,
    /// From the end of the outage to the next picture.
    pub(crate) recovered: Option<Duration>,
    /// And to the layer that was shown before.
    pub(crate) as_before: Option<Duration>,
    pub(crate) keyframes_asked: u64,
    /// Bits per second toward the viewer while steady, all of UDP.
    pub(crate) bits: u64,
}

impl Had {
    /// Who never saw a picture.
    fn nothing() -> Self {
        Self { freeze_ratio: 1.0, ..Self::default() }
    }
}

impl Cell {
    fn conditions(&self) -> (Conditions, Conditions) {
        let plain = Conditions { delay: self.rtt / 2, jitter: JITTER, ..Conditions::default() };
        let loss =
            if self.run > 1.0 { Loss::in_bursts(self.loss, self.run) } else { Loss::Random(self.loss) };
        let bad = Conditions { loss, rate: self.rate.map(Rate::of), ..plain };
        match self.side {
            Side::Downlink => (bad, plain),
            Side::Uplink => (plain, bad),
        }
    }

    /// Makes the call.
    pub(crate) fn run(&self) -> Had {
        let Some(mut call) = Call::begin(self) else { return Had::nothing() };
        let (joined, sounds_from) = (call.world.now, call.camera.sounds());
        while call.first().is_none() && call.world.now < joined + PATIENCE {
            call.run_until(call.world.now + Duration::from_millis(1));
        }
        let Some(first) = call.first() else {
            let sounds = sounds_from + 1..call.camera.sounds();
            return Had { sound: call.viewer.heard(sounds, self.rtt), ..Had::nothing() };
        };
        let settling = (first + SETTLING).min(first + self.steady / 3);
        call.run_until(settling);
        let sounds_from = call.camera.sounds();
        let bytes_from = call.bytes();
        let outage = first + self.steady;
        call.run_until(outage);
        let sounds_until = call.camera.sounds();
        let bytes = call.bytes() - bytes_from;
        let whose = if self.side == Side::Downlink { call.bob } else { call.alice };
        call.world.cut(whose, outage, outage + OUTAGE);
        call.run_until(outage + OUTAGE + AFTER);
        let steady = outage - settling;
        let mut had = summary(&call.viewer, (first, settling, outage));
        had.sound = call.viewer.heard(sounds_from + 1..sounds_until, self.rtt);
        had.bits = (bytes as f64 * 8.0 / steady.as_secs_f64()) as u64;
        had
    }

    /// Makes the call, whose viewer has nothing bad at first; then what comes to it is squeezed to `rate`, and open again.
    pub(crate) fn squeeze(&self, rate: u64) -> Squeezed {
        let mut call = Call::begin(self).expect("a call");
        call.run_until(call.world.now + SETTLING);
        let squeezed = call.world.now;
        let open = self.conditions().0;
        let narrow = Conditions { rate: Some(Rate::of(rate)), ..open };
        call.world.impair(call.bob, narrow, open, self.seed);
        let small = call.wait_for(|layer| layer == 0, PATIENCE).map(|at| at - squeezed);
        let sounds_from = call.camera.sounds();
        call.run_until(call.world.now + SETTLING / 2);
        let sounds = sounds_from + 1..call.camera.sounds();
        let opened = call.world.now;
        call.world.impair(call.bob, open, open, self.seed);
        let big =
            call.wait_for(|layer| usize::from(layer) + 1 == LAYERS.len(), PATIENCE).map(|at| at - opened);
        Squeezed { small, sound: call.viewer.heard(sounds, self.rtt), big }
    }
}

/// What a viewer had whose network was squeezed, and opened again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Squeezed {
    /// Until the smallest layer was shown.
    pub(crate) small: Option<Duration>,
    /// Share of the packets of sound in the five seconds after that which came in time.
    pub(crate) sound: f64,
    /// Until the largest was shown again.
    pub(crate) big: Option<Duration>,
}

struct Call {
    world: World,
    camera: Camera,
    viewer: Viewer,
    alice: usize,
    bob: usize,
}

impl Call {
    /// Alice publishes, and has for a while when Bob joins. None if she could not connect.
    fn begin(cell: &Cell) -> Option<Self> {
        let mut world = World::new();
        world.robust_sound = true;
        let (down, up) = cell.conditions();
        let alice = world.join("alice", Duration::ZERO);
        if cell.side == Side::Uplink {
            world.impair(alice, down, up, cell.seed);
        }
        let mut camera = Camera::publish(&mut world, alice, cell.seed);
        let begun = world.now;
        while !world.clients[alice].rtc.is_connected() {
            if world.now > begun + PATIENCE {
                return None;
            }
            world.run(Duration::from_millis(1));
        }
        let end = world.now + RUN_IN;
        while world.now < end {
            camera.step(&mut world);
            world.run(Duration::from_millis(1));
        }
        let bob = world.join("bob", Duration::ZERO);
        if cell.side == Side::Downlink {
            world.impair(bob, down, up, cell.seed);
        }
        world.subscribe(bob, "microphone");
        world.subscribe(bob, "camera");
        let viewer = Viewer::new(&world, bob);
        world.offer(bob, |api| {
            api.add_channel("_reliable".into());
        });
        Some(Self { world, camera, viewer, alice, bob })
    }

    fn first(&self) -> Option<Instant> {
        self.viewer.pictures.shown.first().map(|s| s.at)
    }

    fn run_until(&mut self, end: Instant) {
        while self.world.now < end {
            self.camera.step(&mut self.world);
            self.world.run(Duration::from_millis(1));
            self.viewer.step(&mut self.world);
        }
    }

    /// When a picture of such a layer was shown, from now on.
    fn wait_for(&mut self, layer: impl Fn(u8) -> bool, within: Duration) -> Option<Instant> {
        let begun = self.world.now;
        while self.world.now < begun + within {
            self.run_until(self.world.now + Duration::from_millis(1));
            let newest = self.viewer.pictures.shown.last().filter(|s| s.at >= begun && layer(s.layer));
            if let Some(shown) = newest {
                return Some(shown.at);
            }
        }
        None
    }

    fn bytes(&self) -> usize {
        let (media, rest) =
            self.world.sent.get(&self.world.clients[self.bob].address).copied().unwrap_or_default();
        media + rest
    }
}

fn summary(viewer: &Viewer, (first, settling, outage): (Instant, Instant, Instant)) -> Had {
    let pictures = &viewer.pictures;
    let freezes = pictures.freezes(first, outage);
    let steady: Vec<_> = pictures.shown.iter().filter(|s| (settling..outage).contains(&s.at)).collect();
    let switches = pictures.switches();
    let before: Vec<_> = switches.iter().copied().filter(|(at, _)| *at < outage).collect();
    let settled = before.last().map_or(first, |(at, _)| *at);
    let later: Vec<_> = before.iter().copied().filter(|(at, _)| *at >= settling).collect();
    let layer_at = |when: Instant| pictures.shown.iter().rev().find(|s| s.at < when).map_or(0, |s| s.layer);
    let end = outage + OUTAGE;
    let captured_after = (end - pictures.start).as_micros() as u64;
    let after = || pictures.shown.iter().filter(|s| s.at >= end && s.captured >= captured_after);
    let height_of = |layer: u8| f64::from(LAYERS[usize::from(layer)].2);
    let mut height = 0.0;
    for pair in steady.windows(2) {
        height += height_of(pair[0].layer) * (pair[1].at - pair[0].at).as_secs_f64();
    }
    Had {
        first_picture: viewer.first_picture(),
        freezes: freezes.count,
        freeze_ratio: freezes.time.as_secs_f64() / (outage - first).as_secs_f64(),
        fps: steady.len() as f64 / (outage - settling).as_secs_f64(),
        height: match steady.as_slice() {
            [a, .., b] if b.at > a.at => height / (b.at - a.at).as_secs_f64(),
            _ => 0.0,
        },
        sound: 0.0,
        settled: Some(settled - first),
        flaps: flaps(layer_at(settling), &later),
        recovered: after().next().map(|s| s.at - end),
        as_before: after().find(|s| s.layer >= layer_at(outage)).map(|s| s.at - end),
        keyframes_asked: viewer.keyframes_asked,
        bits: 0,
    }
}
