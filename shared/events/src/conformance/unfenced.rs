//! A mistake that the outbox suite must catch on every database: writes that do not check the fence.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use types::EventId;
use uuid::Uuid;

use super::outbox::OutboxHarness;
use crate::envelope::{Event, NewEvent, Position};
use crate::store::{EventLog, Head, Lease, OutboxStore, Pending, Resolved, Silent, Stamp, StoreError};

/// A harness whose store does not check the fence: it takes every writer for the present owner.
#[derive(Debug)]
pub struct Unfenced<H> {
    harness: H,
    present: Present,
}

type Present = Arc<Mutex<Option<Lease>>>;

impl<H> Unfenced<H> {
    /// Over a harness with a correct store.
    pub fn new(harness: H) -> Self {
        Self { harness, present: Present::default() }
    }
}

/// The store of [`Unfenced`].
#[derive(Debug, Clone)]
pub struct UnfencedStore<S> {
    store: S,
    present: Present,
}

impl<S> UnfencedStore<S> {
    fn present(&self, lease: &Lease) -> Lease {
        let present = self.present.lock().expect("no holder of this lock panics").clone();
        present.unwrap_or_else(|| lease.clone())
    }
}

impl<H: OutboxHarness> OutboxHarness for Unfenced<H> {
    type Store = UnfencedStore<H::Store>;
    type Tx = H::Tx;

    fn store(&self) -> Self::Store {
        UnfencedStore { store: self.harness.store(), present: self.present.clone() }
    }

    fn stream(&self) -> String {
        self.harness.stream()
    }

    async fn begin(&self) -> H::Tx {
        self.harness.begin().await
    }

    async fn append(&self, tx: &mut H::Tx, event: NewEvent) -> Result<(), StoreError> {
        self.harness.append(tx, event).await
    }

    async fn commit(&self, tx: H::Tx) -> Result<(), StoreError> {
        self.harness.commit(tx).await
    }

    async fn rollback(&self, tx: H::Tx) {
        self.harness.rollback(tx).await;
    }

    async fn register(&self, consumer: &str) {
        self.harness.register(consumer).await;
    }

    async fn move_to_another_server(&self) {
        self.harness.move_to_another_server().await;
    }
}

impl<S: OutboxStore> EventLog for UnfencedStore<S> {
    async fn head(&self, stream: &str) -> Result<Option<Head>, StoreError> {
        self.store.head(stream).await
    }

    async fn read_after(
        &self,
        stream: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        self.store.read_after(stream, after, limit).await
    }

    async fn event_id_at(&self, stream: &str, position: Position) -> Result<Option<EventId>, StoreError> {
        self.store.event_id_at(stream, position).await
    }

    async fn resolve(&self, event_id: EventId) -> Result<Resolved, StoreError> {
        self.store.resolve(event_id).await
    }

    async fn acknowledge(
        &self,
        stream: &str,
        consumer: &str,
        epoch: Uuid,
        position: Position,
    ) -> Result<bool, StoreError> {
        self.store.acknowledge(stream, consumer, epoch, position).await
    }
}

impl<S: OutboxStore> OutboxStore for UnfencedStore<S> {
    async fn lease(
        &self,
        stream: &str,
        owner: Uuid,
        duration: Duration,
    ) -> Result<Option<Lease>, StoreError> {
        let lease = self.store.lease(stream, owner, duration).await?;
        if lease.is_some() {
            self.present.lock().expect("no holder of this lock panics").clone_from(&lease);
        }
        Ok(lease)
    }

    async fn stamp(&self, lease: &Lease, limit: usize, duration: Duration) -> Result<Stamp, StoreError> {
        self.store.stamp(&self.present(lease), limit, duration).await
    }

    async fn is_idle(&self, lease: &Lease, duration: Duration) -> Result<bool, StoreError> {
        self.store.is_idle(&self.present(lease), duration).await
    }

    async fn pending(&self, stream: &str) -> Result<Pending, StoreError> {
        self.store.pending(stream).await
    }

    async fn published(&self, lease: &Lease, through: Position) -> Result<bool, StoreError> {
        self.store.published(&self.present(lease), through).await
    }

    async fn prune(&self, lease: &Lease, retention: Duration, limit: usize) -> Result<u64, StoreError> {
        self.store.prune(&self.present(lease), retention, limit).await
    }

    async fn silent_consumers(&self, stream: &str, longer_than: Duration) -> Result<Vec<Silent>, StoreError> {
        self.store.silent_consumers(stream, longer_than).await
    }

    async fn appended(&self) {
        self.store.appended().await;
    }
}
