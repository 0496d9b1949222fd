//! Private Redis servers, in the two kinds that the services use.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use crate::account::{Account, private_file, private_folder};
use crate::launch::{Launch, Lifetime};
use crate::ports::Port;
use crate::programs;
use crate::quote;
use crate::redis_admin::RedisAdmin;
use crate::server::{Engine, Server};
use crate::state::{State, text_of};

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
        ensure!(server.process.is_alive(), "it ended: {:?}", server.process.exit_status());
        server.admin.run(0, &["PING"]).await.map(drop)
    }
}

impl Redis {
    /// Starts the server in `state`.
    ///
    /// # Errors
    /// When Redis is missing or does not start.
    pub async fn start(state: &State, kind: RedisUse, port: Port, lifetime: Lifetime) -> Result<Self> {
        let name = kind.name();
        let program = programs::redis_server()?;
        let account = Account::for_server(&["redis", "postgres", "nobody"])?;
        let folder = state.path(name);
        private_folder(&folder, account.as_ref())?;
        let (port, password) = (port.choose()?, state.secret(name)?);
        let config = folder.join("redis.conf");
        let text = format!(
            "bind 127.0.0.1\nport {port}\nprotected-mode yes\nrequirepass {password}\ndir {}\ndatabases {DATABASES}\n\
             daemonize no\nsave \"\"\n{}",
            quote::redis(text_of(&folder)?),
            kind.settings(),
        );
        private_file(&config, &text, account.as_ref())?;
        let launch = Launch {
            name: name.to_owned(),
            program,
            args: vec![config.into()],
            env: Vec::new(),
            folder,
            account,
            lifetime,
            last_signal: Signal::SIGKILL,
            log: state.log(name),
            pid_file: state.pid_file(name),
        };
        let admin = RedisAdmin::new(&format!("redis://:{password}@127.0.0.1:{port}"))?;
        Self::launch(RedisEngine, launch, admin, port).await
    }

    /// The URL of one of its numbered databases, password included.
    #[must_use]
    pub fn url(&self, database: u32) -> String {
        self.admin.url(database)
    }
}
