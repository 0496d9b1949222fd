//! The servers that tests share.
//!
//! `cargo xtask test` starts one set for the whole run and names its addresses in the environment. Under a plain
//! `cargo test` each test process starts the servers that it needs, once, and they die with it. When a server is not
//! available, the test that wants it fails with the command that installs it.

use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::sync::OnceCell;

use crate::command::tool;
use crate::env;
use crate::launch::Lifetime;
use crate::mongo::Mongo;
use crate::mongo_admin::MongoAdmin;
use crate::pgbouncer::{PgBouncer, Settings};
use crate::ports::Port;
use crate::postgres::Postgres;
use crate::psql::PostgresAdmin;
use crate::redis::{Redis, RedisUse};
use crate::redis_admin::RedisAdmin;
use crate::state::{self, State};

/// Where the shared PostgreSQL is: `postgres://user:password@host:port`.
pub const POSTGRES_URL: &str = "TRISTORE_TEST_POSTGRES_URL";
/// Where the shared MongoDB is, as who may make users, roles and databases: `mongodb://user:password@host:port/?options`.
pub const MONGODB_URL: &str = "TRISTORE_TEST_MONGODB_URL";
/// Where the shared Redis for sessions is: `redis://:password@host:port`.
pub const REDIS_SESSION_URL: &str = "TRISTORE_TEST_REDIS_SESSION_URL";
/// Where the shared Redis for events and cache is.
pub const REDIS_EVENTS_URL: &str = "TRISTORE_TEST_REDIS_EVENTS_URL";

/// The servers that the tests of this process use.
#[derive(Debug)]
pub struct TestServers {
    state: OnceCell<Arc<State>>,
    postgres: OnceCell<(PostgresAdmin, Option<Postgres>)>,
    pgbouncer: OnceCell<PgBouncer>,
    pgbouncer_ignoring: OnceCell<PgBouncer>,
    mongo: OnceCell<(MongoAdmin, Option<Mongo>)>,
    redis_session: OnceCell<(RedisAdmin, Option<Redis>)>,
    redis_events: OnceCell<(RedisAdmin, Option<Redis>)>,
}

impl TestServers {
    /// The one set of this process. Nothing is started before it is asked for.
    pub fn get() -> &'static Self {
        static SERVERS: TestServers = TestServers {
            state: OnceCell::const_new(),
            postgres: OnceCell::const_new(),
            pgbouncer: OnceCell::const_new(),
            pgbouncer_ignoring: OnceCell::const_new(),
            mongo: OnceCell::const_new(),
            redis_session: OnceCell::const_new(),
            redis_events: OnceCell::const_new(),
        };
        &SERVERS
    }

    /// PostgreSQL.
    ///
    /// # Errors
    /// When it is not available.
    pub async fn postgres(&self) -> Result<&PostgresAdmin> {
        let start = async || {
            if let Some(url) = env::var(POSTGRES_URL) {
                return Ok((PostgresAdmin::new(&url)?, None));
            }
            let server = Postgres::start(self.state().await?, Port::Free, Lifetime::WithParent).await?;
            anyhow::Ok((server.admin().clone(), Some(server)))
        };
        Ok(&self.postgres.get_or_try_init(start).await.context("tests need PostgreSQL")?.0)
    }

    /// A pooler before PostgreSQL. Each test process has its own.
    ///
    /// # Errors
    /// When it is not available, or PostgreSQL is not.
    pub async fn pgbouncer(&self, settings: Settings) -> Result<&PgBouncer> {
        let cell = match settings {
            Settings::Refused => &self.pgbouncer,
            Settings::Ignored => &self.pgbouncer_ignoring,
        };
        let start = async || {
            let (state, admin) = (self.state().await?, self.postgres().await?);
            PgBouncer::start(state, admin, settings, Port::Free, Lifetime::WithParent).await
        };
        cell.get_or_try_init(start).await.context("tests need PgBouncer")
    }

    /// MongoDB.
    ///
    /// # Errors
    /// When it is not available.
    pub async fn mongo(&self) -> Result<&MongoAdmin> {
        let start = async || {
            if let Some(url) = env::var(MONGODB_URL) {
                return Ok((MongoAdmin::new(&url)?, None));
            }
            let server = Mongo::start(self.state().await?, Port::Free, Lifetime::WithParent, true).await?;
            anyhow::Ok((server.admin().clone(), Some(server)))
        };
        Ok(&self.mongo.get_or_try_init(start).await.context("tests need MongoDB")?.0)
    }

    /// The Redis for sessions.
    ///
    /// # Errors
    /// When it is not available.
    pub async fn redis_session(&self) -> Result<&RedisAdmin> {
        self.redis(&self.redis_session, REDIS_SESSION_URL, RedisUse::Sessions).await
    }

    /// The Redis for events and cache.
    ///
    /// # Errors
    /// When it is not available.
    pub async fn redis_events(&self) -> Result<&RedisAdmin> {
        self.redis(&self.redis_events, REDIS_EVENTS_URL, RedisUse::EventsAndCache).await
    }

    async fn redis<'a>(
        &self,
        cell: &'a OnceCell<(RedisAdmin, Option<Redis>)>,
        variable: &str,
        kind: RedisUse,
    ) -> Result<&'a RedisAdmin> {
        let start = async || {
            if let Some(url) = env::var(variable) {
                return Ok((RedisAdmin::new(&url)?, None));
            }
            let server = Redis::start(self.state().await?, kind, Port::Free, Lifetime::WithParent).await?;
            anyhow::Ok((server.admin().clone(), Some(server)))
        };
        Ok(&cell.get_or_try_init(start).await.context("tests need Redis")?.0)
    }

    async fn state(&self) -> Result<&State> {
        let open = async || {
            let state = State::for_run(&state::base()).await?;
            remove_when_we_die(&state)?;
            anyhow::Ok(Arc::new(state))
        };
        Ok(self.state.get_or_try_init(open).await?)
    }
}

/// Removes the state folder after this process has ended. Nothing of ours runs then, so a shell waits for it: its
/// standard input closes when we die.
fn remove_when_we_die(state: &State) -> Result<()> {
    const SCRIPT: &str = r#"cat; for _ in 1 2 3 4 5; do sleep 1; rm -rf -- "$1" && exit; done"#;
    let mut command = tool("sh");
    command.args(["-c", SCRIPT, "tidy"]).arg(state.root()).stdin(Stdio::piped());
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("starting a shell")?;
    // Never dropped: the pipe stays open exactly as long as this process lives.
    std::mem::forget(child);
    Ok(())
}
