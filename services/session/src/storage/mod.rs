//! Redis, and nothing else speaks to it. There is no `Tx` for sessions: a state change and its event are one Lua
//! script (`scripts/`), which is what a transaction means on Redis. Whether something has expired is decided by
//! the Redis server's clock, which all replicas share.

mod appended;
mod connection;
mod consumer;
mod events;
mod forget;
mod keys;
mod lease;
mod log;
mod logins;
mod messages;
mod requests;
mod schema;
mod script;
mod sessions;
mod tx;
mod verifier;

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use time::OffsetDateTime;
use types::{Clock, EventId, IdSource, SystemClock, SystemIds};

pub(crate) use appended::Appended;
pub(crate) use sessions::{CreateReply, RefreshReply, Tokens};
pub use tx::Tx;

use crate::domain::{Lifetimes, LoginLimits};
use crate::error::{Error, Result};
use connection::Redis;

/// The sessions. Cheap to clone; belongs to the tokio runtime that it was made in.
#[derive(Clone)]
pub struct Store {
    redis: Redis,
    options: StoreOptions,
}

/// What a [`Store`] is made with besides its Redis.
#[derive(Clone)]
pub(crate) struct StoreOptions {
    /// How long things live.
    pub(crate) lifetimes: Lifetimes,
    /// How logins are slowed down.
    pub(crate) login_limits: LoginLimits,
    /// How long a command may take.
    pub(crate) command_timeout: Duration,
    /// Ids of sessions and events.
    pub(crate) ids: Arc<dyn IdSource>,
    /// Only a hint when it is worth asking Redis, whose own clock decides.
    pub(crate) clock: Arc<dyn Clock>,
    /// Told when an event may have been appended; shared by all stores of the process.
    pub(crate) appended: Arc<Appended>,
}

impl Store {
    /// A store that connects when it is first used.
    ///
    /// # Errors
    /// When the URL is none.
    pub(crate) fn lazy(url: &SecretString, options: StoreOptions) -> Result<Self> {
        Ok(Self { redis: Redis::lazy(url, options.command_timeout)?, options })
    }

    /// A store for `migrate`, which touches no session.
    ///
    /// # Errors
    /// When the URL is none.
    pub(crate) fn for_migration(url: &SecretString, command_timeout: Duration) -> Result<Self> {
        let options = StoreOptions {
            lifetimes: Lifetimes::default(),
            login_limits: LoginLimits::default(),
            command_timeout,
            ids: Arc::new(SystemIds),
            clock: Arc::new(SystemClock),
            appended: Arc::default(),
        };
        Self::lazy(url, options)
    }

    /// Whether Redis answers.
    pub(crate) async fn ping(&self) -> Result<()> {
        self.redis.run(&redis::cmd("PING")).await
    }

    fn event_id(&self) -> EventId {
        EventId::from_uuid(self.options.ids.next())
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A time as Redis and the scripts have it: milliseconds since 1970.
fn time_of(millis: i64) -> Result<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).map_err(Error::internal)
}
