//! The configuration, read once at the start. `--help` is the reference.

use std::time::Duration;

use clap::Args;
use runtime::config::{
    Edges, EventBusConfig, OutboxConfig, PeerEdge, ServerConfig, ServiceTokenConfig, TelemetryConfig, human,
    mongodb_url, peer_url, secret, time_span,
};
use runtime::doctor;
use serde::Serialize;
use types::DatabaseUrl;

/// Where the service listens unless told otherwise.
pub const LISTEN: &str = "0.0.0.0:50051";
/// Connections to MongoDB of one process, unless told otherwise.
const CONNECTIONS: u32 = 64;
/// The connections of a client, besides those for its users, by which it watches a member of the replica set.
const WATCHING: usize = 2;
/// A client with fewer would let its cores wait although others have connections to spare.
pub(crate) const CONNECTIONS_OF_CLIENT: usize = 16;

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
    pub mongo: MongoConfig,
    /// How passwords are hashed.
    #[command(flatten)]
    pub passwords: PasswordConfig,
    /// The Redis that carries events.
    #[command(flatten)]
    pub event_bus: EventBusConfig,
    /// The other services.
    #[command(flatten)]
    pub peers: PeerConfig,
    /// The outbox.
    #[command(flatten)]
    pub outbox: OutboxConfig,
}

/// Everything that `doctor` needs.
#[derive(Debug, Clone, Args)]
pub struct DoctorConfig {
    /// The database, with the login of the service.
    #[command(flatten)]
    pub mongo: MongoConfig,
    /// The same server with a login that may make and drop databases, which that of the service may not. With it the scratch
    /// database is made, and what the service's login may not read is read.
    #[arg(long, env = "MONGODB_ADMIN_URL", value_name = "URL", hide_env_values = true, value_parser = mongodb_url)]
    pub admin_url: Option<DatabaseUrl>,
    /// Have the primary step down while the scratch database is written to. Everybody who uses the replica set notices.
    #[arg(long)]
    pub failover: bool,
    /// How it prints.
    #[command(flatten)]
    pub options: doctor::Options,
}

/// The database.
#[derive(Debug, Clone, Args, Serialize)]
#[command(next_help_heading = "MongoDB")]
pub struct MongoConfig {
    /// `mongodb://user:password@host:port,.../database?replicaSet=name&authSource=admin`. It must be a replica set, since
    /// transactions need one; the user is looked for in `database` unless `authSource` names another. `file:<path>` reads
    /// it from a file, every two seconds: its login may be renewed, and so may the files that it names.
    #[arg(long = "mongodb-url", env = "MONGODB_URL", value_name = "URL", hide_env_values = true, value_parser = mongodb_url)]
    #[serde(serialize_with = "secret")]
    pub url: DatabaseUrl,
    /// Connections of the whole process to each member of the replica set, at least 2. They are shared out among clients of
    /// 16 connections or more, one for each thread or for several; each client has two more for watching a member.
    #[arg(long = "mongodb-connections", env = "MONGODB_CONNECTIONS", default_value_t = CONNECTIONS, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub connections: u32,
    /// A connection that was not used for this time is closed.
    #[arg(long = "mongodb-connection-idle", env = "MONGODB_CONNECTION_IDLE", default_value = "1m", value_parser = time_span)]
    #[serde(serialize_with = "human")]
    pub connection_idle: Duration,
}

impl MongoConfig {
    /// The defaults, for a database at `url`.
    #[must_use]
    pub fn for_tests(url: &str) -> Self {
        Self {
            url: url.to_owned().into(),
            connections: CONNECTIONS,
            connection_idle: Duration::from_secs(60),
        }
    }

    /// The most connections of a process with so many clients to one member of the replica set.
    pub(crate) fn connections_of(&self, clients: usize) -> usize {
        self.connections as usize + clients * WATCHING
    }

    /// For one of so many clients, which share the connections.
    pub(crate) fn of_one_client(&self, clients: usize) -> Self {
        let clients = u32::try_from(clients).unwrap_or(u32::MAX).max(1);
        Self { connections: (self.connections / clients).max(1), ..self.clone() }
    }
}

/// How passwords are hashed, with Argon2id. After a parameter is raised, each old hash is renewed at the next login.
/// Lowering one changes no old hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args, Serialize)]
#[command(next_help_heading = "Passwords")]
pub struct PasswordConfig {
    /// Memory of one hash, in KiB.
    #[arg(long = "argon2-memory-kib", env = "ARGON2_MEMORY_KIB", default_value_t = 19_456)]
    pub memory_kib: u32,
    /// Passes over that memory.
    #[arg(long = "argon2-passes", env = "ARGON2_PASSES", default_value_t = 2)]
    pub passes: u32,
    /// Lanes of one hash, which are computed one after the other.
    #[arg(long = "argon2-lanes", env = "ARGON2_LANES", default_value_t = 1)]
    pub lanes: u32,
    /// Hashes that may wait for a core; further ones are refused.
    #[arg(long = "password-queue", env = "PASSWORD_QUEUE", default_value_t = 64)]
    pub queue: usize,
}

impl Config {
    /// Refuses settings of TLS and of tokens that do not fit together.
    pub(crate) fn check_edges(&self) -> anyhow::Result<()> {
        self.server.tls.check(Edges {
            tokens: &self.service_tokens,
            peers: &[
                PeerEdge { flag: "--session-url", name: "session-service", url: &self.peers.session_url },
                PeerEdge { flag: "--order-url", name: "order-service", url: &self.peers.order_url },
            ],
            databases: &[
                ("--mongodb-url", &self.mongo.url),
                ("--redis-events-url", &self.event_bus.redis_events_url),
            ],
        })
    }
}

/// The other services that this one calls.
#[derive(Debug, Clone, Args, Serialize)]
#[command(next_help_heading = "Peers")]
pub struct PeerConfig {
    /// Session service.
    #[arg(long, env = "SESSION_URL", value_name = "URL", value_parser = peer_url)]
    pub session_url: String,
    /// Order service.
    #[arg(long, env = "ORDER_URL", value_name = "URL", value_parser = peer_url)]
    pub order_url: String,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use runtime::connections::clients;

    use super::*;

    #[test]
    fn all_clients_together_keep_the_limit_of_the_process() {
        for (connections, threads, each) in
            [(64, 1, 64), (64, 2, 32), (64, 48, 16), (40, 48, 20), (10, 48, 10), (2, 2, 2)]
        {
            let config = MongoConfig { connections, ..MongoConfig::for_tests("mongodb://host/db") };
            let count = clients(connections as usize, CONNECTIONS_OF_CLIENT, threads);
            let share = config.of_one_client(count).connections;
            assert_eq!(share, each, "{connections} connections, {threads} threads");
            assert!(share as usize * count <= connections as usize);
        }
    }

    #[test]
    fn the_list_of_all_settings_has_those_of_this_service() {
        #[derive(clap::Parser)]
        struct Arguments {
            #[command(flatten)]
            _config: Config,
        }
        assert_eq!(runtime::config::unlisted(&Arguments::command()), [""; 0]);
    }
}
