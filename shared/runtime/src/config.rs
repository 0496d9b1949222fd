//! The sections of configuration that all binaries share. Each is a clap struct to flatten; each field has a
//! flag and a name in the environment, and `--help` is the reference.
//!
//! The environment is read here, once, at the start. Secrets are [`SecretString`]s; [`masked`] prints the
//! effective configuration without them. A setting that cannot be meant is refused with its flag and its variable, and
//! a variable that is nearly a setting is told of ([`misnamed`]).

mod database_url;
mod mask;
mod names;
mod parse;
mod refused;
mod tls;
mod url;

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use events::{Continues, SequencerOptions};
use secrecy::SecretString;
use serde::Serialize;
use types::DatabaseUrl;

use crate::telemetry::set_parents;

pub use database_url::{ParsedUrl, mongodb_url, postgres_url, redis_url};
pub use mask::{human, masked, redact_url, secret};
pub use names::{Misnamed, misnamed, unlisted};
pub use parse::{ParsedSecret, at_least_one, duration, parse_from, secret_value, time_span};
pub(crate) use tls::recognisable;
pub use tls::{Edges, PeerEdge, TlsConfig};
pub use url::peer_url;

/// Processes of a service that share its database, unless told otherwise.
pub const REPLICAS: usize = 3;

/// How the server listens, and its limits.
#[derive(Debug, Clone, Args, Serialize)]
#[command(next_help_heading = "Server")]
pub struct ServerConfig {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, env = "LISTEN", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Address of the admin port, where whoever runs the process asks `/livez` and `/readyz`; port 0 takes a free one.
    /// [default: ten above the port of `--listen`, on the loopback address]
    #[arg(long, env = "ADMIN_LISTEN", value_name = "ADDRESS")]
    pub admin_listen: Option<SocketAddr>,
    /// Single-threaded runtimes, each with a listener of its own; by default one for each CPU that the process may use.
    #[arg(long, env = "THREADS", default_value_t = parse::cpus(), value_parser = parse::threads)]
    pub threads: usize,
    /// Processes of this service that share its database. The start warns when so many may need more connections than the
    /// database allows.
    #[arg(long, env = "REPLICAS", default_value_t = REPLICAS, value_parser = at_least_one)]
    pub replicas: usize,
    /// The commit that the program was built from, for the metric `build_info`. The images set it. It is not compiled in, so
    /// that a commit which changes no code changes no program.
    #[arg(long, env = "SOURCE_REVISION", default_value = "unknown")]
    pub source_revision: String,
    /// Longest time for a call that is not a stream; a client may ask for less.
    #[arg(long, env = "REQUEST_DEADLINE", default_value = "5s", value_parser = time_span)]
    #[serde(serialize_with = "human")]
    pub request_deadline: Duration,
    /// Longest request message, in bytes; at most 4 MiB.
    #[arg(long, env = "MESSAGE_SIZE_MAX", default_value_t = 64 * 1024, value_parser = parse::message_size)]
    pub message_size_max: usize,
    /// Calls in progress in the whole process, not counting streams; further ones are refused at once. Calls of
    /// services have the same number of places to themselves.
    #[arg(long, env = "CALLS_MAX", default_value_t = 1_000, value_parser = at_least_one)]
    pub calls_max: usize,
    /// Calls in progress from one source: an IPv4 address, or a /64 of IPv6. Services are exempt. Behind a proxy that
    /// makes everybody's calls, set it to `CALLS_MAX`, since the proxy is then the only source.
    #[arg(long, env = "CALLS_PER_PEER_MAX", default_value_t = 250, value_parser = at_least_one)]
    pub calls_per_peer_max: usize,
    /// Open streams in the whole process; further ones are refused at once. Streams of services have the same number of
    /// places to themselves.
    #[arg(long, env = "STREAMS_MAX", default_value_t = 1_000, value_parser = at_least_one)]
    pub streams_max: usize,
    /// Open streams from one source, counted as calls are.
    #[arg(long, env = "STREAMS_PER_PEER_MAX", default_value_t = 250, value_parser = at_least_one)]
    pub streams_per_peer_max: usize,
    /// Open connections in the whole process.
    #[arg(long, env = "CONNECTIONS_MAX", default_value_t = 4_096, value_parser = at_least_one)]
    pub connections_max: usize,
    /// Open connections from one source.
    #[arg(long, env = "CONNECTIONS_PER_PEER_MAX", default_value_t = 1_024, value_parser = at_least_one)]
    pub connections_per_peer_max: usize,
    /// Calls in progress on one connection, streams included.
    #[arg(long, env = "CONCURRENT_STREAMS_MAX", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub concurrent_streams_max: u32,
    /// Time from accepting a connection to its first request.
    #[arg(long, env = "FIRST_REQUEST_TIMEOUT", default_value = "5s", value_parser = time_span)]
    #[serde(serialize_with = "human")]
    pub first_request_timeout: Duration,
    /// A connection without a call for this long is closed.
    #[arg(long, env = "IDLE_TIMEOUT", default_value = "5m", value_parser = time_span)]
    #[serde(serialize_with = "human")]
    pub idle_timeout: Duration,
    /// Time between HTTP/2 pings.
    #[arg(long, env = "KEEPALIVE_INTERVAL", default_value = "30s", value_parser = time_span)]
    #[serde(serialize_with = "human")]
    pub keepalive_interval: Duration,
    /// Time to answer a ping.
    #[arg(long, env = "KEEPALIVE_TIMEOUT", default_value = "10s", value_parser = time_span)]
    #[serde(serialize_with = "human")]
    pub keepalive_timeout: Duration,
    /// A connection is asked to close at this age, plus or minus a tenth, so that load spreads over all servers again.
    #[arg(long, env = "CONNECTION_AGE_MAX", default_value = "10m", value_parser = time_span)]
    #[serde(serialize_with = "human")]
    pub connection_age_max: Duration,
    /// Time for the calls of a connection that was asked to close.
    #[arg(long, env = "CONNECTION_AGE_GRACE", default_value = "30s", value_parser = time_span)]
    #[serde(serialize_with = "human")]
    pub connection_age_grace: Duration,
    /// Time to go on serving after SIGTERM, until load balancers have noticed; 5s in Kubernetes.
    #[arg(long, env = "DRAIN_DELAY", default_value = "0s", value_parser = duration)]
    #[serde(serialize_with = "human")]
    pub drain_delay: Duration,
    /// Time for calls in progress at shutdown, then for the background workers.
    #[arg(long, env = "DRAIN_TIMEOUT", default_value = "20s", value_parser = time_span)]
    #[serde(serialize_with = "human")]
    pub drain_timeout: Duration,
    /// Serve gRPC reflection, for grpcurl.
    #[arg(long, env = "REFLECTION", default_value_t = true, action = clap::ArgAction::Set)]
    pub reflection: bool,
    /// TLS, on the port and to peers.
    #[command(flatten)]
    #[serde(flatten)]
    pub tls: TlsConfig,
}

impl ServerConfig {
    /// The defaults, on a free port of the loopback address, with one thread: for tests.
    #[must_use]
    pub fn for_tests() -> Self {
        #[derive(clap::Parser)]
        struct Only {
            #[command(flatten)]
            server: ServerConfig,
        }
        let free = "127.0.0.1:0";
        let arguments = ["test", "--listen", free, "--admin-listen", free, "--threads", "1"];
        <Only as clap::Parser>::parse_from(arguments).server
    }
}

/// Where logs and traces go.
#[derive(Debug, Clone, Args, Serialize)]
#[command(next_help_heading = "Telemetry")]
pub struct TelemetryConfig {
    /// How log lines look, on standard error.
    #[arg(long, env = "LOG_FORMAT", default_value = "json", value_enum)]
    pub log_format: LogFormat,
    /// Which log lines, in the syntax of `tracing_subscriber::EnvFilter`, such as `info,order_service=debug`.
    #[arg(long, env = "LOG_FILTER", default_value = "info", value_parser = parse::filter)]
    pub log_filter: String,
    /// OTLP collector, over gRPC; without one no spans are exported.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", value_parser = url::collector_url)]
    pub otlp_endpoint: Option<String>,
    /// Share of the traces that are exported, from 0 to 1. It counts for traces that begin here or come from an outside
    /// caller; for those that come from another service, that service has decided.
    #[arg(long, env = "TRACE_RATIO", default_value_t = 0.1, value_parser = parse::ratio)]
    pub trace_ratio: f64,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            log_format: LogFormat::Json,
            log_filter: "info".to_owned(),
            otlp_endpoint: None,
            trace_ratio: 0.1,
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a terminal.
    Human,
}

/// The Redis over which services tell each other of new events.
#[derive(Debug, Clone, Args, Serialize)]
#[command(next_help_heading = "Events")]
pub struct EventBusConfig {
    /// Redis whose Pub/Sub carries the events; without it they arrive later. `file:<path>` reads the address from a file, again
    /// for each new connection: its login may be renewed.
    #[arg(long, env = "REDIS_EVENTS_URL", value_name = "URL", hide_env_values = true, value_parser = redis_url)]
    #[serde(serialize_with = "secret")]
    pub redis_events_url: DatabaseUrl,
}

/// How long a service keeps its own events.
#[derive(Debug, Clone, Copy, Args, Serialize)]
#[command(next_help_heading = "Outbox")]
pub struct OutboxConfig {
    /// How long an event is kept after every consumer has it, so that a restored consumer can catch up.
    #[arg(long = "outbox-retention", env = "OUTBOX_RETENTION", default_value = "7d", value_parser = duration)]
    #[serde(serialize_with = "human")]
    pub retention: Duration,
    /// How often old events are deleted.
    #[arg(long = "outbox-prune-every", env = "OUTBOX_PRUNE_EVERY", default_value = "1m", value_parser = duration)]
    #[serde(serialize_with = "human")]
    pub prune_every: Duration,
    /// The longest that an event of a busy stream waits for others to be stamped with it, up to 250ms; 0ms makes none wait.
    /// It is the pause after ten events or more. After fewer it is shorter: a quarter of it after one to three.
    #[arg(long = "outbox-batch-wait-max", env = "OUTBOX_BATCH_WAIT_MAX", default_value = "8ms", value_parser = parse::batch_wait)]
    #[serde(serialize_with = "human")]
    pub batch_wait_max: Duration,
}

impl OutboxConfig {
    /// For the sequencer of a service: its events go on in the traces that they came from.
    #[must_use]
    pub fn sequencer(self) -> SequencerOptions {
        let Self { retention, prune_every, batch_wait_max } = self;
        let continues = Some(set_parents as Continues);
        SequencerOptions { retention, prune_every, batch_wait_max, continues, ..SequencerOptions::default() }
    }
}

/// The secrets by which services recognise each other where they do not show certificates ([`TlsConfig`]).
#[derive(Debug, Clone, Default, Args, Serialize)]
#[command(next_help_heading = "Service tokens")]
pub struct ServiceTokenConfig {
    /// This service's own token, shown to its peers; `file:<path>` reads it from a file. Needed unless there is a certificate.
    #[arg(long, env = "SERVICE_TOKEN", value_name = "TOKEN", hide_env_values = true, value_parser = secret_value)]
    #[serde(serialize_with = "secret")]
    pub service_token: Option<SecretString>,
    /// The tokens of the services that may call, as `name=token,name=token`; `file:<path>` reads them from a
    /// file. A service that shows a certificate needs none.
    #[arg(long, env = "SERVICE_TOKENS", value_name = "LIST", hide_env_values = true, value_parser = secret_value)]
    #[serde(serialize_with = "secret")]
    pub service_tokens: Option<SecretString>,
}

impl ServiceTokenConfig {
    /// The tokens of the services that may call.
    ///
    /// # Errors
    /// When the list is malformed, or one of them is too short or a placeholder. Names the flag.
    pub fn accepted(&self) -> anyhow::Result<auth::ServiceTokens> {
        use anyhow::Context as _;
        let Some(tokens) = &self.service_tokens else { return Ok(auth::ServiceTokens::default()) };
        auth::ServiceTokens::parse(tokens).context("--service-tokens")
    }
}
