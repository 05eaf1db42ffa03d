//! What simulated media carries instead of pictures and sound: enough to know, at the other end, what is whole and how
//! late it is.

/// Packets of sound begin with this byte, which is an Opus one of 20 ms.
pub(crate) const SOUND: u8 = 0x78;
/// Bytes of the codec before the stamp of a picture's packet.
pub(crate) const PICTURE_HEADER: usize = 2;
const LEN: usize = 18;

/// One packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) layer: u8,
    pub(crate) key: bool,
    /// Which packet of so many of the frame.
    pub(crate) index: u16,
    pub(crate) count: u16,
    /// Of the frame, within its layer; each one but key frames needs the one before.
    pub(crate) number: u32,
    /// Microseconds since the world's start.
    pub(crate) captured: u64,
}

impl Stamp {
    fn write(&self, into: &mut Vec<u8>, len: usize) {
        into.extend_from_slice(&[self.layer, u8::from(self.key)]);
        into.extend_from_slice(&self.index.to_be_bytes());
        into.extend_from_slice(&self.count.to_be_bytes());
        into.extend_from_slice(&self.number.to_be_bytes());
        into.extend_from_slice(&self.captured.to_be_bytes());
        into.resize(len.max(into.len()), 7);
    }

    /// A packet of H.264.
    pub(crate) fn picture(&self, len: usize) -> Vec<u8> {
        let (first, last) = (self.index == 0, self.index + 1 == self.count);
        let unit = if self.key { 0x65 } else { 0x41 };
        let mut payload = match (first, last) {
            (true, true) => vec![unit, 0x88],
            // In fragments (RFC 6184, FU-A), the first and the last of which say so.
            _ => vec![0x5c | unit & 0x60, unit & 0x1f | u8::from(first) << 7 | u8::from(last) << 6],
        };
        self.write(&mut payload, len);
        payload
    }

    /// A packet of Opus.
    pub(crate) fn sound(&self, len: usize) -> Vec<u8> {
        let mut payload = vec![SOUND];
        self.write(&mut payload, len);
        payload
    }

    pub(crate) fn read_picture(payload: &[u8]) -> Option<Self> {
        Self::read(payload.get(PICTURE_HEADER..)?)
    }

    /// From plain Opus.
    pub(crate) fn read_sound(payload: &[u8]) -> Option<Self> {
        Self::read(payload.strip_prefix(&[SOUND])?)
    }

    /// From all blocks of RFC 2198, the oldest first.
    pub(crate) fn read_redundant(payload: &[u8]) -> Option<Vec<Self>> {
        let mut rest = payload;
        let mut lengths = Vec::new();
        while rest.first()? & 0x80 != 0 {
            let header = rest.get(..4)?;
            lengths.push(usize::from(u16::from_be_bytes([header[2], header[3]]) & 0x3ff));
            rest = &rest[4..];
        }
        rest = &rest[1..];
        let mut found = Vec::new();
        for len in lengths {
            found.extend(Self::read_sound(rest.get(..len)?));
            rest = &rest[len..];
        }
        found.extend(Self::read_sound(rest));
        Some(found)
    }

    fn read(from: &[u8]) -> Option<Self> {
        let b: &[u8; LEN] = from.get(..LEN)?.try_into().ok()?;
        Some(Self {
            layer: b[0],
            key: b[1] != 0,
            index: u16::from_be_bytes([b[2], b[3]]),
            count: u16::from_be_bytes([b[4], b[5]]),
            number: u32::from_be_bytes([b[6], b[7], b[8], b[9]]),
            captured: u64::from_be_bytes([b[10], b[11], b[12], b[13], b[14], b[15], b[16], b[17]]),
        })
    }
}
