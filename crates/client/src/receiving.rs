//! The receiving half of one media section: whose track it carries, when its frames were captured, what is held back.
//!
//! Frames wait while the section's track is not named yet (the answer is on its way), and while no sender report came
//! (they have no capture time yet): for at most the hold time after the first of them, and at most `MAX_HELD` frames.
//! A video track that starts or goes on without a keyframe makes `keyframe_due` true, at most once per `REPEAT`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use str0m::media::{MediaKind, Mid};

use crate::capture::CaptureClock;
use crate::inbox::Frame;

const MAX_HELD: usize = 512;
const REPEAT: Duration = Duration::from_millis(500);

/// One receive section.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) mid: Mid,
    pub(crate) kind: MediaKind,
    pub(crate) track: Option<String>,
    clock: CaptureClock,
    held: VecDeque<Frame>,
    release_at: Option<Instant>,
    released: bool,
    started: bool,
    broken: bool,
    asked_at: Option<Instant>,
}

impl Receiver {
    pub(crate) fn new(mid: Mid, kind: MediaKind) -> Self {
        Self {
            mid,
            kind,
            track: None,
            clock: CaptureClock::new(rate(kind)),
            held: VecDeque::new(),
            release_at: None,
            released: false,
            started: false,
            broken: false,
            asked_at: None,
        }
    }

    /// The answer says what the section carries from now on. Frames of the track before are handed out as they are.
    pub(crate) fn assign(&mut self, track: Option<String>, ready: &mut VecDeque<Frame>) {
        if self.track == track {
            return;
        }
        if self.track.is_some() || track.is_none() {
            self.flush(ready);
            self.held.clear();
            self.clock = CaptureClock::new(rate(self.kind));
        }
        self.track = track;
        self.started = false;
        self.broken = false;
        self.released = false;
        self.asked_at = None;
        if self.held.is_empty() {
            self.release_at = None;
        } else if self.clock.is_known() {
            self.flush(ready);
        }
    }

    /// A frame came.
    pub(crate) fn frame(&mut self, frame: Frame, now: Instant, hold: Duration, ready: &mut VecDeque<Frame>) {
        if self.kind == MediaKind::Video {
            if frame.keyframe {
                self.broken = false;
            } else if !self.started || !frame.contiguous {
                self.broken = true;
            }
            self.started = true;
        }
        let wait = self.track.is_none() || !(self.clock.is_known() || self.released);
        self.held.push_back(frame);
        if !wait || self.held.len() > MAX_HELD {
            self.flush(ready);
        } else if self.release_at.is_none() {
            self.release_at = Some(now + hold);
        }
    }

    /// A frame came that was none: the next ones may build on it.
    pub(crate) fn lost(&mut self) {
        self.broken |= self.kind == MediaKind::Video;
    }

    /// A sender report came.
    pub(crate) fn report(&mut self, rtp_time: u32, unix_us: u64, ready: &mut VecDeque<Frame>) {
        self.clock.report(rtp_time, unix_us);
        if self.track.is_some() {
            self.flush(ready);
        }
    }

    /// When `expire` wants to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.release_at
    }

    /// Hands out what waited long enough; frames of a section that nobody named are dropped.
    pub(crate) fn expire(&mut self, now: Instant, ready: &mut VecDeque<Frame>) {
        if self.release_at.is_some_and(|at| at <= now) {
            self.released = self.track.is_some();
            self.flush(ready);
        }
    }

    /// Whether to ask for a keyframe now; marks it as asked.
    pub(crate) fn keyframe_due(&mut self, now: Instant) -> bool {
        let due = self.broken && self.track.is_some() && self.asked_at.is_none_or(|at| now >= at + REPEAT);
        if due {
            self.asked_at = Some(now);
        }
        due
    }

    fn flush(&mut self, ready: &mut VecDeque<Frame>) {
        self.release_at = None;
        let Some(track) = &self.track else {
            self.held.clear();
            return;
        };
        for mut frame in self.held.drain(..) {
            frame.track.clone_from(track);
            frame.capture_us = self.clock.capture_us(frame.rtp_time);
            ready.push_back(frame);
        }
    }
}

fn rate(kind: MediaKind) -> u32 {
    if kind == MediaKind::Audio { 48_000 } else { 90_000 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(1);

    fn frame(rtp_time: u32, keyframe: bool, contiguous: bool) -> Frame {
        Frame { rtp_time, keyframe, contiguous, video: true, ..Frame::default() }
    }

    fn video() -> Receiver {
        Receiver::new("0".into(), MediaKind::Video)
    }

    #[test]
    fn frames_wait_for_the_track_and_the_report() {
        let (mut receiver, mut ready, now) = (video(), VecDeque::new(), Instant::now());
        receiver.frame(frame(0, true, true), now, HOLD, &mut ready);
        receiver.assign(Some("TR_1".into()), &mut ready);
        assert!(ready.is_empty());
        receiver.report(90_000, 5_000_000, &mut ready);
        assert_eq!(ready.len(), 1);
        assert_eq!((ready[0].track.as_str(), ready[0].capture_us), ("TR_1", Some(4_000_000)));
        receiver.frame(frame(9_000, false, true), now, HOLD, &mut ready);
        assert_eq!(ready[1].capture_us, Some(4_100_000));
    }

    #[test]
    fn a_report_before_the_answer_is_kept() {
        let (mut receiver, mut ready, now) = (video(), VecDeque::new(), Instant::now());
        receiver.report(0, 1_000_000, &mut ready);
        receiver.frame(frame(0, true, true), now, HOLD, &mut ready);
        receiver.assign(Some("TR_1".into()), &mut ready);
        assert_eq!(ready[0].capture_us, Some(1_000_000));
    }

    #[test]
    fn without_a_report_frames_are_released_after_the_hold() {
        let (mut receiver, mut ready, now) = (video(), VecDeque::new(), Instant::now());
        receiver.assign(Some("TR_1".into()), &mut ready);
        receiver.frame(frame(0, true, true), now, HOLD, &mut ready);
        assert_eq!(receiver.deadline(), Some(now + HOLD));
        receiver.expire(now + HOLD, &mut ready);
        assert_eq!((ready.len(), ready[0].capture_us), (1, None));
        receiver.frame(frame(1, false, true), now + HOLD, HOLD, &mut ready);
        assert_eq!(ready.len(), 2);
    }

    #[test]
    fn frames_that_nobody_names_are_dropped() {
        let (mut receiver, mut ready, now) = (video(), VecDeque::new(), Instant::now());
        receiver.frame(frame(0, true, true), now, HOLD, &mut ready);
        receiver.expire(now + HOLD, &mut ready);
        receiver.assign(Some("TR_1".into()), &mut ready);
        assert!(ready.is_empty());
    }

    #[test]
    fn the_clock_of_another_track_is_forgotten() {
        let (mut receiver, mut ready, now) = (video(), VecDeque::new(), Instant::now());
        receiver.assign(Some("TR_1".into()), &mut ready);
        receiver.report(0, 1_000_000, &mut ready);
        receiver.assign(Some("TR_2".into()), &mut ready);
        receiver.frame(frame(0, true, true), now, HOLD, &mut ready);
        assert!(ready.is_empty());
        receiver.report(0, 2_000_000, &mut ready);
        assert_eq!((ready[0].track.as_str(), ready[0].capture_us), ("TR_2", Some(2_000_000)));
    }

    #[test]
    fn a_keyframe_is_wanted_after_a_gap_until_one_comes() {
        let (mut receiver, mut ready, now) = (video(), VecDeque::new(), Instant::now());
        receiver.assign(Some("TR_1".into()), &mut ready);
        receiver.frame(frame(0, true, true), now, HOLD, &mut ready);
        assert!(!receiver.keyframe_due(now));
        receiver.frame(frame(1, false, false), now, HOLD, &mut ready);
        assert!(receiver.keyframe_due(now));
        assert!(!receiver.keyframe_due(now));
        assert!(receiver.keyframe_due(now + REPEAT));
        receiver.frame(frame(2, true, true), now, HOLD, &mut ready);
        assert!(!receiver.keyframe_due(now + 3 * REPEAT));
    }
}
