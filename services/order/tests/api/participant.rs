//! The participant's conformance suite on merchants' accounts.

use std::sync::Arc;

use events::conformance::participant::{Balance, ParticipantHarness};
use events::participant::{self, Step};
use events::{Direction, Hold, HoldSpec, Outcome, StoreError};
use order_service::config::PostgresConfig;
use order_service::storage::{Signals, Store, Tx, Use};
use sqlx::{Connection as _, PgConnection};
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;
use types::{Money, TransferId, UserId};
use uuid::Uuid;

use crate::harness::database;

pub(crate) struct Harness {
    _database: testkit::TestPostgres,
    store: Store,
    sql: Mutex<PgConnection>,
}

impl Harness {
    pub(crate) async fn start() -> Self {
        let database = database().await;
        let config = PostgresConfig::for_tests(database.url());
        let store = Store::open(&config, Use::Workers, Arc::<Signals>::default()).unwrap();
        let sql = Mutex::new(PgConnection::connect(database.url()).await.unwrap());
        Self { _database: database, store, sql }
    }
}

fn spec(owner: UserId, direction: Direction, amount: Money) -> HoldSpec {
    // PostgreSQL keeps microseconds: what is compared must survive that.
    let expires_at = OffsetDateTime::from_unix_timestamp(1_900_000_000).unwrap() + Duration::microseconds(7);
    let (transfer_id, order_id) = (Uuid::now_v7().into(), Uuid::now_v7().into());
    HoldSpec { transfer_id, owner, direction, amount, expires_at, order_id }
}

impl ParticipantHarness for Harness {
    type Tx = Tx;

    async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(self.store.begin().await?)
    }

    async fn commit(&self, tx: Tx) -> Result<(), StoreError> {
        Ok(tx.commit().await?)
    }

    async fn rollback(&self, tx: Tx) {
        tx.rollback().await;
    }

    async fn open(&self, funds: Money) -> UserId {
        let owner = UserId::from_uuid(Uuid::now_v7());
        let spec = spec(owner, Direction::Credit, funds);
        let transfer_id = spec.transfer_id;
        let mut tx = self.store.begin().await.unwrap();
        let reserved = participant::apply(&mut tx, &Step::Reserve(spec)).await.unwrap();
        let posted = participant::apply(&mut tx, &Step::Confirm(transfer_id)).await.unwrap();
        assert_eq!((reserved.outcome, posted.outcome), (Outcome::Reserved, Outcome::Posted));
        tx.commit().await.unwrap();
        owner
    }

    async fn transfer(&self, owner: UserId, direction: Direction, amount: Money) -> HoldSpec {
        spec(owner, direction, amount)
    }

    async fn balance(&self, owner: UserId) -> Balance {
        let query = "SELECT coalesce(sum(balance), 0)::bigint, coalesce(sum(balance - held), 0)::bigint
                     FROM accounts WHERE owner_id = $1";
        let (ledger, available) =
            sqlx::query_as(query).bind(owner.uuid()).fetch_one(&mut *self.sql.lock().await).await.unwrap();
        Balance { ledger, available }
    }

    async fn hold(&self, transfer_id: TransferId) -> Option<Hold> {
        self.store.hold_fetch(transfer_id).await.unwrap()
    }

    async fn book_imbalance(&self) -> i64 {
        let query = "SELECT coalesce(sum(debit) - sum(credit), 0)::bigint FROM entries";
        sqlx::query_scalar(query).fetch_one(&mut *self.sql.lock().await).await.unwrap()
    }
}

events::participant_suite!(Harness::start);
