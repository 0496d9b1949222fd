//! What a service implements so that `resync.rs` can rebuild one of its read models from a snapshot of the producer.

pub use futures_util::future::BoxFuture;

use crate::store::{Mark, StoreError};

/// A read model that can be rebuilt from a snapshot of its producer. What moves money cannot.
pub trait Snapshot: Send + Sync + 'static {
    /// Begins to read a snapshot, and notes after which event its consumer goes on. Changes nothing.
    fn open(&self) -> BoxFuture<'_, Result<Box<dyn Rebuild>, StoreError>>;
}

/// A read model that is about to be rebuilt.
pub trait Rebuild: Send {
    /// The mark of the consumer afterwards. Later changes come as events; it must do no harm that the snapshot may have
    /// some of them already.
    fn mark(&self) -> Mark;

    /// Replaces the read model by the snapshot, and gives the number of its aggregates. Meanwhile the consumer is held
    /// for the reason `held`: each write first checks and renews the hold ([`crate::ConsumerTx::resync_holds`]).
    fn write(self: Box<Self>, held: String) -> BoxFuture<'static, Result<u64, StoreError>>;
}
