//! What consumers read and acknowledge.

use events::{Event, EventLog, Head, Position, Resolved, StoreError};
use tokio::time::Instant;
use types::EventId;
use uuid::Uuid;

use super::{Acknowledged, MemoryOutbox};
use crate::memory::round_trip;

impl EventLog for MemoryOutbox {
    async fn head(&self, stream: &str) -> Result<Option<Head>, StoreError> {
        round_trip().await;
        let state = self.lock();
        Ok((state.stream == stream).then(|| Head {
            stream: state.stream.clone(),
            epoch: state.epoch,
            position: state.events.len() as Position,
            event_id: state.ids.last().copied(),
            oldest: state.oldest(),
        }))
    }

    async fn read_after(
        &self,
        stream: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        round_trip().await;
        let mut state = self.lock();
        state.reads += 1;
        assert_eq!(stream, state.stream);
        let places = std::iter::successors(after.checked_add(1), |place| place.checked_add(1));
        Ok(places.map_while(|position| state.event(position)).take(limit).collect())
    }

    async fn event_id_at(&self, _: &str, position: Position) -> Result<Option<EventId>, StoreError> {
        round_trip().await;
        Ok(self.lock().event(position).map(|event| event.new.id))
    }

    async fn resolve(&self, event_id: EventId) -> Result<Resolved, StoreError> {
        round_trip().await;
        let state = self.lock();
        if state.pending.iter().any(|event| event.id == event_id) {
            return Ok(Resolved::Pending);
        }
        Ok(state.ids.iter().position(|id| *id == event_id).map_or(Resolved::Unknown, |at| Resolved::At {
            stream: state.stream.clone(),
            epoch: state.epoch,
            position: at as Position + 1,
        }))
    }

    async fn acknowledge(
        &self,
        stream: &str,
        consumer: &str,
        epoch: Uuid,
        position: Position,
    ) -> Result<bool, StoreError> {
        round_trip().await;
        let mut state = self.lock();
        let known = state.stream == stream && state.acknowledged.contains_key(consumer);
        if known {
            let said = Acknowledged { epoch, position, at: Instant::now() };
            state.acknowledged.insert(consumer.to_owned(), said);
        }
        Ok(known)
    }
}
