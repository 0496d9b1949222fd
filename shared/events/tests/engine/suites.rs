//! The conformance suites over the model. This shows that the suites can be passed, and that the model which the other
//! tests build on behaves as a real store does.

use events::conformance::consumer::ConsumerHarness;
use events::conformance::outbox::OutboxHarness;
use events::{Aggregate, ConsumerId, NewEvent, Position, Skip, StoreError};

use crate::memory::{MemoryOutbox, MemoryStore, MemoryTx};

pub(crate) struct Producer(pub(crate) MemoryOutbox);

impl OutboxHarness for Producer {
    type Store = MemoryOutbox;
    type Tx = Vec<NewEvent>;

    fn store(&self) -> MemoryOutbox {
        self.0.clone()
    }

    fn stream(&self) -> String {
        "model".to_owned()
    }

    async fn begin(&self) -> Vec<NewEvent> {
        Vec::new()
    }

    async fn append(&self, tx: &mut Vec<NewEvent>, event: NewEvent) -> Result<(), StoreError> {
        tokio::task::yield_now().await;
        tx.push(event);
        Ok(())
    }

    async fn commit(&self, tx: Vec<NewEvent>) -> Result<(), StoreError> {
        tokio::task::yield_now().await;
        self.0.commit(tx)
    }

    async fn rollback(&self, tx: Vec<NewEvent>) {
        drop(tx);
    }

    async fn register(&self, consumer: &str) {
        self.0.register(consumer);
    }

    async fn move_to_another_server(&self) {
        self.0.move_to_another_server();
    }
}

pub(crate) struct Reader(pub(crate) MemoryStore);

impl ConsumerHarness for Reader {
    type Store = MemoryStore;

    fn store(&self) -> MemoryStore {
        self.0.clone()
    }

    fn consumer(&self) -> ConsumerId {
        ConsumerId { name: "model.reader", stream: "model" }
    }

    async fn count_up(&self, tx: &mut MemoryTx, aggregate: &Aggregate) -> Result<(), StoreError> {
        tx.count_up(aggregate);
        Ok(())
    }

    async fn count(&self, aggregate: &Aggregate) -> i64 {
        self.0.count(aggregate).await
    }

    async fn skips(&self) -> Vec<(Position, Skip)> {
        self.0.skips().await
    }
}

mod outbox {
    use super::*;

    events::outbox_suite!(async || Producer(MemoryOutbox::new("model")));
}

mod consumer {
    use super::*;

    events::consumer_suite!(async || Reader(MemoryStore::default()));
}
