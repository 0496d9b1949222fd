//! Cancelling an order that is not paid: its stock goes back.

use types::{OrderId, Role};

use super::{Answer, App, Call, Caller};
use crate::domain::{Order, OrderOutcome};
use crate::error::{Error, Result};
use crate::storage::{Keep, Tx};

/// Which order, and as last read in which version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CancelOrder {
    pub(crate) order_id: OrderId,
    pub(crate) version: Option<i64>,
}

impl App {
    /// Cancels an order, for its customer or an admin.
    pub(crate) async fn cancel_order(
        &self,
        call: &Call,
        caller: Caller,
        wish: CancelOrder,
    ) -> Result<Answer<Order>> {
        if let Some(recorded) = self.store.request_find(&call.key).await? {
            return self.replay_order(recorded, call).await;
        }
        let work = |tx| self.try_cancel_order(tx, call, caller, wish);
        match self.store.transaction("cancel_order", work).await? {
            Some(order) => Ok(Answer::first(order)),
            None => self.replay_order_of_first(call).await,
        }
    }

    /// `None` when another call with this request id was faster.
    async fn try_cancel_order(
        &self,
        mut tx: Tx,
        call: &Call,
        caller: Caller,
        wish: CancelOrder,
    ) -> Result<Option<Order>> {
        let order = tx.order_lock(wish.order_id).await?;
        // Those with this id that waited for the lock find here what the first one did.
        if tx.request_find(&call.key).await?.is_some() {
            return Ok(None);
        }
        let mut order = order.ok_or(Error::OrderNotFound(wish.order_id))?;
        if caller.role != Role::Admin {
            order.require_customer(caller.user_id)?;
        }
        order.require_version(wish.version)?;
        let now = self.now();
        order.cancel(now)?;
        let outcome = OrderOutcome::Done { order_id: order.id, now: order.now.clone() };
        if !tx.request_record(&call.key, &call.fingerprint, &outcome, Keep::Forever).await? {
            return Ok(None);
        }
        tx.order_update(&order).await?;
        tx.stock_give_back(&order.items, now).await?;
        tx.event_append(&self.order_cancelled(&order, call, now)).await?;
        tx.commit().await?;
        Ok(Some(order))
    }
}
