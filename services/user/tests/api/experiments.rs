//! What a reader of MongoDB's outbox would get that goes by ids, by the batch, or by a counter, and what the
//! sequencer gets of the same events: its experiments as order service's are PostgreSQL's.

use std::collections::HashSet;
use std::future::IntoFuture as _;
use std::time::Duration;

use bson::{Bson, Document, doc};
use bytes::Bytes;
use events::{Aggregate, EventLog as _, Headers, Lease, NewEvent, OutboxStore as _, Stamp};
use futures_util::TryStreamExt as _;
use mongodb::error::TRANSIENT_TRANSACTION_ERROR;
use mongodb::{Collection, Database};
use testkit::TestMongo;
use time::OffsetDateTime;
use types::EventId;
use user_service::storage::{STREAM, Store, Tx};
use uuid::Uuid;

use crate::harness::{UNCHECKED, database, migrated};

const LEASE: Duration = Duration::from_secs(120);
const NOTHING: [&str; 0] = [];

struct Experiment {
    store: Store,
    database: Database,
    _mongo: TestMongo,
}

impl Experiment {
    async fn open() -> Self {
        let mongo = TestMongo::create().await.unwrap();
        let (store, database) = (migrated(mongo.urls()).await, database(mongo.urls()).await);
        Self { store, database, _mongo: mongo }
    }

    async fn begin(&self) -> Tx {
        self.store.begin("test").await.unwrap()
    }

    /// One event in a transaction of its own, by a writer whose clock shows this many seconds.
    async fn write(&self, clock: u8, aggregate: &str, version: i64) {
        let mut tx = self.begin().await;
        append(&mut tx, clock, aggregate, version).await;
        tx.commit_now().await.unwrap();
    }

    fn outbox(&self) -> Collection<Document> {
        self.database.collection("outbox")
    }

    /// The sequencer, in steps of at most so many events.
    async fn ours(&self, limit: usize) -> Ours {
        let lease = self.store.lease(STREAM, Uuid::new_v4(), LEASE).await.unwrap().unwrap();
        Ours { store: self.store.clone(), lease, limit, mark: 0 }
    }
}

async fn append(tx: &mut Tx, clock: u8, aggregate: &str, version: i64) {
    let event = NewEvent {
        id: EventId::from_uuid(Uuid::from_u128((u128::from(clock) << 100) | u128::from(fastrand::u64(..)))),
        aggregate: Aggregate::new("user", aggregate),
        aggregate_version: version,
        event_type: "test.v1.Happened".to_owned(),
        schema_version: 1,
        payload: Bytes::new(),
        headers: Headers::default(),
        created_at: OffsetDateTime::UNIX_EPOCH,
    };
    crate::book::append(tx, &event).await.unwrap();
}

fn name(row: &Document) -> String {
    let aggregate = row.get_document("aggregate").unwrap();
    format!("{}{}", aggregate.get_str("id").unwrap(), aggregate.get_i64("version").unwrap())
}

/// The service's sequencer, and what it answers a replay from.
struct Ours {
    store: Store,
    lease: Lease,
    limit: usize,
    mark: i64,
}

impl Ours {
    /// What it delivers now, each event as its aggregate and version: `A1`.
    async fn poll(&mut self) -> Vec<String> {
        loop {
            match self.store.stamp(&self.lease, self.limit, LEASE).await.unwrap() {
                Stamp::Stamped(events) if events.is_empty() => break,
                Stamp::Stamped(events) => assert!(events.len() <= self.limit),
                Stamp::LeaseLost => panic!("the lease is lost"),
            }
        }
        let events = self.store.read_after(STREAM, self.mark, 100).await.unwrap();
        for event in &events {
            self.mark += 1;
            assert_eq!(event.position, self.mark, "positions are dense");
        }
        let name =
            |event: events::Event| format!("{}{}", event.new.aggregate.id, event.new.aggregate_version);
        events.into_iter().map(name).collect()
    }
}

/// The cursor over ids.
struct ById {
    outbox: Collection<Document>,
    cursor: Bson,
}

impl ById {
    async fn poll(&mut self) -> Vec<String> {
        let after = doc! { "_id": { "$gt": self.cursor.clone() } };
        let found = self.outbox.find(after).sort(doc! { "_id": 1 }).await.unwrap();
        let rows: Vec<Document> = found.try_collect().await.unwrap();
        if let Some(last) = rows.last() {
            self.cursor = last.get("_id").unwrap().clone();
        }
        rows.iter().map(name).collect()
    }
}

/// The first so many by id of what it has not delivered, those of an aggregate by version.
struct ByBatch {
    outbox: Collection<Document>,
    limit: i64,
    delivered: HashSet<bson::Uuid>,
}

impl ByBatch {
    async fn poll(&mut self) -> Vec<String> {
        let delivered: Vec<_> = self.delivered.iter().copied().collect();
        let others = doc! { "_id": { "$nin": delivered } };
        let found = self.outbox.find(others).sort(doc! { "_id": 1 }).limit(self.limit).await.unwrap();
        let mut rows: Vec<Document> = found.try_collect().await.unwrap();
        rows.sort_by_key(name);
        self.delivered.extend(
            rows.iter().map(|row| {
                bson::deserialize_from_bson::<bson::Uuid>(row.get("_id").unwrap().clone()).unwrap()
            }),
        );
        rows.iter().map(name).collect()
    }
}

fn by_id(experiment: &Experiment) -> ById {
    ById { outbox: experiment.outbox(), cursor: bson::Uuid::from(Uuid::nil()).into() }
}

/// E1 on MongoDB: a driver makes ids before the commit.
#[tokio::test]
async fn a_cursor_over_ids_loses_what_commits_late_and_the_sequencer_does_not() {
    let experiment = Experiment::open().await;
    let (mut naive, mut ours) = (by_id(&experiment), experiment.ours(100).await);
    let mut slow = experiment.begin().await;
    append(&mut slow, 1, "SLOW", 1).await;
    experiment.write(2, "FAST", 1).await;
    assert_eq!(naive.poll().await, ["FAST1"]);
    assert_eq!(ours.poll().await, ["FAST1"]);
    slow.commit_now().await.unwrap();
    experiment.write(3, "LATER", 1).await;
    assert_eq!(naive.poll().await, ["LATER1"], "the slow one is lost");
    assert_eq!(ours.poll().await, ["SLOW1", "LATER1"]);
}

/// Ids are not even an order of those who wait for nobody: each writer has a clock of its own.
#[tokio::test]
async fn a_cursor_over_ids_loses_what_a_clock_that_is_behind_wrote_and_the_sequencer_does_not() {
    let experiment = Experiment::open().await;
    let (mut naive, mut ours) = (by_id(&experiment), experiment.ours(100).await);
    experiment.write(60, "AHEAD", 1).await;
    assert_eq!(naive.poll().await, ["AHEAD1"]);
    assert_eq!(ours.poll().await, ["AHEAD1"]);
    experiment.write(1, "BEHIND", 1).await;
    assert_eq!(naive.poll().await, NOTHING, "it is lost");
    assert_eq!(ours.poll().await, ["BEHIND1"]);
}

/// E5 on MongoDB: the first version was written by a clock that is ahead.
#[tokio::test]
async fn an_order_by_ids_turns_an_aggregate_around_and_the_sequencers_does_not() {
    let experiment = Experiment::open().await;
    let (mut naive, mut ours) = (by_id(&experiment), experiment.ours(100).await);
    for (clock, version) in [(60, 1), (1, 2), (30, 3)] {
        experiment.write(clock, "A", version).await;
    }
    assert_eq!(naive.poll().await, ["A2", "A3", "A1"]);
    assert_eq!(ours.poll().await, ["A1", "A2", "A3"]);
}

/// Sorting a batch does not help when the lower version is outside of it.
#[tokio::test]
async fn a_version_outside_the_batch_turns_an_aggregate_around_and_the_sequencer_fetches_it() {
    for limit in 1..=3 {
        let experiment = Experiment::open().await;
        let mut naive = ByBatch { outbox: experiment.outbox(), limit: 2, delivered: HashSet::new() };
        for (clock, aggregate, version) in [(60, "A", 1), (1, "A", 2), (2, "B", 1), (3, "B", 2)] {
            experiment.write(clock, aggregate, version).await;
        }
        let batches = [naive.poll().await, naive.poll().await].concat();
        assert_eq!(batches, ["A2", "B1", "A1", "B2"], "the second version is out before the first");
        let ours = experiment.ours(limit).await.poll().await;
        let position = |event: &str| ours.iter().position(|name| name == event).unwrap();
        assert_eq!(ours.len(), 4);
        assert!(position("A1") < position("A2") && position("B1") < position("B2"), "{limit}: {ours:?}");
    }
}

/// A number that the business transaction draws is a document that all of them write.
#[tokio::test]
async fn a_counter_in_the_transaction_makes_writers_conflict_and_appending_events_does_not() {
    let experiment = Experiment::open().await;
    let counter = doc! { "_id": "counter", "next": 1_i64 };
    experiment.database.collection::<Document>(UNCHECKED).insert_one(counter).await.unwrap();
    let (mut one, mut two) = (experiment.begin().await, experiment.begin().await);
    let draw = async |tx: &mut Tx| {
        let counters =
            tx.session().client().database(experiment.database.name()).collection::<Document>(UNCHECKED);
        let next = counters.update_one(doc! { "_id": "counter" }, doc! { "$inc": { "next": 1_i64 } });
        next.session(tx.session()).into_future().await
    };
    draw(&mut one).await.unwrap();
    let conflict = draw(&mut two).await.unwrap_err();
    assert!(conflict.contains_label(TRANSIENT_TRANSACTION_ERROR), "{conflict}");
    one.rollback().await;
    two.rollback().await;

    let (mut one, mut two) = (experiment.begin().await, experiment.begin().await);
    append(&mut one, 1, "A", 1).await;
    append(&mut two, 2, "B", 1).await;
    two.commit_now().await.unwrap();
    one.commit_now().await.unwrap();
    assert_eq!(experiment.ours(100).await.poll().await, ["A1", "B1"]);
}
