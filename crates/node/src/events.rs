//! Events on their way to the one reader, and the eventfd that wakes it.
//!
//! Facts are never dropped and stay in order. Of statistics only the newest is kept, and counts are added up: a reader
//! that is slow misses what is out of date, and the queue does not grow with time.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Mutex;

use rtcloud_sfu::{Event, ParticipantId, Refusal, RoomId, SpeakerLevel};
use rustix::event::{EventfdFlags, eventfd};

use crate::protocol::InRoom;

#[derive(Debug, Default)]
struct Waiting {
    facts: VecDeque<InRoom<Event>>,
    quality: BTreeMap<(RoomId, ParticipantId), Event>,
    speakers: BTreeMap<RoomId, BTreeMap<ParticipantId, SpeakerLevel>>,
    refused: BTreeMap<(RoomId, ParticipantId, Refusal), u64>,
    stats: BTreeMap<(RoomId, u32), Event>,
}

impl Waiting {
    fn push(&mut self, room: &RoomId, event: Event) {
        match event {
            Event::Quality { ref participant, .. } => {
                self.quality.insert((room.clone(), participant.clone()), event);
            }
            Event::Stats { part, .. } => {
                self.stats.insert((room.clone(), part), event);
            }
            Event::Speakers { speakers } => {
                let levels = self.speakers.entry(room.clone()).or_default();
                levels.extend(speakers.into_iter().map(|s| (s.participant.clone(), s)));
            }
            Event::DataRefused { participant, reason, count } => {
                *self.refused.entry((room.clone(), participant, reason)).or_default() += count;
            }
            body => self.facts.push_back(InRoom { room: room.clone(), body }),
        }
    }

    fn pop(&mut self) -> Option<InRoom<Event>> {
        if let Some(fact) = self.facts.pop_front() {
            return Some(fact);
        }
        if let Some((room, levels)) = self.speakers.pop_first() {
            return Some(InRoom { room, body: Event::Speakers { speakers: levels.into_values().collect() } });
        }
        if let Some(((room, participant, reason), count)) = self.refused.pop_first() {
            return Some(InRoom { room, body: Event::DataRefused { participant, reason, count } });
        }
        if let Some(((room, _), body)) = self.quality.pop_first() {
            return Some(InRoom { room, body });
        }
        let ((room, _), body) = self.stats.pop_first()?;
        Some(InRoom { room, body })
    }
}

/// The queue.
#[derive(Debug)]
pub(crate) struct EventQueue {
    waiting: Mutex<Waiting>,
    fd: OwnedFd,
}

impl EventQueue {
    pub(crate) fn new() -> std::io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self { waiting: Mutex::default(), fd })
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    pub(crate) fn push(&self, room: &RoomId, events: impl IntoIterator<Item = Event>) {
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            for event in events {
                waiting.push(room, event);
            }
        }
        // Only a full counter can refuse this, and then the reader is being woken already.
        let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
    }

    /// At most `max` events. When some remain the reader is woken again.
    pub(crate) fn drain(&self, max: usize) -> Vec<InRoom<Event>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let events: Vec<_> = std::iter::from_fn(|| waiting.pop()).take(max).collect();
        if events.len() == max {
            let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quality(name: &str, bitrate: u64) -> Event {
        Event::Quality {
            participant: ParticipantId::from(name),
            uplink_loss: 0.0,
            downlink_loss: 0.0,
            rtt_ms: 1.0,
            uplink_bitrate: bitrate,
            downlink_bitrate: 0,
        }
    }

    #[test]
    fn newer_statistics_replace_older_ones_and_facts_stay() {
        let queue = EventQueue::new().unwrap();
        let room = RoomId::from("r");
        for n in 0..10 {
            queue.push(&room, [quality("a", n), Event::RoomFailed { reason: n.to_string() }]);
        }
        let events = queue.drain(100);
        assert_eq!(events.len(), 11);
        assert_eq!(events[10].body, quality("a", 9));
        assert_eq!(events[0].body, Event::RoomFailed { reason: "0".to_owned() });
    }

    #[test]
    fn of_figures_only_the_newest_wait() {
        let queue = EventQueue::new().unwrap();
        let room = RoomId::from("r");
        let figures = |serial, part| Event::Stats {
            serial,
            part,
            parts: 2,
            period_ms: 2000,
            tracks: vec![],
            subscriptions: vec![],
            participants: vec![],
        };
        for serial in 0..10 {
            queue.push(&room, [figures(serial, 0), figures(serial, 1)]);
        }
        let bodies: Vec<Event> = queue.drain(100).into_iter().map(|e| e.body).collect();
        assert_eq!(bodies, [figures(9, 0), figures(9, 1)]);
    }

    #[test]
    fn refusals_are_added_up() {
        let queue = EventQueue::new().unwrap();
        let room = RoomId::from("r");
        let refused = |reason, count| Event::DataRefused { participant: "a".into(), reason, count };
        for _ in 0..10 {
            queue.push(&room, [refused(Refusal::TooMany, 3), refused(Refusal::Malformed, 1)]);
        }
        let bodies: Vec<Event> = queue.drain(100).into_iter().map(|e| e.body).collect();
        assert_eq!(bodies, [refused(Refusal::Malformed, 10), refused(Refusal::TooMany, 30)]);
    }

    #[test]
    fn speakers_are_merged() {
        let queue = EventQueue::new().unwrap();
        let room = RoomId::from("r");
        let speaker =
            |name: &str, active| SpeakerLevel { participant: ParticipantId::from(name), level: 0.5, active };
        queue.push(&room, [Event::Speakers { speakers: vec![speaker("a", true), speaker("b", true)] }]);
        queue.push(&room, [Event::Speakers { speakers: vec![speaker("a", false)] }]);
        let events = queue.drain(1);
        assert_eq!(
            events[0].body,
            Event::Speakers { speakers: vec![speaker("a", false), speaker("b", true)] }
        );
        assert!(queue.drain(1).is_empty());
    }
}
