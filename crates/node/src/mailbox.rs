//! What waits for a shard: commands, and batches of datagrams. Both are bounded; commands by the node, which refuses
//! them before they get here, datagrams by dropping what comes when the shard is behind.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rtcloud_sfu::{Command, Remote};

use crate::protocol::InRoom;

/// Datagrams that may wait for one shard.
const MAX_DATAGRAMS: usize = 8192;
/// Buffers that grew beyond this in a flood are not kept.
const MAX_SPARE: usize = 1024 * 1024;

/// Datagrams of one reading, their contents one after the other.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) datagrams: Vec<Arrival>,
}

/// A datagram that came; its contents are in the batch.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) source: Remote,
    /// The address of ours that it was sent to, if the system said so.
    pub(crate) destination: Option<IpAddr>,
    /// Another shard claims the source too, and got it as well.
    pub(crate) contested: bool,
    pub(crate) range: Range<usize>,
}

impl Batch {
    pub(crate) fn push(
        &mut self,
        source: Remote,
        destination: Option<IpAddr>,
        contested: bool,
        contents: &[u8],
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(contents);
        let range = start..self.bytes.len();
        self.datagrams.push(Arrival { source, destination, contested, range });
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.datagrams.clear();
    }
}

/// What was taken out of a mailbox.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    pub(crate) commands: VecDeque<InRoom<Command>>,
    pub(crate) batches: VecDeque<Batch>,
    pub(crate) stop: bool,
}

#[derive(Debug, Default)]
struct Waiting {
    mail: Mail,
    datagrams: usize,
    /// Buffers to be used again.
    spare: Vec<Batch>,
}

#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    waiting: Mutex<Waiting>,
    signal: Condvar,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push_commands(&self, commands: impl IntoIterator<Item = InRoom<Command>>) {
        self.lock().mail.commands.extend(commands);
        self.signal.notify_one();
    }

    /// Leaves an empty buffer in place of the batch. Returns how many datagrams were dropped.
    pub(crate) fn push_batch(&self, batch: &mut Batch) -> usize {
        let mut waiting = self.lock();
        let count = batch.datagrams.len();
        if waiting.datagrams + count > MAX_DATAGRAMS {
            batch.clear();
            return count;
        }
        waiting.datagrams += count;
        let empty = waiting.spare.pop().unwrap_or_default();
        waiting.mail.batches.push_back(std::mem::replace(batch, empty));
        drop(waiting);
        self.signal.notify_one();
        0
    }

    pub(crate) fn stop(&self) {
        self.lock().mail.stop = true;
        self.signal.notify_one();
    }

    /// Everything that waits; if nothing does, what comes within `timeout`. `used` buffers come back.
    pub(crate) fn take(&self, timeout: Duration, used: Vec<Batch>) -> Mail {
        let mut waiting = self.lock();
        for mut batch in used {
            if waiting.spare.len() < 8 && batch.bytes.capacity() <= MAX_SPARE {
                batch.clear();
                waiting.spare.push(batch);
            }
        }
        let empty = |m: &Mail| m.commands.is_empty() && m.batches.is_empty() && !m.stop;
        if empty(&waiting.mail) {
            let waited = self.signal.wait_timeout_while(waiting, timeout, |w| empty(&w.mail));
            waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        waiting.datagrams = 0;
        let stop = waiting.mail.stop;
        let mail = std::mem::take(&mut waiting.mail);
        waiting.mail.stop = stop;
        mail
    }
}
