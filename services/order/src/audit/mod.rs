//! Whether credit is conserved across both books, found out while it moves: nothing is stopped, and no snapshot
//! spans the databases, or even one of them. What makes it sound is that entries never change.
//!
//! An account is one row, read once: it tells how many entries its chain has, their sum and the last hash. From then
//! on its entries up to there are facts; they are followed from where the last audit left off, and each must fit the
//! one before, the other side of its posting, its transfer, and its decision CONFIRM.
//!
//! **The cut.** For each such entry the wallet's side must be posted, but perhaps not yet. So after the accounts were
//! read, all that is committed in this database is noted ([`crate::storage::Store::audit_take`]): what is stamped,
//! and the newest event that is not. An entry, its decision and the command to post commit together, so every entry
//! that was read has its command in there. Once all of it is stamped it has positions, none of them above `p1`; then
//! user service is asked until the mark of `user.transfers` is at `p1` or above, in the same history. Postings and
//! mark commit together there, and user service reads the mark before the postings. So from then on a missing posting
//! is missing, and no transfer that is merely on its way is ever blamed.
//!
//! **The other way round.** User service audits its own book in the same manner, after the cut, so that its wallets
//! hold at least all that was compared. The entry of a payment or refund there was made by a decision that had
//! committed here, with this book's entry, before user service heard of it; asked for last, it must be there, however
//! far beyond the cut it is. What is posted in one book and not decided in the other cannot hide in between.
//!
//! Together that is one to one: each entry of a transfer in either book has its opposite in the other, amount by
//! amount, but for those beyond the cut, which have theirs too. Each posting's two sides cancel out. So each book
//! balances, and the two accounts `transit` sum to zero for the transfers up to the cut; the sums that are kept and
//! shown are taken of each book's own entries. Two trial balances that are read one after the other have no such
//! property: what is decided between the reads looks like drift, and drift hides in what is on its way.
//!
//! What was found in order is kept by compare-and-set (`audit_accounts`, `audit_sums`) and not read again but by a
//! full audit, which follows each chain from its first entry, and looks at transfers without entries and entries
//! without a chain besides. An account with a finding keeps its old place, so every audit finds it again until it is
//! mended. What only a full audit sees is found again because, as long as the last full one found something, each
//! audit is a full one.

mod pass;
mod walks;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use events::HoldState;
use tokio::time::{Instant, sleep};
use types::{IdSource, TransferId};
use uuid::Uuid;

use crate::clients::WalletBook;
use crate::domain::audit::{Audit, Cut, Decided, Finding};
use crate::error::{Error, Result};
use crate::storage::{Store, Turn};
use types::Money;

pub(crate) use pass::{Pass, Step};
pub(crate) use worker::Worker;

/// How long one page of an audit may keep others from auditing when its auditor dies.
const LEASE: Duration = Duration::from_secs(60);
/// How long somebody waits for another audit to end.
const TURN_WITHIN: Duration = Duration::from_secs(20);
const TURN_POLL: Duration = Duration::from_millis(100);
/// How long user service may take to apply what was committed before the cut.
const CUT_WITHIN: Duration = Duration::from_secs(30);
const CUT_POLL: Duration = Duration::from_millis(20);
/// Past its time a hold waits for a decision only: so long that every outage has been noticed.
const GRACE: Duration = Duration::from_secs(600);
const OVERDUE: i64 = 50;

/// Starts audits, and answers the auditor of the other book. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Audits {
    store: Store,
    wallets: WalletBook,
    ids: Arc<dyn IdSource>,
}

impl Audits {
    /// Audits of this book and the wallets'.
    pub(crate) fn new(store: Store, wallets: WalletBook, ids: Arc<dyn IdSource>) -> Self {
        Self { store, wallets, ids }
    }

    /// An audit at its beginning, once no other is on its way.
    ///
    /// # Errors
    /// [`Error::Contention`] when another one does not end.
    pub(crate) async fn start(&self, is_full: bool) -> Result<Pass> {
        let owner = self.ids.next();
        let give_up = Instant::now() + TURN_WITHIN;
        loop {
            if let Some(turn) = self.store.audit_begin(owner, LEASE).await? {
                return Ok(Pass::new(self.clone(), owner, turn, is_full));
            }
            if Instant::now() >= give_up {
                return Err(Error::Contention);
            }
            sleep(TURN_POLL).await;
        }
    }

    /// As [`Audits::start`], for the worker of one of several replicas: `None` while another audit runs.
    async fn try_start(&self, full_every: Duration) -> Result<Option<Pass>> {
        let owner: Uuid = self.ids.next();
        let turn = self.store.audit_begin(owner, LEASE).await?;
        Ok(turn.map(|turn| {
            let is_full = turn.full_age.is_none_or(|age| age >= full_every);
            Pass::new(self.clone(), owner, turn, is_full)
        }))
    }

    /// How the last audit ended.
    pub(crate) async fn last(&self) -> Result<Option<Audit>> {
        self.store.audit_last().await
    }

    /// What this book has of these transfers.
    pub(crate) async fn postings(
        &self,
        ids: &[TransferId],
    ) -> Result<Vec<(TransferId, Decided, Option<Money>)>> {
        self.store.audit_postings(ids).await
    }

    /// Takes a cut of all that is committed now, and waits until user service has passed it.
    async fn cut(&self) -> Result<Cut> {
        let give_up = Instant::now() + CUT_WITHIN;
        let mut seen = String::from("the sequencer has not seen this server yet");
        let mut taken = None;
        let mut position = None;
        while Instant::now() < give_up {
            let Some(now) = taken else {
                taken = self.store.audit_take().await?;
                sleep(if taken.is_some() { Duration::ZERO } else { CUT_POLL }).await;
                continue;
            };
            let Some(at) = position else {
                "events before the cut are not stamped".clone_into(&mut seen);
                position = self.store.audit_position(&now).await?;
                sleep(if position.is_some() { Duration::ZERO } else { CUT_POLL }).await;
                continue;
            };
            let there = self.wallets.postings(&[]).await?;
            if there.epoch == now.epoch && there.position >= at {
                return Ok(Cut { epoch: now.epoch, position: at, in_flight: now.in_flight });
            }
            seen = format!("user service is at {} of {}", there.position, there.epoch);
            sleep(CUT_POLL).await;
        }
        Err(Error::unavailable(format!("the cut was not reached within {CUT_WITHIN:?}: {seen}")))
    }

    async fn overdue_holds(&self) -> Result<Vec<Finding>> {
        let seconds = i64::try_from(GRACE.as_secs()).unwrap_or(i64::MAX);
        let holds = self.store.audit_overdue(seconds, OVERDUE).await?;
        let found = holds.iter().filter(|hold| hold.state == HoldState::Held).filter_map(|hold| {
            let spec = hold.spec.as_ref()?;
            let what =
                format!("the account of {} holds {} since {}", spec.owner, spec.amount, spec.expires_at);
            Some(Finding::transfer(hold.transfer_id, what, None))
        });
        Ok(found.collect())
    }
}

/// Whether what the last full audit found has to be looked for again.
fn must_be_full(turn: &Turn) -> bool {
    turn.last.as_ref().is_some_and(|last| last.outcome.is_full && !last.outcome.findings.is_empty())
}
