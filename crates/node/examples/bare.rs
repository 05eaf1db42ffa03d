//! The least that forwarding can cost: a loop that seals and sends what a node would, and does nothing else.
//!
//! `cargo run --release -p rtcloud-node --example bare -- DESTINATIONS SECONDS VIDEOS SOUNDS GSO [CPU]`: so many cameras
//! (30 frames a second of 9 packets) and microphones (50 packets a second) go to that many sockets, at the pace of real
//! ones, with AES-128-GCM, a frame's packets for one socket in one call (GSO 1) or each in its own (GSO 0). A second
//! thread, on CPU when that is given, reads them. Prints packets received for each second of the sending thread's CPU
//! time, and how many were sent and received. `benches/forward` shows the server beside it.

#![allow(clippy::print_stdout, reason = "it is what the program is for")]

use std::error::Error;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

type Failure = Box<dyn Error + Send + Sync>;

/// As on the wire: the fixed header, and extensions (transport-wide number, or audio level).
const HEADER: usize = 12 + 8;
const TAG: usize = 16;
const BUFFER: usize = 4 * 1024 * 1024;

/// A camera or a microphone.
struct Source {
    packets: usize,
    payload: usize,
    interval: Duration,
    next: Instant,
}

struct Destination {
    address: SocketAddr,
    key: LessSafeKey,
    sealed: u64,
}

impl Destination {
    /// The source's next frame, its packets one after the other.
    fn seal(&mut self, source: &Source, payload: &[u8], into: &mut Vec<u8>) -> Result<usize, Failure> {
        into.clear();
        for _ in 0..source.packets {
            let start = into.len();
            self.sealed += 1;
            into.extend_from_slice(&[0x90; HEADER]);
            into.extend_from_slice(payload);
            let mut nonce = [0; 12];
            nonce[4..].copy_from_slice(&self.sealed.to_be_bytes());
            let (header, body) = into[start..].split_at_mut(HEADER);
            let nonce = Nonce::assume_unique_for_key(nonce);
            let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(header), body);
            let tag = tag.map_err(|_| "the cipher refused")?;
            into.extend_from_slice(tag.as_ref());
        }
        Ok(HEADER + payload.len() + TAG)
    }
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Reads all sockets until it is over.
fn read(sockets: &[UdpSocket], over: &AtomicBool, received: &AtomicU64) -> Result<(), Failure> {
    let mut buffer = [0; 2048];
    while !over.load(Ordering::Relaxed) {
        let mut fds: Vec<PollFd<'_>> = sockets.iter().map(|s| PollFd::new(s, PollFlags::IN)).collect();
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 50_000_000 }))?;
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        for (socket, _) in sockets.iter().zip(ready).filter(|(_, ready)| *ready) {
            let mut count = 0;
            loop {
                match socket.recv(&mut buffer) {
                    Ok(_) => count += 1,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                }
            }
            received.fetch_add(count, Ordering::Relaxed);
        }
    }
    Ok(())
}

fn main() -> Result<(), Failure> {
    let args: Vec<usize> = std::env::args().skip(1).map(|a| a.parse()).collect::<Result<_, _>>()?;
    let [destinations, seconds, videos, sounds, gso] =
        *args.first_chunk().ok_or("five numbers are needed")?;
    let sockets = (0..destinations)
        .map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.set_nonblocking(true)?;
            // The kernel gives less when its limits are lower.
            let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(BUFFER);
            Ok(socket)
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let mut all = sockets
        .iter()
        .map(|socket| {
            let key = UnboundKey::new(&AES_128_GCM, &[7; 16]).map_err(|_| "the key is refused")?;
            Ok(Destination { address: socket.local_addr()?, key: LessSafeKey::new(key), sealed: 0 })
        })
        .collect::<Result<Vec<_>, Failure>>()?;

    let begun = Instant::now();
    let source = |index: usize| {
        let (packets, payload, interval) = if index < videos {
            (9, 1100, Duration::from_secs(1) / 30)
        } else {
            (1, 120, Duration::from_millis(20))
        };
        // They are not in step.
        let next = begun + interval * index as u32 / (videos + sounds) as u32;
        Source { packets, payload, interval, next }
    };
    let mut sources: Vec<Source> = (0..videos + sounds).map(source).collect();

    let (over, received) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let reader = std::thread::spawn({
        let (over, received, cpu) = (over.clone(), received.clone(), args.get(5).copied());
        move || {
            if let Some(cpu) = cpu {
                let mut set = CpuSet::new();
                set.set(cpu);
                sched_setaffinity(None, &set)?;
            }
            read(&sockets, &over, &received)
        }
    });

    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
    let payload = [7; 1100];
    let mut buffer = Vec::with_capacity(65_536);
    let (mut sent, used) = (0u64, cpu_time());
    let end = begun + Duration::from_secs(seconds as u64);
    while let Some(source) = sources.iter_mut().min_by_key(|s| s.next) {
        if source.next >= end {
            break;
        }
        std::thread::sleep(source.next.saturating_duration_since(Instant::now()));
        source.next += source.interval;
        for destination in &mut all {
            let size = destination.seal(source, &payload[..source.payload], &mut buffer)?;
            let each = if gso == 0 { size } else { buffer.len() };
            for contents in buffer.chunks(each) {
                let transmit = Transmit {
                    destination: destination.address,
                    ecn: None,
                    contents,
                    segment_size: (contents.len() > size).then_some(size),
                    src_ip: None,
                };
                if state.try_send(UdpSockRef::from(&socket), &transmit).is_ok() {
                    sent += (contents.len() / size) as u64;
                }
            }
        }
    }
    let used = (cpu_time() - used).as_secs_f64();
    // What is on its way still comes.
    std::thread::sleep(Duration::from_millis(100));
    over.store(true, Ordering::Relaxed);
    reader.join().map_err(|_| "the reader panicked")??;
    let received = received.load(Ordering::Relaxed);
    println!("{:.0} {sent} {received}", received as f64 / used);
    Ok(())
}
