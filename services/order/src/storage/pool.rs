//! sqlx connections in a deadpool: sqlx's own pool pings the server after every use.
//!
//! What that ping would find out is known here: [`Connection`] knows whether a statement or a transaction is
//! unfinished when it is dropped (the client hung up, the deadline passed), and then the connection leaves the
//! pool and its socket is closed. PostgreSQL looks at its clients' sockets every 250 ms, so locks are free again
//! soon after.
//!
//! A server that is cut off answers nothing, and its own time limits do not help then. So each statement has a time
//! limit on our side too.
//!
//! **Invariant:** a connection in the pool has no statement in flight and no transaction open.

use std::time::{Duration, Instant};

use deadpool::Runtime;
use deadpool::managed::{Manager, Metrics, Object, Pool, QueueMode, RecycleError, RecycleResult};
use secrecy::ExposeSecret as _;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgRow, Postgres};
use sqlx::query::Query;
use sqlx::{ConnectOptions as _, FromRow};
use tokio::time::timeout;
use types::Connection as After;

use super::driver::connection_after;
use crate::config::PostgresConfig;
use crate::error::{Error, Result};

/// What a pool's connections are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Calls.
    Calls,
    /// The sequencer, consumers and recovery: a paused owner may not hold a row past its lease.
    Workers,
}

const WORKERS_IDLE_IN_TRANSACTION: Duration = Duration::from_secs(2);
const CALLS_IDLE_IN_TRANSACTION: Duration = Duration::from_secs(5);
const WORKER_CONNECTIONS: usize = 8;
/// Longer than a wait for a free connection: under load, opening one is slow because many are opened.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An answer is waited for this much longer than its statement may take.
const ANSWER_DELAY: Duration = Duration::from_secs(1);

/// An open session with the server.
#[derive(Debug)]
pub(super) struct Session {
    connection: PgConnection,
    identity: ServerIdentity,
    connected_at: Instant,
    answers_within: Duration,
}

/// Which server a session is with, and on which timeline. Another one may lack what this one committed.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(super) struct ServerIdentity {
    pub(super) system_identifier: String,
    pub(super) timeline: String,
}

/// Opens sessions.
#[derive(Debug)]
pub(super) struct Connector {
    options: PgConnectOptions,
    connection_age: Duration,
    answers_within: Duration,
}

impl Manager for Connector {
    type Type = Session;
    type Error = Error;

    async fn create(&self) -> Result<Session> {
        let mut connection = self.options.connect().await?;
        // Fails on a standby: nothing of this service can be done there.
        let identity = sqlx::query_as(
            "SELECT system_identifier::text, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS timeline
             FROM pg_control_system()",
        )
        .fetch_one(&mut connection)
        .await?;
        let answers_within = self.answers_within;
        Ok(Session { connection, identity, connected_at: Instant::now(), answers_within })
    }

    async fn recycle(&self, session: &mut Session, _: &Metrics) -> RecycleResult<Error> {
        if session.connected_at.elapsed() < self.connection_age {
            Ok(())
        } else {
            Err(RecycleError::message("it is old"))
        }
    }
}

/// Makes the pool, without connecting yet.
pub(super) fn open(config: &PostgresConfig, usage: Use) -> Result<Pool<Connector>> {
    let (name, idle, size) = match usage {
        Use::Calls => ("order-service", CALLS_IDLE_IN_TRANSACTION, config.postgres_connections),
        Use::Workers => ("order-service-workers", WORKERS_IDLE_IN_TRANSACTION, WORKER_CONNECTIONS),
    };
    let millis = |duration: Duration| duration.as_millis().to_string();
    let url: PgConnectOptions = config
        .postgres_url
        .expose_secret()
        .parse()
        .map_err(|_| Error::internal("POSTGRES_URL is not a URL of PostgreSQL"))?;
    let options = url
        .application_name(name)
        .options([
            ("statement_timeout", millis(config.statement_timeout)),
            ("lock_timeout", millis(config.lock_timeout)),
            ("idle_in_transaction_session_timeout", millis(idle)),
            ("client_connection_check_interval", "250".to_owned()),
            ("default_transaction_isolation", "read committed".to_owned()),
            ("timezone", "UTC".to_owned()),
            // Planning costs more than running: placing an order takes 0.5 ms of the server with a kept plan, 0.8 ms
            // without. Left alone, PostgreSQL never keeps plans of statements that take arrays. A plan that was made
            // while a table was small must be good when it is large, so none may read whole tables.
            ("plan_cache_mode", "force_generic_plan".to_owned()),
            ("enable_seqscan", "off".to_owned()),
            // Where a table of a few rows has to be read whole all the same, that setting makes it look so costly that
            // PostgreSQL compiles the statement first: 0.1 s or more, each time it runs.
            ("jit", "off".to_owned()),
        ])
        // The callers' spans tell; a query's text never belongs into a log at INFO.
        .disable_statement_logging();
    let answers_within = config.statement_timeout + ANSWER_DELAY;
    Pool::builder(Connector { options, connection_age: config.connection_age, answers_within })
        .max_size(size)
        .queue_mode(QueueMode::Lifo)
        .wait_timeout(Some(config.connection_wait))
        .create_timeout(Some(CONNECT_TIMEOUT))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(Error::internal)
}

/// A connection of the pool, for as long as it is needed.
#[derive(Debug)]
pub(crate) struct Connection {
    session: Option<Object<Connector>>,
    in_flight: bool,
    in_transaction: bool,
    /// The worst that an error so far means for the session.
    after: After,
    answers_within: Duration,
}

impl Connection {
    pub(super) fn new(session: Object<Connector>) -> Self {
        let answers_within = session.answers_within;
        Self {
            session: Some(session),
            in_flight: false,
            in_transaction: false,
            after: After::GoesOn,
            answers_within,
        }
    }

    /// Runs a statement and tells how many rows it changed.
    pub(crate) async fn execute(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<u64> {
        let result = within(self.answers_within, query.execute(self.start())).await;
        Ok(self.end(result)?.rows_affected())
    }

    /// Runs a statement and reads its rows.
    pub(crate) async fn rows<T>(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, PgRow>,
    {
        let result = within(self.answers_within, query.fetch_all(self.start())).await;
        self.end(result)?.iter().map(|row| T::from_row(row).map_err(Error::from)).collect()
    }

    /// Runs a statement and reads its first row, if there is one.
    pub(crate) async fn row<T>(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Option<T>>
    where
        T: for<'r> FromRow<'r, PgRow>,
    {
        let result = within(self.answers_within, query.fetch_optional(self.start())).await;
        self.end(result)?.map(|row| T::from_row(&row).map_err(Error::from)).transpose()
    }

    /// Opens a transaction: from now on this connection is closed when it is dropped.
    pub(super) async fn begin(&mut self) -> Result<()> {
        self.simple("BEGIN").await?;
        self.in_transaction = true;
        Ok(())
    }

    /// Ends the transaction, with `COMMIT` or `ROLLBACK`.
    pub(super) async fn finish(&mut self, statement: &'static str) -> Result<()> {
        self.simple(statement).await?;
        self.in_transaction = false;
        Ok(())
    }

    /// Whether the session is over, or must not be used further.
    pub(super) fn is_broken(&self) -> bool {
        self.after != After::GoesOn
    }

    /// Whether it has a transaction open that can be rolled back.
    pub(super) fn has_open_transaction(&self) -> bool {
        self.in_transaction && !self.in_flight && !self.is_broken()
    }

    /// Which server the session is with.
    pub(super) fn identity(&self) -> &ServerIdentity {
        &self.session.as_ref().expect(PRESENT).identity
    }

    /// The server was told to let statements take as long as this.
    pub(super) fn statements_take(&mut self, limit: Duration) {
        self.answers_within = limit + ANSWER_DELAY;
    }

    async fn simple(&mut self, statement: &'static str) -> Result<()> {
        let result = within(self.answers_within, sqlx::raw_sql(statement).execute(self.start())).await;
        self.end(result).map(drop)
    }

    fn start(&mut self) -> &mut PgConnection {
        self.in_flight = true;
        &mut self.session.as_mut().expect(PRESENT).connection
    }

    fn end<T>(&mut self, result: sqlx::Result<T>) -> Result<T> {
        self.in_flight = false;
        result.map_err(|error| {
            self.after = self.after.max(connection_after(&error));
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
        if self.after == After::AllReplaced
            && let Some(pool) = Object::pool(&session)
        {
            pool.retain(|_, _| false);
        }
        if self.in_flight || self.in_transaction || self.is_broken() {
            drop(Object::take(session));
        }
    }
}
