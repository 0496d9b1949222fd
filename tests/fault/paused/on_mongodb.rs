//! The workers of user service, each paused while it owns a lease. MongoDB lets nobody wait for a lock: a successor that
//! meets what the paused transaction has written gets a conflict, until the server ends that transaction.

use anyhow::{Context as _, Result};
use api::user::v1::{GetUserRequest, GrantCreditRequest};
use bson::Document;
use testkit::client::{Caller, eur, request_id};
use testkit::{DatabaseOptions, Profile, ServiceName, ServiceOptions, wait_until};
use tests::System;
use tests::people::{Market, PRICE};
use tests::streams::caught_up;

use super::mongo::{Watch, number};
use super::pair::{ON_MONGODB, Pair, SOON};
use super::postgres::text;
use super::traffic::traffic;

/// What a worker logs when it finds another one in its place.
const SEQUENCER_LOST: [&str; 2] = ["cannot stamp events now", "another replica stamps the stream's events"];

/// Each step is a claim of its own; they run one after the other on one system.
#[tokio::test]
async fn a_paused_worker_of_user_service_is_replaced_and_writes_nothing_more() -> Result<()> {
    let services = ServiceOptions { profile: Profile::Faults, ..ServiceOptions::default() };
    let system = System::start_with(DatabaseOptions::default(), services).await?;
    let pair = Pair::of(&system, ServiceName::User).await?;
    let market = Market::open(&system, 100 * PRICE, 1_000).await?;
    Box::pin(sequencer(&system, &pair, &market)).await.context("the sequencer")?;
    Box::pin(consumer(&system, &pair, &market)).await.context("the consumer")?;
    Box::pin(anywhere(&system, &pair, &market))
        .await
        .with_context(|| format!("anywhere\n{}", pair.tails()))?;
    system.books_balance().await
}

/// Stopped inside a stamp: the server ends the transaction, the lease runs out, the successor stamps the same events.
/// The old owner's commit fails, and it stamps nothing more.
async fn sequencer(system: &System, pair: &Pair<'_>, market: &Market) -> Result<()> {
    let watch = Watch::of(system);
    let request = GrantCreditRequest {
        request_id: request_id(),
        user_id: market.buyer.user_id.clone(),
        amount: Some(eur(PRICE)),
    };
    let mut wallets = system.admin.caller.wallets();
    let granted = wallets.grant_credit(request.clone());
    let stopped = pair.stop_at("sequencer.stamping", "user", granted).await?;
    let before = watch.lease().await?;
    let after = stopped
        .taken_over("the sequencer stamps", ON_MONGODB, async || {
            let now = watch.lease().await.map_err(text)?;
            let further =
                number(&now, "position").map_err(text)? > number(&before, "position").map_err(text)?;
            if now.get("owner") != before.get("owner") && further { Ok(now) } else { Err(text(now)) }
        })
        .await?;
    assert_eq!(number(&after, "fence")?, number(&before, "fence")? + 1, "one takeover");
    stopped.caller(&system.admin)?.wallets().grant_credit(request).await.context("the repeat")?;

    let (lease, outbox) = quiet(&watch).await?;
    stopped.wake(&SEQUENCER_LOST, "user").await?;
    assert_eq!(
        (watch.lease().await?, watch.outbox().await?),
        (lease, outbox),
        "the old owner wrote something"
    );
    dense(&watch).await
}

/// Stopped inside an apply: the successor applies the same event, and it is counted once.
async fn consumer(system: &System, pair: &Pair<'_>, market: &Market) -> Result<()> {
    let watch = Watch::of(system);
    caught_up(&system.admin.caller, "user.statistics").await?;
    let counted = placed_count(&market.buyer.caller, &market.buyer.user_id).await?;
    let stopped = pair.stop_at("consumer.applying", "user.statistics", market.order(1)).await?;
    // Not earlier: the pause before this one may have let this lease run out too.
    let before = watch.mark("user.statistics").await?;
    let after = stopped
        .taken_over("the consumer applies", ON_MONGODB, async || {
            let now = watch.mark("user.statistics").await.map_err(text)?;
            let further =
                number(&now, "position").map_err(text)? > number(&before, "position").map_err(text)?;
            if now.get("owner") != before.get("owner") && further { Ok(now) } else { Err(text(now)) }
        })
        .await?;
    assert_eq!(number(&after, "fence")?, number(&before, "fence")? + 1, "one takeover");

    stopped.wake(&["another replica consumes the stream"], "user.statistics").await?;
    assert_eq!(watch.mark("user.statistics").await?, after, "the old owner moved the mark");
    let buyer = stopped.caller(&market.buyer)?;
    assert_eq!(placed_count(&buyer, &market.buyer.user_id).await?, counted + 1);
    Ok(())
}

/// Stopped at an arbitrary moment, one replica and then the other, while orders are placed and paid.
async fn anywhere(system: &System, pair: &Pair<'_>, market: &Market) -> Result<()> {
    for which in [0, 1] {
        let stopped = pair.stop_anywhere(which).await?;
        traffic(market, &stopped, ON_MONGODB).await?;
        stopped.paused.process().resume()?;
    }
    for consumer in ["user.transfers", "user.statistics", "order.transfers", "order.customers"] {
        caught_up(&system.admin.caller, consumer).await?;
    }
    dense(&Watch::of(system)).await?;
    pair.no_errors_logged()
}

async fn placed_count(caller: &Caller, user_id: &str) -> Result<i64> {
    let request = GetUserRequest { user_id: user_id.to_owned(), read_mask: None };
    let user = caller.users().get_user(request).await.context("GetUser")?.into_inner().user;
    Ok(user.and_then(|user| user.order_statistics).map_or(0, |statistics| statistics.placed_count))
}

/// Waits until all that is stamped is noted as published: then nobody has anything to write.
async fn quiet(watch: &Watch<'_>) -> Result<(Document, Vec<Document>)> {
    wait_until(SOON, "the stream to be quiet", async || {
        let (lease, outbox) = (watch.lease().await.map_err(text)?, watch.outbox().await.map_err(text)?);
        let stamped = i64::try_from(outbox.len()).map_err(text)?;
        let head = number(&lease, "position").map_err(text)?;
        let published = number(&lease, "published_through").map_err(text)?;
        if (head, published) == (stamped, stamped) { Ok((lease, outbox)) } else { Err(text(lease)) }
    })
    .await
}

async fn dense(watch: &Watch<'_>) -> Result<()> {
    let positions = watch.positions().await?;
    let expected: Vec<Option<i64>> = (1..=i64::try_from(positions.len())?).map(Some).collect();
    assert_eq!(positions, expected, "positions are dense");
    Ok(())
}
