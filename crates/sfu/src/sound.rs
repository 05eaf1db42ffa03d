//! In which form a subscriber gets a packet of sound: as it came, taken out of its redundancy, or wrapped in it.

use std::sync::Arc;

use crate::codec::Types;
use crate::red::{Restorer, Wrapper};

/// What is kept of a stream of sound.
#[derive(Debug)]
pub(crate) struct Redundancy {
    /// Once packets have come with redundancy.
    pub(crate) restorer: Option<Restorer>,
    pub(crate) wrapper: Wrapper,
}

impl Redundancy {
    pub(crate) fn new() -> Self {
        Self { restorer: None, wrapper: Wrapper::default() }
    }
}

/// One packet in the forms that there are of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sound<'a> {
    /// As it came, if that was with redundancy, and the payload type of what is within.
    pub(crate) whole: Option<(&'a Arc<[u8]>, u8)>,
    /// Without; none if those who get it so have it already.
    pub(crate) plain: Option<&'a Arc<[u8]>>,
    /// It was lost and came within another packet, which those who take redundancy get.
    pub(crate) restored: bool,
    pub(crate) seq: u64,
    pub(crate) time: u32,
}

impl<'a> Sound<'a> {
    /// The form for who negotiated `types`, and whether it has redundancy; `lossy` is who loses much. None if it gets
    /// nothing of this packet.
    pub(crate) fn form<'b>(
        &self,
        types: &Types,
        lossy: bool,
        wrapper: &'b mut Wrapper,
    ) -> Option<(&'b Arc<[u8]>, bool)>
    where
        'a: 'b,
    {
        let pt = *types.pt;
        match self.whole {
            Some((whole, within)) if types.red.is_some() && within == pt => {
                return (!self.restored).then_some((whole, true));
            }
            None if types.red.is_some() && lossy => {
                let plain = self.plain?;
                let wrapped = wrapper.wrap(self.seq, self.time, pt, plain);
                return Some(wrapped.map_or((plain, false), |wrapped| (wrapped, true)));
            }
            _ => {}
        }
        self.plain.map(|plain| (plain, false))
    }
}

#[cfg(test)]
mod tests {
    use str0m::media::Pt;

    use super::*;

    fn types(red: bool) -> Types {
        Types { pt: Pt::from(111), rtx: None, red: red.then(|| Pt::from(63)) }
    }

    fn sound<'a>(whole: Option<(&'a Arc<[u8]>, u8)>, plain: Option<&'a Arc<[u8]>>) -> Sound<'a> {
        Sound { whole, plain, restored: false, seq: 2, time: 1920 }
    }

    #[test]
    fn everybody_gets_what_it_understands() {
        let (whole, plain): (Arc<[u8]>, Arc<[u8]>) = (Arc::from(&b"whole"[..]), Arc::from(&b"plain"[..]));
        let mut wrapper = Wrapper::default();
        let mut form = |sound: Sound<'_>, red, lossy| {
            sound.form(&types(red), lossy, &mut wrapper).map(|(form, red)| (form.to_vec(), red))
        };
        let came = sound(Some((&whole, 111)), Some(&plain));
        assert_eq!(form(came, true, true), Some((b"whole".to_vec(), true)));
        assert_eq!(form(came, false, true), Some((b"plain".to_vec(), false)));
        let numbered_otherwise = sound(Some((&whole, 109)), Some(&plain));
        assert_eq!(form(numbered_otherwise, true, false), Some((b"plain".to_vec(), false)));
        let late = sound(Some((&whole, 111)), None);
        assert_eq!(form(late, true, false), Some((b"whole".to_vec(), true)));
        assert_eq!(form(late, false, false), None);
        let restored = Sound { restored: true, ..came };
        assert_eq!(form(restored, true, false), None);
        assert_eq!(form(restored, false, false), Some((b"plain".to_vec(), false)));
    }

    #[test]
    fn who_loses_much_gets_what_has_none_with_redundancy() {
        let plain: Arc<[u8]> = Arc::from(&b"plain"[..]);
        let mut wrapper = Wrapper::default();
        let came = sound(None, Some(&plain));
        assert_eq!(came.form(&types(true), true, &mut wrapper), Some((&plain, false)), "the first");
        wrapper.remember(1, 960, &plain);
        assert_eq!(came.form(&types(true), false, &mut wrapper), Some((&plain, false)));
        assert_eq!(came.form(&types(false), true, &mut wrapper), Some((&plain, false)));
        assert!(came.form(&types(true), true, &mut wrapper).unwrap().1);
    }
}
