//! A connection to Redis, with the errors of this service. It is multiplexed, so that several cores may share it. Every
//! command has a time limit, so that a Redis that does not answer costs a caller milliseconds and not the whole deadline.

use std::time::Duration;

use redis::{Cmd, FromRedisValue, Pipeline, Script, ScriptInvocation};
use redis_connection::{Connection, CurrentAddress, Options};
use types::DatabaseUrl;

use super::driver;
use crate::error::{Error, Result};

/// Longer than a command may take: the first one after a pause may meet a slow welcome.
const CONNECTS_WITHIN: Duration = Duration::from_millis(500);

/// A connection; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Redis(Connection);

impl Redis {
    /// Connects when it is first used.
    ///
    /// # Errors
    /// When the URL is invalid.
    pub(crate) fn lazy(url: &DatabaseUrl, within: Duration) -> Result<Self> {
        let options = Options {
            answers_within: within,
            connects_within: within.max(CONNECTS_WITHIN),
            is_over: driver::is_over,
        };
        let address = CurrentAddress::of(url.clone()).map_err(Error::internal)?;
        Ok(Self(Connection::lazy(address, options)))
    }

    /// Runs a script, loading it when the server does not know it yet.
    pub(crate) async fn script<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T> {
        Ok(self.0.script(script).await?)
    }

    /// Loads a script ahead of its first use.
    pub(crate) async fn load(&self, script: &Script) -> Result<()> {
        Ok(self.0.load(script).await?)
    }

    /// Runs a command.
    pub(crate) async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        Ok(self.0.run(command).await?)
    }

    /// Runs several commands.
    pub(crate) async fn run_all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T> {
        Ok(self.0.run_all(commands).await?)
    }
}
