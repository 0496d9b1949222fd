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
