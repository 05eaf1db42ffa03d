//! Connections of clients that no datagrams get through to: who has one, and what waits to be written to it.
//!
//! A shard writes to a connection itself while there is room, so that nothing wakes anybody; what the system does not take
//! waits here, up to a bound, and the thread that reads connections goes on with it. What does not fit is dropped as a
//! network drops it: the newest, and whole datagrams.

use std::collections::HashMap;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use rustix::event::epoll;

use crate::framing::{frame, framed_len};
use crate::socket::Sent;

/// Bytes that may wait for one client: most of a second of what such a one watches.
const MAX_QUEUED: usize = 192 * 1024;

#[derive(Debug, Default)]
struct Outgoing {
    bytes: Vec<u8>,
    /// How many of them are written.
    written: usize,
    /// Since when the system takes nothing.
    stuck: Option<Instant>,
    broken: bool,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) remote: SocketAddr,
    pub(crate) token: u64,
    outgoing: Mutex<Outgoing>,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, remote: SocketAddr, token: u64) -> Self {
        Self { stream, remote, token, outgoing: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Outgoing> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when nothing of what waits could be written.
    pub(crate) fn stuck(&self) -> Option<Instant> {
        self.lock().stuck
    }

    fn interest(&self, epoll: &OwnedFd, writing: bool) {
        let out = if writing { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
        let data = epoll::EventData::new_u64(self.token);
        // A connection that is being closed is no longer watched.
        let _ = epoll::modify(epoll, &self.stream, data, epoll::EventFlags::IN | out);
    }

    fn write(&self, outgoing: &mut Outgoing, now: Instant) {
        while let Some(rest) = outgoing.bytes.get(outgoing.written..).filter(|rest| !rest.is_empty()) {
            match (&self.stream).write(rest) {
                Ok(0) => {
                    outgoing.broken = true;
                    break;
                }
                Ok(count) => {
                    outgoing.written += count;
                    outgoing.stuck = None;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    outgoing.broken = error.kind() != ErrorKind::WouldBlock;
                    outgoing.stuck.get_or_insert(now);
                    break;
                }
            }
        }
        if outgoing.broken || outgoing.written == outgoing.bytes.len() {
            outgoing.bytes.clear();
            outgoing.written = 0;
        }
    }

    /// Writes datagrams, or lets them wait.
    fn send<'a>(&self, epoll: &OwnedFd, datagrams: impl Iterator<Item = &'a [u8]>, now: Instant) -> Sent {
        let mut sent = Sent::default();
        let mut outgoing = self.lock();
        let waited = !outgoing.bytes.is_empty();
        for contents in datagrams {
            let queued = outgoing.bytes.len() - outgoing.written;
            let fits = !outgoing.broken && queued + framed_len(contents) <= MAX_QUEUED;
            if fits && frame(&mut outgoing.bytes, contents) {
                sent.packets += 1;
                sent.bytes += contents.len() as u64;
            } else {
                sent.dropped += 1;
            }
        }
        if !waited {
            self.write(&mut outgoing, now);
            if !outgoing.bytes.is_empty() {
                self.interest(epoll, true);
            }
        } else if outgoing.written > MAX_QUEUED {
            let written = std::mem::take(&mut outgoing.written);
            outgoing.bytes.drain(..written);
        }
        sent
    }

    /// There is room again.
    pub(crate) fn resume(&self, epoll: &OwnedFd, now: Instant) {
        let mut outgoing = self.lock();
        self.write(&mut outgoing, now);
        if outgoing.bytes.is_empty() {
            outgoing.stuck = None;
            self.interest(epoll, false);
        }
    }
}

/// All connections, by the address of their other end.
#[derive(Debug)]
pub(crate) struct Connections {
    pub(crate) epoll: OwnedFd,
    table: RwLock<HashMap<SocketAddr, Arc<Connection>>>,
}

impl Connections {
    pub(crate) fn new() -> std::io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, table: RwLock::default() })
    }

    /// Watches a connection. False when there is one from that address already, or the system refuses.
    pub(crate) fn add(&self, connection: &Arc<Connection>) -> bool {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if table.contains_key(&connection.remote) {
            return false;
        }
        let data = epoll::EventData::new_u64(connection.token);
        if epoll::add(&self.epoll, &connection.stream, data, epoll::EventFlags::IN).is_err() {
            return false;
        }
        table.insert(connection.remote, Arc::clone(connection));
        true
    }

    pub(crate) fn remove(&self, connection: &Connection) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.remove(&connection.remote);
        let _ = epoll::delete(&self.epoll, connection.stream.as_fd());
        let _ = connection.stream.shutdown(std::net::Shutdown::Both);
    }

    /// Sends datagrams to a client; if it has gone, they go nowhere.
    pub(crate) fn send<'a>(
        &self,
        remote: SocketAddr,
        datagrams: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> Sent {
        let found = self.table.read().unwrap_or_else(PoisonError::into_inner).get(&remote).cloned();
        match found {
            Some(connection) => connection.send(&self.epoll, datagrams, Instant::now()),
            None => Sent { dropped: datagrams.len() as u64, ..Sent::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;
    use crate::framing::Deframer;

    #[test]
    fn what_waits_for_a_slow_client_is_bounded_and_comes_whole() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, remote) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let connections = Connections::new().unwrap();
        let connection = Arc::new(Connection::new(stream, remote, 1));
        assert!(connections.add(&connection));
        assert!(!connections.add(&connection), "one from each address");
        let contents = [7; 1000];
        let mut sent = Sent::default();
        for _ in 0..20_000 {
            let some = connections.send(remote, [&contents[..]; 3].into_iter());
            sent.packets += some.packets;
            sent.dropped += some.dropped;
        }
        assert_eq!(sent.packets + sent.dropped, 60_000);
        assert!(sent.dropped > 0 && connection.stuck().is_some());
        assert!(connection.lock().bytes.len() <= 2 * MAX_QUEUED);
        let (mut deframer, mut received, mut buffer) = (Deframer::default(), 0, vec![0; 65_536]);
        while received < sent.packets {
            connection.resume(&connections.epoll, Instant::now());
            let count = client.read(&mut buffer).unwrap();
            deframer
                .push(&buffer[..count], |datagram| {
                    assert_eq!(datagram, contents);
                    received += 1;
                })
                .unwrap();
        }
        connection.resume(&connections.epoll, Instant::now());
        assert_eq!((received, connection.stuck()), (sent.packets, None));
        connections.remove(&connection);
        assert_eq!(connections.send(remote, [&contents[..]].into_iter()).dropped, 1);
    }
}
