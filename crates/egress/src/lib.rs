//! What is sent to one client as RTP and RTCP, and the RTCP that comes back.
//!
//! str0m negotiates, and receives; its sending half costs more per packet than the rest of a forwarded packet
//! together, so packets toward subscribers are written here (docs/decisions/0015). One [`Egress`] belongs to one DTLS
//! session: it numbers nothing, it seals what it is given under the session's keys, repeats what the client asks for,
//! reports, and tells what came back.
//!
//! There are no sockets, threads or clocks in here; what comes from the network never panics. In steady state nothing
//! is allocated: queues, rings and buffers are kept.
//!
//! Invariant: under one key no index is sealed twice with different contents.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod egress;
mod feedback;
mod header;
mod hearing;
mod pace;
mod packet;
mod padding;
mod probe;
mod replay;
mod report;
mod resend;
mod ring;
mod rtcp;
mod srtp;
mod stream;
mod twcc;
mod window;
mod writer;

pub use egress::{Egress, Options, Sink};
pub use feedback::{Feedback, Heard};
pub use pace::Pacing;
pub use packet::{Packet, Patch};
pub use rtcloud_bandwidth::PacketResult;
pub use srtp::{Keys, Opening, Profile, Sealing};
pub use stream::{Extensions, SendStats, StreamConfig, StreamId};
