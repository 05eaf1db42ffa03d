//! What clients send: media, feedback, data, and what no client would.

use std::time::Instant;

use str0m::Input;
use str0m::format::Codec;
use str0m::media::{KeyframeRequestKind, Mid, Pt, Rid};
use str0m::rtp::{ExtensionValues, RtpWrite};

use super::{SERVER, World, stamp};

impl World {
    /// One frame of H.264, VP8 or Opus, in so many packets.
    pub(crate) fn send(
        &mut self,
        client: usize,
        mid: Mid,
        rid: Option<&str>,
        codec: Codec,
        key: bool,
        packets: usize,
    ) {
        self.send_at(client, mid, rid, codec, key, packets, self.now);
    }

    #[allow(clippy::too_many_arguments)]
    pub(crate) fn send_at(
        &mut self,
        client: usize,
        mid: Mid,
        rid: Option<&str>,
        codec: Codec,
        key: bool,
        packets: usize,
        captured: Instant,
    ) {
        let c = &mut self.clients[client];
        let rid: Option<Rid> = rid.map(Rid::from);
        let rate = if codec == Codec::Opus { 48 } else { 90 };
        let at = captured.duration_since(self.start).as_micros() as u64;
        let pt = c.payload_type(mid, codec);
        for n in 0..packets {
            let seq = c.sequences.entry((mid, rid)).or_insert(100);
            *seq += 1;
            let first = n == 0;
            let mut payload = match codec {
                Codec::H264 if first && key => vec![0x65, 0x88],
                Codec::H264 if first => vec![0x41, 0x9a],
                Codec::H264 => vec![0x5c, if n + 1 == packets { 0x41 } else { 0x01 }],
                Codec::Vp8 => {
                    let picture = *seq as u16 & 0x7fff;
                    let start = if first { 0x90 } else { 0x80 };
                    let key = if key && first { 0x00 } else { 0x01 };
                    vec![start, 0xe0, 0x80 | (picture >> 8) as u8, picture as u8, *seq as u8, 0x20, key]
                }
                _ => vec![0x78],
            };
            payload.extend_from_slice(&seq.to_be_bytes());
            payload.resize(if codec == Codec::Opus { 100 } else { 1000 }, 7);
            let mut api = c.rtc.direct_api();
            let stream = api.stream_tx_by_mid(mid, rid).expect("a stream to send");
            let rtp = RtpWrite::new(pt, (*seq).into(), (at * rate / 1000) as u32, captured + c.skew, payload)
                .marker(n + 1 == packets)
                .ext_vals(ExtensionValues {
                    audio_level: c.level,
                    voice_activity: c.level.map(|_| true),
                    ..Default::default()
                })
                .nackable(codec != Codec::Opus);
            stream.write_rtp(rtp);
        }
        c.rtc.handle_input(Input::Timeout(self.now + c.skew)).unwrap();
        self.poll_client(client);
    }

    /// One packet of H.264 or, on a line of sound, of Opus, which leaves with the next [`World::flush`].
    pub(crate) fn write(
        &mut self,
        client: usize,
        mid: Mid,
        rid: Option<Rid>,
        payload: Vec<u8>,
        marker: bool,
        captured: Instant,
    ) {
        let c = &mut self.clients[client];
        let sound = rid.is_none() && payload.first() == Some(&stamp::SOUND);
        let (codec, rate) = if sound { (Codec::Opus, 48) } else { (Codec::H264, 90) };
        let (pt, payload) = match c.redundant_type(mid).filter(|_| sound) {
            Some((plain, redundant)) => (redundant, c.with_the_last(plain, payload)),
            None => (c.payload_type(mid, codec), payload),
        };
        let seq = c.sequences.entry((mid, rid)).or_insert(100);
        *seq += 1;
        let time = (captured.duration_since(self.start).as_micros() as u64 * rate / 1000) as u32;
        let mut api = c.rtc.direct_api();
        let stream = api.stream_tx_by_mid(mid, rid).expect("a stream to send");
        let rtp = RtpWrite::new(pt, (*seq).into(), time, captured + c.skew, payload).marker(marker);
        stream.write_rtp(rtp.nackable(true));
    }

    /// Lets everything leave that was written.
    pub(crate) fn flush(&mut self, client: usize) {
        let c = &mut self.clients[client];
        c.rtc.handle_input(Input::Timeout(self.now + c.skew)).unwrap();
        self.poll_client(client);
    }

    /// Sends RTCP beside str0m, under its session's keys. The sender must be another one.
    pub(crate) fn say(&mut self, client: usize, packet: &[u8]) {
        let c = &mut self.clients[client];
        let Some(sealing) = &c.sealing else { return };
        let mut room = packet.to_vec();
        room.resize(packet.len() + 32, 0);
        c.said += 1;
        let Some(len) = sealing.seal_rtcp(&mut room, packet.len(), c.said) else { return };
        let way = (c.address, SERVER.parse().unwrap());
        self.network.send(c.address, false, way, &room[..len], self.now);
    }

    /// Microseconds since the start.
    pub(crate) fn micros(&self, at: Instant) -> u64 {
        at.duration_since(self.start).as_micros() as u64
    }

    /// A packet as it is given.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn send_raw(
        &mut self,
        client: usize,
        mid: Mid,
        pt: Pt,
        seq: u64,
        time: u32,
        marker: bool,
        payload: Vec<u8>,
    ) {
        let c = &mut self.clients[client];
        let now = self.now + c.skew;
        let rtp = RtpWrite::new(pt, seq.into(), time, now, payload).marker(marker);
        c.rtc.direct_api().stream_tx_by_mid(mid, None).expect("a stream to send").write_rtp(rtp);
        c.rtc.handle_input(Input::Timeout(now)).unwrap();
        self.poll_client(client);
    }

    /// Empty packets, as probes for bandwidth are.
    pub(crate) fn send_padding(&mut self, client: usize, mid: Mid, count: usize) {
        let c = &mut self.clients[client];
        let pt = c.payload_type(mid, Codec::H264);
        for _ in 0..count {
            let seq = c.sequences.entry((mid, None)).or_insert(100);
            *seq += 1;
            let now = self.now + c.skew;
            let rtp = RtpWrite::new(pt, (*seq).into(), 0, now, Vec::new());
            c.rtc.direct_api().stream_tx_by_mid(mid, None).unwrap().write_rtp(rtp);
        }
        c.rtc.handle_input(Input::Timeout(self.now + c.skew)).unwrap();
        self.poll_client(client);
    }

    pub(crate) fn send_message(&mut self, client: usize, label: &str, message: &[u8]) {
        let c = &mut self.clients[client];
        let id = c.channels[label];
        assert!(c.rtc.channel(id).unwrap().write(true, message).unwrap());
        c.rtc.handle_input(Input::Timeout(self.now + c.skew)).unwrap();
        self.poll_client(client);
    }

    pub(crate) fn request_keyframe(&mut self, client: usize, mid: Mid) {
        let c = &mut self.clients[client];
        let mut api = c.rtc.direct_api();
        api.stream_rx_by_mid(mid, None).unwrap().request_keyframe(KeyframeRequestKind::Pli);
        c.rtc.handle_input(Input::Timeout(self.now + c.skew)).unwrap();
        self.poll_client(client);
    }
}
