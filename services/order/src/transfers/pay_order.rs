//! Starts a payment: the order is set pending, the transfer inserted and the command to reserve appended. While it runs
//! nobody else can pay, cancel or hand over the order.
//!
//! One statement reads without a lock all that the decision needs, another writes if the order is still as it was read.
//! Nothing waits between the two, so nobody holds the order's lock for longer than the second takes.

use types::{Answer, Call, OrderId, UserId};

use super::Coordinator;
use super::messages::Origin;
use super::start::{Started, overtaken, refused};
use crate::domain::OrderRefused;
use crate::domain::account::Account;
use crate::domain::order_funds::OrderFunds;
use crate::domain::transfer::{Kind, Reason, Transfer};
use crate::error::Result;
use crate::storage::{PaymentView, Retries, is_tried_again};

impl Coordinator {
    /// Pays an order of `customer_id`: starts the transfer, or joins the one that this request has started, and waits
    /// for its end.
    pub(crate) async fn pay(
        &self,
        call: &Call,
        customer_id: UserId,
        order_id: OrderId,
    ) -> Result<Answer<Transfer>> {
        let mut retries = Retries::of("pay_order");
        loop {
            match self.start_payment(call, customer_id, order_id).await {
                Err(error) if is_tried_again(&error) => retries.pause(error).await?,
                started => return self.ended(started?).await,
            }
        }
    }

    async fn start_payment(&self, call: &Call, customer_id: UserId, order_id: OrderId) -> Result<Started> {
        let Some(view) = self.store.payment_view(&call.key, order_id).await? else {
            return Ok(self.earlier(call).await?.ok_or(OrderRefused::NotFound(order_id))?);
        };
        let PaymentView { first, mut order, account, now } = view;
        // Before ownership and state, so that a repeat hears the outcome whatever has become of the order.
        if let Some(first) = first {
            return Started::earlier(call, first);
        }
        if order.customer_id != customer_id {
            return Err(OrderRefused::NotFound(order_id).into());
        }
        let read_version = order.version;
        let mut transfer = self.transfer(call, Kind::Pay, &order, customer_id, order.total, now);
        if let Err(reason) = begin(&mut order, &account, now) {
            let transfer = refused(transfer, reason);
            let is_first = self.store.payment_refuse(call, &transfer).await?;
            return if is_first { Ok(Started::Refused(Box::new(transfer))) } else { Err(overtaken()) };
        }
        let command = Origin::of(call, now).reserve(self.ids.next().into(), &mut transfer);
        let waiting = self.waiters.register(transfer.id);
        let has_begun = self.store.payment_begin(call, &transfer, (&order, read_version), &command).await?;
        if has_begun { Ok(Started::Begun(waiting)) } else { Err(overtaken()) }
    }
}

/// The order must be PLACED, and the seller must have room. The account is not locked: all payments of one
/// merchant would wait for each other, and the decision looks again.
fn begin(order: &mut OrderFunds, account: &Account, now: time::OffsetDateTime) -> Result<(), Reason> {
    let total = order.total;
    order.begin_payment(now)?;
    if account.has_room_for(total.minor_units) { Ok(()) } else { Err(Reason::BalanceLimit) }
}
