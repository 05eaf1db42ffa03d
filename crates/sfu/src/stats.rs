//! The figures of every track, subscription and participant, told every two seconds.
//!
//! What a room tells is bounded: a part has so many rows of each kind at most, and where there are too many
//! subscriptions, those of one participant are added up.

use std::time::{Duration, Instant};

use rtcloud_egress::{SendStats, StreamId};
use serde::{Deserialize, Serialize};
use str0m::stats::MediaIngressStats;

use crate::codec;
use crate::command::Kind;
use crate::event::Event;
use crate::ids::{ParticipantId, TrackId};
use crate::meter::{Came, Departures, Went};
use crate::room::Room;
use crate::transport::Transport;

/// How often.
const INTERVAL: Duration = Duration::from_secs(2);
/// Rows of one kind in one event.
const ROWS: usize = 512;
/// Subscriptions of a room that are told one by one.
const MAX_SUBSCRIPTIONS: usize = 1024;

/// One stream of a track over a period: the only one, or a simulcast layer.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct TrackStats {
    /// Who sends it.
    pub participant: ParticipantId,
    /// The track.
    pub track: TrackId,
    /// Which of its layers.
    pub rid: String,
    /// What it is encoded with.
    pub codec: String,
    /// Something came.
    pub flowing: bool,
    /// Who gets this stream.
    pub receivers: u32,
    /// Bits per second of payloads.
    pub bitrate: u64,
    /// Bytes of payloads.
    pub bytes: u64,
    /// Packets that came.
    pub packets: u64,
    /// Share of packets that did not come.
    pub loss: f64,
    /// Share of those that did not come in their turn: before repair.
    pub raw_loss: f64,
    /// Interarrival jitter.
    pub jitter_ms: f64,
    /// Round trip, −1 when unknown.
    pub rtt_ms: f64,
    /// Pictures per second.
    pub fps: f64,
    /// Pixels across, as its pictures say, or as announced.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// How often it stood still.
    pub freezes: u64,
    /// For how long.
    pub frozen_ms: u64,
    /// Packets that we asked for again.
    pub nacks: u64,
    /// Key pictures that we asked for.
    pub plis: u64,
}

/// What one participant was sent of a track, over a period.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct SubscriptionStats {
    /// To whom.
    pub participant: ParticipantId,
    /// The track; none of a sum.
    pub track: TrackId,
    /// As many subscriptions are added up here; of ratios it is the worst.
    pub subscriptions: u32,
    /// Which of its layers.
    pub rid: String,
    /// Bits per second of payloads, without repetitions.
    pub bitrate: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their packets.
    pub packets: u64,
    /// Share of packets lost, before repair.
    pub loss: f64,
    /// Packets lost since the stream began, as the client counts.
    pub lost: i64,
    /// Interarrival jitter at the client.
    pub jitter_ms: f64,
    /// Round trip, −1 when unknown.
    pub rtt_ms: f64,
    /// Pictures per second.
    pub fps: f64,
    /// Pixels across, 0 when nothing is sent.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// How often the client could not go on.
    pub freezes: u64,
    /// For how long.
    pub frozen_ms: u64,
    /// Packets that the client asked for again.
    pub nacks: u64,
    /// Key pictures that it asked for.
    pub plis: u64,
    /// Packets that were repeated.
    pub resent: u64,
}

/// A participant's connection.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ParticipantStats {
    /// Whose.
    pub participant: ParticipantId,
    /// Bits per second that its connection is believed to take, 0 when unknown.
    pub estimate: u64,
}

/// What was told of a source.
#[derive(Debug, Default)]
pub(crate) struct SourceTold {
    came: Came,
    asked: (u64, u64),
    /// Packets and key pictures that were asked for until now, and the round trip.
    pub(crate) asking: (u64, u64),
    pub(crate) rtt: Option<Duration>,
}

/// What was counted and told of a subscription.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) departures: Departures,
    told: Went,
    heard: Option<(StreamId, SendStats)>,
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// What grew over a period.
fn ratio(count: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { count as f64 / of as f64 }
}

impl Transport {
    /// Bits per second that can be sent to the client, as far as it is known.
    pub(crate) fn estimate(&self) -> Option<u64> {
        self.adaptation.estimate()
    }
}

impl Room {
    pub(crate) fn report_stats(&mut self, now: Instant) {
        let period = now.saturating_duration_since(self.stats_at);
        if period < INTERVAL {
            return;
        }
        self.stats_at = now;
        let seconds = period.as_secs_f64();
        let tracks = self.track_stats(seconds, now);
        let subscriptions = self.subscription_stats(seconds, now);
        let participants = self.participant_stats();
        let most = tracks.len().max(subscriptions.len()).max(participants.len());
        let parts = most.div_ceil(ROWS) as u32;
        self.stats_serial = self.stats_serial.wrapping_add(1);
        let (mut tracks, mut subscriptions, mut participants) =
            (tracks.into_iter(), subscriptions.into_iter(), participants.into_iter());
        for part in 0..parts {
            self.events.push(Event::Stats {
                serial: self.stats_serial,
                part,
                parts,
                period_ms: period.as_millis().try_into().unwrap_or(u32::MAX),
                tracks: tracks.by_ref().take(ROWS).collect(),
                subscriptions: subscriptions.by_ref().take(ROWS).collect(),
                participants: participants.by_ref().take(ROWS).collect(),
            });
        }
    }

    fn track_stats(&mut self, seconds: f64, now: Instant) -> Vec<TrackStats> {
        let mut rows = Vec::new();
        for (_, track) in &mut self.tracks {
            let (audio, flows) = (track.kind == Kind::Audio, track.flows());
            for index in 0..track.sources.len() {
                let receivers = track.subscriptions.iter().map(|s| &self.subscriptions[*s]);
                let receivers = receivers.filter(|s| s.current == Some(index) && s.flows()).count();
                let (width, height) = track.sources[index].size.unwrap_or_else(|| track.size(index));
                let source = &mut track.sources[index];
                if !flows || receivers == 0 {
                    source.meter.rest();
                }
                let came = source.meter.read(audio, now);
                let before = std::mem::replace(&mut source.told.came, came);
                let asked = std::mem::replace(&mut source.told.asked, source.told.asking);
                let packets = came.packets - before.packets;
                let passed = came.passed - before.passed;
                let in_turn = came.in_turn - before.in_turn;
                let arrived = in_turn + (came.late - before.late);
                let bytes = came.bytes - before.bytes;
                rows.push(TrackStats {
                    participant: self.participants[track.participant].id.clone(),
                    track: track.id.clone(),
                    rid: source.rid.map_or_else(String::new, |rid| rid.to_string()),
                    codec: codec::name(source.codec).to_owned(),
                    flowing: packets > 0,
                    receivers: receivers.try_into().unwrap_or(u32::MAX),
                    bitrate: (bytes as f64 * 8.0 / seconds).round() as u64,
                    bytes,
                    packets,
                    loss: ratio(passed.saturating_sub(arrived), passed),
                    raw_loss: ratio(passed.saturating_sub(in_turn), passed),
                    jitter_ms: source.meter.jitter_ms(),
                    rtt_ms: source.told.rtt.map_or(-1.0, millis),
                    fps: (came.pictures - before.pictures) as f64 / seconds,
                    width: if audio { 0 } else { width },
                    height: if audio { 0 } else { height },
                    freezes: came.freezes - before.freezes,
                    frozen_ms: (came.frozen - before.frozen).as_millis() as u64,
                    nacks: source.told.asking.0.saturating_sub(asked.0),
                    plis: source.told.asking.1.saturating_sub(asked.1),
                });
            }
        }
        rows
    }

    fn subscription_stats(&mut self, seconds: f64, now: Instant) -> Vec<SubscriptionStats> {
        let one_by_one = self.subscriptions.len() <= MAX_SUBSCRIPTIONS;
        let mut rows: Vec<SubscriptionStats> = Vec::new();
        for (_, participant) in &self.participants {
            let first = rows.len();
            for index in &participant.subscriptions {
                let subscription = &mut self.subscriptions[*index];
                let track = &self.tracks[subscription.track];
                let sent = &mut subscription.sent;
                if subscription.current.is_none() {
                    sent.departures.go_on(now);
                }
                let went = sent.departures.read(now);
                let before = std::mem::replace(&mut sent.told, went);
                let heard = subscription.place.and_then(|(to, section)| {
                    let transport = &self.transports[to];
                    let stream = transport.sections[section].stream?;
                    Some((stream, transport.egress.stats(stream)))
                });
                let known = std::mem::replace(&mut sent.heard, heard);
                // What another one was sent in the section before is not of this.
                let (heard, known) = match (heard, known) {
                    (Some((stream, heard)), Some((same, known))) if stream == same => (heard, known),
                    (Some((_, heard)), _) => (heard, heard),
                    (None, _) => <(SendStats, SendStats)>::default(),
                };
                let bytes = went.bytes - before.bytes;
                let reported = heard.reports > known.reports;
                let asked = |stats: &SendStats| stats.plis + stats.firs;
                let source = subscription.current.and_then(|current| track.sources.get(current));
                let size = source.map_or((0, 0), |s| s.size.unwrap_or(subscription.told));
                let size = if subscription.sieve.is_some() { subscription.told } else { size };
                let (width, height) = if track.kind == Kind::Audio { (0, 0) } else { size };
                rows.push(SubscriptionStats {
                    participant: participant.id.clone(),
                    track: track.id.clone(),
                    subscriptions: 1,
                    rid: source.and_then(|s| s.rid).map_or_else(String::new, |rid| rid.to_string()),
                    bitrate: (bytes as f64 * 8.0 / seconds).round() as u64,
                    bytes,
                    packets: went.packets - before.packets,
                    loss: if reported { f64::from(heard.fraction_lost) } else { 0.0 },
                    lost: heard.lost,
                    jitter_ms: millis(heard.jitter),
                    rtt_ms: heard.rtt.map_or(-1.0, millis),
                    fps: if width > 0 { (went.pictures - before.pictures) as f64 / seconds } else { 0.0 },
                    width,
                    height,
                    freezes: went.freezes - before.freezes,
                    frozen_ms: (went.frozen - before.frozen).as_millis() as u64,
                    nacks: heard.nacks.saturating_sub(known.nacks),
                    plis: asked(&heard).saturating_sub(asked(&known)),
                    resent: heard.resent.saturating_sub(known.resent),
                });
            }
            if !one_by_one && rows.len() > first + 1 {
                let sum = rows.drain(first..).reduce(added);
                rows.extend(sum);
            }
        }
        rows
    }

    fn participant_stats(&self) -> Vec<ParticipantStats> {
        let estimate = |slot: &usize| self.transports[*slot].estimate();
        let row = |(_, participant): (usize, &crate::participant::Participant)| ParticipantStats {
            participant: participant.id.clone(),
            estimate: participant.transports.iter().filter_map(estimate).max().unwrap_or(0),
        };
        self.participants.iter().map(row).collect()
    }

    /// What str0m asked of a publisher.
    pub(crate) fn note_asking(&mut self, slot: usize, stats: &MediaIngressStats) {
        let Some(&(_, index)) = self.transports[slot].incoming.iter().find(|(mid, _)| *mid == stats.mid)
        else {
            return;
        };
        if let Some(source) = self.tracks[index].sources.iter_mut().find(|s| s.rid == stats.rid) {
            source.told.asking = (stats.nacks, stats.plis.saturating_add(stats.firs));
            source.told.rtt = stats.rtt.or(source.told.rtt);
        }
    }
}

/// Two rows of one participant as one: counts are added, of the rest the worst is kept.
fn added(a: SubscriptionStats, b: SubscriptionStats) -> SubscriptionStats {
    SubscriptionStats {
        participant: a.participant,
        track: TrackId::default(),
        subscriptions: a.subscriptions.saturating_add(b.subscriptions),
        rid: String::new(),
        bitrate: a.bitrate.saturating_add(b.bitrate),
        bytes: a.bytes.saturating_add(b.bytes),
        packets: a.packets.saturating_add(b.packets),
        loss: a.loss.max(b.loss),
        lost: a.lost.saturating_add(b.lost),
        jitter_ms: a.jitter_ms.max(b.jitter_ms),
        rtt_ms: a.rtt_ms.max(b.rtt_ms),
        fps: 0.0,
        width: 0,
        height: 0,
        freezes: a.freezes.saturating_add(b.freezes),
        frozen_ms: a.frozen_ms.saturating_add(b.frozen_ms),
        nacks: a.nacks.saturating_add(b.nacks),
        plis: a.plis.saturating_add(b.plis),
        resent: a.resent.saturating_add(b.resent),
    }
}
