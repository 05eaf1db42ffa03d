//! What a client's network carries is shared out among the pictures that its participant wishes for.

use std::time::Instant;

use rtcloud_bandwidth::{Class, Want};

use crate::adaptation::{Choice, Grant};
use crate::command::{Kind, Stream};
use crate::event::Event;
use crate::room::Room;

/// What one subscription could get.
struct Wish {
    subscription: usize,
    class: Class,
    choices: Vec<Choice>,
    current: Option<usize>,
}

impl Room {
    /// Grants layers in all transports, and looks for room where more is wished for.
    pub(crate) fn adapt_all(&mut self, now: Instant) {
        for slot in 0..self.timers.len() {
            if self.transports.get(slot).is_some_and(|t| t.is_connected()) {
                self.adapt(slot, now);
                self.probe(slot, now);
            }
        }
    }

    /// Sends a probe if it is time for one.
    pub(crate) fn probe(&mut self, slot: usize, now: Instant) {
        let transport = &mut self.transports[slot];
        let Some(probe) = transport.adaptation.probe(now) else { return };
        transport.egress.probe(probe.cluster, probe.bitrate, probe.bytes);
        self.mark_queued(slot);
    }

    /// Shares out what a transport's network carries.
    pub(crate) fn adapt(&mut self, slot: usize, now: Instant) {
        let transport = &self.transports[slot];
        if !transport.is_connected() {
            return;
        }
        let mut wishes = Vec::new();
        for &index in &self.participants[transport.participant].subscriptions {
            let subscription = &mut self.subscriptions[index];
            let track = &self.tracks[subscription.track];
            if track.kind != Kind::Video || subscription.place.is_none_or(|(to, _)| to != slot) {
                continue;
            }
            let choices = if subscription.flows() && track.flows() && !subscription.refused {
                track.choices((subscription.width, subscription.height), subscription.fps, now)
            } else {
                Vec::new()
            };
            if choices.is_empty() {
                subscription.grant = Grant::Unasked;
                continue;
            }
            let class = match track.stream {
                Stream::Aux => Class::Screen,
                _ if self.speakers.is_active(&self.participants[track.participant].id) => Class::Speaker,
                _ => Class::Other,
            };
            let last = choices.len() - 1;
            let current = match subscription.grant {
                Grant::Layer { source, spatial } => {
                    let same = |c: &Choice| c.source == source && c.spatial == spatial;
                    Some(choices.iter().position(same).unwrap_or(last))
                }
                Grant::Everything => Some(last),
                Grant::Unasked => choices.iter().position(|c| Some(c.source) == subscription.current),
                Grant::Nothing => None,
            };
            wishes.push(Wish { subscription: index, class, choices, current });
        }
        if wishes.is_empty() {
            // Nothing to share out: most transports of an audience of sound, ten times a second.
            self.transports[slot].adaptation.share_nothing(now);
            return;
        }
        let numbered = (0..transport.sections.len()).any(|section| transport.is_numbered(section));
        let rates: Vec<Vec<u64>> =
            wishes.iter().map(|wish| wish.choices.iter().map(|c| c.bitrate).collect()).collect();
        let wants: Vec<Want<'_>> = wishes
            .iter()
            .zip(&rates)
            .map(|(wish, layers)| Want {
                key: wish.subscription,
                class: wish.class,
                layers,
                current: wish.current,
            })
            .collect();
        let adaptation = &mut self.transports[slot].adaptation;
        let grants = adaptation.share(numbered, &wants, now);
        let pacing = adaptation.pacing(now);
        self.transports[slot].egress.set_pacing(pacing);
        for (index, wish) in wishes.iter().enumerate() {
            let grant = grants.as_ref().map(|grants| grants[index].map(|layer| wish.choices[layer]));
            self.subscriptions[wish.subscription].grant = match grant {
                Some(Some(Choice { source, spatial, .. })) => Grant::Layer { source, spatial },
                Some(None) => Grant::Nothing,
                None => Grant::Everything,
            };
            self.tell_shed(wish.subscription);
        }
    }

    /// Says so when the network begins or ceases to carry nothing of a track.
    fn tell_shed(&mut self, index: usize) {
        let subscription = &mut self.subscriptions[index];
        let shed = subscription.grant == Grant::Nothing;
        if std::mem::replace(&mut subscription.shed, shed) != shed {
            if shed {
                subscription.stop(&mut self.transports);
            }
            let track = &self.tracks[subscription.track];
            self.events.push(Event::SubscriptionShed {
                participant: self.participants[subscription.participant].id.clone(),
                publisher: self.participants[track.participant].id.clone(),
                track: track.id.clone(),
                shed,
            });
        }
    }
}
