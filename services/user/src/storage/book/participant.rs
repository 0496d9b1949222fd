//! The participant's side of `events::participant`, on MongoDB.
//!
//! A run of commands reads what it needs at once ([`Participant::read`]), works on that, and writes what has
//! become of it with the transaction's other writes ([`Participant::write`]): a
//! handful of exchanges with the server, however many commands. Nothing is lost by it, because here a lock is a write
//! and conflicts are found when the transaction writes, whatever came before: two transactions that change one hold or
//! one wallet both write its document, on the condition that it is as they read it, and two that find none both insert
//! it. One of them conflicts and tries again on what the other left. Wallets are written before holds, each by id, and
//! both before their events: whoever comes second has to meet a conflict and no event that is there already.

use std::borrow::BorrowMut;
use std::collections::BTreeMap;

use bson::doc;
use events::participant::Step;
use events::{Direction, Hold, HoldSpec, ParticipantTx, Refusal, StoreError};
use futures_util::TryStreamExt as _;
use mongodb::options::UpdateOneModel;
use time::{Date, OffsetDateTime};
use types::{PostingId, TransferId, UserId};

use super::holds::{HOLDS, HoldRow, StoredHold, by_id, hold_change, hold_row};
use super::wallets::to_day;
use crate::domain::ledger::{Memo, Posting};
use crate::domain::limits::Bar;
use crate::domain::user::UserState;
use crate::domain::wallet::{Change, Wallet, WalletKey};
use crate::error::{Error, Result};
use crate::storage::writes::conflict;
use crate::storage::{Tx, bounded};

/// The steps of transfers in one transaction: what they have read and not yet written.
#[derive(Debug)]
pub struct Participant<T> {
    tx: T,
    /// When the steps are made.
    now: OffsetDateTime,
    holds: BTreeMap<TransferId, HoldCopy>,
    wallets: BTreeMap<WalletKey, WalletCopy>,
    /// `None` for somebody who is no user.
    users: BTreeMap<UserId, Option<UserState>>,
    postings: Vec<Posting>,
}

/// A hold, or that there is none.
#[derive(Debug, Default)]
struct HoldCopy {
    hold: Option<Hold>,
    event_version: i64,
    /// The day whose sum has it, where its wallet counts.
    counted_on: Option<Date>,
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

impl<T: BorrowMut<Tx>> Participant<T> {
    /// Steps that are made at this time.
    pub fn new(tx: T, now: OffsetDateTime) -> Self {
        let (holds, wallets, users) = Default::default();
        Self { tx, now, holds, wallets, users, postings: Vec::new() }
    }

    /// Steps that are made at this time, with all that they are about, which is read in one exchange for each
    /// collection.
    pub(crate) async fn read(tx: T, steps: &[&Step], now: OffsetDateTime) -> Result<Self> {
        let mut participant = Self::new(tx, now);
        let transfers: Vec<TransferId> = steps.iter().map(|step| step.transfer_id()).collect();
        participant.holds_read(&transfers).await?;
        let (mut wallets, mut users) = (Vec::new(), Vec::new());
        for step in steps {
            if let Step::Reserve(spec) = step {
                users.push(spec.owner);
                wallets.push(WalletKey::of(spec.owner, spec.amount));
            }
        }
        let held = transfers.iter().filter_map(|id| participant.holds.get(id)?.hold.as_ref()?.spec.as_ref());
        wallets.extend(held.map(|spec| WalletKey::of(spec.owner, spec.amount)));
        participant.users_read(&users).await?;
        participant.wallets_read(&wallets).await?;
        Ok(participant)
    }

    /// Counts one more event of a hold, and tells which it is.
    pub(crate) fn hold_count_event(&mut self, transfer_id: TransferId) -> Result<i64> {
        match self.holds.get_mut(&transfer_id) {
            Some(copy) if copy.hold.is_some() => {
                copy.event_version += 1;
                Ok(copy.event_version)
            }
            _ => Err(Error::internal(format!("an event of hold {transfer_id}, which there is not"))),
        }
    }

    /// Writes all that has changed. What was written can go on changing.
    pub fn write(&mut self) -> Result<()> {
        let tx = self.tx.borrow_mut();
        for copy in self.wallets.values_mut().filter(|copy| copy.before != copy.now) {
            tx.wallet_update(&copy.before, &copy.now);
            copy.now.is_stored = true;
            copy.before = copy.now.clone();
        }
        for (id, copy) in &mut self.holds {
            let Some(hold) = copy.hold.as_ref().filter(|_| !copy.is_written()) else { continue };
            match copy.stored {
                None => {
                    let row = hold_row(hold, copy.counted_on, copy.event_version, self.now)?;
                    tx.insert(HOLDS, row, Some(conflict));
                }
                Some((version, event_version)) => {
                    let mut before = by_id(*id);
                    before.extend(doc! { "version": version, "event_version": event_version });
                    let changed_at = (version != hold.version).then_some(self.now);
                    let change = hold_change(hold, copy.event_version, changed_at);
                    let holds = tx.namespace(HOLDS);
                    let update = UpdateOneModel::builder().namespace(holds).filter(before).update(change);
                    tx.update(update.build());
                }
            }
            copy.stored = Some((hold.version, copy.event_version));
        }
        for posting in self.postings.drain(..) {
            tx.posting_insert(&posting, None);
        }
        Ok(())
    }

    /// The transaction, for what else is done in it. What has changed is to be written before.
    pub fn into_tx(self) -> T {
        self.tx
    }

    async fn holds_read(&mut self, ids: &[TransferId]) -> Result<()> {
        let unread = unread(ids, &self.holds);
        if unread.is_empty() {
            return Ok(());
        }
        let filter: Vec<bson::Uuid> = unread.iter().map(|id| id.uuid().into()).collect();
        let (holds, session) = self.tx.borrow_mut().on::<HoldRow>(HOLDS);
        let mut rows = bounded(holds.find(doc! { "_id": { "$in": filter } }).session(&mut *session)).await?;
        let rows: Vec<HoldRow> = bounded(rows.stream(session).try_collect()).await?;
        self.holds.extend(unread.into_iter().map(|id| (id, HoldCopy::default())));
        for row in rows {
            let (event_version, counted_on) = (row.event_version, row.counted_on.map(to_day));
            let hold = StoredHold::try_from(row)?.hold;
            let stored = Some((hold.version, event_version));
            let copy = HoldCopy { stored, event_version, counted_on, hold: Some(hold.clone()) };
            self.holds.insert(hold.transfer_id, copy);
        }
        Ok(())
    }

    async fn wallets_read(&mut self, keys: &[WalletKey]) -> Result<()> {
        let unread = unread(keys, &self.wallets);
        if unread.is_empty() {
            return Ok(());
        }
        for wallet in self.tx.borrow_mut().wallet_list(&unread).await? {
            let copy = WalletCopy { before: wallet.clone(), now: wallet };
            self.wallets.insert(copy.now.key, copy);
        }
        Ok(())
    }

    async fn users_read(&mut self, ids: &[UserId]) -> Result<()> {
        let unread = unread(ids, &self.users);
        if unread.is_empty() {
            return Ok(());
        }
        let states = self.tx.borrow_mut().user_state_list(&unread).await?;
        self.users.extend(unread.into_iter().map(|id| (id, None)));
        self.users.extend(states.into_iter().map(|(id, state)| (id, Some(state))));
        Ok(())
    }

    async fn wallet_of(&mut self, spec: &HoldSpec) -> Result<&mut Wallet> {
        let key = WalletKey::of(spec.owner, spec.amount);
        self.wallets_read(&[key]).await?;
        let copy = self.wallets.get_mut(&key);
        copy.map(|copy| &mut copy.now).ok_or_else(|| Error::internal(format!("wallet {key:?} was not read")))
    }

    /// A debit needs a user who may spend. Credit reaches everybody who ever was a user: what is refunded must
    /// arrive somewhere.
    async fn wallet_reserve(&mut self, spec: &HoldSpec) -> Result<Result<(), Refusal>> {
        self.users_read(&[spec.owner]).await?;
        let Some(state) = self.users.get(&spec.owner).copied().flatten() else {
            return Ok(Err(Refusal::UserNotFound));
        };
        let (amount, now) = (spec.amount.minor_units, self.now);
        let wallet = self.wallet_of(spec).await?;
        let counted_on = match spec.direction {
            Direction::Debit if state == UserState::Deactivated => return Ok(Err(Refusal::UserDeactivated)),
            Direction::Debit if state == UserState::Deleted => return Ok(Err(Refusal::UserNotFound)),
            Direction::Debit => match wallet.bar(amount, now) {
                Some(bar) => return Ok(Err(refusal(bar))),
                None => Some(wallet.count_spent(amount, now)),
            },
            Direction::Credit if !wallet.has_room(amount) => return Ok(Err(Refusal::BalanceLimit)),
            Direction::Credit => None,
        };
        wallet.change(held(spec));
        self.holds.entry(spec.transfer_id).or_default().counted_on = counted_on;
        Ok(Ok(()))
    }

    async fn wallet_release(&mut self, spec: &HoldSpec) -> Result<()> {
        let counted_on = self.holds.get(&spec.transfer_id).and_then(|copy| copy.counted_on);
        let wallet = self.wallet_of(spec).await?;
        require_held(wallet, spec)?;
        wallet.change(held(spec).undone());
        if let Some(day) = counted_on {
            wallet.uncount_spent(spec.amount.minor_units, day);
        }
        Ok(())
    }

    async fn wallet_post(&mut self, spec: &HoldSpec) -> Result<()> {
        let now = self.now;
        let wallet = self.wallet_of(spec).await?;
        require_held(wallet, spec)?;
        let id = PostingId::from_uuid(spec.transfer_id.uuid());
        let memo = Memo::new(id, spec.amount, now);
        let posting = match spec.direction {
            Direction::Debit => Posting::payment(memo, wallet, spec.order_id),
            Direction::Credit => Posting::refund(memo, wallet, spec.order_id),
        };
        self.postings.push(posting);
        Ok(())
    }
}

/// Those of `wanted` that were not read yet, each once, in order.
fn unread<K: Ord + Copy, V>(wanted: &[K], read: &BTreeMap<K, V>) -> Vec<K> {
    let mut unread: Vec<K> = wanted.iter().copied().filter(|key| !read.contains_key(key)).collect();
    unread.sort_unstable();
    unread.dedup();
    unread
}

fn refusal(bar: Bar) -> Refusal {
    match bar {
        Bar::Frozen => Refusal::WalletFrozen,
        Bar::Limit { .. } => Refusal::WalletLimit,
        Bar::TooLittle => Refusal::InsufficientCredit,
    }
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

impl<T: BorrowMut<Tx> + Send> ParticipantTx for Participant<T> {
    async fn hold_fetch(&mut self, transfer_id: TransferId) -> Result<Option<Hold>, StoreError> {
        self.holds_read(&[transfer_id]).await?;
        Ok(self.holds.get(&transfer_id).and_then(|copy| copy.hold.clone()))
    }

    async fn hold_insert(&mut self, hold: &Hold) -> Result<(), StoreError> {
        self.hold_update(hold).await
    }

    async fn hold_update(&mut self, hold: &Hold) -> Result<(), StoreError> {
        self.holds_read(&[hold.transfer_id]).await?;
        self.holds.entry(hold.transfer_id).or_default().hold = Some(hold.clone());
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
