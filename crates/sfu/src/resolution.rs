//! The size of pictures, read out of the first packet of key pictures, where that is cheap.

use str0m::format::Codec;

/// Bits of a sequence parameter set that are looked at; its size stands well before.
const MAX_SPS: usize = 256;

/// Pixels across and down. None if this packet does not tell.
pub(crate) fn of(codec: Codec, payload: &[u8]) -> Option<(u32, u32)> {
    let (width, height) = match codec {
        Codec::Vp8 => vp8(payload),
        Codec::Vp9 => vp9(payload),
        Codec::H264 => h264(payload),
        _ => None,
    }?;
    (width > 0 && height > 0 && width <= 16_384 && height <= 16_384).then_some((width, height))
}

/// RFC 7741 and RFC 6386: behind the descriptor three bytes of frame tag, a start code, and twice 14 bits.
fn vp8(payload: &[u8]) -> Option<(u32, u32)> {
    let first = *payload.first()?;
    let mut at = 1;
    if first & 0x80 != 0 {
        let present = *payload.get(at)?;
        at += 1;
        if present & 0x80 != 0 {
            at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
        }
        at += usize::from(present & 0x40 != 0) + usize::from(present & 0x30 != 0);
    }
    let [tag, _, _, 0x9d, 0x01, 0x2a, a, b, c, d, ..] = payload.get(at..)? else { return None };
    let side = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    (tag & 1 == 0).then(|| (side(*a, *b), side(*c, *d)))
}

/// RFC 9628: the largest layer of the scalability structure.
fn vp9(payload: &[u8]) -> Option<(u32, u32)> {
    let first = *payload.first()?;
    if first & 0x42 != 0x02 {
        return None;
    }
    let mut at = 1;
    if first & 0x80 != 0 {
        at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
    }
    if first & 0x20 != 0 {
        at += if first & 0x10 != 0 { 1 } else { 2 };
    }
    let structure = *payload.get(at)?;
    if structure & 0x10 == 0 {
        return None;
    }
    let largest = at + 1 + 4 * usize::from(structure >> 5);
    let [a, b, c, d] = *payload.get(largest..largest + 4)? else { return None };
    Some((u32::from(u16::from_be_bytes([a, b])), u32::from(u16::from_be_bytes([c, d]))))
}

/// RFC 6184: a sequence parameter set alone or in an aggregate.
fn h264(payload: &[u8]) -> Option<(u32, u32)> {
    const SPS: u8 = 7;
    const STAP_A: u8 = 24;
    match payload.first()? & 0x1f {
        SPS => sps(payload),
        STAP_A => {
            let mut rest = &payload[1..];
            while let [a, b, tail @ ..] = rest {
                let len = usize::from(u16::from_be_bytes([*a, *b]));
                let unit = tail.get(..len)?;
                if unit.first()? & 0x1f == SPS {
                    return sps(unit);
                }
                rest = &tail[len..];
            }
            None
        }
        _ => None,
    }
}

/// Bits of a unit, without the bytes that only keep start codes out of it.
struct Bits {
    bytes: [u8; MAX_SPS],
    len: usize,
    at: usize,
}

impl Bits {
    fn new(unit: &[u8]) -> Self {
        let (mut bytes, mut len, mut zeros) = ([0; MAX_SPS], 0, 0);
        for &byte in unit {
            if len == MAX_SPS {
                break;
            }
            if zeros >= 2 && byte == 3 {
                zeros = 0;
                continue;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            bytes[len] = byte;
            len += 1;
        }
        Self { bytes, len, at: 0 }
    }

    fn bit(&mut self) -> Option<u32> {
        let byte = self.bytes[..self.len].get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(u32::from(bit))
    }

    fn bits(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0u32, |value, _| Some(value << 1 | self.bit()?))
    }

    /// ue(v); none above 16 bits, which nothing here has.
    fn exp(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > 16 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.bits(zeros)?)
    }
}

/// Rec. ITU-T H.264, 7.3.2.1.1. Of the high profiles only those with 4:2:0 and without scaling lists.
fn sps(unit: &[u8]) -> Option<(u32, u32)> {
    let mut bits = Bits::new(unit);
    bits.bits(8)?;
    let profile = bits.bits(8)?;
    bits.bits(16)?;
    bits.exp()?;
    if matches!(profile, 44 | 83 | 86 | 100 | 110 | 118 | 122 | 128 | 244) {
        let format = bits.exp()?;
        bits.exp()?;
        bits.exp()?;
        let (_bypass, scaling) = (bits.bit()?, bits.bit()?);
        if format != 1 || scaling != 0 {
            return None;
        }
    }
    bits.exp()?;
    match bits.exp()? {
        0 => {
            bits.exp()?;
        }
        1 => {
            bits.bit()?;
            bits.exp()?;
            bits.exp()?;
            for _ in 0..bits.exp()?.min(255) {
                bits.exp()?;
            }
        }
        _ => {}
    }
    bits.exp()?;
    bits.bit()?;
    let across = bits.exp()? + 1;
    let down = bits.exp()? + 1;
    let whole_frames = bits.bit()?;
    if whole_frames == 0 {
        bits.bit()?;
    }
    bits.bit()?;
    let rows = 2 - whole_frames;
    let (mut width, mut height) = (across * 16, down * 16 * rows);
    if bits.bit()? == 1 {
        let [left, right, top, bottom] = [bits.exp()?, bits.exp()?, bits.exp()?, bits.exp()?];
        width = width.saturating_sub(2 * (left + right));
        height = height.saturating_sub(2 * rows * (top + bottom));
    }
    Some((width, height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vp8_key_pictures_tell_their_size() {
        let key = [0x90, 0x80, 0x81, 0x02, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x41];
        assert_eq!(of(Codec::Vp8, &key), Some((640, 360)));
        assert_eq!(of(Codec::Vp8, &key[..13]), None);
        assert_eq!(of(Codec::Vp8, &[0x90, 0x80, 0x81, 0x02, 0x11, 0, 0, 0x9d, 1, 0x2a, 1, 1, 1, 1]), None);
    }

    #[test]
    fn vp9_tells_its_largest_layer() {
        let key = [0xaa, 0x81, 0x02, 0x00, 0x07, 0x30, 0x01, 0x40, 0x00, 0xb4, 0x02, 0x80, 0x01, 0x68];
        assert_eq!(of(Codec::Vp9, &key), Some((640, 360)));
        assert_eq!(of(Codec::Vp9, &key[..12]), None);
        assert_eq!(of(Codec::Vp9, &[0x88, 0x01]), None);
    }

    #[test]
    fn h264_tells_it_in_its_parameters() {
        // Written by libx264: 1280 × 720, and 1920 × 1080 of baseline, whose last rows are cut off.
        let small = [0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xec, 0x04];
        assert_eq!(of(Codec::H264, &small), Some((1280, 720)));
        let mut aggregate = vec![0x78, 0, 2, 0x09, 0xf0, 0, 10];
        aggregate.extend(small);
        assert_eq!(of(Codec::H264, &aggregate), Some((1280, 720)));
        let large = [0x67, 0x42, 0xc0, 0x28, 0xda, 0x01, 0xe0, 0x08, 0x9f, 0x96];
        assert_eq!(of(Codec::H264, &large), Some((1920, 1080)));
        for len in 0..8 {
            assert_eq!(of(Codec::H264, &small[..len.min(6)]), None);
        }
    }

    #[test]
    fn any_bytes_are_survived() {
        let mut state = 1u32;
        for len in 0..2000 {
            let bytes: Vec<u8> = (0..len % 300)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    if state >> 30 == 0 { 0 } else { (state >> 16) as u8 }
                })
                .collect();
            for codec in [Codec::H264, Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::Opus] {
                let _ = of(codec, &bytes);
            }
        }
    }
}
