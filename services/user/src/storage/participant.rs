//! The participant's side of `events::participant`, on MongoDB.
//!
//! A run of commands reads what it needs at once ([`Tx::participant_read`]), works on that, and writes what has
//! become of it with the transaction's other writes ([`Tx::participant_write`], at the latest when they are sent): a
//! handful of exchanges with the server, however many commands. Nothing is lost by it, because here a lock is a write
//! and conflicts are found when the transaction writes, whatever came before: two transactions that change one hold or
//! one wallet both write its document, on the condition that it is as they read it, and two that find none both insert
//! it. One of them conflicts and tries again on what the other left. Wallets are written before holds, each by id, and
//! both before their events: whoever comes second has to meet a conflict and no event that is there already.

use std::collections::BTreeMap;

use bson::doc;
use events::participant::Step;
use events::{Direction, Hold, HoldSpec, ParticipantTx, Refusal, StoreError};
use futures_util::TryStreamExt as _;
use mongodb::options::UpdateOneModel;
use time::OffsetDateTime;
use types::{PostingId, TransferId, UserId};

use super::holds::{HOLDS, HoldRow, StoredHold, by_id, hold_change, hold_row};
use super::writes::conflict;
use super::{Tx, bounded};
use crate::domain::ledger::{Memo, Posting};
use crate::domain::user::UserState;
use crate::domain::wallet::{Change, Wallet, WalletKey};
use crate::error::{Error, Result};

/// What a transaction has read and not yet written.
#[derive(Debug, Default)]
pub(super) struct Working {
    holds: BTreeMap<TransferId, HoldCopy>,
    wallets: BTreeMap<WalletKey, WalletCopy>,
    /// `None` for somebody who is no user.
    users: BTreeMap<UserId, Option<UserState>>,
    postings: Vec<Posting>,
    /// When the steps are made.
    now: Option<OffsetDateTime>,
}

/// A hold, or that there is none.
#[derive(Debug, Default)]
struct HoldCopy {
    hold: Option<Hold>,
    event_version: i64,
    /// The version and the event version of the document; `None` when there is none.
    stored: Option<(i64, i64)>,
}

#[derive(Debug)]
struct WalletCopy {
    before: Wallet,
    now: Wallet,
}

impl HoldCopy {
    fn is_written(&self) -> bool {
        self.stored == self.hold.as_ref().map(|hold| (hold.version, self.event_version))
    }
}

impl Tx {
    /// Steps are made at this time from now on. None can be before it is told.
    pub fn participant_begin(&mut self, now: OffsetDateTime) {
        self.working.now = Some(now);
    }

    /// Begins steps at this time, and reads all that they are about, in one exchange for each collection.
    pub(crate) async fn participant_read(&mut self, steps: &[&Step], now: OffsetDateTime) -> Result<()> {
        self.participant_begin(now);
        let transfers: Vec<TransferId> = steps.iter().map(|step| step.transfer_id()).collect();
        self.holds_read(&transfers).await?;
        let (mut wallets, mut users) = (Vec::new(), Vec::new());
        for step in steps {
            if let Step::Reserve(spec) = step {
                users.push(spec.owner);
                wallets.push(WalletKey::of(spec.owner, spec.amount));
            }
        }
        let held = transfers.iter().filter_map(|id| self.working.holds.get(id)?.hold.as_ref()?.spec.as_ref());
        wallets.extend(held.map(|spec| WalletKey::of(spec.owner, spec.amount)));
        self.users_read(&users).await?;
        self.wallets_read(&wallets).await
    }

    /// Counts one more event of a hold, and tells which it is.
    pub(crate) fn hold_count_event(&mut self, transfer_id: TransferId) -> Result<i64> {
        match self.working.holds.get_mut(&transfer_id) {
            Some(copy) if copy.hold.is_some() => {
                copy.event_version += 1;
                Ok(copy.event_version)
            }
            _ => Err(Error::internal(format!("an event of hold {transfer_id}, which there is not"))),
        }
    }

    /// Writes all that has changed. What was written can go on changing.
    pub(crate) fn participant_write(&mut self) -> Result<()> {
        let mut working = std::mem::take(&mut self.working);
        let outcome = self.working_write(&mut working);
        self.working = working;
        outcome
    }

    fn working_write(&mut self, working: &mut Working) -> Result<()> {
        for copy in working.wallets.values_mut().filter(|copy| copy.before != copy.now) {
            self.wallet_update(&copy.before, &copy.now);
            copy.before = copy.now.clone();
        }
        let now = working.now;
        for (id, copy) in &mut working.holds {
            let Some(hold) = copy.hold.as_ref().filter(|_| !copy.is_written()) else { continue };
            let now = now.ok_or_else(timeless)?;
            match copy.stored {
                None => {
                    let row = hold_row(hold, copy.event_version, now)?;
                    self.insert(HOLDS, row, Some(conflict));
                }
                Some((version, event_version)) => {
                    let mut before = by_id(*id);
                    before.extend(doc! { "version": version, "event_version": event_version });
                    let changed_at = (version != hold.version).then_some(now);
                    let change = hold_change(hold, copy.event_version, changed_at);
                    let holds = self.namespace(HOLDS);
                    let update = UpdateOneModel::builder().namespace(holds).filter(before).update(change);
                    self.update(update.build());
                }
            }
            copy.stored = Some((hold.version, copy.event_version));
        }
        for posting in working.postings.drain(..) {
            self.posting_insert(&posting, None);
        }
        Ok(())
    }

    async fn holds_read(&mut self, ids: &[TransferId]) -> Result<()> {
        let unread = unread(ids, &self.working.holds);
        if unread.is_empty() {
            return Ok(());
        }
        let filter: Vec<bson::Uuid> = unread.iter().map(|id| id.uuid().into()).collect();
        let (holds, session) = self.on::<HoldRow>(HOLDS);
        let mut rows = bounded(holds.find(doc! { "_id": { "$in": filter } }).session(&mut *session)).await?;
        let rows: Vec<HoldRow> = bounded(rows.stream(session).try_collect()).await?;
        self.working.holds.extend(unread.into_iter().map(|id| (id, HoldCopy::default())));
        for row in rows {
            let event_version = row.event_version;
            let hold = StoredHold::try_from(row)?.hold;
            let stored = Some((hold.version, event_version));
            let copy = HoldCopy { stored, event_version, hold: Some(hold.clone()) };
            self.working.holds.insert(hold.transfer_id, copy);
        }
        Ok(())
    }

    async fn wallets_read(&mut self, keys: &[WalletKey]) -> Result<()> {
        let unread = unread(keys, &self.working.wallets);
        if unread.is_empty() {
            return Ok(());
        }
        for wallet in self.wallet_list(&unread).await? {
            let copy = WalletCopy { before: wallet.clone(), now: wallet };
            self.working.wallets.insert(copy.now.key, copy);
        }
        Ok(())
    }

    async fn users_read(&mut self, ids: &[UserId]) -> Result<()> {
        let unread = unread(ids, &self.working.users);
        if unread.is_empty() {
            return Ok(());
        }
        let states = self.user_state_list(&unread).await?;
        self.working.users.extend(unread.into_iter().map(|id| (id, None)));
        self.working.users.extend(states.into_iter().map(|(id, state)| (id, Some(state))));
        Ok(())
    }

    async fn wallet_of(&mut self, spec: &HoldSpec) -> Result<&mut Wallet> {
        let key = WalletKey::of(spec.owner, spec.amount);
        self.wallets_read(&[key]).await?;
        let copy = self.working.wallets.get_mut(&key);
        copy.map(|copy| &mut copy.now).ok_or_else(|| Error::internal(format!("wallet {key:?} was not read")))
    }

    /// A debit needs a user who may spend. Credit reaches everybody who ever was a user: what is refunded must
    /// arrive somewhere.
    async fn wallet_reserve(&mut self, spec: &HoldSpec) -> Result<Result<(), Refusal>> {
        self.users_read(&[spec.owner]).await?;
        let Some(state) = self.working.users.get(&spec.owner).copied().flatten() else {
            return Ok(Err(Refusal::UserNotFound));
        };
        let amount = spec.amount.minor_units;
        let wallet = self.wallet_of(spec).await?;
        match spec.direction {
            Direction::Debit if state == UserState::Deactivated => return Ok(Err(Refusal::UserDeactivated)),
            Direction::Debit if !wallet.covers(amount) => return Ok(Err(Refusal::InsufficientCredit)),
            Direction::Credit if !wallet.has_room(amount) => return Ok(Err(Refusal::BalanceLimit)),
            Direction::Debit | Direction::Credit => wallet.change(held(spec)),
        }
        Ok(Ok(()))
    }

    async fn wallet_release(&mut self, spec: &HoldSpec) -> Result<()> {
        let wallet = self.wallet_of(spec).await?;
        require_held(wallet, spec)?;
        wallet.change(held(spec).undone());
        Ok(())
    }

    async fn wallet_post(&mut self, spec: &HoldSpec) -> Result<()> {
        let now = self.working.now.ok_or_else(timeless)?;
        let wallet = self.wallet_of(spec).await?;
        require_held(wallet, spec)?;
        let id = PostingId::from_uuid(spec.transfer_id.uuid());
        let memo = Memo::new(id, spec.amount, now);
        let posting = match spec.direction {
            Direction::Debit => Posting::payment(memo, wallet, spec.order_id),
            Direction::Credit => Posting::refund(memo, wallet, spec.order_id),
        };
        self.working.postings.push(posting);
        Ok(())
    }
}

fn timeless() -> Error {
    Error::internal("a step of a transfer was made before its time was told")
}

/// Those of `wanted` that were not read yet, each once, in order.
fn unread<K: Ord + Copy, V>(wanted: &[K], read: &BTreeMap<K, V>) -> Vec<K> {
    let mut unread: Vec<K> = wanted.iter().copied().filter(|key| !read.contains_key(key)).collect();
    unread.sort_unstable();
    unread.dedup();
    unread
}

/// What a hold sets aside.
fn held(spec: &HoldSpec) -> Change {
    match spec.direction {
        Direction::Debit => Change::hold_debit(spec.amount.minor_units),
        Direction::Credit => Change::hold_credit(spec.amount.minor_units),
    }
}

/// Hold and wallet are of one snapshot: if the amount is not there it is no conflict but a broken book.
fn require_held(wallet: &Wallet, spec: &HoldSpec) -> Result<()> {
    let set_aside = match spec.direction {
        Direction::Debit => wallet.held,
        Direction::Credit => wallet.incoming,
    };
    if set_aside >= spec.amount.minor_units {
        return Ok(());
    }
    Err(Error::internal(format!("transfer {} is held and its wallet has not set it aside", spec.transfer_id)))
}

impl ParticipantTx for Tx {
    async fn hold_fetch(&mut self, transfer_id: TransferId) -> Result<Option<Hold>, StoreError> {
        self.holds_read(&[transfer_id]).await?;
        Ok(self.working.holds.get(&transfer_id).and_then(|copy| copy.hold.clone()))
    }

    async fn hold_insert(&mut self, hold: &Hold) -> Result<(), StoreError> {
        self.hold_update(hold).await
    }

    async fn hold_update(&mut self, hold: &Hold) -> Result<(), StoreError> {
        self.holds_read(&[hold.transfer_id]).await?;
        self.working.holds.entry(hold.transfer_id).or_default().hold = Some(hold.clone());
        Ok(())
    }

    async fn balance_reserve(&mut self, spec: &HoldSpec) -> Result<Result<(), Refusal>, StoreError> {
        Ok(self.wallet_reserve(spec).await?)
    }

    async fn balance_release(&mut self, spec: &HoldSpec) -> Result<(), StoreError> {
        Ok(self.wallet_release(spec).await?)
    }

    async fn balance_post(&mut self, spec: &HoldSpec) -> Result<(), StoreError> {
        Ok(self.wallet_post(spec).await?)
    }
}
