//! Products and orders for unit tests.

use time::OffsetDateTime;
use types::{Money, OrderId, ProductId, UserId};
use uuid::Uuid;

use super::{Offer, Order, OrderNow, OrderState};

pub(crate) fn user(number: u128) -> UserId {
    UserId::from_uuid(Uuid::from_u128(number))
}

pub(crate) fn offer(number: u128, currency: &str, unit_price: i64, stock: i64) -> Offer {
    Offer {
        product_id: ProductId::from_uuid(Uuid::from_u128(number)),
        seller_id: user(2),
        name: "Tea".to_owned(),
        unit_price: Money::new(currency.parse().unwrap(), unit_price),
        stock,
    }
}

pub(crate) fn order(state: OrderState) -> Order {
    let updated_at = OffsetDateTime::UNIX_EPOCH;
    Order {
        id: OrderId::from_uuid(Uuid::from_u128(5)),
        seller_id: user(2),
        items: Vec::new(),
        total: Money::new("EUR".parse().unwrap(), 100),
        created_at: updated_at,
        now: OrderNow { customer_id: user(1), state, refunded_minor_units: 0, version: 1, updated_at },
        event_version: 1,
    }
}
