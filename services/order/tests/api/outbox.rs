//! What only PostgreSQL can do wrong with an outbox: interleavings in which a cursor over ids or transaction ids
//! loses events, waits for strangers, or turns the order of one aggregate around.

use std::sync::Arc;
use std::time::{Duration, Instant};

use events::{Aggregate, Event, Headers, Lease, NewEvent, OutboxStore as _, Stamp};
use order_service::config::PostgresConfig;
use order_service::schema::{MIGRATION_LOCK, migrate};
use order_service::storage::{Signals, Store, Tx, Use};
use sqlx::{Connection as _, PgConnection};
use testkit::wait_until;
use time::OffsetDateTime;
use types::EventId;
use uuid::Uuid;

use testkit::TestPostgres;

use crate::harness::{WITHIN, database};

const LEASE: Duration = Duration::from_secs(30);

struct Outbox {
    database: TestPostgres,
    store: Store,
    lease: Lease,
}

impl Outbox {
    async fn open() -> Self {
        let database = database().await;
        let config = PostgresConfig::for_tests(database.url());
        let store = Store::open(&config, Use::Workers, Arc::<Signals>::default()).unwrap();
        let lease = store.lease("order", Uuid::new_v4(), LEASE).await.unwrap().unwrap();
        Self { database, store, lease }
    }

    async fn sql(&self) -> PgConnection {
        PgConnection::connect(self.database.url()).await.unwrap()
    }

    /// Aggregates and versions of what one step of the sequencer stamps.
    async fn stamp(&self) -> Vec<(i64, String, i64)> {
        let Stamp::Stamped(events) = self.store.stamp(&self.lease, 100, LEASE).await.unwrap() else {
            panic!("the lease is lost")
        };
        let row = |event: Event| (event.position, event.new.aggregate.id, event.new.aggregate_version);
        events.into_iter().map(row).collect()
    }
}

async fn append(tx: &mut Tx, aggregate: &str, version: i64) {
    let payload = api::order::v1::TransferCompleted::default();
    let event = NewEvent::new(
        EventId::from_uuid(Uuid::now_v7()),
        Aggregate::new("order", aggregate),
        version,
        &payload,
        Headers::default(),
        OffsetDateTime::UNIX_EPOCH,
    );
    tx.event_append(&event).await.unwrap();
}

fn row(position: i64, aggregate: &str, version: i64) -> (i64, String, i64) {
    (position, aggregate.to_owned(), version)
}

#[tokio::test]
async fn an_event_that_commits_after_a_later_id_is_not_lost() {
    let outbox = Outbox::open().await;
    let (mut slow, mut fast) = (outbox.store.begin().await.unwrap(), outbox.store.begin().await.unwrap());
    append(&mut slow, "slow", 1).await;
    append(&mut fast, "fast", 1).await;
    fast.commit().await.unwrap();
    assert_eq!(outbox.stamp().await, [row(1, "fast", 1)]);
    slow.commit().await.unwrap();
    assert_eq!(outbox.stamp().await, [row(2, "slow", 1)]);
}

#[tokio::test]
async fn an_older_transaction_that_writes_later_keeps_its_aggregates_order() {
    let outbox = Outbox::open().await;
    let mut sql = outbox.sql().await;
    let seed = "INSERT INTO customers (user_id, state, role, version) VALUES (gen_random_uuid(), 'active', 'customer', 1)";
    sqlx::query(seed).execute(&mut sql).await.unwrap();
    let (mut old, mut new) = (outbox.store.begin().await.unwrap(), outbox.store.begin().await.unwrap());
    // The older one has its transaction id before the other begins to write, and appends after it.
    old.execute(sqlx::query("SELECT pg_current_xact_id()")).await.unwrap();
    new.execute(sqlx::query("UPDATE customers SET version = 2")).await.unwrap();
    append(&mut new, "a", 1).await;
    new.commit().await.unwrap();
    old.execute(sqlx::query("UPDATE customers SET version = 3")).await.unwrap();
    append(&mut old, "a", 2).await;
    old.commit().await.unwrap();
    assert_eq!(outbox.stamp().await, [row(1, "a", 1), row(2, "a", 2)]);
}

#[tokio::test]
async fn a_rollback_leaves_no_hole_and_a_stranger_in_another_database_holds_nothing_back() {
    let outbox = Outbox::open().await;
    let elsewhere = outbox.database.url().replace(outbox.database.name(), "postgres");
    let mut stranger = PgConnection::connect(&elsewhere).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT pg_current_xact_id()").execute(&mut stranger).await.unwrap();
    for (version, commits) in [(1, true), (2, false), (2, true)] {
        let mut tx = outbox.store.begin().await.unwrap();
        append(&mut tx, "a", version).await;
        if commits {
            tx.commit().await.unwrap();
        } else {
            tx.rollback().await;
        }
    }
    assert_eq!(outbox.stamp().await, [row(1, "a", 1), row(2, "a", 2)]);
    let ids: Vec<i64> = sqlx::query_scalar("SELECT id FROM outbox ORDER BY id")
        .fetch_all(&mut outbox.sql().await)
        .await
        .unwrap();
    assert_eq!(ids, [1, 3], "the rolled back one took an id");
    sqlx::raw_sql("ROLLBACK").execute(&mut stranger).await.unwrap();
}

#[tokio::test]
async fn ids_are_not_drawn_in_advance() {
    let outbox = Outbox::open().await;
    let query =
        "SELECT seqcache FROM pg_sequence WHERE seqrelid = pg_get_serial_sequence('outbox', 'id')::regclass";
    let cache: i64 = sqlx::query_scalar(query).fetch_one(&mut outbox.sql().await).await.unwrap();
    assert_eq!(cache, 1, "with a larger cache a later commit of one aggregate may have a lower id");
}

#[tokio::test]
async fn a_worker_that_pauses_in_a_transaction_holds_no_row_past_its_lease() {
    let outbox = Outbox::open().await;
    let mut paused = outbox.store.begin().await.unwrap();
    paused.execute(sqlx::query("SELECT FROM outbox_lease FOR UPDATE")).await.unwrap();
    let since = Instant::now();
    let mut sql = outbox.sql().await;
    wait_until(WITHIN, "the lease's row to be free", async || {
        sqlx::query("SELECT stream FROM outbox_lease FOR UPDATE NOWAIT").fetch_one(&mut sql).await.map(drop)
    })
    .await
    .unwrap();
    let held = since.elapsed();
    assert!(held < Duration::from_secs(4), "held for {held:?}");
    assert!(paused.commit().await.is_err(), "what it wrote is gone, and it hears so");
}

#[tokio::test]
async fn an_idle_sequencer_writes_nothing() {
    let outbox = Outbox::open().await;
    let mut sql = outbox.sql().await;
    // A row that is locked or written gets another xmax or xmin.
    let touched = "SELECT xmin::text || ' ' || xmax::text FROM outbox_lease";
    let before: String = sqlx::query_scalar(touched).fetch_one(&mut sql).await.unwrap();
    for _ in 0..20 {
        assert!(outbox.stamp().await.is_empty());
    }
    let after: String = sqlx::query_scalar(touched).fetch_one(&mut sql).await.unwrap();
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_migration_that_waits_does_not_lock_out_an_index_that_is_made_concurrently() {
    let database = database().await;
    let (mut first, mut other) = (
        PgConnection::connect(database.url()).await.unwrap(),
        PgConnection::connect(database.url()).await.unwrap(),
    );
    // Another migration runs, and makes an index the way that waits for every session in a statement.
    sqlx::query("SELECT pg_advisory_lock($1)").bind(MIGRATION_LOCK).execute(&mut first).await.unwrap();
    let config = PostgresConfig::for_tests(database.url());
    let waiting = migrate(&config);
    let index = async {
        wait_until(WITHIN, "the second migration to ask for the lock", async || {
            let query = "SELECT count(*) FROM pg_stat_activity
                         WHERE datname = current_database() AND application_name = 'order-service-migrate'";
            match sqlx::query_scalar::<_, i64>(query).fetch_one(&mut other).await {
                Ok(1) => Ok(()),
                seen => Err(format!("{seen:?}")),
            }
        })
        .await
        .unwrap();
        let made = "CREATE INDEX CONCURRENTLY later ON customers (role)";
        sqlx::query(made).execute(&mut first).await.unwrap();
        sqlx::query("SELECT pg_advisory_unlock($1)").bind(MIGRATION_LOCK).execute(&mut first).await.unwrap();
    };
    let (applied, ()) = tokio::join!(waiting, index);
    assert_eq!(applied.unwrap(), 0);
}
