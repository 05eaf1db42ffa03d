//! The owner's handle of a peer: every call returns at once, the work is done by the shared thread.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use str0m::format::Codec;

use crate::connection::Connection;
use crate::counters::Counters;
use crate::driver::{Driver, Member, Status, now};
use crate::error::PeerError;
use crate::inbox::{Frame, Inbox};
use crate::order::Order;
use crate::protocol::{PeerConfig, PeerEvent, PeerStats};

/// Bytes of frames that may wait for the thread.
const MAX_MEDIA: usize = 16 << 20;
/// Bytes of data packets that may wait for the thread and in the channels.
const MAX_DATA: usize = 4 << 20;

/// One peer connection of this process.
pub struct Peer {
    id: u64,
    driver: Arc<Driver>,
    inbox: Arc<Inbox>,
    status: Arc<Status>,
    counters: Arc<Counters>,
    closed: AtomicBool,
}

impl Peer {
    /// A new one; nothing is sent before the first offer is answered.
    pub fn new(config: &PeerConfig) -> Result<Self, PeerError> {
        let driver = Driver::shared()?;
        let counters = Arc::<Counters>::default();
        let inbox = Arc::new(Inbox::new(config, counters.clone())?);
        let status = Arc::<Status>::default();
        let connection = Connection::new(config, counters.clone(), now());
        let id = driver.add(Member { connection, inbox: inbox.clone(), status: status.clone() })?;
        Ok(Self { id, driver, inbox, status, counters, closed: AtomicBool::new(false) })
    }

    /// Readable when events or frames wait; read it before draining them.
    pub fn event_fd(&self) -> BorrowedFd<'_> {
        self.inbox.event_fd()
    }

    /// Gives an order that needs no room of its own.
    pub fn order(&self, order: Order) -> Result<(), PeerError> {
        self.driver.order(self.id, order)
    }

    /// A send section in the next offer; `kind` is audio or video, `codec` h264, vp8 or opus.
    pub fn add_track(&self, cid: String, stream: String, kind: &str, codec: &str) -> Result<(), PeerError> {
        let codec = match (kind, codec) {
            ("video", "h264") => Codec::H264,
            ("video", "vp8") => Codec::Vp8,
            ("audio", "opus") => Codec::Opus,
            _ => return Err(PeerError::UnsupportedCodec(codec.into())),
        };
        self.order(Order::AddTrack { cid, stream, codec })
    }

    /// Queues a frame. False: not connected, or too much waits already.
    pub fn write_frame(&self, cid: &str, data: &[u8], capture_us: u64) -> bool {
        self.status.connected.load(Ordering::Acquire)
            && reserve(&self.status.media, data.len(), MAX_MEDIA)
            && self
                .order(Order::Write { cid: cid.into(), data: data.into(), capture_us })
                .inspect_err(|_| release(&self.status.media, data.len()))
                .is_ok()
    }

    /// Queues a data packet. False: the channels are not open, or too much waits already.
    pub fn send_data(&self, packet: &[u8], reliable: bool) -> bool {
        let room = MAX_DATA.saturating_sub(self.status.backlog.load(Ordering::Acquire));
        self.status.open.load(Ordering::Acquire)
            && reserve(&self.status.data, packet.len(), room)
            && self
                .order(Order::SendData { packet: packet.into(), reliable })
                .inspect_err(|_| release(&self.status.data, packet.len()))
                .is_ok()
    }

    /// Takes up to `max` events.
    pub fn drain_events(&self, max: usize) -> Vec<PeerEvent> {
        self.inbox.drain_events(max)
    }

    /// Takes up to `max` frames.
    pub fn drain_frames(&self, max: usize) -> Vec<Frame> {
        self.inbox.drain_frames(max)
    }

    /// A copy of the counters.
    pub fn stats(&self) -> PeerStats {
        self.counters.stats()
    }

    /// Says goodbye and frees the socket. May be called twice.
    pub fn close(&self) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            // Cannot fail: the end of a peer is always queued.
            let _ = self.driver.order(self.id, Order::Close);
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.close();
    }
}

fn reserve(used: &AtomicUsize, bytes: usize, limit: usize) -> bool {
    let more = |now: usize| now.checked_add(bytes).filter(|sum| *sum <= limit);
    used.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
}

fn release(used: &AtomicUsize, bytes: usize) {
    used.fetch_sub(bytes, Ordering::AcqRel);
}
