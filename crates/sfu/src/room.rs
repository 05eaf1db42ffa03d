//! A room: who is in it, what they publish, who gets it.
//!
//! This module holds the state, carries out commands and drives the transports; who comes and goes is in `members`, what
//! happens to descriptions, packets, messages and reports in `negotiate`, `forward`, `message` and `report`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtcloud_egress::{Feedback, Heard as Rtcp};
use slab::Slab;
use str0m::net::Receive;
use str0m::{Event as RtcEvent, Input, Output as RtcOutput};

use crate::command::{Command, Target};
use crate::dynacast::Dynacast;
use crate::event::{Event, TransportState};
use crate::ids::{ParticipantId, TrackId, TransportKey};
use crate::output::{Heard, Output, Route};
use crate::participant::Participant;
use crate::path;
use crate::proof;
use crate::remote::Remote;
use crate::sending;
use crate::speakers::Speakers;
use crate::track::{Subscription, Track};
use crate::transport::{Transport, TransportConfig};

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
    pub(crate) wanting: Vec<usize>,
    /// When each transport wants to be called, by slot. Beside the transports, which are large: looking through all of
    /// them many times a second would cost more than most packets do.
    pub(crate) timers: Vec<Option<Instant>>,
    /// Transports in whose egress something waits.
    pub(crate) queued: Vec<usize>,
    /// When each egress wants to be called, by slot, beside the timers for the same reason.
    pub(crate) flushes: Vec<Option<Instant>>,
    /// What one datagram said, kept for its memory.
    pub(crate) feedback: Vec<Feedback>,
    pub(crate) speakers_at: Instant,
    /// Since when everybody is told of once.
    pub(crate) quality_at: Instant,
    pub(crate) stats_at: Instant,
    pub(crate) stats_serial: u32,
    /// When a key picture that could not be asked for yet can be.
    pub(crate) keyframes_at: Option<Instant>,
    pub(crate) closing: Vec<Transport>,
    serial: u32,
    tick_at: Instant,
    timeout: Instant,
    pub(crate) closed: bool,
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
            queued: Vec::new(),
            flushes: Vec::new(),
            feedback: Vec::new(),
            speakers_at: epoch,
            quality_at: epoch,
            stats_at: epoch,
            stats_serial: 0,
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
            Command::AddParticipant { participant, identity, single, fixed, adaptive, rights } => {
                self.add_participant(participant, identity, (single, single && fixed), adaptive, rights, now);
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
                let mut layers = layers;
                layers.sort_by_key(|l| u64::from(l.width) * u64::from(l.height));
                let stream = stream.of(kind);
                self.publish(Track {
                    id: track,
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
                    dynacast: Dynacast::default(),
                });
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
            Command::SetSubscription { participant, track, enabled, width, height, fps } => {
                let Some(index) = self.find_subscription(&participant, &track) else { return };
                let subscription = &mut self.subscriptions[index];
                (subscription.width, subscription.height, subscription.fps) = (width, height, fps);
                if subscription.enabled != enabled {
                    subscription.enabled = enabled;
                    subscription.stop(&mut self.transports);
                }
                let (track, place) = (subscription.track, subscription.place);
                if let Some((slot, _)) = place {
                    self.adapt(slot, now);
                }
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
        source: impl Into<Remote>,
        destination: SocketAddr,
        contents: &[u8],
        now: Instant,
        output: &mut Output,
    ) -> Heard {
        let source = source.into();
        let slot = key.slot as usize;
        let Some(transport) = self.transports.get_mut(slot).filter(|t| t.key == key) else {
            return Heard::Refused;
        };
        let Ok(receive) = Receive::new(source.protocol(), source.address, destination, contents) else {
            return Heard::Refused;
        };
        let input = Input::Receive(now, receive);
        if !transport.rtc.accepts(&input) {
            return Heard::Refused;
        }
        transport.path.handle_received(source, contents.len());
        proof::forget_keys();
        let before = proof::count();
        if sending::is_rtcp(contents) && transport.egress.has_keys() {
            let heard = transport.egress.handle_rtcp(contents, now, &mut self.feedback);
            if heard != Rtcp::Strange {
                transport.path.handle_proof(source, destination, now);
                transport.last_heard = now;
                self.handle_feedback(slot, now);
            }
            match heard {
                Rtcp::Strange => return Heard::Taken,
                Rtcp::Ours => return Heard::Proven,
                Rtcp::Shared => {}
            }
        }
        let transport = &mut self.transports[slot];
        let guess = transport.guess_stream(contents);
        let result = transport.rtc.handle_input(input);
        if let Some(guess) = guess {
            transport.judge(guess, proof::count() != before);
        }
        if let Err(error) = result {
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
            if self.flushes[slot].is_some_and(|at| at <= now) {
                self.mark_queued(slot);
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
        proof::forget_keys();
        for _ in 0..MAX_ROUNDS {
            self.settle(now);
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
        self.flush(now, output);
        for mut transport in std::mem::take(&mut self.closing) {
            let _ = transport.rtc.handle_input(Input::Timeout(now));
            loop {
                match transport.rtc.poll_output() {
                    Ok(RtcOutput::Transmit(t)) => {
                        let to = Remote::new(t.proto, t.destination);
                        if let Some((to, from)) = transport.path.choose(to, t.source, &t.contents) {
                            output.push(from, to, &t.contents);
                        }
                    }
                    Ok(RtcOutput::Event(_)) => {}
                    Ok(RtcOutput::Timeout(_)) | Err(_) => break,
                }
            }
        }
        let timers = self.timers.iter().chain(&self.flushes).copied().flatten();
        self.timeout = timers.fold(self.tick_at, Instant::min);
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
                    transport.take_keys();
                    return;
                }
                Ok(RtcOutput::Transmit(t)) => {
                    if path::answers_check(&t.contents) {
                        transport.last_heard = now;
                    }
                    let to = Remote::new(t.proto, t.destination);
                    if let Some((to, from)) = transport.path.choose(to, t.source, &t.contents) {
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
        let adaptive = self.participants[participant].adaptive;
        let entry = self.transports.vacant_entry();
        let slot = entry.key();
        let key = TransportKey { slot: slot as u32, serial: self.serial };
        let mut transport = Transport::new(key, participant, target, adaptive, &self.config, now);
        self.routes.push(Route::Add(transport.local_ufrag(), key));
        entry.insert(transport);
        if self.timers.len() <= slot {
            self.timers.resize(slot + 1, None);
            self.flushes.resize(slot + 1, None);
        }
        self.participants[participant].transports.push(slot);
        self.dirty.push(slot);
        slot
    }

    pub(crate) fn find_transport(&self, participant: usize, target: Target) -> Option<usize> {
        let slots = &self.participants[participant].transports;
        slots.iter().copied().find(|slot| self.transports[*slot].target == target)
    }
}
