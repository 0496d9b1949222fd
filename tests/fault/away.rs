//! Consumers that were away for too long: for Redis, and for the producer.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::event::v1::{ConsumerState, ListParkedRequest, ReplayRequest};
use api::user::v1::{GetUserRequest, OrderStatistics};
use sqlx::{Connection as _, PgConnection};
use testkit::{DatabaseOptions, LogMark, ServiceName, wait_until};
use tests::System;
use tests::people::{Market, PRICE, credit, earned, pay};
use tests::status::{code_and_reason, metadata};
use tests::streams::{caught_up, halted, head, resync, resync_of, standing};
use tonic::Code;

const SOON: Duration = Duration::from_secs(60);
const STATISTICS: &str = "user.statistics";
const TRANSFERS: &str = "user.transfers";
/// Events that mean nothing to anybody, of 16 KiB each: 2,000 of them are more than all buffers on the way hold.
const FILL: &str =
    "INSERT INTO outbox (stream, event_id, aggregate_type, aggregate_id, aggregate_version, type,
                                        schema_version, payload, created_at)
                    SELECT 'order', gen_random_uuid(), 'filler', $1, number, 'test.v1.Filler', 1,
                           convert_to(repeat('x', 16384), 'UTF8'), now()
                    FROM generate_series(1, 250) AS number";
const FILLS: usize = 8;

struct Story {
    system: System,
    market: Market,
    order_database: PgConnection,
}

impl Story {
    async fn begin() -> Result<Self> {
        let system = System::start(DatabaseOptions::default()).await?;
        let market = Market::open(&system, 10 * PRICE, 1_000).await?;
        let url = system.stack.databases.urls_for_services().await?.postgres;
        let order_database = PgConnection::connect(&url).await.context("connecting to PostgreSQL")?;
        Ok(Self { system, market, order_database })
    }

    async fn redis(&self, command: &[&str]) -> Result<String> {
        let redis = self.system.stack.databases.redis_events.as_ref().context("the event Redis")?;
        redis.admin().run(0, command).await
    }

    /// Whether Redis has cut somebody off since, who did not read.
    fn has_cut_off(&self, since: LogMark) -> bool {
        let log = self.system.stack.databases.redis_events.as_ref().map(|redis| redis.process().log());
        let lines = log.map(|log| log.lines_since(since)).unwrap_or_default();
        lines.iter().any(|line| line.contains("for overcoming of output buffer limits"))
    }

    /// Waits until user service has counted so many orders.
    async fn placed(&self, count: i64) -> Result<OrderStatistics> {
        wait_until(SOON, "the sums", async || {
            let sums = self.statistics().await.map_err(|error| format!("{error:#}"))?;
            if sums.placed_count == count { Ok(sums) } else { Err(format!("{sums:?} instead of {count}")) }
        })
        .await
    }

    async fn statistics(&self) -> Result<OrderStatistics> {
        let request = GetUserRequest { user_id: self.market.buyer.user_id.clone(), read_mask: None };
        let answer = self.market.buyer.caller.users().get_user(request).await.context("GetUser")?;
        answer.into_inner().user.context("a user")?.order_statistics.context("statistics")
    }
}

/// Claim: a consumer that stood still while thousands of events were published, so that Redis cut it off, has all of
/// them once afterwards, those of a transfer among them.
///
/// Then claim: a consumer whose next event is pruned halts with `position_pruned`, mark and effects as they were; the
/// producer answers `OUT_OF_RANGE` and says what to do. Resync heals the read model and is refused for money.
#[tokio::test]
async fn a_consumer_that_was_away_for_long_catches_up_or_says_that_it_cannot() -> Result<()> {
    let mut story = Story::begin().await?;
    let admin = story.system.admin.caller.clone();
    let user_service = &story.system.stack.services.user;
    story.redis(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 1mb 5"]).await?;
    let request = pay(&story.market.order(1).await?);
    let before = caught_up(&admin, TRANSFERS).await?;
    let quiet =
        story.system.stack.databases.redis_events.as_ref().context("the event Redis")?.process().log().mark();

    user_service.process().pause()?;
    let patient = story.market.buyer.caller.within(Duration::from_millis(1_500));
    let unknown = patient.transfers().pay_order(request.clone()).await.expect_err("nobody can reserve");
    assert_eq!(code_and_reason(&unknown), (Code::Unavailable, "REQUEST_IN_PROGRESS".to_owned()));
    for number in 0..FILLS {
        sqlx::query(FILL).bind(number.to_string()).execute(&mut story.order_database).await?;
        story.market.order(1).await?;
    }
    wait_until(SOON, "Redis to cut the sleeper off", async || {
        if story.has_cut_off(quiet) { Ok(()) } else { Err("it has not") }
    })
    .await?;
    user_service.process().resume()?;
    wait_until(SOON, "the payment", async || {
        let answer = story.market.buyer.caller.transfers().pay_order(request.clone()).await;
        answer.map_err(|status| status.to_string())
    })
    .await?;
    for consumer in [STATISTICS, TRANSFERS] {
        let there = caught_up(&admin, consumer).await?;
        ensure!(there.position >= before.position + 2_000, "{there:?} after {before:?}");
    }
    let placed = 1 + i64::try_from(FILLS)?;
    let sums = story.placed(placed).await?;
    assert_eq!((sums.paid_count, sums.owned_count), (1, placed));
    assert_eq!((credit(&story.market.buyer).await?, earned(&story.market.seller).await?), (9 * PRICE, PRICE));
    for consumer in [STATISTICS, TRANSFERS] {
        let list = ListParkedRequest { consumer: consumer.to_owned(), ..ListParkedRequest::default() };
        let parked = admin.event_admin(ServiceName::User).list_parked(list).await.context("ListParked")?;
        assert_eq!(parked.into_inner().events, [], "what comes out of order cannot be applied");
    }
    story.system.books_balance().await?;
    pruned(&mut story, sums).await
}

async fn pruned(story: &mut Story, sums: OrderStatistics) -> Result<()> {
    let admin = story.system.admin.caller.clone();
    let user_service = &story.system.stack.services.user;
    let marks = [standing(&admin, STATISTICS).await?, standing(&admin, TRANSFERS).await?];
    let wallet = credit(&story.market.buyer).await?;
    user_service.process().kill().await?;
    for _ in 0..3 {
        story.market.order(1).await?;
    }
    // As if both had been forgotten among the registered consumers, and the retention had passed.
    let last = wait_until(SOON, "the events to be stamped", async || {
        let last = head(&admin, "order").await.map_err(|error| format!("{error:#}"))?;
        if last.position >= marks[0].position + 3 { Ok(last) } else { Err(format!("{last:?}")) }
    })
    .await?;
    let forced =
        sqlx::query("DELETE FROM outbox WHERE stream = 'order' AND position < $1").bind(last.position);
    ensure!(forced.execute(&mut story.order_database).await?.rows_affected() > 2_000, "it was pruned before");
    user_service.restart().await?;
    for (consumer, mark) in [STATISTICS, TRANSFERS].into_iter().zip(marks) {
        let stopped = halted(&admin, consumer, "position_pruned").await?;
        assert_eq!(stopped, ConsumerState { halted_reason: "position_pruned".to_owned(), ..mark });
    }
    assert_eq!((story.statistics().await?, credit(&story.market.buyer).await?), (sums, wallet));

    let after = standing(&admin, STATISTICS).await?.position;
    let request =
        ReplayRequest { stream: "order".to_owned(), after_position: after, ..ReplayRequest::default() };
    let refused = admin.events(ServiceName::Order).replay(request).await.expect_err("the events are gone");
    assert_eq!(code_and_reason(&refused), (Code::OutOfRange, "POSITION_PRUNED".to_owned()));
    assert_eq!(metadata(&refused, "oldest_position"), Some(last.position.to_string()));
    assert_eq!(refused.message(), "the events there are pruned; rebuild from a snapshot");

    let refused = resync(&admin, &resync_of(TRANSFERS)).await.expect_err("money cannot be rebuilt");
    assert_eq!(code_and_reason(&refused), (Code::FailedPrecondition, "RESYNC_UNSUPPORTED".to_owned()));
    resync(&admin, &resync_of(STATISTICS)).await?;
    story.market.order(1).await?;
    let healed = story.placed(sums.placed_count + 4).await?;
    assert_eq!(
        healed,
        OrderStatistics { placed_count: healed.placed_count, owned_count: sums.owned_count + 4, ..sums }
    );
    Ok(())
}
