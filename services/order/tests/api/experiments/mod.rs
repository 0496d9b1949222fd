//! The experiments of the outbox's design: interleavings in which the readers that others ship lose events, wait
//! for strangers, or turn the order of one aggregate around. Each runs once, with a naive reader and with the
//! sequencer on the same rows, so that a rule which protects nobody would show.

mod clusters;
mod commits;
mod migrations;
mod orders;
mod readers;

use std::sync::Arc;
use std::time::Duration;

use events::{Aggregate, Headers, NewEvent, OutboxStore as _};
use order_service::config::PostgresConfig;
use order_service::storage::{Signals, Store, Tx, Use};
use sqlx::{Connection as _, PgConnection};
use testkit::TestPostgres;
use time::OffsetDateTime;
use types::EventId;
use uuid::Uuid;

use crate::harness::database;

use self::readers::{Naive, Ours, Rule};

/// What a reader that goes by transaction ids delivers waits for every writer of the cluster, and other tests write.
const WITHIN: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_secs(120);
/// What readers deliver last: whatever they did not deliver before it is lost.
const END: &str = "END";

/// A database with the shipped schema, whose outbox keeps the writing transaction's id for those who go by it.
struct Experiment {
    database: TestPostgres,
    store: Store,
}

impl Experiment {
    async fn open() -> Self {
        let database = database().await;
        let config = PostgresConfig::for_tests(database.url());
        let store = Store::open(&config, Use::Calls, Arc::<Signals>::default()).unwrap();
        let experiment = Self { database, store };
        experiment.run("ALTER TABLE outbox ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id()").await;
        experiment
    }

    /// A connection of the test's own.
    async fn sql(&self) -> PgConnection {
        PgConnection::connect(self.database.url()).await.unwrap()
    }

    async fn run(&self, statements: &'static str) {
        sqlx::raw_sql(statements).execute(&mut self.sql().await).await.unwrap();
    }

    async fn numbers(&self, query: &'static str) -> Vec<i64> {
        sqlx::query_scalar(query).fetch_all(&mut self.sql().await).await.unwrap()
    }

    /// A transaction of the service's, which may stay open for as long as readers wait for it.
    async fn begin(&self) -> Tx {
        let mut tx = self.store.begin().await.unwrap();
        tx.execute(sqlx::query("SET LOCAL idle_in_transaction_session_timeout = 0")).await.unwrap();
        tx
    }

    /// One event in a transaction of its own.
    async fn write(&self, aggregate: &str, version: i64) {
        let mut tx = self.begin().await;
        append(&mut tx, aggregate, version).await;
        tx.commit_now().await.unwrap();
    }

    /// The last event: [`readers::until_end`] waits for it.
    async fn end(&self) {
        self.write(END, 1).await;
    }

    async fn naive(&self, rule: Rule) -> Naive {
        Naive::new(self.sql().await, rule)
    }

    async fn ours(&self) -> Ours {
        let lease = self.store.lease("order", Uuid::new_v4(), LEASE).await.unwrap().unwrap();
        Ours::new(self.store.clone(), lease)
    }

    /// A transaction in another database of the cluster that began with these statements.
    async fn stranger(&self, statements: &'static str) -> PgConnection {
        let elsewhere = self.database.url().replace(self.database.name(), "postgres");
        let mut stranger = PgConnection::connect(&elsewhere).await.unwrap();
        sqlx::raw_sql(statements).execute(&mut stranger).await.unwrap();
        stranger
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

/// Gives the transaction an id now, as a write elsewhere would.
async fn take_xid(tx: &mut Tx) {
    tx.execute(sqlx::query("SELECT pg_current_xact_id()")).await.unwrap();
}
