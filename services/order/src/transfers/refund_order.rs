//! Starts a refund: under the order's lock it is counted against what was paid, the merchant's account sets the
//! amount aside, and the wallet that paid is asked to make room. Refunds of one order may run side by side.

use std::collections::BTreeSet;

use events::{Direction, HoldSpec, Outcome, Refusal, Step, participant};
use time::OffsetDateTime;
use types::{Money, OrderId, Role, UserId};

use super::Coordinator;
use super::messages::Cause;
use super::own_side::OwnSide;
use super::start::{Request, Started, overtaken, refused};
use crate::domain::account::AccountKey;
use crate::domain::transfer::{Kind, Reason, Transfer};
use crate::error::{Error, Result};
use crate::storage::{Begun, Tx};

/// A refund that somebody asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refund {
    /// Who.
    pub(crate) user_id: UserId,
    /// In which role.
    pub(crate) role: Role,
    /// Of which order.
    pub(crate) order_id: OrderId,
    /// How much.
    pub(crate) amount: Money,
}

impl Coordinator {
    /// Starts a refund, or finds the one that this request has started.
    pub(crate) async fn start_refund(&self, request: &Request, refund: Refund) -> Result<Started> {
        if let Some(joined) = self.joined(request).await? {
            return Ok(joined);
        }
        self.store.transaction("refund_order", |tx| self.try_refund(tx, request, refund)).await
    }

    async fn try_refund(&self, mut tx: Tx, request: &Request, refund: Refund) -> Result<Started> {
        let order = tx.order_funds_lock(refund.order_id).await?;
        if let Some(first) = tx.transfer_by_request(&request.key).await? {
            return request.join(first.id, &first.fingerprint);
        }
        let (mut order, now) = order
            .filter(|(order, _)| order.seller_id == refund.user_id || refund.role == Role::Admin)
            .ok_or(Error::OrderNotFound(refund.order_id))?;
        // An order that nobody has paid is refused in a moment; its customer stands in for the payer.
        let wallet = order.payer_id.unwrap_or(order.customer_id);
        let mut transfer = self.transfer(request, Kind::Refund, &order, wallet, refund.amount, now);
        let read_version = order.version;
        if let Err(reason) = order.begin_refund(refund.amount) {
            return refuse(tx, transfer, reason).await;
        }
        if let Err(reason) = set_aside(&mut tx, &transfer, now).await? {
            return refuse(tx, transfer, reason).await;
        }
        let cause = Cause { headers: request.headers.clone(), at: now };
        let command = cause.reserve(self.ids.next().into(), &mut transfer);
        let waiting = self.waiters.register(transfer.id);
        match tx.transfer_begin(&transfer, (&order, read_version), &command).await? {
            Begun::Done => tx.commit().await?,
            Begun::Overtaken => return Err(overtaken()),
        }
        Ok(Started::new(transfer.id, waiting))
    }
}

/// Commits a refund that is refused at once, with the hold that was refused, if it came to that.
async fn refuse(mut tx: Tx, transfer: Transfer, reason: Reason) -> Result<Started> {
    let transfer = refused(transfer, reason);
    if !tx.transfer_insert(&transfer).await? {
        return Err(overtaken());
    }
    tx.commit().await?;
    Ok(Started::refused(transfer))
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
