//! What order service's database says about owners, and what their takeovers look like there.

use std::fmt;
use std::time::Instant;

use anyhow::{Context as _, Result};
use sqlx::{Connection as _, FromRow, PgConnection};
use testkit::{Log, LogMark, wait_until};
use tests::System;
use uuid::Uuid;

use super::pair::SOON;

/// A connection beside the services', and what the server has said since it was opened.
pub(super) struct Watch<'a> {
    connection: PgConnection,
    log: &'a Log,
    seen: LogMark,
}

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

impl<'a> Watch<'a> {
    pub(super) async fn open(system: &'a System) -> Result<Self> {
        let databases = &system.stack.databases;
        let url = databases.urls_for_services().await?.postgres;
        let connection = PgConnection::connect(&url).await.context("connecting to PostgreSQL")?;
        let log = databases.postgres.process().log();
        Ok(Self { connection, log, seen: log.mark() })
    }

    pub(super) async fn lease(&mut self) -> Result<Lease> {
        let query = "SELECT owner, fence, next_position, last_event_id, published_through FROM outbox_lease";
        Ok(sqlx::query_as(query).fetch_one(&mut self.connection).await?)
    }

    pub(super) async fn mark(&mut self, consumer: &str) -> Result<Mark> {
        let query = "SELECT owner, fence, position, event_id FROM consumer_mark WHERE consumer = $1";
        Ok(sqlx::query_as(query).bind(consumer).fetch_one(&mut self.connection).await?)
    }

    /// All that was stamped, in order, and what was not.
    pub(super) async fn outbox(&mut self) -> Result<Vec<String>> {
        let query =
            "SELECT concat_ws(' ', position, event_id, previous, stamped_at) FROM outbox ORDER BY position";
        Ok(sqlx::query_scalar(query).fetch_all(&mut self.connection).await?)
    }

    /// The positions, from the first on.
    pub(super) async fn positions(&mut self) -> Result<Vec<Option<i64>>> {
        let query = "SELECT position FROM outbox ORDER BY position";
        Ok(sqlx::query_scalar(query).fetch_all(&mut self.connection).await?)
    }

    /// A row of the transfer, whole, and how many entries its postings have.
    pub(super) async fn transfer(&mut self, id: &str) -> Result<(String, i64)> {
        let query = "SELECT transfers::text, (SELECT count(*) FROM entries WHERE transfer_id = transfers.id)
                     FROM transfers WHERE id = $1::uuid";
        Ok(sqlx::query_as(query).bind(id).fetch_one(&mut self.connection).await?)
    }

    /// What a transfer came to, without who looked at it and when, and how many events and entries tell of it.
    pub(super) async fn decided(&mut self, id: &str) -> Result<(String, i64, i64)> {
        let query = "SELECT concat_ws(' ', state, decision, reason, decided_at), event_version,
                            (SELECT count(*) FROM entries WHERE transfer_id = transfers.id)
                     FROM transfers WHERE id = $1::uuid";
        Ok(sqlx::query_as(query).bind(id).fetch_one(&mut self.connection).await?)
    }

    /// Lets a transfer's time run out now.
    pub(super) async fn expire(&mut self, id: &str) -> Result<()> {
        let query = "UPDATE transfers SET deadline = clock_timestamp(), next_attempt_at = clock_timestamp()
                     WHERE id = $1::uuid";
        sqlx::query(query).bind(id).execute(&mut self.connection).await?;
        Ok(())
    }

    /// Who has claimed a transfer, and the claim's number.
    pub(super) async fn claim(&mut self, id: &str) -> Result<(Option<Uuid>, i64, String)> {
        let query = "SELECT lease_owner, fence, state FROM transfers WHERE id = $1::uuid";
        Ok(sqlx::query_as(query).bind(id).fetch_one(&mut self.connection).await?)
    }

    /// Waits until the server has ended the session of a worker that has a transaction open and does nothing. Its
    /// log tells that also to whoever looks late.
    pub(super) async fn session_ended(&mut self, paused: Instant) -> Result<()> {
        let ended = |line: &String| {
            line.contains("order-service-workers") && line.contains("due to idle-in-transaction timeout")
        };
        wait_until(SOON, "PostgreSQL to end the session of the paused process", async || {
            let lines = self.log.lines_since(self.seen);
            if lines.iter().any(ended) { Ok(()) } else { Err(format!("it says:\n{}", lines.join("\n"))) }
        })
        .await?;
        self.seen = self.log.mark();
        eprintln!("PostgreSQL ended the paused owner's session within {} ms", paused.elapsed().as_millis());
        Ok(())
    }
}

pub(super) fn text(error: impl fmt::Debug) -> String {
    format!("{error:?}")
}
