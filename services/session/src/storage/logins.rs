//! Counting the failed logins of an address. An address may be nobody's, so its keys have a hash tag of their own and
//! not that of a user's partition.

use std::time::Duration;

use types::Source;
use uuid::Uuid;

use super::driver::{Reply, millis};
use super::{Store, keys, scripts};
use crate::domain::{SessionRefused, source_key};
use crate::error::Result;

/// A try to log in that counts until it is settled.
#[derive(Debug)]
pub(crate) struct Try {
    keys: keys::Login,
    id: Uuid,
    source: String,
    is_known: bool,
}

impl Store {
    /// Admits a try for an address, which is named by its [`crate::domain::throttle_key`].
    ///
    /// # Errors
    /// [`SessionRefused::LoginThrottled`] when it has to wait.
    pub(crate) async fn login_begin(&self, address: &str, source: Source) -> Result<Try> {
        let (id, source) = (Uuid::new_v4(), source_key(address, source));
        let keys = keys::login(address, &source);
        let limits = &self.options.login_limits;
        let mut script = scripts::LOGIN_BEGIN.key(&keys.known);
        script
            .key(&keys.of_source[..])
            .key(&keys.of_all[..])
            .arg(id.to_string())
            .arg(&source)
            .arg(millis(limits.try_life))
            .arg(limits.free_failures)
            .arg(limits.tries_at_once)
            .arg(limits.free_failures_in_all)
            .arg(limits.tries_at_once_in_all);
        let mut reply: Reply = self.redis.script(&script).await?;
        match (reply.next::<u64>()?, reply.next::<bool>()?) {
            (0, is_known) => Ok(Try { keys, id, source, is_known }),
            (wait, _) => {
                Err(SessionRefused::LoginThrottled { retry_after: Duration::from_millis(wait) }.into())
            }
        }
    }

    /// Settles a try whose password was wrong.
    pub(crate) async fn login_failed(&self, attempt: &Try) -> Result<()> {
        let limits = &self.options.login_limits;
        let mut script = scripts::LOGIN_FAILED.key(&attempt.keys.of_source[..]);
        if !attempt.is_known {
            script.key(&attempt.keys.of_all[..]);
        }
        script
            .arg(attempt.id.to_string())
            .arg(millis(limits.first_wait))
            .arg(millis(limits.longest_wait))
            .arg(millis(limits.memory))
            .arg(millis(limits.free_memory))
            .arg(limits.free_failures)
            .arg(limits.free_failures_in_all);
        self.redis.script(&script).await
    }

    /// Settles a try whose password was right: the failures before it are forgotten, and its source is known.
    pub(crate) async fn login_succeeded(&self, attempt: &Try) -> Result<()> {
        let limits = &self.options.login_limits;
        let mut script = scripts::LOGIN_SUCCEEDED.key(&attempt.keys.known);
        script
            .key(&attempt.keys.of_source[..])
            .key(&attempt.keys.of_all[1])
            .arg(attempt.id.to_string())
            .arg(&attempt.source)
            .arg(millis(limits.known_life))
            .arg(limits.known_max);
        self.redis.script(&script).await
    }

    /// Takes back a try whose password was not checked.
    pub(crate) async fn login_released(&self, attempt: &Try) -> Result<()> {
        let mut commands = redis::pipe();
        commands.atomic();
        for [_, tries] in [&attempt.keys.of_source, &attempt.keys.of_all] {
            commands.zrem(tries, attempt.id.to_string()).ignore();
        }
        self.redis.run_all(&commands).await
    }
}
