//! What a room wants done, collected in buffers that are used again and again.

use std::net::SocketAddr;
use std::ops::Range;

use rtcloud_egress::Sink;

use crate::event::Event;
use crate::ids::TransportKey;
use crate::remote::Remote;

/// A datagram to send; its bytes are in [`Output::bytes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Where to.
    pub destination: Remote,
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
    /// The contents of all datagrams, one after the other, and behind them what was there before: bytes that are written
    /// over anyway are not cleared first.
    pub bytes: Vec<u8>,
    /// Datagrams in sending order. Those of one transport that leave together stand together.
    pub datagrams: Vec<Datagram>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// Changes of routes.
    pub routes: Vec<Route>,
    /// How many of the bytes are used.
    pub used: usize,
}

impl Output {
    /// Empties the buffers and keeps their memory.
    pub fn clear(&mut self) {
        self.used = 0;
        self.datagrams.clear();
        self.events.clear();
        self.routes.clear();
    }

    pub(crate) fn push(&mut self, source: SocketAddr, destination: Remote, contents: &[u8]) {
        let mut sink = self.sink(source, destination);
        sink.begin(contents.len()).copy_from_slice(contents);
        sink.commit(contents.len());
    }

    /// Takes datagrams of one way as they are made.
    pub(crate) fn sink(&mut self, source: SocketAddr, destination: Remote) -> Way<'_> {
        Way { output: self, source, destination }
    }
}

/// The end of an output, where datagrams from one address of ours to one place are written.
#[derive(Debug)]
pub(crate) struct Way<'a> {
    output: &'a mut Output,
    source: SocketAddr,
    destination: Remote,
}

impl Sink for Way<'_> {
    fn begin(&mut self, len: usize) -> &mut [u8] {
        let Output { bytes, used, .. } = self.output;
        let end = used.saturating_add(len);
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        &mut bytes[*used..end]
    }

    fn commit(&mut self, len: usize) {
        let Output { bytes, used, datagrams, .. } = self.output;
        let range = *used..used.saturating_add(len).min(bytes.len());
        *used = range.end;
        datagrams.push(Datagram { destination: self.destination, source: self.source, range });
    }
}
