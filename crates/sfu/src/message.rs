//! Data messages: from one participant's channel to the others', without leaving Rust.

use std::time::Instant;

use str0m::channel::ChannelData;

use crate::data;
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
        let sender = &self.participants[from];
        let rewritten = match data::rewrite(&message.data, &sender.identity, &sender.id, reliable) {
            Ok(rewritten) => rewritten,
            Err(error) => {
                tracing::debug!(%error, participant = %sender.id, "message dropped");
                return;
            }
        };
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
        if allowance.take(now, reliable, to.len(), rewritten.packet.len()) {
            self.send_to(&to, reliable, &rewritten.packet);
        } else {
            tracing::debug!(participant = %self.participants[from].id, "message dropped: too many");
        }
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
            } else {
                tracing::debug!(participant = %self.participants[index].id, "message not sent");
            }
        }
    }
}
