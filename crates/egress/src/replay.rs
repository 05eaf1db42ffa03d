//! SRTCP packets that came before (RFC 3711, 3.3.2).
//!
//! Only authentic packets get here. A client has few SSRCs; of more than [`MAX_SENDERS`] those that were silent longest
//! are forgotten.

use crate::window::Window;

const MAX_SENDERS: usize = 32;

#[derive(Debug, Clone, Copy)]
struct Sender {
    ssrc: u32,
    /// 64 numbers are asked for.
    window: Window<2>,
    /// When it spoke last.
    spoke: u64,
}

/// The senders of one client.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    senders: Vec<Sender>,
    heard: u64,
}

impl Replay {
    /// Whether an index is new; then it is not any more.
    pub(crate) fn take(&mut self, ssrc: u32, index: u32) -> bool {
        self.heard += 1;
        let spoke = self.heard;
        if let Some(sender) = self.senders.iter_mut().find(|s| s.ssrc == ssrc) {
            sender.spoke = spoke;
            return sender.window.take(index.into());
        }
        let mut sender = Sender { ssrc, window: Window::new(), spoke };
        sender.window.take(index.into());
        if self.senders.len() < MAX_SENDERS {
            self.senders.push(sender);
        } else if let Some(silent) = self.senders.iter_mut().min_by_key(|s| s.spoke) {
            *silent = sender;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_index_is_taken_once_in_any_order() {
        let mut replay = Replay::default();
        for index in [65, 3, 64, 130, 67, 128] {
            assert!(replay.take(1, index), "{index}");
            assert!(!replay.take(1, index), "{index}");
        }
        assert!(!replay.take(1, 4), "too far behind to know");
        assert!(replay.take(2, 4), "another sender counts for itself");
        assert!(replay.take(1, u32::MAX >> 1));
        assert!(!replay.take(1, 130));
    }

    #[test]
    fn more_senders_than_there_is_room_for_push_out_the_silent() {
        let mut replay = Replay::default();
        for ssrc in 0..1000 {
            assert!(replay.take(ssrc, 1));
            assert!(ssrc == 0 || replay.take(0, ssrc + 1), "the one that speaks is kept");
        }
        assert_eq!(replay.senders.len(), MAX_SENDERS);
        assert!(!replay.take(0, 1000) && !replay.take(999, 1));
    }
}
