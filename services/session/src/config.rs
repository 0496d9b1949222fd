//! The configuration, read once at the start. `--help` is the reference.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::{Args, Parser, Subcommand};
use runtime::admin::HealthConfig;
use runtime::config::{
    Edges, EventBusConfig, PeerEdge, ServerConfig, ServiceTokenConfig, TelemetryConfig, human, peer_url,
    redis_url, secret, time_span,
};
use runtime::doctor;
use serde::Serialize;
use types::{DatabaseUrl, SystemClock, SystemIds};

use crate::admission::Admission;
use crate::domain::{Lifetimes, LoginLimits, SourceLimits};
use crate::storage::{Appended, StoreOptions};

/// Where the service listens unless told otherwise.
pub const LISTEN: &str = "0.0.0.0:50053";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "session-service", about = "Sessions, on Redis", version)]
pub struct Command {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Serve until SIGTERM; the default when no command is given.
    Serve(Box<Config>),
    /// Check that Redis may keep sessions, note the layout of the keys, load the scripts.
    Migrate(MigrateConfig),
    /// Say whether everything that the service takes for granted of its database is so, and exit; 1 if it is not.
    Doctor(DoctorConfig),
    /// Ask the process on this machine whether it is ready, and exit; 1 if it is not.
    Health(HealthConfig),
}

/// Everything that `migrate` needs.
#[derive(Debug, Clone, Args, Serialize)]
pub struct MigrateConfig {
    /// Where logs go.
    #[command(flatten)]
    pub telemetry: TelemetryConfig,
    /// The database.
    #[command(flatten)]
    pub redis: RedisConfig,
}

/// Everything that `doctor` needs.
#[derive(Debug, Clone, Args)]
pub struct DoctorConfig {
    /// The database.
    #[command(flatten)]
    pub redis: RedisConfig,
    /// Redis whose Pub/Sub carries the events, to see that it is another one than that of the sessions.
    #[arg(long, env = "REDIS_EVENTS_URL", value_name = "URL", hide_env_values = true, value_parser = redis_url)]
    pub redis_events_url: Option<DatabaseUrl>,
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
    pub redis: RedisConfig,
    /// How long sessions live.
    #[command(flatten)]
    pub sessions: SessionConfig,
    /// How failed logins slow down the next ones.
    #[command(flatten)]
    pub logins: LoginConfig,
    /// The Redis that carries events.
    #[command(flatten)]
    pub event_bus: EventBusConfig,
    /// The other services.
    #[command(flatten)]
    pub peers: PeerConfig,
}

/// The database.
#[derive(Debug, Clone, Args, Serialize)]
#[command(next_help_heading = "Redis")]
pub struct RedisConfig {
    /// `redis://user:password@host:port/number`: Redis 7 with `appendonly yes`, `appendfsync always` and
    /// `maxmemory-policy noeviction`. Its own server, or at least its own number. Where Sentinels tell which server is the
    /// master: `redis-sentinel://user:password@host:port,host:port/number?master=name`. `file:<path>` reads the address from
    /// a file, again for each new connection: its login may be renewed.
    #[arg(long = "redis-session-url", env = "REDIS_SESSION_URL", value_name = "URL", hide_env_values = true, value_parser = redis_url)]
    #[serde(serialize_with = "secret")]
    pub url: DatabaseUrl,
    /// Connections of the whole process, however many threads it has: one for each thread as far as they go, else one for
    /// several. Each carries any number of commands at a time, and is kept.
    #[arg(long = "redis-session-connections", env = "REDIS_SESSION_CONNECTIONS", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// Longest time for one command; a Redis that takes longer counts as unavailable.
    #[arg(long = "redis-command-timeout", env = "REDIS_COMMAND_TIMEOUT", default_value = "200ms", value_parser = time_span)]
    #[serde(serialize_with = "human")]
    pub command_timeout: Duration,
}

/// How long sessions live, and how many there may be.
#[derive(Debug, Clone, Copy, Args, Serialize)]
#[command(next_help_heading = "Sessions")]
pub struct SessionConfig {
    /// Life of an access token.
    #[arg(long = "access-token-life", env = "ACCESS_TOKEN_LIFE", default_value = "15m", value_parser = time_span)]
    #[serde(serialize_with = "human")]
    pub access_life: Duration,
    /// Life of a session that is not used.
    #[arg(long, env = "SESSION_IDLE_LIFE", default_value = "30m", value_parser = time_span)]
    #[serde(serialize_with = "human")]
    pub session_idle_life: Duration,
    /// Life of a session, however much it is used.
    #[arg(long, env = "SESSION_LIFE", default_value = "12h", value_parser = time_span)]
    #[serde(serialize_with = "human")]
    pub session_life: Duration,
    /// The time of a session's last use is stored at most this often.
    #[arg(long, env = "SESSION_TOUCH_INTERVAL", default_value = "1m", value_parser = time_span)]
    #[serde(serialize_with = "human")]
    pub session_touch_interval: Duration,
    /// Sessions of one user; a further login ends the oldest.
    #[arg(long, env = "SESSIONS_PER_USER_MAX", default_value_t = 100)]
    pub sessions_per_user_max: u32,
    /// How often a session may be refreshed before it ends. Each used refresh token is kept, to notice a second use.
    /// The default is far more than a session's life needs, and far less than would fill Redis.
    #[arg(long, env = "ROTATED_TOKENS_MAX", default_value_t = 500)]
    pub rotated_tokens_max: u32,
    /// About how many events each of the 16 streams keeps.
    #[arg(long, env = "SESSION_STREAM_LENGTH", default_value_t = 10_000)]
    pub session_stream_length: u32,
    /// How long the answer to a request is kept for repeats with its `request_id`.
    #[arg(long, env = "REQUEST_LIFE", default_value = "24h", value_parser = time_span)]
    #[serde(serialize_with = "human")]
    pub request_life: Duration,
}

/// How failed logins slow down the next ones. A source is an IPv4 address or a /64 of IPv6. Behind a proxy, everybody's
/// source is the proxy.
#[derive(Debug, Clone, Copy, Args, Serialize)]
#[command(next_help_heading = "Logins")]
pub struct LoginConfig {
    /// Passwords that the whole process checks at the same time; further logins are refused at once.
    #[arg(long, env = "LOGIN_CHECKS_MAX", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub login_checks_max: u32,
    /// Failures of one source over all addresses within `LOGIN_SOURCE_PERIOD`, counted by each process. Behind a proxy,
    /// allow as many as for all users together.
    #[arg(long, env = "LOGIN_SOURCE_FAILURES_MAX", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub login_source_failures_max: u32,
    /// The time in which all of these failures are forgotten, gradually.
    #[arg(long, env = "LOGIN_SOURCE_PERIOD", default_value = "10m", value_parser = time_span)]
    #[serde(serialize_with = "human")]
    pub login_source_period: Duration,
    /// Failures of an address from one source that cause no wait.
    #[arg(long, env = "LOGIN_FREE_FAILURES", default_value_t = 5)]
    pub login_free_failures: u32,
    /// Simultaneous tries of an address from one source, as long as its failures cause no wait; later only one.
    #[arg(long, env = "LOGIN_TRIES_AT_ONCE", default_value_t = 32)]
    pub login_tries_at_once: u32,
    /// Failures of an address from all sources together that cause no wait. Sources from which it has logged in lately
    /// do not count.
    #[arg(long, env = "LOGIN_FREE_FAILURES_IN_ALL", default_value_t = 50)]
    pub login_free_failures_in_all: u32,
    /// Simultaneous tries of an address from all such sources, as long as these failures cause no wait; later only one.
    #[arg(long, env = "LOGIN_TRIES_AT_ONCE_IN_ALL", default_value_t = 128)]
    pub login_tries_at_once_in_all: u32,
    /// How long an address keeps a source from which it has logged in. Its logins from there are slowed down only by
    /// failures from there.
    #[arg(long, env = "LOGIN_KNOWN_SOURCE_LIFE", default_value = "30d", value_parser = time_span)]
    #[serde(serialize_with = "human")]
    pub login_known_source_life: Duration,
    /// How many such sources an address keeps, the latest ones.
    #[arg(long, env = "LOGIN_KNOWN_SOURCES_MAX", default_value_t = 10)]
    pub login_known_sources_max: u32,
    /// The first wait; each further failure doubles it.
    #[arg(long, env = "LOGIN_FIRST_WAIT", default_value = "1s", value_parser = time_span)]
    #[serde(serialize_with = "human")]
    pub login_first_wait: Duration,
    /// The longest wait. Somebody who fails on purpose can make an address wait only where it has not logged in lately.
    #[arg(long, env = "LOGIN_LONGEST_WAIT", default_value = "1m", value_parser = time_span)]
    #[serde(serialize_with = "human")]
    pub login_longest_wait: Duration,
    /// Failures are forgotten after this time without another one.
    #[arg(long, env = "LOGIN_FAILURE_MEMORY", default_value = "1h", value_parser = time_span)]
    #[serde(serialize_with = "human")]
    pub login_failure_memory: Duration,
    /// The same for failures that cause no wait. It is short, since anybody can invent addresses to fail with.
    #[arg(long, env = "LOGIN_FREE_FAILURE_MEMORY", default_value = "5m", value_parser = time_span)]
    #[serde(serialize_with = "human")]
    pub login_free_failure_memory: Duration,
}

/// The other services that this one calls.
#[derive(Debug, Clone, Args, Serialize)]
#[command(next_help_heading = "Peers")]
pub struct PeerConfig {
    /// User service.
    #[arg(long, env = "USER_URL", value_name = "URL", value_parser = peer_url)]
    pub user_url: String,
}

/// How long a login counts as in progress after its process has died; longer than any call may take.
const TRY_LIFE: Duration = Duration::from_secs(10);

impl Config {
    /// Refuses settings of TLS and of tokens that do not fit together.
    pub(crate) fn check_edges(&self) -> Result<()> {
        self.server.tls.check(Edges {
            tokens: &self.service_tokens,
            peers: &[PeerEdge { flag: "--user-url", name: "user-service", url: &self.peers.user_url }],
            databases: &[
                ("--redis-session-url", &self.redis.url),
                ("--redis-events-url", &self.event_bus.redis_events_url),
            ],
        })
    }

    /// What admits logins; one for the whole process.
    pub(crate) fn admission(&self) -> Admission {
        let limits = SourceLimits {
            failures: self.logins.login_source_failures_max,
            within: self.logins.login_source_period,
        };
        Admission::new(self.logins.login_checks_max as usize, limits)
    }

    /// The options of the store. The whole process shares `appended`.
    ///
    /// # Errors
    /// When limits contradict each other.
    pub(crate) fn store_options(&self, appended: &Arc<Appended>) -> Result<StoreOptions> {
        let (sessions, logins) = (&self.sessions, &self.logins);
        let lifetimes = Lifetimes {
            access: sessions.access_life,
            idle: sessions.session_idle_life,
            absolute: sessions.session_life,
            touch: sessions.session_touch_interval,
            sessions_per_user: sessions.sessions_per_user_max,
            rotated_max: sessions.rotated_tokens_max,
            request: sessions.request_life,
            stream_length: sessions.session_stream_length,
        };
        lifetimes.check().map_err(|rule| anyhow!(rule))?;
        let login_limits = LoginLimits {
            free_failures: logins.login_free_failures,
            tries_at_once: logins.login_tries_at_once,
            free_failures_in_all: logins.login_free_failures_in_all,
            tries_at_once_in_all: logins.login_tries_at_once_in_all,
            known_life: logins.login_known_source_life,
            known_max: logins.login_known_sources_max,
            try_life: TRY_LIFE,
            first_wait: logins.login_first_wait,
            longest_wait: logins.login_longest_wait,
            memory: logins.login_failure_memory,
            free_memory: logins.login_free_failure_memory.min(logins.login_failure_memory),
        };
        login_limits.check().map_err(|rule| anyhow!(rule))?;
        Ok(StoreOptions {
            lifetimes,
            login_limits,
            command_timeout: self.redis.command_timeout,
            ids: Arc::new(SystemIds),
            clock: Arc::new(SystemClock),
            appended: Arc::clone(appended),
        })
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
