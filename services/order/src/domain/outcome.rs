//! What is recorded of a changing call: enough to give its first answer again.

use serde::{Deserialize, Serialize};
use types::{OrderId, ProductId};

use super::{OrderNow, OrderRefused, Shortage};

/// The outcome of a call that makes or changes an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OrderOutcome {
    /// It was done, and the order was then as `now` says; what never changes is read from the order.
    Done { order_id: OrderId, now: OrderNow },
    /// It was refused for good.
    OutOfStock { product_id: ProductId, quantity: i64, stock: i64 },
}

impl From<Shortage> for OrderOutcome {
    fn from(Shortage { product_id, quantity, stock }: Shortage) -> Self {
        Self::OutOfStock { product_id, quantity, stock }
    }
}

impl From<Shortage> for OrderRefused {
    fn from(Shortage { product_id, quantity, stock }: Shortage) -> Self {
        Self::OutOfStock { product_id, quantity, stock }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::OffsetDateTime;

    use super::*;
    use crate::domain::fixtures::{offer, order};
    use crate::domain::{OrderState, Product};

    /// Outcomes are kept for ever, so these literals never change.
    #[test]
    fn what_is_stored_of_an_outcome_stays_as_it_is() {
        let order = order(OrderState::PaymentPending);
        let done = json!({"done": {
            "order_id": "00000000-0000-0000-0000-000000000005",
            "now": {
                "customer_id": "00000000-0000-0000-0000-000000000001",
                "state": "payment_pending",
                "refunded_minor_units": 0,
                "version": 1,
                "updated_at": "1970-01-01T00:00:00Z",
            },
        }});
        let outcome = OrderOutcome::Done { order_id: order.id, now: order.now };
        assert_eq!(serde_json::to_value(&outcome).unwrap(), done);
        assert_eq!(serde_json::from_value::<OrderOutcome>(done).unwrap(), outcome);

        let product_id = offer(7, "EUR", 1, 1).product_id;
        let short = json!({"out_of_stock": {
            "product_id": "00000000-0000-0000-0000-000000000007", "quantity": 3, "stock": 2,
        }});
        let outcome = OrderOutcome::OutOfStock { product_id, quantity: 3, stock: 2 };
        assert_eq!(serde_json::to_value(&outcome).unwrap(), short);
        assert_eq!(serde_json::from_value::<OrderOutcome>(short).unwrap(), outcome);
    }

    #[test]
    fn what_is_stored_of_a_product_stays_as_it_is() {
        let tea = offer(7, "EUR", 250, 3);
        let product = Product {
            id: tea.product_id,
            seller_id: tea.seller_id,
            name: tea.name,
            unit_price: tea.unit_price,
            stock: tea.stock,
            version: 1,
            created_at: OffsetDateTime::UNIX_EPOCH,
            updated_at: OffsetDateTime::UNIX_EPOCH,
        };
        let stored = json!({
            "id": "00000000-0000-0000-0000-000000000007",
            "seller_id": "00000000-0000-0000-0000-000000000002",
            "name": "Tea",
            "unit_price": {"currency": "EUR", "minor_units": 250},
            "stock": 3,
            "version": 1,
            "created_at": "1970-01-01T00:00:00Z",
            "updated_at": "1970-01-01T00:00:00Z",
        });
        assert_eq!(serde_json::to_value(&product).unwrap(), stored);
        assert_eq!(serde_json::from_value::<Product>(stored).unwrap(), product);
    }
}
