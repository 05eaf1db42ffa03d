//! A thread that drives rooms. A room lives in one shard for its whole life, so nothing in it is locked.
//!
//! Each turn takes what waits, gives it to the rooms, and polls each room that was touched or whose time has come. A
//! panic in a room's step ends that room, and only that room.
//!
//! A check says for which transport it is; everything else is known by its address alone. Checks can be sent from any
//! address, so one that names an address which another transport has takes nothing away from that one: what comes from
//! there is tried on both, and the address moves to the other only when that one has opened some of it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rtcloud_sfu::{Command, Event, Heard, Output, Room, RoomId, Route, TransportConfig, TransportKey};
use slab::Slab;

use crate::mailbox::{Arrival, Batch, Mail};
use crate::protocol::InRoom;
use crate::shared::{Drop, Shared};
use crate::stun;

/// A turn is not ended by timers sooner than this after the one before: what is due meanwhile is done together.
const MIN_WAIT: Duration = Duration::from_millis(4);
const MAX_WAIT: Duration = Duration::from_secs(1);
/// Addresses remembered for one transport; the oldest give way.
const MAX_ADDRESSES: usize = 8;
/// Transports that may claim an address which another has; the oldest give way.
const MAX_CLAIMS: usize = 3;
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

/// A transport and its room.
type Place = (usize, TransportKey);

/// Whose an address is.
struct Owners {
    holder: Place,
    /// Those who say that it is theirs, the oldest first.
    claims: Vec<Place>,
}

impl Owners {
    fn contains(&self, place: Place) -> bool {
        self.holder == place || self.claims.contains(&place)
    }
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
    by_ufrag: HashMap<String, Place>,
    by_address: HashMap<SocketAddr, Owners>,
    signs: HashMap<Place, Signs>,
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
        for arrival in &batch.datagrams {
            let contents = &batch.bytes[arrival.range.clone()];
            if self.handle_datagram(arrival, contents, now) == Heard::Refused && !arrival.contested {
                self.shared.counters.count_dropped(Drop::Refused, 1);
            }
        }
    }

    fn handle_datagram(&mut self, arrival: &Arrival, contents: &[u8], now: Instant) -> Heard {
        let named = stun::local_ufrag(contents).and_then(|ufrag| self.by_ufrag.get(ufrag)).copied();
        if let Some(place) = named {
            return self.handle_check(place, arrival, contents, now);
        }
        let Some(owners) = self.by_address.get(&arrival.source) else { return Heard::Refused };
        let (holder, disputed) = (owners.holder, !owners.claims.is_empty());
        let heard = self.give(holder, arrival, contents, now);
        let (winner, heard) = match heard {
            Heard::Proven => (holder, heard),
            _ if disputed => match self.try_claims(arrival, contents, now) {
                Some(claimant) => (claimant, Heard::Proven),
                None => return heard,
            },
            _ => return heard,
        };
        if winner != holder {
            self.move_address(arrival.source, winner);
        }
        if arrival.contested {
            self.shared.routes.settle_address(arrival.source, self.index);
        }
        heard
    }

    /// A check that names a transport.
    fn handle_check(&mut self, place: Place, arrival: &Arrival, contents: &[u8], now: Instant) -> Heard {
        let source = arrival.source;
        let known = self.by_address.get(&source).is_some_and(|owners| owners.contains(place));
        if !known && self.signs.get(&place).is_some_and(|s| s.moves >= MAX_MOVES) {
            return Heard::Refused;
        }
        let heard = self.give(place, arrival, contents, now);
        if heard != Heard::Refused {
            if !known {
                self.bind(source, place);
            }
            self.shared.routes.add_address(source, self.index);
        }
        heard
    }

    /// Gives a datagram to a transport.
    fn give(&mut self, (index, key): Place, arrival: &Arrival, contents: &[u8], now: Instant) -> Heard {
        let local = self.shared.local_address(arrival.destination);
        let step = |room: &mut Room, output: &mut Output| {
            room.handle_datagram(key, arrival.source, local, contents, now, output)
        };
        self.step(index, step).unwrap_or(Heard::Refused)
    }

    /// Tries a datagram that its address's holder did not open on those who claim the address, the newest first.
    fn try_claims(&mut self, arrival: &Arrival, contents: &[u8], now: Instant) -> Option<Place> {
        let claims = self.by_address.get(&arrival.source)?.claims.clone();
        claims.into_iter().rev().find(|place| self.give(*place, arrival, contents, now) == Heard::Proven)
    }

    /// One that claimed an address has proved that it is there.
    fn move_address(&mut self, address: SocketAddr, to: Place) {
        let Some(owners) = self.by_address.get_mut(&address) else { return };
        let before = std::mem::replace(&mut owners.holder, to);
        owners.claims.retain(|place| *place != to);
        // It may claim it back.
        if let Some(signs) = self.signs.get_mut(&before) {
            signs.addresses.retain(|a| *a != address);
        }
    }

    /// A valid check for a transport came from an address that it did not have.
    fn bind(&mut self, source: SocketAddr, place: Place) {
        let owners =
            self.by_address.entry(source).or_insert_with(|| Owners { holder: place, claims: Vec::new() });
        if owners.holder != place {
            owners.claims.push(place);
        }
        let displaced = (owners.claims.len() > MAX_CLAIMS).then(|| owners.claims.remove(0));
        if let Some(signs) = displaced.and_then(|place| self.signs.get_mut(&place)) {
            signs.addresses.retain(|a| *a != source);
        }
        let signs = self.signs.entry(place).or_default();
        signs.moves += 1;
        signs.addresses.push(source);
        if signs.addresses.len() > MAX_ADDRESSES {
            let oldest = signs.addresses.remove(0);
            self.forget_address(oldest, place);
        }
    }

    /// A transport is no longer at an address; the newest of those who claim it has it then.
    fn forget_address(&mut self, address: SocketAddr, place: Place) {
        let Some(owners) = self.by_address.get_mut(&address) else { return };
        if owners.holder != place {
            owners.claims.retain(|p| *p != place);
        } else if let Some(next) = owners.claims.pop() {
            owners.holder = next;
        } else {
            self.by_address.remove(&address);
            self.shared.routes.remove_address(address, self.index);
        }
    }

    fn forget_signs(&mut self, at: Place) {
        let Some(signs) = self.signs.remove(&at) else { return };
        for ufrag in &signs.ufrags {
            self.by_ufrag.remove(ufrag);
            self.shared.routes.remove(ufrag);
        }
        for address in signs.addresses {
            self.forget_address(address, at);
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
        for event in &output.events {
            if let Event::DataRefused { reason, count, .. } = event {
                self.shared.counters.count_refused(*reason, *count);
            }
        }
        if !output.events.is_empty() {
            self.shared.events.push(&self.rooms[index].id, output.events.drain(..));
        }
        output.clear();
    }

    fn add_ufrag(&mut self, at: Place, ufrag: String) {
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
    use rtcloud_sfu::Rights;

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
        let body = Command::AddParticipant {
            participant: "p".into(),
            identity: "i".to_owned(),
            single: false,
            rights: Rights::default(),
        };
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

    fn arrival(source: SocketAddr) -> Arrival {
        Arrival { source, destination: None, contested: false, range: 0..0 }
    }

    #[test]
    fn a_check_without_proof_moves_no_address() {
        let mut shard = shard();
        join(&mut shard, "room");
        shard.poll_rooms(Instant::now());
        let ufrag = shard.by_ufrag.keys().next().unwrap().clone();
        for port in 1..200 {
            let source = SocketAddr::from(([192, 0, 2, 1], port));
            let heard = shard.handle_datagram(&arrival(source), &unproven_check(&ufrag), Instant::now());
            assert_eq!(heard, Heard::Refused);
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
            shard.bind(source, at);
            shard.shared.routes.add_address(source, 0);
        }
        assert_eq!((shard.by_address.len(), shard.signs[&at].moves), (MAX_ADDRESSES, 20));
        let last = SocketAddr::from(([192, 0, 2, 1], 20));
        assert_eq!(shard.shared.routes.find_address(last).map(|o| o.first), Some(0));
        shard.remove_room(index);
        assert!(shard.by_address.is_empty());
        assert_eq!(shard.shared.routes.find_address(last), None);
    }

    #[test]
    fn a_claimed_address_stays_until_it_is_proved_and_is_given_back() {
        let mut shard = shard();
        let rooms: Vec<usize> = ["a", "b", "c", "d", "e", "f"].map(|r| join(&mut shard, r)).to_vec();
        shard.poll_rooms(Instant::now());
        let place = |shard: &Shard, room| *shard.by_ufrag.values().find(|(index, _)| *index == room).unwrap();
        let places: Vec<Place> = rooms.iter().map(|room| place(&shard, *room)).collect();
        let source = SocketAddr::from(([192, 0, 2, 1], 5000));
        for place in &places {
            shard.bind(source, *place);
        }
        let owners = &shard.by_address[&source];
        assert_eq!((owners.holder, &owners.claims[..]), (places[0], &places[3..]));
        assert!(shard.signs[&places[1]].addresses.is_empty(), "its claim gave way");
        shard.move_address(source, places[4]);
        assert_eq!(shard.by_address[&source].holder, places[4]);
        assert!(shard.signs[&places[0]].addresses.is_empty());
        shard.remove_room(rooms[4]);
        assert_eq!(shard.by_address[&source].holder, places[5], "the newest claim");
        for room in [rooms[0], rooms[1], rooms[2], rooms[3], rooms[5]] {
            shard.remove_room(room);
        }
        assert!(shard.by_address.is_empty() && shard.signs.is_empty());
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
