//! How a consumer paces itself.

use std::time::Duration;

use tracing::Span;

/// How a [`Consumer`](super::Consumer) paces itself.
#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    /// How long the lease of the mark lasts unless it is renewed.
    pub lease: Duration,
    /// The relay's heartbeat: three of them without a word are a silence.
    pub tick: Duration,
    /// How many events share a transaction at the most.
    pub batch_max: usize,
    /// How many aggregates may be parked before the consumer halts: more are a defect, not poison.
    pub parked_aggregates_max: u64,
    /// How often the producer is told of the mark at the most.
    pub acknowledge_every: Duration,
    /// Lets a span that was not entered yet go on in the traces of these `traceparent`s.
    pub continues: Option<fn(&Span, &[&str])>,
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
        }
    }
}
