//! What comes back: RTCP is opened, and taken apart.

use std::time::{Duration, Instant};

use crate::egress::{Egress, Place};
use crate::feedback::{Feedback, Heard};
use crate::report::ReferenceTime;
use crate::rtcp::{self, Block, Extended, Report};
use crate::stream::StreamId;

/// No client sends longer RTCP.
const MAX_DATAGRAM: usize = 1500;
/// Transport-wide feedback in one datagram: each may tell of everything that was sent.
const MAX_TRANSPORT: usize = 8;

/// Results for which room is kept; more come after an outage only.
const MAX_RESULTS: usize = 512;

impl Egress {
    /// Takes a datagram of SRTCP. `feedback` is appended to, never emptied.
    pub fn handle_rtcp(&mut self, datagram: &[u8], now: Instant, feedback: &mut Vec<Feedback>) -> Heard {
        self.results.clear();
        self.results.shrink_to(MAX_RESULTS);
        let Some(opening) = &self.opening else { return Heard::Strange };
        let mut room = [0; MAX_DATAGRAM];
        let Some(room) = room.get_mut(..datagram.len()) else { return Heard::Strange };
        room.copy_from_slice(datagram);
        let Some(opened) = opening.open_rtcp(room) else { return Heard::Strange };
        if !self.replay.take(opened.sender, opened.index) {
            return Heard::Strange;
        }
        self.read(&room[..opened.len], now, feedback)
    }

    fn read(&mut self, compound: &[u8], now: Instant, feedback: &mut Vec<Feedback>) -> Heard {
        let mut heard = Heard::Ours;
        let mut transport = 0;
        for block in rtcp::blocks(compound) {
            let ours = match block {
                Block::SenderReport { reports } => {
                    self.read_reports(reports, now, feedback);
                    false
                }
                Block::ReceiverReport { reports } => self.read_reports(reports, now, feedback),
                Block::Description | Block::Remb { bitrate: 0 } => true,
                Block::Nack { media, pairs } => self.read_nack(media, pairs, now),
                Block::Pli { media } => self.read_pli(media, feedback),
                Block::Fir { entries } => self.read_fir(entries, feedback),
                Block::Transport(told) => {
                    transport += 1;
                    if let (Some(writer), 1..=MAX_TRANSPORT) = (&mut self.writer, transport) {
                        writer.history.handle(&told, now, &mut self.results);
                    }
                    true
                }
                Block::Remb { bitrate } => {
                    feedback.push(Feedback::Remb { bitrate });
                    true
                }
                Block::Extended { sender, blocks } => {
                    let mut ours = true;
                    for block in blocks {
                        match block {
                            Extended::ReferenceTime(time) => {
                                self.reference = Some(ReferenceTime { ssrc: sender, time, at: now });
                            }
                            Extended::Delay(ssrc) => ours &= self.by_ssrc.contains_key(&ssrc),
                            Extended::Other => {}
                        }
                    }
                    ours
                }
                Block::Other => false,
            };
            if !ours {
                heard = Heard::Shared;
            }
        }
        if !self.results.is_empty() {
            feedback.push(Feedback::Transport);
        }
        heard
    }

    /// Whether all of them were about streams of ours.
    fn read_reports(&mut self, reports: &[u8], now: Instant, feedback: &mut Vec<Feedback>) -> bool {
        let mut ours = true;
        for report in Report::each(reports) {
            match self.by_ssrc.get(&report.ssrc) {
                Some(Place::Media(index)) => {
                    let index = *index;
                    let round_trip = self.clock.round_trip(&report, now);
                    if let Some(trip) = round_trip {
                        self.rtt = Some(self.rtt.map_or(trip, |rtt| (rtt * 3 + trip) / 4));
                    }
                    let stream = &mut self.streams[index as usize];
                    // It knows the stream by its SSRC now.
                    stream.mid_left = 0;
                    let rate = f64::from(stream.config.clock_rate.max(1));
                    let jitter = Duration::from_secs_f64(f64::from(report.jitter) / rate);
                    let fraction = f32::from(report.fraction) / 256.0;
                    let stats = &mut stream.stats;
                    stats.reports += 1;
                    stats.fraction_lost = fraction;
                    stats.lost = report.lost.into();
                    stats.jitter = jitter;
                    stats.rtt = round_trip.or(stats.rtt);
                    feedback.push(Feedback::Loss {
                        stream: StreamId(index),
                        fraction,
                        jitter,
                        rtt: round_trip,
                    });
                }
                Some(Place::Repetitions) => {}
                None => ours = false,
            }
        }
        ours
    }

    fn read_nack(&mut self, media: u32, pairs: &[u8], now: Instant) -> bool {
        let index = match self.by_ssrc.get(&media) {
            Some(Place::Media(index)) => *index,
            Some(Place::Repetitions) => return true,
            None => return false,
        };
        let Some(writer) = &self.writer else { return true };
        let millis = writer.millis(now);
        let stream = &mut self.streams[index as usize];
        for seq in rtcp::nacked(pairs) {
            self.resends.ask(index, stream, seq, millis, self.rtt);
        }
        true
    }

    fn read_pli(&mut self, media: u32, feedback: &mut Vec<Feedback>) -> bool {
        let Some(Place::Media(index)) = self.by_ssrc.get(&media) else {
            return self.by_ssrc.contains_key(&media);
        };
        self.streams[*index as usize].stats.plis += 1;
        feedback.push(Feedback::Keyframe { stream: StreamId(*index) });
        true
    }

    fn read_fir(&mut self, entries: &[u8], feedback: &mut Vec<Feedback>) -> bool {
        let mut ours = true;
        for (ssrc, command) in rtcp::intra_requests(entries) {
            let Some(Place::Media(index)) = self.by_ssrc.get(&ssrc) else {
                ours &= self.by_ssrc.contains_key(&ssrc);
                continue;
            };
            let stream = &mut self.streams[*index as usize];
            stream.stats.firs += 1;
            // A command is repeated under its number until it is obeyed.
            if stream.last_command.replace(command) != Some(command) {
                feedback.push(Feedback::Keyframe { stream: StreamId(*index) });
            }
        }
        ours
    }
}
