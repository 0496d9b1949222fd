//! What order service's database says about owners, and what their takeovers look like there.

use std::fmt;
use std::time::Instant;

use anyhow::{Context as _, Result};
use sqlx::{Connection as _, FromRow, PgConnection};
use testkit::wait_until;
use tests::System;
use uuid::Uuid;

use super::pair::SOON;

/// A connection beside the services'.
pub(super) struct Watch(PgConnection);

/// Who stamps, and how far.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(super) struct Lease {
    pub(super) owner: Uuid,
    pub(super) fence: i64,
    next_position: i64,
    last_event_id: Option<Uuid>,
    published_through: i64,
}

impl Lease {
    pub(super) fn head(&self) -> i64 {
        self.next_position - 1
    }

    /// Whether all that is stamped is noted as published.
    pub(super) fn is_quiet(&self) -> bool {
        self.published_through == self.head()
    }
}

/// Who applies, and how far.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(super) struct Mark {
    owner: Uuid,
    pub(super) fence: i64,
    pub(super) position: i64,
    event_id: Option<Uuid>,
}

impl Watch {
    pub(super) async fn open(system: &System) -> Result<Self> {
        let url = system.stack.databases.urls_for_services().await?.postgres;
        Ok(Self(PgConnection::connect(&url).await.context("connecting to PostgreSQL")?))
    }

    pub(super) async fn lease(&mut self) -> Result<Lease> {
        let query = "SELECT owner, fence, next_position, last_event_id, published_through FROM outbox_lease";
        Ok(sqlx::query_as(query).fetch_one(&mut self.0).await?)
    }

    pub(super) async fn mark(&mut self, consumer: &str) -> Result<Mark> {
        let query = "SELECT owner, fence, position, event_id FROM consumer_mark WHERE consumer = $1";
        Ok(sqlx::query_as(query).bind(consumer).fetch_one(&mut self.0).await?)
    }

    /// All that was stamped, in order, and what was not.
    pub(super) async fn outbox(&mut self) -> Result<Vec<String>> {
        let query =
            "SELECT concat_ws(' ', position, event_id, previous, stamped_at) FROM outbox ORDER BY position";
        Ok(sqlx::query_scalar(query).fetch_all(&mut self.0).await?)
    }

    /// The positions, from the first on.
    pub(super) async fn positions(&mut self) -> Result<Vec<Option<i64>>> {
        let query = "SELECT position FROM outbox ORDER BY position";
        Ok(sqlx::query_scalar(query).fetch_all(&mut self.0).await?)
    }

    /// A row of the transfer, whole, and how many entries its postings have.
    pub(super) async fn transfer(&mut self, id: &str) -> Result<(String, i64)> {
        let query = "SELECT transfers::text, (SELECT count(*) FROM entries WHERE transfer_id = transfers.id)
                     FROM transfers WHERE id = $1::uuid";
        Ok(sqlx::query_as(query).bind(id).fetch_one(&mut self.0).await?)
    }

    /// What a transfer came to, without who looked at it and when, and how many events and entries tell of it.
    pub(super) async fn decided(&mut self, id: &str) -> Result<(String, i64, i64)> {
        let query = "SELECT concat_ws(' ', state, decision, reason, decided_at), event_version,
                            (SELECT count(*) FROM entries WHERE transfer_id = transfers.id)
                     FROM transfers WHERE id = $1::uuid";
        Ok(sqlx::query_as(query).bind(id).fetch_one(&mut self.0).await?)
    }

    /// Lets a transfer's time run out now.
    pub(super) async fn expire(&mut self, id: &str) -> Result<()> {
        let query = "UPDATE transfers SET deadline = clock_timestamp(), next_attempt_at = clock_timestamp()
                     WHERE id = $1::uuid";
        sqlx::query(query).bind(id).execute(&mut self.0).await?;
        Ok(())
    }

    /// Who has claimed a transfer, and the claim's number.
    pub(super) async fn claim(&mut self, id: &str) -> Result<(Option<Uuid>, i64, String)> {
        let query = "SELECT lease_owner, fence, state FROM transfers WHERE id = $1::uuid";
        Ok(sqlx::query_as(query).bind(id).fetch_one(&mut self.0).await?)
    }

    /// Waits until the server has ended the session of a worker that has a transaction open and does nothing.
    pub(super) async fn session_ended(&mut self) -> Result<()> {
        let began = Instant::now();
        // Half a second: nobody who runs leaves a transaction alone for so long.
        let idle = "SELECT pid FROM pg_stat_activity
                    WHERE application_name = 'order-service-workers' AND state = 'idle in transaction'
                      AND clock_timestamp() - state_change > interval '500 ms'";
        let pid: i32 = wait_until(SOON, "an idle transaction of the paused process", async || {
            let found = sqlx::query_scalar(idle).fetch_optional(&mut self.0).await;
            found.map_err(text)?.ok_or_else(|| "there is none".to_owned())
        })
        .await?;
        wait_until(SOON, "the server to end the session", async || {
            let query = sqlx::query_scalar("SELECT state FROM pg_stat_activity WHERE pid = $1").bind(pid);
            let state: Option<Option<String>> = query.fetch_optional(&mut self.0).await.map_err(text)?;
            state.map_or(Ok(()), |state| Err(format!("it is {state:?}")))
        })
        .await?;
        eprintln!("PostgreSQL ended the paused owner's session after {} ms", began.elapsed().as_millis());
        Ok(())
    }
}

pub(super) fn text(error: impl fmt::Debug) -> String {
    format!("{error:?}")
}
