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
//! without a chain besides. A chain with a finding keeps its place before it, so every audit finds it again until it
//! is mended. What only a full audit sees is found again because, as long as the last outcome has something of that
//! kind, each audit is a full one; where that cannot be had, one of what is new goes on telling of it.
//!
//! **What is set aside** changes with the decision, in one transaction of this database, so one statement sees the two
//! together: each account's holds against what it shows, and each hold that is HELD against its transfer, in every
//! audit; the other holds, and the sums of orders against their transfers, in a full one.
//!
//! **One at a time**, by a lease that is renewed while a step runs. Steps are bounded by entries, not by accounts, in
//! both books: an audit tells of itself all the time however long the chains are, so who hears nothing knows that
//! nothing is done.

mod chains;
mod metrics;
mod pass;
mod walks;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use bookkeeping::Finding;
use events::HoldState;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;
use types::{IdSource, TransferId};

use crate::clients::WalletBook;
use crate::domain::audit::Decided;
use crate::domain::audit_funds::against_hold;
use crate::domain::audit_outcome::{Cut, Known};
use crate::error::{Error, Result};
use crate::storage::{Store, Turn};
use types::Money;

pub(crate) use pass::{Pass, Step};
pub(crate) use worker::Worker;

/// How long an audit keeps others from auditing when its auditor dies.
const LEASE: Duration = Duration::from_secs(10);
/// How long somebody waits for another audit to end: longer than a dead one is in the way.
const TURN_WITHIN: Duration = Duration::from_secs(20);
const TURN_POLL: Duration = Duration::from_millis(100);
/// How long user service may take to apply what was committed before the cut.
const CUT_WITHIN: Duration = Duration::from_secs(30);
const CUT_POLL: Duration = Duration::from_millis(20);
/// Past its time a hold waits for a decision only: so long that every outage has been noticed.
const GRACE: Duration = Duration::from_secs(600);
/// Holds of one kind that one audit tells of.
const HELD: i64 = 50;

/// Starts audits, and answers the auditor of the other book. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Audits {
    store: Store,
    wallets: WalletBook,
    ids: Arc<dyn IdSource>,
    /// Waits for what an audit that was dropped has still to do.
    tracker: TaskTracker,
}

impl Audits {
    /// Audits of this book and the wallets'.
    pub(crate) fn new(
        store: Store,
        wallets: WalletBook,
        ids: Arc<dyn IdSource>,
        tracker: TaskTracker,
    ) -> Self {
        Self { store, wallets, ids, tracker }
    }

    /// An audit at its beginning, once no other is on its way.
    ///
    /// # Errors
    /// [`types::Failure::Contention`] when another one does not end.
    pub(crate) async fn start(&self, is_full: bool) -> Result<Pass> {
        let give_up = Instant::now() + TURN_WITHIN;
        loop {
            if let Some(pass) = self.try_start(|turn| is_full || must_be_full(turn)).await? {
                return Ok(pass);
            }
            if Instant::now() >= give_up {
                return Err(Error::contention("another audit does not end"));
            }
            sleep(TURN_POLL).await;
        }
    }

    /// An audit at its beginning; `None` while another is on its way.
    async fn try_start(&self, is_full: impl FnOnce(&Turn) -> bool) -> Result<Option<Pass>> {
        let owner = self.ids.next();
        let turn = self.store.audit_begin(owner, LEASE).await?;
        Ok(turn.map(|turn| {
            let is_full = is_full(&turn);
            Pass::new(self.clone(), owner, turn, is_full)
        }))
    }

    /// How the last audit ended, and whether one has failed since.
    pub(crate) async fn last(&self) -> Result<Known> {
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

    /// Holds that are HELD for too long, or though their transfer is decided; a full audit looks at the latter with
    /// all the others.
    async fn held(&self, is_full: bool) -> Result<Vec<Finding>> {
        let seconds = i64::try_from(GRACE.as_secs()).unwrap_or(i64::MAX);
        let holds = self.store.audit_overdue(seconds, HELD).await?;
        let mut found = Vec::new();
        for hold in holds.iter().filter(|hold| hold.state == HoldState::Held) {
            let Some(spec) = &hold.spec else { continue };
            let what =
                format!("the account of {} holds {} since {}", spec.owner, spec.amount, spec.expires_at);
            found.push(Finding::transfer(hold.transfer_id, what, None));
        }
        if !is_full {
            let held = self.store.audit_held(HELD).await?;
            found.extend(held.iter().filter_map(|(hold, transfer)| against_hold(hold, transfer.as_ref())));
        }
        Ok(found)
    }
}

/// Whether what was found before has to be looked for by a full audit.
fn must_be_full(turn: &Turn) -> bool {
    turn.last.as_ref().is_some_and(|last| last.outcome.asks_for_full())
}
