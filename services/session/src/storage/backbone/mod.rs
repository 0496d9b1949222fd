//! What carries events: the streams of sessions, who publishes them, and what a durable consumer keeps here.

mod appended;
mod consumer;
mod events;
mod lease;
mod log;
mod marks;
mod messages;
mod outbox;
mod parked;

pub(crate) use appended::Appended;
pub(super) use events::{Cause, all_revoked, created, refreshed, revoked, revoked_somewhere};
pub(super) use marks::{MarkState, mark_texts};
pub(super) use messages::parked_write;
