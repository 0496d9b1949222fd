//! The workers of order service, each paused while it owns a lease.

use anyhow::{Context as _, Result};
use api::order::v1::transfer::State;
use testkit::{DatabaseOptions, Profile, ServiceName, ServiceOptions, wait_until};
use tests::System;
use tests::people::{Market, PRICE, credit, earned, pay, transfer};
use tests::status::metadata;
use tests::streams::caught_up;

use super::pair::{ON_POSTGRESQL, Pair, SOON};
use super::postgres::{Watch, text};
use super::traffic::traffic;

/// The bound that order service's README states: the lease of a claim, longer than that of the others because a whole
/// batch must be done in it, and the next look.
const RECOVERY: std::time::Duration = std::time::Duration::from_secs(12);
/// What a worker logs when it finds another one in its place.
const SEQUENCER_LOST: [&str; 2] = ["cannot stamp events now", "another replica stamps the stream's events"];

/// Each step is a claim of its own; they run one after the other on one system.
#[tokio::test]
async fn a_paused_worker_of_order_service_is_replaced_and_writes_nothing_more() -> Result<()> {
    let services = ServiceOptions { profile: Profile::Faults, ..ServiceOptions::default() };
    let system = System::start_with(DatabaseOptions::default(), services).await?;
    let pair = Pair::of(&system, ServiceName::Order).await?;
    let market = Market::open(&system, 100 * PRICE, 1_000).await?;
    Box::pin(sequencer(&system, &pair, &market)).await.context("the sequencer")?;
    Box::pin(consumer(&system, &pair, &market)).await.context("the consumer")?;
    Box::pin(recovery(&system, &pair, &market)).await.context("the recovery worker")?;
    Box::pin(anywhere(&system, &pair, &market))
        .await
        .with_context(|| format!("anywhere\n{}", pair.tails()))?;
    system.books_balance().await
}

/// Stopped inside a stamp: PostgreSQL ends its session after two seconds, its lease runs out after three; the
/// successor stamps the same events. The old owner's commit fails, and it stamps nothing more.
async fn sequencer(system: &System, pair: &Pair<'_>, market: &Market) -> Result<()> {
    let mut watch = Watch::open(system).await?;
    let request = market.order_request(1);
    let stopped = pair
        .stop_at("sequencer.stamping", "order", market.buyer.caller.orders().place_order(request.clone()))
        .await?;
    let before = watch.lease().await?;
    watch.session_ended(stopped.since).await?;
    let after = stopped
        .taken_over("the sequencer stamps", ON_POSTGRESQL, async || {
            let now = watch.lease().await.map_err(text)?;
            if now.owner != before.owner && now.head() > before.head() { Ok(now) } else { Err(text(now)) }
        })
        .await?;
    assert_eq!(after.fence, before.fence + 1, "one takeover");
    stopped.caller(&market.buyer)?.orders().place_order(request).await.context("the repeat")?;

    let (lease, outbox) = quiet(&mut watch).await?;
    stopped.wake(&SEQUENCER_LOST, "order").await?;
    assert_eq!(
        (watch.lease().await?, watch.outbox().await?),
        (lease, outbox),
        "the old owner wrote something"
    );
    dense(&mut watch).await
}

/// Stopped inside an apply, the decision of a payment in its transaction: the successor applies the same answer, and
/// the payment has one effect.
async fn consumer(system: &System, pair: &Pair<'_>, market: &Market) -> Result<()> {
    let mut watch = Watch::open(system).await?;
    let (had, earned_before) = (credit(&market.buyer).await?, earned(&market.seller).await?);
    let request = pay(&market.order(1).await?);
    caught_up(&system.admin.caller, "order.transfers").await?;
    let stopped = pair
        .stop_at(
            "consumer.applying",
            "order.transfers",
            market.buyer.caller.transfers().pay_order(request.clone()),
        )
        .await?;
    // Not earlier: the pause before this one may have let this lease run out too.
    let before = watch.mark("order.transfers").await?;
    watch.session_ended(stopped.since).await?;
    let after = stopped
        .taken_over("the consumer applies", ON_POSTGRESQL, async || {
            let now = watch.mark("order.transfers").await.map_err(text)?;
            if now.fence > before.fence && now.position > before.position { Ok(now) } else { Err(text(now)) }
        })
        .await?;
    assert_eq!(after.fence, before.fence + 1, "one takeover");
    let paid = stopped.caller(&market.buyer)?.transfers().pay_order(request).await.context("the repeat")?;
    let paid = paid.into_inner().transfer.context("a transfer")?;
    assert_eq!(paid.state(), State::Completed);

    let (transfer_row, entries) = watch.transfer(&paid.id).await?;
    assert_eq!(entries, 2, "one posting: a debit and a credit");
    let mark = watch.mark("order.transfers").await?;
    stopped.wake(&["another replica consumes the stream"], "order.transfers").await?;
    assert_eq!(watch.mark("order.transfers").await?, mark, "the old owner moved the mark");
    assert_eq!(watch.transfer(&paid.id).await?, (transfer_row, entries), "the old owner decided");
    let moved = (had - credit(&market.buyer).await?, earned(&market.seller).await? - earned_before);
    assert_eq!(moved, (PRICE, PRICE));
    Ok(())
}

/// Stopped right after it has claimed a transfer whose time is over: another claims it when the lease has run out, and
/// cancels it. The old worker finds the fence raised.
async fn recovery(system: &System, pair: &Pair<'_>, market: &Market) -> Result<()> {
    let mut watch = Watch::open(system).await?;
    let request = pay(&market.order(1).await?);
    let user = system.stack.services.user.process();
    user.pause()?;
    let patient = market.buyer.caller.within(std::time::Duration::from_secs(3));
    let unknown = patient.transfers().pay_order(request).await.expect_err("user service is paused");
    let id = metadata(&unknown, "transfer_id").with_context(|| format!("no transfer in {unknown:?}"))?;
    let stopped = pair.stop_at("recovery.claimed", "order", watch.expire(&id)).await?;
    let (owner, fence, _) = watch.claim(&id).await?;
    stopped
        .taken_over("the recovery worker cancels", RECOVERY, async || {
            let now = watch.claim(&id).await.map_err(text)?;
            if now.1 > fence && now.2 == "cancelling" { Ok(()) } else { Err(text(now)) }
        })
        .await?;
    assert!(owner.is_some(), "the stopped one had the claim");
    let before = watch.decided(&id).await?;
    stopped.wake(&["another worker has the transfer"], &id).await?;
    // Workers go on looking at it, and note when they did; what the old one had in hand was the decision.
    assert_eq!(watch.decided(&id).await?, before, "the old worker wrote something");
    user.resume()?;
    wait_until(SOON, "the transfer to end", async || {
        let seen = transfer(&system.admin, &id).await.map_err(|error| format!("{error:#}"))?;
        if seen.state() == State::Cancelled { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await
}

/// Stopped at an arbitrary moment, one replica and then the other, while orders are placed and paid.
async fn anywhere(system: &System, pair: &Pair<'_>, market: &Market) -> Result<()> {
    let mut watch = Watch::open(system).await?;
    for which in [0, 1] {
        let stopped = pair.stop_anywhere(which).await?;
        traffic(market, &stopped, ON_POSTGRESQL).await?;
        stopped.paused.process().resume()?;
    }
    caught_up_elsewhere(system).await?;
    dense(&mut watch).await?;
    pair.no_errors_logged()
}

/// Everything of stream `order` has arrived in user service.
async fn caught_up_elsewhere(system: &System) -> Result<()> {
    for consumer in ["user.transfers", "user.statistics"] {
        caught_up(&system.admin.caller, consumer).await?;
    }
    Ok(())
}

/// Waits until all that is stamped is noted as published: then nobody has anything to write.
async fn quiet(watch: &mut Watch<'_>) -> Result<(super::postgres::Lease, Vec<String>)> {
    wait_until(SOON, "the stream to be quiet", async || {
        let (lease, outbox) = (watch.lease().await.map_err(text)?, watch.outbox().await.map_err(text)?);
        let stamped = i64::try_from(outbox.len()).map_err(text)?;
        if lease.is_quiet() && lease.head() == stamped { Ok((lease, outbox)) } else { Err(text(lease)) }
    })
    .await
}

async fn dense(watch: &mut Watch<'_>) -> Result<()> {
    let positions = watch.positions().await?;
    let expected: Vec<Option<i64>> = (1..=i64::try_from(positions.len())?).map(Some).collect();
    assert_eq!(positions, expected, "positions are dense");
    Ok(())
}
