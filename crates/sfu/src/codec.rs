//! The codecs that are forwarded: their names at the edges, how they are offered, and where a picture can be entered.

use str0m::format::{Codec, CodecConfig, FormatParams, PayloadParams};
use str0m::media::{Frequency, Pt};

/// The lower-case name used in commands and events.
pub(crate) fn name(codec: Codec) -> &'static str {
    match codec {
        Codec::Opus => "opus",
        Codec::H264 => "h264",
        Codec::Vp8 => "vp8",
        Codec::Vp9 => "vp9",
        Codec::Av1 => "av1",
        _ => "unknown",
    }
}

/// What is accepted, in the given order of preference for video. Unknown names are left out.
///
/// H.264 is the constrained baseline profile only: every peer has it, so any packet can go to any subscriber.
pub(crate) fn configure(config: &mut CodecConfig, video: &[String]) {
    config.clear();
    config.enable_opus(true, true);
    for name in video {
        match name.as_str() {
            "h264" => config.add_h264(Pt::from(108), Some(Pt::from(109)), true, 0x42e01f),
            "vp8" => config.enable_vp8(true),
            "vp9" => config.add_config(
                Pt::from(98),
                Some(Pt::from(99)),
                Codec::Vp9,
                Frequency::NINETY_KHZ,
                None,
                FormatParams { profile_id: Some(0), ..Default::default() },
            ),
            "av1" => config.enable_av1(true),
            _ => {}
        }
    }
}

/// The payload types of a codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Types {
    pub(crate) pt: Pt,
    /// Of repetitions in a stream of their own.
    pub(crate) rtx: Option<Pt>,
    /// With redundancy.
    pub(crate) red: Option<Pt>,
}

/// Those that packets of `codec` get on a transport that negotiated `params`, if they can be sent there.
pub(crate) fn payload_types(params: &[PayloadParams], negotiated: &[Pt], codec: Codec) -> Option<Types> {
    let found = params.iter().find(|p| p.spec().codec == codec && negotiated.contains(&p.pt()))?;
    Some(Types { pt: found.pt(), rtx: found.resend(), red: found.red() })
}

/// What an incoming payload type means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Coding {
    pub(crate) codec: Codec,
    pub(crate) rate: u32,
    /// It comes with redundancy; what is within has this payload type.
    pub(crate) within: Option<Pt>,
}

pub(crate) fn coding(params: &[PayloadParams], pt: Pt) -> Option<Coding> {
    let found = params.iter().find(|p| p.pt() == pt || p.red() == Some(pt))?;
    let spec = found.spec();
    let within = (found.pt() != pt).then(|| found.pt());
    Some(Coding { codec: spec.codec, rate: spec.clock_rate.get(), within })
}

/// Whether a decoder can begin with this packet: it holds the start of a key picture.
pub(crate) fn starts_keyframe(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::H264 => h264_starts_keyframe(payload),
        Codec::Vp8 => vp8_starts_keyframe(payload),
        Codec::Vp9 => vp9_starts_keyframe(payload),
        // A new coded video sequence that does not continue what began in the packet before.
        Codec::Av1 => payload.first().is_some_and(|b| b & 0x88 == 0x08),
        _ => true,
    }
}

const IDR: u8 = 5;
const SPS: u8 = 7;

fn h264_starts_keyframe(payload: &[u8]) -> bool {
    h264_holds(payload, &[IDR, SPS])
}

/// Whether a packet of H.264 holds what a decoder needs before the key picture it stands before.
pub(crate) fn holds_parameters(payload: &[u8]) -> bool {
    h264_holds(payload, &[SPS])
}

/// Whether a unit of one of these kinds begins in a packet.
fn h264_holds(payload: &[u8], kinds: &[u8]) -> bool {
    const STAP_A: u8 = 24;
    const FU_A: u8 = 28;
    let Some(first) = payload.first() else { return false };
    match first & 0x1f {
        STAP_A => {
            let mut rest = &payload[1..];
            while let [a, b, tail @ ..] = rest {
                let len = usize::from(u16::from_be_bytes([*a, *b]));
                let Some(unit) = tail.get(..len) else { return false };
                if unit.first().is_some_and(|b| kinds.contains(&(b & 0x1f))) {
                    return true;
                }
                rest = &tail[len..];
            }
            false
        }
        FU_A => payload.get(1).is_some_and(|b| b & 0x80 != 0 && kinds.contains(&(b & 0x1f))),
        kind => kinds.contains(&kind),
    }
}

/// RFC 7741: the start of partition 0 whose first payload byte has the inverse key frame bit clear.
fn vp8_starts_keyframe(payload: &[u8]) -> bool {
    let Some(&first) = payload.first() else { return false };
    if first & 0x10 == 0 || first & 0x07 != 0 {
        return false;
    }
    let mut at = 1;
    if first & 0x80 != 0 {
        let Some(&ext) = payload.get(at) else { return false };
        at += 1;
        if ext & 0x80 != 0 {
            let Some(&id) = payload.get(at) else { return false };
            at += if id & 0x80 != 0 { 2 } else { 1 };
        }
        at += usize::from(ext & 0x40 != 0);
        at += usize::from(ext & 0x30 != 0);
    }
    payload.get(at).is_some_and(|b| b & 0x01 == 0)
}

/// RFC 9628: not inter-picture predicted, begins a frame, and of the lowest spatial layer if layers are told.
fn vp9_starts_keyframe(payload: &[u8]) -> bool {
    let Some(&first) = payload.first() else { return false };
    let (picture_id, predicted, layers, begins) =
        (first & 0x80 != 0, first & 0x40 != 0, first & 0x20 != 0, first & 0x08 != 0);
    if predicted || !begins {
        return false;
    }
    let mut at = 1;
    if picture_id {
        let Some(&id) = payload.get(at) else { return false };
        at += if id & 0x80 != 0 { 2 } else { 1 };
    }
    !layers || payload.get(at).is_some_and(|b| (b >> 1) & 0x07 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h264_keyframes_are_seen_in_every_packing() {
        let start = |payload: &[u8]| starts_keyframe(Codec::H264, payload);
        assert!(start(&[0x67, 1]));
        assert!(start(&[0x65, 1]));
        assert!(start(&[0x78, 0, 2, 0x09, 0xf0, 0, 2, 0x67, 1]));
        assert!(start(&[0x7c, 0x85, 1]));
        assert!(!start(&[0x7c, 0x05, 1]));
        assert!(!start(&[0x41, 1]));
        assert!(!start(&[0x78, 0, 200, 0x67]));
        assert!(!start(&[]));
    }

    #[test]
    fn h264_parameters_are_seen_apart_from_pictures() {
        assert!(holds_parameters(&[0x67, 1]));
        assert!(holds_parameters(&[0x78, 0, 2, 0x09, 0xf0, 0, 2, 0x67, 1]));
        assert!(!holds_parameters(&[0x65, 1]) && !holds_parameters(&[0x7c, 0x85, 1]));
    }

    #[test]
    fn vp8_keyframes_need_the_first_packet_of_a_key_picture() {
        let start = |payload: &[u8]| starts_keyframe(Codec::Vp8, payload);
        assert!(start(&[0x10, 0x00]));
        assert!(start(&[0x90, 0xe0, 0x81, 0x02, 7, 0x20, 0x10]));
        assert!(!start(&[0x90, 0xe0, 0x81, 0x02, 7, 0x20, 0x11]));
        assert!(!start(&[0x00, 0x00]));
        assert!(!start(&[0x90, 0xe0, 0x81]));
    }

    #[test]
    fn vp9_keyframes_are_unpredicted_beginnings() {
        let start = |payload: &[u8]| starts_keyframe(Codec::Vp9, payload);
        assert!(start(&[0x88, 0x01]));
        assert!(!start(&[0xc8, 0x01]));
        assert!(!start(&[0xa8, 0x01, 0x02]));
    }
}
