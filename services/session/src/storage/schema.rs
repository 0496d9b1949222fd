//! Whether this Redis is fit to keep sessions: its settings, and the layout of its keys.

use std::collections::HashMap;

use runtime::connections::Budget;

use super::driver::is_forbidden;
use super::{Store, keys, scripts};
use crate::error::{Error, Result};

/// The layout that this version reads and writes.
pub(crate) const LAYOUT: u32 = 1;
/// The oldest version of Redis that knows everything that is asked of it.
pub(crate) const MAJOR_MIN: u32 = 7;

/// With these settings an acknowledged change survives a crash, and a full Redis refuses logins instead of forgetting
/// sessions.
const SETTINGS: [(&str, &str); 3] =
    [("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction")];

/// A setting that Redis must have.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Its name.
    pub(crate) name: &'static str,
    /// The value that is needed.
    pub(crate) needed: &'static str,
    /// The value that it has.
    pub(crate) found: String,
}

impl Setting {
    pub(crate) fn fits(&self) -> bool {
        self.found == self.needed
    }
}

impl Store {
    /// The reasons why this Redis is not fit to keep sessions; empty when it is.
    pub(crate) async fn unfit(&self) -> Result<Vec<String>> {
        let mut unfit = Vec::new();
        if let Err(version) = self.version_fits().await? {
            unfit.push(format!("it is version {version}; {MAJOR_MIN}.0 or newer is needed"));
        }
        match self.settings_needed().await {
            Ok(settings) => {
                let wrong = settings.iter().filter(|setting| !setting.fits());
                unfit.extend(wrong.map(|Setting { name, needed, found }| {
                    format!("`{name}` is {found}; {needed} is needed")
                }));
            }
            Err(error) if is_forbidden(&error) => {
                let why = types::chain(&error);
                unfit.push(format!("its settings cannot be checked: {why}; allow `+config|get`"));
            }
            Err(error) => return Err(error),
        }
        Ok(unfit)
    }

    /// The server's version; `Err` when it is too old.
    pub(crate) async fn version_fits(&self) -> Result<Result<String, String>> {
        let version: String = self.info("server").await?.get("redis_version").unwrap_or_default();
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok()).unwrap_or_default();
        Ok(if major < MAJOR_MIN { Err(version) } else { Ok(version) })
    }

    /// The settings that Redis must have, and what they are.
    pub(crate) async fn settings_needed(&self) -> Result<Vec<Setting>> {
        let mut found = self.settings(&SETTINGS.map(|(name, _)| name)).await?;
        let setting = |(name, needed)| {
            let found = found.remove(name).unwrap_or_else(|| "unknown".to_owned());
            Setting { name, needed, found }
        };
        Ok(SETTINGS.into_iter().map(setting).collect())
    }

    /// The settings of these names. One that Redis does not know is not among them.
    pub(crate) async fn settings(&self, names: &[&str]) -> Result<HashMap<String, String>> {
        self.redis.run(redis::cmd("CONFIG").arg("GET").arg(names)).await
    }

    /// Whether the keys have the layout that this version knows. In an empty Redis there is nothing to migrate, so it
    /// gets the layout of this version.
    pub(crate) async fn schema_fits(&self) -> Result<Result<(), String>> {
        match self.layout().await? {
            Some(LAYOUT) => Ok(Ok(())),
            Some(other) => Ok(Err(format!("the keys have layout {other}; this version knows {LAYOUT}"))),
            None => {
                let _: bool = self.redis.run(&redis::Cmd::set_nx(keys::SCHEMA, LAYOUT)).await?;
                Ok(Ok(()))
            }
        }
    }

    /// The layout that the keys have; `None` when nobody has noted one yet.
    pub(crate) async fn layout(&self) -> Result<Option<u32>> {
        self.redis.run(&redis::Cmd::get(keys::SCHEMA)).await
    }

    /// Warns when so many replicas with so many connections each may need more of them than Redis allows.
    pub(crate) async fn capacity_check(&self, replicas: usize, each: usize) -> Result<()> {
        if let Some(allowed) = self.connections_allowed().await? {
            Budget { replicas, each }.check("the session Redis", allowed, "REDIS_SESSION_CONNECTIONS");
        }
        Ok(())
    }

    /// How many connections Redis allows, where it says so.
    pub(crate) async fn connections_allowed(&self) -> Result<Option<usize>> {
        Ok(self.info("clients").await?.get("maxclients"))
    }

    /// Loads all scripts, so that one that Redis cannot compile is found now and not by a user. Tells how many there are.
    ///
    /// # Errors
    /// The first that cannot be loaded, by its name.
    pub(crate) async fn scripts_load(&self) -> Result<usize, (&'static str, Error)> {
        let scripts = scripts::all();
        for (name, script) in &scripts {
            self.redis.load(script).await.map_err(|error| (*name, error))?;
        }
        Ok(scripts.len())
    }
}
