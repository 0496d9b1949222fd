//! How a sequencer paces itself.

use std::time::Duration;

/// How a [`Sequencer`](super::Sequencer) paces itself.
#[derive(Debug, Clone)]
pub struct SequencerOptions {
    /// How long a lease lasts unless it is renewed.
    pub lease: Duration,
    /// How many events one step stamps at the most.
    pub batch_max: usize,
    /// How long an event waits at the most when no hint of its commit came.
    pub poll: Duration,
    /// The same while the bus is away, when followers depend on it.
    pub poll_bus_away: Duration,
    /// How often the stream's head is published.
    pub heartbeat: Duration,
    /// How long events are kept after they were stamped, whatever the consumers have acknowledged.
    pub retention: Duration,
    /// How often events are pruned.
    pub prune_every: Duration,
    /// How many events are pruned at once.
    pub prune_batch_max: usize,
    /// A consumer that has acknowledged nothing for so long is told of in the log: it holds back pruning.
    pub silent_after: Duration,
}

impl Default for SequencerOptions {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(3),
            batch_max: 1000,
            poll: Duration::from_millis(250),
            poll_bus_away: Duration::from_millis(10),
            heartbeat: Duration::from_millis(250),
            retention: Duration::from_secs(7 * 24 * 3600),
            prune_every: Duration::from_secs(60),
            prune_batch_max: 1000,
            silent_after: Duration::from_secs(10 * 60),
        }
    }
}
