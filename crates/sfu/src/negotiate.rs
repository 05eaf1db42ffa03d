//! Descriptions: who is sent in which section, and when the other side must be told.
//!
//! With one connection the client offers and we answer; a subscription without a free section makes us ask for an
//! offer with more. With two, we offer the subscriber connection ourselves, one offer at a time. In both, a section
//! whose subscription ended is told to be inactive before it carries another: a browser announces a new track only
//! when the section's direction changes.

use std::collections::HashMap;
use std::time::Instant;

use str0m::change::{SdpAnswer, SdpOffer};
use str0m::channel::ChannelConfig;
use str0m::channel::Reliability;
use str0m::media::{Direction as RtcDirection, MediaKind, Mid};

use crate::command::{Kind, Target};
use crate::event::{Event, MidMap};
use crate::h264;
use crate::output::Route;
use crate::participant::Participant;
use crate::room::Room;
use crate::sdp::{self, Direction, Finish};
use crate::transport::{OpenOffer, Transport, Use};

impl Room {
    /// The client's offer.
    pub(crate) fn handle_offer(
        &mut self,
        participant: usize,
        request: i64,
        target: Target,
        text: &str,
        now: Instant,
    ) {
        if !self.participants[participant].allowance.take_description(now, text.len()) {
            self.reject(participant, request, target, "too many descriptions");
            return;
        }
        match self.answer_offer(participant, target, text, now) {
            Ok((sdp, mid_to_track)) => {
                let participant = self.participants[participant].id.clone();
                self.events.push(Event::Answered { participant, request, target, sdp, mid_to_track });
            }
            Err(reason) => self.reject(participant, request, target, reason),
        }
    }

    fn reject(&mut self, participant: usize, request: i64, target: Target, reason: &str) {
        let participant = self.participants[participant].id.clone();
        self.events.push(Event::SdpRejected { participant, request, target, reason: reason.to_owned() });
    }

    fn answer_offer(
        &mut self,
        participant: usize,
        target: Target,
        text: &str,
        now: Instant,
    ) -> Result<(String, MidMap), &'static str> {
        let Participant { single, fixed, .. } = self.participants[participant];
        let expected = if single { Target::Single } else { Target::Publisher };
        if target != expected {
            return Err("this connection is not offered by the client");
        }
        let text = if fixed { &sdp::receive_only(text) } else { text };
        let sections = sdp::read(text)?;
        let (cleaned, aliases) = h264::offer_as_ours(&sdp::clean(text));
        let offer = SdpOffer::from_sdp_string(&cleaned).map_err(|_| "the description cannot be parsed")?;
        let slot = self
            .find_transport(participant, target)
            .unwrap_or_else(|| self.add_transport(participant, target, now));

        let transport = &mut self.transports[slot];
        transport.unpark();
        let answer = transport.rtc.sdp_api().accept_offer(offer);
        self.mark_dirty(slot);
        let transport = &mut self.transports[slot];
        let answer = match answer {
            Ok(answer) => h264::answer_as_theirs(&answer.to_sdp_string(), &aliases),
            Err(error) => {
                tracing::debug!(%error, "offer refused");
                transport.park();
                if !transport.rtc.is_alive() {
                    self.fail_transport(slot);
                }
                return Err("the description is not acceptable");
            }
        };

        transport.publishing.clear();
        transport.set_unnamed(&sections);
        transport.set_repeating(&sections);
        for section in sections.iter().filter(|s| s.kind.is_some() && !s.rejected) {
            let mid = Mid::from(section.mid.as_str());
            if let (true, Some(cid)) = (section.direction.sends(), &section.cid) {
                transport.publishing.push((mid, cid.clone()));
            }
            if let (Direction::RecvOnly, Some(kind), Target::Single) =
                (section.direction, section.kind, target)
                && transport.rtc.media(mid).is_some()
                && !transport.sections.iter().any(|s| s.mid == mid)
            {
                transport.add_section(mid, kind);
            }
        }
        if self.is_fixed(slot) {
            self.fill(slot, now);
        } else if target == Target::Single {
            self.assign(slot);
            self.release_left(slot, Use::Left);
        }
        self.place_tracks(participant);
        self.transports[slot].park();
        self.add_route(slot);
        let (text, mids) = self.finish(slot, &answer);
        let transport = &mut self.transports[slot];
        transport.negotiation.begun = true;
        transport.negotiation.asked = false;
        // What found no section yet, and what left while this offer was under way, is asked for again.
        self.want(slot);
        self.accept_sections(slot, now);
        Ok((text, mids))
    }

    /// The client's answer to an offer of ours.
    pub(crate) fn handle_answer(&mut self, participant: usize, request: i64, text: &str, now: Instant) {
        let Some(slot) = self.find_transport(participant, Target::Subscriber) else { return };
        let transport = &mut self.transports[slot];
        // Older clients do not number their answers.
        let answered = |open: &mut OpenOffer| request == 0 || open.request == request;
        let Some(open) = transport.negotiation.open.take_if(answered) else { return };
        let answer = sdp::read(text).and_then(|sections| {
            let answer = SdpAnswer::from_sdp_string(&sdp::clean(text));
            answer.map(|answer| (answer, sections)).map_err(|_| "the description cannot be parsed")
        });
        let accepted = answer.and_then(|(answer, sections)| {
            transport.unpark();
            let accepted = transport.rtc.sdp_api().accept_answer(open.pending, answer);
            transport.park();
            transport.set_repeating(&sections);
            accepted.map_err(|error| {
                tracing::debug!(%error, "answer refused");
                "the description is not acceptable"
            })
        });
        self.want(slot);
        self.mark_dirty(slot);
        match accepted {
            Ok(()) => {
                self.release_left(slot, Use::Leaving);
                self.add_route(slot);
                self.accept_sections(slot, now);
            }
            Err(reason) => {
                self.reject(participant, request, Target::Subscriber, reason);
                self.withdraw(slot, &open.added);
                if !self.transports[slot].rtc.is_alive() {
                    self.fail_transport(slot);
                }
            }
        }
    }

    /// Offers the subscriber connection with new ICE credentials. An offer that waits is withdrawn: the client that
    /// was to answer it may never have got it.
    pub(crate) fn restart_ice(&mut self, participant: usize) {
        let Some(slot) = self.find_transport(participant, Target::Subscriber) else { return };
        self.want(slot);
        let negotiation = &mut self.transports[slot].negotiation;
        negotiation.restart = negotiation.begun;
        if let Some(open) = negotiation.open.take() {
            self.withdraw(slot, &open.added);
        }
    }

    /// Something changed in what a participant is to receive.
    pub(crate) fn want_negotiation(&mut self, participant: usize) {
        let target = if self.participants[participant].single { Target::Single } else { Target::Subscriber };
        if let Some(slot) = self.find_transport(participant, target) {
            self.want(slot);
        }
    }

    /// Makes the offers that are wanted, and asks for those that clients make. One that cannot be made yet is wanted
    /// again when what it waits for has come.
    pub(crate) fn settle(&mut self, now: Instant) {
        for slot in self.take_wanting() {
            match self.transports[slot].target {
                _ if !self.transports[slot].rtc.is_alive() => {}
                Target::Single if self.is_fixed(slot) => self.fill(slot, now),
                Target::Single => self.ask(slot),
                Target::Subscriber => self.offer(slot),
                Target::Publisher => {}
            }
        }
    }

    /// Asks the client for an offer if something waits for one.
    fn ask(&mut self, slot: usize) {
        let negotiation = &self.transports[slot].negotiation;
        if !negotiation.begun || negotiation.asked {
            return;
        }
        let participant = self.transports[slot].participant;
        let (mut audio, mut video) = (0u32, 0u32);
        let mut wanted = self.transports[slot].sections.iter().any(|s| s.usage == Use::Left);
        for subscription in self.waiting(participant) {
            wanted = true;
            match self.tracks[self.subscriptions[subscription].track].kind {
                Kind::Audio => audio += 1,
                Kind::Video => video += 1,
            }
        }
        let transport = &mut self.transports[slot];
        for section in transport.sections.iter().filter(|s| s.usage == Use::Free) {
            match section.kind {
                Kind::Audio => audio = audio.saturating_sub(1),
                Kind::Video => video = video.saturating_sub(1),
            }
        }
        if wanted {
            transport.negotiation.asked = true;
            let participant = self.participants[participant].id.clone();
            self.events.push(Event::SectionsNeeded { participant, audio, video });
        }
    }

    /// Offers the subscriber connection, unless an offer is open.
    fn offer(&mut self, slot: usize) {
        if self.transports[slot].negotiation.open.is_some() {
            return;
        }
        let participant = self.transports[slot].participant;
        self.assign(slot);
        let waiting = self.waiting(participant);
        let named: Vec<(usize, Kind, String, String)> = waiting
            .into_iter()
            .take(sdp::MAX_SECTIONS.saturating_sub(self.transports[slot].sections.len()))
            .map(|subscription| {
                let track = &self.tracks[self.subscriptions[subscription].track];
                let (stream, id) = self.msid(subscription);
                (subscription, track.kind, stream, id)
            })
            .collect();

        let transport = &mut self.transports[slot];
        transport.unpark();
        let mut api = transport.rtc.sdp_api();
        if !transport.negotiation.begun {
            api.add_channel("_reliable".to_owned());
            api.add_channel_with_config(ChannelConfig {
                label: "_lossy".to_owned(),
                ordered: false,
                reliability: Reliability::MaxRetransmits { retransmits: 0 },
                ..ChannelConfig::default()
            });
        }
        for section in &mut transport.sections {
            match section.usage {
                Use::Taken(_) if !section.negotiated => {
                    api.set_direction(section.mid, RtcDirection::SendOnly)
                }
                Use::Left => {
                    section.usage = Use::Leaving;
                    api.set_direction(section.mid, RtcDirection::Inactive);
                }
                _ => {}
            }
        }
        let mut added = Vec::new();
        for (subscription, kind, stream, id) in named {
            let media = if kind == Kind::Audio { MediaKind::Audio } else { MediaKind::Video };
            let mid = api.add_media(media, RtcDirection::SendOnly, Some(stream), Some(id), None);
            added.push((mid, kind, subscription));
        }
        if std::mem::take(&mut transport.negotiation.restart) {
            api.ice_restart(true);
        }
        let made = api.apply();
        for (mid, kind, subscription) in &added {
            transport.add_section(*mid, *kind).usage = Use::Taken(*subscription);
        }
        transport.park();
        for (mid, _, subscription) in &added {
            let section = self.transports[slot].sections.iter().position(|s| s.mid == *mid);
            self.subscriptions[*subscription].place = section.map(|section| (slot, section));
        }
        let negotiation = &mut self.transports[slot].negotiation;
        let Some((offer, pending)) = made else { return };
        negotiation.begun = true;
        negotiation.requests += 1;
        let request = negotiation.requests;
        let added = added.into_iter().map(|(mid, _, _)| mid).collect();
        negotiation.open = Some(OpenOffer { request, pending, added });
        let (sdp, mid_to_track) = self.finish(slot, &offer.to_sdp_string());
        self.mark_dirty(slot);
        let participant = self.participants[participant].id.clone();
        self.events.push(Event::Offered { participant, request, sdp, mid_to_track });
    }

    /// Takes an offer of ours back: its new sections never came to be.
    fn withdraw(&mut self, slot: usize, added: &[Mid]) {
        let transport = &mut self.transports[slot];
        transport.sections.retain(|s| !added.contains(&s.mid));
        for section in &mut transport.sections {
            if section.usage == Use::Leaving {
                section.usage = Use::Left;
            }
        }
        let participant = transport.participant;
        for subscription in self.participants[participant].subscriptions.clone() {
            let place = self.transports[slot].section_of(subscription).map(|section| (slot, section));
            self.subscriptions[subscription].place = place;
        }
    }

    /// Gives free sections to subscriptions that wait for one.
    fn assign(&mut self, slot: usize) {
        let participant = self.transports[slot].participant;
        for subscription in self.waiting(participant) {
            let kind = self.tracks[self.subscriptions[subscription].track].kind;
            let transport = &mut self.transports[slot];
            let free = |s: &crate::transport::Section| s.usage == Use::Free && s.kind == kind;
            if let Some(section) = transport.sections.iter().position(free) {
                transport.sections[section].usage = Use::Taken(subscription);
                transport.sections[section].negotiated = false;
                self.subscriptions[subscription].place = Some((slot, section));
            }
        }
    }

    pub(crate) fn waiting(&self, participant: usize) -> Vec<usize> {
        let all = self.participants[participant].subscriptions.iter().copied();
        all.filter(|s| self.subscriptions[*s].place.is_none()).collect()
    }

    fn release_left(&mut self, slot: usize, told: Use) {
        for section in &mut self.transports[slot].sections {
            if section.usage == told {
                section.usage = Use::Free;
            }
        }
    }

    /// The client knows now what its sections carry.
    fn accept_sections(&mut self, slot: usize, now: Instant) {
        let Transport { sections, egress, .. } = &mut self.transports[slot];
        for section in sections.iter_mut().filter(|s| matches!(s.usage, Use::Taken(_))) {
            if let (false, Some(stream)) = (std::mem::replace(&mut section.negotiated, true), section.stream)
            {
                egress.renew(stream);
            }
        }
        self.refresh_transport(slot, now);
    }

    fn add_route(&mut self, slot: usize) {
        let transport = &mut self.transports[slot];
        self.routes.push(Route::Add(transport.local_ufrag(), transport.key));
    }

    /// Connects what a participant announced with the media lines it comes in.
    pub(crate) fn place_tracks(&mut self, participant: usize) {
        let target = if self.participants[participant].single { Target::Single } else { Target::Publisher };
        let Some(slot) = self.find_transport(participant, target) else { return };
        let transport = &mut self.transports[slot];
        transport.incoming.clear();
        for &index in &self.participants[participant].tracks {
            let track = &mut self.tracks[index];
            let line = transport.publishing.iter().find(|(_, cid)| *cid == track.cid);
            let place = line.map(|(mid, _)| (slot, *mid));
            if track.place != place {
                if place.is_none() {
                    let participant = self.participants[participant].id.clone();
                    self.events.push(Event::TrackEnded { participant, track: track.id.clone() });
                }
                track.place = place;
                track.sources.clear();
            }
            if let Some((_, mid)) = place {
                transport.incoming.push((mid, index));
            }
        }
        transport.forget_streams();
        for &index in &self.participants[participant].tracks {
            if self.tracks[index].sources.is_empty() {
                for subscription in &self.tracks[index].subscriptions {
                    self.subscriptions[*subscription].stop(&mut self.transports);
                }
            }
        }
    }

    fn msid(&self, subscription: usize) -> (String, String) {
        let track = &self.tracks[self.subscriptions[subscription].track];
        let publisher = &self.participants[track.participant].id;
        (format!("{publisher}|{}", track.id), track.id.to_string())
    }

    /// The description as the client gets it, and which track is in which of its lines.
    fn finish(&self, slot: usize, text: &str) -> (String, MidMap) {
        let transport = &self.transports[slot];
        let mut plan = HashMap::new();
        let mut mids = MidMap::new();
        let fixed = self.is_fixed(slot);
        for (index, section) in transport.sections.iter().enumerate() {
            let mut msid = fixed.then(|| self.fixed_msid(slot, index));
            if let Use::Taken(subscription) = section.usage {
                let track = self.tracks[self.subscriptions[subscription].track].id.clone();
                mids.insert(section.mid.to_string(), track);
                msid = msid.or_else(|| Some(self.msid(subscription)));
            }
            // Ours to offer; in an answer it is what was asked for.
            let repeats = transport.target == Target::Subscriber || section.repeats;
            let finish = Finish { inactive: msid.is_none(), msid, repeats, ..Finish::default() };
            plan.insert(section.mid.to_string(), finish);
        }
        for (mid, index) in &transport.incoming {
            let track = &self.tracks[*index];
            mids.insert(mid.to_string(), track.id.clone());
            let codec = (!track.codec.is_empty()).then(|| track.codec.clone());
            let repeats = transport.repeating.contains(mid);
            plan.insert(mid.to_string(), Finish { codec, repeats, ..Finish::default() });
        }
        (sdp::finish(text, &plan), mids)
    }
}
