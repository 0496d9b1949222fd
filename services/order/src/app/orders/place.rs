//! Placing an order: the stock is taken and the prices are fixed, all or nothing.
//!
//! It is tried at once with the products as they were last seen, which takes one statement. That statement places the
//! order or changes nothing; then everything is read, and what was read decides, also why the order is refused.

use auth::Person;
use types::{Answer, Call, Keep};

use crate::app::App;
use crate::domain::{Order, OrderOutcome, OrderRefused, Placement, Shortage, Wanted};
use crate::error::{Error, Result};
use crate::storage::{Placed, Retries, is_tried_again};

/// How often the products are read again because others bought them in between.
const ATTEMPTS: usize = 8;

impl App {
    /// Places an order. A refusal for lack of stock is an outcome for ever, like the order itself.
    pub(crate) async fn place_order(
        &self,
        call: &Call,
        caller: Person,
        wanted: Vec<Wanted>,
    ) -> Result<Answer<Order>> {
        let customer_id = caller.user_id;
        let product_ids: Vec<_> = wanted.iter().map(|item| item.product_id.uuid()).collect();
        let (id, now) = (self.new_id(), self.now());
        let mut retries = Retries::of("place_order");
        if let Some(offers) = self.known_offers.of(&wanted)
            && let Ok(Placement::Possible(order)) = Placement::new(id, customer_id, &wanted, &offers, now)
            && self.try_to_place(&order, call, &mut retries).await? == Placed::Done
        {
            return Ok(Answer::first(order));
        }
        for _ in 0..ATTEMPTS {
            let view = self.store.placement_view(&call.key, customer_id, &product_ids).await?;
            if let Some(saved) = view.saved {
                return self.replay_order(saved, call).await;
            }
            self.require_active(customer_id, view.customer_state).await?;
            let placement = Placement::new(id, customer_id, &wanted, &view.offers, now)?;
            self.known_offers.remember(view.offers);
            let order = match placement {
                Placement::Possible(order) => order,
                Placement::Short(shortage) => return self.refuse(call, shortage).await,
            };
            match self.try_to_place(&order, call, &mut retries).await? {
                Placed::Done => return Ok(Answer::first(order)),
                Placed::RequestTaken => return self.first_or_replay(None, call).await,
                Placed::Outdated => {}
            }
        }
        Err(Error::contention("the products changed each time that they were read"))
    }

    /// Places the order if all is as it supposes. When others were in the way (a lock that was not free in time, a
    /// deadlock), nobody knows what they have changed: it waits a moment, and what the order supposes is read again.
    async fn try_to_place(&self, order: &Order, call: &Call, retries: &mut Retries) -> Result<Placed> {
        let event = self.order_placed(order, call);
        match self.store.order_place(order, &event, call).await {
            Err(error) if is_tried_again(&error) => {
                retries.pause(error).await?;
                Ok(Placed::Outdated)
            }
            placed => placed,
        }
    }

    async fn refuse(&self, call: &Call, shortage: Shortage) -> Result<Answer<Order>> {
        let outcome = OrderOutcome::from(shortage);
        if self.store.request_insert(call, &outcome, Keep::Forever).await? {
            fault::point!("business.committed", "place_order_refused");
            Err(OrderRefused::from(shortage).into())
        } else {
            self.first_or_replay(None, call).await
        }
    }
}
