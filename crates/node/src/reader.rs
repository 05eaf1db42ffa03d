//! The thread that reads the UDP sockets.
//!
//! It reads on a tick and not per wake-up: while packets flow, everything that came within a tick is handed on
//! together, which costs far less than a wake-up per packet and lets shards write whole bursts.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtcloud_sfu::Remote;

use crate::shared::Shared;
use crate::socket::{Read, Reading, Socket};
use crate::sorter::{MAX_DATAGRAMS, Sorter, TICK};

/// Readings handed on at once at most, so that a flood does not delay what came before it.
const MAX_READINGS: usize = 16;
const CPU_INTERVAL: Duration = Duration::from_millis(200);

pub(crate) struct Reader {
    shared: Arc<Shared>,
    /// Readable when the node stops.
    stop: OwnedFd,
    sorter: Sorter,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, stop: OwnedFd) -> Self {
        let sorter = Sorter::new(Arc::clone(&shared));
        Self { shared, stop, sorter }
    }

    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let thread = shared.reader_thread();
        let mut reading = Reading::new();
        let mut cpu_at = Instant::now();
        loop {
            match shared.network.wait_readable(&self.stop) {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "waiting for datagrams failed");
                    std::thread::sleep(Duration::from_millis(100));
                    continue;
                }
            }
            let mut more = false;
            for socket in shared.network.sockets() {
                more |= self.read(socket, &mut reading);
            }
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
    fn read(&mut self, socket: &Socket, reading: &mut Reading) -> bool {
        let mut readings = 0;
        let sorter = &mut self.sorter;
        let more = loop {
            let read = socket.receive(reading, |source, destination, contents| {
                sorter.take(Remote::udp(source), destination, contents);
            });
            readings += 1;
            match read {
                Ok(Read::Nothing) => break false,
                Ok(_) if sorter.packets < MAX_DATAGRAMS && readings < MAX_READINGS => {}
                Ok(read) => break read == Read::All,
                Err(error) => {
                    // An earlier datagram of ours was refused by its receiver's machine; nothing is wrong here.
                    tracing::debug!(%error, "reading failed");
                    break false;
                }
            }
        };
        sorter.hand_on();
        more
    }
}
