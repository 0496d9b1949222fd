//! What a sequencer does: it leases the stream, stamps events, says what is published, and prunes.

use std::time::Duration;

use events::{Lease, NewEvent, OutboxStore, Pending, Position, Silent, Stamp, StoreError};
use tokio::time::{Instant, sleep};
use types::{Clock as _, SystemClock};
use uuid::Uuid;

use super::MemoryOutbox;
use crate::memory::round_trip;

impl OutboxStore for MemoryOutbox {
    async fn lease(&self, _: &str, owner: Uuid, duration: Duration) -> Result<Option<Lease>, StoreError> {
        round_trip().await;
        let mut state = self.lock();
        let now = Instant::now();
        if state.owner != owner {
            if state.lease_until > now {
                return Ok(None);
            }
            state.owner = owner;
            state.fence += 1;
        }
        state.lease_until = now + duration;
        if state.stamped_on != state.server {
            state.stamped_on = state.server;
            state.epoch = Uuid::new_v4();
        }
        Ok(Some(state.lease()))
    }

    async fn stamp(&self, lease: &Lease, limit: usize, duration: Duration) -> Result<Stamp, StoreError> {
        round_trip().await;
        let takes = self.lock().stamp_takes;
        if !takes.is_zero() {
            sleep(takes).await;
        }
        let mut state = self.lock();
        if !state.holds(lease) {
            return Ok(Stamp::LeaseLost);
        }
        if state.stamps_fail {
            return Err(StoreError::Transient("the model refuses to stamp".into()));
        }
        state.stamps += 1;
        let now = Instant::now();
        state.lease_until = now + duration;
        let mut stamped = Vec::new();
        while stamped.len() < limit {
            let Some(event) = state.next_pending() else { break };
            state.ids.push(event.id);
            state.events.push(Some((event, now)));
            let position = state.events.len() as Position;
            stamped.extend(state.event(position));
        }
        if state.is_hasty {
            state.published_through = state.events.len() as Position;
        }
        Ok(Stamp::Stamped(stamped))
    }

    async fn is_idle(&self, lease: &Lease, duration: Duration) -> Result<bool, StoreError> {
        round_trip().await;
        let state = self.lock();
        let left = state.lease_until.saturating_duration_since(Instant::now());
        Ok(state.holds(lease) && state.pending.is_empty() && left > duration * 2 / 3)
    }

    async fn pending(&self, _: &str) -> Result<Pending, StoreError> {
        round_trip().await;
        let state = self.lock();
        let oldest = state.pending.iter().map(|event| SystemClock.now() - event.created_at).max();
        Ok(Pending {
            events: state.pending.len() as u64,
            oldest: oldest.and_then(|oldest| oldest.try_into().ok()).unwrap_or_default(),
        })
    }

    async fn published(&self, lease: &Lease, through: Position) -> Result<bool, StoreError> {
        round_trip().await;
        let mut state = self.lock();
        let holds = state.holds(lease);
        if holds {
            state.published_through = through;
        }
        Ok(holds)
    }

    async fn prune(&self, lease: &Lease, retention: Duration, limit: usize) -> Result<u64, StoreError> {
        round_trip().await;
        let mut state = self.lock();
        if !state.holds(lease) {
            return Ok(0);
        }
        let is_old = |event: &Option<(NewEvent, Instant)>| {
            event.as_ref().is_some_and(|(_, stamped)| stamped.elapsed() >= retention)
        };
        let newest_old = state.events.iter().rposition(is_old).map_or(0, |at| at + 1);
        let needed = state.acknowledged.values().map(|said| said.position as usize).min();
        let needed = needed.unwrap_or(newest_old);
        let below = newest_old.min(needed).saturating_sub(1);
        let doomed: Vec<usize> = (0..below).filter(|at| state.events[*at].is_some()).take(limit).collect();
        for at in &doomed {
            state.events[*at] = None;
        }
        Ok(doomed.len() as u64)
    }

    async fn silent_consumers(&self, _: &str, longer_than: Duration) -> Result<Vec<Silent>, StoreError> {
        round_trip().await;
        let state = self.lock();
        let mut silent: Vec<Silent> = (state.acknowledged.iter())
            .filter(|(_, said)| said.epoch != state.epoch || said.at.elapsed() > longer_than)
            .map(|(consumer, said)| Silent {
                consumer: consumer.clone(),
                acknowledged: said.position,
                is_of_epoch: said.epoch == state.epoch,
            })
            .collect();
        silent.sort_by(|one, other| one.consumer.cmp(&other.consumer));
        Ok(silent)
    }

    async fn appended(&self) {
        self.appended.notified().await;
    }
}
