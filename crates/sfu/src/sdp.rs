//! The few edits of session descriptions that str0m has no call for, as edits of their text.
//!
//! An offer is read for what its sections are and cleaned before str0m sees it; an answer or offer that str0m made is
//! finished: stream and track ids, order of codecs, unused receive sections. Nothing here trusts its input: any text
//! is accepted, and what it does not understand stays as it is.

use std::collections::HashMap;

use crate::command::Kind;

/// A description larger than this is refused unread.
pub(crate) const MAX_SIZE: usize = 256 * 1024;
/// So is one with more sections.
pub(crate) const MAX_SECTIONS: usize = 512;
/// So is one that names more streams in a section: three layers, each with repair and redundancy, are nine.
const MAX_STREAMS: usize = 16;

const TRANSPORT_CC: &str = "transport-wide-cc-extensions";

/// Direction of a section as its writer sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    fn parse(line: &str) -> Option<Self> {
        match line {
            "a=sendrecv" => Some(Self::SendRecv),
            "a=sendonly" => Some(Self::SendOnly),
            "a=recvonly" => Some(Self::RecvOnly),
            "a=inactive" => Some(Self::Inactive),
            _ => None,
        }
    }

    pub(crate) fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }
}

/// One media section of a description; `kind` is none for data channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) mid: String,
    pub(crate) kind: Option<Kind>,
    pub(crate) direction: Direction,
    /// The track id of `a=msid`.
    pub(crate) cid: Option<String>,
    pub(crate) rejected: bool,
}

/// What a finished section looks like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Finish {
    /// Nothing is sent in it: inactive, and no stream is named.
    pub(crate) inactive: bool,
    /// Stream and track id of what is sent.
    pub(crate) msid: Option<(String, String)>,
    /// The codec to name first.
    pub(crate) codec: Option<String>,
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').map(|l| l.strip_suffix('\r').unwrap_or(l)).filter(|l| !l.is_empty())
}

/// Session part and sections, each a list of lines.
fn blocks(text: &str) -> Vec<Vec<&str>> {
    let mut blocks = vec![Vec::new()];
    for line in lines(text) {
        if line.starts_with("m=") {
            blocks.push(Vec::new());
        }
        if let Some(block) = blocks.last_mut() {
            block.push(line);
        }
    }
    blocks
}

fn join(blocks: &[Vec<String>]) -> String {
    let mut text = String::new();
    for line in blocks.iter().flatten() {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text
}

fn read_section(block: &[&str]) -> Section {
    let first = block.first().copied().unwrap_or_default();
    let kind = match first.split(' ').next() {
        Some("m=audio") => Some(Kind::Audio),
        Some("m=video") => Some(Kind::Video),
        _ => None,
    };
    let after = |prefix: &str| block.iter().find_map(|l| l.strip_prefix(prefix));
    Section {
        mid: after("a=mid:").unwrap_or_default().trim().to_owned(),
        kind,
        direction: block.iter().find_map(|l| Direction::parse(l)).unwrap_or(Direction::SendRecv),
        cid: after("a=msid:").and_then(|v| v.split_whitespace().nth(1)).map(str::to_owned),
        rejected: first.split(' ').nth(1) == Some("0") && !block.contains(&"a=bundle-only"),
    }
}

/// The sections of a description, in order; an error says what there is too much of.
pub(crate) fn read(text: &str) -> Result<Vec<Section>, &'static str> {
    if text.len() > MAX_SIZE {
        return Err("the description is too large");
    }
    let blocks = blocks(text);
    let sections = blocks.get(1..).unwrap_or_default();
    if sections.len() > MAX_SECTIONS {
        return Err("the description has too many sections");
    }
    if sections.iter().any(|section| names_too_many_streams(section)) {
        return Err("the description has too many streams in a section");
    }
    Ok(sections.iter().map(|b| read_section(b)).collect())
}

fn names_too_many_streams(section: &[&str]) -> bool {
    let mut streams: Vec<&str> = Vec::new();
    for line in section {
        let names = match (line.strip_prefix("a=ssrc:"), line.strip_prefix("a=ssrc-group:")) {
            (Some(line), _) => line.split(' ').take(1),
            // The first is what the group means.
            (_, Some(line)) => {
                let mut names = line.split(' ');
                names.next();
                names.take(usize::MAX)
            }
            _ => continue,
        };
        for name in names {
            if !streams.contains(&name) {
                streams.push(name);
                if streams.len() > MAX_STREAMS {
                    return true;
                }
            }
        }
    }
    false
}

/// A client's offer or answer as str0m shall see it.
///
/// Candidates are left out: we are ICE-lite and learn addresses from the client's own checks.
///
/// A section that sends does only that: what goes to the client has sections of its own. Transport-wide congestion
/// control is negotiated only where it is used, for video that comes to us: toward subscribers it would change every
/// packet and cost feedback, and sound is too small to steer.
pub(crate) fn clean(text: &str) -> String {
    let edit = |block: &Vec<&str>| -> Vec<String> {
        if !block.first().is_some_and(|l| l.starts_with("m=")) {
            return block.iter().map(|l| (*l).to_owned()).collect();
        }
        let section = read_section(block);
        let controlled = section.kind == Some(Kind::Video) && section.direction.sends();
        let keep = |l: &&&str| {
            let congestion = l.starts_with("a=extmap:") && l.contains(TRANSPORT_CC);
            (controlled || !congestion) && !l.starts_with("a=candidate:")
        };
        let narrow = |l: &&str| if *l == "a=sendrecv" { "a=sendonly" } else { l }.to_owned();
        block.iter().filter(keep).map(narrow).collect()
    };
    join(&blocks(text).iter().map(edit).collect::<Vec<_>>())
}

/// A description of ours as the client shall see it; `finish` is by mid.
pub(crate) fn finish(text: &str, finish: &HashMap<String, Finish>) -> String {
    let edit = |block: &Vec<&str>| -> Vec<String> {
        let mut edited: Vec<String> = block.iter().map(|l| (*l).to_owned()).collect();
        let section = read_section(block);
        let Some(wanted) = finish.get(&section.mid) else { return edited };
        if !block.first().is_some_and(|l| l.starts_with("m=")) {
            return edited;
        }
        if wanted.inactive {
            edited.retain(|l| !l.starts_with("a=ssrc") && !l.starts_with("a=msid:"));
            for line in &mut edited {
                if Direction::parse(line).is_some() {
                    *line = "a=inactive".to_owned();
                }
            }
        } else if let Some((stream, track)) = &wanted.msid {
            set_msid(&mut edited, stream, track);
        }
        if let Some(codec) = &wanted.codec {
            prefer_codec(&mut edited, codec);
        }
        edited
    };
    join(&blocks(text).iter().map(edit).collect::<Vec<_>>())
}

fn set_msid(block: &mut Vec<String>, stream: &str, track: &str) {
    let msid = format!("a=msid:{stream} {track}");
    match block.iter_mut().find(|l| l.starts_with("a=msid:")) {
        Some(line) => *line = msid,
        None => block.push(msid),
    }
    for line in block.iter_mut().filter(|l| l.starts_with("a=ssrc:")) {
        let Some((ssrc, attribute)) = line.split_once(' ') else { continue };
        if attribute.starts_with("msid:") {
            *line = format!("{ssrc} msid:{stream} {track}");
        } else if attribute.starts_with("cname:") {
            // Streams of one publisher share a name, so that a browser plays them in step.
            let publisher = stream.split('|').next().unwrap_or(stream);
            *line = format!("{ssrc} cname:{publisher}");
        }
    }
}

/// Moves the payload types of `codec`, each with its retransmission type, to the front of the section.
fn prefer_codec(block: &mut [String], codec: &str) {
    let mut first = Vec::new();
    for line in block.iter() {
        let Some((pt, name)) = line.strip_prefix("a=rtpmap:").and_then(|l| l.split_once(' ')) else {
            continue;
        };
        if name.split('/').next().is_some_and(|n| n.eq_ignore_ascii_case(codec)) {
            first.push(pt.to_owned());
        }
    }
    let repairs = |pt: &String| {
        let apt = format!(" apt={pt}");
        block
            .iter()
            .filter_map(|l| l.strip_prefix("a=fmtp:"))
            .find(|l| l.strip_suffix(apt.as_str()).is_some_and(|p| !p.contains(' ')))
            .and_then(|l| l.split(' ').next())
            .map(str::to_owned)
    };
    let order: Vec<String> = first.iter().flat_map(|pt| [Some(pt.clone()), repairs(pt)]).flatten().collect();
    if let Some(line) = block.first_mut() {
        let parts: Vec<&str> = line.split(' ').collect();
        if parts.len() > 3 {
            let rest = parts[3..].iter().filter(|pt| !order.iter().any(|o| o == *pt));
            let pts: Vec<&str> = order.iter().map(String::as_str).chain(rest.copied()).collect();
            *line = format!("{} {}", parts[..3].join(" "), pts.join(" "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\na=group:BUNDLE 0 1 2\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendrecv\r\na=msid:- mic\r\n\
        a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97 108 109\r\na=mid:1\r\na=sendonly\r\na=msid:s cam\r\n\
        a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
        a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
        a=rtpmap:108 H264/90000\r\na=rtpmap:109 rtx/90000\r\na=fmtp:109 apt=108\r\n\
        a=ssrc:1 cname:x\r\na=ssrc:1 msid:s cam\r\na=ssrc-group:FID 1 2\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n";

    #[test]
    fn sections_are_read() {
        let sections = read(OFFER).unwrap();
        assert_eq!(sections.len(), 3);
        assert_eq!(sections[0].kind, Some(Kind::Audio));
        assert_eq!(sections[0].cid.as_deref(), Some("mic"));
        assert_eq!(sections[1].direction, Direction::SendOnly);
        assert_eq!(sections[2].kind, None);
    }

    #[test]
    fn congestion_control_stays_only_on_video_that_is_sent() {
        let cleaned = clean(OFFER);
        assert_eq!(cleaned.matches("transport-wide-cc").count(), 1);
        assert!(!cleaned.contains("a=sendrecv"));
    }

    #[test]
    fn streams_are_named() {
        let msid = Some(("PA_x|TR_y".to_owned(), "TR_y".to_owned()));
        let plan = HashMap::from([("1".to_owned(), Finish { msid, ..Default::default() })]);
        let text = finish(OFFER, &plan);
        assert!(text.contains("a=msid:PA_x|TR_y TR_y\r\n"));
        assert!(text.contains("a=ssrc:1 msid:PA_x|TR_y TR_y\r\n"));
        assert!(text.contains("a=ssrc:1 cname:PA_x\r\n"));
        assert!(text.contains("a=msid:- mic\r\n"));
    }

    #[test]
    fn unused_sections_are_inactive_and_name_no_stream() {
        let plan = HashMap::from([("1".to_owned(), Finish { inactive: true, ..Default::default() })]);
        let text = finish(OFFER, &plan);
        assert!(text.contains("a=inactive\r\n"));
        assert!(!text.contains("a=ssrc"));
        assert!(!text.contains("cam"));
    }

    #[test]
    fn the_preferred_codec_comes_first_with_its_repair() {
        let codec = Some("h264".to_owned());
        let plan = HashMap::from([("1".to_owned(), Finish { codec, ..Default::default() })]);
        let text = finish(OFFER, &plan);
        assert!(text.contains("m=video 9 UDP/TLS/RTP/SAVPF 108 109 96 97\r\n"));
    }

    #[test]
    fn streams_of_a_section_are_few() {
        let with = |lines: &str| format!("v=0\r\nm=video 9 x 96\r\na=mid:0\r\n{lines}");
        let named = |count: u32| (0..count).map(|n| format!("a=ssrc:{n} cname:x\r\na=ssrc:{n} msid:a b\r\n"));
        assert!(read(&with(&named(16).collect::<String>())).is_ok());
        assert!(read(&with(&named(17).collect::<String>())).is_err());
        let group: String = (0..17).map(|n| format!(" {n}")).collect();
        assert!(read(&with(&format!("a=ssrc-group:SIM{group}\r\n"))).is_err());
        let two: String = (0..2).map(|_| with(&named(10).collect::<String>())).collect();
        assert!(read(&two).is_ok(), "it is by section");
    }

    #[test]
    fn any_text_is_survived() {
        for text in ["", "m=", "m=audio\r\na=mid:", "a=mid:0", "\n\n\r\n", "m=video 9\r\na=msid:"] {
            let plan =
                HashMap::from([(String::new(), Finish { codec: Some("x".into()), ..Default::default() })]);
            finish(&clean(text), &plan);
            assert!(read(text).is_ok());
        }
    }
}
