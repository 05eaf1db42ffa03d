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

const MEDIA_ID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
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
    /// Its packets can be told by their SSRC or by the media id that they carry.
    pub(crate) named: bool,
    /// Its sender repeats what it is told was lost.
    pub(crate) repeats: bool,
}

/// What a finished section looks like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Finish {
    /// Nothing is sent in it: inactive, and nobody's stream is named.
    pub(crate) inactive: bool,
    /// Stream and track id of what is sent.
    pub(crate) msid: Option<(String, String)>,
    /// The codec to name first.
    pub(crate) codec: Option<String>,
    /// Sound of it that was lost can be asked for.
    pub(crate) repeats: bool,
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').map(|l| l.strip_suffix('\r').unwrap_or(l)).filter(|l| !l.is_empty())
}

/// Session part and sections, each a list of lines.
pub(crate) fn blocks(text: &str) -> Vec<Vec<&str>> {
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

pub(crate) fn join(blocks: &[Vec<String>]) -> String {
    let mut text = String::new();
    for line in blocks.iter().flatten() {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text
}

pub(crate) fn read_section(block: &[&str]) -> Section {
    let first = block.first().copied().unwrap_or_default();
    let kind = match first.split(' ').next() {
        Some("m=audio") => Some(Kind::Audio),
        Some("m=video") => Some(Kind::Video),
        _ => None,
    };
    let after = |prefix: &str| block.iter().find_map(|l| l.strip_prefix(prefix));
    let feedback = |l: &&&str| l.starts_with("a=rtcp-fb:") && l.ends_with(" nack");
    Section {
        mid: after("a=mid:").unwrap_or_default().trim().to_owned(),
        kind,
        direction: block.iter().find_map(|l| Direction::parse(l)).unwrap_or(Direction::SendRecv),
        cid: after("a=msid:").and_then(|v| v.split_whitespace().nth(1)).map(str::to_owned),
        repeats: block.iter().any(|l| feedback(&l)),
        rejected: first.split(' ').nth(1) == Some("0") && !block.contains(&"a=bundle-only"),
        named: block
            .iter()
            .any(|l| l.starts_with("a=ssrc:") || (l.starts_with("a=extmap:") && l.contains(MEDIA_ID))),
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
/// control is negotiated only where it is used, for video: sound is too small to steer, and every number in its small
/// packets costs feedback.
///
/// What is bundled is named once and in order; groups of other kinds mean nothing to us.
pub(crate) fn clean(text: &str) -> String {
    let blocks = blocks(text);
    let mids: Vec<String> = blocks.iter().skip(1).map(|b| read_section(b).mid).collect();
    let edit = |block: &Vec<&str>| -> Vec<String> {
        if !block.first().is_some_and(|l| l.starts_with("m=")) {
            return bundle(block, &mids);
        }
        let section = read_section(block);
        let controlled = section.kind == Some(Kind::Video);
        let keep = |l: &&&str| {
            let congestion = l.starts_with("a=extmap:") && l.contains(TRANSPORT_CC);
            (controlled || !congestion) && !l.starts_with("a=candidate:")
        };
        let narrow = |l: &&str| if *l == "a=sendrecv" { "a=sendonly" } else { l }.to_owned();
        let mut edited: Vec<String> = block.iter().filter(keep).map(narrow).collect();
        if section.kind.is_some() && !block.iter().any(|l| Direction::parse(l).is_some()) {
            edited.push("a=sendonly".to_owned());
        }
        edited
    };
    join(&blocks.iter().map(edit).collect::<Vec<_>>())
}

/// The session part, with the sections that go together in their order. One alone need not be named.
fn bundle(block: &[&str], mids: &[String]) -> Vec<String> {
    let (groups, mut rest): (Vec<&str>, Vec<&str>) = block.iter().partition(|l| l.starts_with("a=group:"));
    let bundled = groups.iter().find_map(|l| l.strip_prefix("a=group:BUNDLE"));
    let named: Vec<&str> = match bundled {
        Some(names) => {
            let names: Vec<&str> = names.split_whitespace().take(MAX_SECTIONS).collect();
            mids.iter().map(String::as_str).filter(|mid| names.contains(mid)).collect()
        }
        None if mids.len() == 1 => vec![&mids[0]],
        None => vec![],
    };
    let group = format!("a=group:BUNDLE {}", named.join(" "));
    if !named.is_empty() {
        rest.push(&group);
    }
    rest.into_iter().map(str::to_owned).collect()
}

/// An offer of a client that only receives: sections of both directions, as they are if they name none, receive.
pub(crate) fn receive_only(text: &str) -> String {
    let edit = |block: &Vec<&str>| -> Vec<String> {
        let mut edited: Vec<String> = block.iter().map(|l| (*l).to_owned()).collect();
        let section = read_section(block);
        if section.kind.is_some() && section.direction == Direction::SendRecv {
            edited.retain(|l| Direction::parse(l).is_none());
            edited.push("a=recvonly".to_owned());
        }
        edited
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
            // Who sends by and by is another one, under the same number: where it is not named meanwhile, Chromium ends
            // what it receives there, and neither shows nor plays what comes under it afterwards.
            let names =
                |l: &str| l.starts_with("a=msid:") || (l.starts_with("a=ssrc:") && !l.contains(" cname:"));
            edited.retain(|l| !names(l));
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
        if wanted.repeats && section.kind == Some(Kind::Audio) && !section.repeats {
            allow_repeats(&mut edited);
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

/// str0m knows repetitions only of what has a stream for them, which sound has not.
fn allow_repeats(block: &mut Vec<String>) {
    let opus = |line: &&String| {
        let (pt, name) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
        name.get(..5)?.eq_ignore_ascii_case("opus/").then(|| pt.to_owned())
    };
    if let Some(pt) = block.iter().find_map(|line| opus(&line)) {
        block.push(format!("a=rtcp-fb:{pt} nack"));
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
    fn congestion_control_stays_only_on_video() {
        let cleaned = clean(OFFER);
        assert_eq!(cleaned.matches("transport-wide-cc").count(), 1);
        let received = clean(&OFFER.replace("a=sendonly", "a=recvonly"));
        assert_eq!(received.matches("transport-wide-cc").count(), 1);
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
    fn unused_sections_are_inactive_and_name_nobody_but_keep_their_numbers() {
        let plan = HashMap::from([("1".to_owned(), Finish { inactive: true, ..Default::default() })]);
        let text = finish(OFFER, &plan);
        assert!(text.contains("a=inactive\r\n"));
        assert!(text.contains("a=ssrc:1 cname:x\r\n"));
        assert!(text.contains("a=ssrc-group:FID 1 2\r\n"));
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
    fn sound_can_be_asked_for_again_where_that_is_wanted() {
        let text = "m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\na=mid:0\r\na=rtpmap:63 red/48000/2\r\n\
            a=rtpmap:111 opus/48000/2\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n";
        let repeats = || Finish { repeats: true, ..Default::default() };
        let plan = HashMap::from([("0".to_owned(), repeats()), ("1".to_owned(), repeats())]);
        let finished = finish(text, &plan);
        assert_eq!(finished.matches(" nack").count(), 1);
        assert!(finished.contains("a=rtcp-fb:111 nack\r\n"));
        assert_eq!(finish(&finished, &plan), finished);
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
