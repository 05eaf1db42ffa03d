//! Where a client is: an address, and what carries datagrams to and from it.
//!
//! The same address over UDP and over TCP is not the same place: whoever has proved the one has not proved the other.

use std::fmt;
use std::net::SocketAddr;

use str0m::net::Protocol;

/// What carries datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// As they are.
    Udp,
    /// In a connection that the client opened, each with its length before it (RFC 4571).
    Tcp,
}

/// A place that datagrams come from and go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Remote {
    /// How it is reached.
    pub carrier: Carrier,
    /// Where it is.
    pub address: SocketAddr,
}

impl Remote {
    /// A place that is reached by UDP.
    pub fn udp(address: SocketAddr) -> Self {
        Self { carrier: Carrier::Udp, address }
    }

    /// The other end of a connection.
    pub fn tcp(address: SocketAddr) -> Self {
        Self { carrier: Carrier::Tcp, address }
    }

    pub(crate) fn new(protocol: Protocol, address: SocketAddr) -> Self {
        if protocol == Protocol::Udp { Self::udp(address) } else { Self::tcp(address) }
    }

    pub(crate) fn protocol(self) -> Protocol {
        match self.carrier {
            Carrier::Udp => Protocol::Udp,
            Carrier::Tcp => Protocol::Tcp,
        }
    }
}

impl From<SocketAddr> for Remote {
    fn from(address: SocketAddr) -> Self {
        Self::udp(address)
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.carrier {
            Carrier::Udp => write!(f, "{}", self.address),
            Carrier::Tcp => write!(f, "{}/tcp", self.address),
        }
    }
}
