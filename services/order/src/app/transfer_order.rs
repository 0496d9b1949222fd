//! Handing an order to another customer.

use types::{OrderId, UserId};

use super::{Answer, App, Call};
use crate::domain::{Order, OrderOutcome};
use crate::error::{Error, Result};
use crate::storage::{Keep, Tx};

/// Which order goes from whom to whom, and as last read in which version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TransferOrder {
    pub(crate) order_id: OrderId,
    pub(crate) from: UserId,
    pub(crate) to: UserId,
    pub(crate) version: Option<i64>,
}

impl App {
    /// Hands an order over, for its customer.
    pub(crate) async fn transfer_order(&self, call: &Call, wish: TransferOrder) -> Result<Answer<Order>> {
        if let Some(recorded) = self.store.request_find(&call.key).await? {
            return self.replay_order(recorded, call).await;
        }
        // User service is asked while no row is locked, and only for the order's customer. That the order is not the
        // caller's is told under the lock: it may be because this very call has just been done by another copy of it.
        let order = self.store.order_fetch(wish.order_id).await?;
        let order = order.ok_or(Error::OrderNotFound(wish.order_id))?;
        if order.require_customer(wish.from).is_ok() {
            self.require_known(wish.to).await?;
        }
        let work = |tx| self.try_transfer_order(tx, call, wish);
        match self.store.transaction("transfer_order", work).await? {
            Some(order) => Ok(Answer::first(order)),
            None => self.replay_order_of_first(call).await,
        }
    }

    /// `None` when another call with this request id was faster.
    async fn try_transfer_order(
        &self,
        mut tx: Tx,
        call: &Call,
        wish: TransferOrder,
    ) -> Result<Option<Order>> {
        let order = tx.order_lock(wish.order_id).await?;
        // Those with this id that waited for the lock find here what the first one did.
        if tx.request_find(&call.key).await?.is_some() {
            return Ok(None);
        }
        let mut order = order.ok_or(Error::OrderNotFound(wish.order_id))?;
        order.require_customer(wish.from)?;
        order.require_version(wish.version)?;
        let now = self.now();
        order.hand_over(wish.to, now)?;
        match tx.customers_fetch(&[wish.to]).await?.as_slice() {
            [receiver] if receiver.is_active => {}
            [_, ..] => return Err(Error::CustomerDeactivated(wish.to)),
            [] => return Err(Error::UserNotFound(wish.to)),
        }
        let outcome = OrderOutcome::Done { order_id: order.id, now: order.now.clone() };
        if !tx.request_record(&call.key, &call.fingerprint, &outcome, Keep::Forever).await? {
            return Ok(None);
        }
        tx.order_update(&order).await?;
        tx.event_append(&self.order_transferred(&order, wish.from, call, now)).await?;
        tx.commit().await?;
        Ok(Some(order))
    }
}
