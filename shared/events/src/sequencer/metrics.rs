//! What is counted and measured of a stream by whoever stamps or publishes it.

use metrics::{Counter, Family, Gauge, Held, number};

use crate::store::Pending;

/// A service has fewer streams than this, those of session service counted as one.
const STREAMS: usize = 2;

static LEASE_HELD: Family<Gauge, 1> = Family::new(
    "outbox_lease_held",
    "Whether this process stamps and publishes the stream: 1 on one replica, 0 on the others.",
    ["stream"],
    STREAMS,
);
static PENDING: Family<Gauge, 1> = Family::new(
    "outbox_pending_events",
    "Events that are committed and have no position yet, 10000 at the most.",
    ["stream"],
    STREAMS,
);
static OLDEST: Family<Gauge, 1> = Family::new(
    "outbox_oldest_pending_seconds",
    "How long ago the oldest event was made that has no position yet; 0 when every event has one.",
    ["stream"],
    STREAMS,
);
static PUBLISHED: Family<Counter, 1> =
    Family::new("outbox_published_total", "Events that were published.", ["stream"], STREAMS);

/// What every replica tells of a stream.
#[derive(Debug, Clone)]
pub(crate) struct OfStream {
    stream: String,
    lease_held: Gauge,
    published: Counter,
}

impl OfStream {
    pub(crate) fn new(stream: &str) -> Self {
        Self {
            stream: stream.to_owned(),
            lease_held: LEASE_HELD.with([stream]),
            published: PUBLISHED.with([stream]),
        }
    }

    /// What is told of the events without a position, until it is dropped.
    fn backlog(&self) -> Backlog {
        Backlog { events: PENDING.held([&self.stream]), oldest: OLDEST.held([&self.stream]) }
    }

    /// So many events more were published.
    pub(crate) fn published(&self, events: usize) {
        self.published.add(u64::try_from(events).unwrap_or(u64::MAX));
    }

    /// This process has the lease until what this gives is dropped.
    pub(crate) fn owned(&self) -> Owned {
        self.lease_held.set_bool(true);
        Owned { of: self.clone(), backlog: None }
    }
}

/// The lease is held.
#[derive(Debug)]
pub(crate) struct Owned {
    of: OfStream,
    backlog: Option<Backlog>,
}

impl Owned {
    /// So many events wait. What could not be counted is not told of.
    pub(crate) fn pending(&mut self, counted: Option<&Pending>) {
        match counted {
            Some(pending) => self.backlog.get_or_insert_with(|| self.of.backlog()).is(pending),
            None => self.backlog = None,
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.of.lease_held.set_bool(false);
    }
}

/// Events without a position, which only the owner of the lease tells of.
#[derive(Debug)]
struct Backlog {
    events: Held<Gauge, 1>,
    oldest: Held<Gauge, 1>,
}

impl Backlog {
    fn is(&self, pending: &Pending) {
        self.events.set(number(pending.events));
        self.oldest.set(pending.oldest.as_secs_f64());
    }
}
