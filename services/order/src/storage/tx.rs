//! A transaction: its statements, and how it ends.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::FromRow;
use sqlx::postgres::{PgArguments, PgRow, Postgres};
use sqlx::query::Query;

use super::connection::Connection;
use super::session::ServerIdentity;
use super::signals::Signals;
use super::statement::statements;
use crate::error::{Error, Result};

statements! {
    STATEMENT_TIMEOUT = "SELECT set_config('statement_timeout', $1, true)";
}

/// A transaction. It has no lifetime, so it can be moved into a task or a future.
#[derive(Debug)]
pub struct Tx {
    connection: Option<Connection>,
    /// A statement failed: PostgreSQL would answer COMMIT with a rollback, and no error.
    failed: bool,
    appended: bool,
    signals: Arc<Signals>,
    returned: Option<Returned>,
    /// The name of what it does, if it is a use case.
    operation: &'static str,
    after_commit: AfterCommit,
}

/// What is done once a transaction is committed.
#[derive(Default)]
struct AfterCommit(Vec<Box<dyn FnOnce() + Send>>);

impl fmt::Debug for AfterCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AfterCommit").field(&self.0.len()).finish()
    }
}

/// Where a transaction that is dropped leaves its connection, if no statement is in flight.
#[derive(Debug, Clone, Default)]
pub(super) struct Returned(Arc<Mutex<Option<Connection>>>);

/// A transaction with nothing left to do but to end: the answer of what is done in [`super::Store::transaction`], which
/// ends it. Only [`Tx::commit`] and [`Tx::abandon`] make one, so nobody can forget to say which.
#[derive(Debug)]
#[must_use = "the transaction has not ended yet"]
pub struct Finished<T> {
    tx: Tx,
    is_to_commit: bool,
    value: T,
}

const UNFINISHED: &str = "only commit, rollback and drop take the connection";

impl Tx {
    /// The transaction that a connection has just begun. Without `returned`, dropping it closes the connection.
    pub(super) fn new(
        connection: Connection,
        signals: Arc<Signals>,
        operation: &'static str,
        returned: Option<Returned>,
    ) -> Self {
        let connection = Some(connection);
        let after_commit = AfterCommit::default();
        Self { connection, failed: false, appended: false, signals, returned, operation, after_commit }
    }

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

    /// Lets this transaction's statements take longer than others.
    pub(crate) async fn statements_within(&mut self, limit: Duration) -> Result<()> {
        let set = sqlx::query(STATEMENT_TIMEOUT);
        self.execute(set.bind(limit.as_millis().to_string())).await?;
        self.connection().statements_take(limit);
        Ok(())
    }

    /// Which server the transaction is on.
    pub(super) async fn server(&mut self) -> Result<ServerIdentity> {
        let server = self.connection().server().await;
        self.failed |= server.is_err();
        server
    }

    /// An event was appended: the commit tells the sequencer.
    pub(super) fn has_appended(&mut self) {
        self.appended = true;
    }

    /// Does something once the transaction is committed, and not at all when it is not or when that is unknown: nothing that
    /// anybody relies on.
    pub(crate) fn after_commit(&mut self, act: impl FnOnce() + Send + 'static) {
        self.after_commit.0.push(Box::new(act));
    }

    /// Everything is done, and shall be kept.
    pub fn commit<T>(self, value: T) -> Finished<T> {
        Finished { tx: self, is_to_commit: true, value }
    }

    /// Nothing of it shall be kept.
    pub fn abandon<T>(self, value: T) -> Finished<T> {
        Finished { tx: self, is_to_commit: false, value }
    }

    /// Commits. When the database does not answer, whether it did is unknown.
    ///
    /// # Errors
    /// When it was not committed, or that is unknown.
    pub async fn commit_now(mut self) -> Result<()> {
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
                self.signals.appended();
            }
            std::mem::take(&mut self.after_commit.0).into_iter().for_each(|act| act());
        }
        result
    }

    /// Rolls back, at once and keeping the connection.
    pub async fn rollback(mut self) {
        let returned = Returned::default();
        self.returned = Some(returned.clone());
        drop(self);
        returned.roll_back().await;
    }

    fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect(UNFINISHED)
    }
}

impl<T> Finished<T> {
    /// Commits, if that was the wish, and gives the value. Else the connection is where it is [`Returned`] to.
    pub(super) async fn end(self) -> Result<T> {
        if self.is_to_commit {
            self.tx.commit_now().await?;
        }
        Ok(self.value)
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        // Otherwise it is dropped here: into the pool after a commit, else closed.
        if connection.has_open_transaction()
            && let Some(returned) = &self.returned
        {
            *returned.0.lock().expect("no holder of this lock panics") = Some(connection);
        }
    }
}

impl Returned {
    /// Rolls back on the connection that was left here, if one was.
    pub(super) async fn roll_back(&self) {
        let connection = self.0.lock().expect("no holder of this lock panics").take();
        if let Some(mut connection) = connection {
            // If it fails, dropping the connection closes it, which rolls back as well.
            if let Err(error) = connection.finish("ROLLBACK").await {
                tracing::debug!(error = &error as &dyn std::error::Error, "could not roll back; closing");
            }
        }
    }
}
