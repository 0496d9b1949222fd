//! Wallets. A change is decided on what the transaction read, and written on the condition that this is still what
//! is there. Two sums are kept beside the numbers they come from (`available`, `reach`), because MongoDB has no
//! generated columns and the collection's validator bounds them: the rules of the domain, held once more.

use std::collections::BTreeMap;

use bookkeeping::{GENESIS, Hash};
use bson::spec::BinarySubtype;
use bson::{Binary, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::Namespace;
use mongodb::options::UpdateOneModel;
use serde::{Deserialize, Serialize};
use types::{Currency, Money, UserId};

use crate::domain::wallet::{CreditRefused, Wallet, WalletKey};
use crate::error::{Error, Result};
use crate::storage::driver::{classify, is_duplicate_key};
use crate::storage::requests::Outcome;
use crate::storage::writes::conflict;
use crate::storage::{SERVER_TIME, Store, Tx, bounded, from_time, to_time};

pub(super) const WALLETS: &str = "wallet";

/// The order of these fields is part of the key: `_id`s are compared as they are written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct KeyRow {
    pub(super) owner: bson::Uuid,
    pub(super) currency: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct WalletRow {
    #[serde(rename = "_id")]
    id: KeyRow,
    balance: i64,
    held: i64,
    incoming: i64,
    sequence: i64,
    head: Option<Binary>,
    event_version: i64,
    updated_at: Option<bson::DateTime>,
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
        })
    }
}

/// A refused grant or sending, as it is kept with its request id.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CreditRefusedRow {
    InsufficientCredit { user: bson::Uuid, currency: String, available: i64 },
    BalanceLimit { user: bson::Uuid },
    UserNotFound { user: bson::Uuid },
    UserDeactivated { user: bson::Uuid },
}

impl From<&CreditRefused> for CreditRefusedRow {
    fn from(refused: &CreditRefused) -> Self {
        match *refused {
            CreditRefused::InsufficientCredit { owner, available } => Self::InsufficientCredit {
                user: owner.uuid().into(),
                currency: available.currency.code().to_owned(),
                available: available.minor_units,
            },
            CreditRefused::BalanceLimit(user) => Self::BalanceLimit { user: user.uuid().into() },
            CreditRefused::UserNotFound(user) => Self::UserNotFound { user: user.uuid().into() },
            CreditRefused::UserDeactivated(user) => Self::UserDeactivated { user: user.uuid().into() },
        }
    }
}

impl TryFrom<CreditRefusedRow> for CreditRefused {
    type Error = Error;

    fn try_from(row: CreditRefusedRow) -> Result<Self> {
        let id = |user: bson::Uuid| UserId::from_uuid(user.into());
        Ok(match row {
            CreditRefusedRow::InsufficientCredit { user, currency: code, available } => {
                let available = Money::new(currency(&code)?, available);
                Self::InsufficientCredit { owner: id(user), available }
            }
            CreditRefusedRow::BalanceLimit { user } => Self::BalanceLimit(id(user)),
            CreditRefusedRow::UserNotFound { user } => Self::UserNotFound(id(user)),
            CreditRefusedRow::UserDeactivated { user } => Self::UserDeactivated(id(user)),
        })
    }
}

impl Outcome for CreditRefused {
    const KIND: &'static str = "send_refused";
    type Row = CreditRefusedRow;

    fn to_row(&self) -> CreditRefusedRow {
        self.into()
    }

    fn from_row(row: CreditRefusedRow) -> Result<Self> {
        row.try_into()
    }
}

/// The `_id` of a wallet.
pub(super) fn wallet_id(key: WalletKey) -> Document {
    doc! { "owner": bson::Uuid::from(key.owner.uuid()), "currency": key.currency.code() }
}

/// A currency that this service wrote.
pub(super) fn currency(code: &str) -> Result<Currency> {
    code.parse().map_err(|_| Error::internal(format!("{code:?} in the book is no currency")))
}

/// A hash that this service wrote.
pub(super) fn hash(binary: &Binary) -> Result<Hash> {
    binary.bytes.as_slice().try_into().map_err(|_| Error::internal("a hash in the book has another length"))
}

/// A hash to write.
pub(super) fn binary(hash: &Hash) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: hash.to_vec() }
}

/// Writes a wallet over the one that it was made of, as long as that one is what is there. One that nothing had
/// touched may not be there at all, and is made.
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
    UpdateOneModel::builder()
        .namespace(namespace)
        .filter(filter)
        .update(doc! { "$set": set, "$setOnInsert": { "locks": 0_i64 } })
        .upsert(before.is_blank())
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
    }
}

/// A duplicate that the transaction could not see when it began: the next try sees it.
pub(super) fn conflict_on_duplicate<T>(outcome: Result<T, mongodb::error::Error>) -> Result<T> {
    outcome.map_err(|error| if is_duplicate_key(&error) { conflict() } else { classify(error).into() })
}
