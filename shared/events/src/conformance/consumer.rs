//! What every [`ConsumerStore`] does, whatever its database, and what the engine makes of it.

use std::future::Future;

use crate::envelope::Aggregate;
use crate::store::{ConsumerId, ConsumerStore, StoreError};

/// A service's consumer store on a fresh database: no mark, nothing parked.
pub trait ConsumerHarness: Send + Sync + 'static {
    /// The store.
    type Store: ConsumerStore;

    /// The store; every call may give the same.
    fn store(&self) -> Self::Store;

    /// A consumer that the store can keep a mark of.
    fn consumer(&self) -> ConsumerId;

    /// The effect of the suite's events: adds one to a counter of the aggregate, through the transaction. The
    /// counter's table is the harness' own.
    fn count_up(
        &self,
        tx: &mut <Self::Store as ConsumerStore>::Tx,
        aggregate: &Aggregate,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// What the counter of an aggregate stands at, as committed; 0 when it was never counted up.
    fn count(&self, aggregate: &Aggregate) -> impl Future<Output = i64> + Send;
}

/// Makes a test of each scenario of this suite; takes an `async fn() -> impl ConsumerHarness`.
#[macro_export]
macro_rules! consumer_suite {
    ($start:expr) => {};
}
