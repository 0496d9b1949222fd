//! When nothing is under way any more: every event is stamped, every consumer has applied its stream to the end, and
//! parked nothing of it. That an event waits for its stamp no API tells, so the databases are asked.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use api::event::v1::{GetConsumersRequest, HeadRequest, ListParkedRequest, StreamHead};
use api::order::v1::RunAuditRequest;
use api::order::v1::audit::Verdict;
use bson::doc;
use sqlx::{Connection as _, PgConnection};
use testkit::{ServiceName, wait_until};
use tonic::Status;

use super::operation::Measures;
use super::stage::Stage;

const WITHIN: Duration = Duration::from_secs(60);

impl Stage {
    /// Waits until everything that was written has arrived.
    pub(super) async fn at_rest(&self) -> Result<()> {
        wait_until(WITHIN, "every consumer to be at its stream's head", async || {
            self.check_rest().await.map_err(|error| format!("{error:#}"))
        })
        .await?;
        self.nothing_parked().await
    }

    /// Waits until session service publishes what comes: a relay begins at the head, after the lease of one that died
    /// has run out, and leaves what came before to its listeners' next heartbeat.
    pub(super) async fn session_relay(&self) -> Result<()> {
        let log = self.system.stack.services.session.log();
        wait_until(WITHIN, "the relay of the session streams", async || {
            let lines = log.lines();
            let last = |text: &str| lines.iter().rposition(|line| line.contains(text));
            let (started, publishes) = (last("\"message\":\"starting\""), last("publishes the log"));
            if publishes > started { Ok(()) } else { Err("another has its lease") }
        })
        .await
    }

    /// Runs an audit of both books, as an operator does.
    pub(super) async fn audit(&self) -> Result<Verdict, Status> {
        let mut audits = self.system.admin.caller.audits();
        let mut pages = audits.run_audit(RunAuditRequest { full: false }).await?.into_inner();
        while let Some(page) = pages.message().await? {
            if let Some(audit) = page.audit {
                return Ok(audit.verdict());
            }
        }
        Err(Status::unknown("the audit came to no end"))
    }

    /// Fails when the services' own auditor does not find everything conserved.
    pub(super) async fn conserved(&self) -> Result<()> {
        let verdict = wait_until(WITHIN, "an audit", async || self.audit().await).await?;
        ensure!(verdict == Verdict::Conserved, "the audit says {verdict:?}");
        Ok(())
    }

    /// How many events each stream has, by the name of the measure.
    pub(super) async fn heads(&self) -> Result<Measures> {
        let (user, order) =
            tokio::try_join!(self.head(ServiceName::User, "user"), self.head(ServiceName::Order, "order"))?;
        Ok(vec![("events of user", user.position), ("events of order", order.position)])
    }

    async fn head(&self, of: ServiceName, stream: &str) -> Result<StreamHead> {
        let request = HeadRequest { stream: stream.to_owned() };
        let answer = self.system.admin.caller.events(of).head(request).await.context("Head")?;
        answer.into_inner().head.context("a head")
    }

    async fn check_rest(&self) -> Result<()> {
        let databases = &self.system.stack.databases;
        let urls = databases.urls_for_services().await?;
        let count = doc! { "count": "outbox", "query": { "pending": true } };
        let counted = databases.mongo.admin().run(database_name(&urls.mongodb), count).await?;
        let unstamped = counted.get_i32("n").map(i64::from).or_else(|_| counted.get_i64("n"))?;
        ensure!(unstamped == 0, "{unstamped} events of user service are not stamped");
        let mut orders = PgConnection::connect(&urls.postgres).await.context("connecting to PostgreSQL")?;
        let unstamped: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox WHERE position IS NULL")
            .fetch_one(&mut orders)
            .await?;
        ensure!(unstamped == 0, "{unstamped} events of order service are not stamped");
        self.check_marks().await
    }

    async fn check_marks(&self) -> Result<()> {
        let heads = BTreeMap::from([
            ("user", self.head(ServiceName::User, "user").await?),
            ("order", self.head(ServiceName::Order, "order").await?),
        ]);
        for service in ServiceName::ALL {
            let mut admin = self.system.admin.caller.event_admin(service);
            let consumers = admin.get_consumers(GetConsumersRequest {}).await.context("GetConsumers")?;
            for consumer in consumers.into_inner().consumers {
                let name = &consumer.consumer;
                ensure!(consumer.halted_reason.is_empty(), "{name} halted: {}", consumer.halted_reason);
                let head = heads.get(consumer.stream.as_str()).context("a stream that nobody has")?;
                let (at, end) = (consumer.position, head.position);
                ensure!(at == end && consumer.epoch == head.epoch, "{name} is at {at} of {end}");
            }
        }
        Ok(())
    }

    async fn nothing_parked(&self) -> Result<()> {
        for service in ServiceName::ALL {
            let mut admin = self.system.admin.caller.event_admin(service);
            let consumers = admin.get_consumers(GetConsumersRequest {}).await.context("GetConsumers")?;
            for consumer in consumers.into_inner().consumers {
                let request = ListParkedRequest { consumer: consumer.consumer, ..Default::default() };
                let parked = admin.list_parked(request).await.context("ListParked")?.into_inner().events;
                ensure!(parked.is_empty(), "parked: {parked:?}");
            }
        }
        Ok(())
    }
}

/// The name of the database in a URL.
pub(super) fn database_name(url: &str) -> &str {
    let path = url.rsplit_once('/').map_or(url, |(_, path)| path);
    path.split('?').next().unwrap_or(path)
}
