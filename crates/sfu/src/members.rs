//! Who comes and goes: participants, what they publish, who subscribes to it.
//!
//! Indices between the tables are kept consistent here: whatever removes an entry removes every index to it in the
//! same call.

use std::time::Instant;

use crate::adaptation::Grant;
use crate::allowance::Allowance;
use crate::clock::PublisherClock;
use crate::command::{Rights, Target};
use crate::event::Event;
use crate::ids::{ParticipantId, TrackId};
use crate::output::Route;
use crate::participant::{Participant, Quality, Refusals};
use crate::red::Protection;
use crate::requests::Requests;
use crate::room::Room;
use crate::stats::Sent;
use crate::track::{Subscription, Track};
use crate::transport::Use;

impl Room {
    pub(crate) fn add_participant(
        &mut self,
        id: ParticipantId,
        identity: String,
        (single, fixed): (bool, bool),
        adaptive: bool,
        rights: Rights,
        now: Instant,
    ) {
        if self.names.contains_key(&id) {
            return;
        }
        let index = self.participants.insert(Participant {
            id: id.clone(),
            identity,
            single,
            fixed,
            adaptive,
            rights,
            transports: Vec::new(),
            tracks: Vec::new(),
            subscriptions: Vec::new(),
            clock: PublisherClock::new(self.epoch),
            allowance: Allowance::new(now),
            refusals: Refusals::default(),
            quality: Quality::default(),
            quality_at: now,
        });
        self.names.insert(id, index);
        if !single {
            let slot = self.add_transport(index, Target::Subscriber, now);
            self.want(slot);
        }
    }

    pub(crate) fn remove_participant(&mut self, index: usize) {
        for subscription in self.participants[index].subscriptions.clone() {
            self.remove_subscription(subscription);
        }
        for track in self.participants[index].tracks.clone() {
            self.remove_track(track);
        }
        let mut participant = self.participants.remove(index);
        for (reason, count) in participant.refusals.take_all() {
            let participant = participant.id.clone();
            self.events.push(Event::DataRefused { participant, reason, count });
        }
        self.names.remove(&participant.id);
        self.speakers.remove(&participant.id);
        for slot in participant.transports {
            let mut transport = self.transports.remove(slot);
            (self.timers[slot], self.flushes[slot]) = (None, None);
            self.dirty.retain(|d| *d != slot);
            self.queued.retain(|q| *q != slot);
            self.wanting.retain(|w| *w != slot);
            self.routes.push(Route::Remove(transport.key));
            let _ = transport.rtc.close();
            self.closing.push(transport);
        }
    }

    pub(crate) fn close(&mut self) {
        let all: Vec<usize> = self.participants.iter().map(|(index, _)| index).collect();
        for index in all {
            self.remove_participant(index);
        }
        self.closed = true;
    }

    pub(crate) fn publish(&mut self, track: Track) {
        if self.track_names.contains_key(&track.id) {
            return;
        }
        let (id, participant) = (track.id.clone(), track.participant);
        let index = self.tracks.insert(track);
        self.track_names.insert(id, index);
        self.participants[participant].tracks.push(index);
        self.place_tracks(participant);
    }

    pub(crate) fn remove_track(&mut self, index: usize) {
        for subscription in self.tracks[index].subscriptions.clone() {
            self.remove_subscription(subscription);
        }
        let track = self.tracks.remove(index);
        self.track_names.remove(&track.id);
        self.participants[track.participant].tracks.retain(|t| *t != index);
        if let Some((slot, _)) = track.place {
            let transport = &mut self.transports[slot];
            // Its packets may go on coming, and its index may be another track's soon.
            transport.incoming.retain(|(_, track)| *track != index);
            transport.forget_streams();
        }
    }

    pub(crate) fn find_subscription(&self, participant: &ParticipantId, track: &TrackId) -> Option<usize> {
        let participant = *self.names.get(participant)?;
        let track = *self.track_names.get(track)?;
        let all = &self.participants[participant].subscriptions;
        all.iter().copied().find(|s| self.subscriptions[*s].track == track)
    }

    pub(crate) fn subscribe(&mut self, participant: &ParticipantId, track: &TrackId) {
        let (Some(&to), Some(&of)) = (self.names.get(participant), self.track_names.get(track)) else {
            return;
        };
        if self.tracks[of].participant == to || self.find_subscription(participant, track).is_some() {
            return;
        }
        let index = self.subscriptions.insert(Subscription {
            track: of,
            participant: to,
            enabled: true,
            allowed: self.participants[to].rights.receives(self.tracks[of].stream),
            width: 0,
            height: 0,
            place: None,
            current: None,
            target: None,
            told: (0, 0),
            fps: 0,
            sieve: None,
            protection: Protection::default(),
            sent: Sent::default(),
            requests: Requests::default(),
            refused: false,
            grant: Grant::default(),
            shed: false,
        });
        self.tracks[of].subscriptions.push(index);
        self.participants[to].subscriptions.push(index);
        self.want_negotiation(to);
    }

    pub(crate) fn remove_subscription(&mut self, index: usize) {
        let mut subscription = self.subscriptions.remove(index);
        subscription.stop(&mut self.transports);
        self.tracks[subscription.track].subscriptions.retain(|s| *s != index);
        let participant = subscription.participant;
        self.participants[participant].subscriptions.retain(|s| *s != index);
        if let Some((slot, section)) = subscription.place {
            let section = &mut self.transports[slot].sections[section];
            section.usage = if self.participants[participant].fixed { Use::Free } else { Use::Left };
            section.negotiated = false;
            section.rewriter.change_source();
            self.want_negotiation(participant);
        }
    }
}
