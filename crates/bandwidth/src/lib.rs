//! How much a client's network carries, and which streams get it.
//!
//! There are no sockets, threads or clocks in here; what comes from the network never panics.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod allocation;
mod delay;
mod estimator;
mod loss;
mod packet;
mod prober;
mod rate;
mod seen;
mod silence;
mod standing;
mod throughput;
mod trend;

pub use allocation::{Allocator, Budget, Class, Shared, Want};
pub use estimator::{Estimator, Limits, Probe, Usage};
pub use packet::PacketResult;
