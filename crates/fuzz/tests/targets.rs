//! Every target for a while, on its seeds, its corpus and edits of both.

use rtcloud_fuzz::{TARGETS, corpus, run, targets};

/// What a corpus may hold: it is kept with the sources.
const MAX_FILES: usize = 50;
const MAX_BYTES: usize = 2048;

/// More inputs than this get their turn: messages are short and need no session, so there are many in a second.
fn least(name: &str) -> u64 {
    if name == "data" { 1000 } else { 0 }
}

macro_rules! survive {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            let target = targets::find(stringify!($name)).expect("a target of this name");
            let count = run(target);
            assert!(count > least(target.name), "{count}");
        })*

        #[test]
        fn every_target_is_run() {
            assert_eq!(TARGETS.iter().map(|target| target.name).collect::<Vec<_>>(), [$(stringify!($name)),*]);
        }
    };
}

survive! {
    stun
    tcp_framing
    commands
    data
    sdp_edits
    payloads
    sound
    layers
    rtcp
    srtcp
    twcc
    packets
    bandwidth
    allocation
    offers
    datagrams
    unnamed_datagrams
    opened_rtp
    opened_rtcp
    client_answers
    client_datagrams
    client_opened
}

#[test]
fn what_is_kept_is_small() {
    for target in TARGETS {
        let kept = corpus(target.name);
        assert!(
            kept.len() <= MAX_FILES && kept.iter().all(|input| input.len() <= MAX_BYTES),
            "{}",
            target.name
        );
    }
}
