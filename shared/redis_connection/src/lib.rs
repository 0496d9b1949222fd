//! A connection to Redis: multiplexed, made when it is first used, and made again when it is lost.
//!
//! The driver has a manager for this, `redis::aio::ConnectionManager`, but it only comes back from I/O errors: when the
//! server refuses the set-up of a connection (a wrong password, a missing privilege, a number that it does not have), the
//! manager keeps that answer and gives it to everybody for ever. Here no failure to connect is kept for longer than the
//! pause before the next try, whatever it is.
//!
//! **Invariant:** [`SendError::NotConnected`] means that nothing was sent.

mod address;
mod current;
mod making;
#[cfg(test)]
mod refusing;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::database::Operations;
use redis::aio::MultiplexedConnection;
use redis::{Arg, Cmd, FromRedisValue, Pipeline, RedisError, Script, ScriptInvocation};

pub use address::Address;
pub use current::CurrentAddress;
use making::{Making, Number};
use tracing::Span;
use tracing::field::Empty;
use types::{TRACES_ONLY, in_trace};

static OPERATIONS: LazyLock<Operations> = LazyLock::new(|| Operations::of("redis", &COMMANDS));

/// What the services send. OpenTelemetry calls several commands at once a pipeline.
const COMMANDS: [&str; 10] =
    ["EVALSHA", "PIPELINE", "PING", "GET", "HMGET", "HGET", "XRANGE", "XREVRANGE", "TIME", "EXISTS"];

/// A command under way. It is counted when this is dropped, whether it was answered or given up.
struct Timed<'a> {
    operation: &'a str,
    began: Instant,
    span: Span,
}

impl<'a> Timed<'a> {
    fn begin(operation: &'a str) -> Self {
        let span = in_trace(|| {
            tracing::info_span!(
                target: TRACES_ONLY, "command",
                otel.kind = "client", otel.name = operation, otel.status_code = Empty,
                db.system.name = "redis", db.operation.name = operation
            )
        });
        Self { operation, began: Instant::now(), span }
    }
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        OPERATIONS.observe(self.operation, self.began.elapsed());
    }
}

/// Commands that are not answered for this long mean that the connection is dead.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// What a master says that has lost its replicas: perhaps to another one that Sentinels have made the master.
const NO_REPLICAS: &str = "NOREPLICAS";
/// The least time between two questions to Sentinels whether it is so.
const DOUBT_PAUSE: Duration = Duration::from_secs(1);

/// How a connection is used.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The longest time for one command, the wait for a connection included.
    pub answers_within: Duration,
    /// The longest time for making a connection: the server's welcome included.
    pub connects_within: Duration,
    /// Whether an error means that the connection must be replaced. One that broke is replaced in any case.
    pub is_over: fn(&RedisError) -> bool,
}

/// A command was not done, or its answer is not known.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// There is no connection, so nothing was sent.
    #[error("there is no connection to Redis")]
    NotConnected(#[source] RedisError),
    /// Redis, or the connection while the command was under way, failed.
    #[error(transparent)]
    Failed(#[from] RedisError),
}

/// The first word of a command.
fn name_of(command: &Cmd) -> Cow<'_, str> {
    match command.args_iter().next() {
        Some(Arg::Simple(name)) => String::from_utf8_lossy(name),
        _ => Cow::Borrowed(""),
    }
}

/// The first word of Redis' answer, by which it tells what went wrong; `None` when it was not Redis that said it. Of
/// several commands the first that failed speaks for all.
#[must_use]
pub fn error_word(error: &RedisError) -> Option<String> {
    if let Some(word) = error.code() {
        return Some(word.to_owned());
    }
    let errors = error.clone().into_server_errors()?;
    errors.first().map(|(_, error)| error.code().to_owned())
}

/// A connection; cheap to clone. It belongs to the tokio runtime that first uses it.
#[derive(Clone, Debug)]
pub struct Connection(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Options,
    making: Mutex<Making>,
}

impl Connection {
    /// The Redis at an address. It is connected to when it is first used.
    #[must_use]
    pub fn lazy(address: CurrentAddress, options: Options) -> Self {
        let making = Mutex::new(Making::new(address, options.connects_within, options.answers_within));
        Self(Arc::new(Inner { options, making }))
    }

    /// Runs a command.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, SendError> {
        self.send(&name_of(command), async |mut redis| command.query_async(&mut redis).await).await
    }

    /// Runs several commands in one exchange.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn run_all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, SendError> {
        self.send("PIPELINE", async |mut redis| commands.query_async(&mut redis).await).await
    }

    /// Runs a script, loading it when the server does not know it yet.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn script<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, SendError> {
        self.send("EVALSHA", async |mut redis| script.invoke_async(&mut redis).await).await
    }

    /// Loads a script ahead of its first use.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn load(&self, script: &Script) -> Result<(), SendError> {
        self.send("SCRIPT", async |mut redis| script.load_async(&mut redis).await.map(drop)).await
    }

    /// `operation` is for metrics: a command, or how OpenTelemetry calls several.
    async fn send<T, F>(&self, operation: &str, work: F) -> Result<T, SendError>
    where
        F: AsyncFnOnce(MultiplexedConnection) -> Result<T, RedisError>,
    {
        let until = tokio::time::Instant::now() + self.0.options.answers_within;
        let (number, redis) = self.connected(until).await?;
        let timed = Timed::begin(operation);
        let answer = tokio::time::timeout_at(until, work(redis)).await;
        if !matches!(answer, Ok(Ok(_))) {
            timed.span.record("otel.status_code", "ERROR");
        }
        drop(timed);
        let answer = answer.unwrap_or_else(|late| Err(std::io::Error::from(late).into()));
        self.heard(number, answer.as_ref().err());
        Ok(answer?)
    }

    async fn connected(
        &self,
        until: tokio::time::Instant,
    ) -> Result<(Number, MultiplexedConnection), SendError> {
        let (number, connecting) =
            self.making(|making| making.connection(Instant::now())).map_err(SendError::NotConnected)?;
        match tokio::time::timeout_at(until, connecting).await {
            Ok(Ok(redis)) => {
                self.making(|making| making.is_made(number));
                Ok((number, redis))
            }
            Ok(Err(error)) => {
                self.making(|making| making.has_failed(number, &error, Instant::now()));
                Err(SendError::NotConnected(error))
            }
            Err(late) => Err(SendError::NotConnected(std::io::Error::from(late).into())),
        }
    }

    /// Notes how a command on this connection ended, and gives the connection up where that is called for.
    fn heard(&self, number: Number, error: Option<&RedisError>) {
        self.making(|making| match error {
            Some(error) if error.is_timeout() => making.is_silent(number, SILENCE_MAX, Instant::now()),
            Some(error) if error.is_unrecoverable_error() || (self.0.options.is_over)(error) => {
                making.give_up(number);
            }
            Some(error) if error_word(error).as_deref() == Some(NO_REPLICAS) => {
                making.doubt(number, DOUBT_PAUSE, Instant::now());
            }
            _ => making.answers(number),
        });
    }

    fn making<T>(&self, look: impl FnOnce(&mut Making) -> T) -> T {
        look(&mut self.0.making.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::refusing::Refusing;

    fn options() -> Options {
        let second = Duration::from_secs(5);
        let is_over = |error: &RedisError| error_word(error).as_deref() == Some("READONLY");
        Options { answers_within: second, connects_within: second, is_over }
    }

    /// Claim: whatever a server says to the set-up of a connection, nothing was sent, and it is asked again.
    #[tokio::test]
    async fn no_refused_set_up_outlives_its_cause() {
        let test = async {
            let server = Refusing::default();
            let connection =
                Connection::lazy(CurrentAddress::of(server.start().await.into()).unwrap(), options());
            let ping = redis::cmd("PING");
            for command in ["HELLO", "SELECT"] {
                for word in ["WRONGPASS", "NOAUTH", "NOPERM", "ERR", "LOADING", "MASTERDOWN", "ANYTHING"] {
                    server.refuse(Some((command, word)));
                    // Whoever comes during the pause hears the same.
                    for _ in 0..3 {
                        let error = connection.run::<String>(&ping).await.unwrap_err();
                        assert!(matches!(error, SendError::NotConnected(_)), "{command} {word}: {error:?}");
                    }
                    server.refuse(None);
                    let answer = testkit::wait_until(Duration::from_secs(10), "an answer", async || {
                        connection.run::<String>(&ping).await
                    });
                    assert_eq!(answer.await.unwrap(), "OK", "{command} {word}");
                    let number = connection.making(|making| making.connection(Instant::now())).unwrap().0;
                    connection.making(|making| making.give_up(number));
                }
            }
        };
        tokio::task::LocalSet::new().run_until(test).await;
    }

    /// Claim: a connection is kept when a command is refused, but for what means that it is over.
    #[tokio::test]
    async fn a_refused_command_keeps_its_connection_unless_it_is_over() {
        let test = async {
            let server = Refusing::default();
            let connection =
                Connection::lazy(CurrentAddress::of(server.start().await.into()).unwrap(), options());
            let ping = redis::cmd("PING");
            for (word, connections) in [("OOM", 1), ("NOPERM", 1), ("READONLY", 2), ("OOM", 2)] {
                server.refuse(Some(("PING", word)));
                let error = connection.run::<String>(&ping).await.unwrap_err();
                let SendError::Failed(error) = error else { panic!("{word}: {error:?}") };
                assert_eq!(error_word(&error).as_deref(), Some(word));
                server.refuse(None);
                connection.run::<String>(&ping).await.unwrap();
                assert_eq!(server.connections.load(Ordering::SeqCst), connections, "{word}");
            }
        };
        tokio::task::LocalSet::new().run_until(test).await;
    }
}
