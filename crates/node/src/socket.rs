//! The UDP socket: many datagrams per system call in, runs of equal size per system call out.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rtcloud_sfu::Output;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Type};

const BUFFER: usize = 4 * 1024 * 1024;
/// What one UDP datagram can carry, and so what a run may be.
const MAX_RUN: usize = 65_000;
/// How long a full send buffer is waited for, once in an output, before datagrams are dropped: other rooms wait too.
const SEND_PATIENCE: Duration = Duration::from_millis(5);

/// The socket. Sending needs no lock.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
    /// The source address must be named when we have several.
    name_source: bool,
}

/// Counts of one sending.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) dropped: u64,
}

/// How much of its room a reading filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    Nothing,
    Some,
    /// More waits, most likely.
    All,
}

/// Buffers for one reading.
pub(crate) struct Reading {
    buffers: Vec<Vec<u8>>,
    meta: Vec<RecvMeta>,
}

impl Reading {
    pub(crate) fn new() -> Self {
        let count = quinn_udp::BATCH_SIZE;
        Self { buffers: vec![vec![0; 65_535]; count], meta: vec![RecvMeta::default(); count] }
    }
}

impl Socket {
    pub(crate) fn bind(address: SocketAddr, name_source: bool) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.bind(&address.into())?;
        // The kernel gives less when its limits are lower; that is not an error.
        let _ = socket.set_recv_buffer_size(BUFFER);
        let _ = socket.set_send_buffer_size(BUFFER);
        let socket = UdpSocket::from(socket);
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self { socket, state, name_source })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Waits until something can be read or `wake` is readable; true when the latter.
    pub(crate) fn wait_readable(&self, wake: &impl std::os::fd::AsFd) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(wake, PollFlags::IN)];
        match poll(&mut fds, None) {
            // A signal of the process: there is nothing yet, and no reason to stop.
            Err(rustix::io::Errno::INTR) => return Ok(false),
            result => result?,
        };
        Ok(!fds[1].revents().is_empty())
    }

    /// Reads what is there, at most one call's worth.
    pub(crate) fn receive(
        &self,
        reading: &mut Reading,
        mut each: impl FnMut(SocketAddr, Option<IpAddr>, &[u8]),
    ) -> io::Result<Read> {
        let Reading { buffers, meta } = reading;
        let mut slices: Vec<IoSliceMut<'_>> = buffers.iter_mut().map(|b| IoSliceMut::new(b)).collect();
        let count = match self.state.recv(UdpSockRef::from(&self.socket), &mut slices, meta) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Read::Nothing),
            Err(error) => return Err(error),
        };
        for (meta, buffer) in meta.iter().zip(buffers.iter()).take(count) {
            let contents = &buffer[..meta.len.min(buffer.len())];
            for datagram in contents.chunks(meta.stride.max(1)) {
                each(meta.addr, meta.dst_ip, datagram);
            }
        }
        Ok(if count == meta.len() { Read::All } else { Read::Some })
    }

    /// Sends everything in an output, in runs.
    pub(crate) fn send(&self, output: &Output) -> Sent {
        let mut sent = Sent::default();
        let mut patience = SEND_PATIENCE;
        let max_segments = self.state.max_gso_segments().max(1);
        let mut rest = output.datagrams.as_slice();
        while let Some(first) = rest.first() {
            let size = first.range.len();
            let mut count = 1;
            let mut total = size;
            while let Some(next) = rest.get(count) {
                let fits = count < max_segments && total + next.range.len() <= MAX_RUN;
                let same = next.destination == first.destination && next.source == first.source;
                if !fits || !same || next.range.len() > size {
                    break;
                }
                count += 1;
                total += next.range.len();
                // Only the last of a run may be shorter.
                if next.range.len() < size {
                    break;
                }
            }
            let transmit = Transmit {
                destination: first.destination,
                ecn: None,
                contents: &output.bytes[first.range.start..first.range.start + total],
                segment_size: (count > 1).then_some(size),
                src_ip: self.name_source.then(|| first.source.ip()),
            };
            if self.transmit(&transmit, &mut patience) {
                sent.packets += count as u64;
                sent.bytes += total as u64;
            } else {
                sent.dropped += count as u64;
            }
            rest = &rest[count..];
        }
        sent
    }

    fn transmit(&self, transmit: &Transmit<'_>, patience: &mut Duration) -> bool {
        let send = || self.state.try_send(UdpSockRef::from(&self.socket), transmit);
        match send() {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if patience.is_zero() {
                    return false;
                }
                let begun = Instant::now();
                let mut fds = [PollFd::new(&self.socket, PollFlags::OUT)];
                let wait = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
                let sent = poll(&mut fds, Some(&wait)).is_ok() && send().is_ok();
                *patience = patience.saturating_sub(begun.elapsed());
                sent
            }
            // The kernel refused a run: it goes out one by one, and the state knows better next time.
            Err(_) if transmit.segment_size.is_some() => {
                let size = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
                transmit.contents.chunks(size).fold(true, |all, contents| {
                    let single = Transmit { contents, segment_size: None, ..transmit.clone() };
                    self.state.try_send(UdpSockRef::from(&self.socket), &single).is_ok() && all
                })
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_arrive_as_datagrams() {
        let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let (from, to) = (Socket::bind(loopback, false).unwrap(), Socket::bind(loopback, false).unwrap());
        let mut output = Output::default();
        let destination = to.local_addr().unwrap();
        for size in [1000, 1000, 1000, 400, 1000, 1200] {
            let start = output.bytes.len();
            output.bytes.resize(start + size, size as u8);
            let range = start..start + size;
            let source = from.local_addr().unwrap();
            output.datagrams.push(rtcloud_sfu::Datagram { destination, source, range });
        }
        let sent = from.send(&output);
        assert_eq!((sent.packets, sent.bytes, sent.dropped), (6, 5600, 0));
        let mut sizes = Vec::new();
        let mut reading = Reading::new();
        while sizes.len() < 6 {
            to.receive(&mut reading, |source, _, contents| {
                assert_eq!(source, from.local_addr().unwrap());
                sizes.push(contents.len());
            })
            .unwrap();
        }
        assert_eq!(sizes, [1000, 1000, 1000, 400, 1000, 1200]);
    }
}
