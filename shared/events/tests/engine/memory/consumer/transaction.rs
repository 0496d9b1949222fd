//! What is committed together: the mark, what is parked or skipped, and the tests' effects.

use std::collections::HashSet;
use std::time::Duration;

use events::{
    Act, Aggregate, ConsumerId, ConsumerTx, Event, LockedMark, Mark, Parked, Position, Skip, StoreError,
};
use time::OffsetDateTime;
use tokio::time::Instant;
use types::EventId;

use super::MemoryTx;
use crate::memory::round_trip;

impl MemoryTx {
    /// The tests' effect.
    pub(crate) fn apply(&mut self, event: &Event) {
        self.copy.applied.push(event.clone());
        *self.copy.counts.entry(event.new.aggregate.clone()).or_default() += 1;
    }

    /// Moves the mark as a consumer without a compare-and-set would.
    pub(crate) fn set_mark(&mut self, consumer: ConsumerId, mark: Mark) {
        self.copy.row(consumer).mark = mark;
    }

    pub(crate) fn count_up(&mut self, aggregate: &Aggregate) {
        *self.copy.counts.entry(aggregate.clone()).or_default() += 1;
    }
}

impl ConsumerTx for MemoryTx {
    async fn mark_advance(
        &mut self,
        consumer: ConsumerId,
        from: &Mark,
        to: &Mark,
    ) -> Result<bool, StoreError> {
        round_trip().await;
        let row = self.copy.row(consumer);
        let is_there = row.halted.is_none() && row.mark == *from;
        if is_there {
            row.mark = *to;
        }
        Ok(is_there)
    }

    async fn mark_lock(&mut self, consumer: ConsumerId) -> Result<Option<LockedMark>, StoreError> {
        round_trip().await;
        let row = self.copy.marks.get(consumer.name);
        Ok(row.map(|row| LockedMark { mark: row.mark, halted: row.halted.clone() }))
    }

    async fn resync_holds(
        &mut self,
        consumer: ConsumerId,
        held: &str,
        duration: Duration,
    ) -> Result<bool, StoreError> {
        round_trip().await;
        let row = self.copy.row(consumer);
        let holds = row.halted.as_deref() == Some(held);
        if holds {
            row.hold_until = Some(Instant::now() + duration);
        }
        Ok(holds)
    }

    async fn parked_any(&mut self, consumer: ConsumerId) -> Result<bool, StoreError> {
        round_trip().await;
        Ok(self.copy.parked.get(consumer.name).is_some_and(|parked| !parked.is_empty()))
    }

    async fn parked_among(
        &mut self,
        consumer: ConsumerId,
        aggregates: &[Aggregate],
    ) -> Result<HashSet<Aggregate>, StoreError> {
        round_trip().await;
        let parked = self.copy.parked.get(consumer.name).into_iter().flatten();
        let parked = parked.map(|parked| parked.event.new.aggregate.clone());
        Ok(parked.filter(|aggregate| aggregates.contains(aggregate)).collect())
    }

    async fn parked_aggregate_count(&mut self, consumer: ConsumerId) -> Result<u64, StoreError> {
        round_trip().await;
        let parked = self.copy.parked.get(consumer.name).into_iter().flatten();
        let aggregates: HashSet<_> = parked.map(|parked| &parked.event.new.aggregate).collect();
        Ok(aggregates.len() as u64)
    }

    async fn park(
        &mut self,
        consumer: ConsumerId,
        event: &Event,
        attempts: i32,
        error: &str,
    ) -> Result<(), StoreError> {
        round_trip().await;
        let list = self.copy.parked.entry(consumer.name).or_default();
        list.retain(|parked| parked.event.new.id != event.new.id);
        list.push(Parked {
            event: event.clone(),
            attempts,
            error: error.to_owned(),
            parked_at: OffsetDateTime::UNIX_EPOCH,
        });
        list.sort_by_key(|parked| parked.event.position);
        Ok(())
    }

    async fn parked_first(
        &mut self,
        consumer: ConsumerId,
        aggregate: &Aggregate,
    ) -> Result<Option<(Parked, usize)>, StoreError> {
        round_trip().await;
        let parked = self.copy.parked.get(consumer.name).into_iter().flatten();
        let mut parked = parked.filter(|parked| parked.event.new.aggregate == *aggregate);
        Ok(parked.next().cloned().map(|first| (first, parked.count())))
    }

    async fn parked_remove(
        &mut self,
        consumer: ConsumerId,
        event_id: EventId,
    ) -> Result<Option<Parked>, StoreError> {
        round_trip().await;
        let list = self.copy.parked.entry(consumer.name).or_default();
        let at = list.iter().position(|parked| parked.event.new.id == event_id);
        Ok(at.map(|at| list.remove(at)))
    }

    async fn act(&mut self, consumer: ConsumerId) -> Result<Option<Act>, StoreError> {
        round_trip().await;
        Ok(self.copy.row(consumer).act.clone())
    }

    async fn act_keep(&mut self, consumer: ConsumerId, act: &Act) -> Result<(), StoreError> {
        round_trip().await;
        self.copy.row(consumer).act = Some(act.clone());
        Ok(())
    }

    async fn skip_record(
        &mut self,
        _: ConsumerId,
        position: Position,
        skip: &Skip,
    ) -> Result<(), StoreError> {
        round_trip().await;
        self.copy.skips.push((position, skip.clone()));
        Ok(())
    }

    async fn commit(mut self) -> Result<(), StoreError> {
        round_trip().await;
        *self.guard = self.copy;
        Ok(())
    }

    async fn rollback(self) {
        round_trip().await;
    }
}
