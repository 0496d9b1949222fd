//! Private Redis servers, in the two kinds that the services use, and one that Sentinels watch.

mod watched;

use anyhow::Result;
use nix::sys::signal::Signal;

use crate::launch::{Launch, Lifetime};
use crate::ports::Port;
use crate::programs;
use crate::quote;
use crate::redis_admin::RedisAdmin;
use crate::server::{Engine, Server};
use crate::state::{State, text_of};

pub use watched::WatchedRedis;

/// Enough for each test of a run to have one of its own.
pub(crate) const DATABASES: u32 = 1024;

/// What the server is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisUse {
    /// Sessions: every acknowledged write is on disk, nothing is ever evicted.
    Sessions,
    /// Events and cache: nothing is on disk, and old cache entries are evicted when memory runs out.
    EventsAndCache,
}

impl RedisUse {
    fn name(self) -> &'static str {
        match self {
            Self::Sessions => "redis-session",
            Self::EventsAndCache => "redis-events",
        }
    }

    fn settings(self) -> &'static str {
        match self {
            Self::Sessions => "appendonly yes\nappendfsync always\nmaxmemory-policy noeviction\n",
            Self::EventsAndCache => "appendonly no\nmaxmemory 128mb\nmaxmemory-policy allkeys-lfu\n",
        }
    }
}

/// How to start one.
struct Wanted<'a> {
    /// Of its folder, its log and its pid file.
    name: &'a str,
    /// More lines of its configuration.
    settings: &'a str,
    is_sentinel: bool,
    port: Port,
    lifetime: Lifetime,
}

/// A running Redis server of our own.
pub type Redis = Server<RedisEngine>;

/// Redis.
#[derive(Debug)]
pub struct RedisEngine;

impl Engine for RedisEngine {
    type Admin = RedisAdmin;
    const NAME: &str = "Redis";
    const STOP: Signal = Signal::SIGTERM;

    async fn answers(server: &Redis) -> Result<()> {
        server.admin.run(0, &["PING"]).await.map(drop)
    }
}

impl Redis {
    /// Starts the server in `state`.
    ///
    /// # Errors
    /// When Redis is missing or does not start.
    pub async fn start(state: &State, kind: RedisUse, port: Port, lifetime: Lifetime) -> Result<Self> {
        let wanted =
            Wanted { name: kind.name(), settings: kind.settings(), is_sentinel: false, port, lifetime };
        Self::start_wanted(state, &state.secret(kind.name())?, wanted).await
    }

    async fn start_wanted(state: &State, password: &str, wanted: Wanted<'_>) -> Result<Self> {
        let Wanted { name, settings, is_sentinel, port, lifetime } = wanted;
        let program = programs::redis_server()?;
        let mut launch = Launch::of_server(state, name, program, &["redis", "postgres", "nobody"], lifetime)?;
        let port = port.choose()?;
        let text = format!(
            "bind 127.0.0.1\nport {port}\nprotected-mode yes\nrequirepass {password}\ndir {}\ndatabases {DATABASES}\n\
             daemonize no\nsave \"\"\n{settings}",
            quote::redis(text_of(&launch.folder)?),
        );
        launch.args.push(launch.write("redis.conf", &text)?.into());
        if is_sentinel {
            launch.args.push("--sentinel".into());
        }
        let admin = RedisAdmin::new(&format!("redis://:{password}@127.0.0.1:{port}"))?;
        Self::launch(RedisEngine, launch, admin, port).await
    }

    /// The URL of one of its numbered databases, password included.
    #[must_use]
    pub fn url(&self, database: u32) -> String {
        self.admin.url(database)
    }
}
