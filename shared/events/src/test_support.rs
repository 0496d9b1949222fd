//! Events and a listener for this crate's own tests.

use std::sync::Mutex;

use time::OffsetDateTime;
use types::EventId;
use uuid::Uuid;

use crate::envelope::{Aggregate, Event, Headers, NewEvent, Position};
use crate::ephemeral::Listener;

/// The id that [`event`] gives to the event at a position of the first history.
pub(crate) fn event_id(position: Position) -> EventId {
    EventId::from_uuid(Uuid::from_u128(
        0x0192_0000_0000_7000_8000_0000_0000_0000 + position.unsigned_abs() as u128,
    ))
}

/// The epoch of [`event`].
pub(crate) const EPOCH: Uuid = Uuid::from_u128(0xe);

/// An event whose neighbours are `event(stream, position - 1)` and `event(stream, position + 1)`.
pub(crate) fn event(stream: &str, position: Position) -> Event {
    Event {
        stream: stream.to_owned(),
        epoch: EPOCH,
        position,
        previous: (position > 1).then(|| event_id(position - 1)),
        new: NewEvent {
            id: event_id(position),
            aggregate: Aggregate::new("thing", position % 3),
            aggregate_version: position,
            event_type: "test.v1.Happened".to_owned(),
            schema_version: 1,
            payload: position.to_string().into_bytes().into(),
            headers: Headers {
                traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
                tracestate: Some("vendor=1".to_owned()),
                request_id: Some(Uuid::from_u128(7)),
            },
            created_at: OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap(),
        },
    }
}

/// A listener that notes how it was called.
#[derive(Default)]
pub(crate) struct Calls(Mutex<Vec<String>>);

impl Calls {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Listener for Calls {
    fn on_event(&self, event: &Event) {
        self.note(format!("event {}", event.position));
    }

    fn on_clear(&self, _stream: &str) {
        self.note("clear".to_owned());
    }

    fn on_live(&self, _stream: &str, live: bool) {
        self.note(format!("live {live}"));
    }
}
