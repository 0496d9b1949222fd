//! What the auditor reads of the book, and what it keeps: how far each wallet's chain was followed, and the sums of
//! the postings on the way. Reads are small and outside of transactions: entries never change, a wallet is one
//! document, and whatever was committed when one read answered is there for the next.

use std::collections::BTreeMap;

use bookkeeping::{Advance, Chain};
use bson::{Document, doc};
use events::HoldState;
use futures_util::TryStreamExt as _;
use mongodb::options::{UpdateOneModel, WriteModel};
use serde::Deserialize;
use types::{Money, OrderId, PostingId, TransferId, UserId};

use super::holds::{HOLDS, HoldRow, StoredHold};
use super::ledger::{CREDIT, DEBIT, ENTRIES, EntryId, EntryRow, POSTINGS};
use super::wallets::{KeyRow, WALLETS, WalletRow, conflict_on_duplicate, currency, ids_of, wallet_id};
use crate::domain::audit::{StoredPosting, StoredSide, Sums};
use crate::domain::ledger::WalletEntry;
use crate::domain::wallet::{Wallet, WalletKey};
use crate::error::{Error, Result};
use crate::storage::driver::bounded_raw;
use crate::storage::hashes::{binary, hash};
use crate::storage::snapshot::Snapshot;
use crate::storage::{SERVER_TIME, Store, Tx, bounded};

pub(super) const CHECKPOINTS: &str = "audit_wallet";
const SUMS: &str = "audit_sum";

#[derive(Debug, Deserialize)]
struct CheckpointRow {
    #[serde(rename = "_id")]
    id: KeyRow,
    sequence: i64,
    balance: i64,
    head: bson::Binary,
}

/// A sum that did not fit would come back as a float, and be refused here rather than rounded.
#[derive(Debug, Deserialize)]
pub(super) struct SumRow {
    #[serde(rename = "_id")]
    id: SumId,
    debit: i64,
    credit: i64,
}

#[derive(Debug, Deserialize)]
struct SumId {
    currency: String,
    account: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct SideRow {
    #[serde(rename = "_id")]
    id: EntryId,
    account: String,
    currency: String,
    amount: i64,
    owner: Option<bson::Uuid>,
    sequence: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct PostingRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    currency: String,
    amount: i64,
    order_id: Option<bson::Uuid>,
}

impl TryFrom<SideRow> for StoredSide {
    type Error = Error;

    fn try_from(row: SideRow) -> Result<Self> {
        let amount = Money::new(currency(&row.currency)?, row.amount);
        let place = row.owner.zip(row.sequence).map(|(owner, sequence)| {
            (WalletKey { owner: UserId::from_uuid(owner.into()), currency: amount.currency }, sequence)
        });
        Ok(Self {
            posting_id: PostingId::from_uuid(row.id.posting.into()),
            is_debit: row.id.side == DEBIT,
            account: row.account,
            amount,
            place,
        })
    }
}

impl KeyRow {
    pub(super) fn key(&self) -> Result<WalletKey> {
        Ok(WalletKey { owner: UserId::from_uuid(self.owner.into()), currency: currency(&self.currency)? })
    }
}

/// Both sides of these postings, by id.
pub(super) fn sides_of(postings: &[PostingId]) -> Document {
    let both = postings.iter().flat_map(|id| {
        let posting = bson::Uuid::from(id.uuid());
        [DEBIT, CREDIT].map(|side| doc! { "posting": posting, "side": side })
    });
    doc! { "_id": { "$in": both.collect::<Vec<_>>() } }
}

fn after(key: Option<WalletKey>) -> Document {
    key.map_or_else(Document::new, |key| doc! { "_id": { "$gt": wallet_id(key) } })
}

impl Store {
    /// At most `limit` wallets above a key, in the order of their keys.
    pub(crate) async fn wallet_page(&self, above: Option<WalletKey>, limit: i64) -> Result<Vec<Wallet>> {
        let wallets = self.collection::<WalletRow>(WALLETS);
        let find = wallets.find(after(above)).sort(doc! { "_id": 1 }).limit(limit).max_time(SERVER_TIME);
        let rows: Vec<WalletRow> = bounded(bounded(find).await?.try_collect()).await?;
        rows.into_iter().map(Wallet::try_from).collect()
    }

    /// The sequences of these wallets' last entries.
    pub(crate) async fn wallet_ends(&self, keys: &[WalletKey]) -> Result<BTreeMap<WalletKey, i64>> {
        let ids: Vec<Document> = keys.iter().copied().map(wallet_id).collect();
        let wallets = self.collection::<WalletRow>(WALLETS);
        let find = wallets.find(doc! { "_id": { "$in": ids } });
        let rows: Vec<WalletRow> = bounded(bounded(find.max_time(SERVER_TIME)).await?.try_collect()).await?;
        let wallets = rows.into_iter().map(Wallet::try_from);
        wallets.map(|wallet| wallet.map(|wallet| (wallet.key, wallet.sequence))).collect()
    }

    /// How far the chains of the wallets of a page were followed: above a key, up to another or the end.
    pub(crate) async fn audit_checkpoints(
        &self,
        above: Option<WalletKey>,
        up_to: Option<WalletKey>,
    ) -> Result<BTreeMap<WalletKey, Chain>> {
        let mut range = Document::new();
        if let Some(key) = above {
            range.insert("$gt", wallet_id(key));
        }
        if let Some(key) = up_to {
            range.insert("$lte", wallet_id(key));
        }
        let filter = if range.is_empty() {
            range
        } else {
            doc! { "_id": range }
        };
        self.checkpoints_found(filter).await
    }

    /// How far the chains of a user's wallets were followed.
    pub(crate) async fn audit_checkpoints_of(&self, owner: UserId) -> Result<BTreeMap<WalletKey, Chain>> {
        self.checkpoints_found(doc! { "_id": ids_of(owner) }).await
    }

    async fn checkpoints_found(&self, filter: Document) -> Result<BTreeMap<WalletKey, Chain>> {
        let checkpoints = self.collection::<CheckpointRow>(CHECKPOINTS);
        let find = checkpoints.find(filter).max_time(SERVER_TIME);
        let rows: Vec<CheckpointRow> = bounded(bounded(find).await?.try_collect()).await?;
        let chains = rows.iter().map(|row| {
            let chain = Chain { sequence: row.sequence, balance: row.balance, hash: hash(&row.head)? };
            Ok((row.id.key()?, chain))
        });
        chains.collect()
    }

    /// At most `limit` entries of a wallet above a sequence and up to another, oldest first.
    pub(crate) async fn wallet_entry_run(
        &self,
        key: WalletKey,
        above: i64,
        up_to: i64,
        limit: i64,
    ) -> Result<Vec<WalletEntry>> {
        let mut filter = wallet_id(key);
        filter.insert("sequence", doc! { "$gt": above, "$lte": up_to });
        let entries = self.collection::<EntryRow>(ENTRIES);
        let find = entries.find(filter).sort(doc! { "sequence": 1 }).limit(limit).max_time(SERVER_TIME);
        let rows: Vec<EntryRow> = bounded(bounded(find).await?.try_collect()).await?;
        rows.into_iter().map(WalletEntry::try_from).collect()
    }

    /// The sides that these postings have.
    pub(crate) async fn posting_sides(&self, postings: &[PostingId]) -> Result<Vec<StoredSide>> {
        let entries = self.collection::<SideRow>(ENTRIES);
        let find = entries.find(sides_of(postings)).max_time(SERVER_TIME);
        let rows: Vec<SideRow> = bounded(bounded(find).await?.try_collect()).await?;
        rows.into_iter().map(StoredSide::try_from).collect()
    }

    /// A page of all sides of all postings, in the order of the postings; whole postings only.
    pub(crate) async fn posting_side_page(
        &self,
        above: Option<PostingId>,
        limit: usize,
    ) -> Result<Vec<StoredSide>> {
        // Above every side that the posting could have.
        let filter = above.map_or_else(Document::new, |id| {
            let posting = bson::Uuid::from(id.uuid());
            doc! { "_id": { "$gt": { "posting": posting, "side": "~" } } }
        });
        let entries = self.collection::<SideRow>(ENTRIES);
        let wanted = i64::try_from(limit).unwrap_or(i64::MAX);
        let find = entries.find(filter).sort(doc! { "_id": 1 }).limit(wanted).max_time(SERVER_TIME);
        let rows: Vec<SideRow> = bounded(bounded(find).await?.try_collect()).await?;
        let is_full = rows.len() == limit;
        let mut sides: Vec<StoredSide> = rows.into_iter().map(StoredSide::try_from).collect::<Result<_>>()?;
        // The rest of the last posting may be on the next page.
        if is_full && let Some(last) = sides.last().map(|side| side.posting_id) {
            sides.retain(|side| side.posting_id != last);
        }
        Ok(sides)
    }

    /// What these postings say of themselves.
    pub(crate) async fn posting_list(
        &self,
        postings: &[PostingId],
    ) -> Result<BTreeMap<PostingId, StoredPosting>> {
        let ids: Vec<bson::Uuid> = postings.iter().map(|id| id.uuid().into()).collect();
        let postings = self.collection::<PostingRow>(POSTINGS);
        let find = postings.find(doc! { "_id": { "$in": ids } });
        let rows: Vec<PostingRow> = bounded(bounded(find.max_time(SERVER_TIME)).await?.try_collect()).await?;
        let postings = rows.into_iter().map(|row: PostingRow| {
            let posting = StoredPosting {
                amount: Money::new(currency(&row.currency)?, row.amount),
                order_id: row.order_id.map(|id| OrderId::from_uuid(id.into())),
            };
            Ok((PostingId::from_uuid(row.id.into()), posting))
        });
        postings.collect()
    }

    /// How far these transfers' holds are.
    pub(crate) async fn hold_states(
        &self,
        transfers: &[TransferId],
    ) -> Result<BTreeMap<TransferId, HoldState>> {
        let ids: Vec<bson::Uuid> = transfers.iter().map(|id| id.uuid().into()).collect();
        self.holds_found(doc! { "_id": { "$in": ids } }, None).await
    }

    /// A page of all holds, by transfer.
    pub(crate) async fn hold_page(
        &self,
        above: Option<TransferId>,
        limit: i64,
    ) -> Result<BTreeMap<TransferId, HoldState>> {
        let filter =
            above.map_or_else(Document::new, |id| doc! { "_id": { "$gt": bson::Uuid::from(id.uuid()) } });
        self.holds_found(filter, Some(limit)).await
    }

    async fn holds_found(
        &self,
        filter: Document,
        limit: Option<i64>,
    ) -> Result<BTreeMap<TransferId, HoldState>> {
        let holds = self.collection::<HoldRow>(HOLDS);
        let find = holds.find(filter).sort(doc! { "_id": 1 }).limit(limit.unwrap_or(0));
        let rows: Vec<HoldRow> = bounded(bounded(find.max_time(SERVER_TIME)).await?.try_collect()).await?;
        let states = rows.into_iter().map(|row| {
            let hold = StoredHold::try_from(row)?.hold;
            Ok((hold.transfer_id, hold.state))
        });
        states.collect()
    }

    /// The sums of all postings that were found in order.
    pub(crate) async fn audit_sums(&self) -> Result<Sums> {
        let sums = self.collection::<SumRow>(SUMS);
        let find = sums.find(doc! {}).max_time(SERVER_TIME);
        sums_of(bounded(bounded(find).await?.try_collect()).await?)
    }
}

pub(super) fn sums_of(rows: Vec<SumRow>) -> Result<Sums> {
    let sums = rows
        .into_iter()
        .map(|row| Ok(((currency(&row.id.currency)?, row.id.account), (row.debit, row.credit))));
    sums.collect()
}

impl Snapshot {
    /// The sums at this moment.
    pub(super) async fn audit_sums_read(&mut self) -> Result<Sums> {
        let (sums, session) = self.on::<SumRow>(SUMS);
        let mut rows = bounded(sums.find(doc! {}).session(&mut *session)).await?;
        sums_of(bounded(rows.stream(session).try_collect()).await?)
    }
}

impl Tx {
    /// Keeps how far the audit has come with some wallets, and adds what was new to the sums; `false`, and nothing
    /// of it, when another audit has moved one of them since it was read.
    pub(crate) async fn audit_advance(
        &mut self,
        advances: &[Advance<WalletKey>],
        sums: &Sums,
    ) -> Result<bool> {
        if !self.audit_is_at(advances).await? {
            return Ok(false);
        }
        let (checkpoints, _) = self.on::<Document>(CHECKPOINTS);
        let mut models: Vec<WriteModel> = Vec::new();
        for Advance { key, from, to } in advances {
            let fields = doc! { "sequence": to.sequence, "balance": to.balance, "head": binary(&to.hash) };
            let mut filter = doc! { "_id": wallet_id(*key) };
            let Some(from) = from else {
                filter.extend(fields);
                models.push(self.insert_model(CHECKPOINTS, filter));
                continue;
            };
            filter.insert("sequence", from.sequence);
            let update = UpdateOneModel::builder().namespace(checkpoints.namespace()).filter(filter);
            models.push(update.update(doc! { "$set": fields }).build().into());
        }
        let moved = models.iter().filter(|model| matches!(model, WriteModel::UpdateOne(_))).count();
        let (namespace, _) = self.on::<Document>(SUMS);
        for ((currency, account), (debit, credit)) in &sums.0 {
            let update = UpdateOneModel::builder()
                .namespace(namespace.namespace())
                .filter(doc! { "_id": { "currency": currency.code(), "account": account } })
                .update(doc! { "$inc": { "debit": *debit, "credit": *credit } })
                .upsert(true);
            models.push(update.build().into());
        }
        if models.is_empty() {
            return Ok(true);
        }
        let write = namespace.client().clone();
        let write = write.bulk_write(models).session(&mut *self.session);
        let done = conflict_on_duplicate(bounded_raw(write).await)?;
        let hit = usize::try_from(done.matched_count + done.upserted_count);
        // Read in this transaction: whoever else moves one now makes it start over.
        let is_done = hit == Ok(moved + sums.0.len());
        is_done.then_some(true).ok_or_else(|| Error::internal("a checkpoint that was just read is another"))
    }

    /// Whether each of these wallets was followed as far as is said, as this transaction sees it.
    async fn audit_is_at(&mut self, advances: &[Advance<WalletKey>]) -> Result<bool> {
        let ids: Vec<Document> = advances.iter().map(|advance| wallet_id(advance.key)).collect();
        let (checkpoints, session) = self.on::<CheckpointRow>(CHECKPOINTS);
        let find = checkpoints.find(doc! { "_id": { "$in": ids } }).session(&mut *session);
        let rows: Vec<CheckpointRow> = bounded(bounded(find).await?.stream(session).try_collect()).await?;
        let at = rows.iter().map(|row| Ok((row.id.key()?, row.sequence)));
        let at = at.collect::<Result<BTreeMap<WalletKey, i64>>>()?;
        let is_at = |advance: &Advance<WalletKey>| {
            at.get(&advance.key).copied() == advance.from.map(|from| from.sequence)
        };
        Ok(advances.iter().all(is_at))
    }
}
