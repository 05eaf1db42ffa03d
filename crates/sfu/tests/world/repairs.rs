//! What a browser asks for again: the rules of libwebrtc, which are more patient than str0m's.
//!
//! A gap is asked for at once, then each [`AGAIN`] until it came, at most [`MAX_ASKED`] times; this is looked at each
//! [`TICK`]. Where more than [`MAX_MISSING`] are missing, none are asked for any more and a key picture is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The round trip that is assumed: who only receives measures none.
const AGAIN: Duration = Duration::from_millis(100);
const MAX_ASKED: u32 = 10;
const MAX_MISSING: usize = 1000;
const TICK: Duration = Duration::from_millis(20);

/// What is missing of one stream.
#[derive(Debug, Default)]
pub(crate) struct Repairs {
    newest: Option<u64>,
    missing: BTreeMap<u64, (u32, Option<Instant>)>,
    looked: Option<Instant>,
    /// All that was asked for, again and again.
    pub(crate) asked: u64,
}

impl Repairs {
    /// A packet came, or a repetition of it; false when too much is missing to be repaired.
    pub(crate) fn handle(&mut self, seq: u16) -> bool {
        let Some(newest) = self.newest else {
            // Far enough from 0 for what is older.
            self.newest = Some(0x1_0000 + u64::from(seq));
            return true;
        };
        let ahead = seq.wrapping_sub(newest as u16) as i16;
        let seq = newest.saturating_add_signed(ahead.into());
        self.missing.remove(&seq);
        if seq <= newest {
            return true;
        }
        self.missing.extend((newest + 1..seq).map(|lost| (lost, (0, None))));
        self.newest = Some(seq);
        if self.missing.len() > MAX_MISSING {
            self.missing.clear();
            return false;
        }
        true
    }

    /// Numbers to be asked for now.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<u16> {
        if self.looked.is_some_and(|at| now < at + TICK) {
            return Vec::new();
        }
        self.looked = Some(now);
        let mut due = Vec::new();
        self.missing.retain(|seq, (times, at)| {
            if at.is_some_and(|at| now < at + AGAIN) {
                return true;
            }
            if *times == MAX_ASKED {
                return false;
            }
            (*times, *at) = (*times + 1, Some(now));
            due.push(*seq as u16);
            true
        });
        self.asked += due.len() as u64;
        due
    }
}

/// A generic NACK (RFC 4585), alone in its datagram (RFC 5506).
pub(crate) fn nack(sender: u32, media: u32, numbers: &[u16]) -> Vec<u8> {
    let mut pairs: Vec<(u16, u16)> = Vec::new();
    for number in numbers {
        match pairs.last_mut() {
            Some((first, more)) if (1..=16).contains(&number.wrapping_sub(*first)) => {
                *more |= 1 << (number.wrapping_sub(*first) - 1);
            }
            _ => pairs.push((*number, 0)),
        }
    }
    let mut packet = vec![0x81, 205];
    packet.extend_from_slice(&(2 + pairs.len() as u16).to_be_bytes());
    packet.extend_from_slice(&sender.to_be_bytes());
    packet.extend_from_slice(&media.to_be_bytes());
    for (first, more) in pairs {
        packet.extend_from_slice(&first.to_be_bytes());
        packet.extend_from_slice(&more.to_be_bytes());
    }
    packet
}
