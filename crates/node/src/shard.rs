//! A thread that drives rooms. A room lives in one shard for its whole life, so nothing in it is locked.
//!
//! Each turn takes what waits, gives it to the rooms, and polls each room that was touched or whose time has come. A
//! panic in a room's step ends that room, and only that room. Which transport a datagram is for is in `places`.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rtcloud_sfu::{Command, Event, Heard, Output, Room, RoomId, TransportConfig};
use slab::Slab;

use crate::mailbox::{Arrival, Batch, Mail};
use crate::meter::{Limit, Meter};
use crate::places::{Place, Places};
use crate::protocol::InRoom;
use crate::shared::{Drop, Shared};
use crate::stun;

/// A turn is not ended by timers sooner than this after the one before: what is due meanwhile is done together.
const MIN_WAIT: Duration = Duration::from_millis(4);
const MAX_WAIT: Duration = Duration::from_secs(1);
const CPU_INTERVAL: Duration = Duration::from_millis(200);

struct Entry {
    id: RoomId,
    room: Room,
    touched: bool,
    counted: u64,
}

pub(crate) struct Shard {
    index: usize,
    shared: Arc<Shared>,
    config: Arc<TransportConfig>,
    rooms: Slab<Entry>,
    names: HashMap<RoomId, usize>,
    places: Places,
    touched: Vec<usize>,
    output: Output,
    cpu_at: Instant,
    cpu: (Meter, Limit),
    /// Of all shards; the first one sees to it.
    bitrate: Option<(Meter, Limit)>,
}

/// From where on nobody else is taken; 0: there is none.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    /// Microseconds of CPU a second.
    pub(crate) cpu: u64,
    /// Bits a second.
    pub(crate) bitrate: u64,
}

impl Shard {
    pub(crate) fn new(
        index: usize,
        shared: Arc<Shared>,
        config: Arc<TransportConfig>,
        limits: Limits,
    ) -> Self {
        let places = Places::new(index, Arc::clone(&shared));
        Self {
            index,
            shared,
            config,
            rooms: Slab::new(),
            names: HashMap::new(),
            places,
            touched: Vec::new(),
            output: Output::default(),
            cpu_at: Instant::now(),
            cpu: (Meter::default(), Limit::new(limits.cpu)),
            bitrate: (index == 0).then(|| (Meter::default(), Limit::new(limits.bitrate))),
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
                self.measure(now);
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

    fn measure(&mut self, now: Instant) {
        let (meter, limit) = &mut self.cpu;
        let cpu = meter.record(now, self.shared.record_cpu(self.index));
        let load = &self.shared.loads[self.index];
        load.cpu.store(cpu, Relaxed);
        let over = limit.judge(cpu);
        if load.over.swap(over, Relaxed) != over {
            tell_limit(over, &format!("shard {}", self.index), &format!("{} % of a core", cpu / 10_000));
        }
        let Some((meter, limit)) = &mut self.bitrate else { return };
        let bytes = self.shared.counters.bytes_sent.load(Relaxed);
        let bitrate = meter.record(now, bytes.saturating_mul(8));
        self.shared.bitrate.store(bitrate, Relaxed);
        let over = limit.judge(bitrate);
        if self.shared.bitrate_over.swap(over, Relaxed) != over {
            tell_limit(over, "all shards", &format!("{} Mbit/s", bitrate / 1_000_000));
        }
    }

    fn wait(&self) -> Duration {
        let next = self.rooms.iter().map(|(_, e)| e.room.next_timeout()).min();
        let wait = next.map_or(MAX_WAIT, |at| at.saturating_duration_since(Instant::now()));
        wait.clamp(MIN_WAIT, MAX_WAIT)
    }

    fn handle_command(&mut self, command: InRoom<Command>, now: Instant) {
        let id = command.room.clone();
        self.execute(command, now);
        self.shared.rooms.settle(&id, self.names.contains_key(&id));
    }

    fn execute(&mut self, command: InRoom<Command>, now: Instant) {
        let InRoom { room: id, body } = command;
        let index = match self.names.get(&id) {
            Some(index) => *index,
            // A room comes to be with its first participant; anything else is about one that has gone.
            None if matches!(body, Command::AddParticipant { .. }) => {
                let room = Room::new(Arc::clone(&self.config), now);
                let index = self.rooms.insert(Entry { id: id.clone(), room, touched: false, counted: 0 });
                self.names.insert(id, index);
                self.shared.counters.rooms.fetch_add(1, Relaxed);
                self.shared.loads[self.index].rooms.fetch_add(1, Relaxed);
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
        if let Some(place) = stun::local_ufrag(contents).and_then(|ufrag| self.places.find(ufrag)) {
            return self.handle_check(place, arrival, contents, now);
        }
        let Some((holder, disputed)) = self.places.holder(&arrival.source) else { return Heard::Refused };
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
            self.places.move_address(arrival.source, winner);
        }
        if arrival.contested {
            self.shared.routes.settle_address(arrival.source, self.index);
        }
        heard
    }

    /// A check that names a transport.
    fn handle_check(&mut self, place: Place, arrival: &Arrival, contents: &[u8], now: Instant) -> Heard {
        let source = arrival.source;
        let known = self.places.is_known(source, place);
        if !known && !self.places.may_move(place) {
            return Heard::Refused;
        }
        let heard = self.give(place, arrival, contents, now);
        if heard != Heard::Refused {
            if !known {
                self.places.bind(source, place);
            }
            self.shared.routes.add_address(source, self.index);
        }
        heard
    }

    /// Gives a datagram to a transport.
    fn give(&mut self, (index, key): Place, arrival: &Arrival, contents: &[u8], now: Instant) -> Heard {
        let local = self.shared.network.local_address(arrival.destination);
        let step = |room: &mut Room, output: &mut Output| {
            room.handle_datagram(key, arrival.source, local, contents, now, output)
        };
        self.step(index, step).unwrap_or(Heard::Refused)
    }

    /// Tries a datagram that its address's holder did not open on those who claim the address, the newest first.
    fn try_claims(&mut self, arrival: &Arrival, contents: &[u8], now: Instant) -> Option<Place> {
        self.places
            .claims(&arrival.source)
            .into_iter()
            .rev()
            .find(|place| self.give(*place, arrival, contents, now) == Heard::Proven)
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
            let more = participants.wrapping_sub(entry.counted);
            counters.participants.fetch_add(more, Relaxed);
            self.shared.loads[self.index].participants.fetch_add(more, Relaxed);
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
            self.shared.count_sent(self.shared.network.send(output));
        }
        let routes = std::mem::take(&mut output.routes);
        self.places.follow(index, routes);
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

    fn remove_room(&mut self, index: usize) {
        let entry = self.rooms.remove(index);
        self.names.remove(&entry.id);
        let counters = &self.shared.counters;
        counters.rooms.fetch_sub(1, Relaxed);
        counters.participants.fetch_sub(entry.counted, Relaxed);
        let load = &self.shared.loads[self.index];
        load.rooms.fetch_sub(1, Relaxed);
        load.participants.fetch_sub(entry.counted, Relaxed);
        self.shared.rooms.end(&entry.id);
        // Dropping what panicked may panic again; it is only memory.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(entry.room)));
        self.places.forget_room(index);
    }
}

fn tell_limit(over: bool, whose: &str, what: &str) {
    if over {
        tracing::warn!(whose, what, "above the limit: nobody else is taken");
    } else {
        tracing::info!(whose, what, "below the limit again");
    }
}

#[cfg(test)]
mod tests {
    use rtcloud_sfu::{EgressOptions, Remote, Rights};

    use super::*;
    use crate::mailbox::Mailbox;
    use crate::network::Network;
    use crate::places::MAX_ADDRESSES;
    use crate::rooms::Rooms;
    use crate::shared::ShardLoad;
    use crate::{EventQueue, Routes};

    fn shard() -> Shard {
        let loopback: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
        let network = Network::bind(&[loopback], &[loopback.ip()], false, true).unwrap().network;
        let config = TransportConfig {
            candidates: network.candidates(),
            tcp_candidates: vec![],
            certificate: rtcloud_sfu::generate_certificate().unwrap(),
            video_codecs: vec!["h264".to_owned()],
            egress: EgressOptions {
                padding: true,
                hold: Duration::ZERO,
                origin: Instant::now(),
                unix: Duration::ZERO,
            },
        };
        let shared = Shared {
            network,
            mailboxes: vec![Mailbox::default()],
            events: EventQueue::new().unwrap(),
            routes: Routes::default(),
            rooms: Rooms::new(1),
            loads: vec![ShardLoad::default()],
            bitrate: Default::default(),
            bitrate_over: Default::default(),
            queued: Default::default(),
            counters: Default::default(),
            cpu: (0..2).map(|_| Default::default()).collect(),
        };
        Shard::new(0, Arc::new(shared), Arc::new(config), Limits::default())
    }

    fn join(shard: &mut Shard, room: &str) -> usize {
        let body = Command::AddParticipant {
            participant: "p".into(),
            identity: "i".to_owned(),
            single: false,
            fixed: false,
            adaptive: true,
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
        assert_eq!(shard.places.by_ufrag.len(), 2);
        shard.shared.events.drain(100);
        let panics = |_: &mut Room, _: &mut Output| -> () { panic!("on purpose") };
        assert!(shard.step(bad, panics).is_none());
        let events = shard.shared.events.drain(100);
        assert!(
            matches!(&events[..], [InRoom { room, body: Event::RoomFailed { .. } }] if room.as_str() == "bad")
        );
        assert_eq!((shard.places.by_ufrag.len(), shard.rooms.len(), shard.places.signs.len()), (1, 1, 1));
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

    fn arrival(source: Remote) -> Arrival {
        Arrival { source, destination: None, contested: false, range: 0..0 }
    }

    #[test]
    fn a_check_without_proof_moves_no_address() {
        let mut shard = shard();
        join(&mut shard, "room");
        shard.poll_rooms(Instant::now());
        let ufrag = shard.places.by_ufrag.keys().next().unwrap().clone();
        for port in 1..200 {
            let source = Remote::udp(([192, 0, 2, 1], port).into());
            let heard = shard.handle_datagram(&arrival(source), &unproven_check(&ufrag), Instant::now());
            assert_eq!(heard, Heard::Refused);
            assert_eq!(shard.shared.routes.find_address(source), None);
        }
        assert!(shard.places.by_address.is_empty());
    }

    #[test]
    fn a_transport_keeps_few_addresses_and_gives_them_back() {
        let mut shard = shard();
        let index = join(&mut shard, "room");
        shard.poll_rooms(Instant::now());
        let at = *shard.places.by_ufrag.values().next().unwrap();
        for port in 1..=20 {
            let source = Remote::udp(([192, 0, 2, 1], port).into());
            shard.places.bind(source, at);
            shard.shared.routes.add_address(source, 0);
        }
        assert_eq!((shard.places.by_address.len(), shard.places.signs[&at].moves), (MAX_ADDRESSES, 20));
        let last = Remote::udp(([192, 0, 2, 1], 20).into());
        assert_eq!(shard.shared.routes.find_address(last).map(|o| o.first), Some(0));
        shard.remove_room(index);
        assert!(shard.places.by_address.is_empty());
        assert_eq!(shard.shared.routes.find_address(last), None);
    }

    #[test]
    fn a_claimed_address_stays_until_it_is_proved_and_is_given_back() {
        let mut shard = shard();
        let rooms: Vec<usize> = ["a", "b", "c", "d", "e", "f"].map(|r| join(&mut shard, r)).to_vec();
        shard.poll_rooms(Instant::now());
        let place =
            |shard: &Shard, room| *shard.places.by_ufrag.values().find(|(index, _)| *index == room).unwrap();
        let places: Vec<Place> = rooms.iter().map(|room| place(&shard, *room)).collect();
        let source = Remote::udp(([192, 0, 2, 1], 5000).into());
        for place in &places {
            shard.places.bind(source, *place);
        }
        let owners = &shard.places.by_address[&source];
        assert_eq!((owners.holder, &owners.claims[..]), (places[0], &places[3..]));
        assert!(shard.places.signs[&places[1]].addresses.is_empty(), "its claim gave way");
        shard.places.move_address(source, places[4]);
        assert_eq!(shard.places.by_address[&source].holder, places[4]);
        assert!(shard.places.signs[&places[0]].addresses.is_empty());
        shard.remove_room(rooms[4]);
        assert_eq!(shard.places.by_address[&source].holder, places[5], "the newest claim");
        for room in [rooms[0], rooms[1], rooms[2], rooms[3], rooms[5]] {
            shard.remove_room(room);
        }
        assert!(shard.places.by_address.is_empty() && shard.places.signs.is_empty());
    }

    #[test]
    fn a_closed_room_leaves_nothing_behind() {
        let mut shard = shard();
        join(&mut shard, "room");
        shard.poll_rooms(Instant::now());
        let command = InRoom { room: RoomId::from("room"), body: Command::CloseRoom {} };
        shard.handle_command(command, Instant::now());
        shard.poll_rooms(Instant::now());
        assert!(shard.places.by_ufrag.is_empty() && shard.rooms.is_empty() && shard.places.signs.is_empty());
        assert_eq!(shard.shared.status().participants, 0);
    }
}
