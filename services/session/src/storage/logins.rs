//! Counting failed logins of an address. An address is no user's key: it has a hash tag of its own.

use std::time::Duration;

use uuid::Uuid;

use super::{Store, keys, millis, script};
use crate::error::{Error, Result};

/// A try to log in that was admitted and is not settled yet.
#[derive(Debug)]
pub(crate) struct Try {
    address: String,
    id: Uuid,
}

impl Store {
    /// Admits a try for an address (its key, see `domain::throttle_key`).
    ///
    /// # Errors
    /// [`Error::LoginThrottled`] when it has to wait.
    pub(crate) async fn login_begin(&self, address: String) -> Result<Try> {
        let id = Uuid::new_v4();
        let limits = &self.options.login_limits;
        let mut call = script::LOGIN_BEGIN.key(&keys::login(&address)[..]);
        call.arg(id.to_string())
            .arg(limits.free_failures)
            .arg(limits.tries_at_once)
            .arg(millis(limits.try_life));
        match self.redis.script::<u64>(&call).await? {
            0 => Ok(Try { address, id }),
            wait => Err(Error::LoginThrottled { retry_after: Duration::from_millis(wait) }),
        }
    }

    /// The password was wrong.
    pub(crate) async fn login_failed(&self, attempt: &Try) -> Result<()> {
        let limits = &self.options.login_limits;
        let mut call = script::LOGIN_FAILED.key(&keys::login(&attempt.address)[..]);
        call.arg(attempt.id.to_string())
            .arg(limits.free_failures)
            .arg(millis(limits.first_wait))
            .arg(millis(limits.longest_wait))
            .arg(millis(limits.memory))
            .arg(millis(limits.free_memory));
        self.redis.script(&call).await
    }

    /// The password was right: the failures before it are forgotten.
    pub(crate) async fn login_succeeded(&self, attempt: &Try) -> Result<()> {
        let [failures, tries] = keys::login(&attempt.address);
        let mut commands = redis::pipe();
        commands.atomic().del(failures).ignore().zrem(tries, attempt.id.to_string()).ignore();
        self.redis.run_all(&commands).await
    }

    /// The password was not checked: the try never was.
    pub(crate) async fn login_released(&self, attempt: &Try) -> Result<()> {
        let [_, tries] = keys::login(&attempt.address);
        self.redis.run(&redis::Cmd::zrem(tries, attempt.id.to_string())).await
    }
}
