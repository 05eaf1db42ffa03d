//! Redundant audio (RFC 2198): packets that carry the ones before them once more.
//!
//! A publisher that sends so has its packets forwarded as they are to those who understand them. For all others they
//! are unwrapped here, and what was lost on the way to us is restored from the packet after it. For those who understand
//! them and lose much, packets of publishers that do not send so are wrapped here.
//!
//! A restored packet takes a number only if its RTP time lies between those of its neighbours, and a number is given
//! out once: what was restored and comes late after all is not forwarded a second time.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// Blocks beside the newest; browsers send one to three.
const MAX_BLOCKS: usize = 8;
/// Numbers that are remembered, a power of two: more than any block lies back.
const REMEMBERED: usize = 32;
/// The offset of a block has 14 bits, its length 10.
const MAX_OFFSET: u32 = 0x3fff;
const MAX_LENGTH: usize = 0x3ff;
/// How far back what we wrap ourselves reaches.
const DISTANCES: usize = 2;
/// Larger packets are not made; they would not fit into every path.
const MAX_MADE: usize = 1100;
/// Who loses this much is sent everything several times,
const LOSSY: f32 = 0.03;
/// until this little was lost,
const CALM: f32 = 0.01;
/// for so long.
const CALM_FOR: Duration = Duration::from_secs(10);
/// How long it takes at most until a report can tell of what was lost.
const UNDER_WAY: Duration = Duration::from_millis(500);

/// An older packet within a newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Block<'a> {
    pub(crate) pt: u8,
    /// How much older its RTP time is.
    pub(crate) offset: u32,
    pub(crate) payload: &'a [u8],
}

/// A packet with what it repeats.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Red<'a> {
    pub(crate) pt: u8,
    pub(crate) primary: &'a [u8],
    blocks: [Block<'a>; MAX_BLOCKS],
    count: usize,
}

impl<'a> Red<'a> {
    /// None if it is malformed or repeats more than anybody does.
    pub(crate) fn parse(payload: &'a [u8]) -> Option<Self> {
        let mut blocks = [Block::default(); MAX_BLOCKS];
        let mut lengths = [0; MAX_BLOCKS];
        let (mut count, mut rest) = (0, payload);
        let pt = loop {
            let (&first, after) = rest.split_first()?;
            if first & 0x80 == 0 {
                rest = after;
                break first;
            }
            let (&[a, b, c], after) = after.split_first_chunk::<3>()?;
            let fields = u32::from_be_bytes([0, a, b, c]);
            *lengths.get_mut(count)? = (fields & 0x3ff) as usize;
            blocks[count] = Block { pt: first & 0x7f, offset: fields >> 10, payload: &[] };
            (count, rest) = (count + 1, after);
        };
        for (block, length) in blocks.iter_mut().zip(lengths).take(count) {
            (block.payload, rest) = rest.split_at_checked(length)?;
        }
        Some(Self { pt, primary: rest, blocks, count })
    }

    /// What it repeats, oldest first.
    pub(crate) fn blocks(&self) -> &[Block<'a>] {
        &self.blocks[..self.count]
    }

    /// Whether everything in it is of this payload type, so that it can be sent on as it is.
    pub(crate) fn is_of(&self, pt: u8) -> bool {
        self.pt == pt && self.blocks().iter().all(|b| b.pt == pt)
    }
}

/// A packet that was lost and is there again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Restored<'a> {
    pub(crate) seq: u64,
    pub(crate) time: u32,
    pub(crate) payload: &'a [u8],
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    seq: u64,
    time: u32,
}

/// What came of one stream lately.
#[derive(Debug)]
pub(crate) struct Restorer {
    /// By number.
    seen: [Option<Seen>; REMEMBERED],
    highest: Option<u64>,
}

impl Restorer {
    pub(crate) fn new() -> Self {
        Self { seen: [None; REMEMBERED], highest: None }
    }

    /// A packet came. False if it is there already, or too old to know.
    pub(crate) fn take(&mut self, seq: u64, time: u32) -> bool {
        if self.highest.is_some_and(|h| seq.saturating_add(REMEMBERED as u64) <= h) || self.at(seq).is_some()
        {
            return false;
        }
        self.seen[seq as usize % REMEMBERED] = Some(Seen { seq, time });
        self.highest = Some(self.highest.map_or(seq, |h| h.max(seq)));
        true
    }

    fn at(&self, seq: u64) -> Option<Seen> {
        self.seen[seq as usize % REMEMBERED].filter(|s| s.seq == seq)
    }

    /// What a packet, that was just taken, brings back of those before it, oldest first.
    pub(crate) fn restore<'a>(&mut self, seq: u64, time: u32, red: &Red<'a>) -> Vec<Restored<'a>> {
        let mut restored = Vec::new();
        // Nothing is allocated unless something was lost.
        for (index, block) in red.blocks().iter().enumerate() {
            let back = (red.count - index) as u64;
            let time = time.wrapping_sub(block.offset);
            let Some(seq) = seq.checked_sub(back) else { continue };
            if block.pt == red.pt
                && !block.payload.is_empty()
                && block.offset > 0
                && self.fits(seq, time)
                && self.take(seq, time)
            {
                restored.push(Restored { seq, time, payload: block.payload });
            }
        }
        restored
    }

    /// Whether a packet of this time may have this number: the nearest that came before and after say so. Of what went
    /// before everything that came nothing is restored: nobody waits for it.
    fn fits(&self, seq: u64, time: u32) -> bool {
        let (mut before, mut after) = (None::<Seen>, None::<Seen>);
        for seen in self.seen.iter().flatten() {
            if seen.seq < seq && before.is_none_or(|b| b.seq < seen.seq) {
                before = Some(*seen);
            } else if seen.seq > seq && after.is_none_or(|a| a.seq > seen.seq) {
                after = Some(*seen);
            }
        }
        let (Some(before), Some(after)) = (before, after) else { return false };
        let (up, down) = (time.wrapping_sub(before.time), after.time.wrapping_sub(time));
        (1..1 << 31).contains(&up) && (1..1 << 31).contains(&down)
    }
}

/// A packet that went by: number, RTP time, contents.
type Before = (u64, u32, Arc<[u8]>);

/// Wraps the packets of a stream that comes without redundancy.
#[derive(Debug, Default)]
pub(crate) struct Wrapper {
    /// The newest first.
    before: [Option<Before>; DISTANCES],
    made: Option<(u64, u8, Arc<[u8]>)>,
}

impl Wrapper {
    /// The packet with those right before it; `pt` is what all are sent as. None if it would repeat nothing.
    pub(crate) fn wrap(&mut self, seq: u64, time: u32, pt: u8, payload: &[u8]) -> Option<&Arc<[u8]>> {
        if self.made.as_ref().is_none_or(|m| (m.0, m.1) != (seq, pt)) {
            self.made = Some((seq, pt, self.make(time, seq, pt, payload)?));
        }
        self.made.as_ref().map(|m| &m.2)
    }

    fn make(&self, time: u32, seq: u64, pt: u8, payload: &[u8]) -> Option<Arc<[u8]>> {
        let mut size = payload.len() + 1;
        let mut blocks: [Option<(u32, &[u8])>; DISTANCES] = [None; DISTANCES];
        for (index, entry) in self.before.iter().enumerate() {
            let Some((number, then, contents)) = entry else { break };
            let offset = time.wrapping_sub(*then);
            // Receivers count backwards: after a gap the older ones would be taken for others.
            let next = number.checked_add(index as u64 + 1) == Some(seq);
            if !next || offset == 0 || offset > MAX_OFFSET || contents.len() > MAX_LENGTH {
                break;
            }
            size += contents.len() + 4;
            if size > MAX_MADE {
                break;
            }
            blocks[index] = Some((offset, contents));
        }
        blocks[0]?;
        let mut made = Vec::with_capacity(size);
        for (offset, contents) in blocks.iter().rev().flatten() {
            let fields = (offset << 10 | contents.len() as u32).to_be_bytes();
            made.extend_from_slice(&[0x80 | pt, fields[1], fields[2], fields[3]]);
        }
        made.push(pt & 0x7f);
        for (_, contents) in blocks.iter().rev().flatten() {
            made.extend_from_slice(contents);
        }
        made.extend_from_slice(payload);
        Some(made.into())
    }

    /// A packet went by, wrapped or not.
    pub(crate) fn remember(&mut self, seq: u64, time: u32, payload: &Arc<[u8]>) {
        if self.before[0].as_ref().is_some_and(|b| b.0 >= seq) {
            return;
        }
        self.before.rotate_right(1);
        self.before[0] = Some((seq, time, payload.clone()));
    }
}

/// Whether somebody loses so much that everything is worth sending several times.
#[derive(Debug, Default)]
pub(crate) struct Protection {
    on: bool,
    calm_since: Option<Instant>,
    /// When the last report came.
    reported: Option<Instant>,
}

impl Protection {
    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    /// A report about what was sent came. If a buffer ran over since the one before, that is what it tells of, and more
    /// redundancy would only fill it again.
    pub(crate) fn handle_loss(&mut self, fraction: f32, ran_over: Option<Instant>, now: Instant) {
        let before = self.reported.replace(now);
        let overflow = ran_over.is_some_and(|at| before.is_none_or(|before| at + UNDER_WAY >= before));
        if fraction >= LOSSY && !overflow {
            self.on = true;
        }
        if fraction > CALM {
            self.calm_since = None;
            return;
        }
        let since = *self.calm_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= CALM_FOR {
            self.on = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(blocks: &[(u8, u32, &[u8])], pt: u8, primary: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for (pt, offset, contents) in blocks {
            let fields = (offset << 10 | contents.len() as u32).to_be_bytes();
            out.extend_from_slice(&[0x80 | pt, fields[1], fields[2], fields[3]]);
        }
        out.push(pt);
        blocks.iter().for_each(|b| out.extend_from_slice(b.2));
        out.extend_from_slice(primary);
        out
    }

    #[test]
    fn a_packet_is_taken_apart() {
        let payload = made(&[(111, 1920, b"aa"), (111, 960, b"bbb")], 111, b"cccc");
        let red = Red::parse(&payload).unwrap();
        assert_eq!((red.pt, red.primary), (111, &b"cccc"[..]));
        assert_eq!(red.blocks()[0], Block { pt: 111, offset: 1920, payload: b"aa" });
        assert_eq!(red.blocks()[1], Block { pt: 111, offset: 960, payload: b"bbb" });
        assert!(red.is_of(111) && !red.is_of(109));
        let alone = Red::parse(&[111, 1, 2]).unwrap();
        assert_eq!((alone.primary, alone.blocks().len()), (&[1, 2][..], 0));
    }

    #[test]
    fn what_is_malformed_is_none() {
        let whole = made(&[(111, 960, b"bbb")], 111, b"");
        for len in 0..whole.len() {
            assert!(Red::parse(&whole[..len]).is_none(), "{len}");
        }
        assert!(Red::parse(&whole).is_some());
        let many = vec![(111, 960, &b""[..]); MAX_BLOCKS + 1];
        assert!(Red::parse(&made(&many, 111, b"")).is_none());
        assert!(Red::parse(&made(&many[1..], 111, b"")).is_some());
    }

    #[test]
    fn a_lost_packet_is_restored_once() {
        let mut restorer = Restorer::new();
        assert!(restorer.take(9, 8640));
        assert!(restorer.take(11, 10_560));
        let payload = made(&[(111, 960, b"b")], 111, b"c");
        let red = Red::parse(&payload).unwrap();
        let back = restorer.restore(11, 10_560, &red);
        assert_eq!(back, [Restored { seq: 10, time: 9600, payload: b"b" }]);
        assert!(restorer.restore(11, 10_560, &red).is_empty());
        assert!(!restorer.take(10, 9600), "it comes late after all");
        assert!(restorer.take(12, 11_520));
    }

    #[test]
    fn several_lost_packets_come_back_in_order() {
        let mut restorer = Restorer::new();
        restorer.take(9, 8640);
        restorer.take(12, 11_520);
        let payload = made(&[(111, 2880, b"z"), (111, 1920, b"a"), (111, 960, b"b")], 111, b"c");
        let back = restorer.restore(12, 11_520, &Red::parse(&payload).unwrap());
        assert_eq!(back.iter().map(|r| (r.seq, r.time)).collect::<Vec<_>>(), [(10, 9600), (11, 10_560)]);
    }

    #[test]
    fn nothing_is_restored_whose_number_is_not_certain() {
        let take = |restorer: &mut Restorer, seq, time| assert!(restorer.take(seq, time));
        // A block of another distance than its place says.
        let mut restorer = Restorer::new();
        take(&mut restorer, 9, 8640);
        take(&mut restorer, 12, 11_520);
        let payload = made(&[(111, 2880, b"z")], 111, b"c");
        assert!(restorer.restore(12, 11_520, &Red::parse(&payload).unwrap()).is_empty());
        // Before the beginning; of another codec; empty.
        let mut restorer = Restorer::new();
        take(&mut restorer, 12, 11_520);
        for blocks in [(111, 960, &b"b"[..]), (13, 960, b"b"), (111, 960, b"")] {
            let payload = made(&[blocks], 111, b"c");
            assert!(restorer.restore(12, 11_520, &Red::parse(&payload).unwrap()).is_empty());
        }
        assert!(
            Restorer::new().restore(0, 0, &Red::parse(&made(&[(1, 1, b"b")], 1, b"")).unwrap()).is_empty()
        );
    }

    #[test]
    fn numbers_are_forgotten_in_turn() {
        let mut restorer = Restorer::new();
        for seq in 1000..1100u64 {
            assert!(restorer.take(seq, seq as u32 * 960));
        }
        assert!(!restorer.take(1000, 1000 * 960));
        assert!(!restorer.take(1090, 1090 * 960));
        assert!(restorer.take(u64::MAX, 5));
    }

    #[test]
    fn packets_are_wrapped_with_those_before() {
        let mut wrapper = Wrapper::default();
        let payload = |n: u64| -> Arc<[u8]> { Arc::from(vec![n as u8; 3]) };
        let mut wrap = |seq: u64| {
            let wrapped = wrapper.wrap(seq, seq as u32 * 960, 111, &payload(seq)).cloned();
            wrapper.remember(seq, seq as u32 * 960, &payload(seq));
            wrapped
        };
        assert!(wrap(5).is_none());
        let second = wrap(6).unwrap();
        let second = Red::parse(&second).unwrap();
        assert_eq!(second.blocks(), [Block { pt: 111, offset: 960, payload: &[5; 3] }]);
        let third = wrap(7).unwrap();
        let third = Red::parse(&third).unwrap();
        assert_eq!(third.primary, [7; 3]);
        assert_eq!(third.blocks().iter().map(|b| b.offset).collect::<Vec<_>>(), [1920, 960]);
        assert!(wrap(9).is_none(), "after a gap");
        assert_eq!(Red::parse(&wrap(10).unwrap()).unwrap().blocks().len(), 1);
    }

    #[test]
    fn what_is_too_large_is_not_wrapped() {
        let mut wrapper = Wrapper::default();
        let large: Arc<[u8]> = Arc::from(vec![1; MAX_LENGTH + 1]);
        wrapper.remember(1, 960, &large);
        assert!(wrapper.wrap(2, 1920, 111, b"x").is_none());
        let full: Arc<[u8]> = Arc::from(vec![1; 600]);
        wrapper.remember(2, 1920, &full);
        assert!(wrapper.wrap(3, 2880, 111, &full).is_none());
        assert!(wrapper.wrap(3, 2880 + MAX_OFFSET, 111, b"x").is_none());
        assert!(wrapper.wrap(3, 2880, 111, b"x").is_some());
    }

    #[test]
    fn who_loses_much_is_protected_until_it_is_calm_for_a_while() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut protection = Protection::default();
        protection.handle_loss(0.02, None, at(0));
        assert!(!protection.is_on());
        protection.handle_loss(0.1, None, at(1));
        assert!(protection.is_on());
        protection.handle_loss(0.0, None, at(2));
        protection.handle_loss(0.02, None, at(8));
        protection.handle_loss(0.0, None, at(9));
        protection.handle_loss(0.0, None, at(18));
        assert!(protection.is_on());
        protection.handle_loss(0.0, None, at(19));
        assert!(!protection.is_on());
    }
    #[test]
    fn what_a_full_buffer_took_is_not_sent_several_times() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut protection = Protection::default();
        protection.handle_loss(0.0, None, at(0));
        protection.handle_loss(0.2, Some(at(1)), at(5));
        assert!(!protection.is_on(), "the report is of that time");
        protection.handle_loss(0.2, Some(at(1)), at(10));
        assert!(protection.is_on(), "and this one is not");
    }
}
