//! The stamps on order service's events, without which nobody hears of them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use sqlx::{Connection as _, PgConnection};
use testkit::wait_until;

use crate::System;

const SOON: Duration = Duration::from_secs(40);

/// How many events of order service have no stamp yet.
pub(crate) async fn count_unstamped(orders: &mut PgConnection) -> Result<i64> {
    let query = "SELECT count(*) FROM outbox WHERE position IS NULL";
    Ok(sqlx::query_scalar(query).fetch_one(orders).await?)
}

/// A transaction that has the row which order service's sequencer must lock to stamp anything. What order service
/// commits meanwhile reaches nobody.
#[derive(Debug)]
pub struct HeldStamps {
    holder: PgConnection,
}

impl HeldStamps {
    /// Waits until every event has its stamp, and lets no more be stamped.
    ///
    /// # Errors
    /// When an event is not stamped in time, or the database is away.
    pub async fn once_all_are_stamped(system: &System) -> Result<Self> {
        let url = system.stack.databases.urls_for_services().await?.postgres;
        let mut holder = PgConnection::connect(&url).await.context("connecting to PostgreSQL")?;
        wait_until(SOON, "every event of order service to be stamped", async || {
            match count_unstamped(&mut holder).await.map_err(|error| error.to_string())? {
                0 => Ok(()),
                pending => Err(format!("{pending} events are not stamped")),
            }
        })
        .await?;
        sqlx::query("BEGIN").execute(&mut holder).await?;
        sqlx::query("SELECT 1 FROM outbox_lease FOR UPDATE").execute(&mut holder).await?;
        Ok(Self { holder })
    }

    /// Lets the sequencer go on.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn release(mut self) -> Result<()> {
        sqlx::query("ROLLBACK").execute(&mut self.holder).await?;
        Ok(())
    }
}
