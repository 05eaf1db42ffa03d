//! Sound with and without redundancy, to those who understand it and those who do not.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod world;

use std::time::Duration;

use rtcloud_sfu::Kind;
use str0m::media::{Mid, Pt};
use str0m::rtp::RtpPacket;

use world::{World, is_run};

const MS: Duration = Duration::from_millis(1);
const OPUS: u8 = 111;
const RED: u8 = 63;

/// Alice speaks; Bob understands redundancy, Carol does not.
struct Scene {
    world: World,
    alice: usize,
    bob: usize,
    carol: usize,
    mid: Mid,
    spoken: u32,
}

fn scene(redundant: bool) -> Scene {
    let mut world = World::new();
    world.robust_sound = redundant;
    let alice = world.join("alice", Duration::ZERO);
    let mid = world.publish_with(alice, "mic", Kind::Audio, &[], "red");
    world.connect(alice);
    world.robust_sound = true;
    let bob = listener(&mut world, "bob");
    world.robust_sound = false;
    let carol = listener(&mut world, "carol");
    Scene { world, alice, bob, carol, mid, spoken: 0 }
}

fn listener(world: &mut World, name: &str) -> usize {
    let client = world.join(name, Duration::ZERO);
    world.receive(client, "mic");
    world.run_until("the track has a section", |w| {
        w.clients[client].mids.values().any(|t| t.as_str() == "mic")
    });
    client
}

impl Scene {
    fn speak(&mut self, packets: usize) {
        for _ in 0..packets {
            self.spoken += 1;
            let mut payload = vec![0x78; 100];
            payload[1..5].copy_from_slice(&self.spoken.to_be_bytes());
            self.world.write(self.alice, self.mid, None, payload, false, self.world.now);
            self.world.flush(self.alice);
            self.world.run(20 * MS);
        }
    }

    /// Loses every so manieth packet of media toward us, or from us.
    fn lose(&mut self, every: usize, toward_clients: bool) {
        let mut count = 0;
        self.world.lose = Some(Box::new(move |down, contents| {
            let media = matches!(contents, [128..=191, second, ..] if !(192..=223).contains(second));
            count += usize::from(media && down == toward_clients);
            media && down == toward_clients && count % every == 0
        }));
    }

    fn heard(&self, client: usize, pt: u8) -> Vec<&RtpPacket> {
        let all = self.world.clients[client].packets.iter();
        all.filter(|p| p.header.payload_type == Pt::from(pt)).collect()
    }
}

#[test]
fn redundancy_is_asked_for_first_where_its_publisher_has_it() {
    let scene = scene(true);
    let description = &scene.world.clients[scene.alice].description;
    let line = description.lines().find(|l| l.starts_with("m=audio")).unwrap();
    assert!(line.ends_with(" 63 111"), "{line}");
    assert!(description.contains("a=fmtp:63 111/111"));
}

#[test]
fn who_understands_redundancy_gets_it_and_others_what_is_within() {
    let mut scene = scene(true);
    scene.speak(50);
    assert_eq!((scene.heard(scene.bob, RED).len(), scene.heard(scene.bob, OPUS).len()), (50, 0));
    assert_eq!((scene.heard(scene.carol, RED).len(), scene.heard(scene.carol, OPUS).len()), (0, 50));
    assert!(scene.heard(scene.carol, OPUS).iter().all(|p| p.payload[0] == 0x78));
    assert!(is_run(&scene.world.clients[scene.carol].sequences()));
}

#[test]
fn what_was_lost_on_the_way_is_restored_in_its_place_for_those_without_redundancy() {
    let mut scene = scene(true);
    scene.speak(3);
    scene.lose(4, false);
    scene.speak(200);
    scene.world.lose = None;
    scene.speak(2);
    let heard = scene.heard(scene.carol, OPUS);
    assert_eq!(heard.len(), 205);
    assert!(heard.windows(2).all(|w| *w[1].seq_no == *w[0].seq_no + 1), "in order");
    let said: Vec<u32> =
        heard.iter().map(|p| u32::from_be_bytes(*p.payload[1..].first_chunk().unwrap())).collect();
    assert!(said.iter().copied().eq(1..=205), "{said:?}");
    let steps: Vec<u32> =
        heard.windows(2).map(|w| w[1].header.timestamp.wrapping_sub(w[0].header.timestamp)).collect();
    assert!(steps.iter().all(|step| (950..=970).contains(step)), "{steps:?}");
    assert_eq!(scene.heard(scene.bob, RED).len(), 155, "Bob restores it himself");
}

#[test]
fn what_is_no_redundancy_is_not_forwarded() {
    let mut scene = scene(true);
    scene.speak(5);
    let seq = *scene.world.clients[scene.alice].sequences.values().next().unwrap();
    for (n, payload) in
        [vec![0x80 | OPUS, 0, 0], vec![13, 1, 2], vec![0x80 | OPUS; 60]].into_iter().enumerate()
    {
        scene.world.send_raw(scene.alice, scene.mid, Pt::from(RED), seq + 1 + n as u64, 0, false, payload);
    }
    scene.world.clients[scene.alice].sequences.values_mut().for_each(|s| *s += 3);
    scene.speak(5);
    for client in [scene.bob, scene.carol] {
        assert_eq!(scene.world.clients[client].packets.len(), 10);
        assert!(is_run(&scene.world.clients[client].sequences()));
    }
}

#[test]
fn who_loses_much_gets_redundancy_that_its_publisher_does_not_send() {
    let mut scene = scene(false);
    scene.speak(100);
    assert_eq!((scene.heard(scene.bob, RED).len(), scene.heard(scene.bob, OPUS).len()), (0, 100));
    scene.lose(5, true);
    scene.speak(400);
    let wrapped = scene.heard(scene.bob, RED).len();
    assert!(wrapped > 150, "{wrapped}");
    assert!(scene.heard(scene.carol, RED).is_empty());
    let last = scene.heard(scene.bob, RED);
    let last = last.last().unwrap();
    assert_eq!(last.payload[0], 0x80 | OPUS);
    scene.world.lose = None;
    scene.speak(700);
    let before = scene.heard(scene.bob, RED).len();
    scene.speak(50);
    assert_eq!(scene.heard(scene.bob, RED).len(), before, "no longer than it is needed");
}

#[test]
fn who_asks_for_lost_sound_gets_it_again() {
    let mut scene = scene(false);
    assert!(scene.world.clients[scene.bob].description.contains("a=rtcp-fb:111 nack"));
    assert!(!scene.world.clients[scene.carol].description.contains("a=rtcp-fb:111 nack"));
    scene.speak(10);
    scene.lose(10, true);
    scene.speak(20);
    scene.world.lose = None;
    scene.speak(20);
    assert_eq!(scene.world.clients[scene.bob].packets.len(), 50);
    assert!(is_run(&scene.world.clients[scene.bob].sequences()));
}
