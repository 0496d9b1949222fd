//! Starting a consumer over: from a snapshot of its producer, or at its mark if the producer still has that history.
//!
//! While a read model is rebuilt, its consumer is halted with a reason that only this resync has: the hold. It is a
//! lease by the database's clock, and every page that is written renews it. Until it runs out, any other request to
//! resync the consumer, and a repeat of this one on another replica, is told that a resync is going on. A resync that
//! has lost its hold can neither write any more nor complete.

use std::time::Duration;

use uuid::Uuid;

use crate::admin::{AdminError, ConsumerHandle, finish, patiently};
use crate::effects::Effects;
use crate::history::History;
use crate::snapshot::Rebuild;
use crate::source::{Source, SourceError};
use crate::store::{ConsumerStore, ConsumerTx as _, HoldClaim, Mark, Parked, Resynced, Standing, StoreError};

/// How long a resync's hold lasts unless it is renewed. Longer than reading and writing a page takes, and short enough
/// for a repeat to wait when the replica that began the resync has died.
pub const RESYNC_HOLD: Duration = Duration::from_secs(15);

/// How many parked events are removed in one transaction.
const PARKED_AT_ONCE: usize = 100;

/// The beginning of the reason of every hold.
const HELD: &str = "resync ";

/// The reason with which a resync holds its consumer. When the resync fails, the reason stays until the request is
/// repeated.
fn hold_reason(request_id: Uuid) -> String {
    // Each run has a reason of its own. A repeat that takes over from a replica that seems dead shuts it out even if it
    // was only paused.
    format!("{HELD}{request_id} run {}", Uuid::new_v4())
}

/// Whether a halt is a resync's hold.
pub(crate) fn is_hold(reason: &str) -> bool {
    reason.starts_with(HELD)
}

fn in_progress(reason: &str) -> AdminError {
    let request_id = reason.strip_prefix(HELD).and_then(|rest| rest.split(' ').next());
    AdminError::InProgress(request_id.and_then(|id| Uuid::try_parse(id).ok()).unwrap_or_default())
}

impl<S: ConsumerStore, E: Effects<S::Tx>, P: Source> ConsumerHandle<S, E, P> {
    pub(crate) async fn start_over(&self, request_id: Uuid) -> Result<Resynced, AdminError> {
        if let Some(standing) = self.store.standing(self.consumer).await? {
            if let Some(done) = standing.resynced.filter(|done| done.request_id == request_id) {
                return Ok(done);
            }
            if standing.held {
                return Err(in_progress(standing.halted.as_deref().unwrap_or_default()));
            }
        }
        if let Some(snapshot) = &self.snapshot {
            return self.rebuild(snapshot.open().await?, request_id).await;
        }
        patiently(|| self.go_on(request_id)).await
    }

    async fn rebuild(&self, rebuild: Box<dyn Rebuild>, request_id: Uuid) -> Result<Resynced, AdminError> {
        let held = hold_reason(request_id);
        let outcome = self.rebuild_held(rebuild, request_id, &held).await;
        if outcome.is_err() {
            self.let_go(&held).await;
        }
        outcome
    }

    async fn rebuild_held(
        &self,
        rebuild: Box<dyn Rebuild>,
        request_id: Uuid,
        held: &str,
    ) -> Result<Resynced, AdminError> {
        let to = rebuild.mark();
        let from = match self.store.resync_hold(self.consumer, held, RESYNC_HOLD).await? {
            Some(HoldClaim::Held(from)) => from,
            Some(HoldClaim::Taken(other)) => return Err(in_progress(&other)),
            None => return Err(transient("the consumer has no mark yet")),
        };
        self.forget_parked(held).await?;
        let aggregates = rebuild.write(held.to_owned()).await?;
        let done = Resynced { request_id, aggregates, position: to.position };
        patiently(|| self.end(&from, &to, held, &done)).await?;
        Ok(done)
    }

    /// Lets the hold run out, so that a repeat need not wait for that. The consumer stays halted.
    async fn let_go(&self, held: &str) {
        let let_go = async {
            let mut tx = self.store.begin().await?;
            tx.resync_holds(self.consumer, held, Duration::ZERO).await?;
            tx.commit().await
        };
        if let Err(error) = let_go.await {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(
                consumer = self.consumer.name,
                error,
                "the hold of a failed resync could not be given back; it runs out by itself"
            );
        }
    }

    async fn end(&self, from: &Mark, to: &Mark, held: &str, done: &Resynced) -> Result<(), AdminError> {
        if self.store.resync_end(self.consumer, from, to, Some(held), done).await? {
            return Ok(());
        }
        // An earlier try may have completed the resync, and its answer been lost.
        match self.store.standing(self.consumer).await? {
            Some(Standing { resynced: Some(ended), .. }) if ended == *done => Ok(()),
            _ => Err(AdminError::Overtaken),
        }
    }

    /// Removes the parked events, because the snapshot contains them: applied later, they would count twice, and events
    /// after the snapshot would wait behind them. Nothing is parked while the consumer is held.
    pub(crate) async fn forget_parked(&self, held: &str) -> Result<(), AdminError> {
        loop {
            let parked = self.store.parked_list(self.consumer.name, 0, PARKED_AT_ONCE).await?;
            if parked.is_empty() {
                return Ok(());
            }
            patiently(|| self.remove_parked(&parked, held)).await?;
        }
    }

    async fn remove_parked(&self, parked: &[Parked], held: &str) -> Result<(), AdminError> {
        let mut tx = self.store.begin().await?;
        let removed = async {
            // Events that were parked after another resync completed are not part of this one's snapshot.
            if !tx.resync_holds(self.consumer, held, RESYNC_HOLD).await? {
                return Err(AdminError::Overtaken);
            }
            for parked in parked {
                tx.parked_remove(self.consumer, parked.event.new.id).await?;
            }
            Ok(())
        };
        let removed = removed.await;
        finish(tx, removed).await
    }

    /// Without a snapshot, the consumer goes on at its mark, if the producer still has that history.
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

fn transient(why: &'static str) -> AdminError {
    AdminError::Store(StoreError::Transient(why.into()))
}
