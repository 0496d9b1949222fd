//! The store: one Redis, and what is needed besides it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use runtime::retry::{START_UP_WITHIN, start_up};
use types::{Clock, DatabaseUrl, EventId, IdSource, SystemClock, SystemIds};

use super::backbone::Appended;
use super::connection::Redis;
use super::driver::at_start;
use crate::domain::{Lifetimes, LoginLimits};
use crate::error::Result;

/// The sessions. Cheap to clone, and usable on every core; its connection answers on the one that connected first.
#[derive(Clone)]
pub struct Store {
    pub(super) redis: Redis,
    pub(super) options: StoreOptions,
}

/// What a [`Store`] is made with besides its Redis.
#[derive(Clone)]
pub(crate) struct StoreOptions {
    pub(crate) lifetimes: Lifetimes,
    pub(crate) login_limits: LoginLimits,
    /// The longest time for one command.
    pub(crate) command_timeout: Duration,
    /// Makes the ids of sessions and events.
    pub(crate) ids: Arc<dyn IdSource>,
    /// Only says when it is worth asking Redis, whose own clock decides.
    pub(crate) clock: Arc<dyn Clock>,
    /// Hears when an event may have been appended; shared by all stores of the process.
    pub(crate) appended: Arc<Appended>,
}

impl Store {
    /// A store that connects when it is first used.
    ///
    /// # Errors
    /// When the URL is invalid.
    pub(crate) fn lazy(url: &DatabaseUrl, options: StoreOptions) -> Result<Self> {
        Ok(Self { redis: Redis::lazy(url, options.command_timeout)?, options })
    }

    /// A store for `migrate`, which touches no session.
    ///
    /// # Errors
    /// When the URL is invalid.
    pub(crate) fn for_migration(url: &DatabaseUrl, command_timeout: Duration) -> Result<Self> {
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

    /// Waits until Redis answers.
    pub(crate) async fn come_up(&self) -> anyhow::Result<()> {
        let ping = async || self.ping().await.map_err(at_start);
        start_up("the session Redis", START_UP_WITHIN, ping).await
    }

    /// Whether Redis answers.
    pub(crate) async fn ping(&self) -> Result<()> {
        self.redis.run(&redis::cmd("PING")).await
    }

    /// The time by Redis' clock, in milliseconds since 1970.
    pub(super) async fn now_millis(&self) -> Result<i64> {
        let (seconds, micros): (i64, i64) = self.redis.run(&redis::cmd("TIME")).await?;
        Ok(seconds * 1000 + micros / 1000)
    }

    pub(super) fn event_id(&self) -> EventId {
        EventId::from_uuid(self.options.ids.next())
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}
