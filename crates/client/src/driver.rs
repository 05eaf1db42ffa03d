//! The thread that owns the sockets and timers of every peer of the process.
//!
//! It sleeps in one epoll until an order, a datagram or a timer. Orders are bounded; a step of a peer that panics or
//! fails ends that peer alone. A forked child that makes a peer gets a thread of its own.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

use crate::connection::Connection;
use crate::error::PeerError;
use crate::inbox::Inbox;
use crate::order::{Now, Order, Output};
use crate::protocol::{PeerEvent, TransportState};
use crate::socket::{ReadBuffer, Socket};

const MAX_ORDERS: usize = 65_536;
const MAX_SOCKETS: usize = 4;
const WAKE: u64 = u64::MAX;

/// What the owner's side may know without asking the thread.
#[derive(Debug, Default)]
pub(crate) struct Status {
    pub(crate) connected: AtomicBool,
    pub(crate) open: AtomicBool,
    /// Bytes of frames that wait in the order queue.
    pub(crate) media: AtomicUsize,
    /// Bytes of data that wait in the order queue and in the connection.
    pub(crate) data: AtomicUsize,
    pub(crate) backlog: AtomicUsize,
}

/// One peer as handed to the thread.
pub(crate) struct Member {
    pub(crate) connection: Connection,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) status: Arc<Status>,
}

enum Message {
    Add(Box<Member>),
    Order(Order),
}

/// The queue into the thread.
pub(crate) struct Driver {
    orders: Mutex<VecDeque<(u64, Message)>>,
    awake: AtomicBool,
    wake: OwnedFd,
    process: u32,
    next: AtomicUsize,
}

static DRIVER: Mutex<Option<Arc<Driver>>> = Mutex::new(None);

/// Both clocks of the machine, now.
pub(crate) fn now() -> Now {
    let unix = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
    Now::read(Instant::now, unix)
}

impl Driver {
    /// The one of this process, started if need be.
    pub(crate) fn shared() -> Result<Arc<Self>, PeerError> {
        let mut slot = DRIVER.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(driver) = slot.as_ref().filter(|driver| driver.process == std::process::id()) {
            return Ok(driver.clone());
        }
        let driver = Arc::new(Self {
            orders: Mutex::default(),
            awake: AtomicBool::new(false),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(std::io::Error::from)?,
            process: std::process::id(),
            next: AtomicUsize::new(1),
        });
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(std::io::Error::from)?;
        epoll::add(&epoll, &driver.wake, EventData::new_u64(WAKE), EventFlags::IN)
            .map_err(std::io::Error::from)?;
        let thread = Thread {
            driver: driver.clone(),
            epoll,
            peers: HashMap::new(),
            timers: BTreeSet::new(),
            outbox: Outbox::default(),
        };
        std::thread::Builder::new().name("rtcloud-client".into()).spawn(move || thread.run())?;
        *slot = Some(driver.clone());
        Ok(driver)
    }

    pub(crate) fn add(&self, member: Member) -> Result<u64, PeerError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed) as u64;
        self.push(id, Message::Add(Box::new(member)))?;
        Ok(id)
    }

    pub(crate) fn order(&self, id: u64, order: Order) -> Result<(), PeerError> {
        self.push(id, Message::Order(order))
    }

    fn push(&self, id: u64, message: Message) -> Result<(), PeerError> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        // An end must always get through: there is one per peer.
        if orders.len() >= MAX_ORDERS && !matches!(message, Message::Order(Order::Close)) {
            return Err(PeerError::QueueFull);
        }
        orders.push_back((id, message));
        drop(orders);
        if !self.awake.swap(true, Ordering::AcqRel) {
            // Only a full counter can refuse this, and then the thread is awake.
            let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        }
        Ok(())
    }

    fn take(&self) -> VecDeque<(u64, Message)> {
        let _ = rustix::io::read(&self.wake, &mut [0u8; 8]);
        self.awake.store(false, Ordering::Release);
        std::mem::take(&mut *self.orders.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Entry {
    member: Member,
    sockets: Vec<Socket>,
    deadline: Option<Instant>,
}

struct Thread {
    driver: Arc<Driver>,
    epoll: OwnedFd,
    peers: HashMap<u64, Entry>,
    timers: BTreeSet<(Instant, u64)>,
    outbox: Outbox,
}

impl Thread {
    fn run(mut self) {
        let mut buffer = ReadBuffer::default();
        let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
        loop {
            events.clear();
            let timeout = self.timers.first().map(|(at, _)| timespec(*at));
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "waiting for the network failed");
                    return;
                }
            }
            for event in &events {
                let key = event.data.u64();
                if key == WAKE {
                    self.carry_out();
                } else {
                    self.step(key >> 3, |entry, outbox| {
                        entry.receive((key & 7) as usize, &mut buffer, outbox)
                    });
                }
            }
            self.fire();
        }
    }

    fn carry_out(&mut self) {
        let mut touched = Vec::new();
        for (id, message) in self.driver.take() {
            match message {
                Message::Add(member) => {
                    self.peers.insert(id, Entry { member: *member, sockets: Vec::new(), deadline: None });
                }
                Message::Order(Order::Close) => {
                    self.step(id, |entry, outbox| {
                        let now = now();
                        entry.member.connection.handle_order(Order::Close, now)?;
                        entry.member.connection.handle_timeout(now)?;
                        entry.drain(outbox).map(|_| ())
                    });
                    self.remove(id);
                }
                Message::Order(order) => {
                    let Some(entry) = self.peers.get_mut(&id) else { continue };
                    entry.account(&order);
                    let connection = &mut entry.member.connection;
                    match catch_unwind(AssertUnwindSafe(|| connection.handle_order(order, now()))) {
                        Ok(Ok(())) if touched.last() == Some(&id) => {}
                        Ok(Ok(())) => touched.push(id),
                        Ok(Err(error)) => tracing::warn!(%error, "an order to a peer was refused"),
                        Err(_) => {
                            self.fail(id, "a panic was caught".into());
                        }
                    }
                }
            }
        }
        touched.sort_unstable();
        touched.dedup();
        for id in touched {
            self.step(id, |entry, outbox| {
                // A whole burst was written; one step of time sends it.
                entry.member.connection.handle_timeout(now())?;
                entry.drain(outbox).map(|_| ())
            });
        }
    }

    fn fire(&mut self) {
        let now_instant = Instant::now();
        while let Some(&(at, id)) = self.timers.first() {
            if at > now_instant {
                break;
            }
            self.timers.pop_first();
            if let Some(entry) = self.peers.get_mut(&id) {
                entry.deadline = None;
            }
            self.step(id, |entry, outbox| {
                entry.member.connection.handle_timeout(now())?;
                entry.drain(outbox).map(|_| ())
            });
        }
    }

    /// Runs one step of a peer, sends what came of it, and sets its timer. A peer whose step fails is ended.
    fn step(&mut self, id: u64, step: impl FnOnce(&mut Entry, &mut Outbox) -> Result<(), PeerError>) {
        let Some(entry) = self.peers.get_mut(&id) else { return };
        self.outbox.clear();
        let result = catch_unwind(AssertUnwindSafe(|| {
            step(entry, &mut self.outbox)?;
            while let Some(remotes) = self.outbox.remotes.pop() {
                entry.bind(id, &remotes, &self.epoll);
                // What the new addresses start (connectivity checks) must go out now.
                entry.member.connection.handle_timeout(now())?;
                entry.drain(&mut self.outbox)?;
            }
            Ok::<(), PeerError>(())
        }));
        self.outbox.flush(&entry.sockets);
        match result {
            Ok(Ok(())) if !self.outbox.closed => {
                entry.publish();
                let next = self.outbox.next;
                if entry.deadline != next {
                    if let Some(old) = entry.deadline {
                        self.timers.remove(&(old, id));
                    }
                    if let Some(next) = next {
                        self.timers.insert((next, id));
                    }
                    entry.deadline = next;
                }
                return;
            }
            Ok(Ok(())) => {}
            Ok(Err(error)) => return self.fail(id, error.to_string()),
            Err(_) => return self.fail(id, "a panic was caught".into()),
        }
        self.remove(id);
    }

    /// Ends a peer that its owner did not close.
    fn fail(&mut self, id: u64, reason: String) {
        tracing::warn!(reason, "a peer failed");
        if let Some(entry) = self.peers.get_mut(&id)
            && !entry.member.connection.has_failed()
        {
            entry.member.inbox.push_event(PeerEvent::State { state: TransportState::Failed, reason });
        }
        self.remove(id);
    }

    fn remove(&mut self, id: u64) {
        if let Some(entry) = self.peers.remove(&id) {
            entry.member.status.connected.store(false, Ordering::Release);
            entry.member.status.open.store(false, Ordering::Release);
            if let Some(at) = entry.deadline {
                self.timers.remove(&(at, id));
            }
        }
    }
}

impl Entry {
    fn receive(
        &mut self,
        index: usize,
        buffer: &mut ReadBuffer,
        outbox: &mut Outbox,
    ) -> Result<(), PeerError> {
        let Some(socket) = self.sockets.get(index) else { return Ok(()) };
        let (member, local) = (&mut self.member, socket.local);
        let mut result = Ok(());
        let now = now();
        socket.receive(buffer, |source, datagram| {
            if result.is_ok() {
                result = member
                    .connection
                    .handle_datagram(source, local, datagram, now)
                    .and_then(|()| member.drain(outbox));
            }
        });
        result
    }

    fn drain(&mut self, outbox: &mut Outbox) -> Result<(), PeerError> {
        self.member.drain(outbox)
    }

    fn bind(&mut self, id: u64, remotes: &[SocketAddr], epoll: &OwnedFd) {
        for remote in remotes {
            let Some(local) = Socket::toward(*remote) else { continue };
            if self.sockets.len() >= MAX_SOCKETS || self.sockets.iter().any(|s| s.local.ip() == local.ip()) {
                continue;
            }
            let key = (id << 3) | self.sockets.len() as u64;
            let socket = Socket::bind(local).and_then(|socket| {
                epoll::add(epoll, &socket, EventData::new_u64(key), EventFlags::IN)?;
                Ok(socket)
            });
            match socket {
                Ok(socket) => {
                    self.member.connection.add_local_address(socket.local);
                    self.sockets.push(socket);
                }
                Err(error) => tracing::warn!(%error, "a local address cannot be used"),
            }
        }
    }

    fn account(&self, order: &Order) {
        match order {
            Order::Write { data, .. } => {
                self.member.status.media.fetch_sub(data.len(), Ordering::AcqRel);
            }
            Order::SendData { packet, .. } => {
                self.member.status.data.fetch_sub(packet.len(), Ordering::AcqRel);
            }
            _ => {}
        }
    }

    fn publish(&self) {
        self.member.publish();
    }
}

impl Member {
    fn publish(&self) {
        let Self { connection, status, .. } = self;
        status.connected.store(connection.is_connected(), Ordering::Release);
        status.open.store(connection.is_open(), Ordering::Release);
        status.backlog.store(connection.backlog_bytes(), Ordering::Release);
    }

    /// Moves everything that the connection wants to where it belongs.
    fn drain(&mut self, outbox: &mut Outbox) -> Result<(), PeerError> {
        loop {
            match self.connection.poll_output()? {
                Output::Transmit(transmit) => {
                    outbox.push(transmit.source, transmit.destination, &transmit.contents);
                }
                Output::Frame(frame) => {
                    if let Some(track) = self.inbox.push_frame(frame) {
                        self.connection.handle_order(Order::RequestKeyframe { track }, now())?;
                    }
                }
                Output::Event(event) => {
                    // Who hears that the channels are open may send at once.
                    self.publish();
                    self.inbox.push_event(event);
                }
                Output::Remote(remotes) => outbox.remotes.push(remotes),
                Output::Timeout(at) => {
                    outbox.next = Some(at);
                    return Ok(());
                }
                Output::Closed => {
                    outbox.closed = true;
                    return Ok(());
                }
            }
        }
    }
}

/// Datagrams on their way out, as runs of one size to one destination.
#[derive(Default)]
struct Outbox {
    runs: Vec<Run>,
    used: usize,
    remotes: Vec<Vec<SocketAddr>>,
    next: Option<Instant>,
    closed: bool,
}

struct Run {
    source: SocketAddr,
    destination: SocketAddr,
    size: usize,
    count: usize,
    full: bool,
    contents: Vec<u8>,
}

impl Outbox {
    const MAX_RUN: usize = 16;

    fn clear(&mut self) {
        self.used = 0;
        self.remotes.clear();
        self.next = None;
        self.closed = false;
    }

    fn push(&mut self, source: SocketAddr, destination: SocketAddr, contents: &[u8]) {
        if let Some(run) = self.runs[..self.used].last_mut()
            && !run.full
            && (run.source, run.destination) == (source, destination)
            && contents.len() <= run.size
        {
            run.contents.extend_from_slice(contents);
            run.count += 1;
            run.full = contents.len() < run.size || run.count == Self::MAX_RUN;
            return;
        }
        if self.used == self.runs.len() {
            self.runs.push(Run { source, destination, size: 0, count: 0, full: false, contents: Vec::new() });
        }
        let run = &mut self.runs[self.used];
        self.used += 1;
        run.source = source;
        run.destination = destination;
        run.size = contents.len();
        run.count = 1;
        run.full = false;
        run.contents.clear();
        run.contents.extend_from_slice(contents);
    }

    fn flush(&mut self, sockets: &[Socket]) {
        for run in self.runs.iter().take(self.used) {
            let Some(socket) = sockets.iter().find(|socket| socket.local == run.source) else { continue };
            if run.count <= socket.max_segments() {
                socket.send(run.destination, &run.contents, run.size);
            } else {
                for datagram in run.contents.chunks(run.size.max(1)) {
                    socket.send(run.destination, datagram, run.size);
                }
            }
        }
        self.used = 0;
    }
}

fn timespec(at: Instant) -> Timespec {
    let wait = at.saturating_duration_since(Instant::now());
    Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) }
}
