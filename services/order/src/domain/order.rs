//! An order, who may do what with it, and what it costs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::{Date, OffsetDateTime};
use types::{Currency, Money, OrderId, ProductId, Role, UserId};

use super::ProductRefused;

/// Why an order is not placed, shown or changed. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OrderRefused {
    /// No such order, or the caller has nothing to do with it.
    #[error("there is no such order")]
    NotFound(OrderId),
    /// A product cannot be ordered.
    #[error(transparent)]
    Product(#[from] ProductRefused),
    /// Fewer are in stock than the order wants.
    #[error("product {product_id} is out of stock: {quantity} wanted, {stock} left")]
    OutOfStock {
        /// The first such product.
        product_id: ProductId,
        /// How many were wanted.
        quantity: i64,
        /// How many there were.
        stock: i64,
    },
    /// The products belong to different merchants.
    #[error("the products of an order must belong to one merchant; {0} belongs to another")]
    SellerMismatch(ProductId),
    /// The products have prices in different currencies.
    #[error("the products of an order must have one currency; {0} has another")]
    CurrencyMismatch(ProductId),
    /// The price of a product is in a currency that has been withdrawn since.
    #[error("the price of product {product_id} is in {currency}, which was withdrawn on {on}")]
    CurrencyWithdrawn {
        /// The first such product.
        product_id: ProductId,
        /// Its currency.
        currency: Currency,
        /// Since when the currency is not in force.
        on: Date,
    },
    /// The products cost more together than an order may.
    #[error("the items cost too much together")]
    TotalOverflow,
    /// The order's state does not allow it.
    #[error("the order is {state}")]
    InvalidState {
        /// Which order.
        order_id: OrderId,
        /// Its state.
        state: OrderState,
    },
    /// A payment of the order is running.
    #[error("a payment of the order is running")]
    PaymentPending(OrderId),
    /// The order has changed since the caller read it.
    #[error("the order has changed since it was read")]
    VersionMismatch(OrderId),
}

/// How far an order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Stock is taken; can be paid or cancelled.
    Placed,
    /// A payment runs.
    PaymentPending,
    /// The merchant has the money.
    Paid,
    /// Final: the stock is back.
    Cancelled,
}

impl OrderState {
    /// The name under which the database keeps it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::PaymentPending => "payment_pending",
            Self::Paid => "paid",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for OrderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OrderState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Placed, Self::PaymentPending, Self::Paid, Self::Cancelled]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| format!("no order state is called {text:?}"))
    }
}

/// One product of an order, with the price at that time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OrderItem {
    pub(crate) product_id: ProductId,
    pub(crate) quantity: i64,
    pub(crate) product_name: String,
    pub(crate) unit_price: Money,
}

impl OrderItem {
    /// Quantity times unit price; fits whenever the order's total does.
    pub(crate) fn amount(&self) -> Money {
        Money { minor_units: self.unit_price.minor_units.saturating_mul(self.quantity), ..self.unit_price }
    }
}

/// What a customer ordered of one merchant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) id: OrderId,
    pub(crate) seller_id: UserId,
    pub(crate) items: Vec<OrderItem>,
    pub(crate) total: Money,
    pub(crate) created_at: OffsetDateTime,
    /// The part that changes.
    pub(crate) now: OrderNow,
    /// Counts its events.
    pub(crate) event_version: i64,
}

/// The part of an order that changes, as its readers see it. Recorded with a call that changed it, so that the
/// first answer can be given again when the order has moved on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OrderNow {
    pub(crate) customer_id: UserId,
    pub(crate) state: OrderState,
    pub(crate) refunded_minor_units: i64,
    pub(crate) version: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) updated_at: OffsetDateTime,
}

impl Order {
    /// What was refunded, running refunds not included.
    pub(crate) fn refunded(&self) -> Money {
        Money { minor_units: self.now.refunded_minor_units, ..self.total }
    }

    /// The order as it was at another time.
    pub(crate) fn at(self, then: OrderNow) -> Self {
        Self { now: then, ..self }
    }

    /// Only its customer, its seller and admins know of an order.
    pub(crate) fn is_visible_to(&self, user_id: UserId, role: Role) -> bool {
        role == Role::Admin || user_id == self.now.customer_id || user_id == self.seller_id
    }

    /// To all but its customer, the order does not exist where only its customer may act.
    pub(crate) fn require_customer(&self, user_id: UserId) -> Result<(), OrderRefused> {
        if user_id == self.now.customer_id { Ok(()) } else { Err(OrderRefused::NotFound(self.id)) }
    }

    /// The caller acts on what it has read, if it says so.
    pub(crate) fn require_version(&self, expected: Option<i64>) -> Result<(), OrderRefused> {
        match expected {
            Some(version) if version != self.now.version => Err(OrderRefused::VersionMismatch(self.id)),
            _ => Ok(()),
        }
    }

    /// Cancels it: only while nothing was paid.
    pub(crate) fn cancel(&mut self, now: OffsetDateTime) -> Result<(), OrderRefused> {
        match self.now.state {
            OrderState::Placed => {
                self.now.state = OrderState::Cancelled;
                self.changed(now);
                Ok(())
            }
            OrderState::PaymentPending => Err(OrderRefused::PaymentPending(self.id)),
            state @ (OrderState::Paid | OrderState::Cancelled) => {
                Err(OrderRefused::InvalidState { order_id: self.id, state })
            }
        }
    }

    /// Hands it to another customer: any time but while a payment runs.
    pub(crate) fn hand_over(&mut self, to: UserId, now: OffsetDateTime) -> Result<(), OrderRefused> {
        match self.now.state {
            OrderState::Placed | OrderState::Paid => {
                self.now.customer_id = to;
                self.changed(now);
                Ok(())
            }
            OrderState::PaymentPending => Err(OrderRefused::PaymentPending(self.id)),
            state @ OrderState::Cancelled => Err(OrderRefused::InvalidState { order_id: self.id, state }),
        }
    }

    fn changed(&mut self, now: OffsetDateTime) {
        self.now.version += 1;
        self.now.updated_at = now;
        self.event_version += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::{order, user};

    #[test]
    fn an_order_is_cancelled_only_while_nothing_was_paid() {
        for (state, refusal) in [
            (OrderState::Placed, None),
            (OrderState::PaymentPending, Some("a payment of the order is running")),
            (OrderState::Paid, Some("the order is paid")),
            (OrderState::Cancelled, Some("the order is cancelled")),
        ] {
            let mut order = order(state);
            let before = order.clone();
            let error = order.cancel(OffsetDateTime::UNIX_EPOCH).err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), refusal);
            if refusal.is_some() {
                assert_eq!(order, before);
            } else {
                assert_eq!(order.now.state, OrderState::Cancelled);
                assert_eq!((order.now.version, order.event_version), (2, 2));
            }
        }
    }

    #[test]
    fn an_order_is_handed_over_unless_it_is_cancelled_or_being_paid() {
        for (state, allowed) in [
            (OrderState::Placed, true),
            (OrderState::PaymentPending, false),
            (OrderState::Paid, true),
            (OrderState::Cancelled, false),
        ] {
            let mut order = order(state);
            assert_eq!(order.hand_over(user(9), OffsetDateTime::UNIX_EPOCH).is_ok(), allowed);
            assert_eq!(order.now.customer_id == user(9), allowed);
            assert_eq!(order.now.state, state);
        }
    }

    #[test]
    fn only_customer_seller_and_admin_see_an_order() {
        let order = order(OrderState::Placed);
        assert!(order.is_visible_to(order.now.customer_id, Role::Customer));
        assert!(order.is_visible_to(order.seller_id, Role::Merchant));
        assert!(order.is_visible_to(user(9), Role::Admin));
        assert!(!order.is_visible_to(user(9), Role::Merchant));
    }

    #[test]
    fn a_stale_version_is_refused_and_none_matches_any() {
        let order = order(OrderState::Placed);
        assert!(order.require_version(None).is_ok() && order.require_version(Some(1)).is_ok());
        assert!(matches!(order.require_version(Some(2)), Err(OrderRefused::VersionMismatch(_))));
    }
}
