//! PostgreSQL: the only place with driver crates.
//!
//! [`Store`] reads; [`Tx`] writes, and appends the events that tell of it ([`Tx::event_append`]), so that a
//! change and its event commit together. What [`Store`] itself writes is one statement each, a transaction of its own:
//! it has its event in it (`order_place`, `payment_begin`), or it is nobody's news (outcomes of requests, claims of
//! workers, the auditor's state). Each runtime core has a `Store` of its own; the background workers have one whose
//! sessions may not pause inside a transaction.

mod accounts;
mod audit;
mod audit_holds;
mod audit_state;
mod consumer;
mod consumer_tx;
mod customers;
mod errors;
mod holds;
mod ledger;
mod order_funds;
mod orders;
mod outbox;
mod outbox_append;
mod outbox_log;
mod placements;
mod pool;
mod products;
mod requests;
pub mod schema;
mod statistics;
mod transfer_history;
mod transfer_leases;
mod transfer_start;
mod transfers;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use deadpool::managed::Pool;
use sqlx::FromRow;
use sqlx::postgres::{PgArguments, PgRow, Postgres};
use sqlx::query::Query;
use tokio::sync::Notify;
use types::{Backoff, Cause, Failure};

use crate::config::PostgresConfig;
use crate::error::{Error, Result};

pub(crate) use audit_state::Turn;
pub(crate) use errors::violated;
pub(crate) use ledger::{TrialBalance, TrialBalanceLine};
pub(crate) use order_funds::PaymentView;
pub(crate) use placements::Placed;
pub(crate) use pool::Connection;
use pool::Connector;
pub use pool::Use;
pub(crate) use requests::Saved;
pub(crate) use statistics::SumsSnapshot;
pub(crate) use transfer_history::Told;
pub(crate) use transfer_leases::{Claim, Look};
pub(crate) use transfers::OperatorAct;

/// The stream of this service's events.
pub(crate) const STREAM: &str = "order";

/// How often something is tried that concurrent changes got in the way of.
const ATTEMPTS: u32 = 6;
const FIRST_DELAY: Duration = Duration::from_millis(10);
const LONGEST_DELAY: Duration = Duration::from_millis(250);

/// What the stores of all cores of this process tell each other.
#[derive(Debug, Default)]
pub struct Signals {
    /// An event was committed.
    appended: Notify,
}

/// The database, for reading. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: Pool<Connector>,
    signals: Arc<Signals>,
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

    /// Begins a transaction. Dropping it unfinished rolls it back by closing its connection; prefer
    /// [`Store::transaction`], which keeps the connection.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn begin(&self) -> Result<Tx> {
        // Idle sessions that the server has ended meanwhile are found out here; nothing was done yet.
        let mut connection = self.read().await?;
        if let Err(error) = connection.begin().await {
            if !connection.is_broken() {
                return Err(error);
            }
            drop(connection);
            connection = self.read().await?;
            connection.begin().await?;
        }
        let signals = Arc::clone(&self.signals);
        Ok(Tx {
            connection: Some(connection),
            failed: false,
            appended: false,
            signals,
            home: None,
            operation: "",
        })
    }

    /// Does `work` in a transaction, which it commits itself. Whatever it does not commit is rolled back, and
    /// when concurrent changes got in the way it is done again, a few times, with jitter. `name` is for logs.
    ///
    /// # Errors
    /// Those of `work`; [`Failure::Contention`] when concurrent changes got in the way every time.
    pub async fn transaction<T, F, Fut>(&self, name: &'static str, mut work: F) -> Result<T>
    where
        F: FnMut(Tx) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let mut retries = Retries::of(name);
        loop {
            let home = Home::default();
            fault::point!("business.beginning", name);
            let mut tx = self.begin().await?;
            tx.home = Some(home.clone());
            tx.operation = name;
            let result = work(tx).await;
            home.roll_back().await;
            match result {
                Err(Error::Failure(Failure::Contention(source))) => retries.pause(source).await?,
                result => return result,
            }
        }
    }

    /// How many connections are open, and how many of them are idle; for tests and metrics.
    #[must_use]
    pub fn connections(&self) -> (usize, usize) {
        let status = self.pool.status();
        (status.size, status.available)
    }
}

/// What to do when concurrent changes got in the way of something: again after a pause, but not for ever.
#[derive(Debug)]
pub(crate) struct Retries {
    name: &'static str,
    left: u32,
    backoff: Backoff,
}

impl Retries {
    /// Of something with this name, for logs.
    pub(crate) fn of(name: &'static str) -> Self {
        Self { name, left: ATTEMPTS, backoff: Backoff::new(FIRST_DELAY, LONGEST_DELAY) }
    }

    /// Waits until it is time to try again.
    ///
    /// # Errors
    /// [`Failure::Contention`] when it was tried often enough.
    pub(crate) async fn pause(&mut self, source: Cause) -> Result<()> {
        let name = self.name;
        tracing::debug!(
            name,
            error = &*source as &dyn std::error::Error,
            "a concurrent change got in the way"
        );
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            tracing::warn!(
                name,
                attempts = ATTEMPTS,
                "gave up: concurrent changes got in the way every time"
            );
            return Err(Error::contention(source));
        }
        tokio::time::sleep(self.backoff.next_delay()).await;
        Ok(())
    }
}

/// Where a transaction that was dropped leaves its connection, if no statement was in flight.
#[derive(Debug, Clone, Default)]
struct Home(Arc<Mutex<Option<Connection>>>);

impl Home {
    async fn roll_back(&self) {
        let connection = self.0.lock().expect("no holder of this lock panics").take();
        if let Some(mut connection) = connection {
            // If it fails, dropping the connection closes it, which rolls back as well.
            if let Err(error) = connection.finish("ROLLBACK").await {
                tracing::debug!(error = &error as &dyn std::error::Error, "could not roll back; closing");
            }
        }
    }
}

/// A transaction. It has no lifetime: it can be moved into a task or a future.
#[derive(Debug)]
pub struct Tx {
    connection: Option<Connection>,
    /// A statement failed: PostgreSQL would answer COMMIT with a rollback, and no error.
    failed: bool,
    appended: bool,
    signals: Arc<Signals>,
    home: Option<Home>,
    /// The name of what it does, if it is a use case.
    operation: &'static str,
}

const UNFINISHED: &str = "only commit, rollback and drop take the connection";

impl Tx {
    /// Runs a statement and tells how many rows it changed.
    ///
    /// # Errors
    /// When it failed; the transaction is lost then.
    pub async fn execute(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<u64> {
        let result = self.connection().execute(query).await;
        self.failed |= result.is_err();
        result
    }

    /// Runs a statement and reads its rows.
    pub(crate) async fn rows<T>(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, PgRow>,
    {
        let result = self.connection().rows(query).await;
        self.failed |= result.is_err();
        result
    }

    /// Runs a statement and reads its first row, if there is one.
    pub(crate) async fn row<T>(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Option<T>>
    where
        T: for<'r> FromRow<'r, PgRow>,
    {
        let result = self.connection().row(query).await;
        self.failed |= result.is_err();
        result
    }

    /// Commits. When the database does not answer, whether it did is unknown.
    ///
    /// # Errors
    /// When it was not committed, or that is unknown.
    pub async fn commit(mut self) -> Result<()> {
        if self.failed {
            return Err(Error::internal(
                "a transaction was to be committed after one of its statements failed",
            ));
        }
        fault::point!("business.committing", self.operation);
        let result = self.connection().finish("COMMIT").await;
        if result.is_ok() {
            fault::point!("business.committed", self.operation);
            if self.appended {
                self.signals.appended.notify_one();
            }
        }
        result
    }

    /// Rolls back, at once and keeping the connection.
    pub async fn rollback(mut self) {
        let home = Home::default();
        self.home = Some(home.clone());
        drop(self);
        home.roll_back().await;
    }

    fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect(UNFINISHED)
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        // Otherwise it is dropped here: into the pool after a commit, else closed.
        if connection.has_open_transaction()
            && let Some(home) = &self.home
        {
            *home.0.lock().expect("no holder of this lock panics") = Some(connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_others_get_in_the_way_of_is_tried_again_after_pauses_and_not_for_ever() {
        let (mut retries, begun) = (Retries::of("test"), Instant::now());
        let mut before = begun;
        for bound in [10, 20, 40, 80, 160] {
            retries.pause("a deadlock".into()).await.unwrap();
            assert!(before.elapsed() <= Duration::from_millis(bound + 1));
            before = Instant::now();
        }
        assert!(begun.elapsed() > Duration::ZERO);
        let last = retries.pause("a deadlock".into()).await;
        assert!(matches!(last, Err(Error::Failure(Failure::Contention(_)))), "{last:?}");
    }
}
