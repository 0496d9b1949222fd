//! What the audit of a user's wallets compares with the sums of their last days: all that left or is reserved since, added
//! up anew.

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::options::Hint;
use serde::Deserialize;
use types::UserId;

use super::holds::{HOLDS, state_name};
use super::ledger::ENTRIES;
use super::wallets::{WALLETS, WalletRow, from_day, ids_of, wallet_id};
use crate::domain::ledger::Kind;
use crate::domain::limits::Spent;
use crate::domain::wallet::{Wallet, WalletKey};
use crate::error::Result;
use crate::storage::snapshot::Snapshot;
use crate::storage::{SERVER_TIME, Store, bounded};

/// The index of the holds that count, by wallet and day.
const SPENT: &str = "spent";
/// The index of the entries by time.
const TIMES: &str = "time";

/// The sum of a wallet's last day as the wallet has it, and as the book and the holds have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recount {
    pub(crate) key: WalletKey,
    pub(crate) spent: Spent,
    pub(crate) found: i64,
}

#[derive(Debug, Deserialize)]
struct SumRow {
    amount: i64,
}

impl Store {
    /// The wallets of a user.
    pub(crate) async fn wallet_list_of(&self, owner: UserId) -> Result<Vec<Wallet>> {
        let wallets = self.collection::<WalletRow>(WALLETS);
        let find = wallets.find(doc! { "_id": ids_of(owner) }).sort(doc! { "_id": 1 });
        let rows: Vec<WalletRow> = bounded(bounded(find.max_time(SERVER_TIME)).await?.try_collect()).await?;
        rows.into_iter().map(Wallet::try_from).collect()
    }
}

impl Snapshot {
    /// Adds up the last day of each of a user's wallets, all of one moment.
    pub(crate) async fn spending_recount(&mut self, owner: UserId) -> Result<Vec<Recount>> {
        let (wallets, session) = self.on::<WalletRow>(WALLETS);
        let find = wallets.find(doc! { "_id": ids_of(owner) }).sort(doc! { "_id": 1 });
        let mut rows = bounded(find.session(&mut *session)).await?;
        let rows: Vec<WalletRow> = bounded(rows.stream(session).try_collect()).await?;
        let mut recounts = Vec::new();
        for row in rows {
            let wallet = Wallet::try_from(row)?;
            let Some(spent) = wallet.spent else { continue };
            let found = self.sent_on(wallet.key, spent).await? + self.reserved_on(wallet.key, spent).await?;
            recounts.push(Recount { key: wallet.key, spent, found });
        }
        Ok(recounts)
    }

    /// An entry is of the day of its time: see `domain/spending.rs`.
    async fn sent_on(&mut self, key: WalletKey, spent: Spent) -> Result<i64> {
        let mut sent = wallet_id(key);
        let next = spent.day.next_day().unwrap_or(spent.day);
        sent.extend(doc! {
            "created_at": { "$gte": from_day(spent.day), "$lt": from_day(next) },
            "sequence": { "$gt": 0_i64 },
            "kind": Kind::Send.as_str(),
        });
        self.sum(ENTRIES, sent, "$amount", TIMES).await
    }

    async fn reserved_on(&mut self, key: WalletKey, spent: Spent) -> Result<i64> {
        let cancelled = state_name(events::HoldState::Cancelled);
        let reserved = doc! {
            "spec.owner": bson::Uuid::from(key.owner.uuid()),
            "spec.currency": key.currency.code(),
            "counted_on": from_day(spent.day),
            "state": { "$ne": cancelled },
        };
        self.sum(HOLDS, reserved, "$spec.amount", SPENT).await
    }

    async fn sum(&mut self, collection: &str, filter: Document, field: &str, index: &str) -> Result<i64> {
        let sum =
            vec![doc! { "$match": filter }, doc! { "$group": { "_id": null, "amount": { "$sum": field } } }];
        let (rows, session) = self.on::<Document>(collection);
        let sums = rows.aggregate(sum).hint(Hint::Name(index.to_owned())).with_type::<SumRow>();
        let mut rows = bounded(sums.session(&mut *session)).await?;
        let rows: Vec<SumRow> = bounded(rows.stream(session).try_collect()).await?;
        Ok(rows.first().map_or(0, |row| row.amount))
    }
}
