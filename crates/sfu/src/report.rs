//! What is told from time to time: speakers, quality, transports that fell silent.

use std::time::{Duration, Instant};

use str0m::stats::{MediaEgressStats, MediaIngressStats, PeerStats};

use crate::command::{Event, TransportState};
use crate::room::Room;
use crate::transport::STATS_INTERVAL;

const SPEAKERS_INTERVAL: Duration = Duration::from_millis(500);
/// Clients check consent every few seconds and report more often.
const DISCONNECTED_AFTER: Duration = Duration::from_secs(7);
const FAILED_AFTER: Duration = Duration::from_secs(30);

impl Room {
    /// Runs ten times a second.
    pub(crate) fn tick(&mut self, now: Instant) {
        let tracks: Vec<usize> = self.tracks.iter().map(|(index, _)| index).collect();
        for index in tracks {
            self.refresh_track(index, now);
        }
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
        if now >= self.quality_at {
            self.quality_at = now + STATS_INTERVAL;
            self.report_quality();
        }
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

    fn report_quality(&mut self) {
        let seconds = STATS_INTERVAL.as_secs();
        for (_, participant) in &mut self.participants {
            let sums = std::mem::take(&mut participant.quality);
            let connected = participant.transports.iter().any(|slot| self.transports[*slot].is_connected());
            if connected {
                self.events.push(Event::Quality {
                    participant: participant.id.clone(),
                    uplink_loss: sums.uplink.value(),
                    downlink_loss: sums.downlink.value(),
                    rtt_ms: sums.rtt.map_or(-1.0, |rtt| rtt.as_secs_f64() * 1000.0),
                    uplink_bitrate: sums.bytes_up * 8 / seconds,
                    downlink_bitrate: sums.bytes_down * 8 / seconds,
                });
            }
        }
    }

    pub(crate) fn handle_peer_stats(&mut self, slot: usize, stats: &PeerStats) {
        let transport = &mut self.transports[slot];
        let (up, down) = transport.counted;
        transport.counted = (stats.bytes_rx, stats.bytes_tx);
        let sums = &mut self.participants[transport.participant].quality;
        sums.bytes_up += stats.bytes_rx.saturating_sub(up);
        sums.bytes_down += stats.bytes_tx.saturating_sub(down);
    }

    pub(crate) fn handle_ingress_stats(&mut self, slot: usize, stats: &MediaIngressStats) {
        let sums = &mut self.participants[self.transports[slot].participant].quality;
        if let Some(loss) = stats.loss {
            sums.uplink.add(loss);
        }
        sums.rtt = sums.rtt.or(stats.rtt);
    }

    pub(crate) fn handle_egress_stats(&mut self, slot: usize, stats: &MediaEgressStats) {
        let sums = &mut self.participants[self.transports[slot].participant].quality;
        if let Some(loss) = stats.loss {
            sums.downlink.add(loss);
        }
        sums.rtt = stats.rtt.or(sums.rtt);
    }
}
