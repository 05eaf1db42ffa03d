//! What is told from time to time: speakers, quality, transports that fell silent.

use std::time::{Duration, Instant};

use str0m::stats::{MediaIngressStats, PeerStats};

use crate::event::{Event, TransportState};
use crate::room::Room;
use crate::transport::Transport;

/// A little less than two seconds, which are twenty ticks.
const QUALITY_INTERVAL: Duration = Duration::from_millis(1950);
/// People in one tick; of more, the rest comes with the next.
const QUALITIES: usize = 256;
const SPEAKERS_INTERVAL: Duration = Duration::from_millis(500);
/// Clients check consent every few seconds and report more often.
const DISCONNECTED_AFTER: Duration = Duration::from_secs(7);
const FAILED_AFTER: Duration = Duration::from_secs(30);

impl Room {
    /// Runs ten times a second.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.adapt_all(now);
        let tracks: Vec<usize> = self.tracks.iter().map(|(index, _)| index).collect();
        for index in tracks {
            self.refresh_track(index, now);
        }
        self.tell_publishers(now);
        let slots: Vec<usize> = self.transports.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.check_silence(slot, now);
        }
        if now >= self.speakers_at {
            self.speakers_at = now + SPEAKERS_INTERVAL;
            let speakers = self.speakers.poll();
            if !speakers.is_empty() {
                self.events.push(Event::Speakers { speakers });
            }
        }
        self.report_quality(now);
        self.report_stats(now);
        self.report_refusals(now);
    }

    fn check_silence(&mut self, slot: usize, now: Instant) {
        let silent = now.saturating_duration_since(self.transports[slot].last_heard);
        match self.transports[slot].state {
            Some(TransportState::Connected) if silent > DISCONNECTED_AFTER => {
                self.set_state(slot, TransportState::Disconnected);
            }
            Some(TransportState::Disconnected) if silent > FAILED_AFTER => self.fail_transport(slot),
            Some(TransportState::Disconnected) if silent < DISCONNECTED_AFTER => {
                self.set_state(slot, TransportState::Connected);
                self.refresh_transport(slot, now);
            }
            _ => {}
        }
    }

    /// Everybody together, for whoever reads it: a few at a time cost him several times as much.
    fn report_quality(&mut self, now: Instant) {
        if now.saturating_duration_since(self.quality_at) >= QUALITY_INTERVAL {
            self.quality_at = now;
        }
        let since = self.quality_at;
        let due = self
            .participants
            .iter_mut()
            .map(|(_, p)| p)
            .filter(|p| p.quality.measured && p.quality_at < since);
        for participant in due.take(QUALITIES) {
            participant.quality_at = since;
            let downlink = std::mem::take(&mut participant.quality.downlink);
            let connected =
                || participant.transports.iter().map(|t| &self.transports[*t]).filter(|t| t.is_connected());
            if connected().next().is_none() {
                continue;
            }
            let (mut expected, mut lost) = (0, 0);
            for track in &participant.tracks {
                for source in &mut self.tracks[*track].sources {
                    let counted = source.take_loss();
                    expected += counted.0;
                    lost += counted.1;
                }
            }
            let bits = |rate: fn(&Transport) -> f64| connected().map(rate).sum::<f64>().round() as u64;
            self.events.push(Event::Quality {
                participant: participant.id.clone(),
                uplink_loss: if expected == 0 { 0.0 } else { lost as f64 / expected as f64 },
                downlink_loss: downlink.value(),
                rtt_ms: participant.quality.rtt.map_or(-1.0, |rtt| rtt.as_secs_f64() * 1000.0),
                uplink_bitrate: bits(|t| t.traffic.up),
                downlink_bitrate: bits(|t| t.traffic.down),
            });
        }
    }

    fn report_refusals(&mut self, now: Instant) {
        for (_, participant) in &mut self.participants {
            for (reason, count) in participant.refusals.take(now) {
                let participant = participant.id.clone();
                self.events.push(Event::DataRefused { participant, reason, count });
            }
        }
    }

    pub(crate) fn handle_peer_stats(&mut self, slot: usize, stats: &PeerStats) {
        let transport = &mut self.transports[slot];
        if transport.traffic.count(stats.timestamp, stats.bytes_rx, transport.sent_bytes) {
            let quality = &mut self.participants[transport.participant].quality;
            quality.measured = true;
            quality.rtt = transport.rtt.or(quality.rtt);
        }
    }

    pub(crate) fn handle_ingress_stats(&mut self, slot: usize, stats: &MediaIngressStats) {
        self.note_asking(slot, stats);
        let quality = &mut self.participants[self.transports[slot].participant].quality;
        quality.rtt = quality.rtt.or(stats.rtt);
    }
}
