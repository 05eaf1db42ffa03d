//! Data on its way into the channels: what there is no room for yet waits, within bounds.

use std::collections::VecDeque;

use str0m::Rtc;
use str0m::channel::ChannelId;

/// Data waiting for room in the channels.
const MAX_BACKLOG: usize = 4 << 20;
const MAX_MESSAGE: usize = 64 << 10;

/// The reliable channel and the lossy one.
pub(crate) type Channels = (ChannelId, ChannelId);

#[derive(Debug, Default)]
pub(crate) struct Backlog {
    waiting: VecDeque<(bool, Vec<u8>)>,
    bytes: usize,
    open: (bool, bool),
}

impl Backlog {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether both channels are.
    pub(crate) fn is_open(&self) -> bool {
        self.open == (true, true)
    }

    /// False if it is too large, or too much waits.
    pub(crate) fn push(&mut self, packet: Vec<u8>, reliable: bool) -> bool {
        if packet.len() > MAX_MESSAGE || self.bytes + packet.len() > MAX_BACKLOG {
            return false;
        }
        self.bytes += packet.len();
        self.waiting.push_back((reliable, packet));
        true
    }

    /// Writes what fits. How many were written or cannot be, and how many of them cannot.
    pub(crate) fn write(&mut self, rtc: &mut Rtc, (reliable, lossy): Channels) -> (u64, u64) {
        let (mut done, mut dropped) = (0, 0);
        while let Some((is_reliable, packet)) = self.waiting.front() {
            let open = if *is_reliable { self.open.0 } else { self.open.1 };
            let channel = rtc.channel(if *is_reliable { reliable } else { lossy });
            let Some(mut channel) = channel.filter(|_| open) else { break };
            match channel.write(true, packet) {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => dropped += 1,
            }
            self.bytes -= packet.len();
            self.waiting.pop_front();
            done += 1;
        }
        (done, dropped)
    }

    /// A channel opened or closed.
    pub(crate) fn set_open(&mut self, id: ChannelId, (reliable, lossy): Channels, open: bool) {
        if id == reliable {
            self.open.0 = open;
        }
        if id == lossy {
            self.open.1 = open;
        }
    }
}
