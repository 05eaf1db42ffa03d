//! Which shard drives a room: the least loaded one when it began, and that one for life.
//!
//! A room is here while its shard has it or commands for it wait, so that every command finds the shard of those before
//! it, even when a room ends while somebody enters.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rtcloud_sfu::RoomId;

/// What a room that has just begun counts for, in thousandths of a core: its people are still to come.
const ROOM: u64 = 5;
/// What somebody in a room counts for, beside the CPU that is seen.
const PARTICIPANT: u64 = 1;

#[derive(Debug)]
struct Assigned {
    shard: usize,
    /// Commands on their way.
    waiting: usize,
    exists: bool,
}

/// Rooms and their shards.
#[derive(Debug)]
pub(crate) struct Rooms {
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    rooms: HashMap<RoomId, Assigned>,
    /// How many each shard has.
    counts: Vec<u64>,
}

impl Table {
    fn remove(&mut self, room: &RoomId) {
        if let Some(count) = self.rooms.remove(room).and_then(|gone| self.counts.get_mut(gone.shard)) {
            *count = count.saturating_sub(1);
        }
    }
}

/// How much a shard has to do.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Load {
    /// Thousandths of a core.
    pub(crate) cpu: u64,
    pub(crate) rooms: u64,
    pub(crate) participants: u64,
}

impl Load {
    fn score(self) -> u64 {
        self.cpu + ROOM * self.rooms + PARTICIPANT * self.participants
    }
}

/// The shard with the least to do; of equals the first.
pub(crate) fn least_loaded(loads: impl Iterator<Item = Load>) -> usize {
    loads.enumerate().min_by_key(|(_, load)| load.score()).map_or(0, |(shard, _)| shard)
}

impl Rooms {
    pub(crate) fn new(shards: usize) -> Self {
        Self { table: Mutex::new(Table { rooms: HashMap::new(), counts: vec![0; shards] }) }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shard that a command for a room goes to; it is counted as on its way. None when there is no such room and
    /// the command begins none.
    pub(crate) fn assign(
        &self,
        room: &RoomId,
        begins: bool,
        choose: impl FnOnce(&[u64]) -> usize,
    ) -> Option<usize> {
        let mut table = self.lock();
        if let Some(found) = table.rooms.get_mut(room) {
            found.waiting += 1;
            return Some(found.shard);
        }
        if !begins {
            return None;
        }
        let shard = choose(&table.counts);
        if let Some(count) = table.counts.get_mut(shard) {
            *count += 1;
        }
        table.rooms.insert(room.clone(), Assigned { shard, waiting: 1, exists: false });
        Some(shard)
    }

    /// Where a room is.
    pub(crate) fn find(&self, room: &RoomId) -> Option<usize> {
        self.lock().rooms.get(room).map(|a| a.shard)
    }

    /// A command was carried out, and whether the room exists after it.
    pub(crate) fn settle(&self, room: &RoomId, exists: bool) {
        let mut table = self.lock();
        let Some(found) = table.rooms.get_mut(room) else { return };
        found.waiting = found.waiting.saturating_sub(1);
        found.exists = exists;
        if found.waiting == 0 && !exists {
            table.remove(room);
        }
    }

    /// A room has ended.
    pub(crate) fn end(&self, room: &RoomId) {
        let mut table = self.lock();
        let Some(found) = table.rooms.get_mut(room) else { return };
        found.exists = false;
        if found.waiting == 0 {
            table.remove(room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_keeps_its_shard_until_nothing_of_it_is_left() {
        let rooms = Rooms::new(4);
        let id = RoomId::from("room");
        assert_eq!(rooms.assign(&id, false, |_| 3), None, "nobody is in it");
        assert_eq!(rooms.assign(&id, true, |_| 3), Some(3));
        assert_eq!(rooms.assign(&id, true, |_| 1), Some(3));
        rooms.settle(&id, true);
        rooms.end(&id);
        assert_eq!(rooms.assign(&id, false, |_| 1), Some(3), "somebody is on the way in");
        rooms.settle(&id, true);
        rooms.settle(&id, true);
        assert_eq!(rooms.find(&id), Some(3));
        rooms.end(&id);
        assert_eq!(rooms.find(&id), None);
        assert_eq!(rooms.assign(&id, true, |_| 1), Some(1));
    }

    #[test]
    fn new_rooms_go_where_least_is_done() {
        let load = |cpu, rooms, participants| Load { cpu, rooms, participants };
        assert_eq!(least_loaded([load(500, 1, 2), load(20, 3, 9)].into_iter()), 1);
        assert_eq!(least_loaded([load(20, 1, 90), load(20, 3, 9)].into_iter()), 1);
        assert_eq!(least_loaded([load(20, 1, 2), load(20, 1, 2)].into_iter()), 0);
    }

    #[test]
    fn rooms_that_begin_at_once_are_spread() {
        let rooms = Rooms::new(4);
        let mut counts = [0; 4];
        for n in 0..40 {
            let choose =
                |rooms: &[u64]| least_loaded(rooms.iter().map(|n| Load { rooms: *n, ..Load::default() }));
            counts[rooms.assign(&RoomId::from(format!("{n}").as_str()), true, choose).unwrap()] += 1;
        }
        assert_eq!(counts, [10; 4]);
    }
}
