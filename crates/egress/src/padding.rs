//! Padding (RFC 3550, 5.1) that makes packets of one frame equal in size.
//!
//! Equal packets leave in one piece (GSO), which costs a fraction of sending them one by one. Encoders split frames
//! into nearly equal parts, so a byte here and there is all that lacks. The last of a run may be smaller as it is.

use crate::packet::Entry;
use crate::stream::Stream;

/// A packet gets at most so many bytes.
const MAX_PADDING: usize = 24;

/// Gives each waiting packet the padding that its run needs.
pub(crate) fn equalise(stream: &Stream, pending: &mut [Entry]) {
    let size = |entry: &Entry| stream.header_len(entry) + entry.payload.len();
    let mut begin = 0;
    while begin < pending.len() {
        let first = size(&pending[begin]);
        let (mut smallest, mut largest, mut end) = (first, first, begin + 1);
        let mut next = pending.get(end).map(size);
        while let Some(bytes) = next {
            if largest.max(bytes) - smallest.min(bytes) > MAX_PADDING {
                break;
            }
            (smallest, largest, end) = (smallest.min(bytes), largest.max(bytes), end + 1);
            next = pending.get(end).map(size);
        }
        // What follows joins the run only as its smaller end, and only if all before it are equal.
        let followed = next.is_some_and(|bytes| bytes < largest);
        let padded = if followed { end } else { end - 1 };
        for entry in &mut pending[begin..padded.max(begin)] {
            entry.padding = (largest - size(entry)) as u8;
        }
        begin = end;
    }
}

/// Fills a place with padding that says its own length.
pub(crate) fn write(room: &mut [u8]) {
    let len = room.len();
    if let Some((last, rest)) = room.split_last_mut() {
        rest.fill(0);
        *last = len as u8;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::packet::{Packet, Patch};
    use crate::stream::StreamConfig;

    fn padded(sizes: &[usize]) -> Vec<usize> {
        let now = Instant::now();
        let (mid, clock_rate) = (String::new(), 90_000);
        let stream = Stream::new(StreamConfig { ssrc: 1, rtx: None, video: true, mid, clock_rate }, now);
        let entry = |size: &usize| {
            Entry::new(&Packet {
                pt: 96,
                rtx_pt: None,
                seq: 0,
                time: 0,
                marker: false,
                wall: now,
                payload: &Arc::from(vec![0; *size]),
                patch: Patch::NONE,
                level: None,
                orientation: None,
                dependency: None,
                resend: true,
            })
        };
        let mut pending: Vec<Entry> = sizes.iter().map(entry).collect();
        equalise(&stream, &mut pending);
        pending.iter().map(|e| e.payload.len() + usize::from(e.padding)).collect()
    }

    /// In how many pieces packets leave: all of a piece are equal, but the last may be smaller.
    fn pieces(sizes: &[usize]) -> usize {
        let (mut pieces, mut open) = (0, None);
        for size in sizes {
            open = match open {
                Some(run) if run == *size => Some(run),
                Some(run) if *size < run => None,
                _ => {
                    pieces += 1;
                    Some(*size)
                }
            };
        }
        pieces
    }

    #[test]
    fn nearly_equal_packets_become_equal_but_the_smaller_last() {
        assert_eq!(padded(&[1000, 1001, 999, 700]), [1001, 1001, 1001, 700]);
        assert_eq!(padded(&[1000, 1001, 999]), [1001, 1001, 999]);
        assert_eq!(padded(&[300, 1000, 1001]), [300, 1001, 1001]);
        assert_eq!(padded(&[1000, 900, 1000]), [1000, 900, 1000]);
        assert_eq!(padded(&[1000]), [1000]);
    }

    #[test]
    fn padding_is_small_and_saves_pieces() {
        let mut rng = fastrand::Rng::with_seed(3);
        let (mut before, mut after) = (0, 0);
        for _ in 0..5000 {
            let around = rng.usize(200..1150);
            let count = rng.usize(1..12);
            let mut sizes: Vec<usize> = (0..count).map(|_| around + rng.usize(0..4)).collect();
            if rng.bool() {
                let odd = rng.usize(0..count);
                sizes[odd] = rng.usize(1..1150);
            }
            let made = padded(&sizes);
            for (size, made) in sizes.iter().zip(&made) {
                assert!(made >= size && made - size <= MAX_PADDING);
            }
            assert!(made.iter().max() == sizes.iter().max());
            assert!(pieces(&made) <= pieces(&sizes), "{sizes:?} {made:?}");
            before += pieces(&sizes);
            after += pieces(&made);
        }
        assert!(after * 2 < before, "{before} {after}");
    }
}
