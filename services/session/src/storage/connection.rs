//! The connection to Redis: one for each core, multiplexed, reconnecting by itself. Every command has a time limit, so
//! that a Redis that does not answer costs a caller milliseconds and not the whole deadline. A connection that stays
//! silent, although nobody has closed it, is replaced by a new one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{
    Client, Cmd, FromRedisValue, IntoConnectionInfo as _, Pipeline, ProtocolVersion, RedisError, Script,
    ScriptInvocation,
};
use secrecy::{ExposeSecret as _, SecretString};

use crate::error::{Error, Result};

const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(250);
/// A connection is dead when bytes are not acknowledged for this long.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(2);
/// It is also dead when no command is answered for this long.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// A connection; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Redis {
    client: Client,
    config: ConnectionManagerConfig,
    current: Arc<Mutex<Current>>,
    within: Duration,
}

/// The connection that is used now.
#[derive(Debug)]
struct Current {
    manager: ConnectionManager,
    /// Which connection it is, so that a command that waited on an older one does not count for this one.
    number: u64,
    silent_since: Option<Instant>,
}

impl Redis {
    /// Connects when it is first used.
    ///
    /// # Errors
    /// When the URL is invalid.
    pub(crate) fn lazy(url: &SecretString, within: Duration) -> Result<Self> {
        let info = url.expose_secret().into_connection_info().map_err(Error::internal)?;
        // With RESP3 the manager notices a lost connection at once, not only with the next command.
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
        let manager = manager(&client, &config)?;
        let current = Arc::new(Mutex::new(Current { manager, number: 0, silent_since: None }));
        Ok(Self { client, config, current, within })
    }

    /// Runs a script, loading it when the server does not know it yet.
    pub(crate) async fn script<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T> {
        let (mut manager, number) = self.connection();
        self.limit(number, script.invoke_async(&mut manager)).await
    }

    /// Loads a script ahead of its first use.
    pub(crate) async fn load(&self, script: &Script) -> Result<()> {
        let (mut manager, number) = self.connection();
        self.limit(number, script.load_async(&mut manager)).await.map(drop)
    }

    /// Runs a command.
    pub(crate) async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        let (mut manager, number) = self.connection();
        self.limit(number, command.query_async(&mut manager)).await
    }

    /// Runs several commands.
    pub(crate) async fn run_all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T> {
        let (mut manager, number) = self.connection();
        self.limit(number, commands.query_async(&mut manager)).await
    }

    fn connection(&self) -> (ConnectionManager, u64) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        (current.manager.clone(), current.number)
    }

    async fn limit<T>(&self, number: u64, answer: impl Future<Output = Result<T, RedisError>>) -> Result<T> {
        match tokio::time::timeout(self.within, answer).await {
            Ok(answer) => {
                let is_silence = answer.as_ref().is_err_and(RedisError::is_timeout);
                self.heard(number, !is_silence)?;
                answer.map_err(Error::from)
            }
            Err(late) => {
                self.heard(number, false)?;
                Err(Error::unavailable(late))
            }
        }
    }

    /// Notes whether a connection answers, and replaces it when it has been silent for too long.
    fn heard(&self, number: u64, anything: bool) -> Result<()> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.number != number {
            return Ok(());
        }
        if anything {
            current.silent_since = None;
            return Ok(());
        }
        let since = *current.silent_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= SILENCE_MAX {
            let manager = manager(&self.client, &self.config)?;
            *current = Current { manager, number: number + 1, silent_since: None };
        }
        Ok(())
    }
}

fn manager(client: &Client, config: &ConnectionManagerConfig) -> Result<ConnectionManager> {
    ConnectionManager::new_lazy_with_config(client.clone(), config.clone()).map_err(Error::internal)
}
