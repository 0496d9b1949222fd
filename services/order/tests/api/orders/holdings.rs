//! `GetCustomerHoldings`: what is left of somebody who wants to go.

use api::auth::v1::Role;
use api::order::v1::{CancelOrderRequest, GetCustomerHoldingsRequest, GetCustomerHoldingsResponse};
use tonic::Code;

use crate::harness::{Harness, Person, eur, request_id};
use crate::paying::Scene;
use crate::refusal::assert_refused;
use crate::wallet::Answer;

async fn holdings(harness: &Harness, of: &Person) -> GetCustomerHoldingsResponse {
    let request = GetCustomerHoldingsRequest { user_id: of.id.clone() };
    harness.peer_service().orders().get_customer_holdings(request).await.unwrap().into_inner()
}

fn bought(bought_count: i64, running_transfer_count: i64) -> GetCustomerHoldingsResponse {
    GetCustomerHoldingsResponse { bought_count, running_transfer_count, ..Default::default() }
}

#[tokio::test]
async fn an_order_is_held_by_both_until_all_of_it_is_refunded() {
    let scene = Scene::new().await;
    let (harness, customer, seller) = (&scene.harness, &scene.customer, &scene.seller);
    let nothing = GetCustomerHoldingsResponse::default();
    assert_eq!(holdings(harness, &scene.admin).await, nothing);
    assert_eq!(holdings(harness, customer).await, bought(1, 0));
    let sold = |running_transfer_count, balance: i64| GetCustomerHoldingsResponse {
        sold_count: 1,
        running_transfer_count,
        account_balances: (balance > 0).then(|| eur(balance)).into_iter().collect(),
        ..Default::default()
    };
    assert_eq!(holdings(harness, seller).await, sold(0, 0));

    let id = scene.start_payment().await;
    assert_eq!(
        (holdings(harness, customer).await, holdings(harness, seller).await),
        (bought(1, 1), sold(1, 0))
    );
    scene.tell(id, Answer::Reserved).await;
    // Decided, and not at its end.
    assert_eq!(
        (holdings(harness, customer).await, holdings(harness, seller).await),
        (bought(1, 1), sold(1, 500))
    );
    scene.tell(id, Answer::Posted).await;
    assert_eq!(
        (holdings(harness, customer).await, holdings(harness, seller).await),
        (bought(1, 0), sold(0, 500))
    );

    for (cents, left) in [(200, (bought(1, 0), sold(0, 300))), (300, (nothing.clone(), nothing.clone()))] {
        let id = scene.start_refund(cents).await;
        assert_eq!(holdings(harness, customer).await, bought(1, 1));
        scene.tell(id, Answer::Reserved).await;
        scene.tell(id, Answer::Posted).await;
        assert_eq!((holdings(harness, customer).await, holdings(harness, seller).await), left);
    }
}

#[tokio::test]
async fn what_is_cancelled_or_handed_over_is_not_held_and_only_user_service_asks() {
    let scene = Scene::new().await;
    let heir = scene.harness.person(Role::Customer);
    let (order_id, to_user_id) = (scene.order.id.clone(), heir.id.clone());
    let request = api::order::v1::TransferOrderRequest {
        request_id: request_id(),
        order_id: order_id.clone(),
        to_user_id,
        etag: String::new(),
    };
    scene.customer.caller.orders().transfer_order(request).await.unwrap();
    let nothing = GetCustomerHoldingsResponse::default();
    assert_eq!(holdings(&scene.harness, &scene.customer).await, nothing);
    assert_eq!(holdings(&scene.harness, &heir).await, bought(1, 0));
    let request = CancelOrderRequest { request_id: request_id(), order_id, ..Default::default() };
    heir.caller.orders().cancel_order(request).await.unwrap();
    for person in [&heir, &scene.seller] {
        assert_eq!(holdings(&scene.harness, person).await, nothing);
    }

    let request = GetCustomerHoldingsRequest { user_id: heir.id.clone() };
    for person in [&heir, &scene.admin] {
        let refused = person.caller.orders().get_customer_holdings(request.clone()).await.unwrap_err();
        assert_refused(&refused, Code::PermissionDenied, "PERMISSION_DENIED", &[]);
    }
    let request = GetCustomerHoldingsRequest { user_id: "x".to_owned() };
    let refused = scene.harness.peer_service().orders().get_customer_holdings(request).await.unwrap_err();
    assert_refused(&refused, Code::InvalidArgument, "INVALID_REQUEST", &["user_id INVALID_ID"]);
}

/// A merchant may have sold a million.
#[tokio::test]
async fn counts_stop_at_a_thousand() {
    let scene = Scene::new().await;
    let mut sql = scene.sql().await;
    sqlx::query(
        "INSERT INTO orders (id, customer_id, seller_id, state, currency, total_minor_units, version, event_version,
                             created_at, updated_at)
         SELECT gen_random_uuid(), customer_id, seller_id, state, currency, total_minor_units, 1, 1, created_at,
                updated_at
         FROM orders, generate_series(1, 1100)",
    )
    .execute(&mut *sql)
    .await
    .unwrap();
    drop(sql);
    assert_eq!(holdings(&scene.harness, &scene.customer).await.bought_count, 1000);
    assert_eq!(holdings(&scene.harness, &scene.seller).await.sold_count, 1000);
}
