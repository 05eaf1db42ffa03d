//! The way of a packet: from the stream it came in to every subscriber that shall have it.

use std::time::{Duration, Instant};

use str0m::format::Codec;
use str0m::media::{KeyframeRequestKind, Mid, SenderFeedback};
use str0m::rtp::{ExtensionValues, RtpPacket, Vp8Descriptor};

use crate::codec;
use crate::command::{Event, Kind, Rights};
use crate::layer::{self, Candidate};
use crate::rewriter::Incoming;
use crate::room::Room;
use crate::track::{LossMeter, Source};
use crate::transport::Use;

/// A publisher is asked for a key picture of one stream at most this often for somebody who sees nothing yet. Browsers
/// ignore what comes within 300 ms of the request they last heeded, so it is asked again soon.
const ENTRY_INTERVAL: Duration = Duration::from_millis(100);
/// At most this often for subscribers that lost something: each key picture costs everybody.
const REFRESH_INTERVAL: Duration = Duration::from_millis(300);
/// A stream of which nothing came for so long does not flow.
const FLOWING: Duration = Duration::from_millis(1200);
/// Streams of one track; more than any client sends.
const MAX_SOURCES: usize = 8;

impl Room {
    /// A packet came in on a transport.
    pub(crate) fn forward(&mut self, slot: usize, packet: RtpPacket, now: Instant) {
        let Some((index, source_index)) = self.find_source(slot, &packet, now) else { return };
        let track = &mut self.tracks[index];
        let flows = track.flows();
        let publisher = &mut self.participants[track.participant];
        let source = &mut track.sources[source_index];
        let seq = *packet.seq_no;
        source.last = now;
        source.loss.count(seq);
        if !flows {
            return;
        }
        if packet.payload.is_empty() {
            for subscription in &track.subscriptions {
                let subscription = &self.subscriptions[*subscription];
                if let (Some(current), Some((to, section))) = (subscription.current, subscription.place)
                    && current == source_index
                {
                    self.transports[to].sections[section].rewriter.skip(seq);
                }
            }
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
        let (codec, rate) = (source.codec, source.rate);
        let wall = publisher.clock.map(&mut source.clock, packet.timestamp, packet.time.numer(), rate, audio);
        let wallclock = self.epoch + Duration::from_secs_f64((wall / 1e6).max(0.0));
        let vp8 = match codec {
            Codec::Vp8 => Vp8Descriptor::parse(&packet.payload).ok(),
            _ => None,
        };
        let incoming = Incoming { seq, time: packet.header.timestamp, wall, rate, vp8 };
        let entry = audio || codec::starts_keyframe(codec, &packet.payload);
        if entry {
            // Whoever could not use this one asks anew.
            (source.wanted, source.refresh) = (false, false);
        }
        let came = &packet.header.ext_vals;

        for &subscription_index in &track.subscriptions {
            let subscription = &mut self.subscriptions[subscription_index];
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
                if !transport.can_send(section, codec) {
                    continue;
                }
                subscription.current = Some(source_index);
                transport.sections[section].rewriter.change_source();
                let size = track.size(source_index);
                if !audio && subscription.told != size {
                    subscription.told = size;
                    self.events.push(Event::Receiving {
                        participant: self.participants[subscription.participant].id.clone(),
                        track: track.id.clone(),
                        width: size.0,
                        height: size.1,
                    });
                }
            }
            let Some(numbers) = transport.sections[section].rewriter.map(&incoming) else { continue };
            let extensions = ExtensionValues {
                audio_level: came.audio_level,
                voice_activity: came.voice_activity,
                video_orientation: came.video_orientation,
                ..ExtensionValues::default()
            };
            let payload = packet.payload.clone();
            let marker = packet.header.marker;
            if transport.write(section, codec, numbers, wallclock, marker, extensions, payload)
                && !std::mem::replace(&mut transport.dirty, true)
            {
                self.dirty.push(to);
            }
        }
    }

    /// The track and source a packet belongs to, made known if it is the first of its stream.
    fn find_source(&mut self, slot: usize, packet: &RtpPacket, now: Instant) -> Option<(usize, usize)> {
        let transport = self.transports.get_mut(slot)?;
        let ssrc = packet.header.ssrc;
        let known = transport.streams.get(&ssrc).copied();
        let (codec, rate) = transport.codec_of(packet.header.payload_type)?;
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
                        track.sources.push(Source {
                            rid,
                            ssrc,
                            codec,
                            rate,
                            clock: Default::default(),
                            last: now,
                            loss: LossMeter::default(),
                            wanted: true,
                            refresh: false,
                            asked_at: None,
                        });
                        track.sources.len() - 1
                    }
                };
                transport.streams.insert(ssrc, (index, source_index));
                self.choose_layers(index, now);
                (index, source_index)
            }
        };
        let source = &mut self.tracks[index].sources[source_index];
        if source.ssrc != ssrc || source.codec != codec {
            if source.ssrc != ssrc {
                // The one before may still be in the table; it is this source no longer.
                self.transports[slot].streams.retain(|s, at| *s == ssrc || *at != (index, source_index));
                source.clock = Default::default();
                source.loss = LossMeter::default();
            }
            (source.ssrc, source.codec, source.rate) = (ssrc, codec, rate);
            for subscription in &self.tracks[index].subscriptions {
                let subscription = &mut self.subscriptions[*subscription];
                subscription.current = subscription.current.filter(|c| *c != source_index);
            }
        }
        Some((index, source_index))
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
    pub(crate) fn handle_keyframe_request(&mut self, slot: usize, mid: Mid, now: Instant) {
        let section = self.transports[slot].sections.iter().find(|s| s.mid == mid);
        let Some(Use::Taken(subscription)) = section.map(|s| s.usage) else { return };
        let subscription = &self.subscriptions[subscription];
        let (index, Some(source)) = (subscription.track, subscription.current) else { return };
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
            self.subscriptions[*subscription].current = None;
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
            }
        }
        for index in self.participants[participant].subscriptions.clone() {
            let subscription = &mut self.subscriptions[index];
            let allowed = rights.receives(self.tracks[subscription.track].stream);
            if std::mem::replace(&mut subscription.allowed, allowed) != allowed {
                subscription.current = None;
                let track = subscription.track;
                self.refresh_track(track, now);
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
            let stopped = !track.flows() || !subscription.flows();
            if stopped && subscription.told != (0, 0) {
                subscription.told = (0, 0);
                self.events.push(Event::Receiving {
                    participant: self.participants[subscription.participant].id.clone(),
                    track: track.id.clone(),
                    width: 0,
                    height: 0,
                });
            }
        }
    }

    fn choose_layers(&mut self, index: usize, now: Instant) {
        let track = &mut self.tracks[index];
        let mut layers: Vec<Candidate> = (0..track.sources.len())
            .map(|source| {
                let (width, height) = track.size(source);
                let flowing = now.saturating_duration_since(track.sources[source].last) < FLOWING;
                Candidate { source, width, height, flowing }
            })
            .collect();
        layers.sort_by_key(|l| u64::from(l.width) * u64::from(l.height));
        for subscription_index in &track.subscriptions {
            let subscription = &mut self.subscriptions[*subscription_index];
            subscription.target = layer::choose(&layers, subscription.width, subscription.height);
            let Some((to, section)) = subscription.place else { continue };
            let (true, Some(target)) = (subscription.flows() && track.flows(), subscription.target) else {
                continue;
            };
            let transport = &mut self.transports[to];
            // A key picture that this subscriber could not be sent anyway is not asked for, again and again.
            if subscription.current != Some(target)
                && transport.is_connected()
                && transport.sections[section].negotiated
                && transport.can_send(section, track.sources[target].codec)
            {
                track.sources[target].wanted = true;
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
