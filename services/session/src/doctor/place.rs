//! What is looked at.

use std::time::Duration;

use anyhow::{Context as _, Result};
use runtime::doctor::Seen;
use types::chain;
use uuid::Uuid;

use crate::config::DoctorConfig;
use crate::storage::{Address, Setting, Store};

/// A server that is far away takes longer than the service allows, and is to be told so by the check of the time, not by
/// every check.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// What is looked at: Redis, and what the settings say of it.
#[derive(Debug)]
pub struct Place {
    pub(super) store: Store,
    pub(super) address: Address,
    /// The Redis of the events, where its setting is given.
    pub(super) events: Option<Store>,
    /// Processes that share Redis.
    pub(super) replicas: usize,
    /// Connections of each.
    pub(super) connections: usize,
    /// A part of the scratch keys' names that nobody else has.
    pub(super) scratch: String,
}

impl Place {
    /// The place that these settings name. `Err` says why Redis cannot be reached.
    ///
    /// # Errors
    /// When a URL cannot be used.
    pub async fn reach(config: &DoctorConfig) -> Result<Result<Self, Seen>> {
        let within = config.redis.command_timeout.max(ANSWERS_WITHIN);
        let store = Store::for_migration(&config.redis.url, within).context("--redis-session-url")?;
        let events = config.redis_events_url.as_ref();
        let events = events.map(|url| Store::for_migration(url, within)).transpose();
        let place = Self {
            store,
            address: Address::of(&config.redis.url).context("--redis-session-url")?,
            events: events.context("--redis-events-url")?,
            replicas: config.options.replicas,
            connections: config.redis.connections as usize,
            scratch: format!("doctor-{}", Uuid::new_v4().simple()),
        };
        Ok(match place.store.ping().await {
            Ok(()) => Ok(place),
            Err(error) => Err(Seen::failed(
                chain(&error),
                "start Redis, or correct REDIS_SESSION_URL: redis://user:password@host:port/number, rediss:// for TLS",
            )),
        })
    }

    /// One of the settings that the service cannot do without.
    pub(super) async fn needed(&self, name: &str) -> Result<Seen> {
        let settings = self.store.settings_needed().await?;
        let setting = settings.into_iter().find(|setting| setting.name == name);
        let setting = setting.with_context(|| format!("{name} is not one of the needed settings"))?;
        let Setting { name, needed, found } = &setting;
        let told = format!("`{name}` is {found}");
        Ok(if setting.fits() { Seen::ok(told) } else { Seen::failed(told, set(name, needed)) })
    }

    /// A setting that the service can do without; `None` where Redis does not have it.
    pub(super) async fn setting(&self, name: &str) -> Result<Option<String>> {
        Ok(self.store.settings(&[name]).await?.remove(name))
    }
}

/// What to type to change a setting for good.
pub(super) fn set(name: &str, value: &str) -> String {
    format!("CONFIG SET {name} {value}\nCONFIG REWRITE")
}
