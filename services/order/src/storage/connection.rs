//! A session of the pool, in use: its statements, and whether it may go back.
//!
//! [`Connection`] knows whether a statement or a transaction is unfinished when it is dropped (the client hung up, the
//! deadline passed), and then the session leaves the pool and its socket is closed. PostgreSQL looks at its clients'
//! sockets every 250 ms, so locks are free again soon after.
//!
//! A server that is cut off answers nothing, and its own time limits do not help then. So each statement has a time
//! limit on our side too.
//!
//! Through a pooler a statement on its own gets a transaction of its own: sqlx prepares it in one exchange and runs it in
//! the next, which would otherwise meet different sessions of the server's. It is never named, because names live in a
//! session, and poolers before PgBouncer 1.21 do not follow them.

use std::time::Duration;

use runtime::connections::Lease;
use sqlx::postgres::{PgArguments, PgConnection, PgRow, Postgres};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Executor as _, FromRow};
use tokio::time::timeout;
use types::Connection as Outlook;

use super::driver::connection_after;
use super::operations::Operation;
use super::session::{ANSWER_DELAY, Beginning, ServerIdentity, Session, WHICH_SERVER};
use crate::error::Result;

/// A session of the pool, for as long as it is needed.
#[derive(Debug)]
pub(crate) struct Connection {
    session: Option<Lease<Session>>,
    beginning: Beginning,
    in_flight: bool,
    transaction: Transaction,
    /// The worst that an error so far means for the session.
    outlook: Outlook,
    answers_within: Duration,
}

/// Which transaction is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transaction {
    None,
    /// The next statement's own, which ends with it.
    OfStatement,
    /// One that is ended by who began it.
    Begun,
}

impl Connection {
    pub(super) fn new(session: Lease<Session>, beginning: Beginning) -> Self {
        let answers_within = session.answers_within;
        Self {
            session: Some(session),
            beginning,
            in_flight: false,
            transaction: Transaction::None,
            outlook: Outlook::GoesOn,
            answers_within,
        }
    }

    /// Runs a statement and tells how many rows it changed.
    pub(crate) async fn execute(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<u64> {
        let query = self.before(query).await?;
        let operation = Operation::begin();
        let result = within(self.answers_within, self.start().execute(operation.heard(query))).await;
        operation.ended(&result);
        let result = self.end(result);
        Ok(self.after(result).await?.rows_affected())
    }

    /// Runs a statement and reads its rows.
    pub(crate) async fn rows<T>(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, PgRow>,
    {
        let query = self.before(query).await?;
        let operation = Operation::begin();
        let result = within(self.answers_within, self.start().fetch_all(operation.heard(query))).await;
        operation.ended(&result);
        let result = self.end(result);
        self.after(result).await?.iter().map(|row| Ok(T::from_row(row)?)).collect()
    }

    /// Runs a statement and reads its first row, if there is one.
    pub(crate) async fn row<T>(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Option<T>>
    where
        T: for<'r> FromRow<'r, PgRow>,
    {
        let query = self.before(query).await?;
        let operation = Operation::begin();
        let result = within(self.answers_within, self.start().fetch_optional(operation.heard(query))).await;
        operation.ended(&result);
        let result = self.end(result);
        self.after(result).await?.map(|row| Ok(T::from_row(&row)?)).transpose()
    }

    /// Opens a transaction: from now on this connection is closed when it is dropped.
    pub(super) async fn begin(&mut self) -> Result<()> {
        // Where several statements are sent at once, the first may have begun it although a later one failed.
        self.transaction = Transaction::Begun;
        match &self.beginning {
            Beginning::Plain => self.simple("BEGIN").await,
            Beginning::WithSettings(begin) => {
                let begin = sqlx::raw_sql(AssertSqlSafe(begin.clone()));
                let operation = Operation::of("BEGIN");
                let result = within(self.answers_within, begin.execute(self.start())).await;
                operation.ended(&result);
                self.end(result).map(drop)
            }
        }
    }

    /// Ends the transaction, with `COMMIT` or `ROLLBACK`.
    pub(super) async fn finish(&mut self, statement: &'static str) -> Result<()> {
        self.simple(statement).await?;
        self.transaction = Transaction::None;
        Ok(())
    }

    /// Whether the session is over, or must not be used further.
    pub(super) fn is_broken(&self) -> bool {
        self.outlook != Outlook::GoesOn
    }

    /// Whether it has a transaction open that can be rolled back.
    pub(super) fn has_open_transaction(&self) -> bool {
        self.transaction != Transaction::None && !self.in_flight && !self.is_broken()
    }

    /// Which server the next statement runs on.
    pub(super) async fn server(&mut self) -> Result<ServerIdentity> {
        if matches!(self.beginning, Beginning::Plain) {
            return Ok(self.session.as_ref().expect(PRESENT).identity.clone());
        }
        // Behind a pooler there may be another server by now, but not within a transaction.
        self.open_for_statement().await?;
        let which = sqlx::raw_sql(WHICH_SERVER);
        let operation = Operation::of(WHICH_SERVER);
        let result = within(self.answers_within, which.fetch_one(self.start())).await;
        operation.ended(&result);
        let row = self.end(result)?;
        Ok(ServerIdentity::from_row(&row)?)
    }

    /// The server was told to let statements take as long as this.
    pub(super) fn statements_take(&mut self, limit: Duration) {
        self.answers_within = limit + ANSWER_DELAY;
    }

    /// Gets ready for a statement.
    async fn before<'q>(
        &mut self,
        query: Query<'q, Postgres, PgArguments>,
    ) -> Result<Query<'q, Postgres, PgArguments>> {
        match self.beginning {
            Beginning::Plain => Ok(query),
            Beginning::WithSettings(_) => {
                self.open_for_statement().await?;
                Ok(query.persistent(false))
            }
        }
    }

    /// Ends the transaction that a statement had to itself.
    async fn after<T>(&mut self, result: Result<T>) -> Result<T> {
        if self.transaction != Transaction::OfStatement {
            return result;
        }
        match result {
            Ok(value) => {
                self.finish("COMMIT").await?;
                Ok(value)
            }
            Err(error) => {
                if self.has_open_transaction()
                    && let Err(error) = self.finish("ROLLBACK").await
                {
                    // Dropping the connection closes it, which rolls back as well.
                    tracing::debug!(error = &error as &dyn std::error::Error, "could not roll back; closing");
                }
                Err(error)
            }
        }
    }

    async fn open_for_statement(&mut self) -> Result<()> {
        if self.transaction == Transaction::None {
            self.begin().await?;
            self.transaction = Transaction::OfStatement;
        }
        Ok(())
    }

    async fn simple(&mut self, statement: &'static str) -> Result<()> {
        let operation = Operation::of(statement);
        let result = within(self.answers_within, sqlx::raw_sql(statement).execute(self.start())).await;
        operation.ended(&result);
        self.end(result).map(drop)
    }

    fn start(&mut self) -> &mut PgConnection {
        self.in_flight = true;
        &mut self.session.as_mut().expect(PRESENT).connection
    }

    fn end<T>(&mut self, result: sqlx::Result<T>) -> Result<T> {
        self.in_flight = false;
        result.map_err(|error| {
            self.outlook = self.outlook.max(connection_after(&error));
            error.into()
        })
    }
}

const PRESENT: &str = "only drop takes the session";

/// An answer that does not come in time means that the connection is broken.
async fn within<T>(limit: Duration, answer: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    match timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(late) => Err(sqlx::Error::Io(late.into())),
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        if self.outlook == Outlook::AllReplaced {
            session.clear_pool();
        }
        if self.in_flight || self.transaction != Transaction::None || self.is_broken() {
            session.close();
        }
    }
}
