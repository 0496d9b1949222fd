//! Waiting until a system is at rest: every event is stamped, and every consumer has applied its stream to the end and
//! parked nothing of it. No API tells that an event waits for its stamp, so the databases are asked.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use api::event::v1::{GetConsumersRequest, ListParkedRequest, StreamHead};
use bson::doc;
use sqlx::{Connection as _, PgConnection};
use testkit::{ServiceName, wait_until};

use crate::System;
use crate::stamps::count_unstamped;
use crate::streams::head;

const WITHIN: Duration = Duration::from_secs(60);

impl System {
    /// Waits until everything that was written has arrived.
    ///
    /// # Errors
    /// When it does not, or something was parked.
    pub async fn at_rest(&self) -> Result<()> {
        wait_until(WITHIN, "every consumer to be at its stream's head", async || {
            self.check_rest().await.map_err(|error| format!("{error:#}"))
        })
        .await?;
        self.nothing_parked().await
    }

    /// The answers come one after the other, but they must be true at one moment. So the heads are read once more at
    /// the end: when they have not moved, nothing was applied meanwhile either.
    async fn check_rest(&self) -> Result<()> {
        let heads = self.heads().await?;
        self.check_marks(&heads).await?;
        self.check_stamps().await?;
        ensure!(self.heads().await? == heads, "a stream goes on");
        Ok(())
    }

    async fn heads(&self) -> Result<BTreeMap<&'static str, StreamHead>> {
        let admin = &self.admin.caller;
        Ok(BTreeMap::from([("user", head(admin, "user").await?), ("order", head(admin, "order").await?)]))
    }

    async fn check_stamps(&self) -> Result<()> {
        let databases = &self.stack.databases;
        let urls = databases.urls_for_services().await?;
        let count = doc! { "count": "outbox", "query": { "pending": true } };
        let counted = databases.mongo.admin().run(database_name(&urls.mongodb), count).await?;
        let unstamped = counted.get_i32("n").map(i64::from).or_else(|_| counted.get_i64("n"))?;
        ensure!(unstamped == 0, "{unstamped} events of user service are not stamped");
        let mut orders = PgConnection::connect(&urls.postgres).await.context("connecting to PostgreSQL")?;
        let unstamped = count_unstamped(&mut orders).await?;
        ensure!(unstamped == 0, "{unstamped} events of order service are not stamped");
        Ok(())
    }

    async fn check_marks(&self, heads: &BTreeMap<&str, StreamHead>) -> Result<()> {
        for service in ServiceName::ALL {
            let mut admin = self.admin.caller.event_admin(service);
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
            let mut admin = self.admin.caller.event_admin(service);
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
#[must_use]
pub fn database_name(url: &str) -> &str {
    let path = url.rsplit_once('/').map_or(url, |(_, path)| path);
    path.split('?').next().unwrap_or(path)
}
