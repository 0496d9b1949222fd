//! Starting a consumer over: by its producer's snapshot, or at its mark when the producer still has that history.
//!
//! While a read model is rebuilt, its consumer is held under a reason of this resync alone. Who loses the hold, to
//! a second resync or to another replica that took the first one over, can write nothing more and cannot end it.

use types::EventId;
use uuid::Uuid;

use crate::admin::{AdminError, BoxFuture, ConsumerHandle, Patience, conflicts};
use crate::history::History;
use crate::source::{Source, SourceError};
use crate::store::{ConsumerStore, ConsumerTx as _, Effects, Mark, Parked, Resynced, Standing, StoreError};

/// How many parked events go in one transaction.
const PARKED_AT_ONCE: usize = 100;

/// A read model that can be rebuilt from its producer's snapshot. Money cannot.
pub trait Snapshot: Send + Sync + 'static {
    /// Begins to read a snapshot, and notes where its consumer goes on. Changes nothing.
    fn open(&self) -> BoxFuture<'_, Result<Box<dyn Rebuild>, StoreError>>;
}

/// A read model that is about to be rebuilt.
pub trait Rebuild: Send {
    /// Where the consumer goes on afterwards: what comes after that is told by events, and what the snapshot has
    /// of it already must do no harm.
    fn mark(&self) -> Mark;

    /// Makes the read model what the snapshot says, whatever it was; tells how many aggregates there are. Until
    /// then its consumer is held for the reason `held`.
    fn write(self: Box<Self>, held: String) -> BoxFuture<'static, Result<u64, StoreError>>;
}

/// Why a consumer stands still that is being resynced, or whose resync did not end: repeat it.
fn hold_reason(request_id: Uuid) -> String {
    // Of this run alone, so that a repeat which takes over from a dead replica shuts out one that only slept.
    format!("resync {request_id} run {}", Uuid::new_v4())
}

impl<S: ConsumerStore, E: Effects<S::Tx>, P: Source> ConsumerHandle<S, E, P> {
    pub(crate) async fn start_over(&self, request_id: Uuid) -> Result<Resynced, AdminError> {
        let standing = self.store.standing(self.consumer).await?;
        if let Some(done) = standing.and_then(|standing| standing.resynced)
            && done.request_id == request_id
        {
            return Ok(done);
        }
        if self.snapshot.is_some() {
            return self.rebuild(request_id).await;
        }
        let mut patience = Patience::new();
        let mut result = self.go_on(request_id).await;
        while patience.again(conflicts(&result)).await {
            result = self.go_on(request_id).await;
        }
        result
    }

    async fn rebuild(&self, request_id: Uuid) -> Result<Resynced, AdminError> {
        let Some(snapshot) = &self.snapshot else { return Err(AdminError::ResyncUnsupported) };
        let rebuild = snapshot.open().await?;
        let to = rebuild.mark();
        let held = hold_reason(request_id);
        let from = self.store.resync_hold(self.consumer, &held).await?;
        let from = from.ok_or_else(|| transient("the consumer has no mark yet"))?;
        self.forget_parked().await?;
        let aggregates = rebuild.write(held.clone()).await?;
        let done = Resynced { request_id, aggregates, position: to.position };
        let mut patience = Patience::new();
        let mut ended = self.end(&from, &to, &held, &done).await;
        while patience.again(conflicts(&ended)).await {
            ended = self.end(&from, &to, &held, &done).await;
        }
        ended.map(|()| done)
    }

    async fn end(&self, from: &Mark, to: &Mark, held: &str, done: &Resynced) -> Result<(), AdminError> {
        if self.store.resync_end(self.consumer, from, to, Some(held), done).await? {
            return Ok(());
        }
        // The answer to a try before this one may have been lost.
        match self.store.standing(self.consumer).await? {
            Some(Standing { resynced: Some(ended), .. }) if ended == *done => Ok(()),
            _ => Err(AdminError::Overtaken),
        }
    }

    /// Drops what is parked: the snapshot has it. Applied later, it would count twice, and what comes after the
    /// snapshot would wait behind it. Nothing parks while the consumer is held.
    async fn forget_parked(&self) -> Result<(), AdminError> {
        let mut patience = Patience::new();
        loop {
            let parked = self.store.parked_list(self.consumer.name, 0, PARKED_AT_ONCE).await?;
            if parked.is_empty() {
                return Ok(());
            }
            let removed = self.remove_parked(&parked).await;
            if removed.is_err() && !patience.again(conflicts(&removed)).await {
                return removed;
            }
        }
    }

    async fn remove_parked(&self, parked: &[Parked]) -> Result<(), AdminError> {
        let mut tx = self.store.begin().await?;
        let removed = async {
            tx.mark_lock(self.consumer).await?;
            for parked in parked {
                tx.parked_remove(self.consumer, parked.event.new.id).await?;
            }
            Ok::<_, StoreError>(())
        };
        match removed.await {
            Ok(()) => Ok(tx.commit().await?),
            Err(error) => {
                tx.rollback().await;
                Err(error.into())
            }
        }
    }

    /// Without a snapshot: where it is, if the halt was not the history's fault.
    async fn go_on(&self, request_id: Uuid) -> Result<Resynced, AdminError> {
        let Some(Standing { mark, halted, .. }) = self.store.standing(self.consumer).await? else {
            return Err(transient("the consumer has no mark yet"));
        };
        let answer = if mark.position == 0 {
            self.source.head(self.consumer.stream).await.map(History::Same)
        } else {
            self.source.resume(self.consumer.stream, &mark).await
        };
        let to = match answer {
            Ok(History::Same(head)) => Mark { epoch: head.epoch, ..mark },
            Ok(History::Rewound(_)) | Err(SourceError::Pruned) => return Err(AdminError::ResyncUnsupported),
            Err(error) => return Err(AdminError::Source(error)),
        };
        let done = Resynced { request_id, aggregates: 0, position: to.position };
        if self.store.resync_end(self.consumer, &mark, &to, halted.as_deref(), &done).await? {
            return Ok(done);
        }
        Err(transient("the mark was moved meanwhile"))
    }
}

impl Mark {
    /// The mark of a consumer that has applied everything up to a head.
    #[must_use]
    pub fn at(epoch: Uuid, position: i64, event_id: Option<EventId>) -> Self {
        Self { epoch, position, event_id }
    }
}

fn transient(why: &'static str) -> AdminError {
    AdminError::Store(StoreError::Transient(why.into()))
}
