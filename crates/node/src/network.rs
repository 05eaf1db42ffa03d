//! All ways in and out: UDP sockets, one for each address listened on, and connections at the same addresses.
//!
//! A candidate of ours belongs to the socket that its datagrams come to; what is sent from it leaves there.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;

use rtcloud_sfu::{Carrier, Datagram, Output};
use rustix::event::{PollFd, PollFlags, poll};
use socket2::{Domain, Protocol, Type};

use crate::connections::Connections;
use crate::socket::{SEND_PATIENCE, Sent, Socket};

/// Ports tried when any will do and connections need the same one.
const TRIES: usize = 16;
const BACKLOG: i32 = 256;

#[derive(Debug)]
pub(crate) struct Network {
    sockets: Vec<Socket>,
    /// Our candidates and their sockets.
    candidates: Vec<(SocketAddr, usize)>,
    pub(crate) connections: Option<Connections>,
}

/// What was bound: the sockets stay with the network, the listeners go to who accepts.
pub(crate) struct Bound {
    pub(crate) network: Network,
    pub(crate) listeners: Vec<TcpListener>,
}

impl Network {
    /// Binds all addresses, the first of them at any port if its is 0, and the others then at the same.
    pub(crate) fn bind(
        listen: &[SocketAddr],
        advertise: &[IpAddr],
        tcp: bool,
        runs: bool,
    ) -> io::Result<Bound> {
        let any = listen.iter().any(|address| address.port() == 0);
        let mut tries = if any { TRIES } else { 1 };
        loop {
            tries -= 1;
            match Self::try_bind(listen, advertise, tcp, runs) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
                result => return result,
            }
        }
    }

    fn try_bind(listen: &[SocketAddr], advertise: &[IpAddr], tcp: bool, runs: bool) -> io::Result<Bound> {
        let named: Vec<IpAddr> = advertise.iter().copied().filter(|ip| is_ours(*ip)).collect();
        let (mut sockets, mut listeners) = (Vec::new(), Vec::new());
        let mut port = 0;
        for address in listen {
            let mut address = *address;
            if address.port() == 0 {
                address.set_port(port);
            }
            let socket = Socket::bind(address, named.clone(), runs)?;
            let local = socket.local_addr();
            port = local.port();
            if tcp {
                listeners.push(listen_at(local)?);
            }
            sockets.push(socket);
        }
        let candidates = advertise
            .iter()
            .map(|ip| {
                let exact = sockets.iter().position(|s| s.local_addr().ip() == *ip);
                let index = exact.or_else(|| sockets.iter().position(|s| s.carries(*ip)));
                let index = index.ok_or_else(|| {
                    let what = format!("advertise: nothing listens for addresses like {ip}");
                    io::Error::new(io::ErrorKind::InvalidInput, what)
                })?;
                Ok((SocketAddr::new(*ip, sockets[index].local_addr().port()), index))
            })
            .collect::<io::Result<_>>()?;
        let connections = if tcp { Some(Connections::new()?) } else { None };
        Ok(Bound { network: Self { sockets, candidates, connections }, listeners })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.sockets[0].local_addr()
    }

    pub(crate) fn sockets(&self) -> &[Socket] {
        &self.sockets
    }

    pub(crate) fn candidates(&self) -> Vec<SocketAddr> {
        self.candidates.iter().map(|(address, _)| *address).collect()
    }

    /// The candidate that something was sent to. Behind a translated address it is the first of its family.
    pub(crate) fn local_address(&self, destination: Option<IpAddr>) -> SocketAddr {
        let same = |c: &&(SocketAddr, usize)| Some(c.0.ip()) == destination;
        let family = |c: &&(SocketAddr, usize)| destination.is_none_or(|d| c.0.is_ipv4() == d.is_ipv4());
        let mut all = self.candidates.iter();
        let found = all.clone().find(same).or_else(|| all.find(family));
        found.unwrap_or(&self.candidates[0]).0
    }

    /// Waits until something can be read or `wake` is readable; true when the latter.
    pub(crate) fn wait_readable(&self, wake: &impl AsFd) -> io::Result<bool> {
        let mut fds = vec![PollFd::new(wake, PollFlags::IN)];
        fds.extend(self.sockets.iter().map(Socket::readable));
        match poll(&mut fds, None) {
            // A signal of the process: there is nothing yet, and no reason to stop.
            Err(rustix::io::Errno::INTR) => return Ok(false),
            result => result?,
        };
        Ok(!fds[0].revents().is_empty())
    }

    fn socket_of(&self, source: SocketAddr) -> &Socket {
        let index = match self.candidates.as_slice() {
            [_] => 0,
            all => all.iter().find(|(address, _)| *address == source).map_or(0, |(_, index)| *index),
        };
        &self.sockets[index]
    }

    /// Sends everything in an output.
    pub(crate) fn send(&self, output: &Output) -> Sent {
        let mut sent = Sent::default();
        let mut patience = SEND_PATIENCE;
        for same in output.datagrams.chunk_by(|a, b| self.leave_together(a, b)) {
            let Some(first) = same.first() else { continue };
            sent += match (first.destination.carrier, &self.connections) {
                (Carrier::Udp, _) => self.socket_of(first.source).send(&output.bytes, same, &mut patience),
                (Carrier::Tcp, Some(connections)) => {
                    let contents = same.iter().map(|d| &output.bytes[d.range.clone()]);
                    connections.send(first.destination.address, contents)
                }
                (Carrier::Tcp, None) => Sent { dropped: same.len() as u64, ..Sent::default() },
            };
        }
        sent
    }

    fn leave_together(&self, a: &Datagram, b: &Datagram) -> bool {
        let (to, other) = (a.destination, b.destination);
        match to.carrier {
            Carrier::Udp => to.carrier == other.carrier && (self.sockets.len() == 1 || a.source == b.source),
            Carrier::Tcp => to == other,
        }
    }
}

/// Whether this machine has an address, so that it can be a source.
fn is_ours(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use rtcloud_sfu::Remote;

    use super::*;
    use crate::socket::Reading;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn bind(listen: &[&str], advertise: &[&str]) -> io::Result<Bound> {
        let listen: Vec<SocketAddr> = listen.iter().map(|text| text.parse().unwrap()).collect();
        Network::bind(&listen, &ips(advertise), true, true)
    }

    #[test]
    fn both_families_pass_one_socket_or_two() {
        for listen in [&["[::]:0"][..], &["127.0.0.1:0", "[::1]:0"]] {
            let Bound { network, listeners } = bind(listen, &["127.0.0.1", "::1"]).unwrap();
            assert_eq!(listeners.len(), listen.len());
            for candidate in network.candidates() {
                let ours = UdpSocket::bind((candidate.ip(), 0)).unwrap();
                let address = ours.local_addr().unwrap();
                ours.send_to(b"question", candidate).unwrap();
                let stop = UdpSocket::bind("127.0.0.1:0").unwrap();
                assert!(!network.wait_readable(&stop).unwrap());
                let mut came = None;
                for socket in network.sockets() {
                    socket
                        .receive(&mut Reading::new(), |source, to, contents| {
                            came = Some((source, network.local_address(to), contents.to_vec()));
                        })
                        .unwrap();
                }
                assert_eq!(came, Some((address, candidate, b"question".to_vec())), "{listen:?}");
                let mut output = Output { bytes: b"answer".to_vec(), ..Output::default() };
                let destination = Remote::udp(address);
                output.datagrams.push(Datagram { destination, source: candidate, range: 0..6 });
                assert_eq!(network.send(&output).packets, 1);
                let mut buffer = [0; 10];
                let (count, source) = ours.recv_from(&mut buffer).unwrap();
                assert_eq!((&buffer[..count], source), (&b"answer"[..], candidate));
            }
        }
    }

    #[test]
    fn an_address_elsewhere_stands_for_ours() {
        let Bound { network, .. } = bind(&["127.0.0.1:0"], &["203.0.113.7", "127.0.0.1"]).unwrap();
        let [outside, inside] = network.candidates()[..] else { panic!() };
        assert_eq!(network.local_address(Some("10.0.0.9".parse().unwrap())), outside);
        assert_eq!(network.local_address(Some(inside.ip())), inside);
        let to = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut output = Output { bytes: b"media".to_vec(), ..Output::default() };
        let destination = Remote::udp(to.local_addr().unwrap());
        output.datagrams.push(Datagram { destination, source: outside, range: 0..5 });
        assert_eq!(network.send(&output).packets, 1, "as what it is here");
    }

    #[test]
    fn an_address_that_nothing_listens_for_is_refused() {
        let Err(error) = bind(&["127.0.0.1:0"], &["127.0.0.1", "::1"]) else { panic!("it was taken") };
        assert!(error.to_string().contains("::1"), "{error}");
    }
}
