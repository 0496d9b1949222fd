//! The database that is looked at.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use runtime::doctor::Seen;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, FromRow};
use tokio::sync::Mutex;
use tokio::time::timeout;
use types::chain;

use crate::config::PostgresConfig;
use crate::error::Error;
use crate::storage::{Signals, Store, Use, reach, state_of};

const NAME: &str = "order-service-doctor";
const REACHED_WITHIN: Duration = Duration::from_secs(5);
const WHERE_TO_LOOK: &str =
    "look at host and port of POSTGRES_URL, at listen_addresses, and at firewalls between";

/// A database, open.
#[derive(Debug)]
pub struct Place {
    pub(super) config: PostgresConfig,
    pub(super) replicas: usize,
    options: PgConnectOptions,
    /// Statements go over it one by one, in messages of their own, so that a pooler does no harm.
    sql: Mutex<PgConnection>,
    /// As the service has it.
    pub(super) store: Store,
}

impl Place {
    /// Opens the database.
    ///
    /// # Errors
    /// What was found instead.
    pub async fn open(config: PostgresConfig, replicas: usize) -> Result<Self, Seen> {
        let unusable = |error: Error| Seen::failed(chain(&error), WHERE_TO_LOOK);
        let options = reach(&config.postgres_url.now(), NAME).map_err(unusable)?;
        let sql = match timeout(REACHED_WITHIN, options.connect()).await {
            Ok(connected) => connected.map_err(|error| Seen::failed(told(&error), mend_login(&error)))?,
            Err(_) => return Err(Seen::failed("no answer", WHERE_TO_LOOK)),
        };
        let store = Store::open(&config, Use::Calls, Arc::<Signals>::default()).map_err(unusable)?;
        Ok(Self { config, replicas, options, sql: Mutex::new(sql), store })
    }

    /// The one row that a query has.
    pub(super) async fn row<T>(&self, query: impl Into<String>) -> anyhow::Result<T>
    where
        T: for<'r> FromRow<'r, PgRow>,
    {
        let row = sqlx::raw_sql(AssertSqlSafe(query.into())).fetch_one(&mut *self.sql.lock().await).await?;
        Ok(T::from_row(&row)?)
    }

    /// The rows of a query.
    pub(super) async fn rows<T>(&self, query: impl Into<String>) -> anyhow::Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, PgRow>,
    {
        let rows = sqlx::raw_sql(AssertSqlSafe(query.into())).fetch_all(&mut *self.sql.lock().await).await?;
        rows.iter().map(|row| T::from_row(row).context("a row")).collect()
    }

    /// A setting, as a session without settings of its own has it.
    pub(super) async fn setting(&self, name: &str) -> anyhow::Result<String> {
        let (value,): (String,) = self.row(format!("SELECT current_setting('{name}')")).await?;
        Ok(value)
    }

    /// Another connection.
    pub(super) async fn another(&self) -> anyhow::Result<PgConnection> {
        Ok(self.options.connect().await?)
    }

    /// The names of the role and the database, to be typed in a statement.
    pub(super) async fn names(&self) -> anyhow::Result<(String, String)> {
        self.row("SELECT quote_ident(current_user), quote_ident(current_database())").await
    }
}

/// What the server says, without the driver's words around it.
pub(super) fn told(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| chain(error), |refused| refused.message().to_owned())
}

/// What helps when a login is refused.
fn mend_login(error: &sqlx::Error) -> &'static str {
    match state_of(error).as_deref() {
        Some("28P01" | "28000") => {
            "ALTER ROLE <role> LOGIN PASSWORD '<password>', or a line of pg_hba.conf for this machine"
        }
        Some("3D000") => "CREATE DATABASE <database> OWNER <role>",
        Some("42501") => "GRANT CONNECT ON DATABASE <database> TO <role>",
        Some("53300") => "let max_connections, or the limit of the role or the database, be higher",
        Some("08P01") => {
            "POSTGRES_POOLER=transaction, if a pooler is meant, or the address of PostgreSQL itself"
        }
        _ => WHERE_TO_LOOK,
    }
}
