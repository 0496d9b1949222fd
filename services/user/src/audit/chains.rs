//! The chains of a page of wallets: where their entries are read, what they are compared with, and where it is kept how
//! far they were found in order.

use std::collections::{BTreeMap, BTreeSet};

use bookkeeping::{Advance, Book, Chain, Chains, Finding, Run};
use events::HoldState;
use types::{PostingId, TransferId, UserId};

use super::{BookAudit, Page};
use crate::domain::audit::{Facts, OtherBook, StoredPosting, StoredSide, Sums};
use crate::domain::ledger::WalletEntry;
use crate::domain::wallet::{Wallet, WalletKey};
use crate::error::{Error, Result};

const WALLETS: i64 = 200;

impl BookAudit {
    /// Reads the next page of wallets, and how far each was followed.
    pub(super) async fn wallets(
        &self,
        above: Option<WalletKey>,
        page: &mut Page,
    ) -> Result<Chains<WalletKey>> {
        let wallets = self.store.wallet_page(above, WALLETS).await?;
        let is_last = i64::try_from(wallets.len()).is_ok_and(|count| count < WALLETS);
        let last = wallets.last().map(|wallet| wallet.key).filter(|_| !is_last);
        let checkpoints = self.store.audit_checkpoints(above, last).await?;
        self.chains(wallets, checkpoints, last, page).await
    }

    /// Reads all wallets of a user, and how far each was followed.
    pub(super) async fn wallets_of(&self, owner: UserId, page: &mut Page) -> Result<Chains<WalletKey>> {
        let wallets = self.store.wallet_list_of(owner).await?;
        let checkpoints = self.store.audit_checkpoints_of(owner).await?;
        self.chains(wallets, checkpoints, None, page).await
    }

    async fn chains(
        &self,
        wallets: Vec<Wallet>,
        mut checkpoints: BTreeMap<WalletKey, Chain>,
        last: Option<WalletKey>,
        page: &mut Page,
    ) -> Result<Chains<WalletKey>> {
        let mut chains = Chains::new(self.is_full, last);
        for mut wallet in wallets {
            let from = checkpoints.remove(&wallet.key);
            // Another audit may have been quicker: then the wallet has moved on since it was read.
            if from.is_some_and(|from| from.sequence > wallet.sequence) {
                wallet = self.store.wallet_fetch(wallet.key).await?.unwrap_or(wallet);
            }
            chains.add(wallet.key, wallet.chain(), from);
        }
        for (key, chain) in checkpoints {
            // It may have come to be after the page was read.
            if self.store.wallet_fetch(key).await?.is_none() {
                page.findings.push(Finding::account(key, "the wallet is gone", -chain.balance));
            }
        }
        Ok(chains)
    }

    /// Follows the page's chains as far as one step goes; whether that is their end.
    pub(super) async fn follow(&self, chains: &mut Chains<WalletKey>, page: &mut Page) -> Result<bool> {
        let followed = chains.follow(self).await?;
        page.wallets += followed.accounts;
        page.entries += followed.entries;
        page.findings.extend(followed.findings);
        Ok(followed.is_last)
    }

    /// Everything that tells of these entries besides themselves. Order service is asked last.
    async fn surroundings(&self, entries: &[WalletEntry]) -> Result<Surroundings> {
        let postings: Vec<PostingId> = entries.iter().map(|entry| entry.posting_id).collect();
        let transfers: BTreeSet<TransferId> =
            entries.iter().filter(|entry| entry.kind.is_transfer()).map(transfer_of).collect();
        let transfers: Vec<TransferId> = transfers.into_iter().collect();
        let sides = self.store.posting_sides(&postings).await?;
        let mut surroundings = Surroundings {
            sides: sides.into_iter().map(|side| ((side.posting_id, side.is_debit), side)).collect(),
            postings: self.store.posting_list(&postings).await?,
            ..Surroundings::default()
        };
        if !transfers.is_empty() {
            surroundings.holds = self.store.hold_states(&transfers).await?;
            surroundings.other_book = self.orders.postings(&transfers).await?;
        }
        Ok(surroundings)
    }
}

impl Book for BookAudit {
    type Key = WalletKey;
    type Entry = WalletEntry;
    type Error = Error;

    async fn entries(&self, key: WalletKey, above: i64, up_to: i64, limit: i64) -> Result<Run<WalletEntry>> {
        let run = self.store.wallet_entry_run(key, above, up_to, limit).await?;
        if run.is_empty() {
            return Ok(Vec::new());
        }
        let surroundings = self.surroundings(&run).await?;
        let with_facts = |entry| {
            let facts = surroundings.of(&entry);
            (entry, facts)
        };
        Ok(run.into_iter().map(with_facts).collect())
    }

    async fn keep(&self, advances: Vec<Advance<WalletKey>>, sums: Sums) -> Result<()> {
        let (advances, sums) = (&advances, &sums);
        let saved = self.store.transaction("audit_advance", |mut tx| async move {
            let is_saved = tx.audit_advance(advances, sums).await?;
            Ok(if is_saved { tx.commit(true) } else { tx.abandon(false) })
        });
        if saved.await? { Ok(()) } else { Err(Error::contention("another audit is on its way")) }
    }
}

/// What a run of entries is compared with.
#[derive(Debug, Default)]
struct Surroundings {
    sides: BTreeMap<(PostingId, bool), StoredSide>,
    postings: BTreeMap<PostingId, StoredPosting>,
    holds: BTreeMap<TransferId, HoldState>,
    other_book: BTreeMap<TransferId, OtherBook>,
}

impl Surroundings {
    fn of(&self, entry: &WalletEntry) -> Facts {
        let transfer_id = transfer_of(entry);
        Facts {
            other_side: self.sides.get(&(entry.posting_id, entry.amount > 0)).cloned(),
            posting: self.postings.get(&entry.posting_id).cloned(),
            hold: self.holds.get(&transfer_id).copied(),
            other_book: self.other_book.get(&transfer_id).cloned(),
        }
    }
}

/// A posting of a transfer has the transfer's id.
fn transfer_of(entry: &WalletEntry) -> TransferId {
    TransferId::from_uuid(entry.posting_id.uuid())
}
