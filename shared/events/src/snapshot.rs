//! Rebuilding a read model from its producer's snapshot: what a service implements for `resync.rs`.

pub use futures_util::future::BoxFuture;

use crate::store::{Mark, StoreError};

/// A read model that can be rebuilt from its producer's snapshot. Money cannot.
pub trait Snapshot: Send + Sync + 'static {
    /// Begins to read a snapshot, and notes where its consumer goes on. Changes nothing.
    fn open(&self) -> BoxFuture<'_, Result<Box<dyn Rebuild>, StoreError>>;
}

/// A read model that is about to be rebuilt.
pub trait Rebuild: Send {
    /// Where the consumer goes on afterwards: what comes after that is told by events, and what the snapshot has
    /// of it already must do no harm.
    fn mark(&self) -> Mark;

    /// Makes the read model what the snapshot says, whatever it was; tells how many aggregates there are. Until
    /// then its consumer is held for the reason `held`: each write first looks whether it still is, which renews the
    /// hold ([`crate::ConsumerTx::resync_holds`]).
    fn write(self: Box<Self>, held: String) -> BoxFuture<'static, Result<u64, StoreError>>;
}
