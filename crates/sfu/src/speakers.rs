//! Who speaks, from the level that publishers write into each audio packet.

use std::collections::HashMap;

use crate::event::SpeakerLevel;
use crate::ids::ParticipantId;

/// Louder than this on average is speaking.
const ACTIVE_LEVEL: f64 = 0.0035;
/// Part of a period in which packets must have come for it to count.
const MIN_PACKETS: u32 = 5;
/// A change of level that is worth telling.
const NOTICEABLE: f64 = 0.02;
/// How much of the newest period goes into the level.
const WEIGHT: f64 = 0.6;

#[derive(Debug, Default)]
struct Meter {
    sum: f64,
    packets: u32,
    level: f64,
    told: Option<f64>,
}

/// The meters of a room.
#[derive(Debug, Default)]
pub(crate) struct Speakers {
    meters: HashMap<ParticipantId, Meter>,
}

impl Speakers {
    /// An audio packet came; `decibel` is 0 for the loudest and −127 for silence.
    pub(crate) fn handle_level(&mut self, participant: &ParticipantId, decibel: i8) {
        let level = 10f64.powf(f64::from(decibel) / 20.0);
        match self.meters.get_mut(participant) {
            Some(meter) => {
                meter.sum += level;
                meter.packets += 1;
            }
            None => {
                self.meters.insert(participant.clone(), Meter { sum: level, packets: 1, ..Meter::default() });
            }
        }
    }

    pub(crate) fn remove(&mut self, participant: &ParticipantId) {
        self.meters.remove(participant);
    }

    /// Whether a participant speaks, as it was told last.
    pub(crate) fn is_active(&self, participant: &ParticipantId) -> bool {
        self.meters.get(participant).is_some_and(|meter| meter.told.is_some())
    }

    /// Ends a period (half a second) and says what changed in it.
    pub(crate) fn poll(&mut self) -> Vec<SpeakerLevel> {
        let mut changed = Vec::new();
        for (participant, meter) in &mut self.meters {
            let heard = if meter.packets >= MIN_PACKETS { meter.sum / f64::from(meter.packets) } else { 0.0 };
            (meter.sum, meter.packets) = (0.0, 0);
            meter.level = meter.level * (1.0 - WEIGHT) + heard * WEIGHT;
            // Quiet falls silent at once when nothing is heard any more, loud after a period.
            let active = meter.level > ACTIVE_LEVEL;
            let tell = match meter.told {
                Some(told) => !active || (told - meter.level).abs() > NOTICEABLE,
                None => active,
            };
            if tell {
                meter.told = active.then_some(meter.level);
                let level = if active { meter.level.min(1.0) } else { 0.0 };
                changed.push(SpeakerLevel { participant: participant.clone(), level, active });
            }
        }
        changed.sort_by(|a, b| b.level.total_cmp(&a.level).then_with(|| a.participant.cmp(&b.participant)));
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(speakers: &mut Speakers, name: &str, decibel: i8) -> Vec<SpeakerLevel> {
        for _ in 0..25 {
            speakers.handle_level(&ParticipantId::from(name), decibel);
        }
        speakers.poll()
    }

    #[test]
    fn a_speaker_is_told_once_until_it_changes() {
        let mut speakers = Speakers::default();
        let first = period(&mut speakers, "a", -20);
        assert!(first.len() == 1 && first[0].active);
        while !period(&mut speakers, "a", -20).is_empty() {}
        assert!(period(&mut speakers, "a", -20).is_empty());
    }

    #[test]
    fn falling_silent_is_told_once() {
        let mut speakers = Speakers::default();
        period(&mut speakers, "a", -20);
        let mut silent = Vec::new();
        for _ in 0..10 {
            silent.extend(period(&mut speakers, "a", -127).into_iter().filter(|s| !s.active));
        }
        assert_eq!(silent.len(), 1);
        assert!(silent[0].level == 0.0);
    }

    #[test]
    fn silence_is_not_speech() {
        let mut speakers = Speakers::default();
        assert!(period(&mut speakers, "a", -70).is_empty());
    }
}
