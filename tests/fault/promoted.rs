//! The same history under a new epoch: a promotion without loss.

use std::time::Duration;

use anyhow::{Context, Result};
use api::event::v1::StreamHead;
use api::user::v1::GetUserRequest;
use bson::doc;
use testkit::client::Person;
use testkit::{DatabaseOptions, ServiceName, wait_until};
use tests::System;
use tests::people::{Market, PRICE, credit, earned, pay};
use tests::streams::{caught_up, head};

const SOON: Duration = Duration::from_secs(60);
const OF_ORDER: [&str; 2] = ["user.statistics", "user.transfers"];
const OF_USER: [&str; 4] = ["order.customers", "order.transfers", "session.revocations", "user.counters"];

/// Waits until a stream has another epoch, at the same place of the same history.
async fn new_epoch(admin: &Person, before: &StreamHead) -> Result<()> {
    let now = wait_until(SOON, "a new epoch", async || {
        let now = head(&admin.caller, &before.stream).await.map_err(|error| format!("{error:#}"))?;
        if now.epoch == before.epoch { Err("the old one".to_owned()) } else { Ok(now) }
    })
    .await?;
    assert_eq!((now.position, &now.event_id), (before.position, &before.event_id));
    Ok(())
}

/// Places an order and pays it, and waits until everybody knows: `count` orders of the buyer so far, all paid.
async fn pay_one(system: &System, market: &Market, count: i64) -> Result<()> {
    let request = pay(&market.order(1).await?);
    wait_until(SOON, "the payment", async || {
        let answer = market.buyer.caller.transfers().pay_order(request.clone()).await;
        answer.map_err(|status| status.to_string())
    })
    .await?;
    for consumer in OF_ORDER.iter().chain(&OF_USER) {
        caught_up(&system.admin.caller, consumer).await?;
    }
    let request = GetUserRequest { user_id: market.buyer.user_id.clone(), read_mask: None };
    let buyer =
        market.buyer.caller.users().get_user(request).await?.into_inner().user.context("the buyer")?;
    let sums = buyer.order_statistics.context("statistics")?;
    assert_eq!((sums.placed_count, sums.paid_count, sums.owned_count), (count, count, count));
    let moved = count * PRICE;
    assert_eq!((credit(&market.buyer).await?, earned(&market.seller).await?), (10 * PRICE - moved, moved));
    system.books_balance().await
}

/// Claim: a standby of PostgreSQL that has everything is promoted, and order service is led to it; then MongoDB is
/// found to be another replica set than the one that the stream was stamped on, as after a promotion elsewhere. Both
/// streams get a new epoch for the same history. All consumers adopt it and go on, nothing is applied twice, and
/// transfers of credit complete.
#[tokio::test]
async fn consumers_adopt_the_epoch_of_a_promoted_database_and_go_on() -> Result<()> {
    let system = System::start(DatabaseOptions::default()).await?;
    let (databases, order_service) = (&system.stack.databases, &system.stack.services.order);
    let market = Market::open(&system, 10 * PRICE, 100).await?;
    let standby = databases.postgres.standby(databases.state()).await?;
    pay_one(&system, &market, 1).await?;

    let before = head(&system.admin.caller, "order").await?;
    order_service.stop().await?;
    standby.caught_up(&databases.postgres).await?;
    databases.postgres.process().kill().await?;
    standby.promote().await?;
    order_service.process().relaunch_with(|launch| {
        for (name, value) in &mut launch.env {
            if name == "POSTGRES_URL" {
                *value = standby.url("order_service");
            }
        }
    });
    order_service.restart().await?;
    new_epoch(&system.admin, &before).await?;
    pay_one(&system, &market, 2).await?;

    let before = head(&system.admin.caller, "user").await?;
    // Whoever is led to another set has lost the connections to this one.
    system.stack.services.user.stop().await?;
    let other = doc! { "q": { "_id": "user" }, "u": { "$set": { "server": "another replica set" } } };
    databases
        .mongo
        .admin()
        .run("user_service", doc! { "update": "outbox_lease", "updates": [other] })
        .await?;
    system.stack.services.user.restart().await?;
    new_epoch(&system.admin, &before).await?;
    pay_one(&system, &market, 3).await?;
    let late = system.api.sign_up("Late").await?;
    late.caller.users().get_user(GetUserRequest { user_id: late.user_id.clone(), read_mask: None }).await?;

    for name in [ServiceName::User, ServiceName::Order, ServiceName::Session] {
        let log = system.stack.services.get(name).log();
        let errors = log.errors_since(testkit::LogMark::default());
        let halts: Vec<_> = errors.iter().filter(|line| line.contains("halted")).collect();
        assert!(halts.is_empty(), "{name}: {halts:?}");
    }
    order_service.stop().await?;
    standby.stop().await
}
