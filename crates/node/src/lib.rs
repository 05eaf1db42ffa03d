//! The media node: one UDP socket, shard threads and timers around the forwarding core.
//!
//! Commands go in and never wait: the queue is bounded and refuses at once when it is full. Events come out through
//! one queue that an eventfd announces. Each room is driven by one shard; which one follows from its name.

mod events;
mod logs;
mod mailbox;
mod protocol;
mod reader;
mod shard;
mod shared;
mod socket;
mod stun;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;

use rtcloud_sfu::{Command, Event, RoomId, TransportConfig};
use rustix::event::{EventfdFlags, eventfd};
use thiserror::Error;

pub use logs::{Record, collect as collect_logs, drain as drain_logs};
pub use protocol::{InRoom, NodeConfig, NodeStatus, ProtocolError, decode, encode, samples};

use crate::events::EventQueue;
use crate::mailbox::Mailbox;
use crate::reader::Reader;
use crate::shard::Shard;
use crate::shared::{Counters, Routes, Shared};
use crate::socket::Socket;

const MAX_SHARDS: usize = 256;

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
    /// Binds the socket and starts the threads.
    pub fn start(config: &NodeConfig) -> Result<Self, StartError> {
        let invalid = |what: String| StartError::Config(what);
        let listen: SocketAddr = config
            .listen
            .parse()
            .map_err(|_| invalid(format!("listen: {:?} is not an address with port", config.listen)))?;
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
        let socket = Socket::bind(listen, addresses.len() > 1)?;
        let port = socket.local_addr()?.port();
        let candidates: Vec<SocketAddr> = addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
        let certificate = rtcloud_sfu::generate_certificate()
            .ok_or_else(|| std::io::Error::other("no DTLS certificate could be made"))?;
        let transport = Arc::new(TransportConfig {
            candidates: candidates.clone(),
            certificate,
            video_codecs: config.video_codecs.clone(),
        });

        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shards = match config.shards {
            0 => cores.saturating_sub(1).max(1),
            given => given,
        };
        let shards = shards.min(MAX_SHARDS);
        let shared = Arc::new(Shared {
            socket,
            candidates,
            mailboxes: (0..shards).map(|_| Mailbox::default()).collect(),
            events: EventQueue::new()?,
            routes: Routes::default(),
            queued: Default::default(),
            counters: Counters::default(),
            cpu: (0..=shards).map(|_| AtomicU64::new(0)).collect(),
        });
        let stop =
            eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).map_err(std::io::Error::from)?;
        let mut node = Self { shared, stop, queue_size: config.queue_size, threads: Vec::new() };
        node.spawn(transport)?;
        Ok(node)
    }

    fn spawn(&mut self, transport: Arc<TransportConfig>) -> std::io::Result<()> {
        for index in 0..self.shared.mailboxes.len() {
            let shard = Shard::new(index, Arc::clone(&self.shared), Arc::clone(&transport));
            let builder = std::thread::Builder::new().name(format!("rtcloud-shard-{index}"));
            self.threads.push(builder.spawn(move || shard.run())?);
        }
        let reader = Reader::new(Arc::clone(&self.shared), self.stop.as_fd().try_clone_to_owned()?);
        let builder = std::thread::Builder::new().name("rtcloud-reader".to_owned());
        self.threads.push(builder.spawn(move || reader.run())?);
        Ok(())
    }

    /// The address the socket is bound to.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.shared.socket.local_addr()
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
        if let [mailbox] = self.shared.mailboxes.as_slice() {
            mailbox.push_commands(commands);
            return true;
        }
        let mut sorted: Vec<Vec<InRoom<Command>>> = (0..shards).map(|_| Vec::new()).collect();
        for command in commands {
            sorted[shard_of(&command.room, shards)].push(command);
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

fn shard_of(room: &RoomId, shards: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    room.hash(&mut hasher);
    (hasher.finish() % shards as u64) as usize
}
