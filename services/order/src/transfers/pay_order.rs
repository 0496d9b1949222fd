//! Starts a payment: the order is set pending, the transfer inserted and the command to reserve appended. While it runs
//! nobody else can pay, cancel or hand over the order.
//!
//! One statement reads without a lock all that the decision needs, another writes if the order is still as it was read.
//! Nothing waits between the two, so nobody holds the order's lock for longer than the second takes.

use types::{OrderId, UserId};

use super::Coordinator;
use super::messages::Cause;
use super::start::{Request, Started, overtaken, refused};
use crate::domain::account::Account;
use crate::domain::refund::OrderFunds;
use crate::domain::transfer::{Kind, Reason};
use crate::error::{Error, Result};
use crate::storage::{Begun, PaymentView, Retries};

impl Coordinator {
    /// Starts the payment of an order of `customer_id`, or finds the one that this request has started.
    pub(crate) async fn start_payment(
        &self,
        request: &Request,
        customer_id: UserId,
        order_id: OrderId,
    ) -> Result<Started> {
        let mut retries = Retries::of("pay_order");
        loop {
            match self.try_payment(request, customer_id, order_id).await {
                Err(Error::Conflict(source)) => retries.pause(source).await?,
                result => return result,
            }
        }
    }

    async fn try_payment(
        &self,
        request: &Request,
        customer_id: UserId,
        order_id: OrderId,
    ) -> Result<Started> {
        let Some(view) = self.store.payment_view(&request.key, order_id).await? else {
            return self.joined(request).await?.ok_or(Error::OrderNotFound(order_id));
        };
        let PaymentView { first, mut order, account, now } = view;
        // Before ownership and state, so that a repeat hears the outcome whatever has become of the order.
        if let Some((id, said)) = first {
            return request.join(id, &said);
        }
        if order.customer_id != customer_id {
            return Err(Error::OrderNotFound(order_id));
        }
        let read_version = order.version;
        let mut transfer = self.transfer(request, Kind::Pay, &order, customer_id, order.total, now);
        if let Err(reason) = begin(&mut order, &account, now) {
            let transfer = refused(transfer, reason);
            let recorded = self.store.payment_refuse(&transfer).await?;
            return if recorded { Ok(Started::refused(transfer)) } else { Err(overtaken()) };
        }
        let cause = Cause { headers: request.headers.clone(), at: now };
        let command = cause.reserve(self.ids.next().into(), &mut transfer);
        let waiting = self.waiters.register(transfer.id);
        match self.store.payment_begin(&transfer, (&order, read_version), &command).await? {
            Begun::Done => Ok(Started::new(transfer.id, waiting)),
            Begun::Overtaken => Err(overtaken()),
        }
    }
}

/// The order must be PLACED, and the seller must have room. The account is not locked: all payments of one
/// merchant would wait for each other, and the decision looks again.
fn begin(order: &mut OrderFunds, account: &Account, now: time::OffsetDateTime) -> Result<(), Reason> {
    let total = order.total;
    order.begin_payment(now)?;
    if account.has_room_for(total.minor_units) { Ok(()) } else { Err(Reason::BalanceLimit) }
}
