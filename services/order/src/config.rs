//! The configuration: one section a concern, each field a flag and a name in the environment.

use std::time::Duration;

use clap::Args;
use runtime::config::{duration, human, secret, secret_value};
use secrecy::SecretString;
use serde::Serialize;

/// How PostgreSQL is reached.
#[derive(Debug, Clone, Args, Serialize)]
#[command(next_help_heading = "PostgreSQL")]
pub struct PostgresConfig {
    /// The database, such as `postgres://user:password@host:5432/order`; `file:<path>` reads it from a file.
    #[arg(long, env = "POSTGRES_URL", value_name = "URL", hide_env_values = true, value_parser = secret_value)]
    #[serde(serialize_with = "secret")]
    pub postgres_url: SecretString,
    /// Connections for calls, for each thread.
    #[arg(long, env = "POSTGRES_CONNECTIONS", default_value_t = 16)]
    pub postgres_connections: usize,
    /// Time to wait for a free connection, or for a new one.
    #[arg(long = "postgres-connection-wait", env = "POSTGRES_CONNECTION_WAIT", default_value = "2s", value_parser = duration)]
    #[serde(serialize_with = "human")]
    pub connection_wait: Duration,
    /// A connection of this age is replaced, so that load spreads after a failover.
    #[arg(long = "postgres-connection-age", env = "POSTGRES_CONNECTION_AGE", default_value = "30m", value_parser = duration)]
    #[serde(serialize_with = "human")]
    pub connection_age: Duration,
    /// Longest time for one statement.
    #[arg(long = "postgres-statement-timeout", env = "POSTGRES_STATEMENT_TIMEOUT", default_value = "5s", value_parser = duration)]
    #[serde(serialize_with = "human")]
    pub statement_timeout: Duration,
    /// Longest wait for a row that another transaction has locked.
    #[arg(long = "postgres-lock-timeout", env = "POSTGRES_LOCK_TIMEOUT", default_value = "4s", value_parser = duration)]
    #[serde(serialize_with = "human")]
    pub lock_timeout: Duration,
}

impl PostgresConfig {
    /// The defaults, for a database at `url`.
    #[must_use]
    pub fn for_tests(url: &str) -> Self {
        Self {
            postgres_url: url.to_owned().into(),
            postgres_connections: 16,
            connection_wait: Duration::from_secs(2),
            connection_age: Duration::from_secs(1800),
            statement_timeout: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(4),
        }
    }
}
