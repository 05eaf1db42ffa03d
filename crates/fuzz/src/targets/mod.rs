//! What is fuzzed. A target is a function of its input that never panics; where it needs a session, that is made once
//! per thread.

pub mod client;
pub mod media;
pub mod room;
pub mod sending;
pub mod wire;

/// A way of bytes into the program.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Names the corpus too.
    pub name: &'static str,
    /// Takes an input.
    pub read: fn(&[u8]),
    /// Valid inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

macro_rules! targets {
    ($($name:literal: $module:ident::$read:ident, $seeds:ident;)*) => {
        /// All of them.
        pub const TARGETS: &[Target] =
            &[$(Target { name: $name, read: $module::$read, seeds: $module::$seeds }),*];
    };
}

targets! {
    "stun": wire::stun, stun_seeds;
    "tcp_framing": wire::framing, framing_seeds;
    "commands": wire::commands, command_seeds;
    "data": wire::data, data_seeds;
    "sdp_edits": wire::sdp_edits, sdp_seeds;
    "payloads": media::payloads, payload_seeds;
    "sound": media::sound, sound_seeds;
    "layers": media::layers, layer_seeds;
    "rtcp": sending::rtcp, rtcp_seeds;
    "srtcp": sending::srtcp, srtcp_seeds;
    "twcc": sending::twcc, twcc_seeds;
    "packets": sending::packets, packet_seeds;
    "bandwidth": sending::bandwidth, bandwidth_seeds;
    "allocation": sending::allocation, bandwidth_seeds;
    "offers": room::offers, offer_seeds;
    "datagrams": room::datagrams, datagram_seeds;
    "unnamed_datagrams": room::unnamed_datagrams, unnamed_datagram_seeds;
    "opened_rtp": room::opened_rtp, opened_seeds;
    "opened_rtcp": room::opened_rtcp, opened_rtcp_seeds;
    "client_answers": client::answers, answer_seeds;
    "client_datagrams": client::datagrams, datagram_seeds;
    "client_opened": client::opened, opened_seeds;
}

/// A target by its name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
