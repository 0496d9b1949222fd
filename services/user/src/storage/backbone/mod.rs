//! The stream of this service's events, and how far the service has come in those of others: what `events` asks of a
//! database.

mod consumer;
mod identity;
pub(super) mod lease;
mod log;
pub(super) mod low_mark;
pub(super) mod outbox;
mod parked;
mod pending;
mod sequencer;
mod unapplied;
mod worker_lease;

pub use lease::STREAM;
pub(crate) use outbox::OUTBOX;
