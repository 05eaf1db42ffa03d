//! The way of a packet: from the stream it came in to every subscriber that shall have it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::format::Codec;
use str0m::media::{KeyframeRequestKind, Pt, SenderFeedback};
use str0m::rtp::RtpPacket;

use crate::adaptation::Grant;
use crate::codec::{self, Coding};
use crate::command::{Kind, Rights};
use crate::event::{Event, SubscriptionRefusal};
use crate::layer;
use crate::meter::Arrival;
use crate::picture::Picture;
use crate::red::{Red, Restorer};
use crate::resolution;
use crate::rewriter::Incoming;
use crate::room::Room;
use crate::sending::Media;
use crate::sound::Sound;
use crate::track::Source;

/// A publisher is asked for a key picture of one stream at most this often for somebody who sees nothing yet. Browsers
/// ignore what comes within 300 ms of the request they last heeded, so it is asked again soon.
const ENTRY_INTERVAL: Duration = Duration::from_millis(100);
/// At most this often for subscribers that lost something: each key picture costs everybody.
const REFRESH_INTERVAL: Duration = Duration::from_millis(300);
/// Streams of one track; more than any client sends.
const MAX_SOURCES: usize = 8;

impl Room {
    /// A packet came in on a transport.
    pub(crate) fn forward(&mut self, slot: usize, packet: RtpPacket, now: Instant) {
        let Some((index, source_index, within)) = self.find_source(slot, &packet, now) else { return };
        let track = &mut self.tracks[index];
        let flows = track.flows();
        let publisher = &mut self.participants[track.participant];
        let source = &mut track.sources[source_index];
        let seq = *packet.seq_no;
        source.last = now;
        let came = Arrival {
            seq,
            time: packet.header.timestamp,
            rate: source.rate,
            bytes: packet.payload.len(),
            marker: packet.header.marker,
            audio: track.kind == Kind::Audio,
        };
        source.meter.count(&came, now);
        if !flows {
            return;
        }
        let endless = source.codec == Codec::H264 && !source.fragments.admit(&packet.payload);
        if packet.payload.is_empty() || endless {
            self.leave_out(index, source_index, seq);
            return;
        }
        if !track.started {
            track.started = true;
            let codec = codec::name(source.codec).to_owned();
            let (participant, track) = (publisher.id.clone(), track.id.clone());
            self.events.push(Event::TrackStarted { participant, track, codec });
        }
        let audio = track.kind == Kind::Audio;
        if let (true, Some(level)) = (audio, packet.header.ext_vals.audio_level) {
            self.speakers.handle_level(&publisher.id, level);
        }
        let (codec, rate, time) = (source.codec, source.rate, packet.header.timestamp);
        let wall = publisher.clock.map(&mut source.clock, packet.timestamp, packet.time.numer(), rate, audio);
        let wallclock = self.epoch + Duration::from_secs_f64((wall / 1e6).max(0.0));
        // Not in the future, be it by a nanosecond of rounding: it goes into sender reports.
        let wallclock = wallclock.min(packet.timestamp);
        let picture = match codec {
            Codec::Vp8 => Picture::vp8(&packet.payload),
            Codec::Vp9 => Picture::vp9(&packet.payload),
            _ => None,
        };
        if let Some(picture) = &picture {
            source.measure(picture, time, now);
        }
        source.rates.count(picture.map_or(0, |picture| picture.spatial), packet.payload.len(), now);
        let incoming = Incoming { seq, time, wall, rate, picture };
        let entry = audio || source.is_entry(&packet.payload, time);
        if entry {
            // Whoever could not use this one asks anew.
            (source.wanted, source.refresh) = (false, false);
            source.size = resolution::of(codec, &packet.payload).or(source.size);
        }
        let came = &packet.header.ext_vals;
        let media = Media {
            codec,
            red: false,
            rate,
            marker: packet.header.marker,
            wall: wallclock,
            payload: &packet.payload,
            level: came.audio_level.map(|level| (level, came.voice_activity.unwrap_or(false))),
            orientation: came.video_orientation.map(|orientation| orientation as u8),
        };
        if audio {
            self.forward_sound(index, source_index, within, &incoming, &media, now);
        } else {
            self.spread(index, source_index, entry, &incoming, &media, None, now);
        }
    }

    /// A packet is not forwarded to anybody.
    fn leave_out(&mut self, index: usize, source: usize, seq: u64) {
        for subscription in &self.tracks[index].subscriptions {
            let subscription = &self.subscriptions[*subscription];
            if let (Some(current), Some((to, section))) = (subscription.current, subscription.place)
                && current == source
            {
                self.transports[to].sections[section].rewriter.skip(seq);
            }
        }
    }

    /// A packet of sound goes on in all its forms, and before it what it brings back; `within` is the payload type of
    /// what it holds, if it came with redundancy.
    fn forward_sound(
        &mut self,
        index: usize,
        source_index: usize,
        within: Option<Pt>,
        incoming: &Incoming,
        media: &Media<'_>,
        now: Instant,
    ) {
        let redundancy = &mut self.tracks[index].sources[source_index].redundancy;
        let Incoming { seq, time, .. } = *incoming;
        let Some(pt) = within else {
            let fresh = redundancy.restorer.as_mut().is_none_or(|r| r.take(seq, time));
            let plain = fresh.then_some(media.payload);
            let sound = Sound { whole: None, plain, restored: false, seq, time };
            self.spread(index, source_index, true, incoming, media, Some(&sound), now);
            self.tracks[index].sources[source_index].redundancy.wrapper.remember(seq, time, media.payload);
            return;
        };
        let Some(red) = Red::parse(media.payload).filter(|red| red.pt == *pt) else {
            return self.leave_out(index, source_index, seq);
        };
        let whole = red.is_of(*pt).then_some((media.payload, *pt));
        let restorer = redundancy.restorer.get_or_insert_with(Restorer::new);
        let fresh = restorer.take(seq, time);
        let restored = if fresh { restorer.restore(seq, time, &red) } else { Vec::new() };
        for one in restored {
            let payload: Arc<[u8]> = one.payload.into();
            let older = f64::from(time.wrapping_sub(one.time)) / f64::from(incoming.rate.max(1));
            let incoming =
                Incoming { seq: one.seq, time: one.time, wall: incoming.wall - older * 1e6, ..*incoming };
            let wall = media.wall.checked_sub(Duration::from_secs_f64(older)).unwrap_or(media.wall);
            let media = Media { marker: false, wall, payload: &payload, level: None, ..*media };
            let sound = Sound { whole, plain: Some(&payload), restored: true, seq: one.seq, time: one.time };
            self.spread(index, source_index, true, &incoming, &media, Some(&sound), now);
        }
        let plain: Option<Arc<[u8]>> = fresh.then(|| red.primary.into());
        let sound = Sound { whole, plain: plain.as_ref(), restored: false, seq, time };
        self.spread(index, source_index, true, incoming, media, Some(&sound), now);
    }

    /// To everybody who shall have it; `entry` is where who had nothing can begin.
    #[expect(clippy::too_many_arguments, reason = "a packet, whose it is, and now")]
    fn spread(
        &mut self,
        index: usize,
        source_index: usize,
        entry: bool,
        incoming: &Incoming,
        media: &Media<'_>,
        sound: Option<&Sound<'_>>,
        now: Instant,
    ) {
        for n in 0..self.tracks[index].subscriptions.len() {
            let track = &mut self.tracks[index];
            let subscription = &mut self.subscriptions[track.subscriptions[n]];
            let Some((to, section)) = subscription.place else { continue };
            if subscription.current != Some(source_index)
                && !(entry && subscription.flows() && subscription.target == Some(source_index))
            {
                continue;
            }
            let transport = &mut self.transports[to];
            if !transport.is_connected() || !transport.sections[section].negotiated {
                continue;
            }
            if subscription.current != Some(source_index) {
                if !transport.can_send(section, media.codec) {
                    continue;
                }
                if subscription.current.is_some() && transport.is_behind(section) {
                    // What is begun here does not wait behind what it is to replace.
                    transport.give_up(section);
                }
                subscription.current = Some(source_index);
                subscription.sieve = None;
                let size = (subscription.width, subscription.height);
                subscription.set_aim(track.aim(source_index, size, subscription.fps));
                transport.sections[section].rewriter.change_source();
                let size = track.sent_size(source_index, subscription.sieve.as_deref());
                if sound.is_none() && subscription.told != size {
                    subscription.told = size;
                    self.events.push(Event::Receiving {
                        participant: self.participants[subscription.participant].id.clone(),
                        track: track.id.clone(),
                        width: size.0,
                        height: size.1,
                    });
                }
            }
            let mut media = *media;
            if let (Some(picture), Some(sieve)) = (&incoming.picture, &mut subscription.sieve) {
                let rewriter = &mut transport.sections[section].rewriter;
                match (sieve.take(picture, media.marker), picture.id) {
                    (Some(marker), _) => media.marker = marker,
                    (None, id) => {
                        rewriter.skip(incoming.seq);
                        if let (Codec::Vp8, Some(id)) = (media.codec, id) {
                            rewriter.skip_picture(id);
                        }
                        continue;
                    }
                }
            }
            if let Some(sound) = sound {
                let Some(types) = transport.payload_types(section, media.codec) else { continue };
                let wrapper = &mut track.sources[source_index].redundancy.wrapper;
                let Some(form) = sound.form(&types, subscription.protection.is_on(), wrapper) else {
                    continue;
                };
                (media.payload, media.red) = form;
            }
            let Some(numbers) = transport.sections[section].rewriter.map(incoming) else { continue };
            if transport.write(section, &media, numbers, now) {
                if entry {
                    subscription.sent.departures.go_on(now);
                    subscription.requests.handle_key(numbers.time, now);
                }
                subscription.sent.departures.count(numbers.time, media.payload.len());
                if !std::mem::replace(&mut transport.queued, true) {
                    self.queued.push(to);
                }
            }
        }
    }

    /// The track and source a packet belongs to, made known if it is the first of its stream.
    fn find_source(
        &mut self,
        slot: usize,
        packet: &RtpPacket,
        now: Instant,
    ) -> Option<(usize, usize, Option<Pt>)> {
        let transport = self.transports.get_mut(slot)?;
        let ssrc = packet.header.ssrc;
        let known = transport.streams.get(&ssrc).copied();
        let Coding { codec, rate, within } = transport.coding_of(packet.header.payload_type)?;
        let (index, source_index) = match known {
            Some(known) => known,
            None => {
                let (mid, rid) = {
                    let mut api = transport.rtc.direct_api();
                    let stream = api.stream_rx(&ssrc)?;
                    (stream.mid(), stream.rid())
                };
                let index = transport.incoming.iter().find(|(m, _)| *m == mid)?.1;
                let track = &mut self.tracks[index];
                let source_index = match track.sources.iter().position(|s| s.rid == rid) {
                    Some(source) => source,
                    None if track.sources.len() == MAX_SOURCES => return None,
                    None => {
                        track.sources.push(Source::new(rid, ssrc, codec, rate, now));
                        track.sources.len() - 1
                    }
                };
                transport.streams.insert(ssrc, (index, source_index));
                self.choose_layers(index, now);
                self.refit_track(index);
                (index, source_index)
            }
        };
        let source = &mut self.tracks[index].sources[source_index];
        if source.ssrc != ssrc || source.codec != codec {
            if source.ssrc != ssrc {
                // The one before may still be in the table; it is this source no longer.
                self.transports[slot].streams.retain(|s, at| *s == ssrc || *at != (index, source_index));
            }
            source.replace(ssrc, codec, rate);
            for subscription in &self.tracks[index].subscriptions {
                let subscription = &mut self.subscriptions[*subscription];
                if subscription.current == Some(source_index) {
                    subscription.stop(&mut self.transports);
                }
            }
            self.refit_track(index);
        }
        Some((index, source_index, within))
    }

    pub(crate) fn handle_sender_report(&mut self, slot: usize, feedback: &SenderFeedback) {
        let Some(transport) = self.transports.get(slot) else { return };
        let incoming = transport.incoming.iter().find(|(mid, _)| *mid == feedback.mid);
        let Some(&(_, index)) = incoming else { return };
        let track = &mut self.tracks[index];
        let Some(source) = track.sources.iter_mut().find(|s| s.rid == feedback.rid) else { return };
        let info = &feedback.sender_info;
        let clock = &mut self.participants[track.participant].clock;
        clock.handle_report(
            &mut source.clock,
            feedback.received_at,
            info.ntp_time,
            info.rtp_time.numer() as u32,
        );
    }

    /// A subscriber needs a key picture of what it gets.
    pub(crate) fn handle_keyframe_request(&mut self, subscription: usize, now: Instant) {
        let subscription = &mut self.subscriptions[subscription];
        let (index, Some(source)) = (subscription.track, subscription.current) else { return };
        let Some((to, section)) = subscription.place else { return };
        let transport = &self.transports[to];
        let stream = transport.sections[section].stream;
        let leaves = |time| stream.is_some_and(|stream| transport.egress.waits(stream, time));
        if !subscription.requests.heed(leaves, transport.rtt, now) {
            return;
        }
        if subscription.flows() && self.tracks[index].flows() {
            subscription.sent.departures.wait(now);
        }
        if let Some(source) = self.tracks[index].sources.get_mut(source) {
            source.refresh = true;
        }
        self.ask_for_keyframes(index, now);
    }

    pub(crate) fn mute(&mut self, index: usize, muted: bool, now: Instant) {
        let track = &mut self.tracks[index];
        if track.muted == muted {
            return;
        }
        track.muted = muted;
        self.restart_track(index, now);
    }

    /// Who gets the track begins anew with a key picture, if it still gets anything.
    fn restart_track(&mut self, index: usize, now: Instant) {
        for subscription in &self.tracks[index].subscriptions {
            self.subscriptions[*subscription].stop(&mut self.transports);
        }
        self.refresh_track(index, now);
    }

    /// From the next packet on a participant may do this, and nothing else.
    pub(crate) fn set_rights(&mut self, participant: usize, rights: Rights, now: Instant) {
        let one = &mut self.participants[participant];
        one.rights = rights;
        for index in one.tracks.clone() {
            let track = &mut self.tracks[index];
            let allowed = rights.sends(track.stream);
            if std::mem::replace(&mut track.allowed, allowed) != allowed {
                self.restart_track(index, now);
                self.refit_track(index);
            }
        }
        for index in self.participants[participant].subscriptions.clone() {
            let subscription = &mut self.subscriptions[index];
            let allowed = rights.receives(self.tracks[subscription.track].stream);
            if std::mem::replace(&mut subscription.allowed, allowed) != allowed {
                subscription.stop(&mut self.transports);
                let track = subscription.track;
                self.refresh_track(track, now);
                self.refit_track(track);
            }
        }
    }

    /// What a transport carries may begin now.
    pub(crate) fn refresh_transport(&mut self, slot: usize, now: Instant) {
        let participant = self.transports[slot].participant;
        for subscription in self.participants[participant].subscriptions.clone() {
            if self.subscriptions[subscription].place.is_some_and(|(to, _)| to == slot) {
                self.refresh_track(self.subscriptions[subscription].track, now);
            }
        }
    }

    /// Chooses layers anew, asks for the key pictures that are needed and tells what has stopped.
    pub(crate) fn refresh_track(&mut self, index: usize, now: Instant) {
        self.choose_layers(index, now);
        self.ask_for_keyframes(index, now);
        let track = &self.tracks[index];
        if track.kind == Kind::Audio {
            return;
        }
        for subscription in &track.subscriptions {
            let subscription = &mut self.subscriptions[*subscription];
            let size = match subscription.current {
                _ if !track.flows() || !subscription.flows() || subscription.shed => (0, 0),
                Some(current) => track.sent_size(current, subscription.sieve.as_deref()),
                None => continue,
            };
            if subscription.told != size {
                subscription.told = size;
                self.events.push(Event::Receiving {
                    participant: self.participants[subscription.participant].id.clone(),
                    track: track.id.clone(),
                    width: size.0,
                    height: size.1,
                });
            }
        }
    }

    fn choose_layers(&mut self, index: usize, now: Instant) {
        for n in 0..self.tracks[index].subscriptions.len() {
            let subscription = &self.subscriptions[self.tracks[index].subscriptions[n]];
            if let (Grant::Unasked, Some((to, _))) = (subscription.grant, subscription.place) {
                self.adapt(to, now);
            }
        }
        let track = &mut self.tracks[index];
        let layers = track.candidates(now);
        for subscription_index in &track.subscriptions {
            let subscription = &mut self.subscriptions[*subscription_index];
            let granted = match subscription.grant {
                Grant::Unasked | Grant::Everything => layers.len(),
                Grant::Layer { source, .. } => {
                    layers.iter().position(|l| l.source == source).map_or(layers.len(), |at| at + 1)
                }
                Grant::Nothing => 0,
            };
            if subscription.grant == Grant::Nothing {
                subscription.current = None;
            }
            let (width, height) = (subscription.width, subscription.height);
            subscription.target = layer::choose(&layers[..granted], width, height);
            let Some((to, section)) = subscription.place else { continue };
            let (true, Some(target)) = (subscription.flows() && track.flows(), subscription.target) else {
                continue;
            };
            let transport = &mut self.transports[to];
            let negotiated = transport.is_connected() && transport.sections[section].negotiated;
            let sendable = negotiated && transport.can_send(section, track.sources[target].codec);
            if negotiated && subscription.refused == sendable {
                subscription.refused = !sendable;
                if !sendable {
                    self.events.push(Event::SubscriptionRefused {
                        participant: self.participants[subscription.participant].id.clone(),
                        track: track.id.clone(),
                        reason: SubscriptionRefusal::Codec,
                    });
                }
            }
            // A key picture that this subscriber could not be sent anyway is not asked for, again and again.
            if subscription.current != Some(target) && sendable {
                track.sources[target].wanted = true;
            }
            let Some(current) = subscription.current else { continue };
            let size = (subscription.width, subscription.height);
            subscription.set_aim(track.aim(current, size, subscription.fps));
            if subscription.sieve.as_ref().is_some_and(|sieve| sieve.needs_key()) && sendable {
                track.sources[current].wanted = true;
            }
        }
    }

    pub(crate) fn ask_for_keyframes(&mut self, index: usize, now: Instant) {
        let track = &mut self.tracks[index];
        let (Some((slot, mid)), Kind::Video, true) = (track.place, track.kind, track.allowed) else { return };
        let mut asked = false;
        for source in track.sources.iter_mut().filter(|s| s.wanted || s.refresh) {
            let interval = if source.wanted { ENTRY_INTERVAL } else { REFRESH_INTERVAL };
            if let Some(at) = source.asked_at.map(|at| at + interval).filter(|at| now < *at) {
                self.keyframes_at = Some(self.keyframes_at.map_or(at, |k| k.min(at)));
                continue;
            }
            (source.wanted, source.refresh) = (false, false);
            source.asked_at = Some(now);
            if let Some(stream) = self.transports[slot].rtc.direct_api().stream_rx_by_mid(mid, source.rid) {
                stream.request_keyframe(KeyframeRequestKind::Pli);
                asked = true;
            }
        }
        if asked {
            self.mark_dirty(slot);
        }
    }
}
