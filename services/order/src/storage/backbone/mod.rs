//! The backbone's traits on this database: events are appended and stamped, read by those who ask for them, and those of
//! other services are applied once.

mod consumer;
mod consumer_tx;
mod log;
mod outbox;
mod sequencer;

pub(super) use outbox::{bind_event, headers_from_json};
