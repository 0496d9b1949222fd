//! The database of one core, for reading.

use std::sync::Arc;

use time::OffsetDateTime;

use super::connection::Connection;
use super::pool::{Pools, Sessions};
use super::session::{Session, Use};
use super::signals::Signals;
use super::statement::statements;
use crate::config::PostgresConfig;
use crate::error::{Error, Result};

statements! {
    PING = "SELECT 1";

    CLOCK = "SELECT clock_timestamp()";
}

/// The database, for reading. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    sessions: Sessions,
    pub(super) signals: Arc<Signals>,
}

impl Store {
    /// A store with a pool of its own, for a process of one core. It connects when it is needed first.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn open(config: &PostgresConfig, usage: Use, signals: Arc<Signals>) -> Result<Self> {
        Ok(Self::in_pools(&Pools::new(config, 1)?, usage, 0, signals))
    }

    /// A store for one core of a process whose cores share the pools.
    #[must_use]
    pub fn in_pools(pools: &Pools, usage: Use, core: usize, signals: Arc<Signals>) -> Self {
        Self { sessions: pools.sessions(usage, core), signals }
    }

    /// A connection for reading. Dropped in the middle of a statement, it is closed.
    pub(crate) async fn read(&self) -> Result<Connection> {
        self.sessions.get().await
    }

    /// A session besides those of the pool.
    pub(super) async fn another_session(&self) -> Result<Session> {
        self.sessions.open_another().await
    }

    /// Whether the configuration says that there is a pooler.
    pub(crate) fn expects_pooler(&self) -> bool {
        self.sessions.expects_pooler()
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<()> {
        self.read().await?.execute(sqlx::query(PING)).await.map(drop)
    }

    /// The database's clock.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn database_time(&self) -> Result<OffsetDateTime> {
        let row: Option<(OffsetDateTime,)> = self.read().await?.row(sqlx::query(CLOCK)).await?;
        row.map(|(now,)| now).ok_or_else(|| Error::internal("a SELECT without a row"))
    }

    /// How many connections are open, and how many of them are idle; for tests and metrics.
    #[must_use]
    pub fn connections(&self) -> (usize, usize) {
        self.sessions.count()
    }
}
