//! What comes for a room: descriptions, datagrams of anybody, and media and reports of participants that mean harm.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtcloud_egress::Sealing;
use rtcloud_sfu::{
    Command, DtlsCert, EgressOptions, Event, Kind, Output, ParticipantId, Rights, Room, Route, Stream,
    Target, TransportConfig, TransportKey, keys,
};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid, Pt, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpWrite};
use str0m::{Candidate, Input, Output as RtcOutput, Rtc};

/// What programs that are no browsers offer.
const PROGRAMS: [&str; 4] = [
    include_str!("../../../sfu/tests/offers/ffmpeg.sdp"),
    include_str!("../../../sfu/tests/offers/obs.sdp"),
    include_str!("../../../sfu/tests/offers/gstreamer.sdp"),
    include_str!("../../../sfu/tests/offers/hardware.sdp"),
];
const SERVER: &str = "192.0.2.1:7882";
const STEP: Duration = Duration::from_millis(5);
/// Datagrams of a session that inputs are made from.
const MAX_SEEDS: usize = 200;

pub(super) fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn certificate() -> DtlsCert {
    rtcloud_sfu::generate_certificate().expect("a certificate")
}

fn empty_room(certificate: &DtlsCert, now: Instant) -> Room {
    let config = TransportConfig {
        candidates: vec![address(SERVER)],
        tcp_candidates: vec![address(SERVER)],
        certificate: certificate.clone(),
        video_codecs: ["h264", "vp8", "vp9", "av1"].map(str::to_owned).to_vec(),
        egress: EgressOptions { padding: true, hold: Duration::ZERO, origin: now, unix: Duration::ZERO },
    };
    let mut room = Room::new(Arc::new(config), now);
    for (name, single, fixed) in
        [("single", true, false), ("dual", false, false), ("fixed", true, true), ("viewer", true, false)]
    {
        room.handle_command(
            Command::AddParticipant {
                participant: name.into(),
                identity: name.to_owned(),
                single,
                fixed,
                adaptive: true,
                rights: Rights::default(),
            },
            now,
        );
    }
    for (track, cid, kind, codec) in
        [("TR_1", "cam", Kind::Video, "vp8"), ("TR_2", "mic", Kind::Audio, "opus")]
    {
        room.handle_command(
            Command::PublishTrack {
                participant: "single".into(),
                track: track.into(),
                cid: cid.to_owned(),
                kind,
                stream: Stream::default(),
                codec: codec.to_owned(),
                layers: vec![],
                muted: false,
            },
            now,
        );
        for name in ["dual", "fixed", "viewer"] {
            room.handle_command(Command::Subscribe { participant: name.into(), track: track.into() }, now);
        }
    }
    room
}

/// An offer like a browser's: sound, perhaps simulcast, receive sections, messages.
fn offer(from: SocketAddr, simulcast: bool, now: Instant) -> (Rtc, SdpPendingOffer, String) {
    let mut rtc = Rtc::builder().set_rtp_mode(true).set_crypto_provider(keys::crypto()).build(now);
    rtc.add_local_candidate(Candidate::host(from, "udp").expect("a candidate"));
    let mut layers = Simulcast::new();
    for rid in ["q", "h", "f"] {
        layers.add_send_layer(SimulcastLayer::new(rid));
    }
    let layers = simulcast.then_some(layers);
    let mut api = rtc.sdp_api();
    api.add_channel("_reliable".to_owned());
    api.add_media(MediaKind::Audio, Direction::SendOnly, Some("s".into()), Some("mic".into()), None);
    api.add_media(MediaKind::Video, Direction::SendOnly, Some("s".into()), Some("cam".into()), layers);
    api.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
    api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
    let (offer, pending) = api.apply().expect("an offer");
    (rtc, pending, offer.to_sdp_string())
}

/// Offers of a browser and of programs, each complete.
pub(super) fn offers_of(now: Instant) -> Vec<Vec<u8>> {
    let (_, _, text) = offer(address("198.51.100.1:5000"), true, now);
    let fingerprint = text.lines().find_map(|l| l.strip_prefix("a=fingerprint:")).expect("a fingerprint");
    let program = |text: &str| text.replace("{fingerprint}", fingerprint).replace('\n', "\r\n").into_bytes();
    PROGRAMS.into_iter().map(program).chain([text.clone().into_bytes()]).collect()
}

thread_local! {
    static CERTIFICATE: DtlsCert = certificate();
    static SIMPLE: RefCell<Session> = RefCell::new(Session::new(true, |sdp| sdp));
    static UNNAMED: RefCell<Session> = RefCell::new(Session::new(true, unnamed));
    static OPENED: RefCell<Session> = RefCell::new(Session::new(false, |sdp| sdp));
}

/// Offers and answers to a room.
pub fn offers(input: &[u8]) {
    let now = Instant::now();
    let sdp = String::from_utf8_lossy(input).into_owned();
    let mut room = CERTIFICATE.with(|certificate| empty_room(certificate, now));
    let mut output = Output::default();
    room.poll(now, &mut output);
    for request in 0..2 {
        for name in ["single", "fixed"] {
            let (participant, sdp) = (ParticipantId::from(name), sdp.clone());
            room.handle_command(Command::Offer { participant, request, target: Target::Single, sdp }, now);
            room.poll(now, &mut output);
        }
    }
    room.handle_command(Command::Answer { participant: "dual".into(), request: 1, sdp }, now);
    room.poll(now, &mut output);
    assert!(output.events.iter().any(|e| matches!(e, Event::Answered { .. } | Event::SdpRejected { .. })));
}

pub fn offer_seeds() -> Vec<Vec<u8>> {
    offers_of(Instant::now())
}

/// One end of a session.
struct Client {
    rtc: Rtc,
    address: SocketAddr,
    key: TransportKey,
    lines: Vec<Mid>,
    sealing: Option<Sealing>,
    index: u32,
    sequence: u64,
}

impl Client {
    fn take_keys(&mut self) {
        if let Some((sealing, _)) = keys::take() {
            self.sealing = Some(sealing);
        }
    }
}

/// A room with a publisher and a viewer, both connected.
struct Session {
    now: Instant,
    room: Room,
    output: Output,
    clients: Vec<Client>,
    /// What the publisher sent to come to be connected.
    sent: Vec<Vec<u8>>,
    /// Packets of media that the viewer was sent.
    forwarded: usize,
}

fn unnamed(sdp: String) -> String {
    let kept = |l: &&str| !l.starts_with("a=ssrc") && !l.contains("sdes:") && !l.contains("rid");
    sdp.lines().filter(kept).flat_map(|l| [l, "\r\n"]).collect()
}

impl Session {
    fn new(simulcast: bool, edit: fn(String) -> String) -> Self {
        let now = Instant::now();
        let room = CERTIFICATE.with(|certificate| empty_room(certificate, now));
        let mut session = Self {
            now,
            room,
            output: Output::default(),
            clients: Vec::new(),
            sent: Vec::new(),
            forwarded: 0,
        };
        session.join("single", "198.51.100.1:5000", simulcast, edit);
        session.join("viewer", "198.51.100.2:5000", simulcast, |sdp| sdp);
        for _ in 0..500 {
            session.pass();
        }
        assert!(session.clients.iter().all(|client| client.rtc.is_connected() && client.sealing.is_some()));
        session
    }

    fn join(&mut self, name: &str, from: &str, simulcast: bool, edit: fn(String) -> String) {
        let from = address(from);
        let (mut rtc, pending, sdp) = offer(from, simulcast, self.now);
        let lines = mids(&sdp).iter().map(|mid| Mid::from(mid.as_str())).collect();
        let (participant, sdp) = (ParticipantId::from(name), edit(sdp));
        self.output.clear();
        self.room.handle_command(
            Command::Offer { participant: participant.clone(), request: 1, target: Target::Single, sdp },
            self.now,
        );
        self.room.poll(self.now, &mut self.output);
        let answer = self.output.events.iter().find_map(|e| match e {
            Event::Answered { participant: to, sdp, .. } if *to == participant => {
                SdpAnswer::from_sdp_string(sdp).ok()
            }
            _ => None,
        });
        rtc.sdp_api().accept_answer(pending, answer.expect("an answer")).expect("a fitting answer");
        let key = self.output.routes.iter().rev().find_map(|r| match r {
            Route::Add(_, key) => Some(*key),
            Route::Remove(_) => None,
        });
        let (key, sealing) = (key.expect("a transport"), None);
        self.clients.push(Client { rtc, address: from, key, lines, sealing, index: 1 << 20, sequence: 100 });
    }

    /// A while passes, and everything that is sent arrives.
    fn pass(&mut self) {
        self.now += STEP;
        for index in 0..self.clients.len() {
            let _ = self.clients[index].rtc.handle_input(Input::Timeout(self.now));
            self.drain(index);
        }
        self.room.handle_timeout(self.now);
        self.deliver();
    }

    /// What a client has to send goes to the room.
    fn drain(&mut self, index: usize) {
        let client = &mut self.clients[index];
        loop {
            let out = client.rtc.poll_output();
            // At once: the room's own keys pass through the same place.
            client.take_keys();
            match out {
                Ok(RtcOutput::Transmit(t)) => {
                    if index == 0 && self.sent.len() < MAX_SEEDS {
                        self.sent.push(t.contents.to_vec());
                    }
                    let (key, from) = (client.key, client.address);
                    let to = address(SERVER);
                    self.room.handle_datagram(key, from, to, &t.contents, self.now, &mut self.output);
                }
                Ok(RtcOutput::Event(_)) => {}
                Ok(RtcOutput::Timeout(_)) | Err(_) => break,
            }
        }
    }

    /// What the room has to send goes to its clients.
    fn deliver(&mut self) {
        self.room.poll(self.now, &mut self.output);
        assert!(self.room.next_timeout() > self.now, "nothing is left to do at once");
        for datagram in std::mem::take(&mut self.output.datagrams) {
            let contents = &self.output.bytes[datagram.range];
            let to = datagram.destination.address;
            self.forwarded += usize::from(matches!(contents, [128..=191, 0..=191 | 224.., ..]));
            let Some(client) = self.clients.iter_mut().find(|client| client.address == to) else { continue };
            let Ok(receive) = Receive::new(Protocol::Udp, address(SERVER), to, contents) else { continue };
            let _ = client.rtc.handle_input(Input::Receive(self.now, receive));
            client.take_keys();
        }
        self.output.clear();
        for index in 0..self.clients.len() {
            self.drain(index);
        }
    }

    fn receive(&mut self, from: usize, contents: &[u8]) {
        let client = &self.clients[from];
        let (key, from) = (client.key, client.address);
        self.room.handle_datagram(key, from, address(SERVER), contents, self.now, &mut self.output);
    }

    /// Whether the session still serves; one that a hostile participant ended for itself is made anew.
    fn serves(&self) -> bool {
        self.clients.iter().all(|client| client.rtc.is_connected())
    }

    /// The publisher sends packets of any contents, sealed.
    fn publish(&mut self, input: &[u8]) {
        let mut rest = input;
        for _ in 0..32 {
            let [what, step, length, tail @ ..] = rest else { break };
            let (payload, after) = tail.split_at(usize::from(*length).min(tail.len()));
            let client = &mut self.clients[0];
            client.sequence += u64::from(*step) << (4 * (what >> 6));
            let sequence = client.sequence;
            let (now, sound) = (self.now, what & 1 == 0);
            let kind = if sound { MediaKind::Audio } else { MediaKind::Video };
            if let Some((mid, types)) = sending_line(client, kind)
                && let Some(pt) = types.get(usize::from(what >> 2 & 15) % types.len().max(1))
                && let Some(stream) = client.rtc.direct_api().stream_tx_by_mid(mid, None)
            {
                let level = Some(step.cast_signed());
                let time = (sequence as u32).wrapping_mul(u32::from(*length) * 97);
                stream.write_rtp(
                    RtpWrite::new(*pt, sequence.into(), time, now, payload.to_vec())
                        .marker(what & 2 != 0)
                        .ext_vals(ExtensionValues { audio_level: level, ..Default::default() }),
                );
            }
            let _ = client.rtc.handle_input(Input::Timeout(now));
            self.drain(0);
            rest = after;
        }
    }

    /// A client says something, sealed.
    fn say(&mut self, from: usize, compound: &[u8]) {
        let mut room = [0; 1540];
        let len = compound.len().clamp(8, 1400);
        let said = compound.len().min(len);
        room[..said].copy_from_slice(&compound[..said]);
        let client = &mut self.clients[from];
        client.index += 1;
        let Some(sealed) = client.sealing.as_ref().and_then(|s| s.seal_rtcp(&mut room, len, client.index))
        else {
            return;
        };
        self.receive(from, &room[..sealed]);
    }
}

/// Media lines of a description.
pub(super) fn mids(sdp: &str) -> Vec<String> {
    sdp.lines().filter_map(|line| line.strip_prefix("a=mid:")).map(|mid| mid.trim().to_owned()).collect()
}

/// The line on which a client sends something of this kind, and its payload types.
fn sending_line(client: &Client, kind: MediaKind) -> Option<(Mid, Vec<Pt>)> {
    let sends =
        |mid: &&Mid| client.rtc.media(**mid).is_some_and(|m| m.kind() == kind && m.direction().is_sending());
    let mid = *client.lines.iter().find(sends)?;
    Some((mid, client.rtc.media(mid)?.remote_pts().to_vec()))
}

fn with(session: &'static std::thread::LocalKey<RefCell<Session>>, does: impl FnOnce(&mut Session)) {
    session.with_borrow_mut(|session| {
        does(session);
        session.pass();
    });
}

/// Datagrams from the address of a client that is connected.
pub fn datagrams(input: &[u8]) {
    with(&SIMPLE, |session| session.receive(0, input));
}

pub fn datagram_seeds() -> Vec<Vec<u8>> {
    seeds_of(&SIMPLE)
}

/// The same for a client whose packets only their payload type tells.
pub fn unnamed_datagrams(input: &[u8]) {
    with(&UNNAMED, |session| session.receive(0, input));
}

pub fn unnamed_datagram_seeds() -> Vec<Vec<u8>> {
    seeds_of(&UNNAMED)
}

fn seeds_of(session: &'static std::thread::LocalKey<RefCell<Session>>) -> Vec<Vec<u8>> {
    let plain = [vec![0x80, 111, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0x78], vec![0x80, 200, 0, 6]];
    session.with_borrow(|session| session.sent.iter().cloned().chain(plain).collect())
}

/// Packets of media of any contents that pass for authentic.
pub fn opened_rtp(input: &[u8]) {
    with(&OPENED, |session| {
        session.publish(input);
        assert!(session.serves(), "media ends no session");
    });
}

pub fn opened_seeds() -> Vec<Vec<u8>> {
    let packet = |what: u8, payload: &[u8]| [&[what, 1, payload.len() as u8][..], payload].concat();
    let vp8 =
        |id: u8, key: u8| packet(7, &[0x90, 0xe0, 0x80, id, 7, 0x20, key, 0, 0, 0x9d, 1, 0x2a, 64, 0, 48, 0]);
    let sound: Vec<u8> = (0..6).flat_map(|n| packet(4 * n, &[0xef, 0x0f, 0, 2, 111, 1, 2, 3, 4])).collect();
    vec![
        [vp8(1, 0), vp8(2, 1), vp8(3, 1)].concat(),
        sound,
        [packet(3, &[0x65, 0x88]), packet(3, &[0x5c, 0x41])].concat(),
    ]
}

/// Reports of a publisher and of a viewer, of any contents, that pass for authentic.
pub fn opened_rtcp(input: &[u8]) {
    let Some((who, said)) = input.split_first() else { return };
    with(&OPENED, |session| {
        session.publish(&opened_seeds()[0]);
        for compound in said.chunks(1400) {
            session.say(usize::from(who & 1), compound);
        }
    });
    OPENED.with_borrow_mut(|session| {
        if !session.serves() {
            *session = Session::new(false, |sdp| sdp);
        }
    });
}

pub fn opened_rtcp_seeds() -> Vec<Vec<u8>> {
    super::sending::rtcp_seeds()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_publisher_sends_reaches_the_viewer() {
        for (seed, least) in [(0, 3), (1, 1)] {
            let mut session = Session::new(false, |sdp| sdp);
            session.publish(&opened_seeds()[seed]);
            session.pass();
            assert!(session.forwarded >= least, "{} of seed {seed}", session.forwarded);
        }
    }
}
