//! The backbone's traits on this database: events are appended and stamped, read by those who ask for them, and those of
//! other services are applied once.

pub(super) mod consumer;
pub(super) mod consumer_tx;
pub(super) mod log;
pub(super) mod outbox;
pub(super) mod sequencer;

pub(super) use outbox::{bind_event, headers_from_json};
