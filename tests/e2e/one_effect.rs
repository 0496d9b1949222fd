//! A request takes effect once, however often and however concurrently it is sent.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use api::order::v1::order::State;
use api::user::v1::GrantCreditRequest;
use testkit::client::{eur, request_id};
use tests::System;
use tests::people::{Market, PRICE, cancel, credit, earned, order, pay, send};
use tests::status::{code_and_reason, violations};
use tokio::task::JoinSet;
use tonic::Code;

const CALLERS: usize = 50;

#[tokio::test]
async fn fifty_calls_with_one_request_id_make_one_payment_and_get_equal_answers() -> Result<()> {
    let system = &System::shared().await?;
    let market = Market::open(system, 10 * PRICE, 10).await?;
    let placed = market.order(2).await?;
    let request = pay(&placed);
    let mut calls = JoinSet::new();
    for _ in 0..CALLERS {
        let (caller, request) = (market.buyer.caller.clone(), request.clone());
        calls.spawn(async move { caller.transfers().pay_order(request).await });
    }
    let mut answers = Vec::new();
    while let Some(answer) = calls.join_next().await {
        answers.push(answer?.context("each of the fifty succeeds")?.into_inner());
    }
    ensure!(answers.len() == CALLERS && answers.windows(2).all(|pair| pair[0] == pair[1]), "equal answers");
    assert_eq!((credit(&market.buyer).await?, earned(&market.seller).await?), (8 * PRICE, 2 * PRICE));
    system.books_balance().await?;
    system.no_errors_logged()
}

#[tokio::test]
async fn only_one_of_two_concurrent_payments_of_an_order_succeeds() -> Result<()> {
    let system = &System::shared().await?;
    let market = Market::open(system, 10 * PRICE, 20).await?;
    for _ in 0..5 {
        let before = (credit(&market.buyer).await?, earned(&market.seller).await?);
        let placed = market.order(1).await?;
        let mut calls = JoinSet::new();
        for _ in 0..2 {
            let (caller, request) = (market.buyer.caller.clone(), pay(&placed));
            calls.spawn(async move { caller.transfers().pay_order(request).await });
        }
        let answers = calls.join_all().await;
        let taken = answers.iter().filter(|answer| answer.is_ok()).count();
        let refused: Vec<_> =
            answers.iter().filter_map(|answer| answer.as_ref().err()).map(code_and_reason).collect();
        assert_eq!((taken, refused.len()), (1, 1), "{refused:?}");
        let (code, reason) = &refused[0];
        assert_eq!(*code, Code::FailedPrecondition, "{reason}");
        assert!(["PAYMENT_PENDING", "INVALID_STATE"].contains(&reason.as_str()), "{reason}");
        let after = (credit(&market.buyer).await?, earned(&market.seller).await?);
        assert_eq!(after, (before.0 - PRICE, before.1 + PRICE));
    }
    system.books_balance().await
}

#[tokio::test]
async fn a_payment_and_a_cancellation_at_once_never_both_succeed() -> Result<()> {
    let system = &System::shared().await?;
    let market = Market::open(system, 100 * PRICE, 100).await?;
    let (mut paid, mut cancelled) = (0, 0);
    for _ in 0..10 {
        let before = (credit(&market.buyer).await?, market.stock().await?);
        let placed = market.order(1).await?;
        let (payer, canceller) = (market.buyer.caller.clone(), market.buyer.caller.clone());
        let (mut transfers, mut orders) = (payer.transfers(), canceller.orders());
        let (payment, cancellation) =
            tokio::join!(transfers.pay_order(pay(&placed)), orders.cancel_order(cancel(&placed.id)));
        let state = order(&market.buyer, &placed.id).await?.state();
        let after = (credit(&market.buyer).await?, market.stock().await?);
        match (payment, cancellation) {
            (Ok(_), Err(refusal)) => {
                assert_eq!(refusal.code(), Code::FailedPrecondition, "{refusal}");
                assert_eq!((state, after), (State::Paid, (before.0 - PRICE, before.1 - 1)));
                paid += 1;
            }
            (Err(refusal), Ok(_)) => {
                assert_eq!(refusal.code(), Code::FailedPrecondition, "{refusal}");
                assert_eq!((state, after), (State::Cancelled, before));
                cancelled += 1;
            }
            (payment, cancellation) => panic!("not exactly one won: {payment:?} / {cancellation:?}"),
        }
    }
    assert_eq!(paid + cancelled, 10);
    system.books_balance().await
}

#[tokio::test]
async fn a_request_id_cannot_be_reused_for_another_request() -> Result<()> {
    let system = &System::shared().await?;
    let market = Market::open(system, PRICE, 10).await?;
    let placed = market.order(1).await?;
    let other = market.order(1).await?;
    let request = pay(&placed);
    market.buyer.caller.transfers().pay_order(request.clone()).await?;
    let reused = api::order::v1::PayOrderRequest { order_id: other.id.clone(), ..request };
    let status = market.buyer.caller.transfers().pay_order(reused).await.expect_err("another order");
    assert_eq!(code_and_reason(&status), (Code::InvalidArgument, "REQUEST_ID_REUSED".to_owned()));
    assert_eq!(tests::status::metadata(&status, "fields").as_deref(), Some("order_id"));
    assert_eq!(violations(&status).len(), 1);
    assert!(violations(&status)[0].starts_with("request_id "), "{:?}", violations(&status));
    assert_eq!(order(&market.buyer, &other.id).await?.state(), State::Placed);
    Ok(())
}

#[tokio::test]
async fn the_same_request_id_of_another_person_is_another_request() -> Result<()> {
    let system = &System::shared().await?;
    let one = Market::open(system, PRICE, 5).await?;
    let two = Market::open(system, PRICE, 5).await?;
    let request = one.order_request(1);
    let first = one.buyer.caller.orders().place_order(request.clone()).await?.into_inner();
    let second = two.buyer.caller.orders().place_order(request).await?.into_inner();
    assert_ne!(first.order.context("an order")?.id, second.order.context("an order")?.id);
    Ok(())
}

#[tokio::test]
async fn a_refused_payment_stays_refused_under_its_request_id() -> Result<()> {
    let system = &System::shared().await?;
    let market = Market::open(system, PRICE - 1, 5).await?;
    let placed = market.order(1).await?;
    let request = pay(&placed);
    let refused = market.buyer.caller.transfers().pay_order(request.clone()).await.expect_err("a cent short");
    let expected = (Code::FailedPrecondition, "INSUFFICIENT_CREDIT".to_owned());
    assert_eq!(code_and_reason(&refused), expected);
    assert_eq!(order(&market.buyer, &placed.id).await?.state(), State::Placed);
    system.admin.grant(&market.buyer, eur(PRICE)).await?;
    let again = market.buyer.caller.transfers().pay_order(request).await.expect_err("an outcome is for ever");
    assert_eq!(code_and_reason(&again), expected);
    market.buyer.caller.transfers().pay_order(pay(&placed)).await.context("a new id is a new try")?;
    system.books_balance().await
}

#[tokio::test]
async fn credit_sent_both_ways_at_once_is_conserved() -> Result<()> {
    let system = &System::shared().await?;
    let (ann, ben) = (system.api.sign_up("Ann").await?, system.api.sign_up("Ben").await?);
    for person in [&ann, &ben] {
        system.admin.grant(person, eur(1000)).await?;
    }
    let mut calls = JoinSet::new();
    for number in 0..CALLERS {
        let (from, to) = if number % 2 == 0 { (&ann, &ben) } else { (&ben, &ann) };
        let request = send(to, 7);
        let caller = from.caller.clone();
        calls.spawn(async move {
            // A lost race is ABORTED or UNAVAILABLE: the same id again is the documented answer.
            loop {
                match caller.wallets().send_credit(request.clone()).await {
                    Err(status) if [Code::Aborted, Code::Unavailable].contains(&status.code()) => {}
                    answer => break answer,
                }
            }
        });
    }
    while let Some(answer) = calls.join_next().await {
        answer?.context("each sending succeeds in the end")?;
    }
    assert_eq!((credit(&ann).await?, credit(&ben).await?), (1000, 1000));
    system.books_balance().await
}

#[tokio::test]
async fn a_grant_repeated_by_fifty_callers_is_granted_once() -> Result<()> {
    let system = &System::shared().await?;
    let ann = system.api.sign_up("Ann").await?;
    let request =
        GrantCreditRequest { request_id: request_id(), user_id: ann.user_id.clone(), amount: Some(eur(500)) };
    let mut calls = JoinSet::new();
    for _ in 0..CALLERS {
        let (caller, request) = (system.admin.caller.clone(), request.clone());
        calls.spawn(async move { caller.wallets().grant_credit(request).await });
    }
    let mut sequences = BTreeSet::new();
    while let Some(answer) = calls.join_next().await {
        sequences.insert(answer?.context("each succeeds")?.into_inner().entry.context("an entry")?.sequence);
    }
    assert_eq!((sequences, credit(&ann).await?), (BTreeSet::from([1]), 500));
    Ok(())
}
