//! Offers of H.264 in other profiles than the constrained baseline, the only one that is negotiated.
//!
//! Everything is forwarded as it comes and every decoder takes more than it offers, so a profile decides nothing here.
//! But encoders name theirs and nothing else: FFmpeg's WHIP output the plain baseline profile (42000d) or the one it
//! encodes in (6400…), OBS the high profile. Where a section offers H.264 without the constrained baseline profile, one
//! of its payload types is given out for that, and named in the answer as it was in the offer.

use crate::sdp::{self, Direction};

/// A payload type that is negotiated under another name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alias {
    mid: String,
    payload_type: String,
    profile: Option<String>,
    mode: Option<String>,
}

const PROFILE: &str = "profile-level-id";
const MODE: &str = "packetization-mode";
const OURS: &str = "42e01f";

/// The offer with its H.264 as the constrained baseline profile, and what is to be undone in the answer.
pub(crate) fn offer_as_ours(text: &str) -> (String, Vec<Alias>) {
    let mut aliases = Vec::new();
    let mut edit = |block: &Vec<&str>| -> Vec<String> {
        let mut lines: Vec<String> = block.iter().map(|l| (*l).to_owned()).collect();
        let section = sdp::read_section(block);
        let sends = matches!(section.direction, Direction::SendOnly | Direction::SendRecv);
        let Some(alias) = find(block, &section.mid, sends) else { return lines };
        set(&mut lines, &alias.payload_type, &[(PROFILE, Some(OURS)), (MODE, Some("1"))]);
        aliases.push(alias);
        lines
    };
    let blocks: Vec<Vec<String>> = sdp::blocks(text).iter().map(&mut edit).collect();
    (sdp::join(&blocks), aliases)
}

/// The answer in the words of the offer.
pub(crate) fn answer_as_theirs(text: &str, aliases: &[Alias]) -> String {
    if aliases.is_empty() {
        return text.to_owned();
    }
    let edit = |block: &Vec<&str>| -> Vec<String> {
        let mut lines: Vec<String> = block.iter().map(|l| (*l).to_owned()).collect();
        let mid = sdp::read_section(block).mid;
        for alias in aliases.iter().filter(|a| a.mid == mid) {
            let Alias { profile, mode, .. } = alias;
            // The line is only there if the payload type was taken.
            if has_format(block, &alias.payload_type) {
                set(
                    &mut lines,
                    &alias.payload_type,
                    &[(PROFILE, profile.as_deref()), (MODE, mode.as_deref())],
                );
            }
        }
        lines
    };
    sdp::join(&sdp::blocks(text).iter().map(edit).collect::<Vec<_>>())
}

/// The payload type to take if the section has H.264, and none that is negotiated anyway. Who sends single packets
/// alone (mode 0) is understood as well; who can receive nothing else cannot be sent what others fragment.
fn find(block: &[&str], mid: &str, sends: bool) -> Option<Alias> {
    if !block.first().is_some_and(|l| l.starts_with("m=video")) {
        return None;
    }
    let mut found: Vec<(bool, bool, Alias)> = Vec::new();
    for line in block {
        let Some((pt, name)) = line.strip_prefix("a=rtpmap:").and_then(|l| l.split_once(' ')) else {
            continue;
        };
        if !name.split('/').next().is_some_and(|n| n.eq_ignore_ascii_case("h264")) {
            continue;
        }
        let profile = parameter(block, pt, PROFILE);
        let mode = parameter(block, pt, MODE);
        let fragments = mode == Some("1");
        if fragments && profile.is_some_and(is_ours) {
            return None;
        }
        if !fragments && !sends {
            continue;
        }
        let baseline = profile.is_none_or(|p| p.starts_with("42"));
        let alias = Alias {
            mid: mid.to_owned(),
            payload_type: pt.to_owned(),
            profile: profile.map(str::to_owned),
            mode: mode.map(str::to_owned),
        };
        found.push((!fragments, !baseline, alias));
    }
    // Of those that are as good the first: it is what the client likes best.
    found.into_iter().min_by_key(|(single, other, _)| (*single, *other)).map(|(_, _, alias)| alias)
}

/// Constrained baseline, as RFC 6184 has it (table 5).
fn is_ours(profile: &str) -> bool {
    let Ok(value) = u32::from_str_radix(profile, 16) else { return false };
    let (profile, constraints) = (value >> 16, (value >> 8) & 0xff);
    match profile {
        _ if profile > 0xff || constraints & 0x0f != 0 => false,
        0x42 => constraints & 0x40 != 0,
        0x4d => constraints & 0x80 != 0,
        0x58 => constraints & 0xc0 == 0xc0,
        _ => false,
    }
}

fn format<'a>(line: &'a str, payload_type: &str) -> Option<&'a str> {
    line.strip_prefix("a=fmtp:")?.strip_prefix(payload_type)?.strip_prefix(' ')
}

fn has_format(block: &[&str], payload_type: &str) -> bool {
    block.iter().any(|l| format(l, payload_type).is_some())
}

fn parameter<'a>(block: &[&'a str], payload_type: &str, name: &str) -> Option<&'a str> {
    let values = block.iter().find_map(|l| format(l, payload_type))?;
    values.split(';').find_map(|p| p.trim().strip_prefix(name)?.strip_prefix('='))
}

/// Sets parameters of a payload type's format, or takes them out.
fn set(lines: &mut Vec<String>, payload_type: &str, wanted: &[(&str, Option<&str>)]) {
    let index = lines.iter().position(|l| format(l, payload_type).is_some());
    let values = index.and_then(|i| format(&lines[i], payload_type)).unwrap_or_default();
    let named = |part: &str| wanted.iter().any(|(name, _)| part.split('=').next() == Some(name));
    let kept = values.split(';').map(str::trim).filter(|p| !p.is_empty() && !named(p)).map(str::to_owned);
    let given = wanted.iter().filter_map(|(name, value)| value.map(|v| format!("{name}={v}")));
    let all: Vec<String> = kept.chain(given).collect();
    let line = format!("a=fmtp:{payload_type} {}", all.join(";"));
    match index {
        Some(index) if all.is_empty() => {
            lines.remove(index);
        }
        Some(index) => lines[index] = line,
        None if all.is_empty() => {}
        None => lines.push(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(direction: &str, formats: &[(&str, &str)]) -> String {
        let mut text = format!("v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\na={direction}\r\n");
        for (pt, format) in formats {
            text += &format!("a=rtpmap:{pt} H264/90000\r\n");
            if !format.is_empty() {
                text += &format!("a=fmtp:{pt} {format}\r\n");
            }
        }
        text
    }

    #[test]
    fn what_is_negotiated_anyway_stays() {
        for profile in ["42e01f", "42C028", "4d801f", "42E01F"] {
            let text =
                offer("sendonly", &[("96", &format!("packetization-mode=1;profile-level-id={profile}"))]);
            assert_eq!(offer_as_ours(&text), (text.clone(), vec![]), "{profile}");
            assert_eq!(answer_as_theirs(&text, &[]), text);
        }
        let both = offer(
            "recvonly",
            &[
                ("96", "packetization-mode=1;profile-level-id=640c1f"),
                ("97", "packetization-mode=1;profile-level-id=42e01f"),
            ],
        );
        assert_eq!(offer_as_ours(&both).1, []);
    }

    #[test]
    fn another_profile_is_taken_and_answered_as_it_was_offered() {
        for profile in ["42000d", "42001f", "4d001f", "640c1f", "64002a", "f4001f", "zz"] {
            let format =
                format!("level-asymmetry-allowed=1; packetization-mode=1;profile-level-id={profile}");
            let (text, aliases) = offer_as_ours(&offer("sendonly", &[("106", &format)]));
            assert!(text.contains(
                "a=fmtp:106 level-asymmetry-allowed=1;profile-level-id=42e01f;packetization-mode=1\r\n"
            ));
            let answer = answer_as_theirs(&text, &aliases);
            assert!(answer.contains(&format!("profile-level-id={profile};packetization-mode=1")), "{answer}");
        }
    }

    #[test]
    fn the_plainest_is_taken() {
        let formats = [
            ("96", "profile-level-id=42001f"),
            ("97", "packetization-mode=1;profile-level-id=640c1f"),
            ("98", "packetization-mode=1;profile-level-id=42001f"),
        ];
        let taken = |direction, formats: &[(&str, &str)]| {
            offer_as_ours(&offer(direction, formats)).1.first().map(|a| a.payload_type.clone())
        };
        assert_eq!(taken("sendonly", &formats).as_deref(), Some("98"));
        assert_eq!(taken("sendonly", &formats[..2]).as_deref(), Some("97"));
        assert_eq!(taken("sendonly", &formats[..1]).as_deref(), Some("96"));
        assert_eq!(taken("recvonly", &formats[..1]), None, "it cannot take what others fragment");
    }

    #[test]
    fn what_was_not_said_is_not_answered() {
        let (text, aliases) = offer_as_ours(&offer("sendonly", &[("96", "")]));
        assert!(text.contains("a=fmtp:96 profile-level-id=42e01f;packetization-mode=1\r\n"));
        assert!(!answer_as_theirs(&text, &aliases).contains("a=fmtp:96"));
        let rejected = "v=0\r\nm=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\na=inactive\r\n";
        assert_eq!(answer_as_theirs(rejected, &aliases), rejected);
    }
}
