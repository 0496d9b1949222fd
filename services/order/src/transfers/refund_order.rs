//! Starts a refund: under the order's lock it is counted against what was paid, the merchant's account sets the
//! amount aside, and the wallet that paid is asked to make room. Refunds of one order may run side by side.

use std::collections::BTreeSet;

use auth::Person;
use events::{Direction, HoldSpec, Outcome, Refusal, Step, participant};
use time::OffsetDateTime;
use types::{Answer, Call, Money, OrderId, Role};

use super::Coordinator;
use super::messages::Origin;
use super::own_side::OwnSide;
use super::start::{Started, overtaken, refused};
use crate::domain::OrderRefused;
use crate::domain::account::AccountKey;
use crate::domain::transfer::{Kind, Reason, Transfer};
use crate::error::{Error, Result};
use crate::storage::{Finished, Tx};

/// How much of which order to refund.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefundOrder {
    pub(crate) order_id: OrderId,
    pub(crate) amount: Money,
}

impl Coordinator {
    /// Refunds part of an order, for its seller or an admin: starts the transfer, or joins the one that this request
    /// has started, and waits for its end.
    pub(crate) async fn refund(
        &self,
        call: &Call,
        caller: Person,
        wish: RefundOrder,
    ) -> Result<Answer<Transfer>> {
        let started = match self.earlier(call).await? {
            Some(earlier) => earlier,
            None => {
                let work = |tx| self.start_refund(tx, call, caller, wish);
                self.store.transaction("refund_order", work).await?
            }
        };
        self.ended(started).await
    }

    async fn start_refund(
        &self,
        mut tx: Tx,
        call: &Call,
        caller: Person,
        wish: RefundOrder,
    ) -> Result<Finished<Started>> {
        let order = tx.order_funds_lock(wish.order_id).await?;
        if let Some(first) = tx.transfer_by_request(&call.key).await? {
            return Ok(tx.abandon(Started::earlier(call, first)?));
        }
        let (mut order, now) = order
            .filter(|(order, _)| order.seller_id == caller.user_id || caller.role == Role::Admin)
            .ok_or(OrderRefused::NotFound(wish.order_id))?;
        // The refund of an unpaid order is refused below; its row needs a wallet all the same.
        let wallet = order.payer_id.unwrap_or(order.customer_id);
        let mut transfer = self.transfer(call, Kind::Refund, &order, wallet, wish.amount, now);
        let read_version = order.version;
        if let Err(reason) = order.begin_refund(wish.amount) {
            return refuse(tx, call, transfer, reason).await;
        }
        if let Err(reason) = set_aside(&mut tx, &transfer, now).await? {
            return refuse(tx, call, transfer, reason).await;
        }
        let command = Origin::of(call, now).reserve(self.ids.next().into(), &mut transfer);
        let waiting = self.waiters.register(transfer.id);
        if !tx.transfer_begin(call, &transfer, (&order, read_version), &command).await? {
            return Err(overtaken());
        }
        Ok(tx.commit(Started::Begun(waiting)))
    }
}

/// Commits a refund that is refused at once, with the hold that was refused, if it came to that.
async fn refuse(mut tx: Tx, call: &Call, transfer: Transfer, reason: Reason) -> Result<Finished<Started>> {
    let transfer = refused(transfer, reason);
    if !tx.transfer_insert(call, &transfer).await? {
        return Err(overtaken());
    }
    Ok(tx.commit(Started::Refused(Box::new(transfer))))
}

/// This side's reserve. The transfer is new, so it has no hold yet.
async fn set_aside(tx: &mut Tx, transfer: &Transfer, now: OffsetDateTime) -> Result<Result<(), Reason>> {
    let spec = HoldSpec {
        transfer_id: transfer.id,
        owner: transfer.account_owner_id,
        direction: Direction::Debit,
        amount: transfer.amount,
        expires_at: transfer.deadline,
        order_id: transfer.order_id,
    };
    let key = AccountKey::of(spec.owner, spec.amount);
    let accounts = tx.accounts_lock(&BTreeSet::from([key])).await?;
    let mut own = OwnSide::new(now, Vec::new(), accounts);
    let applied = participant::apply(&mut own, &Step::Reserve(spec)).await?;
    own.save(tx).await?;
    match applied.outcome {
        Outcome::Reserved => Ok(Ok(())),
        Outcome::Refused(Refusal::InsufficientCredit) => Ok(Err(Reason::InsufficientCredit)),
        outcome => Err(Error::internal(format!("a new hold became {outcome:?}"))),
    }
}
