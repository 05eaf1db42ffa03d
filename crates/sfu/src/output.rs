//! What a room wants done, collected in buffers that are used again and again.

use std::net::SocketAddr;
use std::ops::Range;

use crate::command::Event;
use crate::ids::TransportKey;

/// A datagram to send; its bytes are in [`Output::bytes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Where to.
    pub destination: SocketAddr,
    /// The address of ours that the client expects it from.
    pub source: SocketAddr,
    /// Which of the bytes.
    pub range: Range<usize>,
}

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It is not one that the transport understands.
    Refused,
    /// The transport took it; who sent it is not certain.
    Taken,
    /// DTLS or SRTP opened it: it came from the client.
    Proven,
}

/// How datagrams find their transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// ICE checks with this local user name are for this transport.
    Add(String, TransportKey),
    /// The transport is gone.
    Remove(TransportKey),
}

/// Everything a room gave since the buffers were last cleared.
#[derive(Debug, Default)]
pub struct Output {
    /// The contents of all datagrams, one after the other.
    pub bytes: Vec<u8>,
    /// Datagrams in sending order. Those of one transport that leave together stand together.
    pub datagrams: Vec<Datagram>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// Changes of routes.
    pub routes: Vec<Route>,
}

impl Output {
    /// Empties the buffers and keeps their memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.datagrams.clear();
        self.events.clear();
        self.routes.clear();
    }

    pub(crate) fn push(&mut self, source: SocketAddr, destination: SocketAddr, contents: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(contents);
        self.datagrams.push(Datagram { destination, source, range: start..self.bytes.len() });
    }
}
