//! `PlaceOrder` and `GetOrder`.

use api::auth::v1::Role;
use api::common::v1::Money;
use api::order::v1::order::State;
use api::order::v1::{Order, OrderItem, OrderPlaced, PlaceOrderRequest};
use api::user::v1::user;
use prost::Message as _;
use tonic::Code;

use crate::harness::{Harness, eur, is_replay, item, placing, request_id};
use crate::refusal::{assert_refused, is_replayed};

#[tokio::test]
async fn an_order_takes_stock_fixes_prices_and_tells_of_itself() {
    let harness = Harness::start().await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let (tea, cup) = (seller.sell(eur(250), 7).await, seller.sell(eur(999), 3).await);
    let order = customer.place(placing(vec![item(&cup, 1), item(&tea, 5)])).await.unwrap();
    assert_eq!((order.customer_id.as_str(), order.seller_id.as_str()), (&*customer.id, &*seller.id));
    assert_eq!((order.state(), order.etag.as_str()), (State::Placed, "1"));
    assert_eq!((order.total.clone(), order.refunded.clone()), (Some(eur(999 + 5 * 250)), Some(eur(0))));
    let items: Vec<_> =
        order.items.iter().map(|item| (&*item.product_id, item.quantity, item.amount.clone())).collect();
    assert_eq!(items, [(&*cup.id, 1, Some(eur(999))), (&*tea.id, 5, Some(eur(1250)))]);
    assert_eq!((customer.product(&tea.id).await.stock, customer.product(&cup.id).await.stock), (2, 2));
    assert_eq!(customer.product(&tea.id).await.etag, "2");
    assert_eq!(customer.order(&order.id).await.unwrap(), order);

    let query = "SELECT payload FROM outbox WHERE type = 'order.v1.OrderPlaced'";
    let payload: Vec<u8> = sqlx::query_scalar(query).fetch_one(&mut harness.sql().await).await.unwrap();
    let told = OrderPlaced::decode(payload.as_slice()).unwrap();
    assert_eq!((told.order_id, told.customer_id, told.total), (order.id, customer.id, order.total));
}

#[tokio::test]
async fn what_a_client_says_of_output_only_fields_is_ignored() {
    let harness = Harness::start().await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let tea = seller.sell(eur(250), 7).await;
    let wish = OrderItem {
        product_name: "Gold".to_owned(),
        unit_price: Some(eur(1)),
        amount: Some(Money { currency_code: "no currency".to_owned(), minor_units: -1 }),
        ..item(&tea, 2)
    };
    let order = customer.place(placing(vec![wish])).await.unwrap();
    let [bought] = &order.items[..] else { panic!("{order:?}") };
    let told = (bought.product_name.as_str(), bought.unit_price.clone(), bought.amount.clone());
    assert_eq!(told, ("Tea", Some(eur(250)), Some(eur(500))));
    assert_eq!((order.total.clone(), customer.order(&order.id).await.unwrap()), (Some(eur(500)), order));
    let query = "SELECT payload FROM outbox WHERE type = 'order.v1.OrderPlaced'";
    let payload: Vec<u8> = sqlx::query_scalar(query).fetch_one(&mut harness.sql().await).await.unwrap();
    assert!(!payload.windows(4).any(|part| part == b"Gold"), "in the event neither");
}

#[tokio::test]
async fn one_product_short_takes_nothing_of_the_others_and_stays_refused_for_ever() {
    let harness = Harness::start().await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let (tea, cup) = (seller.sell(eur(250), 7).await, seller.sell(eur(999), 1).await);
    let request = placing(vec![item(&tea, 5), item(&cup, 2)]);
    let first = customer.place(request.clone()).await.unwrap_err();
    assert_refused(&first, Code::FailedPrecondition, "OUT_OF_STOCK", &[&format!("products/{}", cup.id)]);
    assert!(!is_replayed(&first));
    assert_eq!(customer.product(&tea.id).await, tea);
    // The stock comes back; the refused request does not.
    let mut sql = harness.sql().await;
    sqlx::query("UPDATE products SET stock = 100").execute(&mut sql).await.unwrap();
    let again = customer.place(request.clone()).await.unwrap_err();
    assert!(is_replayed(&again));
    assert_eq!((again.code(), again.message()), (first.code(), first.message()));
    assert_refused(&again, Code::FailedPrecondition, "OUT_OF_STOCK", &[&format!("products/{}", cup.id)]);
    assert!(customer.place(PlaceOrderRequest { request_id: request_id(), ..request }).await.is_ok());
    assert_eq!(harness.events("order.v1.OrderPlaced").await, 1);
}

#[tokio::test]
async fn a_repeat_gives_the_first_answer_though_the_order_has_moved_on() {
    let harness = Harness::start().await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let tea = seller.sell(eur(250), 7).await;
    let request = placing(vec![item(&tea, 2)]);
    let first = customer.place(request.clone()).await.unwrap();
    let cancel = api::order::v1::CancelOrderRequest {
        request_id: request_id(),
        order_id: first.id.clone(),
        etag: String::new(),
    };
    customer.caller.orders().cancel_order(cancel).await.unwrap();
    let again = customer.caller.orders().place_order(request).await.unwrap();
    assert!(is_replay(&again));
    let again = again.into_inner().order.unwrap();
    assert_eq!(again.encode_to_vec(), first.encode_to_vec());
    assert_eq!(customer.order(&first.id).await.unwrap().state(), State::Cancelled);
    assert_eq!(harness.count("SELECT count(*) FROM orders").await, 1);
}

#[tokio::test]
async fn an_order_has_one_seller_and_one_currency() {
    let harness = Harness::start().await;
    let (ann, bob) = (harness.person(Role::Merchant), harness.person(Role::Merchant));
    let customer = harness.person(Role::Customer);
    let (tea, cup) = (ann.sell(eur(250), 7).await, bob.sell(eur(250), 7).await);
    let yen = ann.sell(Money { currency_code: "JPY".to_owned(), minor_units: 5 }, 7).await;
    let status = customer.place(placing(vec![item(&tea, 1), item(&cup, 1)])).await.unwrap_err();
    assert_refused(&status, Code::FailedPrecondition, "SELLER_MISMATCH", &[&format!("products/{}", cup.id)]);
    let status = customer.place(placing(vec![item(&tea, 1), item(&yen, 1)])).await.unwrap_err();
    assert_refused(
        &status,
        Code::FailedPrecondition,
        "CURRENCY_MISMATCH",
        &[&format!("products/{}", yen.id)],
    );
    harness.assert_stock_adds_up(&tea).await;
}

#[tokio::test]
async fn a_total_above_the_limit_is_refused_and_a_missing_product_is_not_found() {
    let harness = Harness::start().await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let dear = seller.sell(eur(types::AMOUNT_MAX), 1_000_000_000).await;
    for quantity in [2, 10_000] {
        let status = customer.place(placing(vec![item(&dear, quantity)])).await.unwrap_err();
        assert_refused(&status, Code::InvalidArgument, "INVALID_REQUEST", &["items TOTAL_OVERFLOW"]);
    }
    let missing = request_id();
    let mut wanted = item(&dear, 1);
    wanted.product_id.clone_from(&missing);
    let status = customer.place(placing(vec![item(&dear, 1), wanted])).await.unwrap_err();
    assert_refused(&status, Code::NotFound, "PRODUCT_NOT_FOUND", &[&format!("product {missing}")]);
    harness.assert_stock_adds_up(&dear).await;
}

#[tokio::test]
async fn broken_items_are_all_named_and_leave_no_trace() {
    let harness = Harness::start().await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let tea = seller.sell(eur(250), 7).await;
    let status = customer.place(placing(vec![item(&tea, 0), item(&tea, 1)])).await.unwrap_err();
    let expected = ["items[0].quantity QUANTITY_OUT_OF_RANGE", "items[1] DUPLICATE"];
    assert_refused(&status, Code::InvalidArgument, "INVALID_REQUEST", &expected);
    let status = customer.place(placing(Vec::new())).await.unwrap_err();
    assert_refused(&status, Code::InvalidArgument, "INVALID_REQUEST", &["items REQUIRED"]);
    assert_eq!(harness.count("SELECT count(*) FROM request WHERE method LIKE '%PlaceOrder'").await, 0);
}

#[tokio::test]
async fn a_customer_is_asked_for_once_and_a_deactivated_one_buys_nothing() {
    let harness = Harness::start().await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let tea = seller.sell(eur(250), 7).await;
    customer.buy(&tea, 1).await;
    customer.buy(&tea, 1).await;
    assert_eq!(harness.peers.asked(), 1);
    let gone = harness.person(Role::Customer);
    harness.peers.change(&gone.id, |user| user.set_state(user::State::Deactivated));
    let status = gone.place(placing(vec![item(&tea, 1)])).await.unwrap_err();
    assert_refused(
        &status,
        Code::FailedPrecondition,
        "CUSTOMER_DEACTIVATED",
        &[&format!("users/{}", gone.id)],
    );
    let unknown = harness.person(Role::Customer);
    harness.peers.forget(&unknown.id);
    let status = unknown.place(placing(vec![item(&tea, 1)])).await.unwrap_err();
    assert_refused(&status, Code::NotFound, "USER_NOT_FOUND", &[&format!("user {}", unknown.id)]);
    harness.assert_stock_adds_up(&tea).await;
}

#[tokio::test]
async fn only_customer_seller_and_admin_see_an_order_and_others_hear_that_there_is_none() {
    let harness = Harness::start().await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let (admin, stranger) = (harness.person(Role::Admin), harness.person(Role::Merchant));
    let order = customer.buy(&seller.sell(eur(250), 7).await, 1).await;
    for reader in [&customer, &seller, &admin] {
        assert_eq!(reader.order(&order.id).await.unwrap(), order);
    }
    let missing = Order { id: request_id(), ..Order::default() };
    for id in [&order.id, &missing.id] {
        let status = stranger.order(id).await.unwrap_err();
        assert_refused(&status, Code::NotFound, "ORDER_NOT_FOUND", &[&format!("order {id}")]);
        assert_eq!(status.message(), "there is no such order");
    }
}
