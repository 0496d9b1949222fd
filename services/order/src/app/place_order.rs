//! Placing an order: the stock is taken and the prices are fixed, all or nothing.

use types::UserId;

use super::{Answer, App, Call};
use crate::domain::{Order, OrderOutcome, Placement, Shortage, Wanted};
use crate::error::{Error, Result};
use crate::storage::{Keep, Placed};

/// How often the products are read again because others bought them in between.
const ATTEMPTS: usize = 8;

impl App {
    /// Places an order. A refusal for lack of stock is an outcome for ever, like the order itself.
    pub(crate) async fn place_order(
        &self,
        call: &Call,
        customer_id: UserId,
        wanted: &[Wanted],
    ) -> Result<Answer<Order>> {
        let product_ids: Vec<_> = wanted.iter().map(|item| item.product_id.uuid()).collect();
        let (id, now) = (self.new_id(), self.now());
        for _ in 0..ATTEMPTS {
            let view = self.store.placement_view(&call.key, customer_id, &product_ids).await?;
            if let Some(recorded) = view.recorded {
                return self.replay_order(recorded, call).await;
            }
            self.require_active(customer_id, view.customer_is_active).await?;
            let order = match Placement::new(id, customer_id, wanted, &view.offers, now)? {
                Placement::Possible(order) => order,
                Placement::Short(shortage) => return self.refuse(call, shortage).await,
            };
            let event = self.order_placed(&order, call);
            match self.store.order_place(&order, &event, &call.key, &call.fingerprint).await {
                Ok(Placed::Done) => {
                    fault::point!("business.committed", "place_order");
                    return Ok(Answer::first(order));
                }
                Ok(Placed::RequestTaken) => return self.replay_order_of_first(call).await,
                Ok(Placed::ProductsChanged) | Err(Error::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Contention)
    }

    async fn refuse(&self, call: &Call, shortage: Shortage) -> Result<Answer<Order>> {
        let outcome = OrderOutcome::from(shortage);
        if self.store.request_record(&call.key, &call.fingerprint, &outcome, Keep::Forever).await? {
            fault::point!("business.committed", "place_order_refused");
            Err(shortage.into())
        } else {
            self.replay_order_of_first(call).await
        }
    }
}
