//! The thread that reads the socket and sorts datagrams to shards.
//!
//! It reads on a tick and not per wake-up: while packets flow, everything that came within a tick is handed on
//! together, which costs far less than a wake-up per packet and lets shards write whole bursts.
//!
//! Only what is for a transport of ours goes on: an ICE check that names one, or what comes from an address that has
//! proved itself, and of each no more in a tick than a client sends. A flood ends here, before any queue.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::mailbox::Batch;
use crate::shared::{Drop, Owners, Shared};
use crate::socket::{Read, Reading};
use crate::stun;

const TICK: Duration = Duration::from_micros(1500);
/// Readings handed on at once at most, so that a flood does not delay what came before it.
const MAX_READINGS: usize = 16;
/// No client of ours sends more in one datagram; what waits for a shard is bounded by this and by its number.
const MAX_DATAGRAM: usize = 2048;
/// Datagrams handed on at once at most: a shard that keeps up always has room for them.
const MAX_DATAGRAMS: u64 = 4096;
/// Datagrams of one client in a tick. Clients send a few; what came while this thread did not run is more.
const MAX_FROM_CLIENT: u32 = 512;
/// Checks for one transport in a tick, from whatever addresses: each costs a signature.
const MAX_CHECKS: u32 = 32;
const CPU_INTERVAL: Duration = Duration::from_millis(200);

pub(crate) struct Reader {
    shared: Arc<Shared>,
    /// Readable when the node stops.
    stop: OwnedFd,
    batches: Vec<Batch>,
    tallies: Tallies,
}

/// Who a datagram is from, as far as it can be known here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Origin {
    Client(SocketAddr),
    Checks(Box<str>),
}

/// How much came in this tick, by origin.
#[derive(Debug, Default)]
struct Tallies {
    counts: HashMap<Origin, u32>,
    /// The client whose datagrams came last and how many: they come in runs.
    last: Option<(SocketAddr, u32)>,
}

impl Tallies {
    fn clear(&mut self) {
        self.counts.clear();
        self.last = None;
    }

    /// Counts a datagram of a client's. False when there were too many.
    fn take(&mut self, client: SocketAddr) -> bool {
        match &mut self.last {
            Some((last, count)) if *last == client => *count += 1,
            _ => {
                self.put_back();
                let before = self.counts.get(&Origin::Client(client)).copied().unwrap_or(0);
                self.last = Some((client, before + 1));
            }
        }
        self.last.is_some_and(|(_, count)| count <= MAX_FROM_CLIENT)
    }

    /// Counts a check for a transport.
    fn take_check(&mut self, ufrag: &str) -> bool {
        let count = self.counts.entry(Origin::Checks(ufrag.into())).or_default();
        *count += 1;
        *count <= MAX_CHECKS
    }

    fn put_back(&mut self) {
        if let Some((client, count)) = self.last.take() {
            self.counts.insert(Origin::Client(client), count);
        }
    }
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, stop: OwnedFd) -> Self {
        let batches = shared.mailboxes.iter().map(|_| Batch::default()).collect();
        Self { shared, stop, batches, tallies: Tallies::default() }
    }

    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let thread = shared.cpu.len() - 1;
        let mut reading = Reading::new();
        let mut cpu_at = Instant::now();
        loop {
            match shared.socket.wait_readable(&self.stop) {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "waiting for datagrams failed");
                    std::thread::sleep(Duration::from_millis(100));
                    continue;
                }
            }
            let more = self.read(&mut reading);
            let now = Instant::now();
            if now >= cpu_at {
                cpu_at = now + CPU_INTERVAL;
                shared.record_cpu(thread);
            }
            // With much still waiting a pause would only make the system drop it, whoever it is from.
            if !more {
                std::thread::sleep(TICK);
            }
        }
        shared.record_cpu(thread);
    }

    /// Reads what came, up to a bound, and hands it on. True when more waits.
    fn read(&mut self, reading: &mut Reading) -> bool {
        let shared = Arc::clone(&self.shared);
        let (mut packets, mut bytes) = (0, 0);
        let mut readings = 0;
        self.tallies.clear();
        let more = loop {
            let read = shared.socket.receive(reading, |source, destination, contents| {
                packets += 1;
                bytes += contents.len() as u64;
                match self.sort(source, contents) {
                    Ok(Owners { first, second: None }) => {
                        self.batches[first].push(source, destination, false, contents);
                    }
                    Ok(Owners { first, second: Some(second) }) => {
                        self.batches[first].push(source, destination, true, contents);
                        self.batches[second].push(source, destination, true, contents);
                    }
                    Err(why) => shared.counters.count_dropped(why, 1),
                }
            });
            readings += 1;
            match read {
                Ok(Read::Nothing) => break false,
                Ok(_) if packets < MAX_DATAGRAMS && readings < MAX_READINGS => {}
                Ok(read) => break read == Read::All,
                Err(error) => {
                    // An earlier datagram of ours was refused by its receiver's machine; nothing is wrong here.
                    tracing::debug!(%error, "reading failed");
                    break false;
                }
            }
        };
        shared.counters.packets_received.fetch_add(packets, Relaxed);
        shared.counters.bytes_received.fetch_add(bytes, Relaxed);
        for (mailbox, batch) in shared.mailboxes.iter().zip(&mut self.batches) {
            if !batch.datagrams.is_empty() {
                let dropped = mailbox.push_batch(batch) as u64;
                if dropped > 0 {
                    shared.counters.count_dropped(Drop::QueueFull, dropped);
                }
            }
        }
        more
    }

    /// The shards a datagram is for.
    fn sort(&mut self, source: SocketAddr, contents: &[u8]) -> Result<Owners, Drop> {
        if contents.len() > MAX_DATAGRAM {
            return Err(Drop::Oversize);
        }
        let routes = &self.shared.routes;
        let named = stun::local_ufrag(contents).and_then(|ufrag| Some((ufrag, routes.find(ufrag)?)));
        let (owners, taken) = match named {
            Some((ufrag, first)) => (Owners { first, second: None }, self.tallies.take_check(ufrag)),
            None => {
                let owners = routes.find_address(source).ok_or(Drop::Stranger)?;
                (owners, self.tallies.take(source))
            }
        };
        taken.then_some(owners).ok_or(Drop::Flood)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_uses_up_its_own_share_alone() {
        let [loud, quiet] = [1, 2].map(|host| SocketAddr::from(([192, 0, 2, host], 5000)));
        let mut tallies = Tallies::default();
        let mut passed = 0;
        for n in 0..5000 {
            passed += u32::from(tallies.take(loud));
            if n % 10 == 0 {
                assert!(tallies.take(quiet) && tallies.take_check("quiet") == (n < 320), "{n}");
            }
        }
        assert_eq!(passed, MAX_FROM_CLIENT);
        tallies.clear();
        assert!(tallies.take(loud) && tallies.take_check("quiet"));
    }
}
