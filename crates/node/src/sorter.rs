//! Sorts what came to shards, whichever way it came.
//!
//! Only what is for a transport of ours goes on: an ICE check that names one, or what comes from an address that has
//! proved itself, and of each no more in a tick than a client sends. A flood ends here, before any queue.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rtcloud_sfu::Remote;

use crate::framing::MAX_DATAGRAM;
use crate::mailbox::Batch;
use crate::shared::{Drop, Owners, Shared};
use crate::stun;

/// What came within this is handed on together.
pub(crate) const TICK: Duration = Duration::from_micros(1500);
/// Datagrams handed on at once at most: a shard that keeps up always has room for them.
pub(crate) const MAX_DATAGRAMS: u64 = 4096;
/// Datagrams of one client in a tick. Clients send a few; what came while this thread did not run is more.
const MAX_FROM_CLIENT: u32 = 512;
/// Checks for one transport in a tick, from whatever addresses: each costs a signature.
const MAX_CHECKS: u32 = 32;

/// Who a datagram is from, as far as it can be known here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Origin {
    Client(Remote),
    Checks(Box<str>),
}

/// How much came in this tick, by origin.
#[derive(Debug, Default)]
struct Tallies {
    counts: HashMap<Origin, u32>,
    /// The client whose datagrams came last and how many: they come in runs.
    last: Option<(Remote, u32)>,
}

impl Tallies {
    fn clear(&mut self) {
        self.counts.clear();
        self.last = None;
    }

    /// Counts a datagram of a client's. False when there were too many.
    fn take(&mut self, client: Remote) -> bool {
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

/// What one thread has taken in a tick.
pub(crate) struct Sorter {
    shared: Arc<Shared>,
    batches: Vec<Batch>,
    tallies: Tallies,
    pub(crate) packets: u64,
    bytes: u64,
}

impl Sorter {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let batches = shared.mailboxes.iter().map(|_| Batch::default()).collect();
        Self { shared, batches, tallies: Tallies::default(), packets: 0, bytes: 0 }
    }

    /// Takes a datagram.
    pub(crate) fn take(&mut self, source: Remote, destination: Option<IpAddr>, contents: &[u8]) {
        self.packets += 1;
        self.bytes += contents.len() as u64;
        match self.sort(source, contents) {
            Ok(Owners { first, second: None }) => {
                self.batches[first].push(source, destination, false, contents);
            }
            Ok(Owners { first, second: Some(second) }) => {
                self.batches[first].push(source, destination, true, contents);
                self.batches[second].push(source, destination, true, contents);
            }
            Err(why) => self.shared.counters.count_dropped(why, 1),
        }
    }

    /// Gives the shards what was taken; a tick ends.
    pub(crate) fn hand_on(&mut self) {
        let counters = &self.shared.counters;
        counters.packets_received.fetch_add(std::mem::take(&mut self.packets), Relaxed);
        counters.bytes_received.fetch_add(std::mem::take(&mut self.bytes), Relaxed);
        for (mailbox, batch) in self.shared.mailboxes.iter().zip(&mut self.batches) {
            if !batch.datagrams.is_empty() {
                let dropped = mailbox.push_batch(batch) as u64;
                if dropped > 0 {
                    counters.count_dropped(Drop::QueueFull, dropped);
                }
            }
        }
        self.tallies.clear();
    }

    /// The shards a datagram is for.
    fn sort(&mut self, source: Remote, contents: &[u8]) -> Result<Owners, Drop> {
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
        let [loud, quiet] = [1, 2].map(|host| Remote::udp(([192, 0, 2, host], 5000).into()));
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
