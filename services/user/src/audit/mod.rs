//! The audit of this book, a step at a time: what `order_service::audit` is for the accounts there, with the
//! argument why the two together miss nothing and blame nobody wrongly while credit moves.
//!
//! A wallet is read once, which tells where its chain must end. Entries up to there never change, so they can be
//! read at leisure. Whatever a payment or refund among them needs in order service was committed there before the
//! entry here: it is asked for last, and must be there. What was found in order is kept, and the next audit goes on
//! from there; a chain with a finding keeps its place before it, so what is wrong is found again until it is mended.
//!
//! A step is bounded by entries, not by wallets, and each is told of: whoever waits hears something soon, however
//! long a chain is.
//!
//! An audit of one user's wallets follows their chains from the first entries, and adds up anew the days whose sums their
//! limits are held against.
//!
//! A full audit follows every chain from its first entry, and looks at what no chain leads to as well: postings
//! without a wallet, entries behind the end of their wallet, holds that are POSTED and have no posting.

mod chains;
mod walks;

use bookkeeping::{Chains, Finding};
use events::{HoldState, Mark};
use time::Duration;
use types::{OrderId, PostingId, TransferId, UserId};

use crate::clients::order::OrderClient;
use crate::domain::audit::Sums;
use crate::domain::wallet::WalletKey;
use crate::error::Result;
use crate::storage::Store;
use crate::transfers::CONSUMER;

/// Past its time a hold waits for the coordinator's answer only: so long that every outage has been noticed.
const GRACE: Duration = Duration::minutes(10);
const OVERDUE: i64 = 50;

/// What one step brought.
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
    pub(crate) transfer_id: TransferId,
    /// How far its hold is.
    pub(crate) hold: Option<HoldState>,
    /// The wallet and what arrived in it, negative when it left.
    pub(crate) entry: Option<(WalletKey, i64)>,
    pub(crate) order_id: Option<OrderId>,
}

/// Starts audits, and answers the auditor of the other book.
#[derive(Clone)]
pub(crate) struct Audits {
    store: Store,
    orders: OrderClient,
}

impl std::fmt::Debug for Audits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audits").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Audits {
    /// Audits of this book, with order service to ask.
    pub(crate) const fn new(store: Store, orders: OrderClient) -> Self {
        Self { store, orders }
    }

    /// An audit at its beginning.
    pub(crate) fn start(&self, is_full: bool) -> BookAudit {
        let Self { store, orders } = self.clone();
        BookAudit { store, orders, is_full, place: Place::OverdueHolds }
    }

    /// An audit of one user's wallets, at its beginning.
    pub(crate) fn start_of(&self, owner: UserId) -> BookAudit {
        let Self { store, orders } = self.clone();
        BookAudit { store, orders, is_full: true, place: Place::WalletsOf(owner) }
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
            let entry = mine.filter_map(|side| Some((side.place?.0, side.change().minor_units))).next();
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
    is_full: bool,
    place: Place,
}

/// What comes next.
#[derive(Debug)]
enum Place {
    OverdueHolds,
    Wallets(Option<WalletKey>),
    Chains(Box<Chains<WalletKey>>),
    WalletsOf(UserId),
    ChainsOf(UserId, Box<Chains<WalletKey>>),
    Postings(Option<PostingId>),
    Holds(Option<TransferId>),
    Sums,
    End,
}

impl BookAudit {
    /// Audits on; `None` behind the end. After an error there is no going on.
    ///
    /// # Errors
    /// When the book, or order service, cannot be read; contention when another audit is on its way.
    pub(crate) async fn next_page(&mut self) -> Result<Option<Page>> {
        let mut page = Page::default();
        self.place = match std::mem::replace(&mut self.place, Place::End) {
            Place::OverdueHolds => {
                self.overdue_holds(&mut page).await?;
                Place::Wallets(None)
            }
            Place::Wallets(above) => Place::Chains(Box::new(self.wallets(above, &mut page).await?)),
            Place::Chains(mut chains) => match (self.follow(&mut chains, &mut page).await?, chains.last) {
                (false, _) => Place::Chains(chains),
                (true, Some(last)) => Place::Wallets(Some(last)),
                (true, None) if self.is_full => Place::Postings(None),
                (true, None) => Place::Sums,
            },
            Place::WalletsOf(owner) => {
                let chains = self.wallets_of(owner, &mut page).await?;
                Place::ChainsOf(owner, Box::new(chains))
            }
            Place::ChainsOf(owner, mut chains) => {
                if self.follow(&mut chains, &mut page).await? {
                    self.days(owner, &mut page).await?;
                    Place::End
                } else {
                    Place::ChainsOf(owner, chains)
                }
            }
            Place::Postings(above) => match self.postings(above, &mut page).await? {
                Some(last) => Place::Postings(Some(last)),
                None => Place::Holds(None),
            },
            Place::Holds(above) => match self.holds(above, &mut page).await? {
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
        let now = self.store.now().await?;
        for hold in self.store.hold_list_due(now - GRACE, None, OVERDUE).await? {
            let Some(spec) = &hold.spec else { continue };
            let what =
                format!("the wallet of {} holds {} since {}", spec.owner, spec.amount, spec.expires_at);
            page.findings.push(Finding::transfer(hold.transfer_id, what, None));
        }
        Ok(())
    }
}
