//! What was sent lately, to be sent again.
//!
//! A table by sequence number that grows with the stream's rate: as small as what [`KEEP`] needs, never larger than
//! [`MAX_ENTRIES`]. What is overwritten or older cannot be repeated. Entries point to the shared payload.

use crate::packet::Entry;

/// How long packets are worth repeating, in milliseconds: receivers give up about then.
pub(crate) const KEEP: u32 = 1000;
/// Packets of one stream.
pub(crate) const MAX_ENTRIES: usize = 512;
const FIRST_ENTRIES: usize = 32;

#[derive(Debug, Default)]
pub(crate) struct Ring {
    slots: Vec<Option<Entry>>,
    /// The highest sequence number that came.
    highest: Option<u64>,
}

impl Ring {
    fn place(&self, seq: u64) -> usize {
        // The length is a power of two.
        (seq as usize) & self.slots.len().wrapping_sub(1)
    }

    /// Slots there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Keeps a packet; `room` is how many slots may be added to the first few, which every stream has.
    pub(crate) fn insert(&mut self, entry: Entry, now: u32, room: usize) {
        if self.slots.is_empty() {
            self.slots.resize(FIRST_ENTRIES, None);
        }
        let old = self.slots[self.place(entry.seq)].as_ref();
        if old.is_some_and(|old| now.wrapping_sub(old.sent) < KEEP && old.seq < entry.seq)
            && self.slots.len() < MAX_ENTRIES
            && self.slots.len() <= room
        {
            self.grow();
        }
        self.highest = Some(self.highest.map_or(entry.seq, |h| h.max(entry.seq)));
        let place = self.place(entry.seq);
        // A packet that comes very late does not push out a newer one.
        if self.slots[place].as_ref().is_none_or(|old| old.seq <= entry.seq) {
            self.slots[place] = Some(entry);
        }
    }

    fn grow(&mut self) {
        let doubled = self.slots.len() * 2;
        let old = std::mem::replace(&mut self.slots, vec![None; doubled]);
        for entry in old.into_iter().flatten() {
            let place = self.place(entry.seq);
            self.slots[place] = Some(entry);
        }
    }

    /// The number that a client means by its lower 16 bits: none is higher than the highest.
    pub(crate) fn extend(&self, seq: u16) -> Option<u64> {
        let highest = self.highest?;
        highest.checked_sub(u64::from((highest as u16).wrapping_sub(seq)))
    }

    pub(crate) fn get_mut(&mut self, seq: u64) -> Option<&mut Entry> {
        let place = self.place(seq);
        self.slots.get_mut(place)?.as_mut().filter(|e| e.seq == seq)
    }

    /// The newest packet that is still here and of which `fits` is true, among the last few.
    pub(crate) fn newest(&self, fits: impl Fn(&Entry) -> bool) -> Option<u64> {
        let highest = self.highest?;
        (0..16).filter_map(|back| highest.checked_sub(back)).find(|seq| {
            let entry = self.slots.get(self.place(*seq)).and_then(Option::as_ref);
            entry.is_some_and(|e| e.seq == *seq && fits(e))
        })
    }

    /// Nothing of what was kept is worth repeating any longer.
    pub(crate) fn clear(&mut self) {
        self.slots.fill(None);
    }

    /// Lets go of payloads that nobody asks for any more, and of the table when it is empty; whether some are left.
    pub(crate) fn expire(&mut self, now: u32) -> bool {
        let mut left = false;
        for slot in &mut self.slots {
            if slot.as_ref().is_some_and(|e| now.wrapping_sub(e.sent) > 2 * KEEP) {
                *slot = None;
            }
            left |= slot.is_some();
        }
        if !left && self.slots.len() > FIRST_ENTRIES {
            self.slots = Vec::new();
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::packet::{Packet, Patch};

    fn entry(seq: u64, sent: u32) -> Entry {
        let mut entry = Entry::new(&Packet {
            pt: 96,
            rtx_pt: None,
            seq,
            time: 0,
            marker: false,
            wall: Instant::now(),
            payload: &Arc::from([0; 4]),
            patch: Patch::NONE,
            level: None,
            orientation: None,
            dependency: None,
            resend: true,
        });
        entry.sent = sent;
        entry
    }

    #[test]
    fn it_grows_with_the_rate_and_not_beyond_its_bound() {
        let mut slow = Ring::default();
        for seq in 0..2000u32 {
            slow.insert(entry(seq.into(), seq * 50), seq * 50, 10_000);
        }
        assert_eq!(slow.len(), FIRST_ENTRIES);
        let mut fast = Ring::default();
        for seq in 0..2000u32 {
            fast.insert(entry(seq.into(), seq), seq, 10_000);
        }
        assert_eq!(fast.len(), MAX_ENTRIES);
        assert!(fast.get_mut(1999).is_some());
        assert!(fast.get_mut(1999 - 511).is_some());
        assert!(fast.get_mut(1999 - 512).is_none());
    }

    #[test]
    fn it_takes_no_more_than_there_is() {
        let mut ring = Ring::default();
        for seq in 0..200 {
            ring.insert(entry(seq, 0), 0, FIRST_ENTRIES - 1);
        }
        assert_eq!(ring.len(), FIRST_ENTRIES);
        assert!(ring.get_mut(199).is_some());
        for seq in 200..400 {
            ring.insert(entry(seq, 0), 0, FIRST_ENTRIES);
        }
        assert_eq!(ring.len(), 2 * FIRST_ENTRIES);
        assert!(!ring.expire(2 * KEEP + 1));
        assert_eq!(ring.len(), 0);
    }

    #[test]
    fn numbers_are_found_across_their_overflow() {
        let mut ring = Ring::default();
        assert_eq!(ring.extend(3), None);
        for seq in 65_530..65_540 {
            ring.insert(entry(seq, 0), 0, 1000);
        }
        assert_eq!(ring.extend(65_535), Some(65_535));
        assert_eq!(ring.extend(2), Some(65_538));
        // Ahead of everything: an age ago, where nothing is.
        assert_eq!(ring.extend(4), Some(4));
        let mut young = Ring::default();
        young.insert(entry(3, 0), 0, 1000);
        assert_eq!(young.extend(4), None);
    }

    #[test]
    fn a_late_packet_is_kept_and_an_old_one_forgotten() {
        let mut ring = Ring::default();
        ring.insert(entry(10, 0), 0, 1000);
        ring.insert(entry(12, 0), 0, 1000);
        ring.insert(entry(11, 5), 5, 1000);
        assert!(ring.get_mut(11).is_some());
        assert_eq!(ring.newest(|_| true), Some(12));
        ring.expire(2 * KEEP + 1);
        assert!(ring.get_mut(12).is_none() && ring.get_mut(11).is_some());
    }
}
