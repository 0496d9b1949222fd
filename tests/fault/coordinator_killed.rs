//! Claim: the coordinator killed between its decision and the transfer's completion, and started again, ends the
//! transfer once, and the books balance.
//!
//! The moment is made, not guessed: user service is paused until the command to reserve is stamped; then a
//! transaction of the test's holds the row that the sequencer must lock to stamp anything more. Whatever the
//! coordinator decides now stays decided and unsent until it is killed.

use std::time::Duration;

use anyhow::{Context, Result};
use api::order::v1::transfer::{Decision, State};
use api::order::v1::{Transfer, order};
use sqlx::{Connection as _, PgConnection};
use testkit::{DatabaseOptions, wait_until};
use tests::System;
use tests::people::{Market, PRICE, credit, earned, order, pay, refund, transfer};
use tests::stamps::HeldStamps;
use tests::status::metadata;

const SOON: Duration = Duration::from_secs(20);

/// Starts a transfer by `start`, kills order service between decision and completion, and starts it again.
async fn killed_between_decision_and_completion<F>(system: &System, start: F) -> Result<Transfer>
where
    F: AsyncFnOnce() -> Result<tonic::Status>,
{
    let url = system.stack.databases.urls_for_services().await?.postgres;
    let mut watcher = PgConnection::connect(&url).await.context("connecting to PostgreSQL")?;

    system.stack.services.user.process().pause()?;
    let unknown = start().await?;
    let transfer_id =
        metadata(&unknown, "transfer_id").with_context(|| format!("no transfer in {unknown:?}"))?;
    // With the stamp of the command to reserve.
    let held = HeldStamps::once_all_are_stamped(system).await?;
    system.stack.services.user.process().resume()?;

    wait_until(SOON, "the decision", async || {
        let seen = transfer(&system.admin, &transfer_id).await.map_err(|error| format!("{error:#}"))?;
        match (seen.state(), seen.decision()) {
            (State::Confirming, Decision::Confirm) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    system.stack.services.order.process().kill().await?;
    held.release().await?;
    let left = transfer_state(&mut watcher, &transfer_id).await?;
    assert_eq!(left, "confirming", "killed too late: the transfer had ended");

    system.stack.services.order.restart().await?;
    wait_until(SOON, "the transfer to end", async || {
        let seen = transfer(&system.admin, &transfer_id).await.map_err(|error| format!("{error:#}"))?;
        if seen.state() == State::Completed { Ok(seen) } else { Err(format!("{:?}", seen.state())) }
    })
    .await
}

async fn transfer_state(watcher: &mut PgConnection, transfer_id: &str) -> Result<String> {
    let query = "SELECT state FROM transfers WHERE id = $1::uuid";
    Ok(sqlx::query_scalar(query).bind(transfer_id).fetch_one(watcher).await?)
}

#[tokio::test]
async fn a_decided_payment_completes_once_after_the_coordinator_was_killed() -> Result<()> {
    let system = System::start(DatabaseOptions::default()).await?;
    let market = Market::open(&system, 2 * PRICE, 2).await?;
    let placed = market.order(1).await?;
    let request = pay(&placed);
    let ended = killed_between_decision_and_completion(&system, async || {
        let patient = market.buyer.caller.within(Duration::from_secs(1));
        Ok(patient.transfers().pay_order(request.clone()).await.expect_err("user service is paused"))
    })
    .await?;
    let repeat = market.buyer.caller.transfers().pay_order(request).await.context("the repeat")?.into_inner();
    assert_eq!(repeat.transfer.context("a transfer")?.id, ended.id);
    assert_eq!((credit(&market.buyer).await?, earned(&market.seller).await?), (PRICE, PRICE));
    assert_eq!(order(&market.buyer, &placed.id).await?.state(), order::State::Paid);
    system.books_balance().await
}

#[tokio::test]
async fn a_decided_refund_completes_once_after_the_coordinator_was_killed() -> Result<()> {
    let system = System::start(DatabaseOptions::default()).await?;
    let market = Market::open(&system, PRICE, 2).await?;
    let placed = market.paid_order(1).await?;
    let request = refund(&placed, PRICE / 4);
    killed_between_decision_and_completion(&system, async || {
        let patient = market.seller.caller.within(Duration::from_secs(1));
        Ok(patient.transfers().refund_order(request.clone()).await.expect_err("user service is paused"))
    })
    .await?;
    market.seller.caller.transfers().refund_order(request).await.context("the repeat")?;
    assert_eq!((credit(&market.buyer).await?, earned(&market.seller).await?), (PRICE / 4, PRICE - PRICE / 4));
    let refunded = order(&market.buyer, &placed.id).await?.refunded.context("a sum")?.minor_units;
    assert_eq!(refunded, PRICE / 4);
    system.books_balance().await
}
