//! A room: who is in it, what they publish, who gets it.
//!
//! This module holds the state and carries out commands; what happens to descriptions, packets, messages and reports
//! is in `negotiate`, `forward`, `message` and `report`. Indices between the tables are kept consistent here: whatever
//! removes an entry removes every index to it in the same call.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;
use str0m::net::{Protocol, Receive};
use str0m::{Event as RtcEvent, Input, Output as RtcOutput};

use crate::allowance::Allowance;
use crate::clock::PublisherClock;
use crate::command::{Command, Event, Rights, Target, TransportState};
use crate::ids::{ParticipantId, TrackId, TransportKey};
use crate::output::{Heard, Output, Route};
use crate::participant::{Participant, QualitySums, Refusals};
use crate::path;
use crate::proof;
use crate::speakers::Speakers;
use crate::track::{Subscription, Track};
use crate::transport::{Transport, TransportConfig, Use};

/// How often layers, key pictures and silent transports are looked at.
const TICK: Duration = Duration::from_millis(100);
/// Rounds in which one poll may make new work for itself.
const MAX_ROUNDS: usize = 8;

/// A room. See the crate's documentation for how it is driven.
pub struct Room {
    pub(crate) config: Arc<TransportConfig>,
    pub(crate) epoch: Instant,
    pub(crate) participants: Slab<Participant>,
    pub(crate) names: HashMap<ParticipantId, usize>,
    pub(crate) tracks: Slab<Track>,
    pub(crate) track_names: HashMap<TrackId, usize>,
    pub(crate) subscriptions: Slab<Subscription>,
    pub(crate) transports: Slab<Transport>,
    pub(crate) speakers: Speakers,
    pub(crate) events: Vec<Event>,
    pub(crate) routes: Vec<Route>,
    pub(crate) dirty: Vec<usize>,
    /// Transports in which something is to be negotiated.
    wanting: Vec<usize>,
    /// When each transport wants to be called, by slot. Beside the transports, which are large: looking through all of
    /// them many times a second would cost more than most packets do.
    timers: Vec<Option<Instant>>,
    pub(crate) speakers_at: Instant,
    /// When a key picture that could not be asked for yet can be.
    pub(crate) keyframes_at: Option<Instant>,
    closing: Vec<Transport>,
    serial: u32,
    tick_at: Instant,
    timeout: Instant,
    closed: bool,
}

impl Room {
    /// An empty room. `epoch` is the beginning of its clock.
    pub fn new(config: Arc<TransportConfig>, epoch: Instant) -> Self {
        Self {
            config,
            epoch,
            participants: Slab::new(),
            names: HashMap::new(),
            tracks: Slab::new(),
            track_names: HashMap::new(),
            subscriptions: Slab::new(),
            transports: Slab::new(),
            speakers: Speakers::default(),
            events: Vec::new(),
            routes: Vec::new(),
            dirty: Vec::new(),
            wanting: Vec::new(),
            timers: Vec::new(),
            speakers_at: epoch,
            keyframes_at: None,
            closing: Vec::new(),
            serial: 0,
            tick_at: epoch,
            timeout: epoch,
            closed: false,
        }
    }

    /// True after `CloseRoom`, once everything has left.
    pub fn is_closed(&self) -> bool {
        self.closed && self.closing.is_empty()
    }

    /// How many participants there are.
    pub fn participants(&self) -> usize {
        self.participants.len()
    }

    /// When [`Room::handle_timeout`] wants to be called, as of the last [`Room::poll`].
    pub fn next_timeout(&self) -> Instant {
        self.timeout
    }

    /// Carries out a command. One about something unknown is ignored: it has gone meanwhile.
    pub fn handle_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::AddParticipant { participant, identity, single, rights } => {
                self.add_participant(participant, identity, single, rights, now);
            }
            Command::SetRights { participant, rights } => {
                if let Some(&index) = self.names.get(&participant) {
                    self.set_rights(index, rights, now);
                }
            }
            Command::RemoveParticipant { participant } => {
                if let Some(&index) = self.names.get(&participant) {
                    self.remove_participant(index);
                }
            }
            Command::CloseRoom {} => self.close(),
            Command::PublishTrack { participant, track, cid, kind, stream, codec, layers, muted } => {
                let Some(&participant) = self.names.get(&participant) else { return };
                if self.track_names.contains_key(&track) {
                    return;
                }
                let mut layers = layers;
                layers.sort_by_key(|l| u64::from(l.width) * u64::from(l.height));
                let stream = stream.of(kind);
                let index = self.tracks.insert(Track {
                    id: track.clone(),
                    participant,
                    cid,
                    kind,
                    stream,
                    allowed: self.participants[participant].rights.sends(stream),
                    codec,
                    layers,
                    muted,
                    started: false,
                    place: None,
                    sources: Vec::new(),
                    subscriptions: Vec::new(),
                });
                self.track_names.insert(track, index);
                self.participants[participant].tracks.push(index);
                self.place_tracks(participant);
            }
            Command::UnpublishTrack { participant, track } => {
                let Some(&index) = self.track_names.get(&track) else { return };
                if self.names.get(&participant) == Some(&self.tracks[index].participant) {
                    self.remove_track(index);
                }
            }
            Command::MuteTrack { track, muted } => {
                if let Some(&index) = self.track_names.get(&track) {
                    self.mute(index, muted, now);
                }
            }
            Command::Offer { participant, request, target, sdp } => {
                if let Some(&index) = self.names.get(&participant) {
                    self.handle_offer(index, request, target, &sdp, now);
                }
            }
            Command::Answer { participant, request, sdp } => {
                if let Some(&index) = self.names.get(&participant) {
                    self.handle_answer(index, request, &sdp, now);
                }
            }
            // We are ICE-lite: a client's address is learned from its checks, which also prove it.
            Command::AddCandidate { .. } => {}
            Command::RestartIce { participant } => {
                if let Some(&index) = self.names.get(&participant) {
                    self.restart_ice(index);
                }
            }
            Command::Subscribe { participant, track } => self.subscribe(&participant, &track),
            Command::Unsubscribe { participant, track } => {
                if let Some(index) = self.find_subscription(&participant, &track) {
                    self.remove_subscription(index);
                }
            }
            Command::SetSubscription { participant, track, enabled, width, height, fps: _ } => {
                let Some(index) = self.find_subscription(&participant, &track) else { return };
                let subscription = &mut self.subscriptions[index];
                (subscription.width, subscription.height) = (width, height);
                if subscription.enabled != enabled {
                    subscription.enabled = enabled;
                    subscription.current = None;
                }
                let track = subscription.track;
                self.refresh_track(track, now);
            }
            Command::SendData { participants, reliable, packet } => {
                self.send_server_data(&participants, reliable, &packet);
            }
        }
    }

    /// A datagram came for a transport.
    pub fn handle_datagram(
        &mut self,
        key: TransportKey,
        source: SocketAddr,
        destination: SocketAddr,
        contents: &[u8],
        now: Instant,
        output: &mut Output,
    ) -> Heard {
        let slot = key.slot as usize;
        let Some(transport) = self.transports.get_mut(slot).filter(|t| t.key == key) else {
            return Heard::Refused;
        };
        let Ok(receive) = Receive::new(Protocol::Udp, source, destination, contents) else {
            return Heard::Refused;
        };
        let input = Input::Receive(now, receive);
        if !transport.rtc.accepts(&input) {
            return Heard::Refused;
        }
        transport.path.handle_received(source, contents.len());
        let before = proof::count();
        if let Err(error) = transport.rtc.handle_input(input) {
            tracing::debug!(%error, "transport refused a datagram");
            if !self.transports[slot].rtc.is_alive() {
                self.fail_transport(slot);
            }
        }
        // Of media it is known now, of DTLS once it is polled.
        let opened = proof::count() != before;
        if opened {
            self.transports[slot].path.handle_proof(source, destination, now);
        }
        self.poll_transport(slot, now, output);
        if proof::count() == before {
            return Heard::Taken;
        }
        let transport = &mut self.transports[slot];
        transport.last_heard = now;
        if !opened {
            transport.path.handle_proof(source, destination, now);
        }
        Heard::Proven
    }

    /// Time has come to [`Room::next_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        for slot in 0..self.timers.len() {
            if self.timers[slot].is_some_and(|at| at <= now) {
                self.mark_dirty(slot);
            }
        }
        if self.keyframes_at.is_some_and(|at| at <= now) {
            self.keyframes_at = None;
            let tracks: Vec<usize> = self.tracks.iter().map(|(index, _)| index).collect();
            for index in tracks {
                self.ask_for_keyframes(index, now);
            }
        }
        if now >= self.tick_at {
            self.tick_at = now + TICK;
            self.tick(now);
        }
    }

    /// Takes everything that is to be done now. After it nothing is left to do before [`Room::next_timeout`] or the
    /// next input.
    pub fn poll(&mut self, now: Instant, output: &mut Output) {
        for _ in 0..MAX_ROUNDS {
            self.settle();
            let dirty = std::mem::take(&mut self.dirty);
            if dirty.is_empty() {
                break;
            }
            for slot in dirty {
                let Some(transport) = self.transports.get_mut(slot) else { continue };
                transport.dirty = false;
                if let Err(error) = transport.rtc.handle_input(Input::Timeout(now)) {
                    tracing::debug!(%error, "transport failed on a timeout");
                    self.fail_transport(slot);
                }
                self.poll_transport(slot, now, output);
            }
        }
        for mut transport in std::mem::take(&mut self.closing) {
            let _ = transport.rtc.handle_input(Input::Timeout(now));
            loop {
                match transport.rtc.poll_output() {
                    Ok(RtcOutput::Transmit(t)) => {
                        if let Some((to, from)) = transport.path.choose(t.destination, t.source, &t.contents)
                        {
                            output.push(from, to, &t.contents);
                        }
                    }
                    Ok(RtcOutput::Event(_)) => {}
                    Ok(RtcOutput::Timeout(_)) | Err(_) => break,
                }
            }
        }
        self.timeout = self.timers.iter().copied().flatten().fold(self.tick_at, Instant::min);
        self.timeout = self.keyframes_at.map_or(self.timeout, |at| at.min(self.timeout));
        output.events.append(&mut self.events);
        output.routes.append(&mut self.routes);
    }

    pub(crate) fn mark_dirty(&mut self, slot: usize) {
        if !std::mem::replace(&mut self.transports[slot].dirty, true) {
            self.dirty.push(slot);
        }
    }

    /// Something is to be negotiated in a transport, as soon as it can be.
    pub(crate) fn want(&mut self, slot: usize) {
        if !self.wanting.contains(&slot) {
            self.wanting.push(slot);
        }
    }

    pub(crate) fn take_wanting(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.wanting)
    }

    fn poll_transport(&mut self, slot: usize, now: Instant, output: &mut Output) {
        loop {
            let Some(transport) = self.transports.get_mut(slot) else { return };
            match transport.rtc.poll_output() {
                Ok(RtcOutput::Timeout(at)) => {
                    self.timers[slot] = Some(at);
                    return;
                }
                Ok(RtcOutput::Transmit(t)) => {
                    if path::answers_check(&t.contents) {
                        transport.last_heard = now;
                    }
                    if let Some((to, from)) = transport.path.choose(t.destination, t.source, &t.contents) {
                        output.push(from, to, &t.contents);
                    }
                }
                Ok(RtcOutput::Event(event)) => self.handle_event(slot, event, now),
                Err(error) => {
                    tracing::debug!(%error, "transport failed");
                    transport.rtc.disconnect();
                    self.fail_transport(slot);
                }
            }
        }
    }

    fn handle_event(&mut self, slot: usize, event: RtcEvent, now: Instant) {
        match event {
            RtcEvent::RtpPacket(packet) => self.forward(slot, packet, now),
            RtcEvent::SenderFeedback(feedback) => self.handle_sender_report(slot, &feedback),
            RtcEvent::KeyframeRequest(request) => self.handle_keyframe_request(slot, request.mid, now),
            RtcEvent::Connected => {
                self.set_state(slot, TransportState::Connected);
                self.refresh_transport(slot, now);
            }
            RtcEvent::ChannelOpen(id, label) => {
                let channels = &mut self.transports[slot].channels;
                match label.as_str() {
                    "_reliable" => channels.reliable = Some(id),
                    "_lossy" => channels.lossy = Some(id),
                    _ => {}
                }
            }
            RtcEvent::ChannelClose(id) => {
                let channels = &mut self.transports[slot].channels;
                channels.reliable = channels.reliable.filter(|c| *c != id);
                channels.lossy = channels.lossy.filter(|c| *c != id);
            }
            RtcEvent::ChannelData(message) => self.forward_data(slot, &message, now),
            RtcEvent::Closed => self.fail_transport(slot),
            RtcEvent::PeerStats(stats) => self.handle_peer_stats(slot, &stats),
            RtcEvent::MediaIngressStats(stats) => self.handle_ingress_stats(slot, &stats),
            RtcEvent::MediaEgressStats(stats) => self.handle_egress_stats(slot, &stats),
            _ => {}
        }
    }

    pub(crate) fn set_state(&mut self, slot: usize, state: TransportState) {
        let transport = &mut self.transports[slot];
        if transport.state == Some(state) || transport.state == Some(TransportState::Failed) {
            return;
        }
        transport.state = Some(state);
        let participant = self.participants[transport.participant].id.clone();
        let target = transport.target;
        self.events.push(Event::TransportChanged { participant, target, state });
    }

    pub(crate) fn fail_transport(&mut self, slot: usize) {
        self.set_state(slot, TransportState::Failed);
    }

    pub(crate) fn add_transport(&mut self, participant: usize, target: Target, now: Instant) -> usize {
        self.serial = self.serial.wrapping_add(1);
        let entry = self.transports.vacant_entry();
        let slot = entry.key();
        let key = TransportKey { slot: slot as u32, serial: self.serial };
        let mut transport = Transport::new(key, participant, target, &self.config, now);
        self.routes.push(Route::Add(transport.local_ufrag(), key));
        entry.insert(transport);
        if self.timers.len() <= slot {
            self.timers.resize(slot + 1, None);
        }
        self.participants[participant].transports.push(slot);
        self.dirty.push(slot);
        slot
    }

    pub(crate) fn find_transport(&self, participant: usize, target: Target) -> Option<usize> {
        let slots = &self.participants[participant].transports;
        slots.iter().copied().find(|slot| self.transports[*slot].target == target)
    }

    fn add_participant(
        &mut self,
        id: ParticipantId,
        identity: String,
        single: bool,
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
            rights,
            transports: Vec::new(),
            tracks: Vec::new(),
            subscriptions: Vec::new(),
            clock: PublisherClock::new(self.epoch),
            allowance: Allowance::new(now),
            refusals: Refusals::default(),
            quality: QualitySums::default(),
            quality_at: now,
        });
        self.names.insert(id, index);
        if !single {
            let slot = self.add_transport(index, Target::Subscriber, now);
            self.want(slot);
        }
    }

    fn remove_participant(&mut self, index: usize) {
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
            self.timers[slot] = None;
            self.dirty.retain(|d| *d != slot);
            self.wanting.retain(|w| *w != slot);
            self.routes.push(Route::Remove(transport.key));
            let _ = transport.rtc.close();
            self.closing.push(transport);
        }
    }

    fn close(&mut self) {
        let all: Vec<usize> = self.participants.iter().map(|(index, _)| index).collect();
        for index in all {
            self.remove_participant(index);
        }
        self.closed = true;
    }

    fn remove_track(&mut self, index: usize) {
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

    fn find_subscription(&self, participant: &ParticipantId, track: &TrackId) -> Option<usize> {
        let participant = *self.names.get(participant)?;
        let track = *self.track_names.get(track)?;
        let all = &self.participants[participant].subscriptions;
        all.iter().copied().find(|s| self.subscriptions[*s].track == track)
    }

    fn subscribe(&mut self, participant: &ParticipantId, track: &TrackId) {
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
        });
        self.tracks[of].subscriptions.push(index);
        self.participants[to].subscriptions.push(index);
        self.want_negotiation(to);
    }

    fn remove_subscription(&mut self, index: usize) {
        let subscription = self.subscriptions.remove(index);
        self.tracks[subscription.track].subscriptions.retain(|s| *s != index);
        let participant = subscription.participant;
        self.participants[participant].subscriptions.retain(|s| *s != index);
        if let Some((slot, section)) = subscription.place {
            let section = &mut self.transports[slot].sections[section];
            section.usage = Use::Left;
            section.negotiated = false;
            section.rewriter.change_source();
            self.want_negotiation(participant);
        }
    }
}
