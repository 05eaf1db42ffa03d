//! What the payload descriptors of VP8 (RFC 7741) and VP9 (RFC 9628) say of a picture, and the bytes to overwrite when
//! its numbers change.

use rtcloud_egress::Patch;

/// Pictures that a VP9 descriptor can refer to.
const MAX_REFERENCES: usize = 3;
/// From the picture id to the last byte that changes.
const RUN: usize = 4;

/// The number of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PictureId {
    pub(crate) value: u16,
    /// It has 15 bits, not 7.
    pub(crate) wide: bool,
}

/// One packet's descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) id: Option<PictureId>,
    pub(crate) tl0: Option<u8>,
    /// VP8's number of the key picture.
    pub(crate) key: Option<u8>,
    pub(crate) temporal: u8,
    pub(crate) spatial: u8,
    /// VP8: it refers to nothing above the base layer.
    pub(crate) sync: bool,
    /// VP9: what follows refers to nothing above this layer that came before.
    pub(crate) up: bool,
    /// It needs other pictures.
    pub(crate) predicted: bool,
    /// It needs the layer below of the same picture.
    pub(crate) stacked: bool,
    /// Beginning and end of a picture's layer. VP8 tells the end by the marker.
    pub(crate) begins: bool,
    pub(crate) ends: bool,
    /// VP9: how many spatial layers there are, where it is told.
    pub(crate) layers: Option<u8>,
    /// VP9, flexible mode: how far back the pictures lie that it needs, 0 for none; otherwise none of it is known.
    pub(crate) references: Option<[u8; MAX_REFERENCES]>,
    pub(crate) numbers: Numbers,
}

/// Where its numbers stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Numbers {
    at: u8,
    len: u8,
    bytes: [u8; RUN],
    tl0_at: u8,
    key_at: u8,
}

impl Numbers {
    fn set(&mut self, payload: &[u8], start: usize, end: usize) -> Option<()> {
        let run = payload.get(start..end)?;
        self.bytes.get_mut(..run.len())?.copy_from_slice(run);
        (self.at, self.len) = (start as u8, run.len() as u8);
        Some(())
    }
}

/// Reads bytes one after the other.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }

    fn id(&mut self) -> Option<PictureId> {
        let first = self.next()?;
        let wide = first & 0x80 != 0;
        let high = u16::from(first & 0x7f);
        let value = if wide { high << 8 | u16::from(self.next()?) } else { high };
        Some(PictureId { value, wide })
    }
}

impl Picture {
    fn empty() -> Self {
        Self {
            id: None,
            tl0: None,
            key: None,
            temporal: 0,
            spatial: 0,
            sync: false,
            up: false,
            predicted: true,
            stacked: false,
            begins: false,
            ends: false,
            layers: None,
            references: None,
            numbers: Numbers::default(),
        }
    }

    /// None if it is malformed.
    pub(crate) fn vp8(payload: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes: payload, at: 0 };
        let mut picture = Self::empty();
        let first = reader.next()?;
        picture.begins = first & 0x10 != 0 && first & 0x07 == 0;
        if first & 0x80 != 0 {
            let present = reader.next()?;
            let start = reader.at;
            if present & 0x80 != 0 {
                picture.id = Some(reader.id()?);
            }
            if present & 0x40 != 0 {
                picture.numbers.tl0_at = (reader.at - start) as u8;
                picture.tl0 = Some(reader.next()?);
            }
            if present & 0x30 != 0 {
                picture.numbers.key_at = (reader.at - start) as u8;
                let byte = reader.next()?;
                if present & 0x20 != 0 {
                    (picture.temporal, picture.sync) = (byte >> 6, byte & 0x20 != 0);
                }
                picture.key = (present & 0x10 != 0).then_some(byte & 0x1f);
            }
            picture.numbers.set(payload, start, reader.at)?;
        }
        // Only the first packet tells.
        let body = reader.next()?;
        picture.predicted = !(picture.begins && body & 0x01 == 0);
        Some(picture)
    }

    /// None if it is malformed.
    pub(crate) fn vp9(payload: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes: payload, at: 0 };
        let mut picture = Self::empty();
        let first = reader.next()?;
        let flexible = first & 0x10 != 0;
        picture.predicted = first & 0x40 != 0;
        (picture.begins, picture.ends) = (first & 0x08 != 0, first & 0x04 != 0);
        let start = reader.at;
        if first & 0x80 != 0 {
            picture.id = Some(reader.id()?);
        }
        if first & 0x20 != 0 {
            let byte = reader.next()?;
            (picture.temporal, picture.spatial) = (byte >> 5, byte >> 1 & 0x07);
            (picture.up, picture.stacked) = (byte & 0x10 != 0, byte & 0x01 != 0);
            if !flexible {
                picture.numbers.tl0_at = (reader.at - start) as u8;
                picture.tl0 = Some(reader.next()?);
            }
        }
        picture.numbers.set(payload, start, reader.at)?;
        if flexible {
            let mut references = [0; MAX_REFERENCES];
            if picture.predicted {
                let mut more = true;
                for reference in &mut references {
                    if more {
                        let byte = reader.next()?;
                        (*reference, more) = (byte >> 1, byte & 0x01 != 0);
                    }
                }
                if more {
                    return None;
                }
            }
            picture.references = Some(references);
        }
        if first & 0x02 != 0 {
            picture.layers = Some(structure(&mut reader)?);
        }
        // What describes nothing is none.
        reader.next()?;
        Some(picture)
    }

    /// Whether a decoder that knows nothing can begin with this picture.
    pub(crate) fn is_key(&self) -> bool {
        !self.predicted && self.spatial == 0
    }

    /// The packet with other numbers. What it has not is not given one; a short picture id keeps its seven bits.
    pub(crate) fn patch(&self, id: u16, tl0: u8, key: u8) -> Patch {
        let mut run = self.numbers.bytes;
        match self.id {
            Some(PictureId { wide: true, .. }) => {
                (run[0], run[1]) = (0x80 | (id >> 8) as u8, id as u8);
            }
            Some(_) => run[0] = id as u8 & 0x7f,
            None => {}
        }
        if self.tl0.is_some() {
            run[usize::from(self.numbers.tl0_at) % RUN] = tl0;
        }
        if self.key.is_some() {
            let byte = &mut run[usize::from(self.numbers.key_at) % RUN];
            *byte = *byte & 0xe0 | key & 0x1f;
        }
        if run == self.numbers.bytes {
            return Patch::NONE;
        }
        let len = usize::from(self.numbers.len).min(RUN);
        Patch::new(self.numbers.at, &run[..len]).unwrap_or(Patch::NONE)
    }
}

/// Passes over a scalability structure; how many spatial layers it tells.
fn structure(reader: &mut Reader<'_>) -> Option<u8> {
    let first = reader.next()?;
    let layers = (first >> 5) + 1;
    if first & 0x10 != 0 {
        reader.at += 4 * usize::from(layers);
    }
    if first & 0x08 != 0 {
        for _ in 0..reader.next()? {
            reader.at += usize::from(reader.next()? >> 2 & 0x03);
        }
    }
    Some(layers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(payload: &[u8], patch: Patch) -> Vec<u8> {
        let mut out = payload.to_vec();
        patch.apply(&mut out);
        out
    }

    #[test]
    fn vp8_descriptors_are_read() {
        let key = Picture::vp8(&[0x90, 0xf0, 0x81, 0x02, 7, 0x23, 0x10]).unwrap();
        assert_eq!(key.id, Some(PictureId { value: 0x102, wide: true }));
        assert_eq!((key.tl0, key.key, key.temporal, key.sync), (Some(7), Some(3), 0, true));
        assert!(key.begins && key.is_key());
        let later = Picture::vp8(&[0x80, 0xe0, 0x05, 7, 0x80, 0x10]).unwrap();
        assert_eq!(later.id, Some(PictureId { value: 5, wide: false }));
        assert_eq!((later.temporal, later.sync, later.key), (2, false, None));
        assert!(!later.begins && !later.is_key(), "only the first packet tells of a key picture");
        let bare = Picture::vp8(&[0x10, 0x00]).unwrap();
        assert_eq!((bare.id, bare.tl0), (None, None));
        assert!(bare.is_key() && !Picture::vp8(&[0x10, 0x01]).unwrap().is_key());
    }

    #[test]
    fn vp9_descriptors_are_read() {
        // I P L B, wide id, T1 U S2 D, TL0.
        let picture = Picture::vp9(&[0xe8, 0x81, 0x02, 0x35, 9, 0xff]).unwrap();
        assert_eq!(picture.id, Some(PictureId { value: 0x102, wide: true }));
        assert_eq!((picture.temporal, picture.spatial, picture.tl0), (1, 2, Some(9)));
        assert!(picture.up && picture.stacked && picture.predicted && picture.begins && !picture.ends);
        assert_eq!(picture.references, None);
        // Flexible, with two references.
        let picture = Picture::vp9(&[0xf4, 0x05, 0x40, 0x03, 0x08, 0xff]).unwrap();
        assert_eq!((picture.references, picture.tl0), (Some([1, 4, 0]), None));
        assert!(picture.ends && !picture.begins && picture.temporal == 2);
        // A key picture with its structure: three layers with sizes, one picture in the group with one reference.
        let mut key = vec![0xaa, 0x81, 0x02, 0, 9, 0x58];
        key.extend_from_slice(&[0; 12]);
        key.extend_from_slice(&[1, 0x14, 4, 0xff]);
        let picture = Picture::vp9(&key).unwrap();
        assert_eq!(picture.layers, Some(3));
        assert!(picture.is_key());
        assert!(Picture::vp9(&key[..key.len() - 1]).is_none());
    }

    #[test]
    fn what_is_cut_short_is_none() {
        for payload in [&[0x90u8, 0xf0, 0x81, 0x02, 7, 0x23][..], &[]] {
            for len in 0..=payload.len() {
                assert!(Picture::vp8(&payload[..len]).is_none());
            }
        }
        for payload in [&[0xfau8, 0x81, 0x02, 0, 0x03, 0x05, 0x07, 0][..], &[0xaa, 0x81, 2, 0, 9, 0x18, 200]]
        {
            for len in 0..=payload.len() {
                assert!(Picture::vp9(&payload[..len]).is_none(), "{len}");
            }
        }
    }

    #[test]
    fn numbers_are_overwritten_in_place() {
        let vp8 = [0x90, 0xf0, 0x81, 0x02, 7, 0x63, 0x10];
        let picture = Picture::vp8(&vp8).unwrap();
        assert_eq!(patched(&vp8, picture.patch(0x7abc, 200, 30)), [0x90, 0xf0, 0xfa, 0xbc, 200, 0x7e, 0x10]);
        assert!(picture.patch(0x102, 7, 3).is_none());
        let short = [0x80, 0xc0 | 0x20, 0x05, 7, 0x80, 0x10];
        let picture = Picture::vp8(&short).unwrap();
        assert_eq!(patched(&short, picture.patch(0x185, 8, 1)), [0x80, 0xe0, 0x05, 8, 0x80, 0x10]);
        let vp9 = [0xe8, 0x81, 0x02, 0x35, 9, 0xff];
        let picture = Picture::vp9(&vp9).unwrap();
        assert_eq!(patched(&vp9, picture.patch(3, 10, 9)), [0xe8, 0x80, 0x03, 0x35, 10, 0xff]);
        let flexible = [0xf4, 0x05, 0x40, 0x03, 0x08, 0xff];
        let picture = Picture::vp9(&flexible).unwrap();
        assert_eq!(patched(&flexible, picture.patch(6, 10, 9)), [0xf4, 0x06, 0x40, 0x03, 0x08, 0xff]);
    }
}
