//! A session with PostgreSQL: how it is set, how it is opened, and which server it is with.
//!
//! Straight to the server, the settings are given when the session is opened, and hold for its life; statements are
//! prepared once. Through a pooler in transaction mode each transaction may be in another session of the server's. So
//! the settings go with each BEGIN, in the same round trip, and nothing is kept in a session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, FromRow};
use tokio::time::timeout;

use super::driver::not_opened;
use crate::config::{Pooler, PostgresConfig};
use crate::error::{Error, Result};

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Calls.
    Calls,
    /// The sequencer, consumers and recovery: a paused owner may not hold a row past its lease.
    Workers,
}

impl Use {
    /// How the pool for it is called in metrics.
    pub(super) fn pool(self) -> &'static str {
        match self {
            Self::Calls => "postgresql-calls",
            Self::Workers => "postgresql-workers",
        }
    }
}

const WORKERS_IDLE_IN_TRANSACTION: Duration = Duration::from_secs(2);
const CALLS_IDLE_IN_TRANSACTION: Duration = Duration::from_secs(5);
/// Longer than a wait for a free connection: under load, opening one is slow because many are opened.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An answer is waited for this much longer than its statement may take.
pub(super) const ANSWER_DELAY: Duration = Duration::from_secs(1);
/// Fails on a standby: nothing of this service can be done there.
pub(super) const WHICH_SERVER: &str =
    "SELECT system_identifier::text, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS timeline
     FROM pg_control_system()";

/// An open session with the server, or with a pooler before it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) connection: PgConnection,
    /// Which server it was with when it was opened.
    pub(super) identity: ServerIdentity,
    pub(super) answers_within: Duration,
    opened_at: Instant,
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
    config: PostgresConfig,
    usage: Use,
    pub(super) beginning: Beginning,
    answers_within: Duration,
}

/// How a transaction begins.
#[derive(Debug, Clone)]
pub(super) enum Beginning {
    /// In a session that has the settings already.
    Plain,
    /// In a session that nothing is known of: with this statement, which has the settings in it.
    WithSettings(Arc<str>),
}

/// How to reach the database of a URL. Nothing is asked for that a pooler would refuse.
///
/// # Errors
/// When it is not a URL of PostgreSQL.
pub(crate) fn reach(url: &SecretString, name: &str) -> Result<PgConnectOptions> {
    let options: PgConnectOptions = url
        .expose_secret()
        .parse()
        .map_err(|_| Error::internal("POSTGRES_URL is not a URL of PostgreSQL"))?;
    // Numbers travel in binary form, so that it is of no use how many digits of a text are shown.
    // The callers' spans tell; a query's text never belongs into a log at INFO.
    Ok(options.application_name(name).extra_float_digits(None).disable_statement_logging())
}

impl Connector {
    /// For sessions of one use; nothing is connected yet.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub(super) fn new(config: &PostgresConfig, usage: Use) -> Result<Self> {
        let beginning = match config.postgres_pooler {
            Pooler::None => Beginning::Plain,
            Pooler::Transaction => Beginning::WithSettings(begin_with(&settings(config, usage)).into()),
        };
        let answers_within = config.statement_timeout + ANSWER_DELAY;
        let connector = Self { config: config.clone(), usage, beginning, answers_within };
        connector.options(&config.postgres_url.now())?;
        Ok(connector)
    }

    fn options(&self, url: &SecretString) -> Result<PgConnectOptions> {
        let name = match self.usage {
            Use::Calls => "order-service",
            Use::Workers => "order-service-workers",
        };
        let options = reach(url, name)?;
        Ok(match self.beginning {
            Beginning::Plain => options.options(settings(&self.config, self.usage)),
            Beginning::WithSettings(_) => options,
        })
    }

    /// Opens a session.
    ///
    /// # Errors
    /// When the server cannot be reached, or is a standby.
    pub(super) async fn open(&self) -> Result<Session> {
        let options = self.options(&self.config.postgres_url.latest().await)?;
        let open = async {
            let mut connection = options.connect().await?;
            let row = sqlx::raw_sql(WHICH_SERVER).fetch_one(&mut connection).await?;
            let identity = ServerIdentity::from_row(&row)?;
            let answers_within = self.answers_within;
            Ok(Session { connection, identity, answers_within, opened_at: Instant::now() })
        };
        let late = |_| Err(Error::unavailable("the database did not open a session in time"));
        timeout(CONNECT_TIMEOUT, open).await.unwrap_or_else(late).map_err(not_opened)
    }

    /// Whether a session may still be used.
    pub(super) fn is_young(&self, session: &Session) -> bool {
        session.opened_at.elapsed() < self.config.connection_age
    }
}

fn settings(config: &PostgresConfig, usage: Use) -> [(&'static str, String); 9] {
    let idle_in_transaction = match usage {
        Use::Calls => CALLS_IDLE_IN_TRANSACTION,
        Use::Workers => WORKERS_IDLE_IN_TRANSACTION,
    };
    let millis = |duration: Duration| duration.as_millis().to_string();
    [
        ("statement_timeout", millis(config.statement_timeout)),
        ("lock_timeout", millis(config.lock_timeout)),
        ("idle_in_transaction_session_timeout", millis(idle_in_transaction)),
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
    ]
}

/// The settings of the sessions for calls.
pub(crate) fn session_settings(config: &PostgresConfig) -> [(&'static str, String); 9] {
    settings(config, Use::Calls)
}

/// How a transaction with these settings begins in a session without settings of its own.
pub(crate) fn begin_with_settings(config: &PostgresConfig) -> String {
    begin_with(&session_settings(config))
}

/// Several statements in one message. The isolation level is said at once, since the default is too late for the
/// transaction that sets it; READ WRITE fails on a standby.
fn begin_with(settings: &[(&str, String)]) -> String {
    let set = settings.iter().map(|(name, value)| format!("; SET LOCAL {name} = '{value}'"));
    format!("BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE{}", set.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn through_a_pooler_the_settings_go_with_the_beginning_of_each_transaction() {
        let config = PostgresConfig::for_tests("postgres://user:s3cret@host/order");
        let pooled = PostgresConfig { postgres_pooler: Pooler::Transaction, ..config.clone() };
        let connector = Connector::new(&pooled, Use::Workers).unwrap();
        let Beginning::WithSettings(begin) = &connector.beginning else {
            panic!("{:?}", connector.beginning)
        };
        assert!(begin.starts_with("BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE; SET LOCAL "), "{begin}");
        assert!(begin.contains("; SET LOCAL idle_in_transaction_session_timeout = '2000'; "), "{begin}");
        assert_eq!(connector.options(&config.postgres_url.now()).unwrap().get_options(), None);
        let direct = Connector::new(&config, Use::Workers).unwrap();
        assert!(matches!(direct.beginning, Beginning::Plain));
        let options = direct.options(&config.postgres_url.now()).unwrap();
        assert!(options.get_options().unwrap().contains("-c idle_in_transaction_session_timeout=2000"));
    }
}
