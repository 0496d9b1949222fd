//! A mistake that the consumer suite must catch on every database: a mark that moves without a comparison.

use std::collections::HashSet;
use std::time::Duration;

use types::EventId;
use uuid::Uuid;

use super::consumer::ConsumerHarness;
use crate::envelope::{Aggregate, Event, Position};
use crate::store::{
    Act, ConsumerId, ConsumerStore, ConsumerTx, HoldClaim, LeasedMark, LockedMark, Mark, Parked, Resynced,
    Skip, Standing, StoreError,
};

/// A harness whose store moves a mark wherever it was before, so that it notices no duplicate.
#[derive(Debug)]
pub struct Markless<H>(pub H);

/// The store of [`Markless`].
#[derive(Debug, Clone)]
pub struct MarklessStore<S>(S);

/// The transaction of [`MarklessStore`].
#[derive(Debug)]
pub struct MarklessTx<T>(T);

impl<H: ConsumerHarness> ConsumerHarness for Markless<H> {
    type Store = MarklessStore<H::Store>;

    fn store(&self) -> Self::Store {
        MarklessStore(self.0.store())
    }

    fn consumer(&self) -> ConsumerId {
        self.0.consumer()
    }

    async fn count_up(
        &self,
        tx: &mut MarklessTx<<H::Store as ConsumerStore>::Tx>,
        aggregate: &Aggregate,
    ) -> Result<(), StoreError> {
        self.0.count_up(&mut tx.0, aggregate).await
    }

    async fn count(&self, aggregate: &Aggregate) -> i64 {
        self.0.count(aggregate).await
    }

    async fn skips(&self) -> Vec<(Position, Skip)> {
        self.0.skips().await
    }
}

impl<S: ConsumerStore> ConsumerStore for MarklessStore<S> {
    type Tx = MarklessTx<S::Tx>;

    async fn begin(&self) -> Result<Self::Tx, StoreError> {
        Ok(MarklessTx(self.0.begin().await?))
    }

    async fn mark_lease(
        &self,
        consumer: ConsumerId,
        owner: Uuid,
        duration: Duration,
    ) -> Result<Option<LeasedMark>, StoreError> {
        self.0.mark_lease(consumer, owner, duration).await
    }

    async fn mark_adopt(&self, consumer: ConsumerId, from: &Mark, to: &Mark) -> Result<bool, StoreError> {
        self.0.mark_adopt(consumer, from, to).await
    }

    async fn halt(
        &self,
        consumer: ConsumerId,
        owner: Uuid,
        at: &Mark,
        reason: &str,
    ) -> Result<bool, StoreError> {
        self.0.halt(consumer, owner, at, reason).await
    }

    async fn standing(&self, consumer: ConsumerId) -> Result<Option<Standing>, StoreError> {
        self.0.standing(consumer).await
    }

    async fn resync_hold(
        &self,
        consumer: ConsumerId,
        reason: &str,
        duration: Duration,
    ) -> Result<Option<HoldClaim>, StoreError> {
        self.0.resync_hold(consumer, reason, duration).await
    }

    async fn resync_end(
        &self,
        consumer: ConsumerId,
        from: &Mark,
        to: &Mark,
        held: Option<&str>,
        done: &Resynced,
    ) -> Result<bool, StoreError> {
        self.0.resync_end(consumer, from, to, held, done).await
    }

    async fn parked_list(
        &self,
        consumer: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Parked>, StoreError> {
        self.0.parked_list(consumer, after, limit).await
    }
}

impl<T: ConsumerTx> ConsumerTx for MarklessTx<T> {
    async fn mark_advance(
        &mut self,
        consumer: ConsumerId,
        from: &Mark,
        to: &Mark,
    ) -> Result<bool, StoreError> {
        self.0.mark_advance(consumer, from, to).await.map(|_| true)
    }

    async fn mark_lock(&mut self, consumer: ConsumerId) -> Result<Option<LockedMark>, StoreError> {
        self.0.mark_lock(consumer).await
    }

    async fn resync_holds(
        &mut self,
        consumer: ConsumerId,
        held: &str,
        duration: Duration,
    ) -> Result<bool, StoreError> {
        self.0.resync_holds(consumer, held, duration).await
    }

    async fn parked_any(&mut self, consumer: ConsumerId) -> Result<bool, StoreError> {
        self.0.parked_any(consumer).await
    }

    async fn parked_among(
        &mut self,
        consumer: ConsumerId,
        aggregates: &[Aggregate],
    ) -> Result<HashSet<Aggregate>, StoreError> {
        self.0.parked_among(consumer, aggregates).await
    }

    async fn parked_aggregate_count(&mut self, consumer: ConsumerId) -> Result<u64, StoreError> {
        self.0.parked_aggregate_count(consumer).await
    }

    async fn park(
        &mut self,
        consumer: ConsumerId,
        event: &Event,
        attempts: i32,
        error: &str,
    ) -> Result<(), StoreError> {
        self.0.park(consumer, event, attempts, error).await
    }

    async fn parked_first(
        &mut self,
        consumer: ConsumerId,
        aggregate: &Aggregate,
    ) -> Result<Option<(Parked, usize)>, StoreError> {
        self.0.parked_first(consumer, aggregate).await
    }

    async fn parked_remove(
        &mut self,
        consumer: ConsumerId,
        event_id: EventId,
    ) -> Result<Option<Parked>, StoreError> {
        self.0.parked_remove(consumer, event_id).await
    }

    async fn act(&mut self, consumer: ConsumerId) -> Result<Option<Act>, StoreError> {
        self.0.act(consumer).await
    }

    async fn act_keep(&mut self, consumer: ConsumerId, act: &Act) -> Result<(), StoreError> {
        self.0.act_keep(consumer, act).await
    }

    async fn skip_record(
        &mut self,
        consumer: ConsumerId,
        position: Position,
        skip: &Skip,
    ) -> Result<(), StoreError> {
        self.0.skip_record(consumer, position, skip).await
    }

    async fn commit(self) -> Result<(), StoreError> {
        self.0.commit().await
    }

    async fn rollback(self) {
        self.0.rollback().await;
    }
}
