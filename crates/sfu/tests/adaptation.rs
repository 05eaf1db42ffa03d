//! Pictures follow each client's network, and publishers send what somebody wants.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod world;

use std::time::{Duration, Instant};

use rtcloud_sfu::{Event, ParticipantId, Stream, Target, TrackId};
use str0m::RtcConfig;
use str0m::rtp::Extension;
use world::World;
use world::camera::Camera;
use world::network::{Conditions, Rate};
use world::viewer::Viewer;

const SMALL: (u32, u32) = (320, 180);
const MIDDLE: (u32, u32) = (640, 360);
const LARGE: (u32, u32) = (1280, 720);
const SECOND: Duration = Duration::from_secs(1);

/// Publishers with a camera each, and one who watches them.
struct Call {
    world: World,
    cameras: Vec<Camera>,
    bob: usize,
    viewer: Viewer,
}

impl Call {
    /// Of alice alone, unimpaired and on for a while.
    fn new() -> Self {
        Self::with(&["camera"], |world| world.join("bob", Duration::ZERO))
    }

    fn with(tracks: &[&str], join: impl FnOnce(&mut World) -> usize) -> Self {
        let mut world = World::new();
        world.robust_sound = true;
        let mut cameras = Vec::new();
        for (n, track) in tracks.iter().enumerate() {
            let client = world.join(&format!("publisher-{n}"), Duration::ZERO);
            let sound = if n == 0 { "microphone".to_owned() } else { format!("sound of {track}") };
            if *track == "screen" {
                world.streams.insert((*track).to_owned(), Stream::Aux);
            }
            cameras.push(Camera::publish_as(&mut world, client, (track, &sound), n as u64 + 1));
            world.connect(client);
        }
        let bob = join(&mut world);
        let viewer = Viewer::new(&world, bob);
        let mut call = Self { world, cameras, bob, viewer };
        call.run(2 * SECOND);
        call.world.subscribe(bob, "microphone");
        for track in tracks {
            call.world.subscribe(bob, track);
        }
        call
    }

    fn begin(&mut self) {
        self.world.offer(self.bob, |api| {
            api.add_channel("_reliable".into());
        });
    }

    fn limit(&mut self, bits: Option<u64>) {
        let down = Conditions { rate: bits.map(Rate::of), ..Conditions::default() };
        self.world.impair(self.bob, down, Conditions::default(), 7);
    }

    fn run(&mut self, duration: Duration) {
        let end = self.world.now + duration;
        while self.world.now < end {
            self.step();
        }
    }

    fn step(&mut self) {
        for camera in &mut self.cameras {
            camera.step(&mut self.world);
        }
        self.world.run(Duration::from_millis(1));
        self.viewer.step(&mut self.world);
    }

    /// How long it takes until something holds, at most so long.
    fn until(&mut self, most: Duration, holds: impl Fn(&Self) -> bool) -> Duration {
        let start = self.world.now;
        while !holds(self) {
            self.step();
            let took = self.world.now - start;
            assert!(took <= most, "not within {most:?}: {:?}", self.sizes("camera"));
        }
        self.world.now - start
    }

    fn sizes(&self, of: &str) -> Vec<(u32, u32)> {
        let size = |e: &Event| match e {
            Event::Receiving { track, width, height, .. } if track.as_str() == of => Some((*width, *height)),
            _ => None,
        };
        self.world.events.iter().filter_map(size).collect()
    }

    fn size(&self, of: &str) -> (u32, u32) {
        self.sizes(of).last().copied().unwrap_or_default()
    }

    fn shed(&self) -> Vec<bool> {
        let shed = |e: &Event| match e {
            Event::SubscriptionShed { shed, .. } => Some(*shed),
            _ => None,
        };
        self.world.events.iter().filter_map(shed).collect()
    }

    /// What the first publisher was told of its layers last.
    fn wanted(&self) -> Option<Vec<bool>> {
        let wanted = |e: &Event| match e {
            Event::LayersWanted { layers, .. } => Some(layers.iter().map(|l| l.wanted).collect()),
            _ => None,
        };
        self.world.events.iter().rev().find_map(wanted)
    }

    /// The share of sound that came in time, over so long from now on.
    fn hear(&mut self, duration: Duration) -> f64 {
        let from = self.cameras[0].sounds();
        self.run(duration);
        let until = self.cameras[0].sounds();
        self.run(SECOND);
        self.viewer.heard(from + 1..until, Duration::from_millis(300))
    }

    fn shown_by(&self, layer: u8, since: Instant) -> bool {
        self.viewer.pictures.shown.iter().any(|s| s.at > since && s.layer == layer)
    }
}

#[test]
fn a_good_network_has_the_large_picture_within_a_second() {
    let mut call = Call::new();
    call.begin();
    call.until(2 * SECOND, |c| !c.viewer.pictures.shown.is_empty());
    let took = call.until(SECOND, |c| c.size("camera") == LARGE);
    assert!(took <= SECOND, "{took:?}");
    call.run(20 * SECOND);
    assert_eq!(call.size("camera"), LARGE);
    assert!(call.sizes("camera").len() <= 3, "{:?}", call.sizes("camera"));
}

#[test]
fn a_squeezed_network_has_the_small_picture_and_unbroken_sound_and_the_large_one_again() {
    let mut call = Call::new();
    call.begin();
    call.until(5 * SECOND, |c| c.size("camera") == LARGE);
    call.run(5 * SECOND);
    call.limit(Some(300_000));
    // What stood in the queue of the larger one has to drain first, with or without a picture.
    call.until(6 * SECOND, |c| c.size("camera") == SMALL);
    call.run(2 * SECOND);
    let heard = call.hear(15 * SECOND);
    assert!(heard > 0.99, "{heard}");
    assert_eq!(call.size("camera"), SMALL, "{:?}", call.sizes("camera"));
    call.limit(None);
    let restored = call.world.now;
    call.until(8 * SECOND, |c| c.shown_by(2, restored));
    call.run(10 * SECOND);
    assert_eq!(call.size("camera"), LARGE);
}

#[test]
fn a_network_that_carries_sound_alone_has_sound_alone_and_is_told_so() {
    let mut call = Call::new();
    call.begin();
    call.until(5 * SECOND, |c| c.size("camera") == LARGE);
    call.run(3 * SECOND);
    call.limit(Some(140_000));
    call.until(8 * SECOND, |c| c.size("camera") == (0, 0));
    assert_eq!(call.shed(), [true]);
    call.run(3 * SECOND);
    let heard = call.hear(10 * SECOND);
    assert!(heard > 0.95, "{heard}");
    call.limit(None);
    call.until(10 * SECOND, |c| c.size("camera") == LARGE);
    assert_eq!(call.shed().last(), Some(&false));
}

#[test]
fn a_steady_network_between_two_layers_makes_nobody_flap() {
    for bits in [1_000_000, 1_500_000] {
        let mut call = Call::new();
        call.limit(Some(bits));
        call.begin();
        call.run(15 * SECOND);
        let before = call.sizes("camera").len();
        call.run(60 * SECOND);
        let changes = call.sizes("camera").len() - before;
        assert!(changes <= 4, "{changes} changes at {bits}: {:?}", call.sizes("camera"));
        assert!(call.size("camera") >= MIDDLE, "{:?} at {bits}", call.sizes("camera"));
    }
}

#[test]
fn the_shared_screen_has_what_the_camera_goes_without() {
    let mut call = Call::with(&["camera", "screen"], |world| world.join("bob", Duration::ZERO));
    call.limit(Some(2_600_000));
    call.begin();
    call.until(20 * SECOND, |c| c.size("screen") == LARGE && c.size("camera") < LARGE);
    call.run(20 * SECOND);
    assert!(
        call.size("screen") > call.size("camera"),
        "{:?} {:?}",
        call.sizes("screen"),
        call.sizes("camera")
    );
    assert_ne!(call.size("camera"), (0, 0));
}

fn is_sent_everything(mut call: Call) {
    call.begin();
    call.until(2 * SECOND, |c| c.size("camera") == LARGE);
    call.limit(Some(1_000_000));
    call.run(15 * SECOND);
    assert_eq!(call.sizes("camera"), [LARGE]);
}

#[test]
fn who_gives_no_feedback_is_sent_everything() {
    let call = Call::with(&["camera"], |world| {
        let id = ParticipantId::from("bob");
        world.command(rtcloud_sfu::Command::AddParticipant {
            participant: id.clone(),
            identity: "bob-user".to_owned(),
            single: true,
            fixed: false,
            adaptive: true,
            rights: rtcloud_sfu::Rights::default(),
        });
        let config =
            RtcConfig::new().set_rtp_mode(true).clear_extension_map().set_extension(4, Extension::RtpMid);
        world.add_client_of(id, Target::Single, Duration::ZERO, config)
    });
    is_sent_everything(call);
}

#[test]
fn who_is_not_adapted_to_is_sent_everything() {
    let call = Call::with(&["camera"], |world| world.join_unadapted("bob"));
    is_sent_everything(call);
}

#[test]
fn a_publisher_is_told_what_nobody_wants_and_at_once_what_somebody_does() {
    let mut call = Call::new();
    call.begin();
    call.until(5 * SECOND, |c| c.size("camera") == LARGE);
    call.world.want(call.bob, "camera", true, 200, 100);
    call.run(4 * SECOND);
    assert_eq!(call.wanted(), None);
    call.until(3 * SECOND, |c| c.wanted().is_some());
    assert_eq!(call.wanted(), Some(vec![true, false, false]));
    assert_eq!(call.size("camera"), SMALL);
    call.cameras[0].active = 1;
    call.run(5 * SECOND);

    call.world.want(call.bob, "camera", true, 1280, 720);
    call.until(SECOND / 5, |c| c.wanted() == Some(vec![true, true, true]));
    assert_eq!(call.size("camera"), SMALL, "what is there goes on until more comes");
    call.cameras[0].active = 3;
    call.until(2 * SECOND, |c| c.size("camera") == LARGE);

    call.world.unsubscribe(call.bob, "camera");
    call.until(6 * SECOND, |c| c.wanted() == Some(vec![false, false, false]));
    let last = TrackId::from("camera");
    assert!(
        call.world.events.iter().any(|e| matches!(e, Event::LayersWanted { track, .. } if *track == last))
    );
}
