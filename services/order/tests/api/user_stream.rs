//! User service's event stream as order service's consumers see it, over real gRPC. Redis is away, so they follow it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use events::{Aggregate, Event, EventLog, Head, Headers, NewEvent, Position, Resolved, StoreError};
use prost::Name;
use time::OffsetDateTime;
use types::EventId;
use uuid::Uuid;

/// The stream, and what was acknowledged of it.
#[derive(Clone)]
pub(crate) struct UserStream(Arc<Mutex<Log>>);

struct Log {
    epoch: Uuid,
    events: Vec<Event>,
    versions: HashMap<String, i64>,
    acknowledged: HashMap<String, Position>,
}

impl UserStream {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Log {
            epoch: Uuid::new_v4(),
            events: Vec::new(),
            versions: HashMap::new(),
            acknowledged: HashMap::new(),
        })))
    }

    /// Appends an event of a user, with the user's next version.
    pub(crate) fn tell(&self, user_id: &str, payload: &impl Name) -> EventId {
        let mut log = self.0.lock().unwrap();
        let version = log.versions.entry(user_id.to_owned()).or_default();
        *version += 1;
        let (id, version) = (EventId::from_uuid(Uuid::now_v7()), *version);
        let aggregate = Aggregate::new("user", user_id);
        let now = OffsetDateTime::UNIX_EPOCH;
        let new = NewEvent::new(id, aggregate, version, payload, Headers::default(), now);
        let previous = log.events.last().map(|event| event.new.id);
        let position = 1 + i64::try_from(log.events.len()).unwrap();
        let event = Event { stream: "user".to_owned(), epoch: log.epoch, position, previous, new };
        log.events.push(event);
        id
    }

    /// The next event of a user will have another version: what came before it was never told.
    pub(crate) fn skip_versions(&self, user_id: &str, count: i64) {
        *self.0.lock().unwrap().versions.entry(user_id.to_owned()).or_default() += count;
    }

    /// Restores a backup from before the first event: the stream begins again with another history.
    pub(crate) fn rewind(&self) {
        let mut log = self.0.lock().unwrap();
        log.epoch = Uuid::new_v4();
        log.events.clear();
    }

    /// How far a consumer says that it is.
    pub(crate) fn acknowledged(&self, consumer: &str) -> Position {
        self.0.lock().unwrap().acknowledged.get(consumer).copied().unwrap_or_default()
    }

    /// Where the stream stands.
    pub(crate) fn now(&self) -> Head {
        let log = self.0.lock().unwrap();
        Head {
            stream: "user".to_owned(),
            epoch: log.epoch,
            position: i64::try_from(log.events.len()).unwrap(),
            event_id: log.events.last().map(|event| event.new.id),
            oldest: i64::from(!log.events.is_empty()),
        }
    }
}

impl EventLog for UserStream {
    async fn head(&self, stream: &str) -> Result<Option<Head>, StoreError> {
        Ok((stream == "user").then(|| self.now()))
    }

    async fn read_after(
        &self,
        _stream: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        let log = self.0.lock().unwrap();
        Ok(log.events.iter().skip(usize::try_from(after).unwrap()).take(limit).cloned().collect())
    }

    async fn event_id_at(&self, _stream: &str, position: Position) -> Result<Option<EventId>, StoreError> {
        let log = self.0.lock().unwrap();
        Ok(log.events.iter().find(|event| event.position == position).map(|event| event.new.id))
    }

    async fn resolve(&self, _event_id: EventId) -> Result<Resolved, StoreError> {
        Ok(Resolved::Unknown)
    }

    async fn acknowledge(
        &self,
        _stream: &str,
        consumer: &str,
        _epoch: Uuid,
        position: Position,
    ) -> Result<bool, StoreError> {
        self.0.lock().unwrap().acknowledged.insert(consumer.to_owned(), position);
        Ok(true)
    }
}
