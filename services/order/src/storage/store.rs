//! The database of one core, for reading.

use std::sync::Arc;

use deadpool::managed::Pool;

use super::pool::{self, Connection, Connector, Use};
use super::signals::Signals;
use crate::config::PostgresConfig;
use crate::error::Result;

/// The database, for reading. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: Pool<Connector>,
    pub(super) signals: Arc<Signals>,
}

impl Store {
    /// Makes a store that connects when it is needed first.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn open(config: &PostgresConfig, usage: Use, signals: Arc<Signals>) -> Result<Self> {
        Ok(Self { pool: pool::open(config, usage)?, signals })
    }

    /// A connection for reading. Dropped in the middle of a statement, it is closed.
    pub(crate) async fn read(&self) -> Result<Connection> {
        Ok(Connection::new(self.pool.get().await?))
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<()> {
        self.read().await?.execute(sqlx::query("SELECT 1")).await.map(drop)
    }

    /// How many connections are open, and how many of them are idle; for tests and metrics.
    #[must_use]
    pub fn connections(&self) -> (usize, usize) {
        let status = self.pool.status();
        (status.size, status.available)
    }
}
