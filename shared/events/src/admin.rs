//! What an operator can do about a consumer: look at what is parked, apply or drop it, and start over after
//! its stream was rewound. `admin_service.rs` serves it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use types::EventId;

use crate::effects::Effects;
use crate::envelope::{Aggregate, Position};
use crate::pace::Backoff;
pub use crate::snapshot::{BoxFuture, Rebuild, Snapshot};
use crate::source::{Source, SourceError};
use crate::store::{ConsumerId, ConsumerStore, Parked, Resynced, Skip, Standing, StoreError};
use uuid::Uuid;

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
    /// The request id was used before, for another wish.
    #[error("this request_id was used before for another request")]
    RequestIdReused,
    /// The consumer has no snapshot to be rebuilt from, and its history is not the producer's.
    #[error("this consumer cannot be rebuilt")]
    ResyncUnsupported,
    /// A resync of the consumer goes on, for this request, here or elsewhere.
    #[error("a resync of the consumer goes on")]
    InProgress(Uuid),
    /// The consumer stopped for good, and what is parked may not be applied either.
    #[error("the consumer is halted: {0}")]
    Halted(String),
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retried {
    /// How many events were applied.
    pub applied: usize,
    /// How many of the aggregate are still parked.
    pub remaining: usize,
}

/// A parked event that was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The event.
    pub event_id: EventId,
    /// What kind of event.
    pub event_type: String,
    /// Of what.
    pub aggregate: Aggregate,
    /// Its place in the stream.
    pub position: Position,
}

/// One consumer, as an operator sees it. A repeat of its last request hears what that one came to.
pub trait ConsumerAdmin: Send + Sync + 'static {
    /// Which one it is.
    fn id(&self) -> ConsumerId;

    /// How it stands; `None` when it never ran.
    fn standing(&self) -> BoxFuture<'_, Result<Option<Standing>, AdminError>>;

    /// Parked events above a position, oldest first.
    fn list(&self, after: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Parked>, AdminError>>;

    /// Applies the parked events of an aggregate in order, up to the first that still fails; nothing while the
    /// consumer's history is not the producer's, or it is held for a resync.
    fn retry(&self, aggregate: Aggregate, request_id: Uuid) -> BoxFuture<'_, Result<Retried, AdminError>>;

    /// Drops a parked event for good and records it; tells what it was.
    fn skip(&self, skip: Skip) -> BoxFuture<'_, Result<Skipped, AdminError>>;

    /// Starts over: by the snapshot if there is one, else only if the producer's history is the mark's. A request
    /// that has ended hears what it came to, one that goes on elsewhere that it does.
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

    fn retry(&self, aggregate: Aggregate, request_id: Uuid) -> BoxFuture<'_, Result<Retried, AdminError>> {
        Box::pin(async move { self.retry_all(&aggregate, request_id).await })
    }

    fn skip(&self, skip: Skip) -> BoxFuture<'_, Result<Skipped, AdminError>> {
        Box::pin(async move { self.skip_patiently(&skip).await })
    }

    fn resync(&self, request_id: Uuid) -> BoxFuture<'_, Result<Resynced, AdminError>> {
        Box::pin(self.start_over(request_id))
    }
}
