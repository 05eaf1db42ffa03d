//! The UDP sockets of one peer: one per local address from which the server can be reached.
//!
//! Received runs are split (GRO), datagrams of equal size in a row leave in one call (GSO). A full send buffer drops
//! the datagram, as the network would.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};

const BUFFER: usize = 1 << 20;
/// Runs read in one call.
const BATCH: usize = 4;
const RUN: usize = 65_535;

/// Buffers for reading, shared by all sockets of the thread.
pub(crate) struct ReadBuffer {
    bytes: Vec<u8>,
}

impl Default for ReadBuffer {
    fn default() -> Self {
        Self { bytes: vec![0; BATCH * RUN] }
    }
}

/// One bound socket.
pub(crate) struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
    pub(crate) local: SocketAddr,
}

impl Socket {
    /// Bound to the local address from which `remote` is reached; None when there is no way.
    pub(crate) fn toward(remote: SocketAddr) -> Option<SocketAddr> {
        let unspecified: SocketAddr =
            if remote.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
        let probe = UdpSocket::bind(unspecified).ok()?;
        probe.connect(remote).ok()?;
        let mut local = probe.local_addr().ok()?;
        local.set_port(0);
        Some(local)
    }

    /// Binds a free port of `local`.
    pub(crate) fn bind(local: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(local)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // Smaller buffers than asked for are no reason to refuse.
        let _ = state.set_send_buffer_size(UdpSockRef::from(&socket), BUFFER);
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), BUFFER);
        let local = socket.local_addr()?;
        Ok(Self { socket, state, local })
    }

    /// Reads what waits and passes each datagram on; at most one batch. True if there may be more.
    pub(crate) fn receive(&self, buffer: &mut ReadBuffer, mut each: impl FnMut(SocketAddr, &[u8])) -> bool {
        let mut meta = [RecvMeta::default(); BATCH];
        let mut slices: Vec<io::IoSliceMut<'_>> =
            buffer.bytes.chunks_exact_mut(RUN).map(io::IoSliceMut::new).collect();
        let Ok(count) = self.state.recv(UdpSockRef::from(&self.socket), &mut slices, &mut meta) else {
            return false;
        };
        for (run, meta) in slices.iter().zip(&meta).take(count) {
            for datagram in run[..meta.len].chunks(meta.stride.max(1)) {
                each(meta.addr, datagram);
            }
        }
        count == BATCH
    }

    /// Sends datagrams of one destination: all of `size` bytes except that the last may be shorter.
    pub(crate) fn send(&self, destination: SocketAddr, contents: &[u8], size: usize) {
        let segment_size = (contents.len() > size).then_some(size);
        let transmit = Transmit { destination, ecn: None, contents, segment_size, src_ip: None };
        let _ = self.state.try_send(UdpSockRef::from(&self.socket), &transmit);
    }

    pub(crate) fn max_segments(&self) -> usize {
        self.state.max_gso_segments()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
