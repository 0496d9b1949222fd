//! Orders: reading them, and answering a repeated call about one as the first was.

mod cancel;
mod place;
mod statistics;
mod transfer;

use auth::Person;
use types::{Answer, Call, OrderId};

use crate::app::App;
use crate::domain::{Order, OrderOutcome, OrderRefused};
use crate::error::{Error, Result};
use crate::storage::Saved;

pub(crate) use cancel::CancelOrder;
pub(crate) use transfer::TransferOrder;

impl App {
    /// An order, for whom it concerns.
    pub(crate) async fn get_order(&self, caller: Person, id: OrderId) -> Result<Order> {
        let order = self.store.order_fetch(id).await?;
        let order = order.filter(|order| order.is_visible_to(caller.user_id, caller.role));
        Ok(order.ok_or(OrderRefused::NotFound(id))?)
    }

    /// The answer to a call about an order: its own, or that of the call that claimed its request id first.
    async fn first_or_replay(&self, order: Option<Order>, call: &Call) -> Result<Answer<Order>> {
        if let Some(order) = order {
            return Ok(Answer::first(order));
        }
        let saved = self.store.request_fetch(&call.key).await?;
        let saved = saved.ok_or_else(|| Error::internal("a request id was claimed and has no outcome"))?;
        self.replay_order(saved, call).await
    }

    /// Gives the first answer of a call about an order again.
    async fn replay_order(&self, saved: Saved, call: &Call) -> Result<Answer<Order>> {
        match saved.outcome(call)? {
            OrderOutcome::Done { order_id, now } => {
                let order = self.store.order_fetch(order_id).await?;
                let order = order.ok_or_else(|| Error::internal("the order of an outcome does not exist"))?;
                Ok(Answer::replay(order.at(now)))
            }
            OrderOutcome::OutOfStock { product_id, quantity, stock } => {
                let refused = OrderRefused::OutOfStock { product_id, quantity, stock };
                Err(Error::Replayed(Box::new(refused.into())))
            }
        }
    }
}
