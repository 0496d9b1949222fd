//! How a sequencer paces itself.

use std::time::Duration;

use crate::spans::Continues;

/// How a [`Sequencer`](super::Sequencer) paces itself.
#[derive(Debug, Clone)]
pub struct SequencerOptions {
    /// How long the lease of the stream lasts unless it is renewed.
    pub lease: Duration,
    /// The most events that are stamped in one transaction.
    pub batch_max: usize,
    /// The longest that an event of a busy stream waits for others to be stamped with it: the pause from the beginning of a
    /// stamp of ten events or more to the next. It is shorter after fewer, and an event after a pause does not wait. Zero
    /// makes no event wait; longer waits cost less CPU.
    pub batch_wait_max: Duration,
    /// The longest that an event waits when there was no hint of its commit.
    pub poll: Duration,
    /// The same while Redis is away: then consumers follow the stream and wait for its stamps.
    pub poll_bus_away: Duration,
    /// How often the stream's head is published.
    pub heartbeat: Duration,
    /// How long events are kept after they were stamped, even if all consumers have acknowledged them.
    pub retention: Duration,
    /// How often events are pruned.
    pub prune_every: Duration,
    /// The most events that are pruned in one transaction.
    pub prune_batch_max: usize,
    /// A consumer that has acknowledged nothing for so long is named in the log, because it keeps events from being
    /// pruned.
    pub silent_after: Duration,
    /// Makes a new span part of the traces with these `traceparent`s.
    pub continues: Option<Continues>,
}

impl Default for SequencerOptions {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(3),
            batch_max: 1000,
            batch_wait_max: Duration::from_millis(8),
            poll: Duration::from_millis(250),
            poll_bus_away: Duration::from_millis(10),
            heartbeat: Duration::from_millis(250),
            retention: Duration::from_secs(7 * 24 * 3600),
            prune_every: Duration::from_secs(60),
            prune_batch_max: 1000,
            silent_after: Duration::from_secs(10 * 60),
            continues: None,
        }
    }
}
