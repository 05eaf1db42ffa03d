//! The thread that takes connections (ICE over TCP, RFC 6544) and reads them.
//!
//! Whoever connects is nobody until an ICE check from there has proved itself, which must be soon; of such there are few,
//! and few from one address. A connection is closed when what comes is no datagram, when nothing comes, when nothing of
//! what waits can be written, and when the transport that it was for has gone.

use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rtcloud_sfu::Remote;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use socket2::SockRef;

use crate::connections::{Connection, Connections};
use crate::framing::Deframer;
use crate::shared::{Ending, Shared};
use crate::socket::canonical;
use crate::sorter::{MAX_DATAGRAMS, Sorter, TICK};

const MAX_CONNECTIONS: usize = 4096;
/// Of those, the ones that have not proved themselves: of all, and of one address.
const MAX_UNPROVEN: usize = 512;
const MAX_FROM_ADDRESS: usize = 32;
/// How long a connection may lead to no transport.
const UNPROVEN_FOR: Duration = Duration::from_secs(5);
/// Clients check their consent every few seconds.
const SILENT_FOR: Duration = Duration::from_secs(30);
const STUCK_FOR: Duration = Duration::from_secs(10);
const SWEEP: Duration = Duration::from_millis(500);
/// Bytes the system keeps for a connection, each way.
const SYSTEM_BUFFER: usize = 256 * 1024;
/// Bytes read of a connection in one turn: were they all lengths of nothing, the others would still have their turn.
const READING: usize = 16 * 1024;
const MAX_EVENTS: usize = 256;

/// Tokens below belong to listeners and the end of the node.
const FIRST_TOKEN: u64 = 1 << 32;
const STOP: u64 = FIRST_TOKEN - 1;

struct Live {
    connection: Arc<Connection>,
    local: IpAddr,
    deframer: Deframer,
    heard: Instant,
    /// Since when it leads to no transport.
    unproven: Option<Instant>,
}

pub(crate) struct Acceptor {
    shared: Arc<Shared>,
    listeners: Vec<TcpListener>,
    stop: OwnedFd,
    live: HashMap<u64, Live>,
    next_token: u64,
    sorter: Sorter,
    sweep_at: Instant,
    turns: usize,
}

impl Acceptor {
    pub(crate) fn new(shared: Arc<Shared>, listeners: Vec<TcpListener>, stop: OwnedFd) -> Self {
        let sorter = Sorter::new(Arc::clone(&shared));
        let (live, next_token, sweep_at) = (HashMap::new(), FIRST_TOKEN, Instant::now());
        Self { shared, listeners, stop, live, next_token, sorter, sweep_at, turns: 0 }
    }

    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let Some(connections) = &shared.network.connections else { return };
        if let Err(error) = self.watch(connections) {
            tracing::error!(%error, "connections cannot be taken");
            return;
        }
        let thread = shared.acceptor_thread();
        let mut events = Vec::with_capacity(MAX_EVENTS);
        let mut buffer = vec![0; READING];
        loop {
            let wait = Timespec { tv_sec: 0, tv_nsec: SWEEP.subsec_nanos().into() };
            match epoll::wait(&connections.epoll, spare_capacity(&mut events), Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::warn!(%error, "waiting for connections failed");
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
            let now = Instant::now();
            let mut stop = false;
            // A tick takes only so much. Somebody else is first each time, lest the loudest always be.
            self.turns = self.turns.wrapping_add(1);
            let first = self.turns % events.len().max(1);
            events.rotate_left(first);
            for event in events.drain(..) {
                let token = event.data.u64();
                match token {
                    STOP => stop = true,
                    0..FIRST_TOKEN => self.accept(token as usize, connections, now),
                    _ => self.serve(token, event.flags, &mut buffer, connections, now),
                }
            }
            self.sorter.hand_on();
            if stop {
                break;
            }
            if now >= self.sweep_at {
                self.sweep_at = now + SWEEP;
                self.sweep(connections, now);
                shared.record_cpu(thread);
            }
            std::thread::sleep(TICK);
        }
        shared.record_cpu(thread);
    }

    fn watch(&self, connections: &Connections) -> rustix::io::Result<()> {
        for (index, listener) in self.listeners.iter().enumerate() {
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&connections.epoll, listener, data, epoll::EventFlags::IN)?;
        }
        epoll::add(&connections.epoll, &self.stop, epoll::EventData::new_u64(STOP), epoll::EventFlags::IN)
    }

    fn accept(&mut self, listener: usize, connections: &Connections, now: Instant) {
        for _ in 0..MAX_FROM_ADDRESS {
            let Some(Ok((stream, remote))) = self.listeners.get(listener).map(TcpListener::accept) else {
                return;
            };
            let remote = canonical(remote);
            let (unproven, same) = self.unproven(remote.ip());
            let full =
                self.live.len() >= MAX_CONNECTIONS || unproven >= MAX_UNPROVEN || same >= MAX_FROM_ADDRESS;
            if full {
                self.shared.counters.count_ended(Ending::Full);
                continue;
            }
            let Some(local) = prepare(&stream) else { continue };
            let token = self.next_token;
            self.next_token += 1;
            let connection = Arc::new(Connection::new(stream, remote, token));
            if connections.add(&connection) {
                let (deframer, heard, unproven) = (Deframer::default(), now, Some(now));
                self.live.insert(token, Live { connection, local, deframer, heard, unproven });
                self.shared.counters.connections.store(self.live.len() as u64, Relaxed);
            }
        }
    }

    /// How many have not proved themselves: of all, and of those from one address.
    fn unproven(&self, from: IpAddr) -> (usize, usize) {
        let unproven = self.live.values().filter(|live| live.unproven.is_some());
        unproven.fold((0, 0), |(all, same), live| {
            (all + 1, same + usize::from(live.connection.remote.ip() == from))
        })
    }

    fn serve(
        &mut self,
        token: u64,
        flags: epoll::EventFlags,
        buffer: &mut [u8],
        connections: &Connections,
        now: Instant,
    ) {
        let Some(live) = self.live.get_mut(&token) else { return };
        if flags.contains(epoll::EventFlags::OUT) {
            live.connection.resume(&connections.epoll, now);
        }
        // The rest is read in the next turn, after what others sent.
        if self.sorter.packets >= MAX_DATAGRAMS || flags == epoll::EventFlags::OUT {
            return;
        }
        let ending = match (&live.connection.stream).read(buffer) {
            Ok(0) => Some(None),
            Ok(count) => {
                live.heard = now;
                let (sorter, source, local) =
                    (&mut self.sorter, Remote::tcp(live.connection.remote), Some(live.local));
                let read =
                    live.deframer.push(&buffer[..count], |contents| sorter.take(source, local, contents));
                read.err().map(|_| Some(Ending::Malformed))
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => None,
            Err(_) => Some(None),
        };
        if let Some(ending) = ending {
            self.end(token, ending, connections);
        }
    }

    fn sweep(&mut self, connections: &Connections, now: Instant) {
        let mut ended = Vec::new();
        let past = |since: Instant, limit: Duration| now.saturating_duration_since(since) > limit;
        for (token, live) in &mut self.live {
            let leads = self.shared.routes.find_address(Remote::tcp(live.connection.remote)).is_some();
            live.unproven = if leads { None } else { live.unproven.or(Some(now)) };
            if live.unproven.is_some_and(|since| past(since, UNPROVEN_FOR)) {
                ended.push((*token, Ending::Unproven));
            } else if past(live.heard, SILENT_FOR) {
                ended.push((*token, Ending::Silent));
            } else if live.connection.stuck().is_some_and(|since| past(since, STUCK_FOR)) {
                ended.push((*token, Ending::Slow));
            }
        }
        for (token, ending) in ended {
            self.end(token, Some(ending), connections);
        }
    }

    fn end(&mut self, token: u64, ending: Option<Ending>, connections: &Connections) {
        let Some(live) = self.live.remove(&token) else { return };
        // Counted first: whoever sees the end of a connection finds it in the figures.
        if let Some(ending) = ending {
            self.shared.counters.count_ended(ending);
        }
        self.shared.counters.connections.store(self.live.len() as u64, Relaxed);
        connections.remove(&live.connection);
    }
}

/// Makes a stream one that never waits, and gives the address of ours that it came to.
fn prepare(stream: &TcpStream) -> Option<IpAddr> {
    stream.set_nonblocking(true).ok()?;
    stream.set_nodelay(true).ok()?;
    let socket = SockRef::from(stream);
    let _ = socket.set_send_buffer_size(SYSTEM_BUFFER);
    let _ = socket.set_recv_buffer_size(SYSTEM_BUFFER);
    Some(canonical(stream.local_addr().ok()?).ip())
}
