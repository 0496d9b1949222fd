//! The book of a fresh database, looked at from outside: what the tests of wallets and transfers share.

use bson::{Document, doc};
use events::participant::{self, Applied};
use events::{Direction, HoldSpec, NewEvent, ParticipantTx as _, Step, StoreError};
use futures_util::TryStreamExt as _;
use mongodb::Database;
use testkit::{MongoUrls, TestMongo};
use time::OffsetDateTime;
use time::macros::datetime;
use types::{Clock as _, Currency, Money, OrderId, SystemClock, TransferId, UserId};
use user_service::storage::{Participant, Store, Tx};
use uuid::Uuid;

use crate::harness::{database, migrated};

/// Commits what steps came to.
pub(crate) async fn commit_steps(mut steps: Participant<Tx>) -> Result<(), StoreError> {
    steps.write()?;
    Ok(steps.into_tx().commit_now().await?)
}

/// A migrated database of its own.
pub(crate) struct Book {
    pub(crate) store: Store,
    pub(crate) database: Database,
    _mongo: Option<TestMongo>,
}

/// Two numbers of a wallet, and the three that they come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Numbers {
    pub(crate) balance: i64,
    pub(crate) held: i64,
    pub(crate) incoming: i64,
}

impl Book {
    pub(crate) async fn open() -> Self {
        let mongo = TestMongo::create().await.unwrap();
        let book = Self::open_on(mongo.urls()).await;
        Self { _mongo: Some(mongo), ..book }
    }

    /// On a database that the caller keeps.
    pub(crate) async fn open_on(urls: &MongoUrls) -> Self {
        let (store, database) = (migrated(urls).await, database(urls).await);
        Self { store, database, _mongo: None }
    }

    pub(crate) async fn begin(&self) -> Tx {
        self.store.begin("test").await.unwrap()
    }

    /// Begins a transaction for steps of transfers.
    pub(crate) async fn begin_steps(&self) -> Participant<Tx> {
        Participant::new(self.begin().await, SystemClock.now())
    }

    /// Somebody who signed up. `state` is `active` or `deactivated`.
    pub(crate) async fn user(&self, state: &str) -> UserId {
        let id = UserId::from_uuid(Uuid::now_v7());
        let now = bson::DateTime::now();
        let row = doc! {
            "_id": bson::Uuid::from(id.uuid()),
            "email": format!("{id}@example.com"),
            "email_key": format!("{id}@example.com"),
            "display_name": "Ann",
            "role": "customer",
            "state": state,
            "auth_epoch": 1_i64,
            "post_count": 0_i64,
            "version": 1_i64,
            "event_version": 1_i64,
            "create_time": now,
            "update_time": now,
        };
        self.database.collection::<Document>("user").insert_one(row).await.unwrap();
        id
    }

    pub(crate) async fn deactivate(&self, user: UserId) {
        let update = doc! { "$set": { "state": "deactivated" } };
        let id = doc! { "_id": bson::Uuid::from(user.uuid()) };
        self.database.collection::<Document>("user").update_one(id, update).await.unwrap();
    }

    /// A user whose wallet has this much, by way of refunds: entries that balance.
    pub(crate) async fn rich(&self, minor_units: i64) -> UserId {
        let user = self.user("active").await;
        self.fund(user, minor_units).await;
        user
    }

    pub(crate) async fn fund(&self, user: UserId, minor_units: i64) {
        if minor_units > 0 {
            let spec = spec(user, Direction::Credit, minor_units);
            self.apply(&Step::Reserve(spec.clone())).await.unwrap();
            self.apply(&Step::Confirm(spec.transfer_id)).await.unwrap();
        }
    }

    /// One step in a transaction of its own, tried again while others are in the way.
    pub(crate) async fn apply(&self, step: &Step) -> Result<Applied, StoreError> {
        loop {
            let mut steps = self.begin_steps().await;
            let outcome = match participant::apply(&mut steps, step).await {
                Ok(applied) => commit_steps(steps).await.map(|()| applied),
                Err(error) => {
                    steps.into_tx().rollback().await;
                    Err(error)
                }
            };
            match outcome {
                Err(StoreError::Transient(_)) => tokio::task::yield_now().await,
                outcome => return outcome,
            }
        }
    }

    pub(crate) async fn numbers(&self, user: UserId) -> Numbers {
        let id = doc! { "_id": { "owner": bson::Uuid::from(user.uuid()), "currency": "EUR" } };
        let row = self.database.collection::<Document>("wallet").find_one(id).await.unwrap();
        row.map_or_else(Numbers::default, |row| {
            let number = |field| row.get_i64(field).unwrap();
            assert_eq!(number("available"), number("balance") - number("held"));
            assert_eq!(number("reach"), number("balance") + number("incoming"));
            Numbers { balance: number("balance"), held: number("held"), incoming: number("incoming") }
        })
    }

    pub(crate) async fn hold(&self, transfer_id: TransferId) -> Option<events::Hold> {
        let mut steps = self.begin_steps().await;
        let hold = steps.hold_fetch(transfer_id).await.unwrap();
        steps.into_tx().rollback().await;
        hold
    }

    pub(crate) async fn rows(&self, collection: &str) -> Vec<Document> {
        let rows = self.database.collection::<Document>(collection).find(doc! {}).await.unwrap();
        rows.try_collect().await.unwrap()
    }

    /// All debits less all credits of the whole book.
    pub(crate) async fn imbalance(&self) -> i64 {
        let entries = self.rows("entry").await;
        let signed = |entry: &Document| {
            let amount = entry.get_i64("amount").unwrap();
            let side = entry.get_document("_id").unwrap().get_str("side").unwrap();
            if side == "DEBIT" { amount } else { -amount }
        };
        entries.iter().map(signed).sum()
    }

    /// Whether every wallet's balance is the sum of its entries, and all invariants of the book hold.
    pub(crate) async fn assert_sound(&self) {
        assert_eq!(self.imbalance().await, 0, "debits and credits differ");
        let entries = self.rows("entry").await;
        for wallet in self.rows("wallet").await {
            let id = wallet.get_document("_id").unwrap();
            let mine = |entry: &&Document| {
                entry.get("owner") == id.get("owner") && entry.get("currency") == id.get("currency")
            };
            let signed = |entry: &Document| {
                let amount = entry.get_i64("amount").unwrap();
                let side = entry.get_document("_id").unwrap().get_str("side").unwrap();
                if side == "CREDIT" { amount } else { -amount }
            };
            let sum: i64 = entries.iter().filter(mine).map(signed).sum();
            let number = |field| wallet.get_i64(field).unwrap();
            assert_eq!(sum, number("balance"), "{wallet}");
            assert!(0 <= number("held") && number("held") <= number("balance"), "{wallet}");
            assert!(0 <= number("incoming"), "{wallet}");
        }
    }
}

pub(crate) fn eur() -> Currency {
    "EUR".parse().unwrap()
}

/// Appends an event and sends it, so that it lies in a transaction that is not committed. A read goes before it, as in
/// the service: the stand-in for MongoDB takes no bulk write as the first statement of a transaction.
pub(crate) async fn append(tx: &mut Tx, event: &NewEvent) -> Result<(), StoreError> {
    let mut steps = Participant::new(&mut *tx, SystemClock.now());
    steps.hold_fetch(TransferId::from_uuid(Uuid::nil())).await?;
    tx.event_append(event)?;
    Ok(tx.flush().await?)
}

/// A new transfer. Its time is more exact than what the database keeps.
pub(crate) fn spec(owner: UserId, direction: Direction, minor_units: i64) -> HoldSpec {
    HoldSpec {
        transfer_id: TransferId::from_uuid(Uuid::now_v7()),
        owner,
        direction,
        amount: Money::new(eur(), minor_units),
        expires_at: EXPIRES,
        order_id: OrderId::from_uuid(Uuid::now_v7()),
    }
}

const EXPIRES: OffsetDateTime = datetime!(2030-01-02 03:04:05.123_456_789 UTC);
