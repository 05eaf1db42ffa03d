//! What programs that are no browsers offer, in their own words, and that media comes of it.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod world;

use std::time::Duration;

use rtcloud_sfu::{Command, Event, Kind, Rights, Target, TransportState};
use str0m::format::{Codec, FormatParams};
use str0m::media::{Frequency, MediaKind, Pt};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, IceCreds, Input, RtcConfig};

use world::{Lose, SERVER, World, is_run};

const MS: Duration = Duration::from_millis(1);
const AUDIO: u32 = 1001;
const VIDEO: u32 = 1002;

/// A program's offer, and its payload types for Opus and for H.264 or VP8.
struct Program {
    name: &'static str,
    offer: &'static str,
    pts: (u8, u8),
    /// Media ids of its packets' header extension, if it sends that.
    mids: (&'static str, &'static str),
    cids: (&'static str, &'static str),
}

const PROGRAMS: [Program; 4] = [
    Program {
        name: "FFmpeg",
        offer: include_str!("offers/ffmpeg.sdp"),
        pts: (111, 106),
        mids: ("0", "1"),
        cids: ("audio", "video"),
    },
    Program {
        name: "OBS",
        offer: include_str!("offers/obs.sdp"),
        pts: (111, 96),
        mids: ("0", "1"),
        cids: ("XmQSKutZo7zYcEQl-audio", "XmQSKutZo7zYcEQl-video"),
    },
    Program {
        name: "GStreamer",
        offer: include_str!("offers/gstreamer.sdp"),
        pts: (97, 96),
        mids: ("audio1", "video0"),
        cids: ("webrtctransceiver1", "webrtctransceiver0"),
    },
    Program {
        name: "a camera that names no streams",
        offer: include_str!("offers/hardware.sdp"),
        pts: (97, 96),
        mids: ("a", "v"),
        cids: ("a", "v"),
    },
];

/// A client that offers a text and takes from the answer what it needs, without any header extension.
struct Speaker {
    client: usize,
    sequence: u64,
    video: u32,
}

fn after<'a>(text: &'a str, prefix: &str) -> &'a str {
    text.lines().find_map(|l| l.strip_prefix(prefix)).unwrap_or_else(|| panic!("{prefix} in {text}"))
}

impl Speaker {
    fn join(world: &mut World, name: &str, pts: (u8, u8)) -> Self {
        world.command(Command::AddParticipant {
            participant: name.into(),
            identity: name.to_owned(),
            single: true,
            fixed: false,
            adaptive: true,
            rights: Rights::default(),
        });
        let mut config = RtcConfig::new().set_rtp_mode(true).clear_extension_map().clear_codecs();
        config = config.set_stats_interval(Some(200 * MS));
        let codecs = config.codec_config();
        let (opus, h264) = (Pt::from(pts.0), Pt::from(pts.1));
        let plain = FormatParams::default();
        codecs.add_config(opus, None, Codec::Opus, Frequency::FORTY_EIGHT_KHZ, Some(2), plain);
        codecs.add_h264(h264, None, true, 0x42e01f);
        let client = world.add_client_of(name.into(), Target::Single, Duration::ZERO, config);
        Self { client, sequence: 100, video: VIDEO }
    }

    /// The text with this client's credentials in it.
    fn fill(&self, world: &mut World, text: &str) -> String {
        let api = world.clients[self.client].rtc.direct_api();
        let credentials = api.local_ice_credentials();
        let fingerprint = api.local_dtls_fingerprint().to_string();
        text.replace("{ufrag}", &credentials.ufrag)
            .replace("{pwd}", &credentials.pass)
            .replace("{fingerprint}", &fingerprint)
            .replace('\n', "\r\n")
    }

    fn offer(&self, world: &mut World, text: &str) -> Result<String, String> {
        let sdp = self.fill(world, text);
        world.events.clear();
        let participant = world.clients[self.client].id.clone();
        world.command(Command::Offer { participant, request: 1, target: Target::Single, sdp });
        let answer = world.events.iter().find_map(|e| match e {
            Event::Answered { sdp, .. } => Some(Ok(sdp.clone())),
            Event::SdpRejected { reason, .. } => Some(Err(reason.clone())),
            _ => None,
        });
        answer.expect("an answer")
    }

    fn accept(&self, world: &mut World, answer: &str, program: &Program) {
        let now = world.now;
        let rtc = &mut world.clients[self.client].rtc;
        rtc.add_remote_candidate(Candidate::host(SERVER.parse().unwrap(), "udp").unwrap());
        let mut api = rtc.direct_api();
        let (ufrag, pass) =
            (after(answer, "a=ice-ufrag:").to_owned(), after(answer, "a=ice-pwd:").to_owned());
        api.set_remote_ice_credentials(IceCreds { ufrag, pass });
        api.set_ice_controlling(true);
        api.set_remote_fingerprint(after(answer, "a=fingerprint:").parse().unwrap());
        api.start_dtls(after(answer, "a=setup:") == "passive").unwrap();
        for (mid, kind, ssrc) in
            [(program.mids.0, MediaKind::Audio, AUDIO), (program.mids.1, MediaKind::Video, self.video)]
        {
            api.declare_media(mid.into(), kind);
            api.declare_stream_tx(ssrc.into(), None, mid.into(), None);
        }
        rtc.handle_input(Input::Timeout(now)).unwrap();
        world.poll_client(self.client);
        world.run_until("connected", |w| {
            w.clients[self.client].rtc.is_connected()
                && w.events.iter().any(|e| {
                    matches!(e, Event::TransportChanged { state: TransportState::Connected, participant, .. }
                    if *participant == w.clients[self.client].id)
                })
        });
    }

    /// A picture in three packets, a key picture or not, and a packet of sound.
    fn send(&mut self, world: &mut World, pts: (u8, u8), key: bool) {
        let now = world.now;
        let passed = now.duration_since(world.start).as_millis() as u32;
        for n in 0..4u32 {
            self.sequence += 1;
            let (ssrc, pt, rate, payload) = match n {
                3 => (AUDIO, pts.0, 48, vec![0x78; 100]),
                _ => (self.video, pts.1, 90, [if key && n == 0 { 0x65 } else { 0x41 }; 1000].to_vec()),
            };
            let seq = if n == 3 { self.sequence / 4 } else { self.sequence - self.sequence / 4 };
            let rtp = RtpWrite::new(Pt::from(pt), seq.into(), passed * rate, now, payload).marker(n >= 2);
            let mut api = world.clients[self.client].rtc.direct_api();
            api.stream_tx(&ssrc.into()).unwrap().write_rtp(rtp);
        }
        world.clients[self.client].rtc.handle_input(Input::Timeout(now)).unwrap();
        world.poll_client(self.client);
    }
}

/// A browser in the room that wants what is published.
fn watcher(world: &mut World) -> usize {
    let client = world.join_fixed("watcher", 1, 1);
    for track in ["sound", "pictures"] {
        world.subscribe(client, track);
    }
    client
}

fn announce(world: &mut World, participant: &str, program: &Program) {
    for (track, cid, kind) in
        [("sound", program.cids.0, Kind::Audio), ("pictures", program.cids.1, Kind::Video)]
    {
        world.command(Command::PublishTrack {
            participant: participant.into(),
            track: track.into(),
            cid: cid.to_owned(),
            kind,
            stream: Default::default(),
            codec: String::new(),
            layers: vec![],
            muted: false,
        });
    }
}

#[test]
fn programs_that_are_no_browsers_are_seen_and_heard() {
    for program in &PROGRAMS {
        let mut world = World::new();
        let mut speaker = Speaker::join(&mut world, "speaker", program.pts);
        announce(&mut world, "speaker", program);
        let viewer = watcher(&mut world);
        let answer =
            speaker.offer(&mut world, program.offer).unwrap_or_else(|e| panic!("{}: {e}", program.name));
        assert_eq!(answer.matches("m=").count(), program.offer.matches("\nm=").count(), "{answer}");
        speaker.accept(&mut world, &answer, program);
        for frame in 0..20 {
            speaker.send(&mut world, program.pts, frame % 10 == 0);
            world.run(33 * MS);
        }
        let (video, audio): (Vec<_>, Vec<_>) =
            world.clients[viewer].packets.iter().partition(|p| p.payload.len() > 500);
        assert_eq!((video.len(), audio.len()), (60, 20), "{}", program.name);
        for packets in [video, audio] {
            assert!(is_run(&packets.iter().map(|p| *p.seq_no).collect::<Vec<_>>()), "{}", program.name);
        }
    }
}

#[test]
fn a_stream_that_only_its_payload_type_tells_may_begin_anew_but_not_be_forged() {
    let program = &PROGRAMS[3];
    let mut world = World::new();
    let mut speaker = Speaker::join(&mut world, "speaker", program.pts);
    announce(&mut world, "speaker", program);
    let viewer = watcher(&mut world);
    let answer = speaker.offer(&mut world, program.offer).unwrap();
    speaker.accept(&mut world, &answer, program);
    let address = world.clients[speaker.client].address;
    for video in [VIDEO, 2002, 3003] {
        if video != speaker.video {
            let mut api = world.clients[speaker.client].rtc.direct_api();
            api.remove_stream_tx(speaker.video.into());
            api.declare_stream_tx(video.into(), None, program.mids.1.into(), None);
            speaker.video = video;
        }
        let before = world.clients[viewer].packets.len();
        for frame in 0..10 {
            for (ssrc, pt) in [(4004 + frame, program.pts.1), (5005 + frame, program.pts.0), (0, 96)] {
                let mut forged = vec![0x80, pt, 0, frame as u8, 0, 0, 0, 9];
                forged.extend(u32::to_be_bytes(ssrc));
                forged.resize(600, 0x65);
                world.deliver_to_room(address, &forged);
            }
            speaker.send(&mut world, program.pts, frame == 0);
            world.run(33 * MS);
        }
        assert_eq!(world.clients[viewer].packets.len() - before, 40, "of {video}");
    }
}

#[test]
fn what_nobody_can_use_is_refused() {
    let mut world = World::new();
    let speaker = Speaker::join(&mut world, "speaker", (111, 96));
    let ports = |answer: &str| -> Vec<String> {
        answer.lines().filter_map(|l| l.strip_prefix("m=")?.split(' ').nth(1)).map(str::to_owned).collect()
    };
    let picture = PROGRAMS[0].offer.replace("H264/90000", "H265/90000");
    assert_eq!(ports(&speaker.offer(&mut world, &picture).unwrap()), ["9", "0"]);
    let other = Speaker::join(&mut world, "other", (111, 96));
    let nothing = picture.replace("opus/48000/2", "PCMU/8000");
    assert_eq!(ports(&other.offer(&mut world, &nothing).unwrap()), ["0", "0"]);
}

#[test]
fn a_program_restarts_by_offering_again_with_other_credentials() {
    let program = &PROGRAMS[1];
    let mut world = World::new();
    let mut speaker = Speaker::join(&mut world, "speaker", program.pts);
    announce(&mut world, "speaker", program);
    let viewer = watcher(&mut world);
    let answer = speaker.offer(&mut world, program.offer).unwrap();
    speaker.accept(&mut world, &answer, program);
    let again = speaker.offer(&mut world, program.offer).unwrap();
    assert_eq!(after(&again, "a=ice-ufrag:"), after(&answer, "a=ice-ufrag:"), "nothing was to be restarted");
    let restarted = program.offer.replace("{ufrag}", "zz{ufrag}");
    let again = speaker.offer(&mut world, &restarted).unwrap();
    for name in ["a=ice-ufrag:", "a=ice-pwd:"] {
        assert_ne!(after(&again, name), after(&answer, name));
    }
    assert_eq!(after(&again, "a=setup:"), after(&answer, "a=setup:"));
    // Its checks did not begin yet; what was agreed serves meanwhile.
    speaker.send(&mut world, program.pts, true);
    world.run(50 * MS);
    assert_eq!(world.clients[viewer].packets.len(), 4);
}

#[test]
fn who_repeats_what_was_lost_in_the_same_stream_is_asked_to() {
    for (program, asked) in [(&PROGRAMS[1], true), (&PROGRAMS[3], false)] {
        let mut world = World::new();
        let mut speaker = Speaker::join(&mut world, "speaker", program.pts);
        announce(&mut world, "speaker", program);
        let viewer = watcher(&mut world);
        let answer = speaker.offer(&mut world, program.offer).unwrap();
        speaker.accept(&mut world, &answer, program);
        for frame in 0..30 {
            world.lose = (frame == 15).then(|| -> Lose {
                let mut lost = 0;
                Box::new(move |to_client, contents| {
                    let picture = !to_client && contents.len() > 900;
                    lost += u32::from(picture);
                    picture && lost == 2
                })
            });
            speaker.send(&mut world, program.pts, frame % 10 == 0);
            world.run(33 * MS);
        }
        assert_eq!(world.clients[viewer].packets.len(), 119, "{}", program.name);
        assert_eq!(world.clients[speaker.client].repeats_wanted > 0, asked, "{}", program.name);
    }
}
