//! Where received frames and events wait for the owner of a peer.
//!
//! Bounded: when the owner is slow the oldest video frames up to the next keyframe of that track are dropped, then the
//! oldest audio; of data packets the oldest. State events are never dropped (there are few). The event descriptor
//! becomes readable when something waits; it is written once per round, so reading it and then draining until nothing
//! is left loses no wake-up.

use std::collections::{HashSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use crate::counters::Counters;
use crate::protocol::{PeerConfig, PeerEvent};

const MAX_DATA: usize = 4096;

/// One encoded frame received.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    /// The track's id.
    pub track: String,
    /// An access unit in Annex B (H.264), a VP8 frame or an Opus packet.
    pub data: Arc<[u8]>,
    /// RTP time on the wire.
    pub rtp_time: u32,
    /// Capture time on the server's Unix clock, when known.
    pub capture_us: Option<u64>,
    /// When its first packet arrived, on this machine's Unix clock.
    pub arrival_us: u64,
    /// Whether a decoder can start here.
    pub keyframe: bool,
    /// False: something before it was lost for good.
    pub contiguous: bool,
    /// Video or audio.
    pub video: bool,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Frame>,
    bytes: u64,
    /// Video tracks whose frames are dropped until a keyframe comes.
    skipping: HashSet<String>,
    /// Tracks whose next frame follows one that was dropped.
    gapped: HashSet<String>,
    events: VecDeque<PeerEvent>,
    data: usize,
}

/// The queue between the network thread and one owner.
#[derive(Debug)]
pub struct Inbox {
    waiting: Mutex<Waiting>,
    signalled: AtomicBool,
    event: OwnedFd,
    counters: Arc<Counters>,
    max_frames: usize,
    max_bytes: u64,
}

impl Inbox {
    /// An empty one with the bounds of `config`.
    pub fn new(config: &PeerConfig, counters: Arc<Counters>) -> std::io::Result<Self> {
        Ok(Self {
            waiting: Mutex::default(),
            signalled: AtomicBool::new(false),
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            counters,
            max_frames: config.max_frames.max(16) as usize,
            max_bytes: config.max_bytes.max(1 << 20),
        })
    }

    /// Readable when something waits.
    pub fn event_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Adds a frame. Returns the track that needs a keyframe because this or earlier frames of it were dropped.
    pub fn push_frame(&self, mut frame: Frame) -> Option<String> {
        let mut waiting = self.lock();
        if frame.video && !frame.keyframe && waiting.skipping.contains(&frame.track) {
            self.counters.frames_dropped.add(1);
            return None;
        }
        waiting.skipping.remove(&frame.track);
        if waiting.gapped.remove(&frame.track) {
            frame.contiguous = false;
        }
        waiting.bytes += frame.data.len() as u64;
        waiting.frames.push_back(frame);
        let mut skipped = None;
        while waiting.frames.len() > self.max_frames || waiting.bytes > self.max_bytes {
            match waiting.drop_oldest(&self.counters) {
                Some(track) => skipped = Some(track),
                None if waiting.frames.is_empty() => break,
                None => {}
            }
        }
        self.signal();
        skipped
    }

    /// Adds an event.
    pub fn push_event(&self, event: PeerEvent) {
        let mut waiting = self.lock();
        if matches!(event, PeerEvent::Data { .. }) {
            if waiting.data >= MAX_DATA {
                let oldest = waiting.events.iter().position(|event| matches!(event, PeerEvent::Data { .. }));
                if let Some(oldest) = oldest {
                    waiting.events.remove(oldest);
                    waiting.data -= 1;
                    self.counters.data_dropped.add(1);
                }
            }
            waiting.data += 1;
        }
        if matches!(event, PeerEvent::KeyframeRequested { .. }) && waiting.events.contains(&event) {
            return;
        }
        waiting.events.push_back(event);
        self.signal();
    }

    /// Takes up to `max` events.
    pub fn drain_events(&self, max: usize) -> Vec<PeerEvent> {
        let mut waiting = self.lock();
        self.signalled.store(false, Ordering::Release);
        let count = max.min(waiting.events.len());
        let events: Vec<PeerEvent> = waiting.events.drain(..count).collect();
        waiting.data -= events.iter().filter(|event| matches!(event, PeerEvent::Data { .. })).count();
        events
    }

    /// Takes up to `max` frames.
    pub fn drain_frames(&self, max: usize) -> Vec<Frame> {
        let mut waiting = self.lock();
        self.signalled.store(false, Ordering::Release);
        let count = max.min(waiting.frames.len());
        let frames: Vec<Frame> = waiting.frames.drain(..count).collect();
        waiting.bytes -= frames.iter().map(|frame| frame.data.len() as u64).sum::<u64>();
        frames
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Every critical section leaves the queue whole, so a poisoned lock is still good.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self) {
        if !self.signalled.swap(true, Ordering::AcqRel) {
            // Only a full counter can refuse this, and then the descriptor is readable anyway.
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }
}

impl Waiting {
    /// Makes room. Returns a track that must wait for a keyframe.
    fn drop_oldest(&mut self, counters: &Counters) -> Option<String> {
        let Some(track) = self.frames.iter().find(|frame| frame.video).map(|frame| frame.track.clone())
        else {
            if let Some(frame) = self.frames.pop_front() {
                self.bytes -= frame.data.len() as u64;
                counters.frames_dropped.add(1);
                self.mark_gap(frame.track);
            }
            return None;
        };
        let (mut first, mut done, mut dropped, mut bytes) = (true, false, 0, 0);
        self.frames.retain(|frame| {
            if done || frame.track != track {
                return true;
            }
            if !first && frame.keyframe {
                done = true;
                return true;
            }
            first = false;
            dropped += 1;
            bytes += frame.data.len() as u64;
            false
        });
        self.bytes -= bytes;
        counters.frames_dropped.add(dropped);
        self.mark_gap(track.clone());
        if done {
            return None;
        }
        self.skipping.insert(track.clone());
        Some(track)
    }

    fn mark_gap(&mut self, track: String) {
        match self.frames.iter_mut().find(|frame| frame.track == track) {
            Some(next) => next.contiguous = false,
            None => {
                self.gapped.insert(track);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbox(max_frames: u32) -> Inbox {
        Inbox::new(&PeerConfig { max_frames, ..PeerConfig::default() }, Arc::default()).unwrap()
    }

    fn frame(track: &str, rtp_time: u32, keyframe: bool) -> Frame {
        Frame {
            track: track.into(),
            rtp_time,
            keyframe,
            contiguous: true,
            video: track.starts_with('V'),
            data: Arc::from(&b"x"[..]),
            ..Frame::default()
        }
    }

    #[test]
    fn a_slow_owner_loses_video_up_to_the_next_keyframe() {
        let inbox = inbox(16);
        for time in 0..16 {
            assert_eq!(inbox.push_frame(frame("V", time, time == 0 || time == 10)), None);
        }
        assert_eq!(inbox.push_frame(frame("A", 0, false)), None);
        let left = inbox.drain_frames(100);
        assert_eq!(left.len(), 7);
        assert_eq!((left[0].rtp_time, left[0].keyframe, left[0].contiguous), (10, true, false));
        assert!(left[1].contiguous);
        assert_eq!(inbox.counters.stats().frames_dropped, 10);
    }

    #[test]
    fn without_a_keyframe_video_waits_for_one() {
        let inbox = inbox(16);
        for time in 0..16 {
            inbox.push_frame(frame("V", time, time == 0));
        }
        assert_eq!(inbox.push_frame(frame("A", 0, false)), Some("V".into()));
        inbox.push_frame(frame("V", 17, false));
        inbox.push_frame(frame("V", 18, true));
        let left = inbox.drain_frames(100);
        assert_eq!(left.len(), 2);
        assert_eq!((left[1].rtp_time, left[1].contiguous), (18, false));
    }

    #[test]
    fn audio_is_dropped_last_and_oldest_first() {
        let inbox = inbox(16);
        for time in 0..17 {
            inbox.push_frame(frame("A", time, false));
        }
        let left = inbox.drain_frames(100);
        assert_eq!((left.len(), left[0].rtp_time, left[0].contiguous), (16, 1, false));
    }

    #[test]
    fn the_descriptor_is_readable_once_per_round() {
        let inbox = inbox(16);
        let mut counter = [0; 8];
        assert!(rustix::io::read(inbox.event_fd(), &mut counter).is_err());
        inbox.push_event(PeerEvent::ChannelsOpen);
        inbox.push_frame(frame("A", 0, false));
        rustix::io::read(inbox.event_fd(), &mut counter).unwrap();
        assert_eq!(u64::from_ne_bytes(counter), 1);
        assert_eq!(inbox.drain_events(10).len(), 1);
        inbox.push_frame(frame("A", 1, false));
        rustix::io::read(inbox.event_fd(), &mut counter).unwrap();
        assert_eq!(inbox.drain_frames(10).len(), 2);
    }

    #[test]
    fn data_is_bounded() {
        let inbox = inbox(16);
        inbox.push_event(PeerEvent::ChannelsOpen);
        for index in 0..MAX_DATA + 3 {
            inbox.push_event(PeerEvent::Data { packet: index.to_be_bytes().to_vec(), reliable: true });
        }
        let events = inbox.drain_events(usize::MAX);
        assert_eq!(events.len(), MAX_DATA + 1);
        assert_eq!(events[0], PeerEvent::ChannelsOpen);
        assert_eq!(inbox.counters.stats().data_dropped, 3);
    }
}
