//! What every [`OutboxStore`] does, whatever its database.

use std::future::Future;

use crate::envelope::NewEvent;
use crate::store::{OutboxStore, StoreError};

/// A service's outbox on a fresh database: one empty stream, no consumer registered.
pub trait OutboxHarness: Send + Sync + 'static {
    /// The store.
    type Store: OutboxStore;
    /// A write transaction of the service.
    type Tx: Send;

    /// The store; every call may give the same.
    fn store(&self) -> Self::Store;

    /// The stream that events of [`OutboxHarness::append`] are in.
    fn stream(&self) -> String;

    /// Begins a transaction and leaves it open: several are open at once.
    fn begin(&self) -> impl Future<Output = Self::Tx> + Send;

    /// Appends an event, as it is, by what the service's `Tx::event_append` does. Called in the order of an
    /// aggregate's versions, as a caller that locks the aggregate would.
    fn append(
        &self,
        tx: &mut Self::Tx,
        event: NewEvent,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Commits.
    fn commit(&self, tx: Self::Tx) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Rolls back.
    fn rollback(&self, tx: Self::Tx) -> impl Future<Output = ()> + Send;

    /// Registers a consumer of the stream, as a migration would, with nothing acknowledged.
    fn register(&self, consumer: &str) -> impl Future<Output = ()> + Send;

    /// Makes the store find, at its next lease, that the database server is not the one that the stream was
    /// stamped on: changes the identity that is kept beside the lease.
    fn move_to_another_server(&self) -> impl Future<Output = ()> + Send;
}

/// Makes a test of each scenario of this suite; takes an `async fn() -> impl OutboxHarness`.
#[macro_export]
macro_rules! outbox_suite {
    ($start:expr) => {};
}
