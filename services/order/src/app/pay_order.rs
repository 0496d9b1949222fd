//! Paying an order: starts the transfer or joins it, and waits for its end.

use tokio::time::Instant;
use types::OrderId;

use super::{Answer, App, Call, Caller};
use crate::domain::Order;
use crate::domain::transfer::Transfer;
use crate::error::{Error, Result};
use crate::transfers::Started;

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
        caller: Caller,
        order_id: OrderId,
        deadline: Option<Instant>,
    ) -> Result<Answer<Settled>> {
        let started = self.transfers.start_payment(&call.into(), caller.user_id, order_id).await?;
        self.settled(started, deadline).await
    }

    /// Waits for a transfer's end. What is answered depends on nothing that changes afterwards, so every call
    /// with the request hears the same.
    pub(super) async fn settled(
        &self,
        started: Started,
        deadline: Option<Instant>,
    ) -> Result<Answer<Settled>> {
        let joined = started.joined;
        let transfer = self.transfers.ended(started, deadline).await?;
        let (transfer_id, order_id) = (transfer.id, transfer.order_id);
        let Some(then) = transfer.order_then.clone() else {
            let reason =
                transfer.reason.ok_or_else(|| Error::internal("a transfer ended without an outcome"))?;
            let wallet_user_id = transfer.wallet_user_id;
            let refusal = Error::TransferCancelled { transfer_id, order_id, wallet_user_id, reason };
            return Err(if joined { Error::Replayed(Box::new(refusal)) } else { refusal });
        };
        let order = self.store.order_fetch(order_id).await?;
        let order = order.ok_or_else(|| Error::internal("the order of a transfer does not exist"))?.at(then);
        // A flag that is raised after the end is for operators, and no part of this answer.
        let settled = Settled { transfer: Transfer { needs_operator: false, ..transfer }, order };
        Ok(Answer { value: settled, is_replay: joined })
    }
}
