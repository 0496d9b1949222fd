//! `CancelOrder`.

use api::auth::v1::Role;
use api::order::v1::order::State;
use api::order::v1::{CancelOrderRequest, Order};
use tonic::{Code, Response, Status};

use crate::harness::{Harness, Person, eur, is_replay, item, placing, request_id};
use crate::refusal::assert_refused;

fn cancelling(order: &Order) -> CancelOrderRequest {
    CancelOrderRequest { request_id: request_id(), order_id: order.id.clone(), etag: String::new() }
}

async fn cancel(person: &Person, request: CancelOrderRequest) -> Result<Response<Order>, Status> {
    let response = person.caller.orders().cancel_order(request).await?;
    Ok(response.map(|answer| answer.order.unwrap()))
}

#[tokio::test]
async fn cancelling_gives_all_stock_back_once() {
    let harness = Harness::start().await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let (tea, cup) = (seller.sell(eur(250), 7).await, seller.sell(eur(999), 3).await);
    let order = customer.place(placing(vec![item(&cup, 3), item(&tea, 5)])).await.unwrap();
    let request = cancelling(&order);
    let first = cancel(&customer, request.clone()).await.unwrap();
    assert!(!is_replay(&first));
    assert_eq!((first.get_ref().state(), first.get_ref().etag.as_str()), (State::Cancelled, "2"));
    let again = cancel(&customer, request).await.unwrap();
    assert!(is_replay(&again));
    assert_eq!(again.into_inner(), first.into_inner());
    assert_eq!((customer.product(&tea.id).await.stock, customer.product(&cup.id).await.stock), (7, 3));
    assert_eq!(harness.events("order.v1.OrderCancelled").await, 1);
}

#[tokio::test]
async fn cancelling_twice_is_rejected_and_names_the_state() {
    let harness = Harness::start().await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let tea = seller.sell(eur(250), 7).await;
    let order = customer.buy(&tea, 2).await;
    cancel(&customer, cancelling(&order)).await.unwrap();
    let status = cancel(&customer, cancelling(&order)).await.unwrap_err();
    assert_refused(&status, Code::FailedPrecondition, "INVALID_STATE", &[&format!("orders/{}", order.id)]);
    harness.assert_stock_adds_up(&tea).await;
}

#[tokio::test]
async fn an_order_that_is_paid_or_being_paid_is_not_cancelled() {
    let harness = Harness::start().await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let tea = seller.sell(eur(250), 7).await;
    let order = customer.buy(&tea, 2).await;
    let mut sql = harness.sql().await;
    sqlx::query("UPDATE orders SET state = 'payment_pending'").execute(&mut sql).await.unwrap();
    let status = cancel(&customer, cancelling(&order)).await.unwrap_err();
    assert_refused(&status, Code::FailedPrecondition, "PAYMENT_PENDING", &[&format!("orders/{}", order.id)]);
    let paid =
        "UPDATE orders SET state = 'paid', paid_minor_units = total_minor_units, payer_id = customer_id";
    sqlx::query(paid).execute(&mut sql).await.unwrap();
    let status = cancel(&customer, cancelling(&order)).await.unwrap_err();
    assert_refused(&status, Code::FailedPrecondition, "INVALID_STATE", &[&format!("orders/{}", order.id)]);
    harness.assert_stock_adds_up(&tea).await;
}

#[tokio::test]
async fn a_stale_etag_is_a_version_mismatch_and_a_fresh_one_passes() {
    let harness = Harness::start().await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let order = customer.buy(&seller.sell(eur(250), 7).await, 2).await;
    let with_etag = |etag: &str| CancelOrderRequest { etag: etag.to_owned(), ..cancelling(&order) };
    let status = cancel(&customer, with_etag("2")).await.unwrap_err();
    assert_refused(&status, Code::Aborted, "VERSION_MISMATCH", &[&format!("order {}", order.id)]);
    let status = cancel(&customer, with_etag("x")).await.unwrap_err();
    assert_refused(&status, Code::InvalidArgument, "INVALID_REQUEST", &["etag INVALID_ETAG"]);
    assert_eq!(cancel(&customer, with_etag(&order.etag)).await.unwrap().get_ref().state(), State::Cancelled);
}

#[tokio::test]
async fn an_admin_cancels_any_order_and_a_stranger_finds_none() {
    let harness = Harness::start().await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let order = customer.buy(&seller.sell(eur(250), 7).await, 2).await;
    for stranger in [harness.person(Role::Customer), seller] {
        let status = cancel(&stranger, cancelling(&order)).await.unwrap_err();
        assert_refused(&status, Code::NotFound, "ORDER_NOT_FOUND", &[&format!("order {}", order.id)]);
    }
    let admin = harness.person(Role::Admin);
    assert_eq!(cancel(&admin, cancelling(&order)).await.unwrap().get_ref().state(), State::Cancelled);
}
