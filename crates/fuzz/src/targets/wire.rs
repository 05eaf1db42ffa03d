//! What is read of bytes before anything is known about who sent them, and what the control plane sends.

use std::time::Instant;

use rtcloud_node::{InRoom, decode, encode, samples};
use rtcloud_sfu::{Command, Event, ParticipantId, data, fuzzing};

use super::room;

/// A datagram that may be a check: whom it names.
pub fn stun(input: &[u8]) {
    if let Some(name) = rtcloud_node::fuzzing::local_ufrag(input) {
        assert!(name.len() <= input.len());
    }
}

pub fn stun_seeds() -> Vec<Vec<u8>> {
    let head = [&[0, 1, 0, 20, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    let named = [&head[..], &[0, 6, 0, 9], b"abcd:efgh\0\0\0", &[0, 0x25, 0, 0]].concat();
    vec![head, named]
}

/// A stream over TCP, cut after as many bytes as its first one says.
pub fn framing(input: &[u8]) {
    let Some((cut, stream)) = input.split_first() else { return };
    let mut whole = Vec::new();
    let mut pieces = Vec::new();
    let one = rtcloud_node::fuzzing::deframe(&[stream], &mut |d| whole.push(d.to_vec()));
    let cut: Vec<&[u8]> = stream.chunks(usize::from(*cut) + 1).collect();
    let many = rtcloud_node::fuzzing::deframe(&cut, &mut |d| pieces.push(d.to_vec()));
    assert_eq!((one, whole), (many, pieces), "it does not matter how a stream was cut");
}

pub fn framing_seeds() -> Vec<Vec<u8>> {
    vec![vec![2, 0, 3, 1, 2, 3, 0, 0, 0, 1, 9], [&[200, 0, 250][..], &[5; 250], &[0, 2, 1, 2]].concat()]
}

/// Commands of the control plane.
pub fn commands(input: &[u8]) {
    let _ = decode::<Vec<InRoom<Command>>>(input);
    let _ = decode::<Vec<InRoom<Event>>>(input);
}

pub fn command_seeds() -> Vec<Vec<u8>> {
    let (events, commands) = samples();
    vec![encode(&commands).expect("encoded commands"), encode(&events).expect("encoded events")]
}

/// Messages between participants.
pub fn data(input: &[u8]) {
    let (identity, id) = ("somebody", ParticipantId::from("PA_1"));
    for reliable in [true, false] {
        let Ok(sent) = data::rewrite(input, identity, &id, reliable) else { continue };
        // What was accepted is a message again, and stays as it is.
        let again = data::rewrite(&sent.packet, identity, &id, reliable).expect("a message again");
        assert_eq!((&again.destinations, again.command), (&sent.destinations, sent.command));
        assert!(sent.command.is_none_or(|size| size <= data::MAX_COMMAND));
        assert_eq!(again.packet.len(), sent.packet.len());
    }
}

pub fn data_seeds() -> Vec<Vec<u8>> {
    let user = [&[0x12, 4, 0x12, 2, 1, 2, 0x22, 3][..], b"bob", &[0x2a, 3], b"bob", &[0x80, 1, 7]].concat();
    let nested = [&[0x12, 12, 0x0a, 1, b'x', 0x12, 0, 0x2a, 1, b'y', 0x32, 1, b'z'][..], &user].concat();
    let command = [&[0x12, 16, 0x12, 2, 1, 2, 0x22, 10][..], b"trtc.cmd.9"].concat();
    let stream = [&[0x6a, 14, 0x0a, 1, b'i', 0x1a, 9][..], b"trtc.cmd."].concat();
    vec![user, nested, command, stream]
}

/// What is changed in descriptions on their way to and from str0m.
pub fn sdp_edits(input: &[u8]) {
    fuzzing::edit_sdp(&String::from_utf8_lossy(input));
}

pub fn sdp_seeds() -> Vec<Vec<u8>> {
    room::offers_of(Instant::now())
}
