//! A participant's peer connection for programs: the client half of `/rtc/v1`, which always offers.
//!
//! [`Connection`] is the pure core: SDP, transport, packetising, capture times; time and datagrams are arguments.
//! [`Peer`] is its handle: the sockets and timers of all peers of a process live in one thread that sleeps when
//! nothing happens. Received frames and events wait in a bounded [`Inbox`] with an event descriptor for the owner.

#![forbid(unsafe_code)]

mod backlog;
mod capture;
mod connection;
mod counters;
mod driver;
mod error;
mod inbox;
mod order;
mod peer;
pub mod probe;
mod protocol;
mod receiving;
mod sections;
mod send_clock;
mod socket;

pub use capture::CaptureClock;
pub use connection::Connection;
pub use counters::{Counter, Counters};
pub use error::PeerError;
pub use inbox::{Frame, Inbox};
pub use order::{Now, Order, Output};
pub use peer::Peer;

pub use protocol::{PeerConfig, PeerEvent, PeerStats, TransportState};
pub use send_clock::{SendClock, opus_ticks};
