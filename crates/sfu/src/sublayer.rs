//! Layers within one stream: which packets of it a subscriber gets.
//!
//! VP8 has layers in time, VP9 in time and in size. What is wanted is an [`Aim`]; less is sent from the next picture on,
//! more only from where a decoder can follow that has not seen the layers so far. In time that is where the descriptor
//! says so; in size it is a key picture, or at once if what was left out has not come for a while anyway (a publisher
//! that adds a layer begins it with what everybody can decode).
//!
//! A picture is decided upon with its first packet, and all others of it, late ones too, share its fate. The last packet
//! of what is sent of it carries the marker.

use crate::picture::Picture;

/// Pictures whose fate is remembered, a power of two: as many as a picture can refer back over.
const REMEMBERED: usize = 128;
/// A layer that was not in so many pictures does not come.
const ABSENT: u8 = 30;

/// The highest layers wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aim {
    pub(crate) spatial: u8,
    pub(crate) temporal: u8,
}

impl Aim {
    /// Everything.
    pub(crate) const ALL: Self = Self { spatial: 7, temporal: 7 };
}

#[derive(Debug, Clone, Copy)]
struct Fate {
    id: u16,
    /// The highest spatial layer that is sent of it; none if it is left out.
    sent: Option<u8>,
}

/// What one subscriber gets of one stream.
#[derive(Debug)]
pub(crate) struct Sieve {
    aim: Aim,
    /// What a decoder can follow that got everything this let through.
    reached: Aim,
    newest: Option<u16>,
    fates: [Option<Fate>; REMEMBERED],
    /// Something of the newest picture was left out for its size.
    cut: bool,
    /// Pictures since one had a layer above what is reached.
    absent: u8,
}

impl Sieve {
    /// For a stream that was sent whole so far.
    pub(crate) fn new(aim: Aim) -> Self {
        Self { aim, reached: Aim::ALL, newest: None, fates: [None; REMEMBERED], cut: false, absent: 0 }
    }

    pub(crate) fn set_aim(&mut self, aim: Aim) {
        self.aim = aim;
    }

    /// Whether everything passes, so that nothing need be remembered.
    pub(crate) fn is_open(&self) -> bool {
        self.aim == Aim::ALL && self.reached == Aim::ALL
    }

    /// Whether a key picture is needed to get what is wanted.
    pub(crate) fn needs_key(&self) -> bool {
        self.reached.spatial < self.aim.spatial && self.absent < ABSENT
    }

    /// The highest spatial layer that is sent.
    pub(crate) fn spatial(&self) -> u8 {
        self.reached.spatial.min(self.aim.spatial)
    }

    /// The marker a packet goes out with; none if it does not. What has no number cannot be sieved.
    pub(crate) fn take(&mut self, picture: &Picture, marker: bool) -> Option<bool> {
        let Some(id) = picture.id else { return Some(marker) };
        let (mask, id) = (if id.wide { 0x7fff } else { 0x7f }, id.value);
        let slot = usize::from(id) % REMEMBERED;
        let known = self.fates[slot].filter(|f| f.id == id);
        let newer = match self.newest {
            None => true,
            // Who begins anew may count otherwise.
            Some(newest) => is_ahead(id, newest, mask) || (picture.is_key() && known.is_none()),
        };
        let fate = if newer {
            self.begin(picture);
            self.newest = Some(id);
            let sent = self.admits(picture, id, mask).then_some(self.reached.spatial);
            *self.fates[slot].insert(Fate { id, sent })
        } else if let Some(fate) = known {
            // A key picture whose upper layers came before its base.
            if picture.is_key() && self.newest == Some(id) && !self.cut {
                self.reached = self.aim;
                *self.fates[slot].insert(Fate { id, sent: Some(self.reached.spatial) })
            } else {
                fate
            }
        } else {
            // All of a late picture is late.
            let sent = (picture.temporal <= self.reached.temporal).then_some(self.reached.spatial);
            let fate = Fate { id, sent };
            if self.fates[slot].is_none_or(|f| is_ahead(id, f.id, mask)) {
                self.fates[slot] = Some(fate);
            }
            fate
        };
        if picture.spatial > self.reached.spatial {
            self.absent = 0;
        }
        let sent = fate.sent?;
        if picture.spatial > sent {
            self.cut |= self.newest == Some(id);
            return None;
        }
        Some(marker || (picture.ends && picture.spatial == sent))
    }

    /// Another picture begins: now what is wanted can become what is sent.
    fn begin(&mut self, picture: &Picture) {
        self.cut = false;
        self.absent = self.absent.saturating_add(1);
        if picture.is_key() {
            self.reached = self.aim;
            return;
        }
        self.reached.spatial = self.reached.spatial.min(self.aim.spatial);
        self.reached.temporal = self.reached.temporal.min(self.aim.temporal);
        if self.absent >= ABSENT {
            self.reached.spatial = self.aim.spatial;
        }
        if picture.up && picture.temporal <= self.reached.temporal {
            self.reached.temporal = self.aim.temporal;
        }
        if picture.sync && picture.temporal == self.reached.temporal + 1 {
            self.reached.temporal = picture.temporal.min(self.aim.temporal);
        }
    }

    /// Whether a new picture is sent: its layer is reached, or all that it refers to was sent.
    fn admits(&self, picture: &Picture, id: u16, mask: u16) -> bool {
        if picture.temporal <= self.reached.temporal {
            return true;
        }
        let sent = |back: &u8| {
            let id = id.wrapping_sub(u16::from(*back)) & mask;
            self.fates[usize::from(id) % REMEMBERED].is_some_and(|f| f.id == id && f.sent.is_some())
        };
        picture.temporal <= self.aim.temporal
            && picture.references.is_some_and(|all| all.iter().filter(|back| **back > 0).all(sent))
    }
}

fn is_ahead(id: u16, of: u16, mask: u16) -> bool {
    let ahead = id.wrapping_sub(of) & mask;
    ahead > 0 && ahead <= mask / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::PictureId;

    /// A packet that is a whole layer of a picture.
    fn packet(id: u16, spatial: u8, temporal: u8) -> Picture {
        let bytes = [0xec, 0x80 | (id >> 8) as u8, id as u8, temporal << 5 | spatial << 1, 0, 0];
        Picture::vp9(&bytes).unwrap()
    }

    fn key(id: u16, spatial: u8) -> Picture {
        Picture { predicted: false, ..packet(id, spatial, 0) }
    }

    /// What is sent of a picture of three layers: how many, and where the marker is.
    fn send(sieve: &mut Sieve, of: impl Fn(u8) -> Picture) -> (usize, Option<u8>) {
        let taken: Vec<(u8, bool)> =
            (0..3).filter_map(|s| sieve.take(&of(s), s == 2).map(|marker| (s, marker))).collect();
        let marked: Vec<u8> = taken.iter().filter(|t| t.1).map(|t| t.0).collect();
        assert!(marked.len() <= 1);
        (taken.len(), marked.first().copied())
    }

    fn aim(spatial: u8, temporal: u8) -> Aim {
        Aim { spatial, temporal }
    }

    #[test]
    fn everything_passes_unchanged_when_all_is_wanted() {
        let mut sieve = Sieve::new(Aim::ALL);
        assert_eq!(send(&mut sieve, |s| key(1, s)), (3, Some(2)));
        assert_eq!(send(&mut sieve, |s| packet(2, s, 2)), (3, Some(2)));
        assert!(sieve.is_open());
    }

    #[test]
    fn fewer_spatial_layers_are_sent_at_once_and_more_from_a_key_picture_on() {
        let mut sieve = Sieve::new(aim(2, 7));
        send(&mut sieve, |s| key(1, s));
        assert_eq!(sieve.take(&packet(2, 0, 0), false), Some(false));
        sieve.set_aim(aim(1, 7));
        assert_eq!(
            sieve.take(&packet(2, 1, 0), false),
            Some(false),
            "the picture is finished as it was begun"
        );
        assert_eq!(sieve.take(&packet(2, 2, 0), true), Some(true));
        assert_eq!(send(&mut sieve, |s| packet(3, s, 0)), (2, Some(1)));
        sieve.set_aim(aim(0, 7));
        assert_eq!(send(&mut sieve, |s| packet(4, s, 0)), (1, Some(0)));
        sieve.set_aim(aim(2, 7));
        assert!(sieve.needs_key());
        assert_eq!(send(&mut sieve, |s| packet(5, s, 0)), (1, Some(0)));
        assert_eq!(send(&mut sieve, |s| key(6, s)), (3, Some(2)));
        assert!(!sieve.needs_key());
    }

    #[test]
    fn a_layer_that_did_not_come_is_sent_when_it_begins() {
        let mut sieve = Sieve::new(aim(0, 7));
        for id in 1..40 {
            assert_eq!(sieve.take(&packet(id, 0, 0), true), Some(true));
        }
        sieve.set_aim(aim(2, 7));
        assert!(!sieve.needs_key());
        assert_eq!(sieve.take(&packet(40, 0, 0), false), Some(false));
        assert_eq!(sieve.take(&packet(40, 1, 0), true), Some(true));
    }

    #[test]
    fn temporal_layers_return_at_switching_points() {
        let mut sieve = Sieve::new(aim(7, 0));
        let up = |id, temporal| Picture { up: true, ..packet(id, 0, temporal) };
        assert!(sieve.take(&key(1, 0), true).is_some());
        assert!(sieve.take(&packet(2, 0, 2), true).is_none());
        sieve.set_aim(aim(7, 2));
        assert!(sieve.take(&packet(3, 0, 1), true).is_none());
        assert!(sieve.take(&up(4, 2), true).is_none(), "it may need what was left out");
        assert!(sieve.take(&packet(5, 0, 0), true).is_some());
        assert!(sieve.take(&up(6, 0), true).is_some());
        assert!(sieve.take(&packet(7, 0, 2), true).is_some());
        assert!(sieve.take(&packet(8, 0, 1), true).is_some());
    }

    #[test]
    fn vp8_climbs_step_by_step_at_synchronised_pictures() {
        let picture = |id, temporal: u8, sync: bool| {
            let bytes = [0x90, 0xe0, 0x80, id, 0, temporal << 6 | u8::from(sync) << 5, 0x01];
            Picture::vp8(&bytes).unwrap()
        };
        let mut sieve = Sieve::new(aim(7, 0));
        let passes =
            |sieve: &mut Sieve, id, temporal, sync| sieve.take(&picture(id, temporal, sync), true).is_some();
        assert!(passes(&mut sieve, 1, 0, false));
        assert!(!passes(&mut sieve, 2, 2, true));
        sieve.set_aim(Aim::ALL);
        assert!(!passes(&mut sieve, 3, 2, true), "the layer between is missing");
        assert!(!passes(&mut sieve, 4, 1, false));
        assert!(passes(&mut sieve, 5, 1, true));
        assert!(!passes(&mut sieve, 6, 2, false));
        assert!(passes(&mut sieve, 7, 2, true));
        assert!(passes(&mut sieve, 8, 1, false));
        sieve.set_aim(aim(7, 1));
        assert!(!passes(&mut sieve, 9, 2, true));
        assert!(passes(&mut sieve, 10, 1, false));
    }

    #[test]
    fn references_say_what_can_be_decoded() {
        let flexible = |id: u16, temporal: u8, references: [u8; 3]| Picture {
            references: Some(references),
            ..packet(id, 0, temporal)
        };
        let mut sieve = Sieve::new(aim(7, 0));
        assert!(sieve.take(&key(1, 0), true).is_some());
        assert!(sieve.take(&flexible(2, 1, [1, 0, 0]), true).is_none());
        sieve.set_aim(aim(7, 2));
        assert!(sieve.take(&flexible(3, 2, [1, 0, 0]), true).is_none());
        assert!(sieve.take(&flexible(4, 2, [3, 0, 0]), true).is_some());
        assert!(sieve.take(&flexible(5, 2, [1, 3, 0]), true).is_none());
    }

    #[test]
    fn late_packets_share_the_fate_of_their_picture() {
        let mut sieve = Sieve::new(aim(1, 0));
        assert!(sieve.take(&key(0x7ffe, 0), false).is_some());
        assert!(sieve.take(&packet(0x7fff, 0, 2), false).is_none());
        sieve.set_aim(Aim::ALL);
        assert!(sieve.take(&key(0, 0), false).is_some());
        assert!(sieve.take(&packet(0x7fff, 1, 2), false).is_none());
        assert_eq!(sieve.take(&packet(0x7ffe, 1, 0), false), Some(true));
        assert_eq!(sieve.take(&packet(0, 2, 0), false), Some(false));
    }

    #[test]
    fn the_base_of_a_key_picture_may_come_last() {
        let mut sieve = Sieve::new(aim(0, 0));
        send(&mut sieve, |s| key(1, s));
        sieve.set_aim(aim(1, 0));
        assert!(sieve.take(&key(2, 1), true).is_none(), "it is not known yet that this is a key picture");
        assert_eq!(sieve.take(&key(2, 0), false), Some(true));
        assert!(sieve.needs_key());
        assert_eq!(send(&mut sieve, |s| key(3, s)), (2, Some(1)));
    }

    #[test]
    fn a_publisher_that_counts_anew_is_followed() {
        let mut sieve = Sieve::new(aim(0, 0));
        sieve.take(&key(9000, 0), true);
        assert!(sieve.take(&key(5, 0), true).is_some());
        assert!(sieve.take(&packet(6, 0, 1), true).is_none());
    }

    #[test]
    fn what_has_no_number_passes() {
        let mut sieve = Sieve::new(aim(0, 0));
        let picture = Picture { id: None, ..packet(1, 2, 2) };
        assert_eq!(sieve.take(&picture, true), Some(true));
        let short = Picture { id: Some(PictureId { value: 127, wide: false }), ..packet(0, 0, 0) };
        assert!(sieve.take(&short, true).is_some());
        let next = Picture { id: Some(PictureId { value: 0, wide: false }), ..packet(0, 0, 1) };
        assert!(sieve.take(&next, true).is_none());
    }
}
