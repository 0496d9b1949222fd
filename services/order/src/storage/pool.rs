//! The sessions of the process, in [`runtime::connections::Pool`]s. sqlx's own pool pings the server after every use,
//! and belongs to one core.
//!
//! **Invariant:** a session in a pool has no statement in flight and no transaction open.

use std::sync::Arc;

use runtime::connections::{Busy, Limits, Pool};
use tokio_util::sync::CancellationToken;
use types::Effect;

use super::connection::Connection;
use super::session::{Beginning, Connector, Session, Use};
use crate::config::PostgresConfig;
use crate::error::{Error, Result};

/// The most that workers have to themselves.
const WORKERS_MOST: usize = 8;

/// The sessions of a process: of its calls, on all cores, and of its workers. Each have their own share of the limit, so
/// that calls which wait for a worker cannot keep it from working.
#[derive(Debug, Clone)]
pub struct Pools {
    calls: Sessions,
    workers: Sessions,
}

/// The sessions of one use, seen from one core.
#[derive(Debug, Clone)]
pub(super) struct Sessions {
    pool: Pool<Session>,
    connector: Arc<Connector>,
}

impl Pools {
    /// Pools for a process of so many cores; nothing is connected yet.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn new(config: &PostgresConfig, cores: usize) -> Result<Self> {
        let (calls, workers) = shares(config.postgres_connections);
        Ok(Self {
            calls: Sessions::new(config, Use::Calls, calls, cores)?,
            // They run on the first core.
            workers: Sessions::new(config, Use::Workers, workers, 1)?,
        })
    }

    /// The sessions for one use, on one core.
    pub(super) fn sessions(&self, usage: Use, core: usize) -> Sessions {
        let Sessions { pool, connector } = match usage {
            Use::Calls => &self.calls,
            Use::Workers => &self.workers,
        };
        Sessions { pool: pool.of_core(core), connector: Arc::clone(connector) }
    }

    /// Closes sessions that nobody uses, until `stop`.
    pub async fn close_idle(self, stop: CancellationToken) {
        let (calls, workers) = (self.calls.pool, self.workers.pool);
        tokio::join!(calls.close_idle(stop.clone()), workers.close_idle(stop));
    }
}

/// How many connections of a process are for calls, and how many for workers.
fn shares(connections: usize) -> (usize, usize) {
    let workers = (connections / 3).clamp(1, WORKERS_MOST);
    (connections.saturating_sub(workers).max(1), workers)
}

impl Sessions {
    fn new(config: &PostgresConfig, usage: Use, connections: usize, cores: usize) -> Result<Self> {
        let limits = Limits { connections, wait: config.connection_wait, idle: config.connection_idle };
        let connector = Arc::new(Connector::new(config, usage)?);
        Ok(Self { pool: Pool::new(usage.pool(), limits, cores), connector })
    }

    /// A connection, as soon as one is free.
    pub(super) async fn get(&self) -> Result<Connection> {
        let connector = &*self.connector;
        let session =
            self.pool.get(|session| connector.is_young(session), async || connector.open().await).await?;
        Ok(Connection::new(session, connector.beginning.clone()))
    }

    /// A session that is in no pool.
    pub(super) async fn open_another(&self) -> Result<Session> {
        self.connector.open().await
    }

    /// Whether there is a pooler between us and the server, as far as we were told.
    pub(super) fn expects_pooler(&self) -> bool {
        matches!(self.connector.beginning, Beginning::WithSettings(_))
    }

    pub(super) fn count(&self) -> (usize, usize) {
        self.pool.count()
    }
}

impl From<Busy> for Error {
    fn from(busy: Busy) -> Self {
        Self::unavailable(busy).with_effect(Effect::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_workers_share_the_limit_and_neither_is_left_without() {
        for (connections, expected) in [(2, (1, 1)), (3, (2, 1)), (28, (20, 8)), (100, (92, 8))] {
            assert_eq!(shares(connections), expected);
        }
    }
}
