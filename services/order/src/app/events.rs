//! What the use cases tell the other services: a change as the message of its event.

use api::call::Rpc as _;
use api::order::v1::{
    OrderCancelled, OrderPaid, OrderPlaced, OrderTransferred, PlaceOrderRequest, ProductCreated,
    ProductUpdated,
};
use events::{Aggregate, NewEvent};
use prost::{Message, Name};
use time::OffsetDateTime;
use types::{Call, EventId, UserId};

use super::App;
use crate::domain::{Order, Product, Sums};
use crate::error::{Error, Result};
use crate::transfers::Origin;

/// The method whose recorded outcomes say who placed which order.
pub(super) const PLACE_ORDER: &str = PlaceOrderRequest::METHOD;

impl App {
    pub(super) fn product_created(&self, product: &Product, call: &Call) -> NewEvent {
        let payload =
            ProductCreated { product_id: product.id.to_string(), seller_id: product.seller_id.to_string() };
        self.event(Aggregate::new("product", product.id), 1, &payload, call, product.created_at)
    }

    pub(super) fn product_updated(&self, product: &Product, event_version: i64, call: &Call) -> NewEvent {
        let payload =
            ProductUpdated { product_id: product.id.to_string(), seller_id: product.seller_id.to_string() };
        let aggregate = Aggregate::new("product", product.id);
        self.event(aggregate, event_version, &payload, call, product.updated_at)
    }

    pub(super) fn order_placed(&self, order: &Order, call: &Call) -> NewEvent {
        let payload = OrderPlaced {
            order_id: order.id.to_string(),
            customer_id: order.now.customer_id.to_string(),
            seller_id: order.seller_id.to_string(),
            total: Some(order.total.into()),
        };
        self.of_order(order, &payload, call, order.created_at)
    }

    pub(super) fn order_cancelled(&self, order: &Order, call: &Call, now: OffsetDateTime) -> NewEvent {
        let payload =
            OrderCancelled { order_id: order.id.to_string(), customer_id: order.now.customer_id.to_string() };
        self.of_order(order, &payload, call, now)
    }

    pub(super) fn order_transferred(
        &self,
        order: &Order,
        from: UserId,
        call: &Call,
        now: OffsetDateTime,
    ) -> NewEvent {
        let payload = OrderTransferred {
            order_id: order.id.to_string(),
            from_user_id: from.to_string(),
            to_user_id: order.now.customer_id.to_string(),
        };
        self.of_order(order, &payload, call, now)
    }

    fn of_order<M: Message + Name>(
        &self,
        order: &Order,
        payload: &M,
        call: &Call,
        now: OffsetDateTime,
    ) -> NewEvent {
        self.event(Aggregate::new("order", order.id), order.event_version, payload, call, now)
    }

    /// An event of the call that is being served.
    fn event<M: Message + Name>(
        &self,
        aggregate: Aggregate,
        version: i64,
        payload: &M,
        call: &Call,
        now: OffsetDateTime,
    ) -> NewEvent {
        Origin::of(call, now).event(self.new_id::<EventId>(), aggregate, version, payload)
    }
}

/// How an event of ours changes users' sums, as user service adds them up.
pub(super) fn sums_changed(event_type: &str, payload: &[u8]) -> Result<Vec<(UserId, Sums)>> {
    let none = Sums::default();
    if let Some(placed) = read::<OrderPlaced>(event_type, payload)? {
        return Ok(vec![(user(&placed.customer_id)?, Sums { placed: 1, owned: 1, ..none })]);
    }
    if let Some(paid) = read::<OrderPaid>(event_type, payload)? {
        return Ok(vec![(user(&paid.customer_id)?, Sums { paid: 1, ..none })]);
    }
    if let Some(cancelled) = read::<OrderCancelled>(event_type, payload)? {
        return Ok(vec![(user(&cancelled.customer_id)?, Sums { cancelled: 1, owned: -1, ..none })]);
    }
    if let Some(handed) = read::<OrderTransferred>(event_type, payload)? {
        let gone = (user(&handed.from_user_id)?, Sums { owned: -1, ..none });
        return Ok(vec![gone, (user(&handed.to_user_id)?, Sums { owned: 1, ..none })]);
    }
    Ok(Vec::new())
}

fn read<M: Message + Name + Default>(event_type: &str, payload: &[u8]) -> Result<Option<M>> {
    (event_type == M::full_name()).then(|| M::decode(payload)).transpose().map_err(Error::internal)
}

fn user(text: &str) -> Result<UserId> {
    text.parse().map_err(|_| Error::internal(format!("{text:?} is not a user's id")))
}
