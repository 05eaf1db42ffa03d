//! The thread that reads the socket and sorts datagrams to shards.
//!
//! It reads on a tick and not per wake-up: while packets flow, everything that came within a tick is handed on
//! together, which costs far less than a wake-up per packet and lets shards write whole bursts.
//!
//! Only what is for a transport of ours goes on: an ICE check that names one, or what comes from an address that has
//! proved itself. A stranger's flood ends here, before any queue.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::mailbox::Batch;
use crate::shared::Shared;
use crate::socket::Reading;
use crate::stun;

const TICK: Duration = Duration::from_micros(1500);
/// Readings handed on at once at most, so that a flood does not delay what came before it.
const MAX_READINGS: usize = 16;
/// No client of ours sends more in one datagram; what waits for a shard is bounded by this and by its number.
const MAX_DATAGRAM: usize = 2048;
/// Datagrams handed on at once at most: a shard that keeps up always has room for them.
const MAX_DATAGRAMS: u64 = 4096;
const CPU_INTERVAL: Duration = Duration::from_millis(200);

pub(crate) struct Reader {
    shared: Arc<Shared>,
    /// Readable when the node stops.
    stop: OwnedFd,
    batches: Vec<Batch>,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, stop: OwnedFd) -> Self {
        let batches = shared.mailboxes.iter().map(|_| Batch::default()).collect();
        Self { shared, stop, batches }
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
            self.read(&mut reading);
            let now = Instant::now();
            if now >= cpu_at {
                cpu_at = now + CPU_INTERVAL;
                shared.record_cpu(thread);
            }
            std::thread::sleep(TICK);
        }
        shared.record_cpu(thread);
    }

    fn read(&mut self, reading: &mut Reading) {
        let shared = Arc::clone(&self.shared);
        let (mut packets, mut bytes) = (0, 0);
        for _ in 0..MAX_READINGS {
            let more = shared.socket.receive(reading, |source, destination, contents| {
                packets += 1;
                bytes += contents.len() as u64;
                match self.find_shard(source, contents) {
                    Some(shard) => self.batches[shard].push(source, destination, contents),
                    None => {
                        shared.counters.packets_dropped.fetch_add(1, Relaxed);
                    }
                }
            });
            match more {
                Ok(true) if packets < MAX_DATAGRAMS => {}
                Ok(_) => break,
                Err(error) => {
                    // An earlier datagram of ours was refused by its receiver's machine; nothing is wrong here.
                    tracing::debug!(%error, "reading failed");
                    break;
                }
            }
        }
        shared.counters.packets_received.fetch_add(packets, Relaxed);
        shared.counters.bytes_received.fetch_add(bytes, Relaxed);
        for (mailbox, batch) in shared.mailboxes.iter().zip(&mut self.batches) {
            if !batch.datagrams.is_empty() {
                let dropped = mailbox.push_batch(batch) as u64;
                if dropped > 0 {
                    shared.counters.packets_dropped.fetch_add(dropped, Relaxed);
                }
            }
        }
    }

    fn find_shard(&self, source: SocketAddr, contents: &[u8]) -> Option<usize> {
        if contents.len() > MAX_DATAGRAM {
            return None;
        }
        let routes = &self.shared.routes;
        let named = stun::local_ufrag(contents).and_then(|ufrag| routes.find(ufrag));
        named.or_else(|| routes.find_address(source))
    }
}
