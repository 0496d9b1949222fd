//! Variables of the environment that were probably meant for a setting and have another name. clap reads those that it
//! knows, and nothing would ever say that the others are without effect.

use std::fmt;

/// The variables of all services. Those of one environment are often given to all of them, so each service knows the
/// others' too. The tests of a service fail when one of its own is missing.
const SETTINGS: &[&str] = &[
    "ACCESS_TOKEN_LIFE",
    "ADMIN_LISTEN",
    "ARGON2_LANES",
    "ARGON2_MEMORY_KIB",
    "ARGON2_PASSES",
    "AUDIT_EVERY",
    "AUDIT_FULL_EVERY",
    "CALLS_MAX",
    "CALLS_PER_PEER_MAX",
    "CONCURRENT_STREAMS_MAX",
    "CONNECTIONS_MAX",
    "CONNECTIONS_PER_PEER_MAX",
    "CONNECTION_AGE_GRACE",
    "CONNECTION_AGE_MAX",
    "DRAIN_DELAY",
    "DRAIN_TIMEOUT",
    "FIRST_REQUEST_TIMEOUT",
    "IDLE_TIMEOUT",
    "KEEPALIVE_INTERVAL",
    "KEEPALIVE_TIMEOUT",
    "LISTEN",
    "LOGIN_CHECKS_MAX",
    "LOGIN_FAILURE_MEMORY",
    "LOGIN_FIRST_WAIT",
    "LOGIN_FREE_FAILURES",
    "LOGIN_FREE_FAILURES_IN_ALL",
    "LOGIN_FREE_FAILURE_MEMORY",
    "LOGIN_KNOWN_SOURCES_MAX",
    "LOGIN_KNOWN_SOURCE_LIFE",
    "LOGIN_LONGEST_WAIT",
    "LOGIN_SOURCE_FAILURES_MAX",
    "LOGIN_SOURCE_PERIOD",
    "LOGIN_TRIES_AT_ONCE",
    "LOGIN_TRIES_AT_ONCE_IN_ALL",
    "LOG_FILTER",
    "LOG_FORMAT",
    "MESSAGE_SIZE_MAX",
    "MONGODB_CONNECTIONS",
    "MONGODB_CONNECTION_IDLE",
    "MONGODB_URL",
    "ORDER_URL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OUTBOX_BATCH_WAIT_MAX",
    "OUTBOX_PRUNE_EVERY",
    "OUTBOX_RETENTION",
    "PASSWORD_QUEUE",
    "POSTGRES_CONNECTIONS",
    "POSTGRES_CONNECTION_AGE",
    "POSTGRES_CONNECTION_IDLE",
    "POSTGRES_CONNECTION_WAIT",
    "POSTGRES_LOCK_TIMEOUT",
    "POSTGRES_POOLER",
    "POSTGRES_STATEMENT_TIMEOUT",
    "POSTGRES_URL",
    // The address of the Redis for caches, which `cargo xtask env` prints with the others.
    "REDIS_CACHE_URL",
    "REDIS_COMMAND_TIMEOUT",
    "REDIS_EVENTS_URL",
    "REDIS_SESSION_CONNECTIONS",
    "REDIS_SESSION_URL",
    "REFLECTION",
    "REPLICAS",
    "REQUEST_DEADLINE",
    "REQUEST_LIFE",
    "REQUIRE_TLS",
    "ROTATED_TOKENS_MAX",
    "SERVICE_TOKEN",
    "SERVICE_TOKENS",
    "SESSIONS_PER_USER_MAX",
    "SESSION_IDLE_LIFE",
    "SESSION_LIFE",
    "SESSION_STREAM_LENGTH",
    "SESSION_TOUCH_INTERVAL",
    "SESSION_URL",
    "SOURCE_REVISION",
    "STREAMS_MAX",
    "STREAMS_PER_PEER_MAX",
    "THREADS",
    "TLS_CA",
    "TLS_CERTIFICATE",
    "TLS_KEY",
    "TLS_PEER_IDS",
    "TRACE_RATIO",
    "TRANSFER_ATTEMPTS",
    "TRANSFER_DEADLINE",
    "TRANSFER_LOOK_AFTER",
    "TRANSFER_LOOK_CAP",
    "TRANSFER_RECOVERY_POLL",
    "USER_URL",
];

/// What is no setting and is meant to be there: the logins of other users of the database, which `cargo xtask env` gives to a
/// shell.
const LOGINS: [&str; 3] = ["MONGODB_ADMIN_URL", "MONGODB_MIGRATE_URL", "MONGODB_READER_URL"];

/// What people put before the names of a system's variables.
const PREFIX: &str = "TRISTORE_";

/// A variable that is set and is no setting, and the setting that it looks like. Its value is not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misnamed {
    name: String,
    meant: &'static str,
}

impl Misnamed {
    /// The variable.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The setting that it looks like.
    #[must_use]
    pub fn meant(&self) -> &'static str {
        self.meant
    }
}

impl fmt::Display for Misnamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The name is quoted, with what is not visible in it.
        write!(f, "the variable {:?} is not known; is {} meant?", self.name, self.meant)
    }
}

/// The variables of the environment that look like a setting and are none.
#[must_use]
pub fn misnamed() -> Vec<Misnamed> {
    among(std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()))
}

/// The variables of a service's settings that the list of all settings lacks, for a test of each service.
#[must_use]
pub fn unlisted(command: &clap::Command) -> Vec<String> {
    let own = command.get_arguments().filter_map(clap::Arg::get_env);
    let own = own.map(|name| name.to_string_lossy().into_owned());
    let below = command.get_subcommands().flat_map(unlisted);
    own.chain(below).filter(|name| !is_setting(name)).collect()
}

fn among(names: impl Iterator<Item = String>) -> Vec<Misnamed> {
    let mut found: Vec<_> =
        names.filter_map(|name| meant_by(&name).map(|meant| Misnamed { name, meant })).collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

fn is_setting(name: &str) -> bool {
    SETTINGS.contains(&name)
}

/// The setting that a name was probably meant for.
fn meant_by(name: &str) -> Option<&'static str> {
    if is_setting(name) || LOGINS.contains(&name) || is_of_kubernetes(name) {
        return None;
    }
    let plain = plain(name);
    let plain = plain.strip_prefix(PREFIX).unwrap_or(&plain);
    let alike = SETTINGS.iter().filter(|setting| looks_like(plain, setting));
    alike.min_by_key(|setting| strsim::osa_distance(plain, setting)).copied()
}

/// Kubernetes tells each container of the namespace's services so, and what it tells is an address, never a setting.
fn is_of_kubernetes(name: &str) -> bool {
    name.ends_with("_PORT")
        || ["_PORT_", "_SERVICE_HOST", "_SERVICE_PORT"].iter().any(|part| name.contains(part))
}

/// In capitals, words joined by one underscore each.
fn plain(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_").to_ascii_uppercase()
}

/// Whether `name` is the setting with a slip of the keyboard or with another word in it. Names of two words or more,
/// since anything may look like one word.
fn looks_like(name: &str, setting: &str) -> bool {
    if strsim::osa_distance(name, setting) <= 1 {
        return true;
    }
    let (words, theirs): (Vec<_>, Vec<_>) = (name.split('_').collect(), setting.split('_').collect());
    if words.len() == theirs.len() && words.iter().zip(&theirs).all(|(word, their)| is_slip(word, their)) {
        return true;
    }
    // OpenTelemetry has many variables of the same words, each with its own meaning.
    if theirs.len() < 2 || setting.starts_with("OTEL_") {
        return false;
    }
    let has_ends = words.first() == theirs.first() && words.last() == theirs.last();
    let has_begin = words.len() > 2 && words[..2] == theirs[..2];
    let has_words = {
        let (mut words, mut theirs) = (words.clone(), theirs.clone());
        words.sort_unstable();
        theirs.sort_unstable();
        words == theirs
    };
    has_ends || has_begin || has_words
}

/// Whether one word is the other with a slip of the keyboard, shortened, or in the other number.
fn is_slip(one: &str, other: &str) -> bool {
    let (shorter, longer) = if one.len() < other.len() { (one, other) } else { (other, one) };
    let allowed = if shorter.len() < 8 { 1 } else { 2 };
    strsim::osa_distance(one, other) <= allowed || (shorter.len() >= 4 && longer.starts_with(shorter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_nearly_a_setting_is_found() {
        for (name, meant) in [
            ("ORDER_ULR", "ORDER_URL"),
            ("ODRER_ULR", "ORDER_URL"),
            ("ORDERS_URL", "ORDER_URL"),
            ("ORDERURL", "ORDER_URL"),
            ("ORDER_URI", "ORDER_URL"),
            ("order_url", "ORDER_URL"),
            ("ORDER-URL", "ORDER_URL"),
            ("ORDER_URL ", "ORDER_URL"),
            ("TRISTORE_ORDER_URL", "ORDER_URL"),
            ("ORDER_SERVICE_URL", "ORDER_URL"),
            ("USER_URL_FILE", "USER_URL"),
            ("URL_SESSION", "SESSION_URL"),
            ("SESION_ULR", "SESSION_URL"),
            ("MONGO_URL", "MONGODB_URL"),
            ("MONGODB_URI", "MONGODB_URL"),
            ("POSTGRESQL_URL", "POSTGRES_URL"),
            ("POSTGRES_CONECTIONS", "POSTGRES_CONNECTIONS"),
            ("POSTGRES_STATEMENT_LIMIT", "POSTGRES_STATEMENT_TIMEOUT"),
            ("REDIS_SESSIONS_URL", "REDIS_SESSION_URL"),
            ("REDIS_EVENT_URL", "REDIS_EVENTS_URL"),
            ("THREAD", "THREADS"),
            ("LISTEN_", "LISTEN"),
            ("LOG_FILTERS", "LOG_FILTER"),
            ("MAX_CALLS", "CALLS_MAX"),
            ("REQUEST_DEADLINE_MS", "REQUEST_DEADLINE"),
            ("OTEL_EXPORTER_OTLP_ENPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ] {
            assert_eq!(meant_by(name), Some(meant), "{name}");
        }
    }

    #[test]
    fn what_others_set_is_left_alone() {
        let others = [
            "PATH",
            "HOME",
            "USER",
            "LOGNAME",
            "HOSTNAME",
            "TERM",
            "LANG",
            "RUST_LOG",
            "RUST_BACKTRACE",
            "LISTEN_FDS",
            "LISTEN_PID",
            "SESSION_MANAGER",
            "XDG_SESSION_ID",
            "USER_UID",
            "LOG_FILE",
            "LOG_LEVEL",
            "DATABASE_URL",
            "POSTGRES_PASSWORD",
            "POSTGRES_USER",
            "POSTGRES_DB",
            "POSTGRES_HOST_AUTH_METHOD",
            "MONGO_INITDB_ROOT_PASSWORD",
            "REDIS_PASSWORD",
            "REDIS_SESSION_PORT",
            "REDIS_SESSION_SERVICE_HOST",
            "REDIS_SESSION_PORT_6379_TCP_ADDR",
            "ORDER_SERVICE_PORT_GRPC",
            "ORDER_PORT",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "OTEL_SERVICE_NAME",
            "TRISTORE_STATE",
            "TRISTORE_TOKEN",
            "MONGODB_ADMIN_URL",
            "MONGODB_MIGRATE_URL",
            "MONGODB_READER_URL",
            "FAULT_FLAW",
            "",
        ];
        for name in others.iter().chain(SETTINGS) {
            assert_eq!(meant_by(name), None, "{name}");
        }
    }

    #[test]
    fn it_is_told_with_the_name_and_without_the_value() {
        let [misnamed] = &among(["PATH".to_owned(), "ORDER_ULR\u{7}".to_owned()].into_iter())[..] else {
            panic!("not one");
        };
        assert_eq!(
            misnamed.to_string(),
            r#"the variable "ORDER_ULR\u{7}" is not known; is ORDER_URL meant?"#
        );
    }

    #[test]
    fn the_list_has_the_settings_of_every_service() {
        #[derive(clap::Parser)]
        struct Sections {
            #[command(flatten)]
            server: super::super::ServerConfig,
            #[command(flatten)]
            telemetry: super::super::TelemetryConfig,
            #[arg(long, env = "UNHEARD_OF")]
            own: Option<String>,
        }
        let command = <Sections as clap::CommandFactory>::command();
        assert_eq!(unlisted(&command), ["UNHEARD_OF"]);
    }
}
