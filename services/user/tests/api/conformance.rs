//! The outbox and the consumer marks on MongoDB, held to the behaviour that PostgreSQL is held to as well.

use std::time::Duration;

use bson::{Document, doc};
use events::conformance::consumer::ConsumerHarness;
use events::conformance::outbox::OutboxHarness;
use events::{Aggregate, ConsumerId, NewEvent, OutboxStore as _, Position, Skip, Stamp, StoreError};
use futures_util::TryStreamExt as _;
use futures_util::future::join_all;
use mongodb::Database;
use testkit::TestMongo;
use types::EventId;
use user_service::config::MongoConfig;
use user_service::storage::{STREAM, Shared, Store, Tx};
use uuid::Uuid;

use crate::book::append;
use crate::harness::database;

pub(crate) struct Mongo {
    store: Store,
    database: Database,
    _mongo: TestMongo,
}

impl Mongo {
    pub(crate) async fn start() -> Self {
        let mongo = TestMongo::create().await.unwrap();
        // The suites have a collection of their own, in which a service may not write.
        let config = MongoConfig::for_tests(mongo.migrate_url());
        let store = Store::connect(&config, Shared::default()).await.unwrap();
        store.migrate().await.unwrap();
        let database = database(mongo.urls()).await;
        // The suites register their own.
        database.collection::<Document>("outbox_consumer").delete_many(doc! {}).await.unwrap();
        database.create_collection("counter").await.unwrap();
        Self { store, database, _mongo: mongo }
    }
}

#[derive(serde::Deserialize)]
struct SkipRow {
    event_id: bson::Uuid,
    position: Position,
    request_id: bson::Uuid,
    caller: String,
    justification: String,
}

impl OutboxHarness for Mongo {
    type Store = Store;
    type Tx = Tx;

    fn store(&self) -> Store {
        self.store.clone()
    }

    fn stream(&self) -> String {
        STREAM.to_owned()
    }

    async fn begin(&self) -> Tx {
        self.store.begin("test").await.unwrap()
    }

    async fn append(&self, tx: &mut Tx, event: NewEvent) -> Result<(), StoreError> {
        append(tx, &event).await
    }

    async fn commit(&self, tx: Tx) -> Result<(), StoreError> {
        Ok(tx.commit_now().await?)
    }

    async fn rollback(&self, tx: Tx) {
        tx.rollback().await;
    }

    async fn register(&self, consumer: &str) {
        let row = doc! {
            "_id": { "stream": STREAM, "consumer": consumer },
            "epoch": bson::Uuid::from(Uuid::nil()),
            "acknowledged": 0_i64,
        };
        self.database.collection::<Document>("outbox_consumer").insert_one(row).await.unwrap();
    }

    async fn move_to_another_server(&self) {
        let streams = self.database.collection::<Document>("outbox_lease");
        let moved = doc! { "$set": { "server": "another" } };
        let updated = streams.update_one(doc! { "_id": STREAM }, moved).await.unwrap();
        assert_eq!(updated.modified_count, 1);
    }
}

impl ConsumerHarness for Mongo {
    type Store = Store;

    fn store(&self) -> Store {
        self.store.clone()
    }

    fn consumer(&self) -> ConsumerId {
        ConsumerId { name: "user.test", stream: "order" }
    }

    async fn count_up(&self, tx: &mut Tx, aggregate: &Aggregate) -> Result<(), StoreError> {
        let id = format!("{}/{}", aggregate.kind, aggregate.id);
        // A session goes with the client that began it.
        let database = tx.session().client().database(self.database.name());
        let counters = database.collection::<Document>("counter");
        let more = doc! { "$inc": { "count": 1_i64 } };
        let update =
            counters.update_one(doc! { "_id": id }, more).upsert(true).session(tx.session()).into_future();
        match update.await {
            Ok(_) => Ok(()),
            Err(error) => Err(StoreError::Transient(error.into())),
        }
    }

    async fn count(&self, aggregate: &Aggregate) -> i64 {
        let id = format!("{}/{}", aggregate.kind, aggregate.id);
        let counters = self.database.collection::<Document>("counter");
        let row = counters.find_one(doc! { "_id": id }).await.unwrap();
        row.map_or(0, |row| row.get_i64("count").unwrap())
    }

    async fn skips(&self) -> Vec<(Position, Skip)> {
        let skips = self.database.collection::<SkipRow>("parked_skip");
        let rows: Vec<SkipRow> =
            skips.find(doc! { "consumer": "user.test" }).await.unwrap().try_collect().await.unwrap();
        let skip = |row: SkipRow| {
            let (event_id, request_id) = (EventId::from_uuid(row.event_id.into()), row.request_id.into());
            let SkipRow { position, caller, justification, .. } = row;
            (position, Skip { event_id, request_id, caller, justification })
        };
        rows.into_iter().map(skip).collect()
    }
}

mod outbox {
    events::outbox_suite!(super::Mongo::start);
}

mod consumer {
    events::consumer_suite!(super::Mongo::start);
}

/// A client that connects anew may have come to a restored backup: nothing more is stamped before its history is known.
#[tokio::test]
async fn the_server_is_looked_at_again_after_a_new_connection() {
    const LEASE: Duration = Duration::from_secs(30);
    let mongo = Mongo::start().await;
    let store = &mongo.store;
    let owner = Uuid::new_v4();
    let lease = store.lease(STREAM, owner, LEASE).await.unwrap().unwrap();
    let idle = async || match store.stamp(&lease, 10, LEASE).await.unwrap() {
        Stamp::Stamped(_) if store.is_idle(&lease, LEASE).await.unwrap() => Ok(()),
        stamp => Err(format!("{stamp:?}")),
    };
    testkit::wait_until(LEASE, "all connections to be known", idle).await.unwrap();
    mongo.move_to_another_server().await;
    assert!(store.is_idle(&lease, LEASE).await.unwrap(), "no connection is new");
    let connected = async || {
        // More at once than there are connections.
        join_all((0..16).map(|_| store.ping())).await.into_iter().collect::<Result<(), _>>().unwrap();
        if store.is_idle(&lease, LEASE).await.unwrap() { Err("no new connection") } else { Ok(()) }
    };
    testkit::wait_until(LEASE, "a new connection", connected).await.unwrap();
    assert_eq!(store.stamp(&lease, 10, LEASE).await.unwrap(), Stamp::LeaseLost);
    let again = store.lease(STREAM, owner, LEASE).await.unwrap().unwrap();
    assert_ne!(again.epoch, lease.epoch);
}
