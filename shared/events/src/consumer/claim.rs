//! A replica's claim to a consumer's mark.

use std::time::Duration;

use uuid::Uuid;

use crate::pace::Backoff;
use crate::store::{ConsumerId, ConsumerStore, LeasedMark, Mark, StoreError};

/// The pauses between attempts to take the lease.
pub(super) fn lease_backoff() -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(2))
}

/// The pauses between attempts to write as the owner of the lease.
pub(super) fn write_backoff() -> Backoff {
    Backoff::new(Duration::from_millis(10), Duration::from_secs(5))
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

    /// Stops the consumer for good at this mark, however often that has to be tried. `false` when this replica no
    /// longer has the consumer, or the mark is elsewhere.
    pub(crate) async fn halt(&self, at: &Mark, reason: &str) -> bool {
        let mut backoff = write_backoff();
        let halted = loop {
            match self.store.halt(self.consumer, self.owner, at, reason).await {
                Ok(halted) => break halted,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        consumer = self.consumer.name,
                        reason,
                        error,
                        "cannot record now that the consumer is halted; trying again"
                    );
                }
            }
            backoff.pause().await;
        };
        if halted {
            tracing::error!(
                consumer = self.consumer.name,
                stream = self.consumer.stream,
                position = at.position,
                reason,
                "the consumer halted: it applies nothing until an operator resyncs it"
            );
        }
        halted
    }
}
