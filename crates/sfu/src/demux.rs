//! Streams of programs that describe them otherwise than browsers do.
//!
//! What a browser sends is told by its SSRC or by a media id in the packets. Simple senders name neither: then the
//! payload type has to do, as RFC 9143 (9.2) allows while only one section has it. A stream found so is kept only if
//! its packet turns out to be authentic; anybody can send what looks like one.
//!
//! A browser repeats what was lost in a stream beside the first. Others (OBS) do it in the first itself; what is missing
//! is asked for there as well.

use str0m::media::{Mid, Pt};
use str0m::rtp::Ssrc;

use crate::command::Kind;
use crate::sdp::Section;
use crate::transport::Transport;

/// A stream that is tried, and the one it would replace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guess {
    ssrc: Ssrc,
    before: Option<Ssrc>,
}

impl Transport {
    /// Remembers which payload types tell a section, after a description was taken.
    pub(crate) fn set_unnamed(&mut self, sections: &[Section]) {
        self.unnamed.clear();
        let mut all: Vec<(Pt, Mid)> = Vec::new();
        for section in sections.iter().filter(|s| s.direction.sends() && !s.rejected) {
            let mid = Mid::from(section.mid.as_str());
            let Some(media) = self.rtc.media(mid) else { continue };
            let found: Vec<(Pt, Mid)> = media.remote_pts().iter().map(|pt| (*pt, mid)).collect();
            if !section.named {
                self.unnamed.extend(&found);
            }
            all.extend(found);
        }
        self.unnamed.retain(|(pt, mid)| !all.iter().any(|(other, of)| other == pt && of != mid));
    }

    /// Lets lost packets be asked for of senders that repeat them, although they have no stream for that, and remembers
    /// who asks us for sound.
    pub(crate) fn set_repeating(&mut self, sections: &[Section]) {
        self.repeating.clear();
        for section in sections.iter().filter(|s| s.kind == Some(Kind::Audio) && s.repeats) {
            self.repeating.push(section.mid.as_str().into());
        }
        for section in &mut self.sections {
            section.repeats = self.repeating.contains(&section.mid);
        }
        let mut api = self.rtc.direct_api();
        for section in sections.iter().filter(|s| s.direction.sends() && s.repeats) {
            let stream = api.stream_rx_by_mid(section.mid.as_str().into(), None);
            if let Some(stream) = stream.filter(|s| s.rtx().is_none()) {
                stream.suppress_nack(false);
            }
        }
    }

    /// Makes the stream of a packet known that only its payload type places; [`Transport::judge`] has the last word.
    #[inline]
    pub(crate) fn guess_stream(&mut self, contents: &[u8]) -> Option<Guess> {
        if self.unnamed.is_empty() { None } else { self.guess(contents) }
    }

    #[cold]
    fn guess(&mut self, contents: &[u8]) -> Option<Guess> {
        let header = contents.first_chunk::<12>().filter(|h| matches!(h[0], 0x80..=0xbf))?;
        let pt = Pt::from(header[1] & 0x7f);
        let mid = self.unnamed.iter().find(|(known, _)| *known == pt)?.1;
        let ssrc = Ssrc::from(u32::from_be_bytes([header[8], header[9], header[10], header[11]]));
        // Probes for bandwidth have no number; a section may have gone with a description that was refused half-way.
        if *ssrc == 0 || self.rtc.media(mid).is_none() {
            return None;
        }
        let mut api = self.rtc.direct_api();
        if api.stream_rx(&ssrc).is_some() {
            return None;
        }
        let before = api.stream_rx_by_mid(mid, None).map(|s| s.ssrc());
        api.expect_stream_rx(ssrc, None, mid, None).suppress_nack(true);
        Some(Guess { ssrc, before })
    }

    /// Keeps the stream, or not.
    pub(crate) fn judge(&mut self, guess: Guess, authentic: bool) {
        let gone = if authentic { guess.before } else { Some(guess.ssrc) };
        if let Some(ssrc) = gone {
            self.rtc.direct_api().remove_stream_rx(ssrc);
        }
    }
}
