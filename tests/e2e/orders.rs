//! Orders: who gets the last unit, how an order changes hands, and what user service learns of it.

use std::time::Duration;

use anyhow::{Context, Result};
use api::order::v1::order::State;
use api::order::v1::{CancelOrderRequest, TransferOrderRequest};
use api::user::v1::{GetUserRequest, OrderStatistics};
use testkit::client::{Person, request_id};
use testkit::wait_until;
use tests::System;
use tests::people::{Market, PRICE, cancel, earned, order, pay};
use tests::status::code_and_reason;
use tokio::task::JoinSet;
use tonic::Code;

async fn statistics_become(person: &Person, expected: OrderStatistics) -> Result<()> {
    let request = GetUserRequest { user_id: person.user_id.clone(), read_mask: None };
    wait_until(Duration::from_secs(10), "the statistics to follow the orders", async || {
        let answer =
            person.caller.users().get_user(request.clone()).await.map_err(|status| status.to_string())?;
        let seen = answer.into_inner().user.and_then(|user| user.order_statistics);
        if seen == Some(expected) { Ok(()) } else { Err(format!("{seen:?}, not {expected:?}")) }
    })
    .await
}

#[tokio::test]
async fn the_last_unit_goes_to_one_of_many_buyers() -> Result<()> {
    let system = &System::shared().await?;
    let market = Market::open(system, 0, 1).await?;
    let mut calls = JoinSet::new();
    for _ in 0..30 {
        let caller = market.buyer.caller.clone();
        let request = market.order_request(1);
        calls.spawn(async move { caller.orders().place_order(request).await });
    }
    let answers = calls.join_all().await;
    let refused: Vec<_> =
        answers.iter().filter_map(|answer| answer.as_ref().err()).map(code_and_reason).collect();
    assert_eq!(refused.len(), 29);
    for refusal in refused {
        assert_eq!(refusal, (Code::FailedPrecondition, "OUT_OF_STOCK".to_owned()));
    }
    assert_eq!(market.stock().await?, 0);
    Ok(())
}

#[tokio::test]
async fn statistics_in_mongodb_follow_orders_in_postgresql() -> Result<()> {
    let system = &System::shared().await?;
    let market = Market::open(system, 10 * PRICE, 10).await?;
    let friend = system.api.sign_up("Friend").await?;
    let (kept, handed, dropped) = (market.order(1).await?, market.order(1).await?, market.order(1).await?);
    market.buyer.caller.transfers().pay_order(pay(&kept)).await.context("PayOrder")?;
    let hand_over = TransferOrderRequest {
        request_id: request_id(),
        order_id: handed.id.clone(),
        to_user_id: friend.user_id.clone(),
        etag: String::new(),
    };
    let first = market.buyer.caller.orders().transfer_order(hand_over.clone()).await?.into_inner();
    let repeat = market.buyer.caller.orders().transfer_order(hand_over).await?.into_inner();
    assert_eq!(first, repeat, "the repeat of a hand-over hears no NOT_FOUND");
    let cancel = CancelOrderRequest { etag: dropped.etag.clone(), ..cancel(&dropped.id) };
    market.buyer.caller.orders().cancel_order(cancel).await?;
    assert_eq!(order(&friend, &handed.id).await?.customer_id, friend.user_id);
    let mine = OrderStatistics { placed_count: 3, paid_count: 1, cancelled_count: 1, owned_count: 1 };
    statistics_become(&market.buyer, mine).await?;
    statistics_become(&friend, OrderStatistics { owned_count: 1, ..OrderStatistics::default() }).await
}

#[tokio::test]
async fn an_order_paid_by_its_new_owner_is_refunded_to_that_owner() -> Result<()> {
    let system = &System::shared().await?;
    let market = Market::open(system, 0, 10).await?;
    let friend = system.api.sign_up("Friend").await?;
    system.admin.grant(&friend, testkit::client::eur(PRICE)).await?;
    let placed = market.order(1).await?;
    let hand_over = TransferOrderRequest {
        request_id: request_id(),
        order_id: placed.id.clone(),
        to_user_id: friend.user_id.clone(),
        etag: String::new(),
    };
    market.buyer.caller.orders().transfer_order(hand_over).await?;
    let hidden =
        market.buyer.caller.transfers().pay_order(pay(&placed)).await.expect_err("not theirs any more");
    assert_eq!(code_and_reason(&hidden), (Code::NotFound, "ORDER_NOT_FOUND".to_owned()));
    friend.caller.transfers().pay_order(pay(&placed)).await.context("PayOrder")?;
    assert_eq!(earned(&market.seller).await?, PRICE);
    let refund = tests::people::refund(&placed, PRICE);
    market.seller.caller.transfers().refund_order(refund).await.context("RefundOrder")?;
    assert_eq!((tests::people::credit(&friend).await?, earned(&market.seller).await?), (PRICE, 0));
    assert_eq!(order(&friend, &placed.id).await?.state(), State::Paid);
    system.books_balance().await
}
