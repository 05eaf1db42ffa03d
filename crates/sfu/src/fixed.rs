//! Participants that offer once: what is sent to them moves through the sections of that offer.
//!
//! A WHEP player makes one offer and is told nothing afterwards. Each section in which it receives sends from the first
//! answer on, in a stream of its own name, and keeps its SSRC and its numbers whoever is sent in it: to the player
//! another publisher is a key picture. Sections are filled in the order of subscriptions. The first sections of both
//! kinds belong together, and the second ones; one publisher's sound and pictures go together if they can.

use std::time::Instant;

use crate::command::Kind;
use crate::event::Event;
use crate::room::Room;
use crate::track::Subscription;
use crate::transport::{Transport, Use};

impl Room {
    pub(crate) fn is_fixed(&self, slot: usize) -> bool {
        self.participants[self.transports[slot].participant].fixed
    }

    /// Something changed in who can be sent a track: those who offer once may now get it, or another instead.
    pub(crate) fn refit_track(&mut self, index: usize) {
        for subscription in self.tracks[index].subscriptions.clone() {
            let participant = self.subscriptions[subscription].participant;
            if self.participants[participant].fixed {
                self.want_negotiation(participant);
            }
        }
    }

    /// Fills the sections anew: what cannot be sent gives way, and what waits takes what is free.
    pub(crate) fn fill(&mut self, slot: usize, now: Instant) {
        let participant = self.transports[slot].participant;
        for index in self.participants[participant].subscriptions.clone() {
            if let Some((_, section)) = self.subscriptions[index].place
                && !self.fits(index, slot, section)
            {
                self.vacate(index);
            }
        }
        for index in self.waiting(participant) {
            let Some(section) = self.find_section(slot, index) else { continue };
            let Transport { sections, egress, .. } = &mut self.transports[slot];
            let taken = &mut sections[section];
            taken.usage = Use::Taken(index);
            taken.negotiated = true;
            if let Some(stream) = taken.stream {
                egress.renew(stream);
            }
            let subscription = &mut self.subscriptions[index];
            subscription.place = Some((slot, section));
            let track = subscription.track;
            self.refresh_track(track, now);
        }
    }

    /// The names of the stream and the track that a section sends.
    pub(crate) fn fixed_msid(&self, slot: usize, section: usize) -> (String, String) {
        let sections = &self.transports[slot].sections;
        let kind = sections[section].kind;
        let place = sections[..section].iter().filter(|s| s.kind == kind).count();
        let name = if kind == Kind::Audio { "audio" } else { "video" };
        (format!("stream{place}"), format!("{name}{place}"))
    }

    /// Whether a subscription can be sent in a section. Of a track that has not begun it is not known what it will be
    /// encoded with.
    fn fits(&mut self, subscription: usize, slot: usize, section: usize) -> bool {
        let Subscription { track, allowed, .. } = self.subscriptions[subscription];
        let track = &self.tracks[track];
        let transport = &mut self.transports[slot];
        let mut sources = track.sources.iter();
        let sendable = track.sources.is_empty() || sources.any(|s| transport.can_send(section, s.codec));
        allowed && track.allowed && sendable
    }

    fn find_section(&mut self, slot: usize, subscription: usize) -> Option<usize> {
        let track = &self.tracks[self.subscriptions[subscription].track];
        let (kind, publisher) = (track.kind, track.participant);
        let sections = &self.transports[slot].sections;
        let partners: Vec<Option<usize>> = sections
            .iter()
            .filter(|s| s.kind != kind)
            .map(|s| match s.usage {
                Use::Taken(other) => Some(self.tracks[self.subscriptions[other].track].participant),
                _ => None,
            })
            .collect();
        let of_kind = sections.iter().enumerate().filter(|(_, s)| s.kind == kind).enumerate();
        let mut free: Vec<(u8, usize)> = of_kind
            .filter(|(_, (_, s))| s.usage == Use::Free)
            .map(|(place, (section, _))| match partners.get(place) {
                Some(Some(partner)) if *partner == publisher => (0, section),
                Some(Some(_)) => (2, section),
                Some(None) | None => (1, section),
            })
            .collect();
        free.sort_unstable();
        free.into_iter().map(|(_, section)| section).find(|s| self.fits(subscription, slot, *s))
    }

    fn vacate(&mut self, index: usize) {
        let subscription = &mut self.subscriptions[index];
        subscription.stop(&mut self.transports);
        if let Some((slot, section)) = subscription.place.take() {
            let section = &mut self.transports[slot].sections[section];
            section.usage = Use::Free;
            section.rewriter.change_source();
        }
        if std::mem::take(&mut subscription.told) != (0, 0) {
            self.events.push(Event::Receiving {
                participant: self.participants[subscription.participant].id.clone(),
                track: self.tracks[subscription.track].id.clone(),
                width: 0,
                height: 0,
            });
        }
    }
}
