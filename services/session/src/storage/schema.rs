//! Whether this Redis is fit to keep sessions: its settings, and the layout of its keys.

use std::collections::HashMap;

use redis::InfoDict;
use runtime::connections::Budget;

use super::driver::is_forbidden;
use super::{Store, keys, scripts};
use crate::error::Result;

/// The layout that this version reads and writes.
const VERSION: u32 = 1;
const MAJOR_MIN: u32 = 7;

/// With these settings an acknowledged change survives a crash, and a full Redis refuses logins instead of forgetting
/// sessions.
const SETTINGS: [(&str, &str); 3] =
    [("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction")];

impl Store {
    /// The reasons why this Redis is not fit to keep sessions; empty when it is.
    pub(crate) async fn unfit(&self) -> Result<Vec<String>> {
        let info: InfoDict = self.redis.run(redis::cmd("INFO").arg("server")).await?;
        let version: String = info.get("redis_version").unwrap_or_default();
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok()).unwrap_or_default();
        let mut unfit = Vec::new();
        if major < MAJOR_MIN {
            unfit.push(format!("it is version {version}; {MAJOR_MIN}.0 or newer is needed"));
        }
        let mut ask = redis::cmd("CONFIG");
        ask.arg("GET").arg(&SETTINGS.map(|(name, _)| name));
        let settings: HashMap<String, String> = match self.redis.run(&ask).await {
            Ok(settings) => settings,
            Err(error) if is_forbidden(&error) => {
                let why = types::chain(&error);
                unfit.push(format!("its settings cannot be checked: {why}; allow `+config|get`"));
                return Ok(unfit);
            }
            Err(error) => return Err(error),
        };
        for (name, needed) in SETTINGS {
            let value = settings.get(name).map_or("unknown", String::as_str);
            if value != needed {
                unfit.push(format!("`{name}` is {value}; {needed} is needed"));
            }
        }
        Ok(unfit)
    }

    /// Whether the keys have the layout that this version knows. In an empty Redis there is nothing to migrate, so it
    /// gets the layout of this version.
    pub(crate) async fn schema_fits(&self) -> Result<Result<(), String>> {
        let found: Option<u32> = self.redis.run(&redis::Cmd::get(keys::SCHEMA)).await?;
        match found {
            Some(VERSION) => Ok(Ok(())),
            Some(other) => Ok(Err(format!("the keys have layout {other}; this version knows {VERSION}"))),
            None => {
                let _: bool = self.redis.run(&redis::Cmd::set_nx(keys::SCHEMA, VERSION)).await?;
                Ok(Ok(()))
            }
        }
    }

    /// Warns when so many replicas with so many connections each may need more of them than Redis allows.
    pub(crate) async fn capacity_check(&self, replicas: usize, each: usize) -> Result<()> {
        let info: InfoDict = self.redis.run(redis::cmd("INFO").arg("clients")).await?;
        if let Some(allowed) = info.get("maxclients") {
            Budget { replicas, each }.check("the session Redis", allowed, "REDIS_SESSION_CONNECTIONS");
        }
        Ok(())
    }

    /// Loads all scripts, so that one that Redis cannot compile is found now and not by a user.
    pub(crate) async fn scripts_load(&self) -> Result<()> {
        for (name, script) in scripts::all() {
            self.redis
                .load(script)
                .await
                .inspect_err(|_| tracing::error!(name, "a script cannot be loaded"))?;
        }
        Ok(())
    }
}
