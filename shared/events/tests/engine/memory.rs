//! A model of a database that does what the store traits promise, in the simplest form. The engine's own tests run over
//! it, because no real server could be put through thousands of disorders. The services' tests run the conformance
//! suites over their real databases.

mod consumer;
mod outbox;

pub(crate) use consumer::{MemoryStore, MemoryTx};
pub(crate) use outbox::MemoryOutbox;

/// Lets other tasks run, as the round trip of a call would.
async fn round_trip() {
    tokio::task::yield_now().await;
}
