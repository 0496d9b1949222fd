//! The backbone's conformance suites on this service's store.

use std::sync::Arc;

use events::conformance::consumer::ConsumerHarness;
use events::conformance::outbox::OutboxHarness;
use events::{Aggregate, ConsumerId, ConsumerStore, NewEvent, Position, Skip, StoreError};
use order_service::config::PostgresConfig;
use order_service::storage::{Signals, Store, Tx, Use};
use sqlx::{Connection as _, PgConnection};

use testkit::TestPostgres;
use types::EventId;
use uuid::Uuid;

use crate::harness::{behind_pooler, database};

pub(crate) struct Harness {
    database: TestPostgres,
    store: Store,
}

impl Harness {
    pub(crate) async fn start() -> Self {
        let database = database().await;
        let config = PostgresConfig::for_tests(database.url());
        Self::with(database, &config).await
    }

    pub(crate) async fn start_behind_pooler() -> Self {
        let database = database().await;
        let config = behind_pooler(&database).await;
        Self::with(database, &config).await
    }

    async fn with(database: TestPostgres, config: &PostgresConfig) -> Self {
        let store = Store::open(config, Use::Workers, Arc::<Signals>::default()).unwrap();
        let harness = Self { database, store };
        // The suite registers its own consumers, and counts in a table of its own.
        harness
            .run("DELETE FROM outbox_consumer; CREATE TABLE counter (aggregate text PRIMARY KEY, count bigint)")
            .await;
        harness
    }

    async fn run(&self, statements: &'static str) {
        let mut sql = PgConnection::connect(self.database.url()).await.unwrap();
        sqlx::raw_sql(statements).execute(&mut sql).await.unwrap();
    }
}

impl OutboxHarness for Harness {
    type Store = Store;
    type Tx = Tx;

    fn store(&self) -> Store {
        self.store.clone()
    }

    fn stream(&self) -> String {
        "order".to_owned()
    }

    async fn begin(&self) -> Tx {
        self.store.begin().await.unwrap()
    }

    async fn append(&self, tx: &mut Tx, event: NewEvent) -> Result<(), StoreError> {
        Ok(tx.event_append(&event).await?)
    }

    async fn commit(&self, tx: Tx) -> Result<(), StoreError> {
        Ok(tx.commit_now().await?)
    }

    async fn rollback(&self, tx: Tx) {
        tx.rollback().await;
    }

    async fn register(&self, consumer: &str) {
        let mut sql = PgConnection::connect(self.database.url()).await.unwrap();
        sqlx::query("INSERT INTO outbox_consumer (stream, consumer) VALUES ('order', $1)")
            .bind(consumer)
            .execute(&mut sql)
            .await
            .unwrap();
    }

    async fn move_to_another_server(&self) {
        self.run("UPDATE outbox_lease SET system_identifier = '1'").await;
    }
}

impl ConsumerHarness for Harness {
    type Store = Store;

    fn store(&self) -> Store {
        self.store.clone()
    }

    fn consumer(&self) -> ConsumerId {
        ConsumerId { name: "order.customers", stream: "user" }
    }

    async fn count_up(
        &self,
        tx: &mut <Store as ConsumerStore>::Tx,
        aggregate: &Aggregate,
    ) -> Result<(), StoreError> {
        let query = sqlx::query(
            "INSERT INTO counter AS known VALUES ($1, 1) ON CONFLICT (aggregate) DO UPDATE SET count = known.count + 1",
        )
        .bind(format!("{} {}", aggregate.kind, aggregate.id));
        tx.execute(query).await?;
        Ok(())
    }

    async fn count(&self, aggregate: &Aggregate) -> i64 {
        let mut sql = PgConnection::connect(self.database.url()).await.unwrap();
        let count: Option<i64> = sqlx::query_scalar("SELECT count FROM counter WHERE aggregate = $1")
            .bind(format!("{} {}", aggregate.kind, aggregate.id))
            .fetch_optional(&mut sql)
            .await
            .unwrap();
        count.unwrap_or_default()
    }

    async fn skips(&self) -> Vec<(Position, Skip)> {
        let mut sql = PgConnection::connect(self.database.url()).await.unwrap();
        let query = "SELECT position, event_id, request_id, caller, justification FROM parked_skip
                     WHERE consumer = 'order.customers' AND skipped_at <= now()";
        let rows: Vec<(i64, Uuid, Uuid, String, String)> =
            sqlx::query_as(query).fetch_all(&mut sql).await.unwrap();
        let skip = |(position, event_id, request_id, caller, justification)| {
            (position, Skip { event_id: EventId::from_uuid(event_id), request_id, caller, justification })
        };
        rows.into_iter().map(skip).collect()
    }
}

mod outbox {
    events::outbox_suite!(super::Harness::start);
}

mod consumer {
    events::consumer_suite!(super::Harness::start);
}

mod outbox_behind_pooler {
    events::outbox_suite!(super::Harness::start_behind_pooler);
}

mod consumer_behind_pooler {
    events::consumer_suite!(super::Harness::start_behind_pooler);
}
