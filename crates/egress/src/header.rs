//! RTP headers and their extensions (RFC 3550, RFC 8285).

use crate::stream::Extensions;

/// Length without extensions.
pub(crate) const FIXED: usize = 12;
/// No header is longer: two-byte elements of everything that is known, and filled up.
pub(crate) const MAX: usize = FIXED + 4 + (2 + 2) + (2 + 1) + (2 + 1) + (2 + 16) + (2 + 255) + 3;

/// Identifiers up to here, and elements of 1 to 16 bytes, fit the one-byte form.
const ONE_BYTE_IDS: u8 = 14;
const ONE_BYTE_LEN: usize = 16;

/// The fixed part of a header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) pt: u8,
    pub(crate) marker: bool,
    pub(crate) padding: bool,
    pub(crate) seq: u16,
    pub(crate) time: u32,
    pub(crate) ssrc: u32,
}

/// Contents of extensions; which of them are written is for the negotiated identifiers to say.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Elements<'a> {
    pub(crate) twcc: u16,
    pub(crate) level: Option<(i8, bool)>,
    pub(crate) orientation: Option<u8>,
    pub(crate) mid: Option<&'a [u8]>,
    pub(crate) dependency: Option<&'a [u8]>,
}

impl Elements<'_> {
    fn each(&self, ids: &Extensions, mut element: impl FnMut(u8, &[u8])) {
        if let Some(id) = ids.twcc {
            element(id, &self.twcc.to_be_bytes());
        }
        if let (Some(id), Some((level, voice))) = (ids.audio_level, self.level) {
            element(id, &[level.unsigned_abs().min(127) | u8::from(voice) << 7]);
        }
        if let (Some(id), Some(orientation)) = (ids.orientation, self.orientation) {
            element(id, &[orientation]);
        }
        if let (Some(id), Some(mid)) = (ids.mid, self.mid) {
            element(id, &mid[..mid.len().min(16)]);
        }
        if let (Some(id), Some(dependency)) = (ids.dependency, self.dependency) {
            element(id, &dependency[..dependency.len().min(255)]);
        }
    }

    /// Bytes of the contents and of all, and whether the two-byte form is needed.
    fn measure(&self, ids: &Extensions) -> (usize, bool) {
        let (mut count, mut bytes, mut wide) = (0, 0, false);
        self.each(ids, |id, contents| {
            count += 1;
            bytes += contents.len();
            wide |= id > ONE_BYTE_IDS || contents.is_empty() || contents.len() > ONE_BYTE_LEN;
        });
        (bytes + count * if wide { 2 } else { 1 }, wide)
    }

    /// Length of a header with them.
    pub(crate) fn header_len(&self, ids: &Extensions) -> usize {
        match self.measure(ids).0 {
            0 => FIXED,
            bytes => FIXED + 4 + bytes.next_multiple_of(4),
        }
    }
}

impl Header {
    /// Writes the header; returns its length. `room` has [`MAX`] bytes.
    pub(crate) fn write(&self, ids: &Extensions, elements: &Elements<'_>, room: &mut [u8]) -> usize {
        let (bytes, wide) = elements.measure(ids);
        room[0] = 0x80 | u8::from(self.padding) << 5 | u8::from(bytes > 0) << 4;
        room[1] = u8::from(self.marker) << 7 | (self.pt & 0x7f);
        room[2..4].copy_from_slice(&self.seq.to_be_bytes());
        room[4..8].copy_from_slice(&self.time.to_be_bytes());
        room[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        if bytes == 0 {
            return FIXED;
        }
        let profile: u16 = if wide { 0x1000 } else { 0xbede };
        room[12..14].copy_from_slice(&profile.to_be_bytes());
        let words = bytes.div_ceil(4);
        room[14..16].copy_from_slice(&(words as u16).to_be_bytes());
        let mut at = FIXED + 4;
        elements.each(ids, |id, contents| {
            let len = contents.len();
            if wide {
                room[at] = id;
                room[at + 1] = len as u8;
                at += 2;
            } else {
                room[at] = id << 4 | (len - 1) as u8;
                at += 1;
            }
            room[at..at + len].copy_from_slice(contents);
            at += len;
        });
        let end = FIXED + 4 + words * 4;
        room[at..end].fill(0);
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header { pt: 96, marker: true, padding: false, seq: 7, time: 8, ssrc: 9 };

    #[test]
    fn without_identifiers_there_is_no_extension() {
        let mut room = [0xff; MAX];
        let elements = Elements { mid: Some(b"0"), ..Elements::default() };
        assert_eq!(HEADER.write(&Extensions::default(), &elements, &mut room), FIXED);
        assert_eq!(room[..FIXED], [0x80, 0xe0, 0, 7, 0, 0, 0, 8, 0, 0, 0, 9]);
    }

    #[test]
    fn small_identifiers_take_one_byte() {
        let mut room = [0xff; MAX];
        let ids = Extensions { twcc: Some(3), audio_level: Some(1), mid: Some(4), ..Extensions::default() };
        let elements =
            Elements { twcc: 0x0102, level: Some((-30, true)), mid: Some(b"ab"), ..Elements::default() };
        let len = HEADER.write(&ids, &elements, &mut room);
        assert_eq!(len, elements.header_len(&ids));
        assert_eq!(room[12..len], [0xbe, 0xde, 0, 2, 0x31, 1, 2, 0x10, 0x80 | 30, 0x41, b'a', b'b'][..]);
    }

    #[test]
    fn large_identifiers_and_long_elements_take_two() {
        let mut room = [0xff; MAX];
        let ids = Extensions { twcc: Some(15), dependency: Some(2), ..Extensions::default() };
        let elements = Elements { twcc: 1, dependency: Some(&[5; 20]), ..Elements::default() };
        let len = HEADER.write(&ids, &elements, &mut room);
        assert_eq!(len, elements.header_len(&ids));
        assert_eq!(len % 4, 0);
        assert_eq!(room[12..22], [0x10, 0, 0, 7, 15, 2, 0, 1, 2, 20]);
    }

    #[test]
    fn the_longest_header_fits() {
        let mut room = [0; MAX];
        let ids = Extensions {
            audio_level: Some(1),
            twcc: Some(2),
            mid: Some(3),
            orientation: Some(4),
            dependency: Some(5),
        };
        let elements = Elements {
            twcc: 1,
            level: Some((i8::MIN, false)),
            orientation: Some(3),
            mid: Some(&[1; 40]),
            dependency: Some(&[1; 400]),
        };
        assert!(HEADER.write(&ids, &elements, &mut room) <= MAX);
    }
}
