//! The configuration: one section a concern, each field a flag and a name in the environment.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use runtime::admin::HealthConfig;
use runtime::config::{
    Edges, EventBusConfig, OutboxConfig, PeerEdge, ServerConfig, ServiceTokenConfig, TelemetryConfig,
    duration, human, peer_url, postgres_url, secret, time_span,
};
use runtime::doctor;
use serde::Serialize;
use types::DatabaseUrl;

/// Where the service listens unless told otherwise.
pub const LISTEN: &str = "0.0.0.0:50052";
/// Connections to PostgreSQL of one process, unless told otherwise.
const POSTGRES_CONNECTIONS: usize = 28;

/// What the binary can do.
#[derive(Debug, Parser)]
#[command(name = "order-service", version, about = "Products, orders, accounts and transfers, on PostgreSQL")]
pub struct Command {
    /// The command; `serve` when none is given.
    #[command(subcommand)]
    pub action: Action,
}

/// The commands of the binary.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Serve until SIGTERM.
    Serve(Box<Config>),
    /// Apply the missing migrations, and exit.
    Migrate(PostgresConfig),
    /// Give the streams new epochs, and exit. Part of every restore, before the service starts.
    NewEpoch(PostgresConfig),
    /// Say whether everything that the service takes for granted of its database is so, and exit; 1 if it is not.
    Doctor(DoctorConfig),
    /// Ask the process on this machine whether it is ready, and exit; 1 if it is not.
    Health(HealthConfig),
}

/// Everything that `doctor` needs.
#[derive(Debug, Clone, Args)]
pub struct DoctorConfig {
    /// The database.
    #[command(flatten)]
    pub postgres: PostgresConfig,
    /// How it prints.
    #[command(flatten)]
    pub options: doctor::Options,
}

/// Everything that `serve` needs.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Config {
    /// How it listens.
    #[command(flatten)]
    pub server: ServerConfig,
    /// Where logs and traces go.
    #[command(flatten)]
    pub telemetry: TelemetryConfig,
    /// The tokens by which services recognise each other.
    #[command(flatten)]
    pub service_tokens: ServiceTokenConfig,
    /// The database.
    #[command(flatten)]
    pub postgres: PostgresConfig,
    /// The Redis that carries events.
    #[command(flatten)]
    pub event_bus: EventBusConfig,
    /// The other services.
    #[command(flatten)]
    pub peers: PeerConfig,
    /// The outbox.
    #[command(flatten)]
    pub outbox: OutboxConfig,
    /// Transfers of credit.
    #[command(flatten)]
    pub transfers: TransferConfig,
    /// The audit of both books.
    #[command(flatten)]
    pub audit: AuditConfig,
}

impl Config {
    /// Refuses settings of TLS and of tokens that do not fit together.
    pub(crate) fn check_edges(&self) -> anyhow::Result<()> {
        self.server.tls.check(Edges {
            tokens: &self.service_tokens,
            peers: &[
                PeerEdge { flag: "--user-url", name: "user-service", url: &self.peers.user_url },
                PeerEdge { flag: "--session-url", name: "session-service", url: &self.peers.session_url },
            ],
            databases: &[
                ("--postgres-url", &self.postgres.postgres_url),
                ("--redis-events-url", &self.event_bus.redis_events_url),
            ],
        })
    }
}

/// The other services that this one calls.
#[derive(Debug, Clone, Args, Serialize)]
#[command(next_help_heading = "Peers")]
pub struct PeerConfig {
    /// User service.
    #[arg(long, env = "USER_URL", value_name = "URL", value_parser = peer_url)]
    pub user_url: String,
    /// Session service.
    #[arg(long, env = "SESSION_URL", value_name = "URL", value_parser = peer_url)]
    pub session_url: String,
}

/// The connections to PostgreSQL.
#[derive(Debug, Clone, Args, Serialize)]
#[command(next_help_heading = "PostgreSQL")]
pub struct PostgresConfig {
    /// The database, such as `postgres://user:password@host:5432/order`; `file:<path>` reads it from a file, again
    /// for each new connection: its login may be renewed.
    #[arg(long, env = "POSTGRES_URL", value_name = "URL", hide_env_values = true, value_parser = postgres_url)]
    #[serde(serialize_with = "secret")]
    pub postgres_url: DatabaseUrl,
    /// What the URL leads to.
    #[arg(long, env = "POSTGRES_POOLER", value_enum, default_value_t)]
    pub postgres_pooler: Pooler,
    /// Connections of the whole process, at least 2; a third of them, and 8 at the most, are for the background workers.
    /// Three replicas with the default, and 8 connections of others, fit the 100 that PostgreSQL allows by default.
    #[arg(long, env = "POSTGRES_CONNECTIONS", default_value_t = POSTGRES_CONNECTIONS, value_parser = connections)]
    pub postgres_connections: usize,
    /// A connection that was not used for this time is closed.
    #[arg(long = "postgres-connection-idle", env = "POSTGRES_CONNECTION_IDLE", default_value = "1m", value_parser = time_span)]
    #[serde(serialize_with = "human")]
    pub connection_idle: Duration,
    /// Time to wait for a free connection.
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

/// Who answers at the database's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooler {
    /// PostgreSQL itself.
    #[default]
    None,
    /// A pooler that gives each transaction any session that is free, such as PgBouncer with `pool_mode = transaction`.
    /// It need not know prepared statements; each statement takes more round trips.
    Transaction,
}

/// What a number of connections must be.
fn connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 2..=10_000) => Ok(number),
        Ok(_) | Err(_) => Err("not a number from 2 to 10000".to_owned()),
    }
}

impl PostgresConfig {
    /// The defaults, for a database at `url`.
    #[must_use]
    pub fn for_tests(url: &str) -> Self {
        Self {
            postgres_url: url.to_owned().into(),
            postgres_pooler: Pooler::None,
            postgres_connections: POSTGRES_CONNECTIONS,
            connection_idle: Duration::from_secs(60),
            connection_wait: Duration::from_secs(2),
            connection_age: Duration::from_secs(1800),
            statement_timeout: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(4),
        }
    }
}

/// How long transfers may take, and how the recovery worker helps those that take longer.
#[derive(Debug, Clone, Copy, Args, Serialize)]
#[command(next_help_heading = "Transfers")]
pub struct TransferConfig {
    /// A transfer that is still undecided after this time is cancelled, whatever the deadline of the call that started
    /// it.
    #[arg(long, env = "TRANSFER_DEADLINE", default_value = "30s", value_parser = duration)]
    #[serde(serialize_with = "human")]
    pub transfer_deadline: Duration,
    /// How long after its decision an unfinished transfer gets its first look from the recovery worker.
    #[arg(long = "transfer-look-after", env = "TRANSFER_LOOK_AFTER", default_value = "5s", value_parser = duration)]
    #[serde(serialize_with = "human")]
    pub look_after: Duration,
    /// The longest pause between two looks.
    #[arg(long = "transfer-look-cap", env = "TRANSFER_LOOK_CAP", default_value = "60s", value_parser = duration)]
    #[serde(serialize_with = "human")]
    pub look_cap: Duration,
    /// After this many looks, a warning asks for an operator. The looks go on.
    #[arg(long = "transfer-attempts", env = "TRANSFER_ATTEMPTS", default_value_t = 10)]
    pub attempts_budget: i32,
    /// How often the recovery worker asks for transfers that are due.
    #[arg(long = "transfer-recovery-poll", env = "TRANSFER_RECOVERY_POLL", default_value = "500ms", value_parser = duration)]
    #[serde(serialize_with = "human")]
    pub recovery_poll: Duration,
}

/// How often both books are compared.
#[derive(Debug, Clone, Copy, Args, Serialize)]
#[command(next_help_heading = "Audit")]
pub struct AuditConfig {
    /// The time between two audits; with 0s the service audits only on request.
    #[arg(long = "audit-every", env = "AUDIT_EVERY", default_value = "60s", value_parser = duration)]
    #[serde(serialize_with = "human")]
    pub every: Duration,
    /// The time between two audits that read both books from their first entries.
    #[arg(long = "audit-full-every", env = "AUDIT_FULL_EVERY", default_value = "24h", value_parser = duration)]
    #[serde(serialize_with = "human")]
    pub full_every: Duration,
}

impl Default for TransferConfig {
    fn default() -> Self {
        Self {
            transfer_deadline: Duration::from_secs(30),
            look_after: Duration::from_secs(5),
            look_cap: Duration::from_secs(60),
            attempts_budget: 10,
            recovery_poll: Duration::from_millis(500),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_list_of_all_settings_has_those_of_this_service() {
        assert_eq!(runtime::config::unlisted(&Command::command()), [""; 0]);
    }
}
