//! Order service's stream, kept in memory and served over real gRPC by the backbone's own server.

use std::sync::{Arc, Mutex};

use events::{Aggregate, Event, EventLog, Head, Headers, NewEvent, Position, Resolved, StoreError};
use prost::{Message, Name};
use time::OffsetDateTime;
use types::EventId;
use uuid::Uuid;

const STREAM: &str = "order";
const EPOCH: Uuid = Uuid::from_u128(0x0e);

/// The stream. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct OrderStream(Arc<Mutex<Vec<Event>>>);

impl OrderStream {
    /// Appends an event of an aggregate of its own, stamped.
    pub(crate) fn tell<M: Message + Name>(&self, payload: &M) {
        let mut events = self.0.lock().unwrap();
        let aggregate = Aggregate::new("order", Uuid::new_v4());
        let (id, at) = (EventId::from_uuid(Uuid::now_v7()), OffsetDateTime::UNIX_EPOCH);
        let event = Event {
            stream: STREAM.to_owned(),
            epoch: EPOCH,
            position: i64::try_from(events.len()).unwrap() + 1,
            previous: events.last().map(|event| event.new.id),
            new: NewEvent::new(id, aggregate, 1, payload, Headers::default(), at),
        };
        events.push(event);
    }

    fn head_now(&self) -> Head {
        let events = self.0.lock().unwrap();
        Head {
            stream: STREAM.to_owned(),
            epoch: EPOCH,
            position: events.last().map_or(0, |event| event.position),
            event_id: events.last().map(|event| event.new.id),
            oldest: events.first().map_or(0, |event| event.position),
        }
    }
}

impl EventLog for OrderStream {
    async fn head(&self, stream: &str) -> Result<Option<Head>, StoreError> {
        Ok((stream == STREAM).then(|| self.head_now()))
    }

    async fn read_after(&self, _: &str, after: Position, limit: usize) -> Result<Vec<Event>, StoreError> {
        let events = self.0.lock().unwrap();
        Ok(events.iter().filter(|event| event.position > after).take(limit).cloned().collect())
    }

    async fn event_id_at(&self, _: &str, position: Position) -> Result<Option<EventId>, StoreError> {
        let events = self.0.lock().unwrap();
        Ok(events.iter().find(|event| event.position == position).map(|event| event.new.id))
    }

    async fn resolve(&self, event_id: EventId) -> Result<Resolved, StoreError> {
        let events = self.0.lock().unwrap();
        let found = events.iter().find(|event| event.new.id == event_id);
        Ok(found.map_or(Resolved::Unknown, |event| Resolved::At {
            stream: STREAM.to_owned(),
            epoch: EPOCH,
            position: event.position,
        }))
    }

    async fn acknowledge(&self, _: &str, _: &str, _: Uuid, _: Position) -> Result<bool, StoreError> {
        Ok(true)
    }
}
