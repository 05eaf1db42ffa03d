//! H.264 units that come in fragments and never end.
//!
//! Who puts a stream together keeps the fragments of a unit until its last one comes, the recorder's and every other
//! robot's depacketizer without any bound. What is longer than any picture is therefore not forwarded: the fragments
//! that follow are left out until one ends the unit, which frees what was kept.

/// Most of a unit: a key picture of 4K in good quality has less than half of it.
const MAX_UNIT: usize = 4 * 1024 * 1024;

const FU_A: u8 = 28;
const FU_B: u8 = 29;

/// How much of a unit has come.
#[derive(Debug, Default)]
pub(crate) struct Fragments {
    size: usize,
}

impl Fragments {
    /// Whether a packet can be sent on.
    pub(crate) fn admit(&mut self, payload: &[u8]) -> bool {
        let [first, header, ..] = payload else { return true };
        if !matches!(first & 0x1f, FU_A | FU_B) {
            return true;
        }
        if header & 0x40 != 0 {
            self.size = 0;
            return true;
        }
        // Beginning anew does not end the unit before: no depacketizer takes it so.
        self.size = self.size.saturating_add(payload.len());
        self.size <= MAX_UNIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_never_ends_is_not_forwarded_for_ever() {
        let (mut fragments, mut sent) = (Fragments::default(), 0);
        let mut packet = vec![0; 1200];
        for n in 0..100_000 {
            (packet[0], packet[1]) = (0x7c, if n % 50 == 0 { 0x85 } else { 0x05 });
            sent += if fragments.admit(&packet) { packet.len() } else { 0 };
        }
        assert!(sent <= MAX_UNIT && sent > MAX_UNIT - 1200);
        assert!(fragments.admit(&[0x41, 0x9a]), "what is whole passes");
        assert!(!fragments.admit(&packet));
        assert!(fragments.admit(&[0x7c, 0x45, 0]), "so does what ends it");
        assert!(fragments.admit(&packet));
    }

    #[test]
    fn pictures_pass() {
        let mut fragments = Fragments::default();
        for _ in 0..100 {
            for n in 0..1000 {
                let header = if n == 0 { 0x85 } else { 0x05 | u8::from(n == 999) << 6 };
                assert!(fragments.admit(&[&[0x7c, header][..], &[0; 1400]].concat()));
            }
        }
        assert!(fragments.admit(&[]) && fragments.admit(&[0x7c]));
    }
}
