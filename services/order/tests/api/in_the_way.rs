//! What the database does not let through: rows that others hold for too long, and a server that takes no writes.

use std::time::Duration;

use api::auth::v1::Role;
use api::order::v1::order::State;
use api::order::v1::{CancelOrderRequest, Order};
use sqlx::PgConnection;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::{Harness, Person, eur, item, placing, request_id};
use crate::paying::{pay, paying};
use crate::refusal::assert_refused;

#[track_caller]
fn assert_refused_for_now(status: &Status, code: Code, reason: &str) {
    assert_refused(status, code, reason, &[]);
    let retry = status.get_error_details().retry_info().and_then(|retry| retry.retry_delay);
    assert_eq!(retry, Some(Duration::from_secs(1)), "{status:?}");
}

async fn cancel(person: &Person, order: &Order) -> Result<Order, Status> {
    let request =
        CancelOrderRequest { request_id: request_id(), order_id: order.id.clone(), etag: String::new() };
    Ok(person.caller.orders().cancel_order(request).await?.into_inner().order.unwrap())
}

/// Holds the locks of rows until it is told `ROLLBACK`.
async fn holding(harness: &Harness, lock: &'static str) -> PgConnection {
    let mut holder = harness.sql().await;
    sqlx::raw_sql(lock).execute(&mut holder).await.unwrap();
    holder
}

#[tokio::test]
async fn what_others_hold_for_too_long_is_contention_and_may_be_tried_again() {
    let harness = Harness::start_with(&["--postgres-lock-timeout=20ms"]).await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let tea = seller.sell(eur(250), 7).await;
    let order = customer.buy(&tea, 2).await;

    let mut holder =
        holding(&harness, "BEGIN; SELECT FROM products FOR UPDATE; SELECT FROM orders FOR UPDATE").await;
    let wish = placing(vec![item(&tea, 1)]);
    let status = customer.place(wish.clone()).await.unwrap_err();
    assert_refused_for_now(&status, Code::Aborted, "CONTENTION");
    let payment = paying(&order);
    let status = pay(&customer, payment.clone()).await.unwrap_err();
    assert_refused_for_now(&status, Code::Aborted, "CONTENTION");
    let status = cancel(&customer, &order).await.unwrap_err();
    assert_refused_for_now(&status, Code::Aborted, "CONTENTION");

    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    assert_eq!(harness.count("SELECT count(*) FROM transfers").await, 0);
    assert_eq!(customer.order(&order.id).await.unwrap(), order, "nothing changed");
    // No outcome was kept: the same ids do it now.
    customer.place(wish).await.unwrap();
    assert_eq!(cancel(&customer, &order).await.unwrap().state(), State::Cancelled);
    let status = pay(&customer, payment).await.unwrap_err();
    let subject = format!("orders/{}", order.id);
    assert_refused(&status, Code::FailedPrecondition, "INVALID_STATE", &[&subject]);
    harness.assert_stock_adds_up(&tea).await;
}

async fn read_only(harness: &Harness, is_read_only: &'static str) {
    let query =
        format!("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I {is_read_only}', current_database()); END $$");
    let mut sql = harness.sql().await;
    let writable = "SET default_transaction_read_only = off";
    sqlx::raw_sql(writable).execute(&mut sql).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(query)).execute(&mut sql).await.unwrap();
}

#[tokio::test]
async fn a_database_that_takes_no_writes_is_unavailable_for_those_and_still_read() {
    // Each use has a session of its own, so that all of them have the setting.
    let harness = Harness::start_with(&["--postgres-connection-age=0s"]).await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let tea = seller.sell(eur(250), 7).await;
    let order = customer.buy(&tea, 2).await;

    read_only(&harness, "SET default_transaction_read_only = on").await;
    let wish = placing(vec![item(&tea, 1)]);
    let refusals = [
        customer.place(wish.clone()).await.unwrap_err(),
        pay(&customer, paying(&order)).await.unwrap_err(),
        cancel(&customer, &order).await.unwrap_err(),
    ];
    for status in &refusals {
        assert_refused_for_now(status, Code::Unavailable, "STORAGE_UNAVAILABLE");
    }
    assert_eq!(customer.order(&order.id).await.unwrap(), order);

    read_only(&harness, "RESET default_transaction_read_only").await;
    customer.place(wish).await.unwrap();
    harness.assert_stock_adds_up(&tea).await;
}
