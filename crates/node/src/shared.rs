//! What the threads of a node have in common.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{PoisonError, RwLock};

use rtcloud_sfu::{Refusal, Remote, RoomId};
use rustix::time::{ClockId, clock_gettime};

use crate::events::EventQueue;
use crate::mailbox::Mailbox;
use crate::network::Network;
use crate::protocol::{NodeStatus, ShardStatus};
use crate::rooms::{Load, Rooms, least_loaded};
use crate::socket::Sent;

/// Counters; each is written by one thread or added to by all.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) rooms: AtomicU64,
    pub(crate) participants: AtomicU64,
    pub(crate) packets_received: AtomicU64,
    pub(crate) packets_sent: AtomicU64,
    pub(crate) bytes_received: AtomicU64,
    pub(crate) bytes_sent: AtomicU64,
    drops: [AtomicU64; Drop::ALL.len()],
    data_refused: [AtomicU64; Refusal::COUNT],
    /// Connections of clients now.
    pub(crate) connections: AtomicU64,
    endings: [AtomicU64; Ending::ALL.len()],
    pub(crate) commands_refused: AtomicU64,
    pub(crate) rooms_failed: AtomicU64,
}

impl Counters {
    pub(crate) fn count_dropped(&self, why: Drop, count: u64) {
        self.drops[why as usize].fetch_add(count, Relaxed);
    }

    pub(crate) fn count_ended(&self, why: Ending) {
        self.endings[why as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn count_refused(&self, reason: Refusal, count: u64) {
        self.data_refused[reason as usize].fetch_add(count, Relaxed);
    }
}

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Drop {
    /// For no transport of ours.
    Stranger,
    /// Larger than any client's.
    Oversize,
    /// More than one source may send in a moment.
    Flood,
    /// Its shard was behind.
    QueueFull,
    /// Its transport did not understand it.
    Refused,
    /// One of ours that the system did not take.
    Unsent,
}

impl Drop {
    const ALL: [Self; 6] =
        [Self::Stranger, Self::Oversize, Self::Flood, Self::QueueFull, Self::Refused, Self::Unsent];

    fn name(self) -> &'static str {
        match self {
            Self::Stranger => "packet_stranger",
            Self::Oversize => "packet_oversize",
            Self::Flood => "packet_flood",
            Self::QueueFull => "packet_queue_full",
            Self::Refused => "packet_refused",
            Self::Unsent => "packet_unsent",
        }
    }
}

/// Why a connection was ended by us.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ending {
    /// There were too many already.
    Full,
    /// No check that proved itself came, or its transport has gone.
    Unproven,
    /// What came is no datagram.
    Malformed,
    /// Nothing came for long.
    Silent,
    /// It took nothing for long.
    Slow,
}

impl Ending {
    const ALL: [Self; 5] = [Self::Full, Self::Unproven, Self::Malformed, Self::Silent, Self::Slow];

    fn name(self) -> &'static str {
        match self {
            Self::Full => "connection_full",
            Self::Unproven => "connection_unproven",
            Self::Malformed => "connection_malformed",
            Self::Silent => "connection_silent",
            Self::Slow => "connection_slow",
        }
    }
}

/// What a shard has to do.
#[derive(Debug, Default)]
pub(crate) struct ShardLoad {
    /// Microseconds of CPU a second, over the last seconds.
    pub(crate) cpu: AtomicU64,
    pub(crate) rooms: AtomicU64,
    pub(crate) participants: AtomicU64,
    /// It has too much to do.
    pub(crate) over: AtomicBool,
}

/// Why nobody else may enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overload {
    /// The room's shard has no CPU left.
    Cpu,
    /// As much is sent as may be.
    Bandwidth,
}

/// The shards that have a client at one address. Almost always it is one; while another claims to have it too, what
/// comes from there goes to each, until one of them has opened some of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owners {
    pub(crate) first: usize,
    pub(crate) second: Option<usize>,
}

/// Which shard an ICE user name or the address of a client belongs to. Shards alone write here, addresses only after
/// an ICE check from there proved itself: what strangers send changes nothing.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    shards: RwLock<HashMap<String, usize>>,
    addresses: RwLock<HashMap<Remote, Owners>>,
}

impl Routes {
    pub(crate) fn add(&self, ufrag: &str, shard: usize) {
        self.shards.write().unwrap_or_else(PoisonError::into_inner).insert(ufrag.to_owned(), shard);
    }

    pub(crate) fn remove(&self, ufrag: &str) {
        self.shards.write().unwrap_or_else(PoisonError::into_inner).remove(ufrag);
    }

    pub(crate) fn find(&self, ufrag: &str) -> Option<usize> {
        self.shards.read().unwrap_or_else(PoisonError::into_inner).get(ufrag).copied()
    }

    /// A client of `shard`'s says that it is at `address`. Who has it keeps it; the newest claim stands beside.
    pub(crate) fn add_address(&self, address: Remote, shard: usize) {
        match self.find_address(address) {
            Some(owners) if owners.first == shard || owners.second == Some(shard) => {}
            _ => {
                let mut addresses = self.addresses.write().unwrap_or_else(PoisonError::into_inner);
                let owners = addresses.entry(address).or_insert(Owners { first: shard, second: None });
                owners.second = (owners.first != shard).then_some(shard);
            }
        }
    }

    /// A client of `shard`'s has proved that it is at `address`.
    pub(crate) fn settle_address(&self, address: Remote, shard: usize) {
        let mut addresses = self.addresses.write().unwrap_or_else(PoisonError::into_inner);
        addresses.insert(address, Owners { first: shard, second: None });
    }

    /// It is no longer one of `shard`'s; if another has it, it stays there.
    pub(crate) fn remove_address(&self, address: Remote, shard: usize) {
        let mut addresses = self.addresses.write().unwrap_or_else(PoisonError::into_inner);
        let Some(owners) = addresses.get_mut(&address) else { return };
        match (owners.first == shard, owners.second) {
            (true, Some(second)) => *owners = Owners { first: second, second: None },
            (true, None) => {
                addresses.remove(&address);
            }
            (false, second) => owners.second = second.filter(|s| *s != shard),
        }
    }

    pub(crate) fn find_address(&self, address: Remote) -> Option<Owners> {
        self.addresses.read().unwrap_or_else(PoisonError::into_inner).get(&address).copied()
    }
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) network: Network,
    pub(crate) mailboxes: Vec<Mailbox>,
    pub(crate) events: EventQueue,
    pub(crate) routes: Routes,
    pub(crate) rooms: Rooms,
    pub(crate) loads: Vec<ShardLoad>,
    /// Bits sent a second, over the last seconds, and whether that is too much.
    pub(crate) bitrate: AtomicU64,
    pub(crate) bitrate_over: AtomicBool,
    /// Commands that wait in all mailboxes.
    pub(crate) queued: AtomicUsize,
    pub(crate) counters: Counters,
    /// Microseconds of CPU, one per thread.
    pub(crate) cpu: Vec<AtomicU64>,
}

impl Shared {
    pub(crate) fn reader_thread(&self) -> usize {
        self.mailboxes.len()
    }

    pub(crate) fn acceptor_thread(&self) -> usize {
        self.mailboxes.len() + 1
    }

    /// The shard that a new room goes to. `rooms`: how many each has, those included that are still to begin.
    pub(crate) fn choose_shard(&self, rooms: &[u64]) -> usize {
        let load = |(load, rooms): (&ShardLoad, &u64)| Load {
            cpu: load.cpu.load(Relaxed) / 1000,
            rooms: *rooms,
            participants: load.participants.load(Relaxed),
        };
        least_loaded(self.loads.iter().zip(rooms).map(load))
    }

    /// Why nobody else may enter a room; None when they may. Those who are in are not concerned.
    pub(crate) fn overload(&self, room: &RoomId) -> Option<Overload> {
        if self.bitrate_over.load(Relaxed) {
            return Some(Overload::Bandwidth);
        }
        let over = |load: &ShardLoad| load.over.load(Relaxed);
        let full = match self.rooms.find(room).and_then(|shard| self.loads.get(shard)) {
            Some(load) => over(load),
            None => self.loads.iter().all(over),
        };
        full.then_some(Overload::Cpu)
    }

    pub(crate) fn count_sent(&self, sent: Sent) {
        self.counters.packets_sent.fetch_add(sent.packets, Relaxed);
        self.counters.bytes_sent.fetch_add(sent.bytes, Relaxed);
        if sent.dropped > 0 {
            self.counters.count_dropped(Drop::Unsent, sent.dropped);
        }
    }

    /// Notes the CPU time of the calling thread, in microseconds.
    pub(crate) fn record_cpu(&self, thread: usize) -> u64 {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        let micros = time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000;
        self.cpu[thread].store(micros, Relaxed);
        micros
    }

    pub(crate) fn status(&self) -> NodeStatus {
        let c = &self.counters;
        let drops = Drop::ALL.map(|why| (why.name().to_owned(), c.drops[why as usize].load(Relaxed)));
        let packets_dropped = drops.iter().map(|(_, count)| count).sum();
        let data = Refusal::ALL
            .map(|reason| (format!("data_{}", reason.name()), c.data_refused[reason as usize].load(Relaxed)));
        let endings = Ending::ALL.map(|why| (why.name().to_owned(), c.endings[why as usize].load(Relaxed)));
        NodeStatus {
            rooms: c.rooms.load(Relaxed),
            participants: c.participants.load(Relaxed),
            packets_received: c.packets_received.load(Relaxed),
            packets_sent: c.packets_sent.load(Relaxed),
            bytes_received: c.bytes_received.load(Relaxed),
            bytes_sent: c.bytes_sent.load(Relaxed),
            packets_dropped,
            commands_refused: c.commands_refused.load(Relaxed),
            rooms_failed: c.rooms_failed.load(Relaxed),
            threads_cpu_ms: self.cpu.iter().map(|t| t.load(Relaxed)).sum::<u64>() / 1000,
            refused: drops.into_iter().chain(data).chain(endings).collect(),
            connections: c.connections.load(Relaxed),
            bitrate_sent: self.bitrate.load(Relaxed),
            bitrate_over: self.bitrate_over.load(Relaxed),
            shards: self.loads.iter().map(ShardStatus::from).collect(),
        }
    }
}

impl From<&ShardLoad> for ShardStatus {
    fn from(load: &ShardLoad) -> Self {
        Self {
            cpu: load.cpu.load(Relaxed) as f64 / 1e6,
            rooms: load.rooms.load(Relaxed),
            participants: load.participants.load(Relaxed),
            over: load.over.load(Relaxed),
        }
    }
}
