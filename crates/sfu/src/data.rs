//! Data messages between participants: `livekit.DataPacket`, rewritten on the wire.
//!
//! Who sent a message is ours to say: whatever a client writes there is replaced, in the packet and in the user message
//! in it, where older clients read it. Every other field is kept byte for byte, known or not, so that new kinds of
//! messages pass. Speaker reports come from the server only. Receivers may be named in either place.
//!
//! Topics that begin with `trtc.cmd.` are custom commands: user messages with a number of 1 to 10 and little content.

use thiserror::Error;

use crate::ids::ParticipantId;

/// The largest message that is accepted and forwarded.
pub const MAX_MESSAGE: usize = 64 * 1024;

const KIND: u64 = 1;
const USER: u64 = 2;
const SPEAKER: u64 = 3;
const PARTICIPANT_IDENTITY: u64 = 4;
const DESTINATION_IDENTITIES: u64 = 5;
const PARTICIPANT_SID: u64 = 17;
const USER_PARTICIPANT_SID: u64 = 1;
const USER_PARTICIPANT_IDENTITY: u64 = 5;
const USER_DESTINATION_IDENTITIES: u64 = 6;
const LENGTH_DELIMITED: u64 = 2;
const USER_PAYLOAD: u64 = 2;
const USER_TOPIC: u64 = 4;
const STREAM_HEADER: u64 = 13;
const HEADER_TOPIC: u64 = 3;
const MAX_DESTINATIONS: usize = 1024;
const COMMAND_TOPIC: &[u8] = b"trtc.cmd.";
/// Bytes of one custom command, as documented.
pub const MAX_COMMAND: usize = 1000;

/// Why a message was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DataError {
    /// Larger than [`MAX_MESSAGE`], or a command larger than [`MAX_COMMAND`].
    #[error("message too large")]
    TooLarge,
    /// Not a protobuf message.
    #[error("malformed message")]
    Malformed,
    /// Only the server may send this, or nobody: a command of a number that does not exist.
    #[error("message of a kind that clients may not send")]
    Forbidden,
    /// More receivers than a message may name.
    #[error("too many destinations")]
    TooManyDestinations,
}

/// A message ready to be sent on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// What to send.
    pub packet: Vec<u8>,
    /// User ids it is for; for everybody when empty.
    pub destinations: Vec<String>,
    /// Bytes of content when it is a custom command.
    pub command: Option<usize>,
}

/// What is read of user messages on the way. One packet may hold several, which receivers merge.
#[derive(Default)]
struct User {
    destinations: Vec<String>,
    payload: usize,
    has_topic: bool,
    command: bool,
}

impl User {
    fn read_topic(&mut self, topic: &[u8]) -> Result<(), DataError> {
        // With two of them it would be the receiver's choice which one it is.
        if std::mem::replace(&mut self.has_topic, true) {
            return Err(DataError::Malformed);
        }
        let Some(number) = topic.strip_prefix(COMMAND_TOPIC) else { return Ok(()) };
        self.command = true;
        match number {
            [b'1'..=b'9'] | b"10" => Ok(()),
            _ => Err(DataError::Forbidden),
        }
    }
}

/// A command is one message; a stream cannot be one.
fn check_stream(header: &[u8]) -> Result<(), DataError> {
    let mut rest = header;
    while !rest.is_empty() {
        match field(&mut rest).ok_or(DataError::Malformed)? {
            (HEADER_TOPIC, Some(topic)) if topic.starts_with(COMMAND_TOPIC) => {
                return Err(DataError::Forbidden);
            }
            _ => {}
        }
    }
    Ok(())
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        let part = u64::from(byte & 0x7f);
        if shift == 63 && part > 1 {
            return None;
        }
        value |= part.checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_bytes(out: &mut Vec<u8>, field: u64, content: &[u8]) {
    put_varint(out, field << 3 | LENGTH_DELIMITED);
    put_varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

/// Takes one field off `rest`: its number and, if it is length-delimited, its content.
fn field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Option<&'a [u8]>)> {
    let key = varint(rest)?;
    let number = key >> 3;
    if number == 0 || number > 0x1fff_ffff {
        return None;
    }
    let skip = match key & 7 {
        0 => {
            varint(rest)?;
            return Some((number, None));
        }
        1 => 8,
        5 => 4,
        LENGTH_DELIMITED => {
            let len = usize::try_from(varint(rest)?).ok()?;
            let content = rest.get(..len)?;
            *rest = &rest[len..];
            return Some((number, Some(content)));
        }
        _ => return None,
    };
    *rest = rest.get(skip..)?;
    Some((number, None))
}

/// The message as it goes on, with its true sender.
pub fn rewrite(
    packet: &[u8],
    identity: &str,
    participant: &ParticipantId,
    reliable: bool,
) -> Result<Rewritten, DataError> {
    if packet.len() > MAX_MESSAGE {
        return Err(DataError::TooLarge);
    }
    let mut out = Vec::with_capacity(packet.len() + identity.len() + participant.as_str().len() + 12);
    if !reliable {
        put_varint(&mut out, KIND << 3);
        put_varint(&mut out, 1);
    }
    let mut destinations = Vec::new();
    let mut user = User::default();
    let mut rest = packet;
    while !rest.is_empty() {
        let before = rest;
        let (number, content) = field(&mut rest).ok_or(DataError::Malformed)?;
        match number {
            KIND | PARTICIPANT_IDENTITY | PARTICIPANT_SID => continue,
            SPEAKER => return Err(DataError::Forbidden),
            DESTINATION_IDENTITIES => push_name(&mut destinations, content)?,
            STREAM_HEADER => check_stream(content.unwrap_or_default())?,
            USER => {
                let content = content.ok_or(DataError::Malformed)?;
                let rewritten = rewrite_user(content, identity, participant, &mut user)?;
                put_bytes(&mut out, USER, &rewritten);
                continue;
            }
            _ => {}
        }
        out.extend_from_slice(&before[..before.len() - rest.len()]);
    }
    if destinations.is_empty() {
        destinations = user.destinations;
    }
    let command = user.command.then_some(user.payload);
    if command.is_some_and(|size| size > MAX_COMMAND) {
        return Err(DataError::TooLarge);
    }
    put_bytes(&mut out, PARTICIPANT_IDENTITY, identity.as_bytes());
    put_bytes(&mut out, PARTICIPANT_SID, participant.as_str().as_bytes());
    Ok(Rewritten { packet: out, destinations, command })
}

fn rewrite_user(
    message: &[u8],
    identity: &str,
    participant: &ParticipantId,
    user: &mut User,
) -> Result<Vec<u8>, DataError> {
    let mut out = Vec::with_capacity(message.len() + identity.len() + participant.as_str().len() + 8);
    let mut rest = message;
    while !rest.is_empty() {
        let before = rest;
        let (number, content) = field(&mut rest).ok_or(DataError::Malformed)?;
        match number {
            USER_PARTICIPANT_SID | USER_PARTICIPANT_IDENTITY => continue,
            USER_DESTINATION_IDENTITIES => push_name(&mut user.destinations, content)?,
            USER_PAYLOAD => user.payload += content.map_or(0, <[u8]>::len),
            USER_TOPIC => content.map_or(Ok(()), |topic| user.read_topic(topic))?,
            _ => {}
        }
        out.extend_from_slice(&before[..before.len() - rest.len()]);
    }
    put_bytes(&mut out, USER_PARTICIPANT_SID, participant.as_str().as_bytes());
    put_bytes(&mut out, USER_PARTICIPANT_IDENTITY, identity.as_bytes());
    Ok(out)
}

fn push_name(names: &mut Vec<String>, content: Option<&[u8]>) -> Result<(), DataError> {
    let content = content.ok_or(DataError::Malformed)?;
    let name = str::from_utf8(content).map_err(|_| DataError::Malformed)?;
    if names.len() == MAX_DESTINATIONS {
        return Err(DataError::TooManyDestinations);
    }
    names.push(name.to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(packet: &[u8]) -> Result<Rewritten, DataError> {
        rewrite(packet, "alice", &ParticipantId::from("PA_1"), true)
    }

    fn text(field: u64, value: &str) -> Vec<u8> {
        bytes(field, value.as_bytes())
    }

    fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, field, value);
        out
    }

    #[test]
    fn the_sender_is_replaced_and_the_rest_is_kept() {
        let chat = text(9, "payload");
        let unknown = [0xf8, 0x07, 0x96, 0x01];
        let packet = [text(4, "mallory"), chat.clone(), text(17, "PA_9"), unknown.to_vec()].concat();
        let sent = run(&packet).unwrap();
        assert_eq!(sent.packet, [chat, unknown.to_vec(), text(4, "alice"), text(17, "PA_1")].concat());
        assert!(sent.destinations.is_empty());
    }

    #[test]
    fn a_user_message_names_its_sender_and_may_name_receivers() {
        let content = [text(1, "PA_9"), text(2, "hi"), text(5, "mallory"), text(6, "bob")].concat();
        let sent = run(&bytes(2, &content)).unwrap();
        assert_eq!(sent.destinations, ["bob"]);
        let content = [text(2, "hi"), text(6, "bob"), text(1, "PA_1"), text(5, "alice")].concat();
        assert_eq!(sent.packet, [bytes(2, &content), text(4, "alice"), text(17, "PA_1")].concat());
        assert_eq!(run(&bytes(2, &[0x0a, 9])), Err(DataError::Malformed));
    }

    #[test]
    fn destinations_are_read_and_kept() {
        let packet = [text(5, "bob"), text(5, "carol")].concat();
        let sent = run(&packet).unwrap();
        assert_eq!(sent.destinations, ["bob", "carol"]);
        assert!(sent.packet.starts_with(&packet));
    }

    fn user(topic: &str, size: usize) -> Vec<u8> {
        bytes(2, &[bytes(2, &vec![7; size]), text(4, topic)].concat())
    }

    #[test]
    fn commands_are_numbered_one_to_ten_and_small() {
        for number in 1..=10 {
            assert_eq!(run(&user(&format!("trtc.cmd.{number}"), 5)).unwrap().command, Some(5));
        }
        for topic in ["0", "11", "", "01", "1.", "-1", "1\0", "one", " 1"].map(|n| format!("trtc.cmd.{n}")) {
            assert_eq!(run(&user(&topic, 5)), Err(DataError::Forbidden), "{topic}");
        }
        assert_eq!(run(&user("trtc.cmd.1", MAX_COMMAND)).unwrap().command, Some(MAX_COMMAND));
        assert_eq!(run(&user("trtc.cmd.1", MAX_COMMAND + 1)), Err(DataError::TooLarge));
        for topic in ["", "trtc.cmd", "trtc.command.1", "my.trtc.cmd.1"] {
            assert_eq!(run(&user(topic, 50_000)).unwrap().command, None, "{topic}");
        }
    }

    #[test]
    fn a_command_cannot_be_hidden() {
        let two_topics = bytes(2, &[text(4, "x"), text(4, "trtc.cmd.1")].concat());
        assert_eq!(run(&two_topics), Err(DataError::Malformed));
        let two_messages = [bytes(2, &text(4, "trtc.cmd.1")), bytes(2, &bytes(2, &[0; 1001]))].concat();
        assert_eq!(run(&two_messages), Err(DataError::TooLarge));
        let stream = bytes(13, &[text(1, "id"), text(3, "trtc.cmd.1")].concat());
        assert_eq!(run(&stream), Err(DataError::Forbidden));
        assert!(run(&bytes(13, &[text(1, "id"), text(3, "files")].concat())).is_ok());
    }

    #[test]
    fn the_kind_follows_the_channel() {
        let lossy = rewrite(&[0x08, 0x00], "a", &ParticipantId::from("p"), false).unwrap();
        assert!(lossy.packet.starts_with(&[0x08, 0x01]));
        assert!(run(&[0x08, 0x01]).unwrap().packet.starts_with(&[0x22]));
    }

    #[test]
    fn what_is_malformed_or_forbidden_is_refused() {
        assert_eq!(run(&[0x12, 0x7f]), Err(DataError::Malformed));
        assert_eq!(run(&[0xff; 12]), Err(DataError::Malformed));
        assert_eq!(run(&[0x0b]), Err(DataError::Malformed));
        assert_eq!(run(&text(3, "x")), Err(DataError::Forbidden));
        assert_eq!(run(&vec![0; MAX_MESSAGE + 1]), Err(DataError::TooLarge));
    }
}
