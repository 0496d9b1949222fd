//! The chains of a page of wallets, a bounded number of entries at a time: what was found in order is kept before the
//! next step.

use std::collections::{BTreeMap, BTreeSet};

use events::HoldState;
use types::{PostingId, TransferId};

use super::{BookAudit, Page};
use crate::domain::audit::{Facts, Finding, OtherBook, StoredPosting, StoredSide, Sums, against};
use crate::domain::chain::Chain;
use crate::domain::ledger::WalletEntry;
use crate::domain::wallet::{Wallet, WalletKey};
use crate::error::{Error, Result};
use crate::storage::Advance;

const WALLETS: i64 = 200;
/// Entries that a step reads at the most.
const ENTRIES: i64 = 500;
/// Chains that a step follows at the most, each of which is asked about in both books.
const CHAINS: usize = 20;

/// The wallets of a page whose chains are still to be followed.
#[derive(Debug)]
pub(super) struct Chains {
    left: std::vec::IntoIter<(Wallet, Option<Chain>)>,
    current: Option<Following>,
    /// Behind which wallet the next page begins; `None` when this one is the last.
    pub(super) last: Option<WalletKey>,
}

/// A chain on the way to its end.
#[derive(Debug)]
struct Following {
    wallet: Wallet,
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
        let begin = |(wallet, from)| Following::begin(wallet, from, is_full);
        self.current.take().or_else(|| self.left.next().map(begin))
    }
}

impl Following {
    fn begin(wallet: Wallet, from: Option<Chain>, is_full: bool) -> Self {
        let audited = from.unwrap_or(Chain::START);
        let chain = if is_full { Chain::START } else { audited };
        Self { wallet, audited, kept: from, chain, is_sound: true, is_at_end: false }
    }

    /// What is to be kept, if there is something new and nothing is wrong up to there.
    fn advance(&mut self) -> Option<Advance> {
        let reached = self.kept.map_or(0, |kept| kept.sequence);
        if !self.is_sound || self.chain.sequence <= reached {
            return None;
        }
        let from = self.kept.replace(self.chain);
        Some(Advance { key: self.wallet.key, from, to: self.chain })
    }

    /// Goes on to the next entry, and says what breaks the chain there.
    fn go_on(&mut self, entry: &WalletEntry) -> Vec<Finding> {
        let key = self.wallet.key;
        let mut found = Vec::new();
        if let Err(broken) = self.chain.follow(entry) {
            let too_much =
                entry.balance_after.saturating_sub(entry.amount).saturating_sub(self.chain.balance);
            let what = format!("entry {} ({}): {}", broken.sequence, entry.posting_id, broken.what);
            found.push(Finding::wallet(key, what, too_much));
            self.chain = Chain::behind(entry);
        }
        if entry.sequence == self.audited.sequence && self.chain != self.audited {
            let too_much = self.chain.balance.saturating_sub(self.audited.balance);
            let what = format!("entry {} is another than was audited", entry.sequence);
            found.push(Finding::wallet(key, what, too_much));
        }
        found
    }

    /// What the end of the chain has against the wallet. A wallet that is as the last audit left it is looked at by
    /// a full one only.
    fn end(&self) -> Option<Finding> {
        let broken = self.chain.end_at(&self.wallet).err()?;
        let what = format!("behind entry {}: {}", broken.sequence, broken.what);
        let too_much = self.wallet.balance.saturating_sub(self.chain.balance);
        let finding = Finding::wallet(self.wallet.key, what, too_much);
        Some(finding.seen_by_full(Chain::of(&self.wallet) == self.audited))
    }
}

impl BookAudit {
    /// Reads the next page of wallets, and how far each was followed.
    pub(super) async fn wallets(&self, above: Option<WalletKey>, page: &mut Page) -> Result<Chains> {
        let wallets = self.store.wallet_page(above, WALLETS).await?;
        let is_last = i64::try_from(wallets.len()).is_ok_and(|count| count < WALLETS);
        let last = wallets.last().map(|wallet| wallet.key).filter(|_| !is_last);
        let mut checkpoints = self.store.audit_checkpoints(above, last).await?;
        let mut to_follow = Vec::new();
        for mut wallet in wallets {
            let from = checkpoints.remove(&wallet.key);
            if !self.is_full && Chain::of(&wallet) == from.unwrap_or(Chain::START) {
                continue;
            }
            // Another audit may have been quicker: then the wallet has moved on since it was read.
            if from.is_some_and(|from| from.sequence > wallet.sequence) {
                wallet = self.store.wallet_fetch(wallet.key).await?.unwrap_or(wallet);
            }
            to_follow.push((wallet, from));
        }
        for (key, chain) in checkpoints {
            // It may have come to be after the page was read.
            if self.store.wallet_fetch(key).await?.is_none() {
                page.findings.push(Finding::wallet(key, "the wallet is gone", -chain.balance));
            }
        }
        Ok(Chains { left: to_follow.into_iter(), current: None, last })
    }

    /// Follows the page's chains as far as one step goes; whether that is their end.
    pub(super) async fn follow(&self, chains: &mut Chains, page: &mut Page) -> Result<bool> {
        let (mut advances, mut sums) = (Vec::new(), Sums::default());
        let mut budget = ENTRIES;
        for _ in 0..CHAINS {
            page.wallets += i64::from(chains.current.is_none() && chains.left.len() > 0);
            let Some(mut following) = chains.next(self.is_full) else { break };
            let (read, new) = self.run(&mut following, budget, page).await?;
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
            let context = (advances, sums);
            let saved = self.store.transaction("audit_advance", context, |tx, (advances, sums)| {
                Box::pin(tx.audit_advance(advances, sums))
            });
            if !saved.await? {
                return Err(Error::Contention);
            }
        }
        Ok(chains.current.is_none() && chains.left.len() == 0)
    }

    /// Follows a chain over at most `limit` entries: how many there were, and the sums of those that no audit had
    /// seen.
    async fn run(&self, following: &mut Following, limit: i64, page: &mut Page) -> Result<(i64, Sums)> {
        let (key, end) = (following.wallet.key, following.wallet.sequence);
        let (mut sums, mut read) = (Sums::default(), 0);
        let run = self.store.wallet_entry_run(key, following.chain.sequence, end, limit).await?;
        if !run.is_empty() {
            let surroundings = self.surroundings(&run).await?;
            for entry in &run {
                read += 1;
                let mut found = following.go_on(entry);
                found.extend(against(entry, &surroundings.of(entry)));
                let is_new = entry.sequence > following.audited.sequence;
                if is_new {
                    sums.count(entry).ok_or_else(too_large)?;
                }
                following.is_sound &= found.is_empty();
                page.findings.extend(found.into_iter().map(|finding| finding.seen_by_full(!is_new)));
            }
        }
        page.entries += read;
        following.is_at_end = run.is_empty() || following.chain.sequence >= end;
        if following.is_at_end {
            let found = following.end();
            following.is_sound &= found.is_none();
            page.findings.extend(found);
        }
        Ok((read, sums))
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

/// What a run of entries is compared with.
#[derive(Debug, Default)]
struct Surroundings {
    sides: BTreeMap<(PostingId, bool), StoredSide>,
    postings: BTreeMap<PostingId, StoredPosting>,
    holds: BTreeMap<TransferId, HoldState>,
    other_book: BTreeMap<TransferId, OtherBook>,
}

impl Surroundings {
    fn of(&self, entry: &WalletEntry) -> Facts<'_> {
        let transfer_id = transfer_of(entry);
        Facts {
            other_side: self.sides.get(&(entry.posting_id, entry.amount > 0)),
            posting: self.postings.get(&entry.posting_id),
            hold: self.holds.get(&transfer_id).copied(),
            other_book: self.other_book.get(&transfer_id),
        }
    }
}

/// A posting of a transfer has the transfer's id.
fn transfer_of(entry: &WalletEntry) -> TransferId {
    TransferId::from_uuid(entry.posting_id.uuid())
}

fn too_large() -> Error {
    Error::internal("a sum of the audit does not fit")
}
