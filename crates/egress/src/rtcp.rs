//! Reading compound RTCP (RFC 3550, 3611, 4585, 5104, 5506; REMB and transport-wide feedback as drafted).
//!
//! Everything borrows from the datagram. What is cut or contradicts itself ends the reading; the work is bounded by the
//! datagram's length.

/// Parts of a compound packet, in order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blocks<'a>(&'a [u8]);

/// One packet of a compound.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Block<'a> {
    SenderReport {
        reports: &'a [u8],
    },
    ReceiverReport {
        reports: &'a [u8],
    },
    Description,
    Nack {
        media: u32,
        pairs: &'a [u8],
    },
    Pli {
        media: u32,
    },
    Fir {
        entries: &'a [u8],
    },
    Transport(TransportFeedback<'a>),
    Remb {
        bitrate: u64,
    },
    Extended {
        sender: u32,
        blocks: Extensions<'a>,
    },
    /// BYE, APP, and all that is not known here.
    Other,
}

/// Reads a compound packet.
pub(crate) fn blocks(compound: &[u8]) -> Blocks<'_> {
    Blocks(compound)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Block<'a>> {
        let bytes = std::mem::take(&mut self.0);
        let &[first, kind, ..] = bytes else { return None };
        let len = 4 * (usize::from(u16_at(bytes, 2)?) + 1);
        let (packet, rest) = bytes.split_at_checked(len)?;
        if first >> 6 != 2 {
            return None;
        }
        let mut body = &packet[4..];
        if first & 0x20 != 0 {
            let padding = usize::from(*body.last()?);
            body = body.get(..body.len().checked_sub(padding)?)?;
        }
        self.0 = rest;
        read(kind, first & 0x1f, body).or(Some(Block::Other))
    }
}

fn read(kind: u8, count: u8, body: &[u8]) -> Option<Block<'_>> {
    Some(match (kind, count) {
        (200, _) => Block::SenderReport { reports: reports(body.get(24..)?, count) },
        (201, _) => Block::ReceiverReport { reports: reports(body.get(4..)?, count) },
        (202, _) => Block::Description,
        (205, 1) => Block::Nack { media: u32_at(body, 4)?, pairs: body.get(8..)? },
        (205, 15) => Block::Transport(TransportFeedback::read(body)?),
        (206, 1) => Block::Pli { media: u32_at(body, 4)? },
        (206, 4) => Block::Fir { entries: body.get(8..)? },
        (206, 15) if body.get(8..12)? == b"REMB" => {
            let value = u32_at(body, 12)?;
            let (exponent, mantissa) = ((value >> 18) & 0x3f, u128::from(value & 0x3ffff));
            Block::Remb { bitrate: u64::try_from(mantissa << exponent).unwrap_or(u64::MAX) }
        }
        (207, _) => Block::Extended { sender: u32_at(body, 0)?, blocks: Extensions(body.get(4..)?) },
        _ => return None,
    })
}

fn reports(bytes: &[u8], count: u8) -> &[u8] {
    &bytes[..bytes.len().min(usize::from(count) * Report::LEN)]
}

/// A report block (RFC 3550, 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) ssrc: u32,
    /// Of 256.
    pub(crate) fraction: u8,
    pub(crate) lost: i32,
    pub(crate) jitter: u32,
    pub(crate) last: u32,
    pub(crate) delay: u32,
}

impl Report {
    const LEN: usize = 24;

    pub(crate) fn each(bytes: &[u8]) -> impl Iterator<Item = Self> {
        bytes.chunks_exact(Self::LEN).filter_map(|block| {
            let counts = u32_at(block, 4)?;
            Some(Self {
                ssrc: u32_at(block, 0)?,
                fraction: (counts >> 24) as u8,
                lost: (counts << 8).cast_signed() >> 8,
                jitter: u32_at(block, 12)?,
                last: u32_at(block, 16)?,
                delay: u32_at(block, 20)?,
            })
        })
    }
}

/// Sequence numbers of a generic NACK.
pub(crate) fn nacked(pairs: &[u8]) -> impl Iterator<Item = u16> {
    pairs.chunks_exact(4).flat_map(|pair| {
        let first = u16::from_be_bytes([pair[0], pair[1]]);
        let more = u32::from(u16::from_be_bytes([pair[2], pair[3]])) << 1 | 1;
        (0..17u16).filter(move |bit| more >> bit & 1 == 1).map(move |bit| first.wrapping_add(bit))
    })
}

/// SSRC and command number of each entry of a full intra request.
pub(crate) fn intra_requests(entries: &[u8]) -> impl Iterator<Item = (u32, u8)> {
    entries.chunks_exact(8).filter_map(|entry| Some((u32_at(entry, 0)?, entry[4])))
}

/// Blocks of an extended report.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extensions<'a>(&'a [u8]);

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extended {
    /// The middle of the receiver's NTP time.
    ReferenceTime(u32),
    /// Somebody's reference time came back; this is its SSRC.
    Delay(u32),
    Other,
}

impl Iterator for Extensions<'_> {
    type Item = Extended;

    fn next(&mut self) -> Option<Extended> {
        let bytes = std::mem::take(&mut self.0);
        let kind = *bytes.first()?;
        let len = 4 * usize::from(u16_at(bytes, 2)?);
        let (body, rest) = bytes.get(4..)?.split_at_checked(len)?;
        self.0 = rest;
        Some(match kind {
            4 => u32_at(body, 2).map_or(Extended::Other, Extended::ReferenceTime),
            5 => u32_at(body, 0).map_or(Extended::Other, Extended::Delay),
            _ => Extended::Other,
        })
    }
}

/// Transport-wide feedback.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TransportFeedback<'a> {
    pub(crate) base: u16,
    pub(crate) count: u16,
    /// Its own number.
    pub(crate) number: u8,
    /// Time base in units of 64 ms, 24 bits with their sign.
    pub(crate) reference: i32,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

/// What feedback says of one number or of a run of them, counted from its base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Lost {
        from: u32,
        count: u32,
    },
    /// When it came: 250 µs units after the time base.
    Received {
        at: u32,
        time: i64,
    },
}

/// One chunk: how many packets it is about, and the symbol of each.
fn symbols(chunk: u16) -> (u32, impl Fn(u32) -> u8) {
    let count = match chunk >> 14 {
        0 | 1 => u32::from(chunk & 0x1fff),
        2 => 14,
        _ => 7,
    };
    (count, move |index: u32| match chunk >> 14 {
        0 | 1 => (chunk >> 13 & 3) as u8,
        2 => (chunk >> (13 - index.min(13)) & 1) as u8,
        _ => (chunk >> (12 - 2 * index.min(6)) & 3) as u8,
    })
}

impl<'a> TransportFeedback<'a> {
    fn read(body: &'a [u8]) -> Option<Self> {
        let (base, count) = (u16_at(body, 8)?, u16_at(body, 10)?);
        let last = u32_at(body, 12)?;
        let (reference, number) = ((last & !0xff).cast_signed() >> 8, last as u8);
        let rest = body.get(16..)?;
        let (mut covered, mut chunks) = (0, 0);
        while covered < u32::from(count) {
            covered += symbols(u16_at(rest, chunks)?).0;
            chunks += 2;
        }
        let (chunks, deltas) = rest.split_at_checked(chunks)?;
        Some(Self { base, count, number, reference, chunks, deltas })
    }

    /// Calls with each status; runs of lost packets come as one. Ends early if times lack.
    pub(crate) fn each(&self, mut status: impl FnMut(Status)) {
        let (mut at, mut time, mut deltas) = (0u32, 0i64, self.deltas);
        for chunk in self.chunks.chunks_exact(2) {
            let (count, symbol) = symbols(u16::from_be_bytes([chunk[0], chunk[1]]));
            let count = count.min(u32::from(self.count).saturating_sub(at));
            if chunk[0] >> 5 == 0 || chunk[0] >> 5 == 3 {
                // A run of lost packets, or of a symbol that means nothing.
                if chunk[0] >> 5 == 0 && count > 0 {
                    status(Status::Lost { from: at, count });
                }
                at += count;
                continue;
            }
            for index in 0..count {
                let delta = match symbol(index) {
                    0 => {
                        status(Status::Lost { from: at, count: 1 });
                        None
                    }
                    1 => {
                        let Some((delta, rest)) = deltas.split_first() else { return };
                        deltas = rest;
                        Some(i64::from(*delta))
                    }
                    2 => {
                        let Some((delta, rest)) = deltas.split_first_chunk::<2>() else { return };
                        deltas = rest;
                        Some(i64::from(i16::from_be_bytes(*delta)))
                    }
                    _ => None,
                };
                if let Some(delta) = delta {
                    time += delta;
                    status(Status::Received { at, time });
                }
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(count: u8, kind: u8, body: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x80 | count, kind];
        packet.extend(((body.len() / 4) as u16).to_be_bytes());
        packet.extend(body);
        packet
    }

    fn feedback(base: u16, count: u16, chunks: &[u16], deltas: &[u8]) -> Vec<u8> {
        let mut body = vec![0; 8];
        body.extend(base.to_be_bytes());
        body.extend(count.to_be_bytes());
        body.extend([0xff, 0xff, 0xfe, 7]);
        body.extend(chunks.iter().flat_map(|c| c.to_be_bytes()));
        body.extend(deltas);
        body.resize(body.len().next_multiple_of(4), 0);
        packet(15, 205, &body)
    }

    fn statuses(packet: &[u8]) -> Vec<Status> {
        let Some(Block::Transport(feedback)) = blocks(packet).next() else { return Vec::new() };
        let mut all = Vec::new();
        feedback.each(|status| all.push(status));
        all
    }

    #[test]
    fn a_compound_is_read_to_its_end() {
        let mut report = vec![0, 0, 0, 1];
        report.extend([0, 0, 0, 9, 0x80, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        report.extend([0, 0, 0, 5, 1, 2, 3, 4, 0, 0, 0, 6]);
        let mut compound = packet(1, 201, &report);
        compound.extend(packet(1, 202, &[0; 8]));
        compound.extend(packet(1, 206, &[0, 0, 0, 1, 0, 0, 0, 9]));
        let all: Vec<_> = blocks(&compound).collect();
        let [Block::ReceiverReport { reports }, Block::Description, Block::Pli { media: 9 }] = all[..] else {
            panic!("{all:?}")
        };
        let expected = Report { ssrc: 9, fraction: 0x80, lost: -1, jitter: 5, last: 0x0102_0304, delay: 6 };
        assert_eq!(Report::each(reports).collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn a_nack_names_up_to_seventeen_numbers() {
        let numbers: Vec<u16> = nacked(&[0xff, 0xff, 0x80, 0x01]).collect();
        assert_eq!(numbers, [65_535, 0, 15]);
        assert_eq!(nacked(&[0, 0, 0xff, 0xff]).count(), 17);
    }

    #[test]
    fn padding_is_not_contents() {
        let mut nack = packet(1, 205, &[0, 0, 0, 1, 0, 0, 0, 9, 0, 5, 0, 0, 0, 0, 0, 4]);
        nack[0] |= 0x20;
        let Some(Block::Nack { pairs, .. }) = blocks(&nack).next() else { panic!() };
        assert_eq!(nacked(pairs).collect::<Vec<_>>(), [5]);
        *nack.last_mut().unwrap() = 200;
        assert!(blocks(&nack).next().is_none());
    }

    #[test]
    fn estimates_saturate() {
        let remb = |exponent: u32, mantissa: u32| {
            let mut body = vec![0; 8];
            body.extend(b"REMB");
            body.extend((1 << 24 | exponent << 18 | mantissa).to_be_bytes());
            body.extend([0; 4]);
            match blocks(&packet(15, 206, &body)).next() {
                Some(Block::Remb { bitrate }) => bitrate,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(remb(2, 100_000), 400_000);
        assert_eq!(remb(63, 0x3ffff), u64::MAX);
    }

    #[test]
    fn reference_times_and_delays_are_found() {
        let mut body = vec![0, 0, 0, 3];
        body.extend([4, 0, 0, 2, 0, 0, 1, 2, 3, 4, 0, 0]);
        body.extend([5, 0, 0, 3, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
        body.extend([42, 0, 0, 0]);
        let packet = packet(0, 207, &body);
        let Some(Block::Extended { sender: 3, blocks }) = blocks(&packet).next() else { panic!() };
        let all: Vec<_> = blocks.collect();
        assert_eq!(all, [Extended::ReferenceTime(0x0102_0304), Extended::Delay(8), Extended::Other]);
    }

    #[test]
    fn every_kind_of_chunk_is_understood() {
        use Status::{Lost, Received};
        let run = feedback(10, 5, &[2, 0x2000 | 3], &[4, 0, 1]);
        assert_eq!(
            statuses(&run),
            [
                Lost { from: 0, count: 2 },
                Received { at: 2, time: 4 },
                Received { at: 3, time: 4 },
                Received { at: 4, time: 5 }
            ]
        );
        let one_bit = feedback(10, 3, &[0x8000 | 0b10_1000_0000_0000], &[1, 2]);
        assert_eq!(
            statuses(&one_bit),
            [Received { at: 0, time: 1 }, Lost { from: 1, count: 1 }, Received { at: 2, time: 3 }]
        );
        let two_bits = feedback(10, 4, &[0xc000 | 0b10_0100_1100_0000], &[0xff, 0xfe, 3]);
        assert_eq!(
            statuses(&two_bits),
            [Received { at: 0, time: -2 }, Received { at: 1, time: 1 }, Lost { from: 2, count: 1 }]
        );
        let large = feedback(10, 2, &[0x4000 | 2], &[0x7f, 0xff, 0x80, 0]);
        assert_eq!(statuses(&large), [Received { at: 0, time: 32_767 }, Received { at: 1, time: -1 }]);
        let Some(Block::Transport(read)) = blocks(&large).next() else { panic!() };
        assert_eq!((read.base, read.reference), (10, -2));
    }

    #[test]
    fn feedback_that_lacks_chunks_or_times_ends_there() {
        assert_eq!(statuses(&feedback(1, 20, &[0xa000], &[])), []);
        let lacking = statuses(&feedback(1, 6, &[0x2000 | 6], &[1, 1, 1, 1, 1, 1]));
        assert_eq!(lacking.len(), 6);
        assert_eq!(statuses(&feedback(1, 600, &[0x2000 | 600], &[1, 1, 1, 1])).len(), 6);
        assert_eq!(
            statuses(&feedback(1, u16::MAX, &[0x1fff; 9], &[])).len(),
            9,
            "runs of lost packets are one status each"
        );
    }

    #[test]
    fn anything_at_all_is_read_without_a_panic() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..200_000 {
            let mut bytes: Vec<u8> = (0..rng.usize(0..80)).map(|_| rng.u8(..)).collect();
            if bytes.len() >= 4 && rng.bool() {
                bytes[0] = 0x80 | (bytes[0] & 0x3f);
                bytes[1] = rng.u8(200..208);
                bytes[2] = 0;
                bytes[3] = ((bytes.len() / 4 - 1) as u8).saturating_sub(rng.u8(0..3));
            }
            let mut statuses = 0;
            for block in blocks(&bytes) {
                match block {
                    Block::SenderReport { reports } | Block::ReceiverReport { reports } => {
                        assert!(Report::each(reports).count() <= 31);
                    }
                    Block::Nack { pairs, .. } => assert!(nacked(pairs).count() <= 17 * 20),
                    Block::Fir { entries } => assert!(intra_requests(entries).count() <= 10),
                    Block::Extended { blocks, .. } => assert!(blocks.count() <= 20),
                    Block::Transport(feedback) => feedback.each(|_| statuses += 1),
                    _ => {}
                }
            }
            assert!(statuses <= 80 * 14);
        }
    }
}
