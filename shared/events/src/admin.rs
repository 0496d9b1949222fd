//! What an operator can do about a consumer: look at what is parked, apply or drop it, and start over after
//! its stream was rewound. `admin_service.rs` serves it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use types::EventId;

use crate::envelope::Aggregate;
use crate::pace::{Backoff, chain};
pub use crate::resync::{Rebuild, Snapshot};
use crate::source::{Source, SourceError};
use crate::store::{
    ConsumerId, ConsumerStore, ConsumerTx, EffectError, Effects, Parked, Position, Resynced, Standing,
    StoreError,
};
use uuid::Uuid;

/// A future without a name.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why an operator's wish was not met.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Nothing is parked there.
    #[error("nothing is parked there")]
    NotParked,
    /// The event still cannot be applied.
    #[error("a parked event still fails: {error}")]
    StillFailing {
        /// The event.
        event_id: EventId,
        /// Why.
        error: String,
    },
    /// The consumer has no snapshot to be rebuilt from, and its history is not the producer's.
    #[error("this consumer cannot be rebuilt")]
    ResyncUnsupported,
    /// Another resync of the consumer took this one over.
    #[error("another resync took over")]
    Overtaken,
    /// The producer does not answer.
    #[error("the producer does not answer")]
    Source(#[source] SourceError),
    /// The database did not do it.
    #[error("the store did not do it")]
    Store(#[from] StoreError),
}

/// What a retry did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retried {
    /// How many events were applied.
    pub applied: usize,
    /// How many of the aggregate are still parked.
    pub remaining: usize,
}

/// One consumer, as an operator sees it.
pub trait ConsumerAdmin: Send + Sync + 'static {
    /// Which one it is.
    fn id(&self) -> ConsumerId;

    /// How it stands; `None` when it never ran.
    fn standing(&self) -> BoxFuture<'_, Result<Option<Standing>, AdminError>>;

    /// Parked events above a position, oldest first.
    fn list(&self, after: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Parked>, AdminError>>;

    /// Applies the parked events of an aggregate in order, up to the first that still fails.
    fn retry(&self, aggregate: Aggregate) -> BoxFuture<'_, Result<Retried, AdminError>>;

    /// Drops a parked event for good; gives it back for the audit.
    fn skip(&self, event_id: EventId) -> BoxFuture<'_, Result<Parked, AdminError>>;

    /// Starts over: by the snapshot if there is one, else only if the producer's history is the mark's. A request
    /// that has ended hears what it came to.
    fn resync(&self, request_id: Uuid) -> BoxFuture<'_, Result<Resynced, AdminError>>;
}

/// How long conflicts with the running consumer are retried.
const TRIES: u32 = 10;
const RETRY_FIRST: Duration = Duration::from_millis(10);
const RETRY_LONGEST: Duration = Duration::from_millis(500);

/// [`ConsumerAdmin`] of a consumer, apart from the replica that runs it: several may exist.
pub struct ConsumerHandle<S, E, P> {
    pub(crate) consumer: ConsumerId,
    pub(crate) store: S,
    effects: Arc<E>,
    pub(crate) source: P,
    pub(crate) snapshot: Option<Arc<dyn Snapshot>>,
}

impl<S, E, P> fmt::Debug for ConsumerHandle<S, E, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerHandle").field("consumer", &self.consumer).finish_non_exhaustive()
    }
}

impl<S: ConsumerStore, E: Effects<S::Tx>, P: Source> ConsumerHandle<S, E, P> {
    /// The handle of a consumer, made of the same parts.
    pub fn new(consumer: ConsumerId, store: S, effects: Arc<E>, source: P) -> Self {
        Self { consumer, store, effects, source, snapshot: None }
    }

    /// This consumer's read model can be rebuilt.
    #[must_use]
    pub fn with_snapshot(mut self, snapshot: Arc<dyn Snapshot>) -> Self {
        self.snapshot = Some(snapshot);
        self
    }

    async fn retry_all(&self, aggregate: &Aggregate) -> Result<Retried, AdminError> {
        let mut applied = 0;
        loop {
            let mut patience = Patience::new();
            let mut result = self.retry_first(aggregate).await;
            while patience.again(conflicts(&result)).await {
                result = self.retry_first(aggregate).await;
            }
            match result {
                Ok(true) => applied += 1,
                Ok(false) if applied == 0 => return Err(AdminError::NotParked),
                Ok(false) => return Ok(Retried { applied, remaining: 0 }),
                Err(AdminError::StillFailing { event_id, error }) => {
                    let mut patience = Patience::new();
                    let mut remaining = self.note_failure(aggregate, event_id, &error).await;
                    while patience.again(conflicts(&remaining)).await {
                        remaining = self.note_failure(aggregate, event_id, &error).await;
                    }
                    let remaining = remaining?;
                    if applied == 0 {
                        return Err(AdminError::StillFailing { event_id, error });
                    }
                    return Ok(Retried { applied, remaining });
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Applies the oldest parked event of an aggregate; `false` when there is none.
    async fn retry_first(&self, aggregate: &Aggregate) -> Result<bool, AdminError> {
        let mut tx = self.store.begin().await?;
        match self.apply_first(&mut tx, aggregate).await {
            Ok(Some(event)) => {
                tx.commit().await?;
                self.effects.committed(std::slice::from_ref(&event));
                Ok(true)
            }
            Ok(None) => {
                tx.rollback().await;
                Ok(false)
            }
            Err(error) => {
                tx.rollback().await;
                Err(error)
            }
        }
    }

    async fn apply_first(
        &self,
        tx: &mut S::Tx,
        aggregate: &Aggregate,
    ) -> Result<Option<crate::envelope::Event>, AdminError> {
        if tx.mark_lock(self.consumer).await?.is_none() {
            return Ok(None);
        }
        let Some(first) = tx.parked_of(self.consumer, aggregate).await?.into_iter().next() else {
            return Ok(None);
        };
        let event = first.event;
        tx.parked_remove(self.consumer, event.new.id).await?;
        let failing = |error: String| AdminError::StillFailing { event_id: event.new.id, error };
        match self.effects.apply(tx, std::slice::from_ref(&event)).await {
            Ok(()) => Ok(Some(event)),
            Err(EffectError::Transient(source)) => Err(AdminError::Store(StoreError::Transient(source))),
            Err(EffectError::Permanent(source)) => Err(failing(chain(source.as_ref()))),
            Err(EffectError::Halt(reason)) => Err(failing(reason)),
        }
    }

    /// Counts the attempt; tells how many of the aggregate are parked.
    async fn note_failure(
        &self,
        aggregate: &Aggregate,
        event_id: EventId,
        error: &str,
    ) -> Result<usize, AdminError> {
        let mut tx = self.store.begin().await?;
        let noted = async {
            tx.mark_lock(self.consumer).await?;
            let parked = tx.parked_of(self.consumer, aggregate).await?;
            // Unless somebody else has applied or dropped it meanwhile.
            if let Some(failed) = parked.iter().find(|parked| parked.event.new.id == event_id) {
                tx.park(self.consumer, &failed.event, failed.attempts.saturating_add(1), error).await?;
            }
            Ok::<_, StoreError>(parked.len())
        };
        match noted.await {
            Ok(count) => {
                tx.commit().await?;
                Ok(count)
            }
            Err(error) => {
                tx.rollback().await;
                Err(error.into())
            }
        }
    }

    async fn skip_one(&self, event_id: EventId) -> Result<Parked, AdminError> {
        let mut tx = self.store.begin().await?;
        let removed = async {
            tx.mark_lock(self.consumer).await?;
            tx.parked_remove(self.consumer, event_id).await
        };
        match removed.await {
            Ok(Some(parked)) => {
                tx.commit().await?;
                Ok(parked)
            }
            Ok(None) => {
                tx.rollback().await;
                Err(AdminError::NotParked)
            }
            Err(error) => {
                tx.rollback().await;
                Err(error.into())
            }
        }
    }
}

/// Bounds how often what conflicted with the running consumer is tried again.
pub(crate) struct Patience {
    tries: u32,
    backoff: Backoff,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self { tries: 1, backoff: Backoff::new(RETRY_FIRST, RETRY_LONGEST) }
    }

    /// Whether to try again what conflicted, after a pause.
    pub(crate) async fn again(&mut self, conflicted: bool) -> bool {
        let again = conflicted && self.tries < TRIES;
        if again {
            self.tries += 1;
            self.backoff.pause().await;
        }
        again
    }
}

pub(crate) fn conflicts<T>(result: &Result<T, AdminError>) -> bool {
    matches!(result, Err(AdminError::Store(StoreError::Transient(_))))
}

impl<S: ConsumerStore, E: Effects<S::Tx>, P: Source> ConsumerAdmin for ConsumerHandle<S, E, P> {
    fn id(&self) -> ConsumerId {
        self.consumer
    }

    fn standing(&self) -> BoxFuture<'_, Result<Option<Standing>, AdminError>> {
        Box::pin(async move { Ok(self.store.standing(self.consumer).await?) })
    }

    fn list(&self, after: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Parked>, AdminError>> {
        Box::pin(async move { Ok(self.store.parked_list(self.consumer.name, after, limit).await?) })
    }

    fn retry(&self, aggregate: Aggregate) -> BoxFuture<'_, Result<Retried, AdminError>> {
        Box::pin(async move { self.retry_all(&aggregate).await })
    }

    fn skip(&self, event_id: EventId) -> BoxFuture<'_, Result<Parked, AdminError>> {
        Box::pin(async move {
            let mut patience = Patience::new();
            let mut result = self.skip_one(event_id).await;
            while patience.again(conflicts(&result)).await {
                result = self.skip_one(event_id).await;
            }
            result
        })
    }

    fn resync(&self, request_id: Uuid) -> BoxFuture<'_, Result<Resynced, AdminError>> {
        Box::pin(self.start_over(request_id))
    }
}
