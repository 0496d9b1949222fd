//! The rows that a run of inputs touches, under their locks: loaded by a few set-based statements, changed in
//! memory in the order of the inputs, written back by a few more. One transfer and a thousand cost about the
//! same number of round trips.
//!
//! Locks are taken in the order that holds everywhere: orders, transfers, holds, accounts, each sorted by id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ::metrics::TraceId;
use events::{Headers, NewEvent, Outcome, Step, participant};
use time::OffsetDateTime;
use types::{EventId, IdSource, OrderId, TransferId};

use super::looks::delay;
use super::messages::Origin;
use super::metrics;
use super::own_side::OwnSide;
use crate::config::TransferConfig;
use crate::domain::account::{AccountKey, Posting};
use crate::domain::order_funds::OrderFunds;
use crate::domain::transfer::{Action, Input, Kind, Reason, State, Transfer, step};
use crate::error::{Error, Result};
use crate::storage::Tx;

/// An input to one transfer.
#[derive(Debug, Clone)]
pub(crate) struct TransferInput {
    pub(crate) transfer_id: TransferId,
    pub(crate) input: Input,
    /// The trace and the request that led to it.
    pub(crate) headers: Headers,
}

/// What an input did to its transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    /// The transfer changed.
    Changed,
    /// It was a duplicate, a late answer, or too early.
    Unchanged,
    /// The decision was made before and stays.
    AlreadyDecided,
    /// It contradicts the protocol; an operator is called.
    Alarmed,
    /// There is no such transfer.
    Unknown,
}

/// Rows under their locks.
pub(crate) struct Work {
    ids: Arc<dyn IdSource>,
    /// When the recovery worker looks again.
    config: TransferConfig,
    now: OffsetDateTime,
    orders: BTreeMap<OrderId, OrderFunds>,
    transfers: BTreeMap<TransferId, Transfer>,
    own: OwnSide,
    /// Versions as they were read: writing back is a compare-and-set.
    versions: BTreeMap<TransferId, i64>,
    changed_orders: BTreeSet<OrderId>,
    changed_transfers: BTreeSet<TransferId>,
    /// Those that came to their end.
    /// With the recorded trace of what ended it.
    ended: BTreeMap<TransferId, Option<TraceId>>,
    events: Vec<NewEvent>,
}

impl Work {
    /// Locks and loads what `inputs` may change.
    pub(crate) async fn lock(
        tx: &mut Tx,
        ids: Arc<dyn IdSource>,
        config: TransferConfig,
        inputs: &[TransferInput],
    ) -> Result<Self> {
        let with = |may: fn(&Input) -> bool| -> BTreeSet<TransferId> {
            inputs.iter().filter(|each| may(&each.input)).map(|each| each.transfer_id).collect()
        };
        let (all, deciding, confirming) = (with(|_| true), with(may_decide), with(may_confirm));

        let orders =
            if deciding.is_empty() { Vec::new() } else { tx.orders_of_transfers_lock(&deciding).await? };
        let (transfers, now) = tx.transfers_lock(&all).await?;
        let undecided: Vec<&Transfer> = transfers
            .iter()
            .filter(|transfer| transfer.decision().is_none() && deciding.contains(&transfer.id))
            .collect();
        let refunds: BTreeSet<TransferId> = undecided
            .iter()
            .filter(|transfer| transfer.kind == Kind::Refund)
            .map(|transfer| transfer.id)
            .collect();
        let holds = if refunds.is_empty() { Vec::new() } else { tx.holds_lock(&refunds).await? };
        // A payment that is cancelled leaves the account alone.
        let accounts: BTreeSet<AccountKey> = undecided
            .iter()
            .filter(|transfer| transfer.kind == Kind::Refund || confirming.contains(&transfer.id))
            .map(|transfer| AccountKey::of(transfer.account_owner_id, transfer.amount))
            .collect();
        let accounts = if accounts.is_empty() { Vec::new() } else { tx.accounts_lock(&accounts).await? };

        Ok(Self {
            ids,
            config,
            now,
            own: OwnSide::new(now, holds, accounts),
            orders: orders.into_iter().map(|order| (order.id, order)).collect(),
            versions: transfers.iter().map(|transfer| (transfer.id, transfer.version)).collect(),
            transfers: transfers.into_iter().map(|transfer| (transfer.id, transfer)).collect(),
            changed_orders: BTreeSet::new(),
            changed_transfers: BTreeSet::new(),
            ended: BTreeMap::new(),
            events: Vec::new(),
        })
    }

    /// The transfer as it is now.
    pub(crate) fn transfer(&self, id: TransferId) -> Option<&Transfer> {
        self.transfers.get(&id)
    }

    /// Applies one of the inputs that were announced to [`Work::lock`].
    pub(crate) async fn apply(&mut self, given: &TransferInput) -> Result<Applied> {
        let id = given.transfer_id;
        let Some(transfer) = self.transfers.get(&id) else { return Ok(Applied::Unknown) };
        let late = transfer.deadline <= self.now;
        let origin = Origin { headers: given.headers.clone(), at: self.now };
        match step(transfer.state, late, &given.input) {
            Action::Nothing => Ok(Applied::Unchanged),
            Action::AlreadyDecided => Ok(Applied::AlreadyDecided),
            Action::Alarm(what) => self.alarm(id, what),
            Action::Confirm => self.confirm(id, &origin).await,
            Action::Cancel(reason) => self.cancel(id, reason, State::Cancelling, &origin).await,
            Action::CancelAtOnce(reason) => self.cancel(id, reason, State::Cancelled, &origin).await,
            Action::Finish => self.finish(id, &origin),
        }
    }

    /// Writes back what changed, and appends the events.
    pub(crate) async fn save(self, tx: &mut Tx) -> Result<()> {
        let orders: Vec<&OrderFunds> =
            self.changed_orders.iter().filter_map(|id| self.orders.get(id)).collect();
        if !orders.is_empty() {
            tx.orders_settle(&orders).await?;
        }
        self.own.save(tx).await?;
        let transfers: Vec<(&Transfer, i64)> = self
            .changed_transfers
            .iter()
            .filter_map(|id| Some((self.transfers.get(id)?, *self.versions.get(id)?)))
            .collect();
        if !transfers.is_empty() {
            tx.transfers_update(&transfers).await?;
        }
        for (id, trace) in self.ended {
            if let Some(transfer) = self.transfers.get(&id).cloned() {
                tx.after_commit(move || metrics::ended(&transfer, trace));
            }
        }
        if !self.events.is_empty() {
            tx.events_append(&self.events).await?;
        }
        Ok(())
    }

    async fn confirm(&mut self, id: TransferId, origin: &Origin) -> Result<Applied> {
        let transfer = find(&mut self.transfers, id)?;
        let order = find(&mut self.orders, transfer.order_id)?;
        let amount = transfer.amount.minor_units;
        match transfer.kind {
            Kind::Pay => {
                let posting = Posting { transfer_id: id, order_id: order.id, kind: Kind::Pay, at: self.now };
                let key = AccountKey::of(transfer.account_owner_id, transfer.amount);
                if self.own.credit(key, amount, posting)?.is_err() {
                    return self.cancel(id, Reason::BalanceLimit, State::Cancelling, origin).await;
                }
                order.confirm_payment(transfer.wallet_user_id, self.now);
            }
            Kind::Refund => {
                let applied = participant::apply(&mut self.own, &Step::Confirm(id)).await?;
                if applied.outcome != Outcome::Posted {
                    return self.alarm(id, format!("this side cannot post: {:?}", applied.outcome));
                }
                order.confirm_refund(amount, self.now);
            }
        }
        let settled = origin.order_settled(next(&*self.ids), transfer, order);
        transfer.order_then = Some(order.then());
        let command = origin.confirm(next(&*self.ids), transfer);
        self.changed_orders.insert(transfer.order_id);
        self.events.extend([settled, command]);
        self.moved(id, State::Confirming, None, origin)
    }

    async fn cancel(
        &mut self,
        id: TransferId,
        reason: Reason,
        to: State,
        origin: &Origin,
    ) -> Result<Applied> {
        let transfer = find(&mut self.transfers, id)?;
        let order = find(&mut self.orders, transfer.order_id)?;
        match transfer.kind {
            Kind::Pay => order.cancel_payment(self.now),
            Kind::Refund => {
                let applied = participant::apply(&mut self.own, &Step::Cancel(id)).await?;
                if applied.outcome != Outcome::Released {
                    return self.alarm(id, format!("this side cannot release: {:?}", applied.outcome));
                }
                order.cancel_refund(transfer.amount.minor_units);
            }
        }
        self.changed_orders.insert(transfer.order_id);
        let event = if to == State::Cancelled {
            origin.cancelled(next(&*self.ids), transfer, reason)
        } else {
            origin.cancel(next(&*self.ids), transfer)
        };
        self.events.push(event);
        self.moved(id, to, Some(reason), origin)
    }

    fn finish(&mut self, id: TransferId, origin: &Origin) -> Result<Applied> {
        let transfer = find(&mut self.transfers, id)?;
        let event_id = next(&*self.ids);
        let (event, state) = match transfer.reason {
            None => (origin.completed(event_id, transfer), State::Completed),
            Some(reason) => (origin.cancelled(event_id, transfer, reason), State::Cancelled),
        };
        let reason = transfer.reason;
        self.events.push(event);
        self.moved(id, state, reason, origin)
    }

    fn moved(
        &mut self,
        id: TransferId,
        state: State,
        reason: Option<Reason>,
        origin: &Origin,
    ) -> Result<Applied> {
        let transfer = find(&mut self.transfers, id)?;
        tracing::info!(transfer.id = %id, from = %transfer.state, to = %state, ?reason, "transfer moved");
        transfer.decided_at.get_or_insert(self.now);
        transfer.state = state;
        transfer.reason = reason;
        transfer.updated_at = self.now;
        transfer.version += 1;
        transfer.attempts = 0;
        transfer.needs_operator = false;
        transfer.next_attempt_at = (!state.is_final()).then(|| self.now + self.config.look_after);
        self.changed_transfers.insert(id);
        if state.is_final() {
            let trace = origin.headers.traceparent.as_deref().and_then(TraceId::recorded_in);
            self.ended.insert(id, trace);
        }
        Ok(Applied::Changed)
    }

    fn alarm(&mut self, id: TransferId, what: String) -> Result<Applied> {
        let transfer = find(&mut self.transfers, id)?;
        tracing::error!(transfer.id = %id, state = %transfer.state, what, "a transfer contradicts the protocol");
        if !transfer.needs_operator || transfer.last_error != what {
            transfer.needs_operator = true;
            transfer.last_error = what;
            transfer.version += 1;
            self.changed_transfers.insert(id);
        }
        if !transfer.state.is_final() {
            let TransferConfig { look_after, look_cap, .. } = self.config;
            transfer.next_attempt_at = Some(self.now + delay(look_after, look_cap, transfer.attempts));
            self.changed_transfers.insert(id);
        }
        Ok(Applied::Alarmed)
    }
}

/// Whether an input may decide a transfer, which changes its order.
const fn may_decide(input: &Input) -> bool {
    !matches!(input, Input::Posted | Input::StepImpossible(_))
}

/// Whether an input may decide CONFIRM, which changes the account.
const fn may_confirm(input: &Input) -> bool {
    matches!(input, Input::Reserved)
}

fn next(ids: &dyn IdSource) -> EventId {
    ids.next().into()
}

fn find<K: Ord + std::fmt::Display + Copy, V>(rows: &mut BTreeMap<K, V>, key: K) -> Result<&mut V> {
    rows.get_mut(&key).ok_or_else(|| Error::internal(format!("{key} is needed and was not locked")))
}
