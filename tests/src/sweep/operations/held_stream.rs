//! A stream held still: somebody who does nothing has the lease of its sequencer. What its service commits meanwhile
//! reaches nobody, for as long as a case needs it.

use std::cell::Cell;

use anyhow::{Context as _, Result, ensure};
use bson::{Bson, doc};
use sqlx::{Connection as _, PgConnection};

use crate::rest::database_name;
use crate::sweep::stage::Stage;

/// Longer than any case.
const HELD_FOR_MS: i64 = 3_600_000;

/// Which stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    User,
    Order,
}

/// A stream, and whether it is held.
#[derive(Debug)]
pub(super) struct HeldStream {
    stream: Stream,
    held: Cell<bool>,
}

impl HeldStream {
    pub(super) const fn new(stream: Stream) -> Self {
        Self { stream, held: Cell::new(false) }
    }

    /// Takes the lease, if it is not taken yet.
    pub(super) async fn hold(&self, stage: &Stage) -> Result<()> {
        if self.held.replace(true) {
            return Ok(());
        }
        self.lease(stage, HELD_FOR_MS).await
    }

    /// Gives it back, if it was taken.
    pub(super) async fn release(&self, stage: &Stage) -> Result<()> {
        if !self.held.replace(false) {
            return Ok(());
        }
        self.lease(stage, 0).await
    }

    async fn lease(&self, stage: &Stage, for_ms: i64) -> Result<()> {
        let found = match self.stream {
            Stream::User => lease_user(stage, for_ms).await?,
            Stream::Order => lease_order(stage, for_ms).await?,
        };
        ensure!(found == 1, "{found} leases of the stream {:?}", self.stream);
        Ok(())
    }
}

async fn lease_user(stage: &Stage, for_ms: i64) -> Result<u64> {
    let databases = &stage.system.stack.databases;
    let url = databases.urls_for_services().await?.mongodb;
    let until = doc! { "startDate": "$$NOW", "unit": "millisecond", "amount": for_ms };
    let taken = doc! {
        "owner": bson::Uuid::new(),
        "fence": { "$add": ["$fence", 1_i64] },
        "lease_until": Bson::Document(doc! { "$dateAdd": until }),
    };
    let update = doc! { "q": { "_id": "user" }, "u": [{ "$set": taken }] };
    let command = doc! { "update": "outbox_lease", "updates": [update] };
    let answer = databases.mongo.admin().run(database_name(&url), command).await?;
    Ok(u64::try_from(answer.get_i32("n")?)?)
}

async fn lease_order(stage: &Stage, for_ms: i64) -> Result<u64> {
    let url = stage.system.stack.databases.urls_for_services().await?.postgres;
    let mut orders = PgConnection::connect(&url).await.context("connecting to PostgreSQL")?;
    let taken = sqlx::query(
        "UPDATE outbox_lease SET owner = gen_random_uuid(), fence = fence + 1,
             lease_until = clock_timestamp() + $1 * interval '1 millisecond'
         WHERE stream = 'order'",
    );
    Ok(taken.bind(for_ms).execute(&mut orders).await?.rows_affected())
}
