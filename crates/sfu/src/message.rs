//! Data messages: from one participant's channel to the others', without leaving Rust.

use std::time::Instant;

use str0m::channel::ChannelData;

use crate::data::{self, DataError};
use crate::event::Refusal;
use crate::ids::ParticipantId;
use crate::room::Room;

impl Room {
    /// A message came on a data channel.
    pub(crate) fn forward_data(&mut self, slot: usize, message: &ChannelData, now: Instant) {
        let transport = &self.transports[slot];
        let id = Some(message.id);
        let reliable = match (&transport.channels.reliable, &transport.channels.lossy) {
            (reliable, _) if *reliable == id => true,
            (_, lossy) if *lossy == id => false,
            _ => return,
        };
        let from = transport.participant;
        if let Err(reason) = self.pass_data(from, reliable, &message.data, now) {
            let sender = &mut self.participants[from];
            tracing::debug!(?reason, participant = %sender.id, "message dropped");
            sender.refusals.count(reason);
        }
    }

    fn pass_data(
        &mut self,
        from: usize,
        reliable: bool,
        message: &[u8],
        now: Instant,
    ) -> Result<(), Refusal> {
        let sender = &mut self.participants[from];
        if !sender.rights.data {
            return Err(Refusal::NoRight);
        }
        if !sender.allowance.is_open(now, reliable) {
            return Err(Refusal::TooMany);
        }
        let rewritten = data::rewrite(message, &sender.identity, &sender.id, reliable).map_err(|error| {
            // Reading it was work too.
            sender.allowance.take(now, reliable, 1, message.len());
            match error {
                DataError::TooLarge => Refusal::TooLarge,
                DataError::Forbidden => Refusal::Forbidden,
                _ => Refusal::Malformed,
            }
        })?;
        if rewritten.command.is_some_and(|size| !sender.allowance.take_command(now, size)) {
            sender.allowance.take(now, reliable, 1, message.len());
            return Err(Refusal::TooMany);
        }
        let wanted = |identity: &String| {
            rewritten.destinations.is_empty() || rewritten.destinations.contains(identity)
        };
        let to: Vec<usize> = self
            .participants
            .iter()
            .filter(|(index, p)| *index != from && wanted(&p.identity))
            .map(|(index, _)| index)
            .collect();
        let allowance = &mut self.participants[from].allowance;
        if !allowance.take(now, reliable, to.len(), rewritten.packet.len()) {
            return Err(Refusal::TooMany);
        }
        self.send_to(&to, reliable, &rewritten.packet);
        Ok(())
    }

    /// Sends a message of the server's.
    pub(crate) fn send_server_data(&mut self, to: &[ParticipantId], reliable: bool, packet: &[u8]) {
        let to: Vec<usize> = if to.is_empty() {
            self.participants.iter().map(|(index, _)| index).collect()
        } else {
            to.iter().filter_map(|id| self.names.get(id).copied()).collect()
        };
        self.send_to(&to, reliable, packet);
    }

    fn send_to(&mut self, participants: &[usize], reliable: bool, packet: &[u8]) {
        for &index in participants {
            let participant = &self.participants[index];
            // Of two connections the one toward the client carries messages; it is made first.
            let Some(&slot) = participant.transports.first() else { continue };
            if self.transports[slot].send_data(reliable, packet) {
                self.mark_dirty(slot);
                continue;
            }
            // What is lossy may be lost; of what is not, somebody who takes nothing misses a part and is told of.
            if reliable && self.transports[slot].channels.reliable.is_some() {
                self.participants[index].refusals.count(Refusal::Undelivered);
            }
            tracing::debug!(participant = %self.participants[index].id, "message not sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::{Command, EgressOptions, Rights, TransportConfig};

    #[test]
    fn a_flood_of_what_cannot_be_read_uses_up_the_allowance() {
        let now = Instant::now();
        let config = TransportConfig {
            candidates: vec![],
            tcp_candidates: vec![],
            certificate: crate::generate_certificate().unwrap(),
            video_codecs: vec![],
            egress: EgressOptions { padding: false, hold: Duration::ZERO, origin: now, unix: Duration::ZERO },
        };
        let mut room = Room::new(Arc::new(config), now);
        for name in ["alice", "bob"] {
            let (participant, identity) = (name.into(), name.to_owned());
            let rights = Rights::default();
            room.handle_command(
                Command::AddParticipant {
                    participant,
                    identity,
                    single: true,
                    fixed: false,
                    adaptive: true,
                    rights,
                },
                now,
            );
        }
        let [alice, bob] = ["alice", "bob"].map(|name| room.names[&ParticipantId::from(name)]);
        let mut send = |from, message: &[u8]| room.pass_data(from, true, message, now);
        let large = vec![0xff; data::MAX_MESSAGE];
        let refused = (0..10_000).find(|_| send(alice, &large) != Err(Refusal::Malformed));
        assert!(refused.is_some_and(|n| n <= 513), "{refused:?}");
        assert_eq!(send(alice, &large), Err(Refusal::TooMany));
        assert_eq!(send(alice, b"\xff"), Err(Refusal::TooMany), "not even read");
        assert_eq!(send(bob, &[0x12, 0]), Ok(()), "the offender alone");
    }
}
