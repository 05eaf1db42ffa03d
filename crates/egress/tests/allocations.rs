//! In steady state nothing is allocated, whatever is sent and heard, and a client costs little memory.

mod peer;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use peer::{AUDIO, Peer, VIDEO, nack, received, report, transport};
use rtcloud_egress::{Heard, Profile};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, counting per thread.
struct Counting;

// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        HELD.set(HELD.get() + layout.size() as isize);
        // SAFETY: the caller's promise is ours.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - layout.size() as isize);
        // SAFETY: the caller's promise is ours.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One frame of 720p and the sound of its time, with everything a client on a bad network says about them.
fn step(peer: &mut Peer, frame: u64, said: &[Vec<u8>]) {
    for index in 0..6 {
        peer.write(peer.video, frame * 6 + index, index == 5);
    }
    peer.write(peer.audio, frame, false);
    peer.poll();
    for compound in said {
        assert_eq!(peer.say(compound), Heard::Ours);
    }
    peer.feedback.clear();
    peer.pass(33);
    peer.poll();
}

/// What a client says after a frame: two packets are lost, the others arrived.
fn says(frame: u64) -> Vec<Vec<u8>> {
    let lost = (frame * 6 + 2) as u16;
    let mut said = vec![nack(VIDEO, &[(lost, 1)]), received((frame * 8) as u16, 8, frame as u32)];
    if frame.is_multiple_of(30) {
        said.push(report(VIDEO, 20, 0, 0));
        said.push(report(AUDIO, 0, 0, 0));
    }
    said
}

#[test]
fn a_stream_that_flows_allocates_nothing() {
    for profile in [Profile::AeadAes128Gcm, Profile::AeadAes256Gcm, Profile::Aes128CmSha1_80] {
        for rtx in [true, false] {
            let mut peer = Peer::new(profile, rtx);
            let said: Vec<_> = (0..1500).map(says).collect();
            for frame in 0..500 {
                step(&mut peer, frame, &said[frame as usize]);
            }
            let (before, sent) = (COUNT.get(), peer.sink.count);
            for frame in 500..1500 {
                step(&mut peer, frame, &said[frame as usize]);
                if frame == 700 {
                    peer.egress.probe(1, 5_000_000, 50_000);
                }
            }
            assert_eq!(COUNT.get() - before, 0, "{profile:?}");
            assert!(peer.sink.count - sent >= 7000);
            let stats = peer.egress.stats(peer.video);
            assert!(stats.resent >= 2900, "{stats:?}");
        }
    }
}

#[test]
fn hearing_of_everything_at_once_is_not_remembered() {
    let mut peer = Peer::new(Profile::AeadAes128Gcm, true);
    peer.send(0..3000);
    peer.pass(10);
    let before = HELD.get();
    peer.say(&transport(0, 3000, 0, &[3000], &[]));
    assert!(peer.egress.results().len() >= 2000);
    peer.say(&received(2999, 1, 0));
    let more = HELD.get() - before;
    assert!(more < 32 * 1024, "{more}");
}

#[test]
fn a_client_costs_little_memory() {
    let mut sizes = Vec::new();
    // 30 frames of 6 packets; then what no client gets: all rings and tables at their largest.
    for packets in [6, 100] {
        let before = HELD.get();
        let mut peer = Peer::new(Profile::AeadAes128Gcm, true);
        for frame in 0..100u64 {
            for index in 0..packets {
                peer.write(peer.video, frame * packets + index, index + 1 == packets);
            }
            peer.poll();
            peer.pass(33);
        }
        sizes.push(HELD.get() - before);
        drop(peer);
        assert!(HELD.get() - before < 64, "{} are left", HELD.get() - before);
    }
    assert!(sizes[0] < 48 * 1024 && sizes[1] < 150 * 1024, "{sizes:?}");
}
