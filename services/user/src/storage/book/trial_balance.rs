//! The sums of the whole book at one moment, however long they take. The auditor has summed up what it found in order, so
//! only entries behind its checkpoints are read; the wallets are, all of them, for what they show.

use std::collections::BTreeMap;

use bookkeeping::SumTooLarge;
use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::options::Hint;
use serde::Deserialize;
use types::{Currency, PostingId};

use super::audit::{CHECKPOINTS, SideRow, SumRow, sides_of, sums_of};
use super::ledger::{CHAINS, CREDIT, DEBIT, ENTRIES, EntryId};
use super::wallets::{KeyRow, WALLETS, wallet_id};
use crate::domain::audit::{StoredSide, Sums, WALLETS as WALLET_ACCOUNT};
use crate::domain::ledger::{Kind, TrialBalanceLine};
use crate::domain::wallet::WalletKey;
use crate::error::Result;
use crate::storage::bounded;
use crate::storage::snapshot::Snapshot;

/// Wallets whose new entries are asked for at once, and postings whose sides are.
const AT_ONCE: usize = 200;
/// Wallets that are read in one exchange.
const PAGE: i64 = 10_000;
const PAGE_BATCH: u32 = 10_000;

#[derive(Debug, Deserialize)]
struct EndRow {
    #[serde(rename = "_id")]
    id: KeyRow,
    sequence: i64,
    #[serde(default)]
    balance: i64,
    #[serde(default)]
    held: i64,
}

#[derive(Debug, Deserialize)]
struct NewRow {
    #[serde(rename = "_id")]
    id: EntryId,
    kind: String,
}

/// What the wallets of a currency show: their balances, and what is held of them.
type Shown = BTreeMap<Currency, (i64, i64)>;

impl Snapshot {
    /// Sums the whole book, as it is at this moment: by currency, then account.
    pub(crate) async fn trial_balance(&mut self) -> Result<Vec<TrialBalanceLine>> {
        let audited = self.audit_sums_read().await?;
        let ends = self.ends_read(CHECKPOINTS, doc! { "sequence": 1 }).await?;
        let wallets = self.ends_read(WALLETS, doc! { "sequence": 1, "balance": 1, "held": 1 }).await?;
        let (mut shown, mut behind) = (Shown::new(), Vec::new());
        for (key, wallet) in wallets {
            let sum = shown.entry(key.currency).or_default();
            sum.0 = sum.0.checked_add(wallet.balance).ok_or(SumTooLarge)?;
            sum.1 = sum.1.checked_add(wallet.held).ok_or(SumTooLarge)?;
            let audited = ends.get(&key).map_or(0, |end| end.sequence);
            if wallet.sequence > audited {
                behind.push((key, audited));
            }
        }
        let mut sums = if audited.0.is_empty() { self.sums_of_all().await? } else { audited.clone() };
        if !audited.0.is_empty() {
            for behind in behind.chunks(AT_ONCE) {
                self.add_new(behind, &mut sums).await?;
            }
        }
        Ok(lines(sums, &shown))
    }

    async fn ends_read(&mut self, collection: &str, fields: Document) -> Result<BTreeMap<WalletKey, EndRow>> {
        let mut ends = BTreeMap::new();
        let mut page = doc! {};
        loop {
            let (rows, session) = self.on::<EndRow>(collection);
            let find = rows.find(page).sort(doc! { "_id": 1 }).projection(fields.clone()).limit(PAGE);
            let mut rows = bounded(find.batch_size(PAGE_BATCH).session(&mut *session)).await?;
            let rows: Vec<EndRow> = bounded(rows.stream(session).try_collect()).await?;
            let is_full = i64::try_from(rows.len()) == Ok(PAGE);
            let last = rows.last().map(|row| row.id.key()).transpose()?;
            for row in rows {
                ends.insert(row.id.key()?, row);
            }
            match last.filter(|_| is_full) {
                Some(last) => page = doc! { "_id": { "$gt": wallet_id(last) } },
                None => return Ok(ends),
            }
        }
    }

    /// Adds the postings that these wallets' chains have behind a sequence: each at the one entry that stands
    /// for it, as the auditor's sums do.
    async fn add_new(&mut self, behind: &[(WalletKey, i64)], sums: &mut Sums) -> Result<()> {
        let chains = behind.iter().map(|(key, sequence)| {
            let mut chain = wallet_id(*key);
            chain.insert("sequence", doc! { "$gt": *sequence });
            chain
        });
        let filter = doc! { "$or": chains.collect::<Vec<_>>() };
        let (entries, session) = self.on::<NewRow>(ENTRIES);
        let find = entries.find(filter).projection(doc! { "kind": 1 }).hint(Hint::Name(CHAINS.to_owned()));
        let mut rows = bounded(find.session(&mut *session)).await?;
        let rows: Vec<NewRow> = bounded(rows.stream(session).try_collect()).await?;
        let counted = rows.iter().filter(|row| row.kind != Kind::Receive.as_str());
        let postings: Vec<PostingId> =
            counted.map(|row| PostingId::from_uuid(row.id.posting.into())).collect();
        for postings in postings.chunks(AT_ONCE) {
            let (entries, session) = self.on::<SideRow>(ENTRIES);
            let mut rows = bounded(entries.find(sides_of(postings)).session(&mut *session)).await?;
            let rows: Vec<SideRow> = bounded(rows.stream(session).try_collect()).await?;
            for row in rows {
                let side = StoredSide::try_from(row)?;
                let amount = side.amount.minor_units;
                let (debit, credit) = if side.is_debit { (amount, 0) } else { (0, amount) };
                sums.add((side.amount.currency, side.account), debit, credit)?;
            }
        }
        Ok(())
    }

    /// Before the first audit: every entry.
    async fn sums_of_all(&mut self) -> Result<Sums> {
        let side =
            |name: &str| doc! { "$sum": { "$cond": [{ "$eq": ["$_id.side", name] }, "$amount", 0_i64] } };
        let sums = vec![doc! { "$group": {
            "_id": { "currency": "$currency", "account": "$account" },
            "debit": side(DEBIT),
            "credit": side(CREDIT),
        } }];
        let (entries, session) = self.on::<Document>(ENTRIES);
        let cursor = entries.aggregate(sums).with_type::<SumRow>().session(&mut *session);
        let rows: Vec<SumRow> = bounded(bounded(cursor).await?.stream(session).try_collect()).await?;
        sums_of(rows)
    }
}

/// Wallets whose entries are gone must show up as well: a line is there for either.
fn lines(mut sums: Sums, shown: &Shown) -> Vec<TrialBalanceLine> {
    for (currency, shown) in shown {
        if *shown != (0, 0) {
            sums.0.entry((*currency, WALLET_ACCOUNT.to_owned())).or_default();
        }
    }
    let line = |((currency, account), (debit, credit)): ((Currency, String), (i64, i64))| {
        let is_shown = account == WALLET_ACCOUNT;
        let (balance, held) = shown.get(&currency).copied().filter(|_| is_shown).unwrap_or_default();
        TrialBalanceLine { account, currency, debit, credit, balance, held }
    };
    sums.0.into_iter().map(line).collect()
}
