//! Which layers of a track anybody wants, told to its publisher so that it need not send the others.
//!
//! A layer counts as wanted with all smaller ones: who wants it may have to make do with them at once. It is wanted as
//! soon as somebody wants it, and unwanted when nobody did for a while, so that who looks away and back costs nothing.
//! A publisher that does not care goes on sending.

use std::time::{Duration, Instant};

use crate::codec;
use crate::command::{Kind, Layer};
use crate::event::{Event, LayerWanted};
use crate::layer::{self, Candidate};
use crate::room::Room;
use crate::track::Track;

/// How long nobody wanted a layer before its publisher is told.
const REST: Duration = Duration::from_secs(5);

/// What a publisher was told of a track's layers: how many of them, from the smallest on, are wanted.
#[derive(Debug, Default)]
pub(crate) struct Dynacast {
    /// None while it may send everything.
    told: Option<usize>,
    /// Since when fewer are wanted, and the most of them since.
    fewer: Option<(Instant, usize)>,
}

impl Dynacast {
    /// So many of all layers are wanted now; whether there is something to tell.
    pub(crate) fn handle_wish(&mut self, wanted: usize, all: usize, now: Instant) -> bool {
        let told = self.told.unwrap_or(all);
        if wanted >= told {
            self.fewer = None;
            let more = wanted > told;
            if more {
                self.told = Some(wanted);
            }
            return more;
        }
        let (since, most) = self.fewer.map_or((now, wanted), |(since, most)| (since, most.max(wanted)));
        self.fewer = Some((since, most));
        if now.saturating_duration_since(since) < REST {
            return false;
        }
        // What was wanted in between rests from now on.
        self.told = Some(most);
        self.fewer = (wanted < most).then_some((now, wanted));
        true
    }

    /// How many layers its publisher knows to be wanted.
    pub(crate) fn wanted(&self, all: usize) -> usize {
        self.told.unwrap_or(all)
    }
}

/// How many of the announced layers, from the smallest on, make up the one that is shown so large.
fn wanted_for(track: &Track, width: u32, height: u32) -> usize {
    let candidate =
        |(source, l): (usize, &Layer)| Candidate { source, width: l.width, height: l.height, flowing: true };
    let layers: Vec<Candidate> = track.layers.iter().enumerate().map(candidate).collect();
    layer::choose(&layers, width, height).map_or(0, |layer| layer + 1)
}

impl Room {
    /// Tells publishers what has become wanted or unwanted.
    pub(crate) fn tell_publishers(&mut self, now: Instant) {
        for (_, track) in &mut self.tracks {
            // Of what did not begin yet nothing is known, and nothing is said.
            let Some(source) = track.sources.first() else { continue };
            if track.kind != Kind::Video || track.layers.is_empty() {
                continue;
            }
            let all = track.layers.len();
            let subscriptions = track.subscriptions.iter().map(|s| &self.subscriptions[*s]);
            let wishes = subscriptions.filter(|s| s.flows()).map(|s| (s.width, s.height));
            let wanted = wishes.map(|(width, height)| wanted_for(track, width, height)).max().unwrap_or(0);
            if !track.dynacast.handle_wish(wanted, all, now) {
                continue;
            }
            let known = track.dynacast.wanted(all);
            let one = |(n, layer): (usize, &Layer)| LayerWanted { rid: layer.rid.clone(), wanted: n < known };
            self.events.push(Event::LayersWanted {
                participant: self.participants[track.participant].id.clone(),
                track: track.id.clone(),
                codec: codec::name(source.codec).to_owned(),
                layers: track.layers.iter().enumerate().map(one).collect(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_is_told_after_a_rest_and_more_at_once() {
        let (mut dynacast, start) = (Dynacast::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!dynacast.handle_wish(3, 3, at(0)));
        assert!(!dynacast.handle_wish(1, 3, at(1)));
        assert!(!dynacast.handle_wish(1, 3, at(5)));
        assert!(dynacast.handle_wish(1, 3, at(6)));
        assert_eq!(dynacast.wanted(3), 1);
        assert!(!dynacast.handle_wish(1, 3, at(7)));
        assert!(dynacast.handle_wish(3, 3, at(8)));
        assert_eq!(dynacast.wanted(3), 3);
    }

    #[test]
    fn who_looks_away_and_back_costs_nothing() {
        let (mut dynacast, start) = (Dynacast::default(), Instant::now());
        for second in 0..60 {
            let wanted = if second % 5 == 0 { 3 } else { 0 };
            assert!(!dynacast.handle_wish(wanted, 3, start + Duration::from_secs(second)));
        }
    }

    #[test]
    fn what_was_wanted_in_between_rests_as_long() {
        let (mut dynacast, start) = (Dynacast::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for (second, wanted) in [(0, 0), (4, 2), (5, 0)] {
            let told = dynacast.handle_wish(wanted, 3, at(second));
            assert_eq!(told, second == 5);
        }
        assert_eq!(dynacast.wanted(3), 2);
        assert!(!dynacast.handle_wish(0, 3, at(9)));
        assert!(dynacast.handle_wish(0, 3, at(10)));
        assert_eq!(dynacast.wanted(3), 0);
    }
}
