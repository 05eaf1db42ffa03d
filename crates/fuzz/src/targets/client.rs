//! What a server that means harm sends to the native client.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtcloud_client::{Connection, Counters, Now, Order, Output, PeerConfig, PeerEvent};
use rtcloud_egress::Sealing;
use rtcloud_sfu::keys;
use str0m::change::SdpOffer;
use str0m::format::Codec;
use str0m::media::Mid;
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Input, Output as RtcOutput, Rtc};

use super::room::{address, mids};

const SERVER: &str = "192.0.2.1:7882";
const CLIENT: &str = "198.51.100.1:5000";
const STEP: Duration = Duration::from_millis(5);

/// A client that has made its first offer: itself, the offer.
fn offering(now: Now) -> (Connection, String) {
    let mut client = Connection::new(&PeerConfig::default(), Arc::new(Counters::default()), now);
    let track = |cid: &str, codec| Order::AddTrack { cid: cid.to_owned(), stream: "s".to_owned(), codec };
    for order in
        [track("mic", Codec::Opus), track("cam", Codec::Vp8), Order::CreateOffer { restart_ice: false }]
    {
        client.handle_order(order, now).expect("an order that can be carried out");
    }
    let mut offer = None;
    while let Ok(output) = client.poll_output() {
        match output {
            Output::Event(PeerEvent::Offer { sdp, .. }) => offer = Some(sdp),
            Output::Timeout(_) | Output::Closed => break,
            _ => {}
        }
    }
    (client, offer.expect("an offer"))
}

fn answering(offer: &str, now: Instant) -> (Rtc, String) {
    let mut rtc =
        Rtc::builder().set_ice_lite(true).set_rtp_mode(true).set_crypto_provider(keys::crypto()).build(now);
    rtc.add_local_candidate(Candidate::host(address(SERVER), "udp").expect("a candidate"));
    let offer = SdpOffer::from_sdp_string(offer).expect("an offer");
    let answer = rtc.sdp_api().accept_offer(offer).expect("an answer");
    (rtc, answer.to_sdp_string())
}

fn clock() -> Now {
    Now { instant: Instant::now(), unix_us: 1_700_000_000_000_000 }
}

/// Answers. `MID0` is the first media line of the offer, and so on.
pub fn answers(input: &[u8]) {
    let now = clock();
    let (mut client, offer) = offering(now);
    let mut sdp = String::from_utf8_lossy(input).into_owned();
    let mids = mids(&offer);
    for (index, mid) in mids.iter().enumerate() {
        sdp = sdp.replace(&format!("MID{index}"), mid);
    }
    let mid_to_track = mids.iter().map(|mid| (mid.clone(), format!("TR_{mid}"))).collect();
    let _ = client.handle_order(Order::AcceptAnswer { request: 1, sdp, mid_to_track }, now);
    let _ = client.handle_order(Order::CreateOffer { restart_ice: true }, now);
    for _ in 0..1000 {
        match client.poll_output() {
            Ok(Output::Timeout(_) | Output::Closed) | Err(_) => return,
            Ok(Output::Remote(all)) => assert!(all.len() < 10_000),
            Ok(_) => {}
        }
    }
    panic!("it never ends");
}

pub fn answer_seeds() -> Vec<Vec<u8>> {
    let now = clock();
    let (_, offer) = offering(now);
    let (_, mut answer) = answering(&offer, now.instant);
    for (index, mid) in mids(&offer).iter().enumerate() {
        answer = answer.replace(&format!("a=mid:{mid}\r"), &format!("a=mid:MID{index}\r"));
    }
    let group = format!("a=group:BUNDLE {}", mids(&offer).join(" "));
    let named = (0..mids(&offer).len()).fold("a=group:BUNDLE".to_owned(), |all, n| format!("{all} MID{n}"));
    vec![answer.replace(&group, &named).into_bytes(), answer.into_bytes()]
}

/// A client and a server that are connected.
struct Session {
    now: Now,
    client: Connection,
    server: Rtc,
    sealing: Option<Sealing>,
    lines: Vec<Mid>,
    /// What the server sent at first.
    sent: Vec<Vec<u8>>,
    sequence: u64,
    index: u32,
}

thread_local! {
    static SESSION: RefCell<Session> = RefCell::new(Session::new());
}

impl Session {
    fn new() -> Self {
        let now = clock();
        let (mut client, offer) = offering(now);
        let (mut server, sdp) = answering(&offer, now.instant);
        let mid_to_track = mids(&offer).iter().map(|mid| (mid.clone(), format!("TR_{mid}"))).collect();
        client
            .handle_order(Order::AcceptAnswer { request: 1, sdp, mid_to_track }, now)
            .expect("an answer that is taken");
        let lines = mids(&offer);
        let lines: Vec<Mid> = lines
            .iter()
            .map(|mid| Mid::from(mid.as_str()))
            .filter(|mid| server.media(*mid).is_some_and(|media| media.direction().is_sending()))
            .collect();
        for (index, mid) in lines.iter().enumerate() {
            let ssrc = 1000 + 2 * index as u32;
            server.direct_api().declare_stream_tx(ssrc.into(), Some((ssrc + 1).into()), *mid, None);
        }
        let mut session = Self {
            now,
            client,
            server,
            sealing: None,
            lines,
            sent: Vec::new(),
            sequence: 10,
            index: 1 << 20,
        };
        for _ in 0..500 {
            session.pass();
        }
        assert!(session.client.is_connected() && session.sealing.is_some());
        session
    }

    fn pass(&mut self) {
        self.now.instant += STEP;
        self.now.unix_us += STEP.as_micros() as u64;
        let _ = self.server.handle_input(Input::Timeout(self.now.instant));
        self.serve();
        let _ = self.client.handle_timeout(self.now);
        for _ in 0..1000 {
            match self.client.poll_output() {
                Ok(Output::Transmit(t)) => self.hear(&t.contents),
                Ok(Output::Remote(_)) => self.client.add_local_address(address(CLIENT)),
                Ok(Output::Timeout(_) | Output::Closed) | Err(_) => break,
                Ok(_) => {}
            }
        }
        self.serve();
    }

    fn hear(&mut self, contents: &[u8]) {
        let (from, to): (SocketAddr, SocketAddr) = (address(CLIENT), address(SERVER));
        if let Ok(receive) = Receive::new(Protocol::Udp, from, to, contents) {
            let _ = self.server.handle_input(Input::Receive(self.now.instant, receive));
        }
        self.serve();
    }

    /// What the server has to send goes to the client.
    fn serve(&mut self) {
        while let Ok(output) = self.server.poll_output() {
            match output {
                RtcOutput::Transmit(t) => {
                    if self.sent.len() < 100 {
                        self.sent.push(t.contents.to_vec());
                    }
                    self.receive(&t.contents);
                }
                RtcOutput::Event(_) => {}
                RtcOutput::Timeout(_) => break,
            }
        }
        if let Some((sealing, _)) = keys::take() {
            self.sealing = Some(sealing);
        }
    }

    fn receive(&mut self, contents: &[u8]) {
        let _ = self.client.handle_datagram(address(SERVER), address(CLIENT), contents, self.now);
    }

    fn write(&mut self, what: u8, step: u8, payload: &[u8]) {
        let Some(mid) = self.lines.get(usize::from(what & 7) % self.lines.len().max(1)).copied() else {
            return;
        };
        self.sequence += u64::from(step);
        let types = self.server.media(mid).map(|media| media.remote_pts().to_vec()).unwrap_or_default();
        let Some(pt) = types.get(usize::from(what >> 3 & 7) % types.len().max(1)) else { return };
        let (time, now) = ((self.sequence as u32).wrapping_mul(960), self.now.instant);
        if let Some(stream) = self.server.direct_api().stream_tx_by_mid(mid, None) {
            let packet = RtpWrite::new(*pt, self.sequence.into(), time, now, payload.to_vec());
            stream.write_rtp(packet.marker(what & 64 != 0));
        }
        let _ = self.server.handle_input(Input::Timeout(now));
        self.serve();
    }

    fn say(&mut self, compound: &[u8]) {
        let mut room = [0; 1540];
        let len = compound.len().clamp(8, 1400);
        let said = compound.len().min(len);
        room[..said].copy_from_slice(&compound[..said]);
        self.index += 1;
        let sealed = self.sealing.as_ref().and_then(|sealing| sealing.seal_rtcp(&mut room, len, self.index));
        if let Some(sealed) = sealed {
            self.receive(&room[..sealed]);
        }
    }
}

fn with(does: impl FnOnce(&mut Session)) {
    SESSION.with_borrow_mut(|session| {
        does(session);
        session.pass();
        if session.client.has_failed() || !session.client.is_connected() {
            *session = Session::new();
        }
    });
}

/// Datagrams from the server's address.
pub fn datagrams(input: &[u8]) {
    with(|session| session.receive(input));
}

/// Packets of media and reports of any contents that pass for authentic.
pub fn opened(input: &[u8]) {
    with(|session| {
        let mut rest = input;
        for _ in 0..32 {
            let [what, step, length, tail @ ..] = rest else { break };
            let (contents, after) = tail.split_at(usize::from(*length).min(tail.len()));
            if what & 128 == 0 {
                session.write(*what, *step, contents)
            } else {
                session.say(contents)
            }
            rest = after;
        }
    });
}

pub fn opened_seeds() -> Vec<Vec<u8>> {
    let about = |what: u8| {
        super::room::opened_seeds().into_iter().map(move |seed| [&[what, 1, 0][..], &seed].concat())
    };
    let said = super::sending::rtcp_seeds()
        .into_iter()
        .map(|said| [&[128, 0, said.len().min(255) as u8][..], &said].concat());
    about(1).chain(about(9)).chain(said).collect()
}

/// What the server sends until both are connected.
pub fn datagram_seeds() -> Vec<Vec<u8>> {
    SESSION.with_borrow(|session| session.sent.clone())
}
