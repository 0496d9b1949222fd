//! What stands outside of a consumer's transactions: its lease, its halt, and a resync's hold.

use std::time::Duration;

use events::{
    ConsumerId, ConsumerStore, HoldClaim, LeasedMark, Mark, Parked, Position, Resynced, Standing, StoreError,
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{MemoryStore, MemoryTx};
use crate::memory::round_trip;

impl ConsumerStore for MemoryStore {
    type Tx = MemoryTx;

    async fn begin(&self) -> Result<MemoryTx, StoreError> {
        round_trip().await;
        let guard = self.state.clone().lock_owned().await;
        let copy = guard.clone();
        Ok(MemoryTx { guard, copy })
    }

    async fn mark_lease(
        &self,
        consumer: ConsumerId,
        owner: Uuid,
        duration: Duration,
    ) -> Result<Option<LeasedMark>, StoreError> {
        round_trip().await;
        let mut state = self.state.lock().await;
        let row = state.row(consumer);
        let now = Instant::now();
        if row.owner != owner {
            if row.until > now {
                return Ok(None);
            }
            row.owner = owner;
            row.fence += 1;
        }
        row.until = now + duration;
        Ok(Some(LeasedMark { mark: row.mark, fence: row.fence, halted: row.halted.clone() }))
    }

    async fn mark_adopt(&self, consumer: ConsumerId, from: &Mark, to: &Mark) -> Result<bool, StoreError> {
        round_trip().await;
        let mut state = self.state.lock().await;
        let row = state.row(consumer);
        let is_there = row.halted.is_none() && row.mark == *from;
        if is_there {
            row.mark = *to;
        }
        Ok(is_there)
    }

    async fn halt(
        &self,
        consumer: ConsumerId,
        owner: Uuid,
        at: &Mark,
        reason: &str,
    ) -> Result<bool, StoreError> {
        round_trip().await;
        let mut state = self.state.lock().await;
        let row = state.row(consumer);
        let speaks = row.owner == owner && row.mark == *at && row.halted.is_none();
        if speaks {
            row.halted = Some(reason.to_owned());
        }
        Ok(speaks)
    }

    async fn standing(&self, consumer: ConsumerId) -> Result<Option<Standing>, StoreError> {
        round_trip().await;
        let state = self.state.lock().await;
        let row = state.marks.get(consumer.name).cloned();
        Ok(row.map(|row| {
            let held = row.is_held();
            Standing { mark: row.mark, halted: row.halted, held, resynced: row.resynced }
        }))
    }

    async fn resync_hold(
        &self,
        consumer: ConsumerId,
        reason: &str,
        duration: Duration,
    ) -> Result<Option<HoldClaim>, StoreError> {
        round_trip().await;
        let mut state = self.state.lock().await;
        let row = state.marks.get_mut(consumer.name);
        Ok(row.map(|row| {
            if row.is_held() {
                return HoldClaim::Taken(row.halted.clone().unwrap_or_default());
            }
            row.halted = Some(reason.to_owned());
            row.hold_until = Some(Instant::now() + duration);
            HoldClaim::Held(row.mark)
        }))
    }

    async fn resync_end(
        &self,
        consumer: ConsumerId,
        from: &Mark,
        to: &Mark,
        held: Option<&str>,
        done: &Resynced,
    ) -> Result<bool, StoreError> {
        round_trip().await;
        let mut state = self.state.lock().await;
        let row = state.row(consumer);
        let is_held = row.mark == *from && row.halted.as_deref() == held;
        if is_held {
            (row.mark, row.halted, row.hold_until, row.resynced) = (*to, None, None, Some(*done));
        }
        Ok(is_held)
    }

    async fn parked_list(
        &self,
        consumer: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Parked>, StoreError> {
        round_trip().await;
        let state = self.state.lock().await;
        let parked = state.parked.get(consumer).into_iter().flatten();
        Ok(parked.filter(|parked| parked.event.position > after).take(limit).cloned().collect())
    }
}
