//! Who comes, with which connections, and what they publish, want and may.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtcloud_sfu::{Command, Kind, Layer, ParticipantId, Rights, Target, TrackId};
use str0m::media::{Direction, MediaKind, Mid, Simulcast, SimulcastLayer};
use str0m::{Candidate, RtcConfig};

use super::{Client, Conditions, World};

impl World {
    /// A participant without connections yet.
    fn enter(&mut self, name: &str, single: bool, fixed: bool, adaptive: bool) -> ParticipantId {
        let participant = ParticipantId::from(name);
        let identity = format!("{name}-user");
        let rights = Rights::default();
        let command = Command::AddParticipant {
            participant: participant.clone(),
            identity,
            single,
            fixed,
            adaptive,
            rights,
        };
        self.command(command);
        participant
    }

    /// A participant that always gets what it asks for.
    pub(crate) fn join_unadapted(&mut self, name: &str) -> usize {
        let id = self.enter(name, true, false, false);
        self.add_client(id, Target::Single, Duration::ZERO)
    }

    /// A participant with one connection; `skew` is how far its clock is ahead of the server's.
    pub(crate) fn join(&mut self, name: &str, skew: Duration) -> usize {
        let id = self.enter(name, true, false, true);
        self.add_client(id, Target::Single, skew)
    }

    /// A participant with two connections: the one it publishes on, and the one it receives on.
    pub(crate) fn join_dual(&mut self, name: &str) -> (usize, usize) {
        let id = ParticipantId::from(name);
        let publisher = self.add_client(id.clone(), Target::Publisher, Duration::ZERO);
        let subscriber = self.add_client(id, Target::Subscriber, Duration::ZERO);
        self.enter(name, false, false, true);
        (publisher, subscriber)
    }

    /// A participant that offers so many receive sections of each kind, once.
    pub(crate) fn join_fixed(&mut self, name: &str, audio: usize, video: usize) -> usize {
        let id = self.enter(name, true, true, true);
        let client = self.add_client(id, Target::Single, Duration::ZERO);
        self.offer(client, |api| {
            for (kind, count) in [(MediaKind::Audio, audio), (MediaKind::Video, video)] {
                for _ in 0..count {
                    api.add_media(kind, Direction::RecvOnly, None, None, None);
                }
            }
        });
        self.connect(client);
        client
    }

    pub(crate) fn leave(&mut self, client: usize) {
        let participant = self.clients[client].id.clone();
        self.command(Command::RemoveParticipant { participant });
    }

    pub(crate) fn add_client(&mut self, id: ParticipantId, target: Target, skew: Duration) -> usize {
        let mut config =
            RtcConfig::new().set_rtp_mode(true).set_rtcp_report_interval_audio(Duration::from_secs(1));
        if self.only_h264 {
            config = config.clear_codecs().enable_opus(true, false).enable_h264(true);
        }
        if self.robust_sound {
            config = config.enable_opus(true, true).enable_raw_packets(true);
            config = config.set_crypto_provider(rtcloud_sfu::keys::crypto());
        }
        self.add_client_of(id, target, skew, config)
    }

    pub(crate) fn add_client_of(
        &mut self,
        id: ParticipantId,
        target: Target,
        skew: Duration,
        config: RtcConfig,
    ) -> usize {
        let address: SocketAddr = self.next_address();
        let mut rtc = config.build(self.now + skew);
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        self.clients.push(Client {
            id,
            target,
            rtc,
            address,
            skew,
            pending: None,
            answered: 0,
            packets: Vec::new(),
            repeats_wanted: 0,
            lines: HashMap::new(),
            reports: Vec::new(),
            channels: HashMap::new(),
            messages: Vec::new(),
            keyframes_wanted: Vec::new(),
            mids: BTreeMap::new(),
            description: String::new(),
            level: None,
            timeout: self.now,
            sequences: HashMap::new(),
            robust_sound: self.robust_sound,
            raw: Vec::new(),
            sealing: None,
            said: 0,
            last_sound: None,
            failed: None,
        });
        self.clients.len() - 1
    }

    fn next_address(&self) -> SocketAddr {
        let number = self.clients.len() + 1;
        format!("198.51.{}.{}:5000", 100 + number / 250, number % 250).parse().unwrap()
    }

    /// What a client's network is like from now on, to it and from it.
    pub(crate) fn impair(&mut self, client: usize, down: Conditions, up: Conditions, seed: u64) {
        let ways = self.network.ways(self.clients[client].address, seed);
        ways.down.change(down);
        ways.up.change(up);
    }

    /// Nothing passes to or from a client for a while.
    pub(crate) fn cut(&mut self, client: usize, from: Instant, until: Instant) {
        let ways = self.network.ways(self.clients[client].address, 0);
        ways.up.add_outage(from, until);
        ways.down.add_outage(from, until);
    }

    /// Changes a client's session and sends its offer.
    pub(crate) fn offer(&mut self, client: usize, change: impl FnOnce(&mut str0m::change::SdpApi<'_>)) {
        let c = &mut self.clients[client];
        let mut api = c.rtc.sdp_api();
        change(&mut api);
        let (offer, pending) = api.apply().expect("something to negotiate");
        c.pending = Some(pending);
        let command = Command::Offer {
            participant: c.id.clone(),
            request: 1,
            target: c.target,
            sdp: c.described_as_browsers_do(&offer.to_sdp_string()),
        };
        self.command(command);
    }

    /// Announces a track and offers it. Returns its media line.
    pub(crate) fn publish(
        &mut self,
        client: usize,
        track: &str,
        kind: Kind,
        layers: &[(&str, u32, u32)],
    ) -> Mid {
        self.publish_with(client, track, kind, layers, "")
    }

    pub(crate) fn publish_with(
        &mut self,
        client: usize,
        track: &str,
        kind: Kind,
        layers: &[(&str, u32, u32)],
        codec: &str,
    ) -> Mid {
        let cid = format!("cid-{track}");
        let layer =
            |&(rid, width, height): &(&str, u32, u32)| Layer { rid: rid.into(), width, height, bitrate: 0 };
        self.command(Command::PublishTrack {
            participant: self.clients[client].id.clone(),
            track: TrackId::from(track),
            cid: cid.clone(),
            kind,
            stream: self.streams.get(track).copied().unwrap_or_default(),
            codec: codec.to_owned(),
            layers: layers.iter().map(layer).collect(),
            muted: false,
        });
        let simulcast = (layers.len() > 1).then(|| {
            let mut simulcast = Simulcast::new();
            for (rid, _, _) in layers {
                simulcast.add_send_layer(SimulcastLayer::new(rid));
            }
            simulcast
        });
        let media = if kind == Kind::Audio { MediaKind::Audio } else { MediaKind::Video };
        let mut mid = None;
        self.offer(client, |api| {
            mid =
                Some(api.add_media(media, Direction::SendOnly, Some("stream".into()), Some(cid), simulcast));
        });
        mid.unwrap()
    }

    pub(crate) fn set_rights(&mut self, client: usize, rights: Rights) {
        let participant = self.clients[client].id.clone();
        self.command(Command::SetRights { participant, rights });
    }

    pub(crate) fn subscribe(&mut self, client: usize, track: &str) {
        let participant = self.clients[client].id.clone();
        self.command(Command::Subscribe { participant, track: TrackId::from(track) });
    }

    /// Somebody who comes for a track and waits until it is there.
    pub(crate) fn watch(&mut self, name: &str, track: &str) -> usize {
        let client = self.join(name, Duration::ZERO);
        self.receive(client, track);
        client
    }

    /// Subscribes, connects by way of a data channel, and waits until the track is there.
    pub(crate) fn receive(&mut self, client: usize, track: &str) {
        self.subscribe(client, track);
        self.offer(client, |api| {
            api.add_channel("_reliable".into());
        });
        self.connect(client);
        self.run_until("the track", |world| world.clients[client].mids.values().any(|t| t.as_str() == track));
    }

    pub(crate) fn unsubscribe(&mut self, client: usize, track: &str) {
        let participant = self.clients[client].id.clone();
        self.command(Command::Unsubscribe { participant, track: TrackId::from(track) });
    }

    pub(crate) fn want(&mut self, client: usize, track: &str, enabled: bool, width: u32, height: u32) {
        let participant = self.clients[client].id.clone();
        let track = TrackId::from(track);
        self.command(Command::SetSubscription { participant, track, enabled, width, height, fps: 0 });
    }
}
