//! Packets that carry the time they were sent, for measuring the delay through a server.
//!
//! An access unit is made of NAL units small enough to be one packet each; behind the NAL header stand a mark and the
//! time in 7-bit groups with the high bit set, so that no start code can appear.

/// Buckets of a delay histogram: 16 per octave, from 1 µs to 16 s.
pub const BUCKETS: usize = 24 * 16;

const MARK: [u8; 4] = *b"\xf2rtc";
const TIME_BYTES: usize = 9;

/// One H.264 access unit of `packets` NAL units of `size` bytes that say they were sent at `unix_us`.
pub fn access_unit(packets: usize, size: usize, keyframe: bool, unix_us: u64) -> Vec<u8> {
    let mut unit = Vec::with_capacity(packets * (size + 4));
    if keyframe {
        // Baseline, 1280x720; nobody decodes it, but forwarders look for it.
        unit.extend_from_slice(&[
            0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0x50, 0x05, 0xbb, 0x01, 0x10,
        ]);
        unit.extend_from_slice(&[0, 0, 0, 1, 0x68, 0xcb, 0x83, 0xcb, 0x20]);
    }
    for index in 0..packets {
        unit.extend_from_slice(&[0, 0, 0, 1]);
        let end = unit.len() + size.max(2 + MARK.len() + TIME_BYTES);
        unit.push(if keyframe { 0x65 } else { 0x41 });
        mark(&mut unit, unix_us);
        // first_mb_in_slice = 0 only in the first slice
        unit.push(if index == 0 { 0x88 } else { 0x42 });
        unit.resize(end, 0xa5);
    }
    unit
}

/// One Opus packet of `size` bytes that says it was sent at `unix_us`. It decodes to noise.
pub fn opus_packet(size: usize, unix_us: u64) -> Vec<u8> {
    let mut packet = vec![0xfc];
    mark(&mut packet, unix_us);
    packet.resize(size.max(packet.len()), 0xa5);
    packet
}

fn mark(payload: &mut Vec<u8>, unix_us: u64) {
    payload.extend_from_slice(&MARK);
    payload.extend((0..TIME_BYTES).map(|group| 0x80 | ((unix_us >> (7 * group)) & 0x7f) as u8));
}

/// The time inside a whole frame, if its first packet is marked.
pub fn frame_sent_us(frame: &[u8]) -> Option<u64> {
    sent_us(frame).or_else(|| sent_us(frame.strip_prefix(&[0, 0, 0, 1])?))
}

/// The time inside one packet's payload, if it is marked.
pub fn sent_us(payload: &[u8]) -> Option<u64> {
    let rest = payload.get(1..)?.strip_prefix(&MARK)?;
    let groups = rest.get(..TIME_BYTES)?;
    Some(groups.iter().rev().fold(0, |time, group| (time << 7) | u64::from(group & 0x7f)))
}

/// Bucket of a delay.
pub fn bucket(delay_us: u64) -> usize {
    let value = delay_us.max(1);
    let octave = 63 - value.leading_zeros() as usize;
    let fraction = if octave >= 4 { (value >> (octave - 4)) & 15 } else { (value << (4 - octave)) & 15 };
    (octave * 16 + fraction as usize).min(BUCKETS - 1)
}

/// Smallest delay of a bucket, in µs.
pub fn bucket_floor_us(bucket: usize) -> f64 {
    let (octave, fraction) = (bucket / 16, bucket % 16);
    2f64.powi(octave as i32) * (1.0 + fraction as f64 / 16.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_comes_back() {
        for time in [0, 1, 127, 1_790_000_000_123_456] {
            let unit = access_unit(2, 1100, false, time);
            assert_eq!(sent_us(&unit[4..]), Some(time));
            assert_eq!(unit.len(), 2 * 1104);
        }
        assert_eq!(sent_us(&opus_packet(120, 5)), Some(5));
        assert_eq!(frame_sent_us(&access_unit(2, 1100, false, 7)), Some(7));
        assert_eq!(sent_us(b"\x41\xf2rtc\x80"), None);
        assert_eq!(sent_us(b""), None);
    }

    #[test]
    fn buckets_are_in_order() {
        let mut last = 0;
        for delay in 1..2_000_000 {
            let at = bucket(delay);
            assert!(at >= last);
            assert!(bucket_floor_us(at) <= delay as f64);
            assert!(bucket_floor_us(at + 1) > delay as f64 || at == BUCKETS - 1);
            last = at;
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }
}
