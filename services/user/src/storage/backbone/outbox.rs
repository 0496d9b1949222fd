//! The outbox: events that a transaction appends, and what the sequencer makes of them.

use bson::Binary;
use bson::spec::BinarySubtype;
use events::{Aggregate, Event, Headers, NewEvent};
use serde::{Deserialize, Serialize};
use types::EventId;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::storage::{Tx, from_time, to_time};

pub(crate) const OUTBOX: &str = "outbox";

/// An event as it lies in the outbox, and inside a parked one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct EventRow {
    #[serde(rename = "_id")]
    pub(super) id: bson::Uuid,
    pub(super) aggregate: AggregateRow,
    #[serde(rename = "type")]
    event_type: String,
    schema_version: i32,
    payload: Binary,
    headers: HeadersRow,
    created_at: bson::DateTime,
    /// There until it is stamped, so that the partial indexes hold what is left to do and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pending: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) position: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) previous: Option<bson::Uuid>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct AggregateRow {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) version: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct HeadersRow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tracestate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_id: Option<bson::Uuid>,
}

impl From<&NewEvent> for EventRow {
    fn from(event: &NewEvent) -> Self {
        Self {
            id: event.id.uuid().into(),
            aggregate: AggregateRow {
                kind: event.aggregate.kind.clone(),
                id: event.aggregate.id.clone(),
                version: event.aggregate_version,
            },
            event_type: event.event_type.clone(),
            schema_version: event.schema_version,
            payload: Binary { subtype: BinarySubtype::Generic, bytes: event.payload.to_vec() },
            headers: HeadersRow {
                traceparent: event.headers.traceparent.clone(),
                tracestate: event.headers.tracestate.clone(),
                request_id: event.headers.request_id.map(Into::into),
            },
            created_at: from_time(event.created_at),
            pending: Some(true),
            position: None,
            previous: None,
        }
    }
}

impl EventRow {
    /// A stamped event, for a place other than this service's outbox.
    pub(super) fn stamped(event: &Event) -> Self {
        Self {
            pending: None,
            position: Some(event.position),
            previous: event.previous.map(|id| id.uuid().into()),
            ..Self::from(&event.new)
        }
    }

    pub(super) fn event_id(&self) -> EventId {
        EventId::from_uuid(self.id.into())
    }

    /// The event at its place in a stream.
    pub(super) fn into_event(self, stream: &str, epoch: Uuid) -> Result<Event> {
        let position = self.position.ok_or_else(|| Error::internal("an event has no position"))?;
        Ok(Event {
            stream: stream.to_owned(),
            epoch,
            position,
            previous: self.previous.map(|id| EventId::from_uuid(id.into())),
            new: NewEvent {
                id: self.event_id(),
                aggregate: Aggregate { kind: self.aggregate.kind, id: self.aggregate.id },
                aggregate_version: self.aggregate.version,
                event_type: self.event_type,
                schema_version: self.schema_version,
                payload: self.payload.bytes.into(),
                headers: Headers {
                    traceparent: self.headers.traceparent,
                    tracestate: self.headers.tracestate,
                    request_id: self.headers.request_id.map(Into::into),
                },
                created_at: to_time(self.created_at),
            },
        })
    }
}

impl Tx {
    /// Appends an event, sent with the transaction's other writes. The aggregate's own document must be written
    /// before, with the version that the event carries: that write is what orders the events of one aggregate. An
    /// aggregate that has an event of this version already is a defect.
    ///
    /// # Errors
    /// When the event cannot be a document.
    pub fn event_append(&mut self, event: &NewEvent) -> Result<()> {
        let row = bson::serialize_to_document(&EventRow::from(event)).map_err(Error::internal)?;
        self.insert(OUTBOX, row, None);
        self.appended = true;
        Ok(())
    }
}
