//! What an event is, before and after it has a position. `cloud_event.rs` turns it into the wire's form.

use bytes::Bytes;
use prost::{Message, Name};
use time::OffsetDateTime;
use types::EventId;
use uuid::Uuid;

/// A place in a stream: the first event has 1; 0 is before it. Never negative.
pub type Position = i64;

/// The newest version of payloads that this program can read.
const SCHEMA_VERSION: i32 = 1;

/// Why the payload of an event cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// Its version is newer than this program: fields may have another meaning. New fields alone do not raise the
    /// version; a program that does not know them ignores them.
    #[error("the payload has schema version {0}, which is newer than this program can read")]
    Newer(i32),
    /// It is not a message of the event's type.
    #[error(transparent)]
    Malformed(#[from] prost::DecodeError),
}

/// The thing that an event is about. The events of one aggregate keep their order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Aggregate {
    /// Its kind, such as `order`.
    pub kind: String,
    /// Its id, unique within the kind.
    pub id: String,
}

impl Aggregate {
    /// The aggregate of this kind and id.
    #[expect(clippy::needless_pass_by_value, reason = "ids are small, and callers have them by value")]
    pub fn new(kind: impl Into<String>, id: impl ToString) -> Self {
        Self { kind: kind.into(), id: id.to_string() }
    }
}

/// The call that an event comes from: its trace and its request id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// W3C `traceparent`.
    pub traceparent: Option<String>,
    /// W3C `tracestate`.
    pub tracestate: Option<String>,
    /// The `request_id` of the call.
    pub request_id: Option<Uuid>,
}

/// An event that a transaction appends to its outbox. It has no position until it has committed.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// The event's id, unique for ever.
    pub id: EventId,
    /// What it is about.
    pub aggregate: Aggregate,
    /// Counts this aggregate's events from 1, without holes: two events of one transaction take n+1, n+2.
    pub aggregate_version: i64,
    /// The payload's full message name, such as `order.v1.OrderPlaced`.
    pub event_type: String,
    /// The version of the payload's meaning: 1 until a field means something else than before.
    pub schema_version: i32,
    /// The encoded message.
    pub payload: Bytes,
    /// The call that it comes from.
    pub headers: Headers,
    /// When the writer made it. For information only: it says nothing about the order of events.
    pub created_at: OffsetDateTime,
}

impl NewEvent {
    /// An event that carries `payload`.
    pub fn new<M: Message + Name>(
        id: EventId,
        aggregate: Aggregate,
        aggregate_version: i64,
        payload: &M,
        headers: Headers,
        created_at: OffsetDateTime,
    ) -> Self {
        Self {
            id,
            aggregate,
            aggregate_version,
            event_type: M::full_name(),
            schema_version: SCHEMA_VERSION,
            payload: payload.encode_to_vec().into(),
            headers,
            created_at,
        }
    }
}

/// A committed, stamped event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The stream that it is in, such as `order`.
    pub stream: String,
    /// The stream's history that its position belongs to.
    pub epoch: Uuid,
    /// Its place in the stream: 1, 2, 3 and so on, without holes.
    pub position: Position,
    /// The event at `position - 1`; `None` at position 1.
    pub previous: Option<EventId>,
    /// The event as it was appended.
    pub new: NewEvent,
}

impl Event {
    /// The payload as `M`, or `None` when the event is of another type.
    ///
    /// # Errors
    /// When the payload is not a message of that type, or its version is newer than this program.
    pub fn decode<M: Message + Name + Default>(&self) -> Option<Result<M, Undecodable>> {
        (self.new.event_type == M::full_name()).then(|| match self.new.schema_version {
            ..=SCHEMA_VERSION => Ok(M::decode(self.new.payload.clone())?),
            newer => Err(Undecodable::Newer(newer)),
        })
    }
}

#[cfg(test)]
mod tests {
    use api::event::v1::StreamHead;

    use super::*;
    use crate::test_support::event;

    fn decoded(event: &Event) -> Option<Result<StreamHead, Undecodable>> {
        event.decode()
    }

    #[test]
    fn a_payload_of_a_newer_meaning_is_not_read_and_an_unknown_field_is_ignored() {
        let mut event = event("s", 1);
        assert!(decoded(&event).is_none(), "of another type");
        event.new.event_type = StreamHead::full_name();
        let head = StreamHead { stream: "s".to_owned(), ..StreamHead::default() };
        let mut payload = head.encode_to_vec();
        // Field 100, a varint, which nobody knows.
        payload.extend([0xa0, 0x06, 0x01]);
        event.new.payload = payload.into();
        assert_eq!(decoded(&event).unwrap().unwrap(), head);
        event.new.schema_version = 2;
        assert!(matches!(decoded(&event), Some(Err(Undecodable::Newer(2)))));
        event.new.event_type = "test.v1.Happened".to_owned();
        assert!(decoded(&event).is_none(), "what is not for us is no error, whatever its version");
    }
}
