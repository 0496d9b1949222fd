//! Cancelling an order that is not paid: its stock goes back.

use auth::Person;
use types::{Answer, Call, Keep, OrderId, Role};

use crate::app::App;
use crate::domain::{Order, OrderOutcome, OrderRefused};
use crate::error::Result;
use crate::storage::{Finished, Tx};

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
        caller: Person,
        wish: CancelOrder,
    ) -> Result<Answer<Order>> {
        if let Some(saved) = self.store.request_fetch(&call.key).await? {
            return self.replay_order(saved, call).await;
        }
        let work = |tx| self.cancel_order_in(tx, call, caller, wish);
        let order = self.store.transaction("cancel_order", work).await?;
        self.first_or_replay(order, call).await
    }

    /// `None` when another call with this request id was faster.
    async fn cancel_order_in(
        &self,
        mut tx: Tx,
        call: &Call,
        caller: Person,
        wish: CancelOrder,
    ) -> Result<Finished<Option<Order>>> {
        let order = tx.order_lock(wish.order_id).await?;
        // Calls with this id that waited for the lock find here what the first one did.
        if tx.request_fetch(&call.key).await?.is_some() {
            return Ok(tx.abandon(None));
        }
        let mut order = order.ok_or(OrderRefused::NotFound(wish.order_id))?;
        if caller.role != Role::Admin {
            order.require_customer(caller.user_id)?;
        }
        order.require_version(wish.version)?;
        let now = self.now();
        order.cancel(now)?;
        let outcome = OrderOutcome::Done { order_id: order.id, now: order.now.clone() };
        if !tx.request_insert(call, &outcome, Keep::Forever).await? {
            return Ok(tx.abandon(None));
        }
        tx.order_update(&order).await?;
        tx.stock_give_back(&order.items, now).await?;
        tx.event_append(&self.order_cancelled(&order, call, now)).await?;
        Ok(tx.commit(Some(order)))
    }
}
