//! Private Redis servers, in the two kinds that the services use.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::account::{Account, private_file, private_folder};
use crate::launch::{Launch, Lifetime};
use crate::ports::Port;
use crate::process::Process;
use crate::programs;
use crate::redis_admin::RedisAdmin;
use crate::state::State;
use crate::wait::wait_until;

const START_WITHIN: Duration = Duration::from_secs(30);
const STOP_WITHIN: Duration = Duration::from_secs(15);
/// So many that each test of a run gets one of its own.
pub(crate) const DATABASES: u32 = 1024;

/// What the server is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisUse {
    /// Sessions: every acknowledged write is on disk, nothing is ever evicted.
    Sessions,
    /// Events and cache: nothing is on disk, and the cache makes room for itself.
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
#[derive(Debug)]
pub struct Redis {
    process: Process,
    admin: RedisAdmin,
    port: u16,
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
            folder.display(),
            kind.settings(),
        );
        private_file(&config, &text, account.as_ref())?;
        let launch = Launch {
            name: name.to_owned(),
            program,
            args: vec![config.into()],
            env: vec![("LC_ALL".to_owned(), "C.UTF-8".to_owned())],
            folder,
            account,
            lifetime,
            last_signal: Signal::SIGKILL,
            log: state.log(name),
            pid_file: state.pid_file(name),
        };
        let admin = RedisAdmin::new(&format!("redis://:{password}@127.0.0.1:{port}"))?;
        let server = Self { process: Process::start(launch)?, admin, port };
        server.ready().await?;
        Ok(server)
    }

    /// Runs commands here.
    #[must_use]
    pub fn admin(&self) -> &RedisAdmin {
        &self.admin
    }

    /// The URL of one of its numbered databases, password included.
    #[must_use]
    pub fn url(&self, database: u32) -> String {
        self.admin.url(database)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process, to kill, pause and resume.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Starts it again after it was killed or stopped, and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn restart(&self) -> Result<()> {
        self.process.start_again()?;
        self.ready().await
    }

    /// Stops it in order.
    ///
    /// # Errors
    /// When it had to be killed.
    pub async fn stop(&self) -> Result<()> {
        self.process.stop(Signal::SIGTERM, STOP_WITHIN).await
    }

    async fn ready(&self) -> Result<()> {
        let pong = wait_until(START_WITHIN, "Redis to answer", async || {
            ensure!(self.process.is_alive(), "it ended: {:?}", self.process.exit_status());
            self.admin.run(0, &["PING"]).await
        });
        pong.await.map(drop).with_context(|| format!("its log ends:\n{}", self.process.log().tail(15)))
    }
}
