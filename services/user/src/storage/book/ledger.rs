//! The book: postings and their entries, inserted and never changed. A posting is written together with the wallets
//! that it moves.

use bson::{Binary, Document, doc};
use serde::Deserialize;
use types::{Call, Fingerprint, PostingId, RequestKey, UserId};

use super::wallets::{WALLETS, currency, wallet_write};
use crate::domain::audit::WALLETS as WALLET_ACCOUNT;
use crate::domain::ledger::{Kind, Posting, Side, WalletEntry};
use crate::domain::wallet::{Wallet, WalletKey};
use crate::error::{Error, Result};
use crate::storage::hashes::{binary, hash};
use crate::storage::writes::conflict;
use crate::storage::{Tx, bounded, from_time, to_time};

pub(super) const POSTINGS: &str = "posting";
pub(super) const ENTRIES: &str = "entry";
/// The index of the wallets' chains.
pub(super) const CHAINS: &str = "wallet";
pub(super) const DEBIT: &str = "DEBIT";
pub(super) const CREDIT: &str = "CREDIT";

#[derive(Debug, Deserialize)]
pub(super) struct EntryRow {
    #[serde(rename = "_id")]
    id: EntryId,
    owner: bson::Uuid,
    currency: String,
    sequence: i64,
    kind: String,
    amount: i64,
    balance_after: i64,
    counterparty: Option<bson::Uuid>,
    created_at: bson::DateTime,
    hash: Binary,
}

#[derive(Debug, Deserialize)]
pub(super) struct EntryId {
    pub(super) posting: bson::Uuid,
    pub(super) side: String,
}

#[derive(Debug, Deserialize)]
struct ClaimedRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    request: ClaimRow,
}

#[derive(Debug, Deserialize)]
struct ClaimRow {
    fingerprint: Binary,
}

impl TryFrom<EntryRow> for WalletEntry {
    type Error = Error;

    fn try_from(row: EntryRow) -> Result<Self> {
        let kind = Kind::from_name(&row.kind)
            .ok_or_else(|| Error::internal(format!("{:?} in the book is no kind", row.kind)))?;
        Ok(Self {
            wallet: WalletKey {
                owner: UserId::from_uuid(row.owner.into()),
                currency: currency(&row.currency)?,
            },
            sequence: row.sequence,
            kind,
            amount: if row.id.side == DEBIT { -row.amount } else { row.amount },
            balance_after: row.balance_after,
            posting_id: PostingId::from_uuid(row.id.posting.into()),
            counterparty: row.counterparty.map(|user| UserId::from_uuid(user.into())),
            created_at: to_time(row.created_at),
            hash: hash(&row.hash)?,
        })
    }
}

fn posting_row(posting: &Posting, claim: Option<&Call>) -> Document {
    let mut row = doc! {
        "_id": bson::Uuid::from(posting.id.uuid()),
        "currency": posting.amount.currency.code(),
        "amount": posting.amount.minor_units,
        "created_at": from_time(posting.created_at),
    };
    if let Some(order_id) = posting.order_id {
        row.insert("order_id", bson::Uuid::from(order_id.uuid()));
    }
    if let Some(call) = claim {
        let mut request = claim_filter(&call.key);
        let fingerprint = call.fingerprint.as_bytes().to_vec();
        request.insert(
            "fingerprint",
            Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: fingerprint },
        );
        row.insert("request", request);
    }
    row
}

fn claim_filter(key: &RequestKey) -> Document {
    doc! {
        "principal": &key.principal,
        "method": key.method,
        "request_id": bson::Uuid::from(key.request_id),
    }
}

/// The posting that a call claimed. The index holds claimed postings only, and a planner takes such an index for no
/// query that does not ask for the same.
fn claimed_by(key: &RequestKey) -> Document {
    let mut filter = doc! { "request": { "$exists": true } };
    for (field, value) in claim_filter(key) {
        filter.insert(format!("request.{field}"), value);
    }
    filter
}

fn entry_row(posting: &Posting, side: &Side, name: &str) -> Document {
    let mut row = doc! {
        "_id": { "posting": bson::Uuid::from(posting.id.uuid()), "side": name },
        "currency": posting.amount.currency.code(),
        "amount": posting.amount.minor_units,
    };
    match side {
        Side::System(account) => {
            row.insert("account", account.as_str());
            row.insert("created_at", from_time(posting.created_at));
        }
        Side::Wallet(entry) => {
            row.extend(doc! {
                "account": WALLET_ACCOUNT,
                "owner": bson::Uuid::from(entry.wallet.owner.uuid()),
                "sequence": entry.sequence,
                "kind": entry.kind.as_str(),
                "balance_after": entry.balance_after,
                "hash": binary(&entry.hash),
                "created_at": from_time(entry.created_at),
            });
            if let Some(user) = entry.counterparty {
                row.insert("counterparty", bson::Uuid::from(user.uuid()));
            }
        }
    }
    row
}

impl Tx {
    /// Writes a wallet over the one that it was made of. When that is not what is there any more, this comes to a
    /// conflict.
    pub(crate) fn wallet_update(&mut self, before: &Wallet, after: &Wallet) {
        let wallets = self.namespace(WALLETS);
        self.update(wallet_write(wallets, before, after));
        if !before.is_stored {
            self.wallet_owner_claim(before.key.owner);
        }
    }

    /// Writes a posting with its entries. When its request id was claimed meanwhile, this comes to a conflict.
    pub(super) fn posting_insert(&mut self, posting: &Posting, claim: Option<&Call>) {
        self.insert(POSTINGS, posting_row(posting, claim), Some(conflict));
        self.insert(ENTRIES, entry_row(posting, &posting.debit, DEBIT), Some(conflict));
        self.insert(ENTRIES, entry_row(posting, &posting.credit, CREDIT), Some(conflict));
    }

    /// Writes the posting that is the answer to a call, and the wallets that it moved: each as it was and as it is.
    pub(crate) fn posting_claim(&mut self, posting: &Posting, call: &Call, wallets: &[(&Wallet, &Wallet)]) {
        for (before, after) in wallets {
            self.wallet_update(before, after);
        }
        self.posting_insert(posting, Some(call));
    }

    /// The answer to a call whose request id made a posting before this transaction began, if this call says
    /// the same. A grant is answered with the entry that received, a sending with the one that sent.
    pub(crate) async fn posting_replay(&mut self, call: &Call, answer: Kind) -> Result<Option<WalletEntry>> {
        let (postings, session) = self.on::<ClaimedRow>(POSTINGS);
        let Some(claimed) = bounded(postings.find_one(claimed_by(&call.key)).session(session)).await? else {
            return Ok(None);
        };
        let side = if answer == Kind::Send { DEBIT } else { CREDIT };
        let (entries, session) = self.on::<EntryRow>(ENTRIES);
        let id = doc! { "_id": { "posting": claimed.id, "side": side } };
        let entry = bounded(entries.find_one(id).session(session))
            .await?
            .ok_or_else(|| Error::internal(format!("posting {} has no {side} entry", claimed.id)))?;
        let fingerprint = Fingerprint::from_bytes(claimed.request.fingerprint.bytes)
            .ok_or_else(|| Error::internal("a posting has bytes that are no fingerprint"))?;
        call.require_same(&fingerprint)?;
        entry.try_into().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use testkit::TestMongo;
    use uuid::Uuid;

    use super::*;
    use crate::config::MongoConfig;
    use crate::storage::{Shared, Store};

    #[tokio::test]
    async fn the_posting_of_a_request_is_found_by_its_index() {
        let mongo = TestMongo::create().await.unwrap();
        let connect = async |url| Store::connect(&MongoConfig::for_tests(url), Shared::default()).await;
        connect(mongo.migrate_url()).await.unwrap().migrate().await.unwrap();
        let store = connect(mongo.url()).await.unwrap();
        let key = RequestKey {
            principal: "user:ann".to_owned(),
            method: "user.v1.WalletService/GrantCredit",
            request_id: Uuid::from_u128(7),
        };
        let find = doc! { "find": POSTINGS, "filter": claimed_by(&key), "limit": 1 };
        let explain = doc! { "explain": find, "verbosity": "queryPlanner" };
        let answer = store.database().run_command(explain).await.unwrap();
        let plan = answer.get_document("queryPlanner").unwrap().get_document("winningPlan").unwrap();
        let plan = plan.to_string();
        assert!(plan.contains("\"IXSCAN\"") && plan.contains("\"indexName\": \"request\""), "{plan}");
        assert!(!plan.contains("COLLSCAN"), "{plan}");
    }
}
