//! Claim: nothing depends on Redis Pub/Sub. When the Redis for events and cache is never started, everything still
//! completes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::user::v1::GetUserRequest;
use testkit::{DatabaseOptions, wait_until};
use tests::System;
use tests::people::{Market, PRICE, credit, earned, refund};

#[tokio::test]
async fn everything_arrives_without_the_event_redis() -> Result<()> {
    let options = DatabaseOptions { without_event_redis: true, ..DatabaseOptions::default() };
    let system = System::start(options).await?;
    ensure!(system.stack.databases.redis_events.is_none(), "the event Redis must not run");
    let market = Market::open(&system, 10 * PRICE, 10).await?;
    for _ in 0..3 {
        let placed = market.paid_order(1).await?;
        market
            .seller
            .caller
            .transfers()
            .refund_order(refund(&placed, PRICE / 2))
            .await
            .context("RefundOrder")?;
    }
    let moved = 3 * PRICE / 2;
    assert_eq!((credit(&market.buyer).await?, earned(&market.seller).await?), (10 * PRICE - moved, moved));
    let request = GetUserRequest { user_id: market.buyer.user_id.clone(), read_mask: None };
    wait_until(Duration::from_secs(10), "the statistics to follow", async || {
        let answer = market.buyer.caller.users().get_user(request.clone()).await;
        let user = answer.map_err(|status| status.to_string())?.into_inner().user;
        let paid = user.and_then(|user| user.order_statistics).map(|statistics| statistics.paid_count);
        if paid == Some(3) { Ok(()) } else { Err(format!("{paid:?} orders paid")) }
    })
    .await?;
    system.books_balance().await
}
