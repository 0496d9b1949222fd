//! A replica's claim to a consumer's mark.

use std::time::Duration;

use uuid::Uuid;

use crate::pace::Backoff;
use crate::store::{ConsumerId, ConsumerStore, LeasedMark, Mark, StoreError};

const RETRY_FIRST: Duration = Duration::from_millis(10);
const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// The pauses between attempts to take the lease.
pub(super) fn lease_backoff() -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(2))
}

/// One replica's claim to a consumer's mark.
#[derive(Debug, Clone)]
pub(crate) struct Claim<S> {
    pub(crate) consumer: ConsumerId,
    pub(crate) store: S,
    /// Random, made at each start.
    owner: Uuid,
    duration: Duration,
}

impl<S: ConsumerStore> Claim<S> {
    pub(crate) fn new(consumer: ConsumerId, store: S, duration: Duration) -> Self {
        Self::with_owner(consumer, store, Uuid::new_v4(), duration)
    }

    pub(crate) fn with_owner(consumer: ConsumerId, store: S, owner: Uuid, duration: Duration) -> Self {
        Self { consumer, store, owner, duration }
    }

    /// Takes or renews the lease.
    pub(crate) async fn lease(&self) -> Result<Option<LeasedMark>, StoreError> {
        self.store.mark_lease(self.consumer, self.owner, self.duration).await
    }

    /// Gives the lease back.
    pub(crate) async fn release(&self) -> Result<(), StoreError> {
        self.store.mark_lease(self.consumer, self.owner, Duration::ZERO).await.map(drop)
    }

    /// Stops the consumer for good at this mark, however often that has to be tried. `false` when this replica does
    /// not speak for it any more, or its mark is elsewhere.
    pub(crate) async fn halt(&self, at: &Mark, reason: &str) -> bool {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LONGEST);
        let halted = loop {
            match self.store.halt(self.consumer, self.owner, at, reason).await {
                Ok(halted) => break halted,
                Err(error) => self.warn_unrecorded(reason, &error),
            }
            backoff.pause().await;
        };
        if halted {
            tracing::error!(
                consumer = self.consumer.name,
                stream = self.consumer.stream,
                position = at.position,
                reason,
                "the consumer halted: it applies nothing until an operator has looked"
            );
        }
        halted
    }

    fn warn_unrecorded(&self, reason: &str, error: &(dyn std::error::Error + 'static)) {
        tracing::warn!(consumer = self.consumer.name, reason, error, "the halt is not recorded yet");
    }
}
