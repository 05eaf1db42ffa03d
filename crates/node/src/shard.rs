//! A thread that drives rooms. A room lives in one shard for its whole life, so nothing in it is locked.
//!
//! Each turn takes what waits, gives it to the rooms, and polls each room that was touched or whose time has come. A
//! panic in a room's step ends that room, and only that room.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rtcloud_sfu::{Command, Event, Output, Room, RoomId, Route, TransportConfig, TransportKey};
use slab::Slab;

use crate::mailbox::{Batch, Mail};
use crate::protocol::InRoom;
use crate::shared::Shared;
use crate::stun;

/// A turn is not ended by timers sooner than this after the one before: what is due meanwhile is done together.
const MIN_WAIT: Duration = Duration::from_millis(4);
const MAX_WAIT: Duration = Duration::from_secs(1);
/// Addresses remembered for one transport; the oldest give way.
const MAX_ADDRESSES: usize = 8;
/// Addresses one transport may come from between two ICE restarts; a client that moves more often restarts.
const MAX_MOVES: usize = 64;
/// ICE user names remembered for one transport: the present one and those of restarts under way.
const MAX_UFRAGS: usize = 4;
const CPU_INTERVAL: Duration = Duration::from_millis(200);

struct Entry {
    id: RoomId,
    room: Room,
    touched: bool,
    counted: u64,
}

/// Where a transport is and what leads to it.
#[derive(Default)]
struct Signs {
    ufrags: Vec<String>,
    addresses: Vec<SocketAddr>,
    moves: usize,
}

pub(crate) struct Shard {
    index: usize,
    shared: Arc<Shared>,
    config: Arc<TransportConfig>,
    rooms: Slab<Entry>,
    names: HashMap<RoomId, usize>,
    by_ufrag: HashMap<String, (usize, TransportKey)>,
    by_address: HashMap<SocketAddr, (usize, TransportKey)>,
    signs: HashMap<(usize, TransportKey), Signs>,
    touched: Vec<usize>,
    output: Output,
    cpu_at: Instant,
}

impl Shard {
    pub(crate) fn new(index: usize, shared: Arc<Shared>, config: Arc<TransportConfig>) -> Self {
        Self {
            index,
            shared,
            config,
            rooms: Slab::new(),
            names: HashMap::new(),
            by_ufrag: HashMap::new(),
            by_address: HashMap::new(),
            signs: HashMap::new(),
            touched: Vec::new(),
            output: Output::default(),
            cpu_at: Instant::now(),
        }
    }

    /// Runs until the node stops.
    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut used = Vec::new();
        loop {
            let wait = self.wait();
            let Mail { commands, batches, stop } =
                shared.mailboxes[self.index].take(wait, std::mem::take(&mut used));
            let now = Instant::now();
            shared.queued.fetch_sub(commands.len(), Relaxed);
            for command in commands {
                self.handle_command(command, now);
            }
            for batch in batches {
                self.handle_batch(&batch, now);
                used.push(batch);
            }
            self.handle_timeouts(now);
            self.poll_rooms(now);
            if now >= self.cpu_at {
                self.cpu_at = now + CPU_INTERVAL;
                shared.record_cpu(self.index);
            }
            if stop {
                break;
            }
        }
        let now = Instant::now();
        let rooms: Vec<usize> = self.rooms.iter().map(|(index, _)| index).collect();
        for index in rooms {
            self.step(index, |room, _| room.handle_command(Command::CloseRoom {}, now));
        }
        self.poll_rooms(now);
        shared.record_cpu(self.index);
    }

    fn wait(&self) -> Duration {
        let next = self.rooms.iter().map(|(_, e)| e.room.next_timeout()).min();
        let wait = next.map_or(MAX_WAIT, |at| at.saturating_duration_since(Instant::now()));
        wait.clamp(MIN_WAIT, MAX_WAIT)
    }

    fn handle_command(&mut self, command: InRoom<Command>, now: Instant) {
        let InRoom { room: id, body } = command;
        let index = match self.names.get(&id) {
            Some(index) => *index,
            // A room comes to be with its first participant; anything else is about one that has gone.
            None if matches!(body, Command::AddParticipant { .. }) => {
                let room = Room::new(Arc::clone(&self.config), now);
                let index = self.rooms.insert(Entry { id: id.clone(), room, touched: false, counted: 0 });
                self.names.insert(id, index);
                self.shared.counters.rooms.fetch_add(1, Relaxed);
                index
            }
            None => return,
        };
        self.step(index, |room, _| room.handle_command(body, now));
    }

    fn handle_batch(&mut self, batch: &Batch, now: Instant) {
        for (source, destination, range) in &batch.datagrams {
            if !self.handle_datagram(*source, *destination, &batch.bytes[range.clone()], now) {
                self.shared.counters.packets_dropped.fetch_add(1, Relaxed);
            }
        }
    }

    fn handle_datagram(
        &mut self,
        source: SocketAddr,
        destination: Option<IpAddr>,
        contents: &[u8],
        now: Instant,
    ) -> bool {
        // An ICE check says for whom it is; once it has proved so, that also moves an address that another had before.
        let named = stun::local_ufrag(contents).and_then(|ufrag| self.by_ufrag.get(ufrag)).copied();
        let known = self.by_address.get(&source).copied();
        let Some((index, key)) = named.or(known) else { return false };
        let moves = named.is_some() && named != known;
        if moves && self.signs.get(&(index, key)).is_some_and(|s| s.moves >= MAX_MOVES) {
            return false;
        }
        let local = self.shared.local_address(destination);
        let step = |room: &mut Room, output: &mut Output| {
            room.handle_datagram(key, source, local, contents, now, output)
        };
        let accepted = self.step(index, step) == Some(true);
        if accepted && named.is_some() {
            if moves {
                self.bind(source, known, (index, key));
            }
            self.shared.routes.add_address(source, self.index);
        }
        accepted
    }

    fn bind(
        &mut self,
        source: SocketAddr,
        before: Option<(usize, TransportKey)>,
        now: (usize, TransportKey),
    ) {
        if let Some(signs) = before.and_then(|before| self.signs.get_mut(&before)) {
            signs.addresses.retain(|a| *a != source);
        }
        self.by_address.insert(source, now);
        let signs = self.signs.entry(now).or_default();
        signs.moves += 1;
        signs.addresses.push(source);
        if signs.addresses.len() > MAX_ADDRESSES {
            let oldest = signs.addresses.remove(0);
            self.forget_address(oldest);
        }
    }

    fn forget_address(&mut self, address: SocketAddr) {
        self.by_address.remove(&address);
        self.shared.routes.remove_address(address, self.index);
    }

    fn forget_signs(&mut self, at: (usize, TransportKey)) {
        let Some(signs) = self.signs.remove(&at) else { return };
        for ufrag in &signs.ufrags {
            self.by_ufrag.remove(ufrag);
            self.shared.routes.remove(ufrag);
        }
        for address in signs.addresses {
            self.forget_address(address);
        }
    }

    fn handle_timeouts(&mut self, now: Instant) {
        let due: Vec<usize> =
            self.rooms.iter().filter(|(_, e)| e.room.next_timeout() <= now).map(|(index, _)| index).collect();
        for index in due {
            self.step(index, |room, _| room.handle_timeout(now));
        }
    }

    fn poll_rooms(&mut self, now: Instant) {
        for index in std::mem::take(&mut self.touched) {
            let Some(entry) = self.rooms.get_mut(index) else { continue };
            entry.touched = false;
            if self.run_step(index, |room, output| room.poll(now, output)).is_none() {
                continue;
            }
            let entry = &mut self.rooms[index];
            let participants = entry.room.participants() as u64;
            let counters = &self.shared.counters;
            counters.participants.fetch_add(participants.wrapping_sub(entry.counted), Relaxed);
            entry.counted = participants;
            if entry.room.is_closed() {
                self.remove_room(index);
            }
        }
    }

    /// One step of a room, which will be polled after it.
    fn step<T>(&mut self, index: usize, step: impl FnOnce(&mut Room, &mut Output) -> T) -> Option<T> {
        let entry = self.rooms.get_mut(index)?;
        if !std::mem::replace(&mut entry.touched, true) {
            self.touched.push(index);
        }
        self.run_step(index, step)
    }

    /// Runs a step, hands on what came of it, and ends the room if it panicked.
    fn run_step<T>(&mut self, index: usize, step: impl FnOnce(&mut Room, &mut Output) -> T) -> Option<T> {
        let entry = self.rooms.get_mut(index)?;
        let result = catch_unwind(AssertUnwindSafe(|| step(&mut entry.room, &mut self.output)));
        match result {
            Ok(result) => {
                self.flush(index);
                Some(result)
            }
            Err(_) => {
                self.output.clear();
                let id = entry.id.clone();
                tracing::error!(room = %id, "a room's step panicked; the room is ended");
                self.shared.counters.rooms_failed.fetch_add(1, Relaxed);
                self.shared.events.push(&id, [Event::RoomFailed { reason: "internal error".to_owned() }]);
                self.remove_room(index);
                None
            }
        }
    }

    fn flush(&mut self, index: usize) {
        let output = &mut self.output;
        if !output.datagrams.is_empty() {
            self.shared.count_sent(self.shared.socket.send(output));
        }
        let routes = std::mem::take(&mut output.routes);
        for route in routes {
            match route {
                Route::Add(ufrag, key) => self.add_ufrag((index, key), ufrag),
                Route::Remove(key) => self.forget_signs((index, key)),
            }
        }
        let output = &mut self.output;
        if !output.events.is_empty() {
            self.shared.events.push(&self.rooms[index].id, output.events.drain(..));
        }
        output.clear();
    }

    fn add_ufrag(&mut self, at: (usize, TransportKey), ufrag: String) {
        if self.by_ufrag.insert(ufrag.clone(), at).is_some() {
            return;
        }
        self.shared.routes.add(&ufrag, self.index);
        let signs = self.signs.entry(at).or_default();
        signs.moves = 0;
        signs.ufrags.push(ufrag);
        if signs.ufrags.len() > MAX_UFRAGS {
            let old = signs.ufrags.remove(0);
            self.by_ufrag.remove(&old);
            self.shared.routes.remove(&old);
        }
    }

    fn remove_room(&mut self, index: usize) {
        let entry = self.rooms.remove(index);
        self.names.remove(&entry.id);
        let counters = &self.shared.counters;
        counters.rooms.fetch_sub(1, Relaxed);
        counters.participants.fetch_sub(entry.counted, Relaxed);
        // Dropping what panicked may panic again; it is only memory.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(entry.room)));
        let gone: Vec<_> = self.signs.keys().filter(|(room, _)| *room == index).copied().collect();
        for at in gone {
            self.forget_signs(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::Mailbox;
    use crate::socket::Socket;
    use crate::{EventQueue, Routes};

    fn shard() -> Shard {
        let socket = Socket::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let candidates = vec![socket.local_addr().unwrap()];
        let config = TransportConfig {
            candidates: candidates.clone(),
            certificate: rtcloud_sfu::generate_certificate().unwrap(),
            video_codecs: vec!["h264".to_owned()],
        };
        let shared = Shared {
            socket,
            candidates,
            mailboxes: vec![Mailbox::default()],
            events: EventQueue::new().unwrap(),
            routes: Routes::default(),
            queued: Default::default(),
            counters: Default::default(),
            cpu: (0..2).map(|_| Default::default()).collect(),
        };
        Shard::new(0, Arc::new(shared), Arc::new(config))
    }

    fn join(shard: &mut Shard, room: &str) -> usize {
        let body =
            Command::AddParticipant { participant: "p".into(), identity: "i".to_owned(), single: false };
        shard.handle_command(InRoom { room: RoomId::from(room), body }, Instant::now());
        shard.names[&RoomId::from(room)]
    }

    #[test]
    fn a_panic_ends_its_room_and_no_other() {
        let mut shard = shard();
        let (bad, good) = (join(&mut shard, "bad"), join(&mut shard, "good"));
        shard.poll_rooms(Instant::now());
        assert_eq!(shard.by_ufrag.len(), 2);
        shard.shared.events.drain(100);
        let panics = |_: &mut Room, _: &mut Output| -> () { panic!("on purpose") };
        assert!(shard.step(bad, panics).is_none());
        let events = shard.shared.events.drain(100);
        assert!(
            matches!(&events[..], [InRoom { room, body: Event::RoomFailed { .. } }] if room.as_str() == "bad")
        );
        assert_eq!((shard.by_ufrag.len(), shard.rooms.len(), shard.signs.len()), (1, 1, 1));
        assert!(shard.step(good, |room, _| room.participants()) == Some(1));
        let status = shard.shared.status();
        assert_eq!((status.rooms, status.participants, status.rooms_failed), (1, 1, 1));
    }

    /// A binding request as a stranger can make it: the right name, no proof.
    fn unproven_check(ufrag: &str) -> Vec<u8> {
        let name = format!("{ufrag}:x");
        let padded = name.len().next_multiple_of(4);
        let mut message = vec![0, 1, 0, (padded + 4) as u8, 0x21, 0x12, 0xa4, 0x42];
        message.extend([7; 12]);
        message.extend([0, 6, 0, name.len() as u8]);
        message.extend(name.as_bytes());
        message.resize(24 + padded, 0);
        message
    }

    #[test]
    fn a_check_without_proof_moves_no_address() {
        let mut shard = shard();
        join(&mut shard, "room");
        shard.poll_rooms(Instant::now());
        let ufrag = shard.by_ufrag.keys().next().unwrap().clone();
        for port in 1..200 {
            let source = SocketAddr::from(([192, 0, 2, 1], port));
            assert!(!shard.handle_datagram(source, None, &unproven_check(&ufrag), Instant::now()));
            assert_eq!(shard.shared.routes.find_address(source), None);
        }
        assert!(shard.by_address.is_empty());
    }

    #[test]
    fn a_transport_keeps_few_addresses_and_gives_them_back() {
        let mut shard = shard();
        let index = join(&mut shard, "room");
        shard.poll_rooms(Instant::now());
        let at = *shard.by_ufrag.values().next().unwrap();
        for port in 1..=20 {
            let source = SocketAddr::from(([192, 0, 2, 1], port));
            shard.bind(source, None, at);
            shard.shared.routes.add_address(source, 0);
        }
        assert_eq!((shard.by_address.len(), shard.signs[&at].moves), (MAX_ADDRESSES, 20));
        let last = SocketAddr::from(([192, 0, 2, 1], 20));
        assert_eq!(shard.shared.routes.find_address(last), Some(0));
        shard.remove_room(index);
        assert!(shard.by_address.is_empty());
        assert_eq!(shard.shared.routes.find_address(last), None);
    }

    #[test]
    fn a_closed_room_leaves_nothing_behind() {
        let mut shard = shard();
        join(&mut shard, "room");
        shard.poll_rooms(Instant::now());
        let command = InRoom { room: RoomId::from("room"), body: Command::CloseRoom {} };
        shard.handle_command(command, Instant::now());
        shard.poll_rooms(Instant::now());
        assert!(shard.by_ufrag.is_empty() && shard.rooms.is_empty() && shard.signs.is_empty());
        assert_eq!(shard.shared.status().participants, 0);
    }
}
