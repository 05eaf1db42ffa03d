//! A UDP socket: many datagrams per system call in, and out: runs of equal size for one client, singles for many.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::ops::AddAssign;
use std::time::{Duration, Instant};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rtcloud_sfu::Datagram;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Type};

use crate::batch;

const BUFFER: usize = 4 * 1024 * 1024;
/// What one UDP datagram can carry, and so what a run may be.
const MAX_RUN: usize = 65_000;
/// How long a full send buffer is waited for, once in an output, before datagrams are dropped: other rooms wait too.
pub(crate) const SEND_PATIENCE: Duration = Duration::from_millis(5);

/// The socket. Sending needs no lock.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    /// It also carries IPv4, in addresses of IPv6.
    is_dual: bool,
    /// Addresses that may be named as the source, when there are several.
    named: Vec<IpAddr>,
    /// Whether runs leave in one call.
    runs: bool,
}

/// Counts of one sending.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) dropped: u64,
}

impl AddAssign for Sent {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.dropped += other.dropped;
    }
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
    /// `named`: those of our addresses that answers must come from.
    pub(crate) fn bind(address: SocketAddr, named: Vec<IpAddr>, runs: bool) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        let is_dual = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        if address.is_ipv6() {
            socket.set_only_v6(!is_dual)?;
        }
        socket.bind(&address.into())?;
        // The kernel gives less when its limits are lower; that is not an error.
        let _ = socket.set_recv_buffer_size(BUFFER);
        let _ = socket.set_send_buffer_size(BUFFER);
        let socket = UdpSocket::from(socket);
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let local = socket.local_addr()?;
        let named = if named.len() > 1 { named } else { Vec::new() };
        Ok(Self { socket, state, local, is_dual, named, runs })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Whether datagrams from and to addresses of this family pass here.
    pub(crate) fn carries(&self, ip: IpAddr) -> bool {
        self.is_dual || self.local.is_ipv4() == ip.is_ipv4()
    }

    pub(crate) fn readable(&self) -> PollFd<'_> {
        PollFd::new(&self.socket, PollFlags::IN)
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
                each(canonical(meta.addr), meta.dst_ip.map(|ip| ip.to_canonical()), datagram);
            }
        }
        Ok(if count == meta.len() { Read::All } else { Read::Some })
    }

    /// Sends datagrams, in runs.
    pub(crate) fn send(&self, bytes: &[u8], datagrams: &[Datagram], patience: &mut Duration) -> Sent {
        let mut sent = Sent::default();
        let max_segments = if self.runs { self.state.max_gso_segments().max(1) } else { 1 };
        let mut rest = datagrams;
        while let Some(first) = rest.first() {
            let count = run_length(rest, max_segments);
            if count == 1 && self.named.is_empty() {
                let taken = self.send_singles(bytes, rest, max_segments);
                if taken > 0 {
                    sent.packets += taken as u64;
                    sent.bytes += rest[..taken].iter().map(|d| d.range.len() as u64).sum::<u64>();
                    rest = &rest[taken..];
                    continue;
                }
            }
            let total: usize = rest[..count].iter().map(|d| d.range.len()).sum();
            let transmit = Transmit {
                destination: self.mapped(first.destination.address),
                ecn: None,
                contents: &bytes[first.range.start..first.range.start + total],
                segment_size: (count > 1).then_some(first.range.len()),
                src_ip: self.named.contains(&first.source.ip()).then(|| first.source.ip()),
            };
            if self.transmit(&transmit, patience) {
                sent.packets += count as u64;
                sent.bytes += total as u64;
            } else {
                sent.dropped += count as u64;
            }
            rest = &rest[count..];
        }
        sent
    }

    /// Sends those at the beginning that make no run, if there are several; how many the system took.
    fn send_singles(&self, bytes: &[u8], datagrams: &[Datagram], max_segments: usize) -> usize {
        let is_single = |index: &usize| run_length(&datagrams[*index..], max_segments) == 1;
        let count = (0..datagrams.len().min(batch::LARGEST)).take_while(is_single).count();
        if count < batch::SMALLEST {
            return 0;
        }
        let singles = datagrams[..count].iter();
        let singles = singles.map(|d| (self.mapped(d.destination.address), &bytes[d.range.clone()]));
        // What is refused is tried on its own, where it is known what to do about it.
        batch::send(&self.socket, singles).unwrap_or(0)
    }

    fn mapped(&self, address: SocketAddr) -> SocketAddr {
        match address {
            SocketAddr::V4(v4) if self.is_dual => {
                SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into()
            }
            _ => address,
        }
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

/// How many datagrams at the beginning can leave as one run: for one client, of one size but for the last.
fn run_length(datagrams: &[Datagram], max_segments: usize) -> usize {
    let Some(first) = datagrams.first() else { return 0 };
    let size = first.range.len();
    let mut count = 1;
    let mut total = size;
    while let Some(next) = datagrams.get(count) {
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
    count
}

/// An address of IPv4 as such, however the system tells of it.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn singles_arrive_at_each_client_however_many() {
        for (listen, client) in
            [("127.0.0.1:0", "127.0.0.1:0"), ("[::]:0", "127.0.0.1:0"), ("[::]:0", "[::1]:0")]
        {
            let from = Socket::bind(listen.parse().unwrap(), vec![], true).unwrap();
            let clients: Vec<UdpSocket> = (0..100).map(|_| UdpSocket::bind(client).unwrap()).collect();
            let mut output = rtcloud_sfu::Output::default();
            for (index, client) in clients.iter().enumerate() {
                // Among them a run of two, which interrupts the singles.
                for part in 0..if index == 50 { 2 } else { 1 } {
                    let start = output.bytes.len();
                    output.bytes.extend([index as u8, part]);
                    let (destination, source) = (client.local_addr().unwrap().into(), from.local_addr());
                    output.datagrams.push(Datagram { destination, source, range: start..start + 2 });
                }
            }
            let sent = from.send(&output.bytes, &output.datagrams, &mut SEND_PATIENCE.clone());
            assert_eq!((sent.packets, sent.bytes, sent.dropped), (101, 202, 0));
            let mut got = [0; 16];
            for (index, client) in clients.iter().enumerate() {
                assert_eq!((client.recv(&mut got).unwrap(), got[0]), (2, index as u8));
            }
            assert_eq!(clients[50].recv(&mut got).unwrap(), 2);
        }
    }

    #[test]
    fn who_cannot_be_sent_to_costs_the_others_nothing() {
        let from = Socket::bind("127.0.0.1:0".parse().unwrap(), vec![], true).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let here: SocketAddr = client.local_addr().unwrap();
        // Nothing is sent to port 0, nor by IPv6.
        let nowhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let other: SocketAddr = "[::1]:9".parse().unwrap();
        let to = [here, nowhere, here, here, other, here, here, here];
        let mut output = rtcloud_sfu::Output::default();
        for (size, destination) in to.into_iter().enumerate() {
            // Each is longer than the one before it: no two make a run.
            let start = output.bytes.len();
            output.bytes.resize(start + size + 1, 7);
            let range = start..start + size + 1;
            output.datagrams.push(Datagram {
                destination: destination.into(),
                source: from.local_addr(),
                range,
            });
        }
        let sent = from.send(&output.bytes, &output.datagrams, &mut SEND_PATIENCE.clone());
        assert_eq!((sent.packets, sent.dropped), (6, 2));
        let sizes: Vec<usize> = (0..6).map(|_| client.recv(&mut [0; 16]).unwrap()).collect();
        assert_eq!(sizes, [1, 3, 4, 6, 7, 8]);
    }

    #[test]
    fn runs_arrive_as_datagrams() {
        let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let (from, to) =
            (Socket::bind(loopback, vec![], true).unwrap(), Socket::bind(loopback, vec![], true).unwrap());
        let mut output = rtcloud_sfu::Output::default();
        let destination = to.local_addr();
        for size in [1000, 1000, 1000, 400, 1000, 1200] {
            let start = output.bytes.len();
            output.bytes.resize(start + size, size as u8);
            let range = start..start + size;
            let source = from.local_addr();
            output.datagrams.push(Datagram { destination: destination.into(), source, range });
        }
        let sent = from.send(&output.bytes, &output.datagrams, &mut SEND_PATIENCE.clone());
        assert_eq!((sent.packets, sent.bytes, sent.dropped), (6, 5600, 0));
        let mut sizes = Vec::new();
        let mut reading = Reading::new();
        while sizes.len() < 6 {
            to.receive(&mut reading, |source, _, contents| {
                assert_eq!(source, from.local_addr());
                sizes.push(contents.len());
            })
            .unwrap();
        }
        assert_eq!(sizes, [1000, 1000, 1000, 400, 1000, 1200]);
    }
}
