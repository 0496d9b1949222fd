//! Orders: `order.v1.OrderService`, its conversions and its refusals.

use std::collections::HashSet;

use api::common::v1::ErrorReason as CommonReason;
use api::order::v1::order_service_server::OrderService;
use api::order::v1::{
    self, CancelOrderRequest, CancelOrderResponse, ErrorReason, GetCustomerHoldingsRequest,
    GetCustomerHoldingsResponse, GetOrderRequest, GetOrderResponse, PlaceOrderRequest, PlaceOrderResponse,
    SnapshotOrderStatisticsRequest, SnapshotOrderStatisticsResponse, TransferOrderRequest,
    TransferOrderResponse,
};
use api::refusal::Refusal;
use api::violations::{Violations, timestamp};
use futures_util::{StreamExt as _, stream};
use runtime::rpc::{self, Messages, accept, check, person, respond};
use tonic::{Code, Request, Response, Status};
use types::{AMOUNT_MAX, ProductId, UserId, Violation};

use crate::app::App;
use crate::app::orders::{CancelOrder, TransferOrder};
use crate::domain::{ITEMS_MAX, Order, OrderRefused, OrderState, QUANTITY_MAX, Sums, Wanted};
use crate::error::Error;

/// The orders.
#[derive(Clone)]
pub(super) struct Orders(pub(super) App);

#[tonic::async_trait]
impl OrderService for Orders {
    async fn place_order(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<PlaceOrderResponse>, Status> {
        let (caller, (call, wanted)) = (person(&request)?, accept(&request, place_order)?);
        let answer = self.0.place_order(&call, caller, wanted).await?;
        Ok(respond(answer, |order| PlaceOrderResponse { order: Some(order.into()) }))
    }

    async fn get_order(
        &self,
        request: Request<GetOrderRequest>,
    ) -> Result<Response<GetOrderResponse>, Status> {
        let caller = person(&request)?;
        let id = check(&request, |v, request| v.id("order_id", &request.order_id))?;
        let order = self.0.get_order(caller, id).await?;
        Ok(Response::new(GetOrderResponse { order: Some(order.into()) }))
    }

    async fn cancel_order(
        &self,
        request: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, cancel_order)?);
        let answer = self.0.cancel_order(&call, caller, wish).await?;
        Ok(respond(answer, |order| CancelOrderResponse { order: Some(order.into()) }))
    }

    async fn transfer_order(
        &self,
        request: Request<TransferOrderRequest>,
    ) -> Result<Response<TransferOrderResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, transfer_order)?);
        let answer = self.0.transfer_order(&call, caller, wish).await?;
        Ok(respond(answer, |order| TransferOrderResponse { order: Some(order.into()) }))
    }

    async fn get_customer_holdings(
        &self,
        request: Request<GetCustomerHoldingsRequest>,
    ) -> Result<Response<GetCustomerHoldingsResponse>, Status> {
        let user_id = check(&request, |v, request| v.id("user_id", &request.user_id))?;
        let holdings = self.0.get_customer_holdings(user_id).await?;
        Ok(Response::new(GetCustomerHoldingsResponse {
            bought_count: holdings.bought,
            sold_count: holdings.sold,
            running_transfer_count: holdings.running_transfers,
            account_balances: holdings.balances.into_iter().map(Into::into).collect(),
        }))
    }

    type SnapshotOrderStatisticsStream = Messages<SnapshotOrderStatisticsResponse>;

    async fn snapshot_order_statistics(
        &self,
        _: Request<SnapshotOrderStatisticsRequest>,
    ) -> Result<Response<Self::SnapshotOrderStatisticsStream>, Status> {
        let statistics = self.0.snapshot_order_statistics().await?;
        let head = statistics.head();
        let first = SnapshotOrderStatisticsResponse {
            epoch: head.epoch.to_string(),
            position: head.position,
            event_id: head.event_id.map(|id| id.to_string()).unwrap_or_default(),
            customers: Vec::new(),
        };
        let pages = stream::try_unfold(statistics, |mut statistics| async move {
            let page = statistics.next_page().await?;
            Ok::<_, Error>(page.map(|page| (customers(page), statistics)))
        });
        Ok(rpc::stream(stream::iter([Ok(first)]).chain(pages)))
    }
}

fn place_order(v: &mut Violations, request: &PlaceOrderRequest) -> Option<Vec<Wanted>> {
    let items = &request.items;
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

fn cancel_order(v: &mut Violations, request: &CancelOrderRequest) -> Option<CancelOrder> {
    let order_id = v.id("order_id", &request.order_id);
    let version = v.etag(&request.etag);
    Some(CancelOrder { order_id: order_id?, version: version? })
}

fn transfer_order(v: &mut Violations, request: &TransferOrderRequest) -> Option<TransferOrder> {
    let order_id = v.id("order_id", &request.order_id);
    let to = v.another_user("to_user_id", &request.to_user_id, "SAME_USER");
    let version = v.etag(&request.etag);
    Some(TransferOrder { order_id: order_id?, to: to?, version: version? })
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

fn customers(page: Vec<(UserId, Sums)>) -> SnapshotOrderStatisticsResponse {
    let customers = page.into_iter().map(|(user_id, sums)| v1::CustomerStatistics {
        user_id: user_id.to_string(),
        placed_count: sums.placed,
        paid_count: sums.paid,
        cancelled_count: sums.cancelled,
        owned_count: sums.owned,
    });
    SnapshotOrderStatisticsResponse { customers: customers.collect(), ..Default::default() }
}

impl From<&OrderRefused> for Refusal {
    fn from(refused: &OrderRefused) -> Self {
        let refuse = |code, reason: ErrorReason| Self::new(code, &reason, refused.to_string());
        let common = |code, reason: CommonReason| Self::new(code, &reason, refused.to_string());
        let unmet = |reason| refuse(Code::FailedPrecondition, reason);
        match refused {
            OrderRefused::NotFound(id) => {
                refuse(Code::NotFound, ErrorReason::OrderNotFound).resource("order", id.to_string())
            }
            OrderRefused::Product(refused) => refused.into(),
            OrderRefused::OutOfStock { product_id, quantity, stock } => unmet(ErrorReason::OutOfStock)
                .with("product_id", product_id.to_string())
                .with("quantity", quantity.to_string())
                .with("stock", stock.to_string())
                .precondition(format!("products/{product_id}"), "order fewer, or try again later"),
            OrderRefused::SellerMismatch(product_id) => unmet(ErrorReason::SellerMismatch)
                .with("product_id", product_id.to_string())
                .precondition(format!("products/{product_id}"), "order the products of each merchant apart"),
            OrderRefused::CurrencyMismatch(product_id) => unmet(ErrorReason::CurrencyMismatch)
                .with("product_id", product_id.to_string())
                .precondition(format!("products/{product_id}"), "order the products of each currency apart"),
            OrderRefused::CurrencyWithdrawn { product_id, currency, on } => {
                unmet(ErrorReason::CurrencyWithdrawn)
                    .with("product_id", product_id.to_string())
                    .with("currency_code", currency.code())
                    .with("withdrawn_on", on.to_string())
                    .precondition(
                        format!("products/{product_id}"),
                        "ask the merchant for a price in another currency",
                    )
            }
            OrderRefused::TotalOverflow => common(Code::InvalidArgument, CommonReason::InvalidRequest)
                .bad_request(&[Violation {
                    field: "items".to_owned(),
                    reason: "TOTAL_OVERFLOW",
                    description: format!("must cost at most {AMOUNT_MAX} minor units together"),
                }]),
            OrderRefused::InvalidState { order_id, state } => unmet(ErrorReason::InvalidState)
                .with("state", state.as_str())
                .precondition(format!("orders/{order_id}"), format!("is {state}")),
            OrderRefused::PaymentPending(id) => unmet(ErrorReason::PaymentPending)
                .precondition(format!("orders/{id}"), "wait until the payment has ended"),
            OrderRefused::VersionMismatch(id) => {
                common(Code::Aborted, CommonReason::VersionMismatch).resource("order", id.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use types::{Failure, OrderId};
    use uuid::Uuid;

    use super::super::refused::wire;
    use super::*;

    fn broken(items: &[v1::OrderItem]) -> Vec<String> {
        let mut violations = Violations::new();
        let request = PlaceOrderRequest { items: items.to_vec(), ..PlaceOrderRequest::default() };
        let wanted = place_order(&mut violations, &request);
        let Err(failure) = violations.finish(wanted) else { return Vec::new() };
        let Failure::Invalid(broken) = failure else { panic!("{failure:?}") };
        broken.into_iter().map(|each| format!("{} {}", each.field, each.reason)).collect()
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

    #[test]
    fn every_refusal_has_its_code_reason_and_detail() {
        use OrderRefused as Refused;
        let uuid = Uuid::from_u128(1);
        let (product_id, order_id) = (ProductId::from_uuid(uuid), OrderId::from_uuid(uuid));
        let (product, order) = (format!("products/{uuid}"), format!("orders/{uuid}"));
        for (refused, code, reason, subject) in [
            (Refused::NotFound(order_id), Code::NotFound, "ORDER_NOT_FOUND", format!("order {uuid}")),
            (
                Refused::OutOfStock { product_id, quantity: 2, stock: 1 },
                Code::FailedPrecondition,
                "OUT_OF_STOCK",
                product.clone(),
            ),
            (
                Refused::SellerMismatch(product_id),
                Code::FailedPrecondition,
                "SELLER_MISMATCH",
                product.clone(),
            ),
            (
                Refused::CurrencyMismatch(product_id),
                Code::FailedPrecondition,
                "CURRENCY_MISMATCH",
                product.clone(),
            ),
            (
                Refused::CurrencyWithdrawn {
                    product_id,
                    currency: "HRK".parse().unwrap(),
                    on: time::Date::MIN,
                },
                Code::FailedPrecondition,
                "CURRENCY_WITHDRAWN",
                product,
            ),
            (Refused::TotalOverflow, Code::InvalidArgument, "INVALID_REQUEST", "items".to_owned()),
            (
                Refused::InvalidState { order_id, state: OrderState::Paid },
                Code::FailedPrecondition,
                "INVALID_STATE",
                order.clone(),
            ),
            (Refused::PaymentPending(order_id), Code::FailedPrecondition, "PAYMENT_PENDING", order),
            (Refused::VersionMismatch(order_id), Code::Aborted, "VERSION_MISMATCH", format!("order {uuid}")),
        ] {
            assert_eq!(wire(refused), (code, reason.to_owned(), subject), "{refused}");
        }
    }
}
