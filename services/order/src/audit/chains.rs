//! The chains of a page of accounts: where their entries are read, what they are compared with, and where it is kept
//! how far they were found in order.

use bookkeeping::{Advance, Book, Chains, Run};
use types::TransferId;

use super::{Audits, Pass};
use crate::domain::account::{AccountKey, Entry};
use crate::domain::audit::{Evidence, Sums};
use crate::domain::audit_funds::against_account;
use crate::error::{Error, Result};
use crate::storage::Audited;

const ACCOUNTS: i64 = 200;

impl Pass {
    /// Reads the next page of accounts, and takes the cut behind it. Their entries are compared after that.
    pub(super) async fn accounts(&mut self, above: Option<AccountKey>) -> Result<Chains<AccountKey>> {
        let page = self.audits.store.audit_accounts(above, ACCOUNTS, self.is_full).await?;
        if !page.is_empty() || self.cut.is_none() {
            self.cut = Some(self.audits.cut().await?);
        }
        let is_last = i64::try_from(page.len()).is_ok_and(|count| count < ACCOUNTS);
        let last = page.last().map(|audited| audited.account.key).filter(|_| !is_last);
        let mut chains = Chains::new(self.is_full, last);
        for Audited { account, from, holds } in page {
            self.found(against_account(&account, holds));
            chains.add(account.key, account.chain(), from);
        }
        Ok(chains)
    }

    /// Follows the page's chains as far as one step goes; whether that is their end.
    pub(super) async fn follow(&mut self, chains: &mut Chains<AccountKey>) -> Result<bool> {
        let followed = chains.follow(&self.audits).await?;
        self.accounts += followed.accounts;
        self.entries += followed.entries;
        self.found(followed.findings);
        Ok(followed.is_last)
    }
}

impl Book for Audits {
    type Key = AccountKey;
    type Entry = Entry;
    type Error = Error;

    async fn entries(&self, key: AccountKey, above: i64, up_to: i64, limit: i64) -> Result<Run<Entry>> {
        let run = self.store.audit_entries(key, above, up_to, limit).await?;
        if run.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<TransferId> = run.iter().map(|(entry, _)| entry.posting.transfer_id).collect();
        let there = self.wallets.postings(&ids).await?.postings;
        let with_other = |(entry, evidence): (Entry, Evidence)| {
            let other = there.get(&entry.posting.transfer_id).cloned();
            (entry, (evidence, other))
        };
        Ok(run.into_iter().map(with_other).collect())
    }

    async fn keep(&self, advances: Vec<Advance<AccountKey>>, sums: Sums) -> Result<()> {
        let advance = self.store.transaction("audit_advance", async |mut tx| {
            let is_kept = tx.audit_advance(&advances, &sums).await?;
            Ok(if is_kept { tx.commit(true) } else { tx.abandon(false) })
        });
        if advance.await? {
            Ok(())
        } else {
            Err(Error::contention("another audit has followed the same chains"))
        }
    }
}
