//! What every [`OutboxStore`] does, whatever its database.

mod leases;
mod pruning;
mod stamping;

use std::future::Future;
use std::time::Duration;

use types::EventId;
use uuid::Uuid;

pub use self::leases::*;
pub use self::pruning::*;
pub use self::stamping::*;
use super::{aggregate, new_event, until};
use crate::envelope::{Event, NewEvent, Position};
use crate::store::{EventLog as _, Head, Lease, OutboxStore, Stamp, StoreError};

/// A service's outbox on a fresh database: one empty stream, no consumer registered. At most 16 transactions
/// are open at once.
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
    ($start:expr) => {
        $crate::conformance_tests!(
            outbox,
            $start,
            an_event_is_stamped_as_it_was_appended,
            positions_are_dense_over_rollbacks_and_slow_writers,
            concurrent_writers_lose_nothing_and_keep_their_order,
            a_lower_version_is_stamped_first,
            a_version_beyond_the_batch_is_stamped_between_its_neighbours,
            a_version_is_taken_once,
            a_stamp_takes_no_more_than_its_limit,
            one_owner_at_a_time_has_the_lease,
            a_step_with_nothing_to_do_is_known_by_a_look,
            what_waits_for_a_position_is_counted,
            a_stale_owner_writes_nothing,
            two_sequencers_never_stamp_an_event_twice,
            steps_of_one_lease_at_once_stamp_each_event_once,
            a_new_server_makes_a_new_epoch,
            pages_of_a_replay_join,
            an_acknowledgement_needs_a_registered_consumer,
            pruning_keeps_the_event_at_the_smallest_mark,
            pruning_keeps_what_is_young,
            a_consumer_that_fell_silent_is_named,
        );
    };
}

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(50);

async fn append_one<H: OutboxHarness>(harness: &H, event: NewEvent) {
    let mut tx = harness.begin().await;
    harness.append(&mut tx, event).await.expect("the event is appended");
    harness.commit(tx).await.expect("the transaction commits");
}

/// Appends so many events of aggregates of their own.
async fn append_many<H: OutboxHarness>(harness: &H, count: usize) -> Vec<NewEvent> {
    let mut events = Vec::new();
    for number in 0..count {
        let event = new_event(&aggregate(&format!("many-{number}")), 1);
        append_one(harness, event.clone()).await;
        events.push(event);
    }
    events
}

async fn lease<H: OutboxHarness>(harness: &H, owner: Uuid, duration: Duration) -> Option<Lease> {
    harness.store().lease(&harness.stream(), owner, duration).await.expect("the lease is answered")
}

async fn leased<H: OutboxHarness>(harness: &H) -> Lease {
    lease(harness, Uuid::new_v4(), LONG).await.expect("the lease is free")
}

async fn stamp<H: OutboxHarness>(harness: &H, lease: &Lease, limit: usize) -> Vec<Event> {
    until("a step of the sequencer", async || match harness.store().stamp(lease, limit, LONG).await {
        Ok(Stamp::Stamped(events)) => Some(events),
        Ok(Stamp::LeaseLost) => panic!("the lease was lost"),
        Err(StoreError::Transient(_)) => None,
        Err(error) => panic!("{}", types::chain(&error)),
    })
    .await
}

async fn stamp_all<H: OutboxHarness>(harness: &H, lease: &Lease) -> Vec<Event> {
    let mut all = Vec::new();
    loop {
        let events = stamp(harness, lease, 100).await;
        if events.is_empty() {
            return all;
        }
        all.extend(events);
    }
}

async fn head<H: OutboxHarness>(harness: &H) -> Head {
    harness.store().head(&harness.stream()).await.expect("the head is answered").expect("the stream exists")
}

async fn read<H: OutboxHarness>(harness: &H, after: Position, limit: usize) -> Vec<Event> {
    harness.store().read_after(&harness.stream(), after, limit).await.expect("the events are read")
}

/// Asserts that these are the stream's events from 1 on, dense and chained.
fn assert_chain(events: &[Event]) {
    let mut previous: Option<EventId> = None;
    for (event, position) in events.iter().zip(1..) {
        assert_eq!(event.position, position, "positions are dense");
        assert_eq!(event.previous, previous, "`previous` of {position} is the event before");
        previous = Some(event.new.id);
    }
}
