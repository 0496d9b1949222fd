//! The sequencer's manners on PostgreSQL: what it holds, and what it leaves alone. How it reads is in
//! `experiments`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use events::{Lease, OutboxStore as _};
use order_service::config::PostgresConfig;
use order_service::storage::{Signals, Store, Use};
use sqlx::{Connection as _, PgConnection};
use testkit::{TestPostgres, wait_until};
use uuid::Uuid;

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
    assert!(paused.commit_now().await.is_err(), "what it wrote is gone, and it hears so");
}

#[tokio::test]
async fn a_look_for_something_to_stamp_writes_nothing() {
    let outbox = Outbox::open().await;
    let mut sql = outbox.sql().await;
    // A row that is locked or written gets another xmax or xmin.
    let touched = "SELECT xmin::text || ' ' || xmax::text FROM outbox_lease";
    let before: String = sqlx::query_scalar(touched).fetch_one(&mut sql).await.unwrap();
    for _ in 0..20 {
        assert!(outbox.store.is_idle(&outbox.lease, LEASE).await.unwrap());
    }
    let after: String = sqlx::query_scalar(touched).fetch_one(&mut sql).await.unwrap();
    assert_eq!(before, after);
}
