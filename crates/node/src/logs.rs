//! Log records on their way to Python: kept in a bounded queue, taken out in batches. What does not fit is counted and
//! said once there is room.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber, span};

const MAX_RECORDS: usize = 1024;
const MAX_LENGTH: usize = 1000;

/// Level as Python numbers it, where it came from, what it says.
pub type Record = (i32, String, String);

struct Queue {
    records: VecDeque<Record>,
    lost: u64,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue { records: VecDeque::new(), lost: 0 });

struct Collector;

/// Sends the process's log records of level INFO and above here. Later calls change nothing.
pub fn collect() {
    let _ = tracing::subscriber::set_global_default(Collector);
}

/// At most `max` waiting records.
pub fn drain(max: usize) -> Vec<Record> {
    let mut queue = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
    let count = queue.records.len().min(max);
    let mut records: Vec<Record> = queue.records.drain(..count).collect();
    if queue.lost > 0 && records.len() < max {
        let lost = std::mem::take(&mut queue.lost);
        records.push((30, "rtcloud_node".to_owned(), format!("log records lost count={lost}")));
    }
    records
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.0.len() > MAX_LENGTH {
            return;
        }
        let gap = if self.0.is_empty() { "" } else { " " };
        let _ = if field.name() == "message" {
            write!(self.0, "{gap}{value:?}")
        } else {
            write!(self.0, "{gap}{}={value:?}", field.name())
        };
    }
}

impl Subscriber for Collector {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::INFO && metadata.target().starts_with("rtcloud")
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let level = match *event.metadata().level() {
            Level::ERROR => 40,
            Level::WARN => 30,
            Level::INFO => 20,
            _ => 10,
        };
        let mut text = Text(String::new());
        event.record(&mut text);
        let mut queue = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.records.len() < MAX_RECORDS {
            queue.records.push_back((level, event.metadata().target().to_owned(), text.0));
        } else {
            queue.lost += 1;
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
