//! Starts a payment: one transaction locks the order, sets it pending, inserts the transfer and appends
//! the command to reserve. While it runs nobody else can pay, cancel or hand over the order.

use types::{OrderId, UserId};

use super::Coordinator;
use super::messages::Cause;
use super::start::{Request, Started, claim};
use crate::domain::account::AccountKey;
use crate::domain::refund::OrderFunds;
use crate::domain::transfer::{Kind, Reason};
use crate::error::{Error, Result};
use crate::storage::Tx;

impl Coordinator {
    /// Starts the payment of an order of `customer_id`, or finds the one that this request has started.
    pub(crate) async fn start_payment(
        &self,
        request: &Request,
        customer_id: UserId,
        order_id: OrderId,
    ) -> Result<Started> {
        if let Some(joined) = self.joined(request).await? {
            return Ok(joined);
        }
        self.store.transaction("pay_order", |tx| self.try_payment(tx, request, customer_id, order_id)).await
    }

    async fn try_payment(
        &self,
        mut tx: Tx,
        request: &Request,
        customer_id: UserId,
        order_id: OrderId,
    ) -> Result<Started> {
        let order = tx.order_funds_lock(order_id).await?;
        // After the lock, so that of several calls with one id the later ones see the first; before ownership
        // and state, so that a repeat hears the outcome whatever has become of the order.
        if let Some(first) = tx.transfer_by_request(&request.key).await? {
            return request.join(&first);
        }
        let (mut order, now) = order
            .filter(|(order, _)| order.customer_id == customer_id)
            .ok_or(Error::OrderNotFound(order_id))?;
        let mut transfer = self.transfer(request, Kind::Pay, &order, customer_id, order.total, now);
        if let Err(reason) = begin(&mut tx, &mut order, now).await? {
            return self.refuse(tx, transfer, reason).await;
        }
        let cause = Cause { headers: request.headers.clone(), at: now };
        let command = cause.reserve(self.ids.next().into(), &mut transfer);
        claim(&mut tx, &transfer).await?;
        tx.orders_settle(&[&order]).await?;
        tx.event_append(&command).await?;
        tx.commit().await?;
        Ok(Started { id: transfer.id, joined: false })
    }
}

/// The order must be PLACED, and the seller must have room. The account is not locked: all payments of one
/// merchant would wait for each other, and the decision looks again.
async fn begin(tx: &mut Tx, order: &mut OrderFunds, now: time::OffsetDateTime) -> Result<Result<(), Reason>> {
    let total = order.total;
    if let Err(reason) = order.begin_payment(now) {
        return Ok(Err(reason));
    }
    let account = tx.account_ensure(AccountKey::of(order.seller_id, total)).await?;
    Ok(if account.has_room_for(total.minor_units) { Ok(()) } else { Err(Reason::BalanceLimit) })
}
