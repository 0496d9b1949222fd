//! What an operator can do about a consumer: look at its parked events, apply or drop them, and start over after its
//! stream was rewound. `admin_service.rs` makes a gRPC service of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use types::EventId;

use crate::effects::Effects;
use crate::envelope::{Aggregate, Position};
use crate::pace::Backoff;
pub use crate::snapshot::{BoxFuture, Rebuild, Snapshot};
use crate::source::{Source, SourceError};
use crate::store::{ConsumerId, ConsumerStore, ConsumerTx, Parked, Resynced, Skip, Standing, StoreError};
use uuid::Uuid;

/// Why an operator's request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Nothing is parked there.
    #[error("nothing is parked there")]
    NotParked,
    /// A parked event still cannot be applied.
    #[error("a parked event still fails: {error}")]
    StillFailing {
        /// The event that fails.
        event_id: EventId,
        /// Why it fails.
        error: String,
    },
    /// The request id was used before, for another request.
    #[error("this request_id was used before for another request")]
    RequestIdReused,
    /// There is no snapshot to rebuild the consumer from, and its history is not the producer's.
    #[error("this consumer cannot be rebuilt")]
    ResyncUnsupported,
    /// A resync of the consumer is going on, here or in another replica, for the request with this id.
    #[error("a resync of the consumer is going on")]
    InProgress(Uuid),
    /// The consumer stopped for good, for a reason that also forbids to apply its parked events.
    #[error("the consumer is halted: {0}")]
    Halted(String),
    /// Another resync of the consumer took this one over.
    #[error("another resync took over")]
    Overtaken,
    /// The producer did not answer.
    #[error("the producer did not answer")]
    Source(#[source] SourceError),
    /// The database failed.
    #[error("the database failed")]
    Store(#[from] StoreError),
}

/// What a retry did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retried {
    /// How many events were applied.
    pub applied: usize,
    /// How many events of the aggregate are still parked.
    pub remaining: usize,
}

/// A parked event that was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The event's id.
    pub event_id: EventId,
    /// The full message name of its payload.
    pub event_type: String,
    /// What it was about.
    pub aggregate: Aggregate,
    /// Its position in the stream.
    pub position: Position,
}

/// One consumer, as an operator sees it. A repeat of the consumer's last request gets the same answer.
pub trait ConsumerAdmin: Send + Sync + 'static {
    /// The consumer's name and stream.
    fn id(&self) -> ConsumerId;

    /// The consumer's state; `None` when it never ran.
    fn standing(&self) -> BoxFuture<'_, Result<Option<Standing>, AdminError>>;

    /// Parked events above a position, oldest first.
    fn list(&self, after: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Parked>, AdminError>>;

    /// Applies the parked events of an aggregate in order, up to the first that still fails. Applies none while the
    /// consumer's history is not the producer's, or while a resync holds the consumer.
    fn retry(&self, aggregate: Aggregate, request_id: Uuid) -> BoxFuture<'_, Result<Retried, AdminError>>;

    /// Drops a parked event for good and records who did so and why.
    fn skip(&self, skip: Skip) -> BoxFuture<'_, Result<Skipped, AdminError>>;

    /// Starts the consumer over: from its snapshot if it has one, else at its mark, if the producer still has that
    /// history. A repeat of a completed request gets the same answer; while another replica works on it, it is told so.
    fn resync(&self, request_id: Uuid) -> BoxFuture<'_, Result<Resynced, AdminError>>;
}

/// How often a request that conflicts with the running consumer is tried.
const TRIES: u32 = 10;
const RETRY_FIRST: Duration = Duration::from_millis(10);
const RETRY_LONGEST: Duration = Duration::from_millis(500);

/// The [`ConsumerAdmin`] of a consumer. It needs nothing from the replica that runs the consumer, and several may
/// exist.
pub struct ConsumerHandle<S, E, P> {
    pub(crate) consumer: ConsumerId,
    pub(crate) store: S,
    pub(crate) effects: Arc<E>,
    pub(crate) source: P,
    pub(crate) snapshot: Option<Arc<dyn Snapshot>>,
}

impl<S, E, P> fmt::Debug for ConsumerHandle<S, E, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerHandle").field("consumer", &self.consumer).finish_non_exhaustive()
    }
}

impl<S: ConsumerStore, E: Effects<S::Tx>, P: Source> ConsumerHandle<S, E, P> {
    /// The handle of a consumer that is made of these parts.
    pub fn new(consumer: ConsumerId, store: S, effects: Arc<E>, source: P) -> Self {
        Self { consumer, store, effects, source, snapshot: None }
    }

    /// Lets the consumer's read model be rebuilt from a snapshot.
    #[must_use]
    pub fn with_snapshot(mut self, snapshot: Arc<dyn Snapshot>) -> Self {
        self.snapshot = Some(snapshot);
        self
    }
}

/// Tries what may conflict with the running consumer, up to [`TRIES`] times.
pub(crate) async fn patiently<T, F>(attempt: impl Fn() -> F + Send) -> Result<T, AdminError>
where
    F: Future<Output = Result<T, AdminError>> + Send,
{
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LONGEST);
    for _ in 1..TRIES {
        match attempt().await {
            Err(AdminError::Store(StoreError::Transient(_))) => backoff.pause().await,
            result => return result,
        }
    }
    attempt().await
}

/// Commits a transaction if what was done in it succeeded, and else rolls it back.
pub(crate) async fn finish<Tx: ConsumerTx, T>(tx: Tx, done: Result<T, AdminError>) -> Result<T, AdminError> {
    match done {
        Ok(value) => {
            tx.commit().await?;
            Ok(value)
        }
        Err(error) => {
            tx.rollback().await;
            Err(error)
        }
    }
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

    fn retry(&self, aggregate: Aggregate, request_id: Uuid) -> BoxFuture<'_, Result<Retried, AdminError>> {
        Box::pin(async move { self.retry_all(&aggregate, request_id).await })
    }

    fn skip(&self, skip: Skip) -> BoxFuture<'_, Result<Skipped, AdminError>> {
        Box::pin(async move { patiently(|| self.skip_one(&skip)).await })
    }

    fn resync(&self, request_id: Uuid) -> BoxFuture<'_, Result<Resynced, AdminError>> {
        Box::pin(self.start_over(request_id))
    }
}
