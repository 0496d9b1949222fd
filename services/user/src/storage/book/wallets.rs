//! Wallets. A change is decided on what the transaction read, and written on the condition that this is still what
//! is there. Two sums are kept beside the numbers they come from (`available`, `reach`), because MongoDB has no
//! generated columns and the collection's validator bounds them: the rules of the domain, held once more.

use std::collections::BTreeMap;

use bookkeeping::GENESIS;
use bson::{Binary, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::Namespace;
use mongodb::options::UpdateOneModel;
use serde::{Deserialize, Serialize};
use time::Date;
use types::{Currency, UserId};

use crate::domain::limits::{Limits, Spent};
use crate::domain::wallet::{Wallet, WalletKey};
use crate::error::{Error, Result};
use crate::storage::driver::{classify, is_duplicate_key};
use crate::storage::hashes::{binary, hash};
use crate::storage::requests::Outcome;
use crate::storage::writes::conflict;
use crate::storage::{SERVER_TIME, Store, Tx, bounded, from_time, to_time};

pub(super) const WALLETS: &str = "wallet";
/// A document for each user who has a wallet, which says nothing: whoever makes a wallet writes it, and whoever has to
/// know of all wallets of a user, so that one of the two meets a conflict.
const OWNERS: &str = "wallet_owner";

/// The order of these fields is part of the key: `_id`s are compared as they are written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct KeyRow {
    pub(super) owner: bson::Uuid,
    pub(super) currency: String,
}

/// What a release before the limits does not write is left out where it says nothing.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WalletRow {
    #[serde(rename = "_id")]
    id: KeyRow,
    balance: i64,
    held: i64,
    incoming: i64,
    sequence: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head: Option<Binary>,
    event_version: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    updated_at: Option<bson::DateTime>,
    #[serde(default)]
    frozen: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payment_limit: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    day_limit: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spent: Option<SpentRow>,
}

/// The sum of a day, which is named by its first moment.
#[derive(Debug, Serialize, Deserialize)]
struct SpentRow {
    day: bson::DateTime,
    amount: i64,
}

#[derive(Debug, Deserialize)]
struct IdRow {
    #[serde(rename = "_id")]
    id: KeyRow,
}

impl From<WalletKey> for KeyRow {
    fn from(key: WalletKey) -> Self {
        Self { owner: key.owner.uuid().into(), currency: key.currency.code().to_owned() }
    }
}

impl TryFrom<WalletRow> for Wallet {
    type Error = Error;

    fn try_from(row: WalletRow) -> Result<Self> {
        Ok(Self {
            key: WalletKey {
                owner: UserId::from_uuid(row.id.owner.into()),
                currency: currency(&row.id.currency)?,
            },
            balance: row.balance,
            held: row.held,
            incoming: row.incoming,
            sequence: row.sequence,
            head: row.head.map_or(Ok(GENESIS), |head| hash(&head))?,
            event_version: row.event_version,
            updated_at: row.updated_at.map(to_time),
            is_frozen: row.frozen,
            limits: Limits { payment: row.payment_limit, day: row.day_limit },
            spent: row.spent.map(|spent| Spent { day: to_day(spent.day), amount: spent.amount }),
            is_stored: true,
        })
    }
}

impl From<&Wallet> for WalletRow {
    fn from(wallet: &Wallet) -> Self {
        Self {
            id: wallet.key.into(),
            balance: wallet.balance,
            held: wallet.held,
            incoming: wallet.incoming,
            sequence: wallet.sequence,
            head: wallet.updated_at.map(|_| binary(&wallet.head)),
            event_version: wallet.event_version,
            updated_at: wallet.updated_at.map(from_time),
            frozen: wallet.is_frozen,
            payment_limit: wallet.limits.payment,
            day_limit: wallet.limits.day,
            spent: wallet.spent.map(|spent| SpentRow { day: from_day(spent.day), amount: spent.amount }),
        }
    }
}

/// A wallet as a call was answered with one.
impl Outcome for Wallet {
    const KIND: &'static str = "wallet";
    type Row = WalletRow;

    fn to_row(&self) -> WalletRow {
        self.into()
    }

    fn from_row(row: WalletRow) -> Result<Self> {
        row.try_into()
    }
}

/// The `_id` of a wallet.
pub(super) fn wallet_id(key: WalletKey) -> Document {
    doc! { "owner": bson::Uuid::from(key.owner.uuid()), "currency": key.currency.code() }
}

/// The range of the `_id`s of a user's wallets: capital letters are between the two.
pub(super) fn ids_of(owner: UserId) -> Document {
    let owner = bson::Uuid::from(owner.uuid());
    doc! { "$gte": { "owner": owner, "currency": "A" }, "$lt": { "owner": owner, "currency": "a" } }
}

/// A day as the database has it: its first moment.
pub(super) fn from_day(day: Date) -> bson::DateTime {
    from_time(day.midnight().assume_utc())
}

/// A day that this service wrote.
pub(super) fn to_day(day: bson::DateTime) -> Date {
    to_time(day).date()
}

/// A currency that this service wrote.
pub(super) fn currency(code: &str) -> Result<Currency> {
    code.parse().map_err(|_| Error::internal(format!("{code:?} in the book is no currency")))
}

/// Writes a wallet over the one that it was made of, as long as that one is what is there. One that is not there is made.
pub(super) fn wallet_write(namespace: Namespace, before: &Wallet, after: &Wallet) -> UpdateOneModel {
    let filter = doc! {
        "_id": wallet_id(before.key),
        "balance": before.balance,
        "held": before.held,
        "incoming": before.incoming,
        "sequence": before.sequence,
        "event_version": before.event_version,
    };
    let mut set = doc! {
        "balance": after.balance,
        "held": after.held,
        "incoming": after.incoming,
        "available": after.available(),
        "reach": after.reach(),
        "sequence": after.sequence,
        "event_version": after.event_version,
    };
    if let Some(time) = after.updated_at {
        set.insert("head", binary(&after.head));
        set.insert("updated_at", from_time(time));
    }
    if let Some(spent) = after.spent {
        set.insert("spent", doc! { "day": from_day(spent.day), "amount": spent.amount });
    }
    if before.is_frozen != after.is_frozen {
        set.insert("frozen", after.is_frozen);
    }
    let mut unset = doc! {};
    if before.limits != after.limits {
        for (field, limit) in [("payment_limit", after.limits.payment), ("day_limit", after.limits.day)] {
            match limit {
                Some(limit) => set.insert(field, limit),
                None => unset.insert(field, ""),
            };
        }
    }
    let mut update = doc! { "$set": set, "$setOnInsert": { "locks": 0_i64 } };
    if !unset.is_empty() {
        update.insert("$unset", unset);
    }
    UpdateOneModel::builder()
        .namespace(namespace)
        .filter(filter)
        .update(update)
        .upsert(!before.is_stored)
        .build()
}

impl Store {
    /// A wallet; `None` when nothing ever touched it.
    pub(crate) async fn wallet_fetch(&self, key: WalletKey) -> Result<Option<Wallet>> {
        let wallets = self.collection::<WalletRow>(WALLETS);
        let find = wallets.find_one(doc! { "_id": wallet_id(key) }).max_time(SERVER_TIME);
        bounded(find).await?.map(Wallet::try_from).transpose()
    }
}

impl Tx {
    /// The wallets of these keys, in their order; empty ones for those that nothing ever touched.
    pub(super) async fn wallet_list(&mut self, keys: &[WalletKey]) -> Result<Vec<Wallet>> {
        let ids: Vec<Document> = keys.iter().copied().map(wallet_id).collect();
        let (wallets, session) = self.on::<WalletRow>(WALLETS);
        let mut rows = bounded(wallets.find(doc! { "_id": { "$in": ids } }).session(&mut *session)).await?;
        let rows: Vec<WalletRow> = bounded(rows.stream(session).try_collect()).await?;
        let wallets = rows.into_iter().map(|row| Wallet::try_from(row).map(|wallet| (wallet.key, wallet)));
        let mut found = wallets.collect::<Result<BTreeMap<_, _>>>()?;
        Ok(keys.iter().map(|key| found.remove(key).unwrap_or_else(|| Wallet::empty(*key))).collect())
    }

    /// A wallet; an empty one when nothing ever touched it.
    pub(crate) async fn wallet_read(&mut self, key: WalletKey) -> Result<Wallet> {
        let mut wallets = self.wallet_list(&[key]).await?;
        Ok(wallets.pop().unwrap_or_else(|| Wallet::empty(key)))
    }

    /// Two wallets at once.
    pub(crate) async fn wallet_pair(&mut self, keys: [WalletKey; 2]) -> Result<[Wallet; 2]> {
        let wallets = self.wallet_list(&keys).await?;
        wallets.try_into().map_err(|_| Error::internal("two wallets were asked for"))
    }

    /// All wallets of a user.
    pub(crate) async fn wallets_of(&mut self, owner: UserId) -> Result<Vec<Wallet>> {
        let (wallets, session) = self.on::<WalletRow>(WALLETS);
        let find = wallets.find(doc! { "_id": ids_of(owner) }).sort(doc! { "_id": 1 });
        let mut rows = bounded(find.session(&mut *session)).await?;
        let rows: Vec<WalletRow> = bounded(rows.stream(session).try_collect()).await?;
        rows.into_iter().map(Wallet::try_from).collect()
    }

    /// Locks a wallet or its absence by writing it: makes an empty one when there is none.
    pub(crate) fn wallet_claim(&mut self, key: WalletKey) {
        let blank = doc! {
            "balance": 0_i64,
            "held": 0_i64,
            "incoming": 0_i64,
            "available": 0_i64,
            "reach": 0_i64,
            "sequence": 0_i64,
            "event_version": 0_i64,
        };
        let wallets = self.namespace(WALLETS);
        let claim = doc! { "$inc": { "locks": 1_i64 }, "$setOnInsert": blank };
        let by_id = doc! { "_id": wallet_id(key) };
        let claim = UpdateOneModel::builder().namespace(wallets).filter(by_id).update(claim).upsert(true);
        self.update(claim.build());
        // Perhaps it makes one.
        self.wallet_owner_claim(key.owner);
    }

    /// Locks all wallets of a user, and that there are no others, by writing them: of this transaction and one that moves
    /// credit of the user, or would make a wallet, the one that commits later began after the other was committed.
    pub(crate) async fn wallet_claim_all(&mut self, owner: UserId) -> Result<()> {
        let (wallets, session) = self.on::<IdRow>(WALLETS);
        let find = wallets.find(doc! { "_id": ids_of(owner) }).sort(doc! { "_id": 1 });
        let mut rows = bounded(find.projection(doc! { "_id": 1 }).session(&mut *session)).await?;
        let rows: Vec<IdRow> = bounded(rows.stream(session).try_collect()).await?;
        let wallets = self.namespace(WALLETS);
        for row in rows {
            let by_id = doc! { "_id": wallet_id(row.id.key()?) };
            let claim = UpdateOneModel::builder().namespace(wallets.clone()).filter(by_id);
            self.update(claim.update(doc! { "$inc": { "locks": 1_i64 } }).build());
        }
        self.wallet_owner_claim(owner);
        Ok(())
    }

    /// Whoever claims all wallets of a user cannot see one that is made meanwhile: the two meet here.
    pub(super) fn wallet_owner_claim(&mut self, owner: UserId) {
        let owners = self.namespace(OWNERS);
        let by_id = doc! { "_id": bson::Uuid::from(owner.uuid()) };
        let claim = UpdateOneModel::builder().namespace(owners).filter(by_id).upsert(true);
        self.update(claim.update(doc! { "$inc": { "locks": 1_i64 } }).build());
    }
}

/// A duplicate that the transaction could not see when it began: the next try sees it.
pub(super) fn conflict_on_duplicate<T>(outcome: Result<T, mongodb::error::Error>) -> Result<T> {
    outcome.map_err(|error| if is_duplicate_key(&error) { conflict() } else { classify(error).into() })
}

#[cfg(test)]
mod tests {
    use testkit::TestMongo;
    use uuid::Uuid;

    use super::*;
    use crate::config::MongoConfig;
    use crate::domain::wallet::Change;
    use crate::storage::Shared;

    const ANN: UserId = UserId::from_uuid(Uuid::from_u128(1));

    async fn store(mongo: &TestMongo) -> Store {
        let connect = async |url| Store::connect(&MongoConfig::for_tests(url), Shared::default()).await;
        connect(mongo.migrate_url()).await.unwrap().migrate().await.unwrap();
        connect(mongo.url()).await.unwrap()
    }

    fn key(code: &str) -> WalletKey {
        WalletKey { owner: ANN, currency: code.parse().unwrap() }
    }

    /// A transaction that has seen the wallet as it is and has written it as it will be; not committed.
    async fn credited(store: &Store, key: WalletKey) -> Tx {
        let mut tx = store.begin("test").await.unwrap();
        let before = tx.wallet_read(key).await.unwrap();
        let mut after = before.clone();
        after.change(Change::credit(5));
        tx.wallet_update(&before, &after);
        tx
    }

    async fn claimed(store: &Store) -> Tx {
        let mut tx = store.begin("test").await.unwrap();
        tx.wallet_claim_all(ANN).await.unwrap();
        tx
    }

    /// Also a wallet that the one cannot see, since the other makes it.
    #[tokio::test]
    async fn whoever_claims_all_wallets_of_a_user_meets_whoever_writes_or_makes_one() {
        let mongo = TestMongo::create().await.unwrap();
        let store = store(&mongo).await;
        // The second time each wallet is there.
        for round in 0..2 {
            for code in ["EUR", "USD", "ZAR"] {
                let (claim, credit) = (claimed(&store).await, credited(&store, key(code)).await);
                credit.commit_now().await.unwrap();
                let late = claim.commit_now().await;
                assert!(late.is_err_and(|error| error.is_contention()), "{round} {code}: claimed later");
            }
        }
        for code in ["EUR", "JPY"] {
            let (claim, credit) = (claimed(&store).await, credited(&store, key(code)).await);
            claim.commit_now().await.unwrap();
            let late = credit.commit_now().await;
            assert!(late.is_err_and(|error| error.is_contention()), "{code}: credited later");
        }
        // A refusal claims a wallet that is perhaps not there.
        let (claim, mut refusal) = (claimed(&store).await, store.begin("test").await.unwrap());
        refusal.wallet_read(key("KWD")).await.unwrap();
        refusal.wallet_claim(key("KWD"));
        refusal.commit_now().await.unwrap();
        assert!(claim.commit_now().await.is_err_and(|error| error.is_contention()));
    }

    #[tokio::test]
    async fn what_an_older_release_has_not_written_says_nothing_and_what_it_does_not_know_stays() {
        let mongo = TestMongo::create().await.unwrap();
        let store = store(&mongo).await;
        credited(&store, key("EUR")).await.commit_now().await.unwrap();
        let wallet = store.wallet_fetch(key("EUR")).await.unwrap().unwrap();
        assert_eq!((wallet.is_frozen, wallet.limits, wallet.spent), (false, Limits::NONE, None));

        let mut tx = store.begin("test").await.unwrap();
        let before = tx.wallet_read(key("EUR")).await.unwrap();
        let limits = Limits { payment: Some(3), day: Some(4) };
        let mut after = Wallet { is_frozen: true, limits, ..before.clone() };
        after.count_spent(2, time::macros::datetime!(2026-03-01 12:00 UTC));
        tx.wallet_update(&before, &after);
        tx.commit_now().await.unwrap();
        assert_eq!(store.wallet_fetch(key("EUR")).await.unwrap().unwrap(), after);

        // As the release before writes it: what it knows, in place.
        let set = doc! { "$set": { "balance": 9_i64, "available": 9_i64, "reach": 9_i64 } };
        let wallets = store.collection::<Document>(WALLETS);
        wallets.update_one(doc! { "_id": wallet_id(key("EUR")) }, set).await.unwrap();
        let written = store.wallet_fetch(key("EUR")).await.unwrap().unwrap();
        assert_eq!(written, Wallet { balance: 9, ..after.clone() });

        let mut tx = store.begin("test").await.unwrap();
        let before = tx.wallet_read(key("EUR")).await.unwrap();
        let without = Wallet { limits: Limits { payment: None, day: Some(5) }, ..before.clone() };
        tx.wallet_update(&before, &without);
        tx.commit_now().await.unwrap();
        assert_eq!(store.wallet_fetch(key("EUR")).await.unwrap().unwrap(), without);
    }
}
