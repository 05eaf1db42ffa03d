//! Single datagrams, each for another client, in one system call.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::slice;

use arrayvec::ArrayVec;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};

/// So many datagrams at most leave in one call.
pub(crate) const LARGEST: usize = 32;
/// Fewer are no cheaper together.
pub(crate) const SMALLEST: usize = 3;

/// Sends the first [`LARGEST`] of some datagrams; how many of them the system took. It is an error only if it took none.
pub(crate) fn send<'a>(
    socket: impl AsFd,
    datagrams: impl Iterator<Item = (SocketAddr, &'a [u8])>,
) -> io::Result<usize> {
    let mut addresses = ArrayVec::<SocketAddrAny, LARGEST>::new();
    let mut contents = ArrayVec::<IoSlice<'a>, LARGEST>::new();
    for (address, bytes) in datagrams.take(LARGEST) {
        addresses.push(address.into());
        contents.push(IoSlice::new(bytes));
    }
    let mut controls: ArrayVec<SendAncillaryBuffer<'_, '_, '_>, LARGEST> =
        addresses.iter().map(|_| SendAncillaryBuffer::default()).collect();
    let mut messages: ArrayVec<MMsgHdr<'_>, LARGEST> = addresses
        .iter()
        .zip(&contents)
        .zip(&mut controls)
        .map(|((address, bytes), control)| MMsgHdr::new_with_addr(address, slice::from_ref(bytes), control))
        .collect();
    Ok(sendmmsg(socket, &mut messages, SendFlags::DONTWAIT)?)
}
