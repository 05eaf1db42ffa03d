//! Where a transport's datagrams go.
//!
//! We are ICE-lite and take a client's word for where it is: one check moves the sending, and a check can carry any
//! source address. So an address gets media only once something came from there that DTLS or SRTP opened; until then
//! media goes where it went before. What sets up or tries the new way is small: answers to checks, and DTLS in
//! proportion to what came from there, or out of a little that each transport may spend before it is connected.
//!
//! A client behind a translator may change its address without knowing; ICE goes on with the old one until its checks
//! have been missing for long. What has proved itself at the new address while the old one is silent is followed.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::remote::Remote;

/// Earlier addresses that a client may go back to without proving itself anew.
const MAX_EARLIER: usize = 3;
/// Addresses whose credit is known at a time.
const MAX_TRIED: usize = 8;
/// What an address that has not proved itself may get for each byte that came from it.
const FACTOR: usize = 3;
const MAX_CREDIT: usize = 16 * 1024;
/// Bytes of DTLS that a transport may send before anything was proven: a few flights, and again what was lost.
const HANDSHAKE: usize = 16 * 1024;

/// When the client is heard elsewhere only for so long, it is there.
const SILENT: Duration = Duration::from_secs(2);

/// An address of the client's and ours that it talks to, and when that was certain.
#[derive(Debug, Clone, Copy)]
struct Proven {
    client: Remote,
    ours: SocketAddr,
    at: Instant,
}

/// The addresses of one transport.
#[derive(Debug)]
pub(crate) struct Path {
    /// Where the client was heard last. Beside the others: each packet asks for it.
    newest: Option<Proven>,
    /// Where it was heard before, the last first.
    earlier: Vec<Proven>,
    tried: Vec<(Remote, usize)>,
    handshake: usize,
}

impl Path {
    pub(crate) fn new() -> Self {
        Self { newest: None, earlier: Vec::new(), tried: Vec::new(), handshake: HANDSHAKE }
    }

    /// So many bytes came from an address that the transport knows.
    pub(crate) fn handle_received(&mut self, client: Remote, size: usize) {
        if self.is_proven(client) {
            return;
        }
        let index = self.tried.iter().position(|(address, _)| *address == client).unwrap_or_else(|| {
            if self.tried.len() == MAX_TRIED {
                self.tried.remove(0);
            }
            self.tried.push((client, 0));
            self.tried.len() - 1
        });
        let credit = &mut self.tried[index].1;
        *credit = credit.saturating_add(size * FACTOR).min(MAX_CREDIT);
    }

    /// Something authentic came from there.
    pub(crate) fn handle_proof(&mut self, client: Remote, ours: SocketAddr, now: Instant) {
        let before = self.newest.replace(Proven { client, ours, at: now });
        if before.is_some_and(|p| p.client == client) {
            return;
        }
        self.tried.retain(|(address, _)| *address != client);
        let Some(before) = before else { return };
        self.earlier.retain(|p| p.client != client);
        self.earlier.insert(0, before);
        self.earlier.truncate(MAX_EARLIER);
    }

    /// Where the client was last heard, and at which address of ours: where media goes that no check decides on.
    #[inline]
    pub(crate) fn newest(&self) -> Option<(Remote, SocketAddr)> {
        self.newest.map(|p| (p.client, p.ours))
    }

    /// Where a datagram goes that shall go from `ours` to `client`: to whom and from where. None when nowhere.
    #[inline]
    pub(crate) fn choose(
        &mut self,
        client: Remote,
        ours: SocketAddr,
        contents: &[u8],
    ) -> Option<(Remote, SocketAddr)> {
        match &self.newest {
            Some(newest) if newest.client == client => Some((client, ours)),
            _ => self.choose_other(client, ours, contents),
        }
    }

    #[cold]
    fn choose_other(
        &mut self,
        client: Remote,
        ours: SocketAddr,
        contents: &[u8],
    ) -> Option<(Remote, SocketAddr)> {
        if matches!(contents.first(), Some(0..=3)) {
            return Some((client, ours));
        }
        let to_proven = self.newest.map(|p| (p.client, p.ours));
        let known = self.earlier.iter().find(|p| p.client == client);
        if let (Some(newest), Some(known)) = (&self.newest, known) {
            let silent = newest.at.saturating_duration_since(known.at) >= SILENT;
            return if silent { to_proven } else { Some((client, ours)) };
        }
        if matches!(contents.first(), Some(20..=63)) {
            let size = contents.len();
            let credit = self.tried.iter_mut().find(|(address, _)| *address == client);
            if let Some((_, credit)) = credit
                && *credit >= size
            {
                *credit -= size;
                return Some((client, ours));
            }
            if to_proven.is_none() && self.handshake >= size {
                self.handshake -= size;
                return Some((client, ours));
            }
        }
        to_proven
    }

    fn is_proven(&self, client: Remote) -> bool {
        self.newest.iter().chain(&self.earlier).any(|p| p.client == client)
    }
}

/// Whether this is our answer to a check, which only a valid one gets.
pub(crate) fn answers_check(contents: &[u8]) -> bool {
    contents.starts_with(&[1, 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEDIA: [u8; 1200] = [0x80; 1200];
    const DTLS: [u8; 1000] = [22; 1000];

    fn addresses() -> (SocketAddr, Remote, Remote) {
        let [ours, client, victim] =
            ["192.0.2.1:7882", "198.51.100.1:5000", "203.0.113.9:53"].map(|a| a.parse().unwrap());
        (ours, Remote::udp(client), Remote::udp(victim))
    }

    #[test]
    fn a_stranger_named_by_a_check_gets_no_media() {
        let (ours, client, victim) = addresses();
        let now = Instant::now();
        let mut path = Path::new();
        assert_eq!(path.choose(client, ours, &MEDIA), None, "nothing is proven yet");
        path.handle_proof(client, ours, now);
        path.handle_received(victim, 100);
        assert_eq!(path.choose(victim, ours, &MEDIA), Some((client, ours)));
        assert_eq!(path.choose(victim, ours, &[1, 1, 0, 0]), Some((victim, ours)), "an answer to the check");
        assert_eq!(path.choose(victim, ours, &DTLS[..300]), Some((victim, ours)), "in proportion");
        assert_eq!(path.choose(victim, ours, &DTLS[..1]), Some((client, ours)));
        path.handle_proof(victim, ours, now);
        assert_eq!(path.choose(victim, ours, &MEDIA), Some((victim, ours)));
        assert_eq!(path.choose(client, ours, &MEDIA), Some((client, ours)), "and may go back");
        path.handle_proof(victim, ours, now + SILENT);
        assert_eq!(path.choose(client, ours, &MEDIA), Some((victim, ours)), "it is heard there alone");
        assert_eq!(path.choose(client, ours, &[1, 1]), Some((client, ours)), "but who asks is answered");
    }

    #[test]
    fn a_handshake_has_room_but_not_for_ever() {
        let (ours, client, _) = addresses();
        let mut path = Path::new();
        let sent = (0..100).take_while(|_| path.choose(client, ours, &DTLS).is_some()).count();
        assert_eq!(sent, HANDSHAKE / DTLS.len());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (ours, ..) = addresses();
        let mut path = Path::new();
        for port in 1..1000 {
            let client = Remote::udp(SocketAddr::from(([203, 0, 113, 1], port)));
            path.handle_received(client, 2000);
            path.handle_received(client, 20_000);
            path.handle_proof(Remote::tcp(SocketAddr::from(([203, 0, 113, 2], port))), ours, Instant::now());
        }
        assert_eq!((path.tried.len(), path.earlier.len()), (MAX_TRIED, MAX_EARLIER));
        assert!(path.tried.iter().all(|(_, credit)| *credit == MAX_CREDIT));
    }

    #[test]
    fn a_connection_proves_nothing_of_datagrams_from_its_address() {
        let (ours, client, _) = addresses();
        let connection = Remote::tcp(client.address);
        let mut path = Path::new();
        path.handle_proof(connection, ours, Instant::now());
        assert_eq!(path.choose(client, ours, &MEDIA), Some((connection, ours)));
    }
}
