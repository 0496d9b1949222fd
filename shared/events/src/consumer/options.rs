//! How a consumer paces itself.

use std::time::Duration;

use time::OffsetDateTime;
use types::{Clock as _, SystemClock};

use crate::spans::Continues;

/// How a [`Consumer`](super::Consumer) paces itself.
#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    /// How long the lease of the mark lasts unless it is renewed.
    pub lease: Duration,
    /// The time between two heartbeats of the relay. After three of them without a message the channel counts as
    /// silent.
    pub tick: Duration,
    /// The most events that share a transaction.
    pub batch_max: usize,
    /// How many aggregates may have parked events. More than that are a defect rather than single bad events, and the
    /// consumer halts.
    pub parked_aggregates_max: u64,
    /// The shortest time between two acknowledgements to the producer.
    pub acknowledge_every: Duration,
    /// Makes a new span part of the traces with these `traceparent`s.
    pub continues: Option<Continues>,
    /// Tells how late it is, for metrics.
    pub now: fn() -> OffsetDateTime,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(3),
            tick: Duration::from_millis(250),
            batch_max: 500,
            parked_aggregates_max: 100,
            acknowledge_every: Duration::from_secs(1),
            continues: None,
            now: || SystemClock.now(),
        }
    }
}
