//! Events that do not arrive.

use anyhow::{Context as _, Result, ensure};
use api::event::v1::RetryParkedRequest;
use testkit::ServiceName;
use testkit::client::request_id;
use tests::streams::{resync, resync_of};

use super::super::stage::{Refused, Stage, Wanted};

const CUSTOMERS: &[(&str, &str)] = &[("job", "order-service"), ("consumer", "order.customers")];

pub(super) async fn not_stamped(stage: &Stage) -> Result<()> {
    const WANTED: &[Wanted] = &[("EventPending", &[("stream", "order")])];
    let refused = Refused { table: "outbox", change: "UPDATE", condition: "NEW.position IS NOT NULL" };
    stage.fire_while_refused(&refused, WANTED, async || stage.market.order(1).await.map(drop)).await
}

pub(super) async fn not_applied(stage: &Stage) -> Result<()> {
    const WANTED: &[Wanted] = &[("ConsumerLag", CUSTOMERS)];
    let refused = Refused { table: "customers", change: "INSERT OR UPDATE", condition: "true" };
    stage
        .fire_while_refused(&refused, WANTED, async || {
            stage.watched.system.api.sign_up("Late").await.map(drop)
        })
        .await
}

pub(super) async fn parked(stage: &Stage) -> Result<()> {
    const WANTED: &[Wanted] = &[("EventsParked", CUSTOMERS)];
    stage.are_over(WANTED).await?;
    stage.sql("ALTER TABLE customers ADD CONSTRAINT provoked CHECK (false) NOT VALID").await?;
    let provoked = async {
        let person = stage.watched.system.api.sign_up("Parked").await?;
        stage.fire(WANTED).await?;
        anyhow::Ok(person.user_id)
    };
    let provoked = provoked.await;
    stage.sql("ALTER TABLE customers DROP CONSTRAINT provoked").await?;
    let request = RetryParkedRequest {
        request_id: request_id(),
        consumer: "order.customers".to_owned(),
        aggregate_type: "user".to_owned(),
        aggregate_id: provoked?,
    };
    let mut admin = stage.watched.system.admin.caller.event_admin(ServiceName::Order);
    let applied = admin.retry_parked(request).await.context("RetryParked")?.into_inner().applied_count;
    ensure!(applied > 0, "nothing was parked");
    stage.are_over(WANTED).await
}

/// As after a restore of user service's database to an older state.
pub(super) async fn rewound(stage: &Stage) -> Result<()> {
    const WANTED: &[Wanted] = &[("ConsumerHalted", &[("consumer", "order.customers"), ("state", "rewound")])];
    stage.are_over(WANTED).await?;
    stage
        .sql("UPDATE consumer_mark SET position = position + 1000 WHERE consumer = 'order.customers'")
        .await?;
    stage.watched.system.api.sign_up("Before").await?;
    stage.fire(WANTED).await?;
    resync(&stage.watched.system.admin.caller, &resync_of("order.customers")).await.context("Resync")?;
    stage.are_over(WANTED).await
}
