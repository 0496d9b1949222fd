//! The connection to Redis: one a core, multiplexed, reconnecting by itself. Every command has a time limit, so
//! that a Redis that is away or hangs costs a caller milliseconds and never the deadline.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{
    Client, Cmd, ErrorKind, FromRedisValue, IntoConnectionInfo as _, Pipeline, ProtocolVersion, RedisError,
    Script, ScriptInvocation, ServerErrorKind, Value,
};
use secrecy::{ExposeSecret as _, SecretString};

use crate::error::{Error, Result};

const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(250);
/// Bytes that nobody acknowledges for this long mean a dead connection.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(2);

/// A connection; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Redis {
    manager: ConnectionManager,
    within: Duration,
}

impl Redis {
    /// Connects when it is first used.
    ///
    /// # Errors
    /// When the URL is none.
    pub(crate) fn lazy(url: &SecretString, within: Duration) -> Result<Self> {
        let info = url.expose_secret().into_connection_info().map_err(Error::internal)?;
        // RESP3: the manager hears of a lost connection at once, not with the next command.
        let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let tcp = TcpSettings::default().set_nodelay(true).set_user_timeout(UNACKNOWLEDGED_MAX);
        let client =
            Client::open(info.set_redis_settings(redis).set_tcp_settings(tcp)).map_err(Error::internal)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(within.max(Duration::from_millis(500))))
            .set_response_timeout(Some(within))
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(10))
            .set_max_delay(RECONNECT_DELAY_MAX);
        let manager = ConnectionManager::new_lazy_with_config(client, config).map_err(Error::internal)?;
        Ok(Self { manager, within })
    }

    /// Runs a script, loading it when the server does not know it yet.
    pub(crate) async fn script<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T> {
        let mut manager = self.manager.clone();
        self.limit(script.invoke_async(&mut manager)).await
    }

    /// Loads a script ahead of its first use.
    pub(crate) async fn load(&self, script: &Script) -> Result<()> {
        let mut manager = self.manager.clone();
        self.limit(script.load_async(&mut manager)).await.map(drop)
    }

    /// Runs a command.
    pub(crate) async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        let mut manager = self.manager.clone();
        self.limit(command.query_async(&mut manager)).await
    }

    /// Runs several.
    pub(crate) async fn run_all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T> {
        let mut manager = self.manager.clone();
        self.limit(commands.query_async(&mut manager)).await
    }

    async fn limit<T>(&self, answer: impl Future<Output = Result<T, RedisError>>) -> Result<T> {
        match tokio::time::timeout(self.within, answer).await {
            Ok(answer) => answer.map_err(Error::from),
            Err(late) => Err(Error::unavailable(late)),
        }
    }
}

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::Io
            | ErrorKind::ClusterConnectionNotFound
            | ErrorKind::Server(
                ServerErrorKind::BusyLoading
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown,
            ) => Self::unavailable(error),
            ErrorKind::Server(ServerErrorKind::ReadOnly) => Self::StorageUnavailable { source: error.into() },
            _ if matches!(error.code(), Some("OOM" | "MISCONF" | "NOREPLICAS")) => {
                Self::StorageUnavailable { source: error.into() }
            }
            // A script that another caller's slow command keeps waiting.
            _ if error.code() == Some("BUSY") => Self::unavailable(error),
            _ => Self::internal(error),
        }
    }
}

/// The values of a script's answer, one after the other.
pub(crate) struct Reply(std::vec::IntoIter<Value>);

impl Reply {
    /// The next value.
    pub(crate) fn next<T: FromRedisValue>(&mut self) -> Result<T> {
        let value = self.0.next().ok_or_else(|| Error::internal("a script's answer is too short"))?;
        redis::from_redis_value(value).map_err(Error::internal)
    }
}

impl FromRedisValue for Reply {
    fn from_redis_value(value: Value) -> Result<Self, redis::ParsingError> {
        Ok(Self(Vec::<Value>::from_redis_value(value)?.into_iter()))
    }
}
