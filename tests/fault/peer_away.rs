//! Claim: a payment whose other side is away is neither lost nor doubled. The call says that the outcome is unknown,
//! and a repeat with the same id hears it once the other side is back.

use std::time::Duration;

use anyhow::{Context, Result};
use api::order::v1::order::State;
use api::order::v1::transfer::Decision;
use testkit::{DatabaseOptions, wait_until};
use tests::System;
use tests::people::{Market, PRICE, credit, earned, order, pay, transfer};
use tests::status::{code_and_reason, metadata};
use tonic::Code;

#[tokio::test]
async fn a_payment_completes_after_user_service_was_away() -> Result<()> {
    let system = System::start(DatabaseOptions::default()).await?;
    let market = Market::open(&system, PRICE, 1).await?;
    let placed = market.order(1).await?;
    // Both sides have verified the buyer's session; now the wallets' side stops answering.
    let user_service = system.stack.services.user.process();
    user_service.pause()?;
    let request = pay(&placed);
    let patient = market.buyer.caller.within(Duration::from_secs(2));
    let unknown = patient.transfers().pay_order(request.clone()).await.expect_err("nobody can reserve");
    assert_eq!(code_and_reason(&unknown), (Code::Unavailable, "REQUEST_IN_PROGRESS".to_owned()));
    let transfer_id = metadata(&unknown, "transfer_id").context("the transfer's id")?;
    assert_eq!(order(&market.seller, &placed.id).await?.state(), State::PaymentPending);

    user_service.resume()?;
    let answer = wait_until(Duration::from_secs(20), "the repeat to hear the outcome", async || {
        let answer = market.buyer.caller.transfers().pay_order(request.clone()).await;
        answer.map_err(|status| status.to_string())
    })
    .await?;
    assert_eq!(answer.into_inner().transfer.context("a transfer")?.id, transfer_id);
    assert_eq!((credit(&market.buyer).await?, earned(&market.seller).await?), (0, PRICE));
    system.books_balance().await
}

/// Claim: an undecided transfer ends at its deadline, in the books of both sides, though the wallets' side was
/// killed meanwhile: before it is back the order can be cancelled, after that the credit is free.
#[tokio::test]
async fn an_undecided_payment_is_cancelled_at_its_deadline() -> Result<()> {
    let services = testkit::ServiceOptions {
        env: vec![(testkit::ServiceName::Order, "TRANSFER_DEADLINE".to_owned(), "3s".to_owned())],
        ..testkit::ServiceOptions::default()
    };
    let system = System::start_with(DatabaseOptions::default(), services).await?;
    let market = Market::open(&system, PRICE, 1).await?;
    let placed = market.order(1).await?;
    system.stack.services.user.process().kill().await?;
    let request = pay(&placed);
    let patient = market.buyer.caller.within(Duration::from_secs(1));
    let unknown = patient.transfers().pay_order(request.clone()).await.expect_err("nobody can reserve");
    let transfer_id = metadata(&unknown, "transfer_id").context("the transfer's id")?;
    wait_until(Duration::from_secs(20), "the deadline to decide", async || {
        let seen = transfer(&system.admin, &transfer_id).await.map_err(|error| format!("{error:#}"))?;
        if seen.decision() == Decision::Cancel { Ok(()) } else { Err(format!("{:?}", seen.state())) }
    })
    .await?;
    assert_eq!(order(&market.seller, &placed.id).await?.state(), State::Placed);

    system.stack.services.user.restart().await?;
    wait_until(Duration::from_secs(20), "the repeat to hear the outcome", async || {
        let answer = market.buyer.caller.transfers().pay_order(request.clone()).await.expect_err("refused");
        match code_and_reason(&answer) {
            (Code::FailedPrecondition, reason) if reason == "TRANSFER_EXPIRED" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let again = wait_until(Duration::from_secs(20), "the order to be payable again", async || {
        let answer = market.buyer.caller.transfers().pay_order(pay(&placed)).await;
        answer.map_err(|status| status.to_string())
    });
    again.await?;
    assert_eq!((credit(&market.buyer).await?, earned(&market.seller).await?), (0, PRICE));
    system.books_balance().await
}
