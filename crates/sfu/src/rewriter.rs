//! Continuous numbering of one outgoing stream.
//!
//! A receive section of a subscriber keeps its SSRC for life while what is sent in it changes: another simulcast
//! layer, another publisher, a pause. Sequence numbers, RTP times and the numbers in VP8 and VP9 pictures run on across
//! every change, and numbers of packets that are not forwarded are closed, so that a receiver sees loss only where there
//! was some. RTP time advances between changes as our wall clock did, so the mapping in sender reports stays the same.

use std::collections::VecDeque;

use rtcloud_egress::Patch;

use crate::picture::{Picture, PictureId};

/// Changes of the offset that are remembered for packets that come late.
const SHIFTS: usize = 32;
/// A jump larger than this is a new beginning, not loss.
const MAX_JUMP: u64 = 3000;
/// Where pictures are numbered from, a multiple of all that their ids count: what comes late has a number too.
const ROOM: u64 = 1 << 15;

/// A packet as it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incoming {
    pub(crate) seq: u64,
    pub(crate) time: u32,
    /// When it was captured, microseconds on our clock.
    pub(crate) wall: f64,
    pub(crate) rate: u32,
    /// Of VP8 and VP9.
    pub(crate) picture: Option<Picture>,
}

/// A packet as it goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outgoing {
    pub(crate) seq: u64,
    pub(crate) time: u32,
    pub(crate) patch: Patch,
}

/// Numbers that come, without those that are closed.
#[derive(Debug)]
struct Series {
    first: u64,
    highest: u64,
    /// From which incoming number on which difference holds, oldest first, never empty.
    shifts: VecDeque<(u64, i64)>,
}

impl Series {
    fn new(first: u64, becomes: u64) -> Self {
        let shift = becomes.cast_signed().wrapping_sub(first.cast_signed());
        Self { first, highest: first, shifts: VecDeque::from([(first, shift)]) }
    }

    /// This number is not sent; what follows it moves up. For what was passed already it is too late.
    fn close(&mut self, number: u64) {
        if number <= self.highest || number > self.highest.saturating_add(MAX_JUMP) {
            return;
        }
        self.highest = number;
        let (from, shift) = self.shifts.back().copied().unwrap_or_default();
        if from == number {
            // Nothing was sent since the last one was closed.
            self.shifts.pop_back();
        } else if self.shifts.len() == SHIFTS {
            self.shifts.pop_front();
        }
        self.shifts.push_back((number.saturating_add(1), shift.wrapping_sub(1)));
    }

    /// What a number becomes; none if it is from before the beginning.
    fn map(&self, number: u64) -> Option<u64> {
        if number < self.first {
            return None;
        }
        let shift = self.shifts.iter().rev().find(|s| s.0 <= number)?.1;
        number.checked_add_signed(shift)
    }

    /// The number that ends with the given bits and lies nearest to the highest.
    fn extend(&self, bits: u16, mask: u16) -> u64 {
        let ahead = bits.wrapping_sub(self.highest as u16) & mask;
        if ahead <= mask / 2 {
            self.highest.saturating_add(u64::from(ahead))
        } else {
            self.highest.saturating_sub(u64::from(mask - ahead) + 1)
        }
    }
}

/// What was sent last of the numbers in pictures.
#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    picture: Option<u64>,
    tl0: Option<u8>,
    key: Option<u8>,
}

#[derive(Debug)]
struct Run {
    packets: Series,
    time: u32,
    /// Once one has come.
    pictures: Option<Series>,
    tl0: u8,
    key: u8,
}

/// The numbering of one outgoing stream.
#[derive(Debug)]
pub(crate) struct Rewriter {
    run: Option<Run>,
    next: u64,
    last: Option<(u32, f64)>,
    counters: Counters,
}

impl Rewriter {
    /// `first` is the first sequence number to use.
    pub(crate) fn new(first: u16) -> Self {
        Self { run: None, next: u64::from(first), last: None, counters: Counters::default() }
    }

    /// What comes next is not the continuation of what went before.
    pub(crate) fn change_source(&mut self) {
        self.run = None;
    }

    /// A packet that is not forwarded: its number is closed.
    pub(crate) fn skip(&mut self, seq: u64) {
        if let Some(run) = &mut self.run {
            run.packets.close(seq);
        }
    }

    /// Nor is its whole picture, in VP8, where receivers take a missing number for a missing picture. VP9 refers to
    /// pictures by the distance of their numbers, which therefore stays.
    pub(crate) fn skip_picture(&mut self, id: PictureId) {
        if let Some(pictures) = self.run.as_mut().and_then(|run| run.pictures.as_mut()) {
            let number = pictures.extend(id.value, mask(id));
            pictures.close(number);
        }
    }

    /// The numbers a packet gets, or none if it belongs to what was left behind.
    pub(crate) fn map(&mut self, packet: &Incoming) -> Option<Outgoing> {
        let jumped = |r: &Run| packet.seq > r.packets.highest.saturating_add(MAX_JUMP);
        if self.run.as_ref().is_some_and(jumped) {
            self.run = None;
        }
        if self.run.is_none() {
            self.run = Some(self.begin(packet));
        }
        let run = self.run.as_mut()?;
        let seq = run.packets.map(packet.seq)?;
        let time = packet.time.wrapping_add(run.time);
        let mut patch = Patch::NONE;
        let newest = packet.seq >= run.packets.highest;
        if let Some(picture) = &packet.picture {
            let counters = run.count(picture, self.counters.picture);
            let id = counters.picture.unwrap_or_default() as u16 & 0x7fff;
            patch = picture.patch(id, counters.tl0.unwrap_or_default(), counters.key.unwrap_or_default());
            if newest {
                self.counters = Counters {
                    picture: counters.picture.max(self.counters.picture),
                    tl0: counters.tl0.or(self.counters.tl0),
                    key: counters.key.or(self.counters.key),
                };
            }
        }
        if newest {
            run.packets.highest = packet.seq;
            self.next = seq.saturating_add(1);
            self.last = Some((time, packet.wall));
        }
        Some(Outgoing { seq, time, patch })
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
        let mut run =
            Run { packets: Series::new(packet.seq, self.next), time, pictures: None, tl0: 0, key: 0 };
        if let Some(picture) = &packet.picture {
            if let (Some(sent), Some(came)) = (self.counters.tl0, picture.tl0) {
                run.tl0 = sent.wrapping_add(1).wrapping_sub(came);
            }
            if let (Some(sent), Some(came)) = (self.counters.key, picture.key) {
                run.key = sent.wrapping_add(1).wrapping_sub(came);
            }
        }
        run
    }
}

impl Run {
    fn count(&mut self, picture: &Picture, sent: Option<u64>) -> Counters {
        let number = picture.id.and_then(|id| {
            let first = ROOM + u64::from(id.value);
            let begin = || Series::new(first, sent.map_or(first, |sent| sent + 1));
            let pictures = self.pictures.get_or_insert_with(begin);
            let number = pictures.extend(id.value, mask(id)).max(pictures.first);
            pictures.highest = pictures.highest.max(number);
            pictures.map(number)
        });
        Counters {
            picture: number,
            tl0: picture.tl0.map(|tl0| tl0.wrapping_add(self.tl0)),
            key: picture.key.map(|key| key.wrapping_add(self.key) & 0x1f),
        }
    }
}

fn mask(id: PictureId) -> u16 {
    if id.wide { 0x7fff } else { 0x7f }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(seq: u64, time: u32, wall_ms: f64) -> Incoming {
        Incoming { seq, time, wall: wall_ms * 1000.0, rate: 90_000, picture: None }
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

    fn vp8(seq: u64, picture: u16, tl0: u8, key: u8) -> (Incoming, [u8; 7]) {
        let payload = [0x90, 0xf0, 0x80 | (picture >> 8) as u8, picture as u8, tl0, 0x20 | key, 0x00];
        (Incoming { picture: Picture::vp8(&payload), ..packet(seq, 0, 0.0) }, payload)
    }

    /// Picture id and index of the base layer as they are sent.
    fn sent(rewriter: &mut Rewriter, (packet, mut payload): (Incoming, [u8; 7])) -> (u16, u8) {
        rewriter.map(&packet).unwrap().patch.apply(&mut payload);
        let picture = Picture::vp8(&payload).unwrap();
        (picture.id.unwrap().value, picture.tl0.unwrap())
    }

    #[test]
    fn vp8_counters_run_on() {
        let mut rewriter = Rewriter::new(0);
        assert_eq!(sent(&mut rewriter, vp8(1, 0x7ffe, 9, 31)), (0x7ffe, 9));
        assert_eq!(sent(&mut rewriter, vp8(2, 0x7fff, 10, 31)), (0x7fff, 10));
        rewriter.change_source();
        assert_eq!(sent(&mut rewriter, vp8(900, 77, 200, 3)), (0, 11));
        assert_eq!(sent(&mut rewriter, vp8(902, 79, 201, 3)), (2, 12));
        assert_eq!(sent(&mut rewriter, vp8(901, 78, 201, 3)), (1, 12), "it comes late");
        assert_eq!(rewriter.counters.key, Some(0));
    }

    #[test]
    fn vp8_pictures_that_are_left_out_leave_no_gap() {
        let mut rewriter = Rewriter::new(0);
        let mut ids = Vec::new();
        for n in 0..200u16 {
            let picture = 0x7fc0_u16.wrapping_add(n) & 0x7fff;
            if n % 4 == 2 || n % 4 == 3 {
                rewriter.skip(u64::from(n));
                rewriter.skip_picture(PictureId { value: picture, wide: true });
            } else {
                ids.push(sent(&mut rewriter, vp8(u64::from(n), picture, 0, 0)).0);
            }
        }
        assert_eq!(ids.len(), 100);
        assert!(ids.windows(2).all(|w| w[1] == (w[0] + 1) & 0x7fff), "{ids:?}");
        assert_eq!(rewriter.next, 100);
    }

    #[test]
    fn vp9_numbers_run_on() {
        let vp9 = |seq, picture: u16, tl0| {
            let payload = [0xac, 0x80 | (picture >> 8) as u8, picture as u8, 0, tl0, 1];
            (Incoming { picture: Picture::vp9(&payload), ..packet(seq, 0, 0.0) }, payload)
        };
        let mut rewriter = Rewriter::new(0);
        rewriter.map(&vp9(1, 500, 9).0).unwrap();
        rewriter.change_source();
        let (came, mut payload) = vp9(70, 3, 77);
        rewriter.map(&came).unwrap().patch.apply(&mut payload);
        assert_eq!(payload, [0xac, 0x81, 0xf5, 0, 10, 1]);
    }
}
