//! Refunding part of a paid order: starts the transfer or joins it, and waits for its end.

use tokio::time::Instant;
use types::{Money, OrderId};

use super::pay_order::Settled;
use super::{Answer, App, Call, Caller};
use crate::error::Result;
use crate::transfers::Refund;

/// What to refund.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefundOrder {
    pub(crate) order_id: OrderId,
    pub(crate) amount: Money,
}

impl App {
    /// Refunds part of an order to the wallet that paid, for its seller or an admin.
    pub(crate) async fn refund_order(
        &self,
        call: &Call,
        caller: Caller,
        wish: RefundOrder,
        deadline: Option<Instant>,
    ) -> Result<Answer<Settled>> {
        let refund = Refund {
            user_id: caller.user_id,
            role: caller.role,
            order_id: wish.order_id,
            amount: wish.amount,
        };
        let started = self.transfers.start_refund(&call.into(), refund).await?;
        self.settled(started, deadline).await
    }
}
