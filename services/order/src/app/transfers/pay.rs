//! Paying an order and refunding part of it: the transfer is started or joined, and its end is waited for.

use auth::Person;
use types::{Answer, Call, OrderId};

use crate::app::App;
use crate::domain::transfer::Transfer;
use crate::domain::{Order, TransferRefused};
use crate::error::{Error, Result};
use crate::transfers::RefundOrder;

/// A completed transfer, and its order as the transfer left it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settled {
    pub(crate) transfer: Transfer,
    pub(crate) order: Order,
}

impl App {
    /// Pays an order of the caller, and answers when the money has arrived.
    pub(crate) async fn pay_order(
        &self,
        call: &Call,
        caller: Person,
        order_id: OrderId,
    ) -> Result<Answer<Settled>> {
        let transfer = self.transfers.pay(call, caller.user_id, order_id).await?;
        self.settled(transfer).await
    }

    /// Refunds part of an order to the wallet that paid, for its seller or an admin.
    pub(crate) async fn refund_order(
        &self,
        call: &Call,
        caller: Person,
        wish: RefundOrder,
    ) -> Result<Answer<Settled>> {
        let transfer = self.transfers.refund(call, caller, wish).await?;
        self.settled(transfer).await
    }

    /// What is answered when a transfer has ended. It depends on nothing that changes afterwards, so every call with
    /// the request is answered the same.
    async fn settled(&self, ended: Answer<Transfer>) -> Result<Answer<Settled>> {
        let Answer { value: transfer, is_replay } = ended;
        let (transfer_id, order_id, wallet_user_id) =
            (transfer.id, transfer.order_id, transfer.wallet_user_id);
        let Some(then) = transfer.order_then.clone() else {
            let reason =
                transfer.reason.ok_or_else(|| Error::internal("a transfer ended without an outcome"))?;
            let refused =
                Error::from(TransferRefused::Cancelled { transfer_id, order_id, wallet_user_id, reason });
            return Err(if is_replay { Error::Replayed(Box::new(refused)) } else { refused });
        };
        let order = self.store.order_fetch(order_id).await?;
        let order = order.ok_or_else(|| Error::internal("the order of a transfer does not exist"))?.at(then);
        // A flag that is raised after the end is for operators, and no part of this answer.
        let settled = Settled { transfer: Transfer { needs_operator: false, ..transfer }, order };
        Ok(Answer { value: settled, is_replay })
    }
}
