//! Every parser of network bytes of ours, and the ways into those of others.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtcloud_fuzz::run;
use rtcloud_node::{InRoom, decode, encode, samples};
use rtcloud_sfu::{
    Command, DtlsCert, Event, Kind, Output, ParticipantId, Rights, Room, Route, Stream, Target,
    TransportConfig, data, fuzzing,
};
use str0m::media::{Direction, MediaKind, Simulcast, SimulcastLayer};
use str0m::{Candidate, Input, Output as RtcOutput, Rtc};

const SERVER: &str = "192.0.2.1:7882";
const CLIENT: &str = "198.51.100.1:5000";

fn certificate() -> DtlsCert {
    rtcloud_sfu::generate_certificate().unwrap()
}

fn room(certificate: &DtlsCert, now: Instant) -> Room {
    let config = TransportConfig {
        candidates: vec![SERVER.parse().unwrap()],
        certificate: certificate.clone(),
        video_codecs: ["h264", "vp8", "vp9", "av1"].map(str::to_owned).to_vec(),
    };
    let mut room = Room::new(Arc::new(config), now);
    for (name, single) in [("single", true), ("dual", false)] {
        let participant = ParticipantId::from(name);
        room.handle_command(
            Command::AddParticipant {
                participant,
                identity: name.to_owned(),
                single,
                rights: Rights::default(),
            },
            now,
        );
    }
    room
}

/// An offer like a browser's: sound, simulcast, receive sections, messages.
fn offer(now: Instant) -> (Rtc, str0m::change::SdpPendingOffer, String) {
    let mut rtc = Rtc::builder().set_rtp_mode(true).build(now);
    rtc.add_local_candidate(Candidate::host(CLIENT.parse().unwrap(), "udp").unwrap());
    let mut layers = Simulcast::new();
    for rid in ["q", "h", "f"] {
        layers.add_send_layer(SimulcastLayer::new(rid));
    }
    let mut api = rtc.sdp_api();
    api.add_channel("_reliable".to_owned());
    api.add_media(MediaKind::Audio, Direction::SendOnly, Some("s".into()), Some("mic".into()), None);
    api.add_media(MediaKind::Video, Direction::SendOnly, Some("s".into()), Some("cam".into()), Some(layers));
    api.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
    api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
    let (offer, pending) = api.apply().unwrap();
    (rtc, pending, offer.to_sdp_string())
}

#[test]
fn data_packets() {
    let (identity, id) = ("somebody", ParticipantId::from("PA_1"));
    let user = [&[0x12, 4, 0x12, 2, 1, 2, 0x22, 3][..], b"bob", &[0x2a, 3], b"bob", &[0x80, 1, 7]].concat();
    let nested = [&[0x12, 12, 0x0a, 1, b'x', 0x12, 0, 0x2a, 1, b'y', 0x32, 1, b'z'][..], &user].concat();
    let command = [&[0x12, 16, 0x12, 2, 1, 2, 0x22, 10][..], b"trtc.cmd.9"].concat();
    let stream = [&[0x6a, 14, 0x0a, 1, b'i', 0x1a, 9][..], b"trtc.cmd."].concat();
    let seeds = [user, nested, command, stream];
    let count = run("data packets", &seeds, |input| {
        for reliable in [true, false] {
            if let Ok(sent) = data::rewrite(input, identity, &id, reliable) {
                // What was accepted is a message again, and stays as it is.
                let again = data::rewrite(&sent.packet, identity, &id, reliable).unwrap();
                assert_eq!((&again.destinations, again.command), (&sent.destinations, sent.command));
                assert!(sent.command.is_none_or(|size| size <= data::MAX_COMMAND));
                assert_eq!(again.packet.len(), sent.packet.len());
            }
        }
    });
    assert!(count > 1000, "{count}");
}

#[test]
fn descriptions_are_edited() {
    let now = Instant::now();
    let (_, _, text) = offer(now);
    run("description edits", &[text.into_bytes()], |input| {
        fuzzing::edit_sdp(&String::from_utf8_lossy(input))
    });
}

#[test]
fn media_payloads() {
    let seeds = [
        vec![0x78, 0, 2, 0x09, 0xf0, 0, 2, 0x67, 1],
        vec![0x90, 0xf0, 0x81, 0x02, 7, 0x20, 0x10, 0x00],
        vec![0xa8, 0x81, 0x02, 0x03],
    ];
    run("media payloads", &seeds, fuzzing::read_payload);
}

#[test]
fn commands() {
    let (events, commands) = samples();
    let seeds = [encode(&commands).unwrap(), encode(&events).unwrap()];
    run("commands", &seeds, |input| {
        let _ = decode::<Vec<InRoom<Command>>>(input);
        let _ = decode::<Vec<InRoom<Event>>>(input);
    });
}

#[test]
fn offers_and_answers() {
    let now = Instant::now();
    let certificate = certificate();
    let (_, _, text) = offer(now);
    run("offers", &[text.into_bytes()], |input| {
        let sdp = String::from_utf8_lossy(input).into_owned();
        let mut room = room(&certificate, now);
        let mut output = Output::default();
        let participant = ParticipantId::from("single");
        let track = Command::PublishTrack {
            participant: participant.clone(),
            track: "TR_1".into(),
            cid: "cam".to_owned(),
            kind: Kind::Video,
            stream: Stream::default(),
            codec: "vp8".to_owned(),
            layers: vec![],
            muted: false,
        };
        room.handle_command(track, now);
        room.handle_command(Command::Subscribe { participant: "dual".into(), track: "TR_1".into() }, now);
        room.poll(now, &mut output);
        for request in 0..2 {
            let (participant, sdp) = (participant.clone(), sdp.clone());
            room.handle_command(Command::Offer { participant, request, target: Target::Single, sdp }, now);
            room.poll(now, &mut output);
        }
        room.handle_command(Command::Answer { participant: "dual".into(), request: 1, sdp }, now);
        room.poll(now, &mut output);
        assert!(
            output.events.iter().any(|e| matches!(e, Event::Answered { .. } | Event::SdpRejected { .. }))
        );
    });
}

#[test]
fn datagrams() {
    let start = Instant::now();
    let mut now = start;
    let certificate = certificate();
    let mut room = room(&certificate, now);
    let (mut rtc, pending, sdp) = offer(now);
    let participant = ParticipantId::from("single");
    room.handle_command(Command::Offer { participant, request: 1, target: Target::Single, sdp }, now);
    let mut output = Output::default();
    room.poll(now, &mut output);
    let answer = output.events.iter().find_map(|e| match e {
        Event::Answered { sdp, .. } => Some(str0m::change::SdpAnswer::from_sdp_string(sdp).unwrap()),
        _ => None,
    });
    rtc.sdp_api().accept_answer(pending, answer.unwrap()).unwrap();
    let key = output.routes.iter().rev().find_map(|r| match r {
        Route::Add(_, key) => Some(*key),
        Route::Remove(_) => None,
    });
    let key = key.unwrap();
    let (client, server): (SocketAddr, SocketAddr) = (CLIENT.parse().unwrap(), SERVER.parse().unwrap());

    // A real session supplies the seeds: checks, handshake, messages.
    let mut seeds: Vec<Vec<u8>> =
        vec![vec![0x80, 111, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0x78], vec![0x80, 200, 0, 6]];
    for _ in 0..500 {
        now += Duration::from_millis(5);
        rtc.handle_input(Input::Timeout(now)).unwrap();
        while let Ok(out) = rtc.poll_output() {
            match out {
                RtcOutput::Transmit(t) => {
                    if seeds.len() < 200 {
                        seeds.push(t.contents.to_vec());
                    }
                    room.handle_datagram(key, client, server, &t.contents, now, &mut output);
                }
                RtcOutput::Event(_) => {}
                RtcOutput::Timeout(_) => break,
            }
        }
        room.handle_timeout(now);
        room.poll(now, &mut output);
        for datagram in std::mem::take(&mut output.datagrams) {
            let contents = &output.bytes[datagram.range];
            if let Ok(receive) = str0m::net::Receive::new(str0m::net::Protocol::Udp, server, client, contents)
            {
                rtc.handle_input(Input::Receive(now, receive)).unwrap();
            }
        }
        output.clear();
    }
    assert!(rtc.is_connected());
    run("datagrams", &seeds, |input| {
        now += Duration::from_micros(100);
        room.handle_datagram(key, client, server, input, now, &mut output);
        room.poll(now, &mut output);
        output.clear();
    });
}
