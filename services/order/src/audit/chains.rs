//! The chains of a page of accounts, a bounded number of entries at a time: however long a chain is, a step of the
//! audit is short, and what it found in order is kept before the next one.

use types::TransferId;

use super::Pass;
use crate::domain::account::{Account, AccountKey, Entry};
use crate::domain::audit::{Chain, Finding, Sums, against};
use crate::domain::audit_funds::against_account;
use crate::error::{Error, Result};
use crate::storage::{Advance, Audited};

const ACCOUNTS: i64 = 200;
/// Entries that a step reads at the most.
const ENTRIES: i64 = 500;
/// Chains that a step follows at the most, each of which is asked about in both books.
const CHAINS: usize = 20;

/// The accounts of a page whose chains are still to be followed.
pub(super) struct Chains {
    left: std::vec::IntoIter<Audited>,
    current: Option<Following>,
    /// Behind which account the next page begins; `None` when this one is the last.
    pub(super) last: Option<AccountKey>,
}

/// A chain on the way to its end.
struct Following {
    account: Account,
    /// How far it was found in order before this audit.
    audited: Chain,
    /// How far that is kept; `None` when nothing is.
    kept: Option<Chain>,
    chain: Chain,
    is_sound: bool,
    is_at_end: bool,
}

impl Chains {
    fn next(&mut self, is_full: bool) -> Option<Following> {
        self.current.take().or_else(|| self.left.next().map(|audited| Following::begin(audited, is_full)))
    }
}

impl Following {
    fn begin(audited: Audited, is_full: bool) -> Self {
        let checkpoint = audited.from.unwrap_or(Chain::START);
        Self {
            account: audited.account,
            audited: checkpoint,
            kept: audited.from,
            chain: if is_full { Chain::START } else { checkpoint },
            is_sound: true,
            is_at_end: false,
        }
    }

    /// What is to be kept, if there is something new and nothing is wrong up to there.
    fn advance(&mut self) -> Option<Advance> {
        let reached = self.kept.map_or(0, |kept| kept.sequence);
        if !self.is_sound || self.chain.sequence <= reached {
            return None;
        }
        let from = self.kept.replace(self.chain);
        Some(Advance { key: self.account.key, from, to: self.chain })
    }
}

impl Pass {
    /// Reads the next page of accounts, and takes the cut behind it. Their entries are compared after that.
    pub(super) async fn accounts(&mut self, above: Option<AccountKey>) -> Result<Chains> {
        let page = self.audits.store.audit_accounts(above, ACCOUNTS, self.is_full).await?;
        if !page.is_empty() || self.cut.is_none() {
            self.cut = Some(self.audits.cut().await?);
        }
        let is_last = i64::try_from(page.len()).is_ok_and(|count| count < ACCOUNTS);
        let last = page.last().map(|audited| audited.account.key).filter(|_| !is_last);
        for audited in &page {
            self.found(against_account(&audited.account, audited.holds));
        }
        let is_full = self.is_full;
        let to_follow = page
            .into_iter()
            .filter(|audited| is_full || Chain::of(&audited.account) != audited.from.unwrap_or(Chain::START));
        let left = to_follow.collect::<Vec<_>>().into_iter();
        Ok(Chains { left, current: None, last })
    }

    /// Follows the page's chains as far as one step goes; whether that is their end.
    pub(super) async fn follow(&mut self, chains: &mut Chains) -> Result<bool> {
        let (mut advances, mut sums) = (Vec::new(), Sums::default());
        let mut budget = ENTRIES;
        for _ in 0..CHAINS {
            self.accounts += i64::from(chains.current.is_none() && chains.left.len() > 0);
            let Some(mut following) = chains.next(self.is_full) else { break };
            let (read, new) = self.run(&mut following, budget).await?;
            budget -= read;
            if let Some(advance) = following.advance() {
                advances.push(advance);
                sums.add_all(&new).ok_or_else(too_large)?;
            }
            chains.current = Some(following).filter(|following| !following.is_at_end);
            if budget <= 0 {
                break;
            }
        }
        if !advances.is_empty() {
            let advance = self.audits.store.transaction("audit_advance", async |mut tx| {
                tx.audit_advance(&advances, &sums).await?;
                tx.commit().await
            });
            advance.await?;
        }
        Ok(chains.current.is_none() && chains.left.len() == 0)
    }

    /// Follows a chain over at most `limit` entries: how many there were, and the sums of those that no audit had
    /// seen.
    async fn run(&mut self, following: &mut Following, limit: i64) -> Result<(i64, Sums)> {
        let (key, end) = (following.account.key, following.account.sequence);
        let (mut sums, mut read) = (Sums::default(), 0);
        let run = self.audits.store.audit_entries(key, following.chain.sequence, end, limit).await?;
        if !run.is_empty() {
            let ids: Vec<TransferId> = run.iter().map(|(entry, _)| entry.posting.transfer_id).collect();
            let there = self.audits.wallets.postings(&ids).await?.postings;
            for (entry, evidence) in &run {
                read += 1;
                let other = there.get(&entry.posting.transfer_id);
                let mut found = following.go_on(entry);
                found.extend(against(entry, evidence, other));
                let is_new = entry.sequence > following.audited.sequence;
                if is_new && let Some((_, amount)) = other.and_then(|other| other.entry) {
                    sums.count(entry, amount).ok_or_else(too_large)?;
                }
                following.is_sound &= found.is_empty();
                self.found(found.into_iter().map(|finding| finding.seen_by_full(!is_new)).collect());
            }
        }
        self.entries += read;
        following.is_at_end = run.is_empty() || following.chain.sequence >= end;
        if following.is_at_end {
            let found = following.end();
            following.is_sound &= found.is_none();
            self.found(found.into_iter().collect());
        }
        Ok((read, sums))
    }
}

impl Following {
    /// Goes on to the next entry, and says what breaks the chain there.
    fn go_on(&mut self, entry: &Entry) -> Vec<Finding> {
        let key = self.account.key;
        let mut found = Vec::new();
        if let Err(what) = self.chain.follow(entry) {
            let too_much =
                entry.balance_after.saturating_sub(entry.amount).saturating_sub(self.chain.balance);
            let what = format!("entry {} ({}): {what}", entry.sequence, entry.posting.transfer_id);
            found.push(Finding::account(key, what, too_much));
            self.chain = Chain::behind(entry);
        }
        if entry.sequence == self.audited.sequence && self.chain != self.audited {
            let what = format!("entry {} is another than was audited", entry.sequence);
            found.push(Finding::account(key, what, self.chain.balance.saturating_sub(self.audited.balance)));
        }
        found
    }

    /// What the end of the chain has against the account. An account that is as the last audit left it is looked
    /// at by a full one only.
    fn end(&self) -> Option<Finding> {
        let what = self.chain.end_at(&self.account).err()?;
        let what = format!("behind entry {}: {what}", self.chain.sequence);
        let too_much = self.account.balance.saturating_sub(self.chain.balance);
        let finding = Finding::account(self.account.key, what, too_much);
        Some(finding.seen_by_full(Chain::of(&self.account) == self.audited))
    }
}

fn too_large() -> Error {
    Error::internal("a sum of the audit does not fit")
}
