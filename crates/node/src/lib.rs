//! The media node: sockets, shard threads and timers around the forwarding core.
//!
//! Commands go in and never wait: the queue is bounded and refuses at once when it is full. Events come out through
//! one queue that an eventfd announces. Each room is driven by one shard: the one with the least to do when it began.

#![forbid(unsafe_code)]

mod acceptor;
mod batch;
mod connections;
mod events;
mod framing;
mod logs;
mod mailbox;
mod meter;
mod network;
mod places;
mod protocol;
mod reader;
mod rooms;
mod shard;
mod shared;
mod socket;
mod sorter;
mod stun;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rtcloud_sfu::{Command, EgressOptions, Event, RoomId, TransportConfig};
use rustix::event::{EventfdFlags, eventfd};
use thiserror::Error;

pub use logs::{Record, collect as collect_logs, drain as drain_logs};
pub use protocol::{InRoom, NodeConfig, NodeStatus, ProtocolError, ShardStatus, decode, encode, samples};
pub use shared::Overload;

use crate::acceptor::Acceptor;
use crate::events::EventQueue;
use crate::mailbox::Mailbox;
use crate::network::{Bound, Network};
use crate::reader::Reader;
use crate::rooms::Rooms;
use crate::shard::{Limits, Shard};
use crate::shared::{Counters, Routes, ShardLoad, Shared};

/// Video held longer than this is no call any more.
const MAX_HOLD_MS: u64 = 100;
const MAX_SHARDS: usize = 256;
/// Addresses listened on.
const MAX_LISTEN: usize = 16;

/// Why a node could not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// A value of the configuration is not usable.
    #[error("{0}")]
    Config(String),
    /// The system refused: address in use, no permission…
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    shared: Arc<Shared>,
    stop: OwnedFd,
    queue_size: usize,
    threads: Vec<JoinHandle<()>>,
}

impl Node {
    /// Binds the sockets and starts the threads.
    pub fn start(config: &NodeConfig) -> Result<Self, StartError> {
        let invalid = |what: String| StartError::Config(what);
        let mut listen = Vec::new();
        for text in config.listen.split(',').map(str::trim) {
            let address: SocketAddr =
                text.parse().map_err(|_| invalid(format!("listen: {text:?} is not an address with port")))?;
            listen.push(address);
        }
        if listen.len() > MAX_LISTEN {
            return Err(invalid(format!("listen: more than {MAX_LISTEN} addresses")));
        }
        let mut addresses = Vec::new();
        for text in &config.advertise {
            let ip: IpAddr =
                text.parse().map_err(|_| invalid(format!("advertise: {text:?} is not an IP address")))?;
            addresses.push(ip);
        }
        if addresses.is_empty() {
            return Err(invalid("advertise: at least one address is needed".to_owned()));
        }
        if config.queue_size == 0 {
            return Err(invalid("queue_size: must be at least 1".to_owned()));
        }
        if !(0.0..=1000.0).contains(&config.cpu_limit) {
            return Err(invalid("cpu_limit: is no share of a core".to_owned()));
        }
        let limits = Limits { cpu: (config.cpu_limit * 1e6) as u64, bitrate: config.bitrate_limit };
        let Bound { network, listeners } = Network::bind(&listen, &addresses, config.tcp, config.egress_gso)?;
        let certificate = rtcloud_sfu::generate_certificate()
            .ok_or_else(|| std::io::Error::other("no DTLS certificate could be made"))?;
        let transport = Arc::new(TransportConfig {
            candidates: network.candidates(),
            tcp_candidates: if config.tcp { network.candidates() } else { Vec::new() },
            certificate,
            video_codecs: config.video_codecs.clone(),
            egress: EgressOptions {
                padding: config.egress_padding,
                hold: Duration::from_millis(config.egress_hold_ms.min(MAX_HOLD_MS)),
                origin: Instant::now(),
                unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            },
        });

        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shards = match config.shards {
            0 => cores.saturating_sub(1).max(1),
            given => given,
        };
        let shards = shards.min(MAX_SHARDS);
        let shared = Arc::new(Shared {
            network,
            mailboxes: (0..shards).map(|_| Mailbox::default()).collect(),
            events: EventQueue::new()?,
            routes: Routes::default(),
            rooms: Rooms::new(shards),
            loads: (0..shards).map(|_| ShardLoad::default()).collect(),
            bitrate: AtomicU64::new(0),
            bitrate_over: AtomicBool::new(false),
            queued: Default::default(),
            counters: Counters::default(),
            cpu: (0..shards + 2).map(|_| AtomicU64::new(0)).collect(),
        });
        let stop =
            eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).map_err(std::io::Error::from)?;
        let mut node = Self { shared, stop, queue_size: config.queue_size, threads: Vec::new() };
        node.spawn(transport, limits, listeners)?;
        Ok(node)
    }

    fn spawn(
        &mut self,
        transport: Arc<TransportConfig>,
        limits: Limits,
        listeners: Vec<TcpListener>,
    ) -> std::io::Result<()> {
        for index in 0..self.shared.mailboxes.len() {
            let shard = Shard::new(index, Arc::clone(&self.shared), Arc::clone(&transport), limits);
            let builder = std::thread::Builder::new().name(format!("rtcloud-shard-{index}"));
            self.threads.push(builder.spawn(move || shard.run())?);
        }
        let reader = Reader::new(Arc::clone(&self.shared), self.stop.as_fd().try_clone_to_owned()?);
        let builder = std::thread::Builder::new().name("rtcloud-reader".to_owned());
        self.threads.push(builder.spawn(move || reader.run())?);
        if !listeners.is_empty() {
            let stop = self.stop.as_fd().try_clone_to_owned()?;
            let acceptor = Acceptor::new(Arc::clone(&self.shared), listeners, stop);
            let builder = std::thread::Builder::new().name("rtcloud-acceptor".to_owned());
            self.threads.push(builder.spawn(move || acceptor.run())?);
        }
        Ok(())
    }

    /// The first address that is listened on.
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.network.local_addr()
    }

    /// Why nobody else may enter a room; None when they may.
    pub fn overload(&self, room: &RoomId) -> Option<Overload> {
        self.shared.overload(room)
    }

    /// Queues commands, all or none. False when they do not fit.
    pub fn send(&self, commands: Vec<InRoom<Command>>) -> bool {
        let count = commands.len();
        let reserve = |queued: usize| (queued + count <= self.queue_size).then_some(queued + count);
        if self.shared.queued.fetch_update(Relaxed, Relaxed, reserve).is_err() {
            self.shared.counters.commands_refused.fetch_add(count as u64, Relaxed);
            return false;
        }
        let shards = self.shared.mailboxes.len();
        let mut sorted: Vec<Vec<InRoom<Command>>> = (0..shards).map(|_| Vec::new()).collect();
        for command in commands {
            let begins = matches!(command.body, Command::AddParticipant { .. });
            let choose = |rooms: &[u64]| self.shared.choose_shard(rooms);
            match self.shared.rooms.assign(&command.room, begins, choose) {
                Some(shard) => sorted[shard].push(command),
                // It is about a room that has gone.
                None => {
                    self.shared.queued.fetch_sub(1, Relaxed);
                }
            }
        }
        for (mailbox, commands) in self.shared.mailboxes.iter().zip(sorted) {
            if !commands.is_empty() {
                mailbox.push_commands(commands);
            }
        }
        true
    }

    /// At most `max` events.
    pub fn drain(&self, max: usize) -> Vec<InRoom<Event>> {
        self.shared.events.drain(max)
    }

    /// An eventfd that is readable while events wait.
    pub fn event_fd(&self) -> RawFd {
        self.shared.events.fd()
    }

    /// Counters since the start.
    pub fn status(&self) -> NodeStatus {
        self.shared.status()
    }

    /// Closes all rooms, stops the threads and waits for them.
    pub fn close(&mut self) {
        for mailbox in &self.shared.mailboxes {
            mailbox.stop();
        }
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.close();
    }
}

/// Entry points for fuzzing of parsers that are not public otherwise.
#[doc(hidden)]
pub mod fuzzing {
    use crate::framing::Deframer;
    use crate::stun;

    /// The name in an ICE check.
    pub fn local_ufrag(datagram: &[u8]) -> Option<&str> {
        stun::local_ufrag(datagram)
    }

    /// Takes a stream apart that comes in pieces. False if it ended in what is too long.
    pub fn deframe(pieces: &[&[u8]], each: &mut dyn FnMut(&[u8])) -> bool {
        let mut deframer = Deframer::default();
        pieces.iter().all(|piece| deframer.push(piece, &mut *each).is_ok())
    }
}
