//! Which layer of each stream a client's network can carry.
//!
//! Sound is not shared out here: it is small and is taken off the budget before. Of pictures everybody is seen before
//! anybody is seen well: each stream gets its smallest layer, the more important first; what is left raises the shared
//! screen, then who speaks, then the others in turn, a layer at a time.
//!
//! Going down is done at once, for what does not fit is lost. Going up is done with some room to spare and not soon
//! after going down; a stream that had to come down again soon after it went up waits long, and twice as long each time
//! (half as long after each time that it could stay), so that layers do not flap on a link that carries the smaller one
//! and not quite the larger. Where estimates jump, all of this takes its time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// What a layer must leave free of the budget to be gone up to.
const HEADROOM: f64 = 1.15;
/// With so much more than there was when a stream went down, or up in vain, what was in vain is so no longer.
const PLENTY: u64 = 2;
/// After going down, how long a stream stays there at least.
const REST: Duration = Duration::from_secs(2);
/// Who went down to nothing stays there at least so long, and twice as long each time that it was soon after coming up
/// from nothing, up to [`REST`].
const BLINK: Duration = Duration::from_millis(500);
/// Rather than nothing the smallest layer goes on being sent as long as there is so much of what it takes.
const SCANT: f64 = 0.75;
/// The same as [`REST`] where estimates jump: more than ten seconds, with what a switch takes to be seen.
const LONG_REST: Duration = Duration::from_secs(15);
const MAX_REST: Duration = Duration::from_secs(60);
/// Who had to come down sooner than this after going up went up in vain.
const TRIAL: Duration = Duration::from_secs(10);
/// And who had to come down sooner than this was itself too much: nothing else has changed.
const AT_ONCE: Duration = Duration::from_secs(3);

/// What a stream shows, the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A shared screen.
    Screen,
    /// Who speaks now.
    Speaker,
    /// Everybody else.
    Other,
}

/// A stream that a client would like.
#[derive(Debug, Clone, Copy)]
pub struct Want<'a> {
    /// Names it from one call to the next.
    pub key: usize,
    /// How important it is.
    pub class: Class,
    /// Bits per second of its layers, from small to large, up to the one that is wished for.
    pub layers: &'a [u64],
    /// The layer that is sent now.
    pub current: Option<usize>,
}

/// What there is to share out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Bits per second.
    pub bitrate: u64,
    /// How much more there will be in a moment.
    pub held_back: u64,
    /// It jumps from one second to the next, as that of a network does which loses much.
    pub rough: bool,
}

const UNKNOWN: Budget = Budget { bitrate: u64::MAX, held_back: 0, rough: false };

/// What came of an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shared {
    /// Bits per second of what was granted.
    pub granted: u64,
    /// Bits per second of everything that is wished for.
    pub wished: u64,
}

/// What is not shared out yet.
#[derive(Debug)]
struct Left {
    now: u64,
    soon: u64,
}

#[derive(Debug)]
struct Memory {
    /// When, and what there was to share then.
    raised_at: Option<(Instant, u64)>,
    lowered_at: Option<Instant>,
    /// What there was to share then.
    lowered_by: u64,
    /// The most there was when it went up and had to come down at once, since it last could stay.
    failed_with: u64,
    rest: Duration,
    /// When it came up from nothing, and how long it stays there.
    returned_at: Option<Instant>,
    blink: Duration,
    round: u64,
}

/// Shares out the budget of one client.
#[derive(Debug, Default)]
pub struct Allocator {
    memories: HashMap<usize, Memory>,
    round: u64,
    order: Vec<usize>,
}

impl Allocator {
    /// Nothing was shared out yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Fills `grants` with the layer that each of `wants` gets, in their order; none where it is paused. That is no more
    /// than the budget, and where one smallest layer that is sent lacks up to a quarter, or what is held back, so much
    /// more. With `budget`
    /// none nothing is known of the network, and everybody gets what is wished for.
    pub fn allocate(
        &mut self,
        budget: Option<Budget>,
        wants: &[Want<'_>],
        now: Instant,
        grants: &mut Vec<Option<usize>>,
    ) -> Shared {
        self.round += 1;
        let wished = wants.iter().filter_map(|w| w.layers.last()).sum();
        grants.clear();
        match budget {
            Some(budget) => self.share(budget, wants, now, grants),
            None => grants.extend(wants.iter().map(|w| w.layers.len().checked_sub(1))),
        }
        for (want, grant) in wants.iter().zip(grants.iter()) {
            self.remember(want, *grant, budget.unwrap_or(UNKNOWN), now);
        }
        let round = self.round;
        self.memories.retain(|_, memory| memory.round == round);
        let cost = |(want, grant): (&Want<'_>, &Option<usize>)| grant.map_or(0, |layer| want.layers[layer]);
        Shared { granted: wants.iter().zip(grants.iter()).map(cost).sum(), wished }
    }

    /// What was given up was given up for another reason than want of room: nobody need wait.
    pub fn forgive(&mut self) {
        for memory in self.memories.values_mut() {
            (memory.raised_at, memory.lowered_at) = (None, None);
        }
    }

    fn share(&mut self, budget: Budget, wants: &[Want<'_>], now: Instant, grants: &mut Vec<Option<usize>>) {
        grants.resize(wants.len(), None);
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend(0..wants.len());
        // Stable: within a class those come first that were asked for first.
        order.sort_by_key(|index| wants[*index].class);

        let mut left = Left { now: budget.bitrate, soon: budget.held_back };
        for &index in &order {
            self.raise(&wants[index], &mut grants[index], (budget, &mut left), now);
        }
        for class in [Class::Screen, Class::Speaker, Class::Other] {
            let mut more = true;
            while more {
                more = false;
                for &index in order.iter().filter(|index| wants[**index].class == class) {
                    more |= self.raise(&wants[index], &mut grants[index], (budget, &mut left), now);
                }
            }
        }
        self.order = order;
    }

    /// Gives one layer more, if there is one, if it fits and if it may be now.
    fn raise(
        &self,
        want: &Want<'_>,
        grant: &mut Option<usize>,
        (budget, left): (Budget, &mut Left),
        now: Instant,
    ) -> bool {
        let next = grant.map_or(0, |layer| layer + 1);
        let Some(&cost) = want.layers.get(next) else { return false };
        let before = grant.map_or(0, |layer| want.layers[layer]);
        let more = cost.saturating_sub(before);
        // What is sent already need only fit; what would be new must fit well.
        let new = want.current.is_none_or(|current| next > current);
        // Anything at all is better than nothing: the first layer need not fit well, nor wait long.
        let (factor, soon) = match (next, new) {
            (0, false) => (SCANT, left.soon),
            (0, true) | (_, false) => (1.0, 0),
            (_, true) => (HEADROOM, 0),
        };
        let fits = (more as f64 * factor) as u64 <= left.now;
        let fits_soon = soon > 0 && more <= left.now.saturating_add(soon);
        if !(fits || fits_soon) || (new && self.rests(want.key, next, budget, now)) {
            return false;
        }
        if !fits {
            left.soon -= more.saturating_sub(left.now).min(left.soon);
        }
        left.now -= more.min(left.now);
        *grant = Some(next);
        true
    }

    fn rests(&self, key: usize, next: usize, budget: Budget, now: Instant) -> bool {
        self.memories.get(&key).is_some_and(|memory| {
            let longest = match next {
                0 => memory.blink,
                _ => MAX_REST,
            };
            let plenty = budget.bitrate / PLENTY >= memory.lowered_by.max(memory.failed_with);
            let shortest = if budget.rough { LONG_REST } else { REST };
            let rest = if plenty { shortest } else { memory.rest.max(shortest) }.min(longest);
            memory.lowered_at.is_some_and(|at| now.saturating_duration_since(at) < rest)
        })
    }

    fn remember(&mut self, want: &Want<'_>, grant: Option<usize>, budget: Budget, now: Instant) {
        let memory = self.memories.entry(want.key).or_insert(Memory {
            raised_at: None,
            lowered_at: None,
            lowered_by: 0,
            failed_with: 0,
            rest: REST,
            returned_at: None,
            blink: BLINK,
            round: 0,
        });
        memory.round = self.round;
        let is_trial = |at: Instant| now.saturating_duration_since(at) < TRIAL;
        // A smaller wish is no lack of room.
        let current = want.current.map(|current| current.min(want.layers.len().saturating_sub(1)));
        if grant < current {
            if grant.is_none() {
                let again = memory.returned_at.take().is_some_and(is_trial);
                memory.blink = if again { (memory.blink * 2).min(REST) } else { BLINK };
            }
            (memory.lowered_at, memory.lowered_by) = (Some(now), budget.bitrate);
            let after_vain = if budget.rough { LONG_REST } else { TRIAL };
            if budget.rough {
                memory.rest = memory.rest.max(LONG_REST);
            }
            if let Some((at, with)) = memory.raised_at.take().filter(|(at, _)| is_trial(*at)) {
                memory.rest = (memory.rest * 2).clamp(after_vain, MAX_REST);
                if now.saturating_duration_since(at) < AT_ONCE {
                    memory.failed_with = memory.failed_with.max(with);
                }
            }
        } else if grant > current {
            if current.is_none() && memory.lowered_at.is_some() {
                memory.returned_at = Some(now);
            }
            memory.raised_at = Some((now, budget.bitrate));
        } else if memory.raised_at.is_some_and(|(at, _)| !is_trial(at)) {
            (memory.raised_at, memory.failed_with) = (None, 0);
            memory.rest = (memory.rest / 2).max(REST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAMERA: [u64; 3] = [150_000, 500_000, 1_700_000];
    const MUCH: Budget = Budget { bitrate: 10_000_000, held_back: 0, rough: false };
    const SOME: Budget = Budget { bitrate: 1_000_000, held_back: 0, rough: false };

    struct Viewer {
        allocator: Allocator,
        now: Instant,
        current: Vec<Option<usize>>,
        classes: Vec<Class>,
        rough: bool,
    }

    impl Viewer {
        fn new(classes: &[Class]) -> Self {
            let current = vec![None; classes.len()];
            Self {
                allocator: Allocator::new(),
                now: Instant::now(),
                current,
                classes: classes.to_vec(),
                rough: false,
            }
        }

        fn get(&mut self, budget: u64) -> Vec<Option<usize>> {
            self.now += Duration::from_millis(100);
            let wants: Vec<Want<'_>> = self
                .classes
                .iter()
                .enumerate()
                .map(|(key, class)| Want { key, class: *class, layers: &CAMERA, current: self.current[key] })
                .collect();
            let mut grants = Vec::new();
            let bits = Budget { bitrate: budget, held_back: 0, rough: self.rough };
            let shared = self.allocator.allocate(Some(bits), &wants, self.now, &mut grants);
            assert!(shared.granted as f64 * SCANT <= budget as f64);
            self.current.clone_from(&grants);
            grants
        }

        fn pass(&mut self, duration: Duration) {
            self.now += duration;
        }
    }

    #[test]
    fn everybody_is_seen_before_anybody_is_seen_well() {
        let mut viewer = Viewer::new(&[Class::Other, Class::Other, Class::Speaker]);
        assert_eq!(viewer.get(600_000), [Some(0), Some(0), Some(0)]);
        assert_eq!(Viewer::new(&[Class::Other, Class::Speaker]).get(200_000), [None, Some(0)]);
        assert_eq!(Viewer::new(&[Class::Other; 2]).get(100_000), [None, None]);
    }

    #[test]
    fn what_is_left_goes_to_the_screen_then_to_who_speaks() {
        let classes = [Class::Other, Class::Speaker, Class::Screen];
        assert_eq!(Viewer::new(&classes).get(2_200_000), [Some(0), Some(0), Some(2)]);
        assert_eq!(Viewer::new(&classes).get(2_700_000), [Some(0), Some(1), Some(2)]);
        assert_eq!(Viewer::new(&classes).get(9_000_000), [Some(2), Some(2), Some(2)]);
    }

    #[test]
    fn without_an_estimate_wishes_are_granted() {
        let want = Want { key: 1, class: Class::Other, layers: &CAMERA, current: None };
        let mut grants = Vec::new();
        let shared = Allocator::new().allocate(None, &[want], Instant::now(), &mut grants);
        assert_eq!((grants.as_slice(), shared.wished), ([Some(2)].as_slice(), 1_700_000));
    }

    #[test]
    fn a_layer_is_left_at_once_and_taken_again_after_a_rest() {
        let mut viewer = Viewer::new(&[Class::Other]);
        assert_eq!(viewer.get(3_000_000), [Some(2)]);
        assert_eq!(viewer.get(1_700_000), [Some(2)], "what is sent already need only fit");
        viewer.pass(TRIAL);
        viewer.get(1_700_000);
        assert_eq!(viewer.get(1_600_000), [Some(1)]);
        assert_eq!(viewer.get(3_000_000), [Some(1)]);
        viewer.pass(REST);
        assert_eq!(viewer.get(3_000_000), [Some(2)]);
    }

    #[test]
    fn something_comes_back_before_a_better_picture_may() {
        let mut viewer = Viewer::new(&[Class::Other]);
        assert_eq!(viewer.get(600_000), [Some(1)]);
        assert_eq!(viewer.get(300_000), [Some(0)], "gone up in vain");
        assert_eq!(viewer.get(140_000), [Some(0)], "scant, and better than nothing");
        assert_eq!(viewer.get(110_000), [None]);
        viewer.pass(REST);
        assert_eq!(viewer.get(140_000), [None], "what is begun must fit");
        assert_eq!(viewer.get(155_000), [Some(0)]);
        viewer = Viewer::new(&[Class::Other]);
        assert_eq!(viewer.get(600_000), [Some(1)]);
        assert_eq!(viewer.get(300_000), [Some(0)], "gone up in vain");
        viewer.pass(REST);
        assert_eq!(viewer.get(590_000), [Some(0)], "the larger one waits longer");
        viewer.pass(TRIAL);
        assert_eq!(viewer.get(590_000), [Some(1)]);
    }

    #[test]
    fn a_link_between_two_layers_makes_nobody_flap() {
        let mut viewer = Viewer::new(&[Class::Other]);
        let mut changes = 0;
        let mut before = viewer.get(1_000_000);
        // Probing finds room for the larger layer again and again, and it does not last.
        for tenth in 0..3000 {
            let layers = viewer.get(if tenth % 50 < 25 { 2_100_000 } else { 1_500_000 });
            changes += u32::from(layers != before);
            before = layers;
        }
        assert!(changes <= 14, "{changes} changes in five minutes");
    }

    #[test]
    fn a_network_that_carries_much_more_than_before_is_believed_soon() {
        let mut viewer = Viewer::new(&[Class::Other]);
        viewer.get(700_000);
        for _ in 0..5 {
            viewer.get(400_000);
            viewer.pass(TRIAL * 2);
            viewer.get(700_000);
        }
        assert_eq!(viewer.get(400_000), [Some(0)]);
        viewer.pass(REST);
        assert_eq!(viewer.get(700_000), [Some(0)]);
        assert_eq!(viewer.get(3_000_000), [Some(2)]);
    }

    #[test]
    fn where_estimates_jump_nobody_goes_up_soon() {
        let mut viewer = Viewer::new(&[Class::Other]);
        viewer.rough = true;
        viewer.get(700_000);
        viewer.pass(TRIAL);
        viewer.get(700_000);
        assert_eq!(viewer.get(150_000), [Some(0)]);
        viewer.pass(REST);
        assert_eq!(viewer.get(3_000_000), [Some(0)]);
        viewer.pass(LONG_REST);
        assert_eq!(viewer.get(3_000_000), [Some(2)]);
    }

    #[test]
    fn who_went_down_to_nothing_waits_a_moment_and_longer_each_time() {
        let mut viewer = Viewer::new(&[Class::Other]);
        viewer.get(200_000);
        for blink in [1, 2, 4, 4] {
            assert_eq!(viewer.get(100_000), [None]);
            viewer.pass(BLINK * blink - Duration::from_millis(200));
            assert_eq!(viewer.get(200_000), [None]);
            assert_eq!(viewer.get(200_000), [Some(0)], "after {blink}");
        }
        viewer.pass(TRIAL);
        viewer.get(200_000);
        assert_eq!(viewer.get(100_000), [None]);
        viewer.pass(BLINK);
        assert_eq!(viewer.get(200_000), [Some(0)]);
    }

    #[test]
    fn a_queue_that_drains_soon_takes_nobodys_last_picture() {
        let mut allocator = Allocator::new();
        let wants = [1, 2, 3].map(|key| Want { key, class: Class::Other, layers: &CAMERA, current: Some(0) });
        let mut grants = Vec::new();
        let budget = Budget { bitrate: 200_000, held_back: 150_000, rough: false };
        allocator.allocate(Some(budget), &wants, Instant::now(), &mut grants);
        assert_eq!(grants, [Some(0), Some(0), None]);
        let new = wants.map(|want| Want { current: None, ..want });
        allocator.allocate(Some(budget), &new, Instant::now(), &mut grants);
        assert_eq!(grants, [Some(0), None, None], "it is for those who are seen");
    }

    #[test]
    fn what_an_outage_took_is_given_back_at_once() {
        let mut viewer = Viewer::new(&[Class::Other]);
        assert_eq!(viewer.get(3_000_000), [Some(2)]);
        viewer.pass(TRIAL);
        assert_eq!([viewer.get(3_000_000), viewer.get(600_000)], [[Some(2)], [Some(1)]]);
        assert_eq!(viewer.get(3_000_000), [Some(1)]);
        viewer.allocator.forgive();
        assert_eq!(viewer.get(3_000_000), [Some(2)]);
    }

    #[test]
    fn who_has_nothing_does_not_wait_long() {
        let mut viewer = Viewer::new(&[Class::Other]);
        for _ in 0..10 {
            viewer.get(200_000);
            assert_eq!(viewer.get(100_000), [None]);
            viewer.pass(REST);
        }
        assert_eq!(viewer.get(200_000), [Some(0)]);
    }

    #[test]
    fn a_smaller_wish_is_no_lack_of_room() {
        let mut allocator = Allocator::new();
        let now = Instant::now();
        let mut grants = Vec::new();
        for (step, (layers, current, expected)) in
            [(3, None, 2), (1, Some(2), 0), (3, Some(0), 2)].into_iter().enumerate()
        {
            let want = Want { key: 7, class: Class::Other, layers: &CAMERA[..layers], current };
            let at = now + Duration::from_millis(step as u64 * 100);
            allocator.allocate(Some(MUCH), &[want], at, &mut grants);
            assert_eq!(grants, [Some(expected)]);
        }
    }

    #[test]
    fn nothing_is_remembered_of_who_left() {
        let mut allocator = Allocator::new();
        let mut grants = Vec::new();
        for key in 0..1000 {
            let want = Want { key, class: Class::Other, layers: &CAMERA, current: None };
            allocator.allocate(Some(SOME), &[want], Instant::now(), &mut grants);
        }
        assert_eq!(allocator.memories.len(), 1);
        let none = Want { key: 1, class: Class::Other, layers: &[], current: Some(3) };
        allocator.allocate(Some(SOME), &[none], Instant::now(), &mut grants);
        assert_eq!(grants, [None]);
    }
}
