//! Many calls at once: for the last unit, with one request id, in each other's way.

use api::auth::v1::Role;
use api::order::v1::order::State;
use api::order::v1::{CancelOrderRequest, TransferOrderRequest};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use prost::Message as _;
use tonic::Code;

use crate::harness::{Harness, eur, is_replay, item, placing, request_id};
use crate::refusal::assert_refused;

#[tokio::test]
async fn of_a_hundred_buyers_of_the_last_unit_one_gets_it_and_the_others_hear_why_not() {
    let harness = Harness::start().await;
    let seller = harness.person(Role::Merchant);
    let tea = seller.sell(eur(250), 1).await;
    let buyers: Vec<_> = (0..100).map(|_| harness.person(Role::Customer)).collect();
    let results = join_all(buyers.iter().map(|buyer| buyer.place(placing(vec![item(&tea, 1)])))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for status in results.into_iter().filter_map(Result::err) {
        assert_refused(&status, Code::FailedPrecondition, "OUT_OF_STOCK", &[&format!("products/{}", tea.id)]);
    }
    harness.assert_stock_adds_up(&tea).await;
    assert_eq!(harness.events("order.v1.OrderPlaced").await, 1);
    assert_eq!(harness.count("SELECT count(*) FROM request WHERE method LIKE '%PlaceOrder'").await, 100);
}

#[tokio::test]
async fn one_request_id_places_one_order_and_all_its_callers_get_the_same_answer() {
    let harness = Harness::start().await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let tea = seller.sell(eur(250), 7).await;
    let request = placing(vec![item(&tea, 2)]);
    let calls = (0..50).map(|_| {
        let mut orders = customer.caller.orders();
        let request = request.clone();
        async move { orders.place_order(request).await.unwrap() }
    });
    let answers = join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| !is_replay(answer)).count(), 1);
    let mut orders: Vec<_> = answers.iter().map(|answer| answer.get_ref().encode_to_vec()).collect();
    orders.dedup();
    assert_eq!(orders.len(), 1);
    assert_eq!(customer.product(&tea.id).await.stock, 5);
    assert_eq!(harness.events("order.v1.OrderPlaced").await, 1);
}

#[tokio::test]
async fn one_request_id_has_one_outcome_even_when_its_callers_want_different_things() {
    let harness = Harness::start().await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    // One wish can be met and the other cannot, so that a refusal races with an order for the id.
    let (tea, cup) = (seller.sell(eur(250), 7).await, seller.sell(eur(999), 0).await);
    for _ in 0..20 {
        let possible = placing(vec![item(&tea, 1)]);
        let impossible = api::order::v1::PlaceOrderRequest { items: vec![item(&cup, 1)], ..possible.clone() };
        let (one, two) = tokio::join!(customer.place(possible), customer.place(impossible));
        match (one, two) {
            (Ok(_), Err(status)) | (Err(status), Err(_)) if status.code() == Code::InvalidArgument => {
                assert_refused(
                    &status,
                    Code::InvalidArgument,
                    "REQUEST_ID_REUSED",
                    &["request_id REQUEST_ID_REUSED"],
                );
            }
            (one, two) => panic!("two outcomes: {one:?} and {two:?}"),
        }
        let mut sql = harness.sql().await;
        sqlx::query("UPDATE products SET stock = 7 WHERE id = $1::uuid")
            .bind(uuid::Uuid::parse_str(&tea.id).unwrap())
            .execute(&mut sql)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn orders_of_the_same_products_in_opposite_order_do_not_lock_each_other_out() {
    let harness = Harness::start().await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let (tea, cup) = (seller.sell(eur(250), 1000).await, seller.sell(eur(999), 1000).await);
    let calls = (0..60).map(|turn| {
        let mut items = vec![item(&tea, 1), item(&cup, 2)];
        if turn % 2 == 0 {
            items.reverse();
        }
        let customer = customer.clone();
        async move {
            let order = customer.place(placing(items)).await.unwrap();
            if turn % 3 == 0 {
                let request =
                    CancelOrderRequest { request_id: request_id(), order_id: order.id, etag: String::new() };
                customer.caller.orders().cancel_order(request).await.unwrap();
            }
        }
    });
    // Each waits for the commit of the one before, and a slow disk makes long queues.
    futures_util::stream::iter(calls).buffer_unordered(12).collect::<()>().await;
    harness.assert_stock_adds_up(&tea).await;
    harness.assert_stock_adds_up(&cup).await;
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(harness.count(deadlocks).await, 0);
}

#[tokio::test]
async fn one_cancellation_of_many_wins_and_stock_comes_back_once() {
    let harness = Harness::start().await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let tea = seller.sell(eur(250), 7).await;
    let order = customer.buy(&tea, 2).await;
    let shared = request_id();
    let calls = (0..40).map(|turn| {
        let id = if turn % 2 == 0 { shared.clone() } else { request_id() };
        let request = CancelOrderRequest { request_id: id, order_id: order.id.clone(), etag: String::new() };
        let mut orders = customer.caller.orders();
        async move { orders.cancel_order(request).await }
    });
    let results = join_all(calls).await;
    let first = results.iter().flatten().filter(|answer| !is_replay(answer)).count();
    assert_eq!(first, 1, "{first} calls cancelled the order");
    for status in results.into_iter().filter_map(Result::err) {
        assert_refused(
            &status,
            Code::FailedPrecondition,
            "INVALID_STATE",
            &[&format!("orders/{}", order.id)],
        );
    }
    harness.assert_stock_adds_up(&tea).await;
    assert_eq!(harness.events("order.v1.OrderCancelled").await, 1);
}

#[tokio::test]
async fn an_order_is_cancelled_or_handed_over_first_and_the_history_says_which() {
    let harness = Harness::start().await;
    let (seller, ann) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let bob = harness.person(Role::Customer);
    let tea = seller.sell(eur(250), 100).await;
    for _ in 0..20 {
        let order = ann.buy(&tea, 1).await;
        let cancel =
            CancelOrderRequest { request_id: request_id(), order_id: order.id.clone(), etag: String::new() };
        let hand = TransferOrderRequest {
            request_id: request_id(),
            order_id: order.id.clone(),
            to_user_id: bob.id.clone(),
            etag: String::new(),
        };
        let (mut one, mut two) = (ann.caller.orders(), ann.caller.orders());
        let (cancelled, handed) = tokio::join!(one.cancel_order(cancel), two.transfer_order(hand));
        match (cancelled, handed) {
            (Ok(_), Err(status)) => {
                assert_refused(
                    &status,
                    Code::FailedPrecondition,
                    "INVALID_STATE",
                    &[&format!("orders/{}", order.id)],
                );
                assert_eq!(ann.order(&order.id).await.unwrap().state(), State::Cancelled);
            }
            (Err(status), Ok(_)) => {
                assert_refused(&status, Code::NotFound, "ORDER_NOT_FOUND", &[&format!("order {}", order.id)]);
                assert_eq!(bob.order(&order.id).await.unwrap().state(), State::Placed);
            }
            both => panic!("{both:?}"),
        }
    }
    harness.assert_stock_adds_up(&tea).await;
    let gaps = "SELECT count(*) FROM (SELECT aggregate_version - row_number() OVER (PARTITION BY aggregate_id
                ORDER BY id) AS gap FROM outbox WHERE aggregate_type = 'order') AS versions WHERE gap <> 0";
    assert_eq!(harness.count(gaps).await, 0);
}
