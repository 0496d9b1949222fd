//! Between the wire's types and ours. Requests are checked whole: the caller hears of every broken rule at once.

use std::collections::HashSet;

use api::order::v1;
use api::violations::{Violations, timestamp};
use types::{ProductId, UserId};

use crate::app::{CancelOrder, CreateProduct, TransferOrder};
use crate::domain::{ITEMS_MAX, NAME_MAX, Order, OrderState, Product, QUANTITY_MAX, STOCK_MAX, Sums, Wanted};
use crate::error::{Error, Result};

/// Checks a request with `read`, which gives a value if nothing is wrong.
pub(super) fn check<T>(read: impl FnOnce(&mut Violations) -> Option<T>) -> Result<T> {
    let mut violations = Violations::new();
    let value = read(&mut violations);
    violations.finish(value).map_err(Error::Invalid)
}

pub(super) fn customer_statistics((user_id, sums): (UserId, Sums)) -> v1::CustomerStatistics {
    v1::CustomerStatistics {
        user_id: user_id.to_string(),
        placed_count: sums.placed,
        paid_count: sums.paid,
        cancelled_count: sums.cancelled,
        owned_count: sums.owned,
    }
}

pub(super) fn create_product(
    v: &mut Violations,
    request: &v1::CreateProductRequest,
    seller_id: UserId,
) -> Option<CreateProduct> {
    let name = v.line("name", &request.name, NAME_MAX);
    let unit_price = v.amount("unit_price", request.unit_price.as_ref());
    let stock = Some(request.stock).filter(|stock| (0..=STOCK_MAX).contains(stock));
    if stock.is_none() {
        v.add("stock", "STOCK_OUT_OF_RANGE", format!("must be 0 to {STOCK_MAX}"));
    }
    Some(CreateProduct { seller_id, name: name?, unit_price: unit_price?, stock: stock? })
}

pub(super) fn wanted(v: &mut Violations, items: &[v1::OrderItem]) -> Option<Vec<Wanted>> {
    if items.is_empty() {
        v.add("items", "REQUIRED", "must have at least one item");
    }
    if items.len() > ITEMS_MAX {
        // One violation, not thousands.
        v.add("items", "TOO_MANY", format!("must have at most {ITEMS_MAX} items"));
        return None;
    }
    let mut seen = HashSet::with_capacity(items.len());
    // All are looked at before the first missing one counts.
    let wanted: Vec<_> =
        items.iter().enumerate().map(|(place, item)| wanted_item(v, place, item, &mut seen)).collect();
    wanted.into_iter().collect()
}

fn wanted_item(
    v: &mut Violations,
    place: usize,
    item: &v1::OrderItem,
    seen: &mut HashSet<ProductId>,
) -> Option<Wanted> {
    let product_id: Option<ProductId> = v.id(&format!("items[{place}].product_id"), &item.product_id);
    if product_id.is_some_and(|id| !seen.insert(id)) {
        v.add(&format!("items[{place}]"), "DUPLICATE", "must name each product once");
    }
    let quantity = Some(item.quantity).filter(|quantity| (1..=QUANTITY_MAX).contains(quantity));
    if quantity.is_none() {
        let field = format!("items[{place}].quantity");
        v.add(&field, "QUANTITY_OUT_OF_RANGE", format!("must be 1 to {QUANTITY_MAX}"));
    }
    Some(Wanted { product_id: product_id?, quantity: quantity? })
}

pub(super) fn cancel_order(v: &mut Violations, request: &v1::CancelOrderRequest) -> Option<CancelOrder> {
    let order_id = v.id("order_id", &request.order_id);
    let version = v.etag(&request.etag);
    Some(CancelOrder { order_id: order_id?, version: version? })
}

pub(super) fn transfer_order(
    v: &mut Violations,
    request: &v1::TransferOrderRequest,
    from: UserId,
) -> Option<TransferOrder> {
    let order_id = v.id("order_id", &request.order_id);
    let to = v.id("to_user_id", &request.to_user_id);
    if to == Some(from) {
        v.add("to_user_id", "SAME_USER", "must be another user than the caller");
    }
    let version = v.etag(&request.etag);
    Some(TransferOrder { order_id: order_id?, from, to: to?, version: version? })
}

impl From<Product> for v1::Product {
    fn from(product: Product) -> Self {
        Self {
            id: product.id.to_string(),
            seller_id: product.seller_id.to_string(),
            name: product.name,
            unit_price: Some(product.unit_price.into()),
            stock: product.stock,
            create_time: Some(timestamp(product.created_at)),
            update_time: Some(timestamp(product.updated_at)),
            etag: product.version.to_string(),
        }
    }
}

impl From<OrderState> for v1::order::State {
    fn from(state: OrderState) -> Self {
        match state {
            OrderState::Placed => Self::Placed,
            OrderState::PaymentPending => Self::PaymentPending,
            OrderState::Paid => Self::Paid,
            OrderState::Cancelled => Self::Cancelled,
        }
    }
}

impl From<Order> for v1::Order {
    fn from(order: Order) -> Self {
        let refunded = order.refunded();
        let items = order.items.into_iter().map(|item| v1::OrderItem {
            product_id: item.product_id.to_string(),
            quantity: item.quantity,
            unit_price: Some(item.unit_price.into()),
            amount: Some(item.amount().into()),
            product_name: item.product_name,
        });
        Self {
            id: order.id.to_string(),
            customer_id: order.now.customer_id.to_string(),
            seller_id: order.seller_id.to_string(),
            state: v1::order::State::from(order.now.state).into(),
            items: items.collect(),
            total: Some(order.total.into()),
            refunded: Some(refunded.into()),
            create_time: Some(timestamp(order.created_at)),
            update_time: Some(timestamp(order.now.updated_at)),
            etag: order.now.version.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn broken(items: &[v1::OrderItem]) -> Vec<String> {
        match check(|v| wanted(v, items)) {
            Ok(_) => Vec::new(),
            Err(Error::Invalid(violations)) => violations
                .into_iter()
                .map(|violation| format!("{} {}", violation.field, violation.reason))
                .collect(),
            Err(error) => panic!("{error:?}"),
        }
    }

    fn item(number: u128, quantity: i64) -> v1::OrderItem {
        let product_id = Uuid::from_u128(number).to_string();
        v1::OrderItem { product_id, quantity, ..v1::OrderItem::default() }
    }

    #[test]
    fn every_broken_rule_of_every_item_is_named() {
        assert!(broken(&[item(1, 1), item(2, 10_000)]).is_empty());
        assert_eq!(broken(&[]), ["items REQUIRED"]);
        let mut items: Vec<_> = (1..=8).map(|number| item(number, 1)).collect();
        items[3].quantity = 0;
        items[4].quantity = 10_001;
        items[5].quantity = i64::MIN;
        items[6].product_id = "x".to_owned();
        items[7] = item(1, 1);
        assert_eq!(
            broken(&items),
            [
                "items[3].quantity QUANTITY_OUT_OF_RANGE",
                "items[4].quantity QUANTITY_OUT_OF_RANGE",
                "items[5].quantity QUANTITY_OUT_OF_RANGE",
                "items[6].product_id INVALID_ID",
                "items[7] DUPLICATE",
            ]
        );
    }

    #[test]
    fn a_hundred_items_are_allowed_and_more_are_one_violation() {
        let items: Vec<_> = (1..=101).map(|number| item(number, 1)).collect();
        assert!(broken(&items[..100]).is_empty());
        assert_eq!(broken(&items), ["items TOO_MANY"]);
    }
}
