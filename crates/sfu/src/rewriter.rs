//! Continuous numbering of one outgoing stream.
//!
//! A receive section of a subscriber keeps its SSRC for life while what is sent in it changes: another simulcast
//! layer, another publisher, a pause. Sequence numbers, RTP times and VP8 picture ids run on across every change, and
//! numbers of packets that are not forwarded (padding) are closed, so that a receiver sees loss only where there was
//! some. RTP time advances between changes as our wall clock did, so the mapping in sender reports stays the same.

use std::collections::VecDeque;

use str0m::rtp::{Vp8Descriptor, Vp8Patch};

/// Changes of the offset that are remembered for packets that come late.
const SHIFTS: usize = 32;
/// A jump larger than this is a new beginning, not loss.
const MAX_JUMP: u64 = 3000;

/// A packet as it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incoming {
    pub(crate) seq: u64,
    pub(crate) time: u32,
    /// When it was captured, microseconds on our clock.
    pub(crate) wall: f64,
    pub(crate) rate: u32,
    pub(crate) vp8: Option<Vp8Descriptor>,
}

/// A packet as it goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outgoing {
    pub(crate) seq: u64,
    pub(crate) time: u32,
    pub(crate) vp8: Option<Vp8Patch>,
}

/// VP8 counters as sent last.
#[derive(Debug, Clone, Copy, Default)]
struct Vp8Counters {
    picture: Option<u16>,
    tl0: Option<u8>,
    key: Option<u8>,
}

#[derive(Debug)]
struct Run {
    first: u64,
    highest: u64,
    /// From which incoming number on which difference holds, oldest first, never empty.
    shifts: VecDeque<(u64, i64)>,
    time: u32,
    picture: u16,
    tl0: u8,
    key: u8,
}

/// The numbering of one outgoing stream.
#[derive(Debug)]
pub(crate) struct Rewriter {
    run: Option<Run>,
    next: u64,
    last: Option<(u32, f64)>,
    vp8: Vp8Counters,
}

impl Rewriter {
    /// `first` is the first sequence number to use.
    pub(crate) fn new(first: u16) -> Self {
        Self { run: None, next: u64::from(first), last: None, vp8: Vp8Counters::default() }
    }

    /// What comes next is not the continuation of what went before.
    pub(crate) fn change_source(&mut self) {
        self.run = None;
    }

    /// A packet that is not forwarded: its number is closed.
    pub(crate) fn skip(&mut self, seq: u64) {
        let Some(run) = &mut self.run else { return };
        if seq <= run.highest || seq > run.highest + MAX_JUMP {
            return;
        }
        run.highest = seq;
        let delta = run.shifts.back().map_or(0, |s| s.1);
        if run.shifts.len() == SHIFTS {
            run.shifts.pop_front();
        }
        run.shifts.push_back((seq + 1, delta - 1));
    }

    /// The numbers a packet gets, or none if it belongs to what was left behind.
    pub(crate) fn map(&mut self, packet: &Incoming) -> Option<Outgoing> {
        if self.run.as_ref().is_some_and(|r| packet.seq > r.highest + MAX_JUMP) {
            self.run = None;
        }
        if self.run.is_none() {
            self.run = Some(self.begin(packet));
        }
        let run = self.run.as_mut()?;
        if packet.seq < run.first {
            return None;
        }
        let delta = run.shifts.iter().rev().find(|s| s.0 <= packet.seq)?.1;
        let seq = packet.seq.checked_add_signed(delta)?;
        let time = packet.time.wrapping_add(run.time);
        let counters = packet.vp8.map(|d| run.vp8_counters(&d)).unwrap_or_default();
        if packet.seq >= run.highest {
            run.highest = packet.seq;
            self.next = seq + 1;
            self.last = Some((time, packet.wall));
            if packet.vp8.is_some() {
                self.vp8 = counters;
            }
        }
        let vp8 = packet.vp8.and_then(|d| patch(&d, counters));
        Some(Outgoing { seq, time, vp8 })
    }

    fn begin(&self, packet: &Incoming) -> Run {
        let time = match self.last {
            Some((time, wall)) => {
                let passed = ((packet.wall - wall) * f64::from(packet.rate) / 1e6).round();
                let passed = passed.clamp(1.0, f64::from(u32::MAX / 4)) as u32;
                time.wrapping_add(passed).wrapping_sub(packet.time)
            }
            None => 0,
        };
        let mut run = Run {
            first: packet.seq,
            highest: packet.seq,
            shifts: VecDeque::from([(packet.seq, self.next.cast_signed() - packet.seq.cast_signed())]),
            time,
            picture: 0,
            tl0: 0,
            key: 0,
        };
        if let Some(descriptor) = &packet.vp8 {
            if let (Some(sent), Some(came)) = (self.vp8.picture, descriptor.picture_id()) {
                run.picture = sent.wrapping_add(1).wrapping_sub(came);
            }
            if let (Some(sent), Some(came)) = (self.vp8.tl0, descriptor.tl0_pic_idx()) {
                run.tl0 = sent.wrapping_add(1).wrapping_sub(came);
            }
            if let (Some(sent), Some(came)) = (self.vp8.key, descriptor.key_idx()) {
                run.key = sent.wrapping_add(1).wrapping_sub(came);
            }
        }
        run
    }
}

impl Run {
    fn vp8_counters(&self, descriptor: &Vp8Descriptor) -> Vp8Counters {
        Vp8Counters {
            picture: descriptor.picture_id().map(|id| id.wrapping_add(self.picture) & 0x7fff),
            tl0: descriptor.tl0_pic_idx().map(|id| id.wrapping_add(self.tl0)),
            key: descriptor.key_idx().map(|id| id.wrapping_add(self.key) & 0x1f),
        }
    }
}

fn patch(descriptor: &Vp8Descriptor, counters: Vp8Counters) -> Option<Vp8Patch> {
    let build = |mask: u16| {
        let mut builder = descriptor.patch();
        if let Some(id) = counters.picture {
            builder = builder.picture_id(id & mask);
        }
        if let Some(id) = counters.tl0 {
            builder = builder.tl0_pic_idx(id);
        }
        if let Some(id) = counters.key {
            builder = builder.key_idx(id);
        }
        builder.build()
    };
    // The shorter form of the picture id has seven bits.
    build(0x7fff).or_else(|_| build(0x7f)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(seq: u64, time: u32, wall_ms: f64) -> Incoming {
        Incoming { seq, time, wall: wall_ms * 1000.0, rate: 90_000, vp8: None }
    }

    #[test]
    fn numbers_run_on_across_sources() {
        let mut rewriter = Rewriter::new(100);
        let a = rewriter.map(&packet(5000, 900, 0.0)).unwrap();
        let b = rewriter.map(&packet(5001, 3900, 33.3)).unwrap();
        rewriter.change_source();
        let c = rewriter.map(&packet(70_000, 123_456, 1033.3)).unwrap();
        let d = rewriter.map(&packet(70_001, 126_456, 1066.6)).unwrap();
        assert_eq!([a.seq, b.seq, c.seq, d.seq], [100, 101, 102, 103]);
        assert_eq!(c.time - b.time, 90_000);
        assert_eq!(d.time - c.time, 3000);
    }

    #[test]
    fn gaps_of_padding_are_closed_and_loss_is_kept() {
        let mut rewriter = Rewriter::new(0);
        assert_eq!(rewriter.map(&packet(10, 0, 0.0)).unwrap().seq, 0);
        rewriter.skip(11);
        rewriter.skip(12);
        assert_eq!(rewriter.map(&packet(13, 0, 0.0)).unwrap().seq, 1);
        // 14 is lost, 15 is padding, 14 comes late.
        rewriter.skip(15);
        assert_eq!(rewriter.map(&packet(16, 0, 0.0)).unwrap().seq, 3);
        assert_eq!(rewriter.map(&packet(14, 0, 0.0)).unwrap().seq, 2);
    }

    #[test]
    fn packets_from_before_a_change_are_dropped() {
        let mut rewriter = Rewriter::new(0);
        rewriter.map(&packet(10, 0, 0.0)).unwrap();
        rewriter.change_source();
        rewriter.map(&packet(20, 0, 10.0)).unwrap();
        assert!(rewriter.map(&packet(19, 0, 10.0)).is_none());
    }

    #[test]
    fn a_large_jump_is_a_new_beginning() {
        let mut rewriter = Rewriter::new(0);
        rewriter.map(&packet(10, 0, 0.0)).unwrap();
        assert_eq!(rewriter.map(&packet(50_000, 7, 10.0)).unwrap().seq, 1);
    }

    #[test]
    fn time_advances_even_when_the_clock_went_back() {
        let mut rewriter = Rewriter::new(0);
        let a = rewriter.map(&packet(10, 50, 100.0)).unwrap();
        rewriter.change_source();
        let b = rewriter.map(&packet(10, 90, 50.0)).unwrap();
        assert_eq!(b.time, a.time + 1);
    }

    #[test]
    fn vp8_counters_run_on() {
        let payload = |picture: u16, tl0: u8, key: u8| {
            vec![0x90, 0xf0, 0x80 | (picture >> 8) as u8, picture as u8, tl0, 0x20 | key, 0x00]
        };
        let vp8 = |picture, tl0, key| Vp8Descriptor::parse(&payload(picture, tl0, key)).ok();
        let mut rewriter = Rewriter::new(0);
        rewriter.map(&Incoming { vp8: vp8(0x7ffe, 9, 31), ..packet(1, 0, 0.0) }).unwrap();
        rewriter.map(&Incoming { vp8: vp8(0x7fff, 10, 31), ..packet(2, 0, 0.0) }).unwrap();
        rewriter.change_source();
        rewriter.map(&Incoming { vp8: vp8(77, 200, 3), ..packet(900, 0, 0.0) }).unwrap();
        assert_eq!(rewriter.vp8.picture, Some(0));
        assert_eq!(rewriter.vp8.tl0, Some(11));
        assert_eq!(rewriter.vp8.key, Some(0));
    }
}
