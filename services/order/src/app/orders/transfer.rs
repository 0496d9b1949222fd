//! Handing an order to another customer.

use auth::Person;
use types::{Answer, Call, Keep, OrderId, UserId};

use crate::app::App;
use crate::domain::{CustomerRefused, Order, OrderOutcome, OrderRefused};
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// Which order goes to whom, and as last read in which version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TransferOrder {
    pub(crate) order_id: OrderId,
    pub(crate) to: UserId,
    pub(crate) version: Option<i64>,
}

impl App {
    /// Hands an order over, for its customer.
    pub(crate) async fn transfer_order(
        &self,
        call: &Call,
        caller: Person,
        wish: TransferOrder,
    ) -> Result<Answer<Order>> {
        if let Some(saved) = self.store.request_fetch(&call.key).await? {
            return self.replay_order(saved, call).await;
        }
        // User service is asked while no row is locked, and only for the order's customer. Whether the order is the
        // caller's is decided under the lock: it may be another's because a copy of this very call has just been done.
        let order = self.store.order_fetch(wish.order_id).await?;
        let order = order.ok_or(OrderRefused::NotFound(wish.order_id))?;
        if order.require_customer(caller.user_id).is_ok() {
            self.require_known(wish.to).await?;
        }
        let work = |tx| self.transfer_order_in(tx, call, caller, wish);
        let order = self.store.transaction("transfer_order", work).await?;
        self.first_or_replay(order, call).await
    }

    /// `None` when another call with this request id was faster.
    async fn transfer_order_in(
        &self,
        mut tx: Tx,
        call: &Call,
        caller: Person,
        wish: TransferOrder,
    ) -> Result<Finished<Option<Order>>> {
        let order = tx.order_lock(wish.order_id).await?;
        // Calls with this id that waited for the lock find here what the first one did.
        if tx.request_fetch(&call.key).await?.is_some() {
            return Ok(tx.abandon(None));
        }
        let mut order = order.ok_or(OrderRefused::NotFound(wish.order_id))?;
        order.require_customer(caller.user_id)?;
        order.require_version(wish.version)?;
        let now = self.now();
        order.hand_over(wish.to, now)?;
        match tx.customers_fetch(&[wish.to]).await?.as_slice() {
            [receiver, ..] => receiver.state.require_active(wish.to)?,
            [] => return Err(CustomerRefused::NotFound(wish.to).into()),
        }
        let outcome = OrderOutcome::Done { order_id: order.id, now: order.now.clone() };
        if !tx.request_insert(call, &outcome, Keep::Forever).await? {
            return Ok(tx.abandon(None));
        }
        tx.order_update(&order).await?;
        tx.event_append(&self.order_transferred(&order, caller.user_id, call, now)).await?;
        Ok(tx.commit(Some(order)))
    }
}
