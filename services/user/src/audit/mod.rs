//! The audit of this book, a page at a time: what `order_service::audit` is for the accounts there, with the
//! argument why the two together miss nothing and blame nobody wrongly while credit moves.
//!
//! A wallet is read once, which tells where its chain must end. Entries up to there never change, so they can be
//! read at leisure. Whatever a payment or refund among them needs in order service was committed there before the
//! entry here: it is asked for last, and must be there. What was found in order is kept, and the next audit goes on
//! from there; a wallet with a finding stays where it was, so what is wrong is found again until it is mended.
//!
//! A full audit follows every chain from its first entry, and looks at what no chain leads to as well: postings
//! without a wallet, entries behind the end of their wallet, holds that are POSTED and have no posting.

mod walks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use events::{HoldState, Mark};
use time::Duration;
use types::{Clock, OrderId, PostingId, TransferId};

use crate::clients::order::OrderClient;
use crate::domain::audit::{Facts, Finding, OtherBook, StoredPosting, StoredSide, Sums, against};
use crate::domain::chain::Chain;
use crate::domain::ledger::WalletEntry;
use crate::domain::wallet::{Wallet, WalletKey};
use crate::error::{Error, Result};
use crate::storage::{Advance, Store};
use crate::transfers::CONSUMER;

const WALLETS: i64 = 200;
const ENTRIES: i64 = 500;
/// Past its time a hold waits for the coordinator's answer only: so long that every outage has been noticed.
const GRACE: Duration = Duration::minutes(10);
const OVERDUE: i64 = 50;

/// What one page brought.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Wallets that were followed.
    pub(crate) wallets: i64,
    /// Entries that were read.
    pub(crate) entries: i64,
    /// What must not be.
    pub(crate) findings: Vec<Finding>,
    /// At the end: the sums of all postings that were ever found in order.
    pub(crate) sums: Option<Sums>,
}

/// What this book has of a transfer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TransferPosting {
    /// The transfer.
    pub(crate) transfer_id: TransferId,
    /// How far its hold is.
    pub(crate) hold: Option<HoldState>,
    /// The wallet and what arrived in it, negative when it left.
    pub(crate) entry: Option<(WalletKey, i64)>,
    /// The order.
    pub(crate) order_id: Option<OrderId>,
}

/// Starts audits, and answers the auditor of the other book.
#[derive(Clone)]
pub(crate) struct Audits {
    store: Store,
    orders: OrderClient,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Audits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audits").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Audits {
    /// Audits of this book, with order service to ask.
    pub(crate) fn new(store: Store, orders: OrderClient, clock: Arc<dyn Clock>) -> Self {
        Self { store, orders, clock }
    }

    /// An audit at its beginning.
    pub(crate) fn start(&self, is_full: bool) -> BookAudit {
        let Self { store, orders, clock } = self.clone();
        BookAudit { store, orders, clock, is_full, place: Place::OverdueHolds }
    }

    /// What this book has of these transfers, and the mark of the coordinator's commands, which is read first: all
    /// that it passed is in what is read after it.
    pub(crate) async fn postings(&self, ids: &[TransferId]) -> Result<(Mark, Vec<TransferPosting>)> {
        let mark = self.store.mark_fetch(CONSUMER).await?.unwrap_or(Mark::START);
        if ids.is_empty() {
            return Ok((mark, Vec::new()));
        }
        let postings: Vec<PostingId> = ids.iter().map(|id| PostingId::from_uuid(id.uuid())).collect();
        let sides = self.store.posting_sides(&postings).await?;
        let known = self.store.posting_list(&postings).await?;
        let holds = self.store.hold_states(ids).await?;
        let of = |id: &TransferId| {
            let posting = PostingId::from_uuid(id.uuid());
            let mine = sides.iter().filter(|side| side.posting_id == posting);
            let entry = mine.filter_map(|side| Some((side.place?.0, signed(side)))).next();
            let order_id = known.get(&posting).and_then(|posting| posting.order_id);
            let hold = holds.get(id).copied();
            let is_known = hold.is_some() || entry.is_some();
            is_known.then_some(TransferPosting { transfer_id: *id, hold, entry, order_id })
        };
        Ok((mark, ids.iter().filter_map(of).collect()))
    }
}

/// An audit on its way through the book.
pub(crate) struct BookAudit {
    store: Store,
    orders: OrderClient,
    clock: Arc<dyn Clock>,
    is_full: bool,
    place: Place,
}

/// What comes next.
#[derive(Debug)]
enum Place {
    OverdueHolds,
    Wallets(Option<WalletKey>),
    Postings(Option<PostingId>),
    Holds(Option<TransferId>),
    Sums,
    End,
}

impl BookAudit {
    /// Audits the next page; `None` behind the last.
    ///
    /// # Errors
    /// When the book, or order service, cannot be read; [`Error::Contention`] when another audit is on its way.
    pub(crate) async fn next_page(&mut self) -> Result<Option<Page>> {
        let mut page = Page::default();
        self.place = match &self.place {
            Place::OverdueHolds => {
                self.overdue_holds(&mut page).await?;
                Place::Wallets(None)
            }
            Place::Wallets(above) => match self.wallets(*above, &mut page).await? {
                Some(last) => Place::Wallets(Some(last)),
                None if self.is_full => Place::Postings(None),
                None => Place::Sums,
            },
            Place::Postings(above) => match self.postings(*above, &mut page).await? {
                Some(last) => Place::Postings(Some(last)),
                None => Place::Holds(None),
            },
            Place::Holds(above) => match self.holds(*above, &mut page).await? {
                Some(last) => Place::Holds(Some(last)),
                None => Place::Sums,
            },
            Place::Sums => {
                page.sums = Some(self.store.audit_sums().await?);
                Place::End
            }
            Place::End => return Ok(None),
        };
        Ok(Some(page))
    }

    async fn overdue_holds(&self, page: &mut Page) -> Result<()> {
        for hold in self.store.hold_list_overdue(self.clock.now() - GRACE, OVERDUE).await? {
            let Some(spec) = &hold.spec else { continue };
            let what =
                format!("the wallet of {} holds {} since {}", spec.owner, spec.amount, spec.expires_at);
            let id = PostingId::from_uuid(hold.transfer_id.uuid());
            page.findings.push(Finding::without_amount(id, what));
        }
        Ok(())
    }

    /// The last wallet of the page; `None` when it was the last of all.
    async fn wallets(&self, above: Option<WalletKey>, page: &mut Page) -> Result<Option<WalletKey>> {
        let wallets = self.store.wallet_page(above, WALLETS).await?;
        let is_last = i64::try_from(wallets.len()).is_ok_and(|count| count < WALLETS);
        let last = wallets.last().map(|wallet| wallet.key).filter(|_| !is_last);
        let mut checkpoints = self.store.audit_checkpoints(above, last).await?;
        let (mut advances, mut sums) = (Vec::new(), Sums::default());
        for mut wallet in wallets {
            let from = checkpoints.remove(&wallet.key);
            if !self.is_full && Chain::of(&wallet) == from.unwrap_or(Chain::START) {
                continue;
            }
            // Another audit may have been quicker: then the wallet has moved on since it was read.
            if from.is_some_and(|from| from.sequence > wallet.sequence) {
                wallet = self.store.wallet_fetch(wallet.key).await?.unwrap_or(wallet);
            }
            if let Some((to, new)) = self.follow(&wallet, from, page).await? {
                advances.push(Advance { key: wallet.key, from, to });
                sums.add_all(&new).ok_or_else(too_large)?;
            }
        }
        for (key, chain) in checkpoints {
            // It may have come to be after the page was read.
            if self.store.wallet_fetch(key).await?.is_none() {
                page.findings.push(Finding::wallet(key, "the wallet is gone", -chain.balance));
            }
        }
        if !advances.is_empty() {
            let context = (advances, sums);
            let saved = self.store.transaction("audit_advance", context, |tx, (advances, sums)| {
                Box::pin(tx.audit_advance(advances, sums))
            });
            saved.await?;
        }
        Ok(last)
    }

    /// Follows a wallet's chain to its end. How far it is in order, and the sums of what is new, if there is
    /// something new and nothing is wrong.
    async fn follow(
        &self,
        wallet: &Wallet,
        from: Option<Chain>,
        page: &mut Page,
    ) -> Result<Option<(Chain, Sums)>> {
        let (checkpoint, found_before) = (from.unwrap_or(Chain::START), page.findings.len());
        let mut chain = if self.is_full { Chain::START } else { checkpoint };
        let mut sums = Sums::default();
        page.wallets += 1;
        while chain.sequence < wallet.sequence {
            let entries =
                self.store.wallet_entry_run(wallet.key, chain.sequence, wallet.sequence, ENTRIES).await?;
            if entries.is_empty() {
                break;
            }
            let surroundings = self.surroundings(&entries).await?;
            for entry in &entries {
                page.entries += 1;
                if let Err(broken) = chain.follow(entry) {
                    let too_much =
                        entry.balance_after.saturating_sub(entry.amount).saturating_sub(chain.balance);
                    let what = format!("entry {} ({}): {}", broken.sequence, entry.posting_id, broken.what);
                    page.findings.push(Finding::wallet(wallet.key, what, too_much));
                    chain = Chain::behind(entry);
                }
                page.findings.extend(against(entry, &surroundings.of(entry)));
                if entry.sequence == checkpoint.sequence && chain != checkpoint {
                    let too_much = chain.balance.saturating_sub(checkpoint.balance);
                    let what = format!("entry {} is another than was audited", entry.sequence);
                    page.findings.push(Finding::wallet(wallet.key, what, too_much));
                }
                if entry.sequence > checkpoint.sequence {
                    sums.count(entry).ok_or_else(too_large)?;
                }
            }
        }
        if let Err(broken) = chain.end_at(wallet) {
            let what = format!("behind entry {}: {}", broken.sequence, broken.what);
            let too_much = wallet.balance.saturating_sub(chain.balance);
            page.findings.push(Finding::wallet(wallet.key, what, too_much));
        }
        let is_sound = page.findings.len() == found_before;
        Ok((is_sound && chain.sequence > checkpoint.sequence).then_some((chain, sums)))
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

/// What a side adds to its account: credits less debits.
fn signed(side: &StoredSide) -> i64 {
    if side.is_debit { -side.amount.minor_units } else { side.amount.minor_units }
}

fn too_large() -> Error {
    Error::internal("a sum of the audit does not fit")
}
