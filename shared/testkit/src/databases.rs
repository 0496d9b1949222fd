//! All four database servers of one run.

use std::sync::Arc;

use anyhow::{Context, Result};

use crate::launch::Lifetime;
use crate::mongo::Mongo;
use crate::mongo_users::MongoUrls;
use crate::ports::Port;
use crate::postgres::Postgres;
use crate::redis::{Redis, RedisUse};
use crate::services::DatabaseUrls;
use crate::state::State;

const USER_DATABASE: &str = "user_service";
const ORDER_DATABASE: &str = "order_service";

/// How to start them.
#[derive(Debug, Clone, Copy)]
pub struct DatabaseOptions {
    /// What becomes of them when this process dies.
    pub lifetime: Lifetime,
    /// PostgreSQL's port.
    pub postgres: Port,
    /// MongoDB's port.
    pub mongo: Port,
    /// The port of the Redis that keeps sessions.
    pub redis_session: Port,
    /// The port of the Redis for events and cache.
    pub redis_events: Port,
    /// Start no Redis for events and cache. Events must still arrive.
    pub without_event_redis: bool,
    /// Enable fail points in MongoDB.
    pub test_commands: bool,
}

impl Default for DatabaseOptions {
    /// For tests: on free ports, and ended with the test process.
    fn default() -> Self {
        Self {
            lifetime: Lifetime::WithParent,
            postgres: Port::Free,
            mongo: Port::Free,
            redis_session: Port::Free,
            redis_events: Port::Free,
            without_event_redis: false,
            test_commands: true,
        }
    }
}

/// The database servers of one run, started together.
#[derive(Debug)]
pub struct Databases {
    /// For order service.
    pub postgres: Postgres,
    /// For user service.
    pub mongo: Mongo,
    /// For session service.
    pub redis_session: Redis,
    /// For all services; `None` when the run does without it.
    pub redis_events: Option<Redis>,
    mongodb: MongoUrls,
    redis_events_url: String,
    state: Arc<State>,
}

impl Databases {
    /// Starts them side by side in `state`.
    ///
    /// # Errors
    /// When one does not start. The others are stopped again.
    pub async fn start(state: Arc<State>, options: DatabaseOptions) -> Result<Self> {
        let DatabaseOptions { lifetime, .. } = options;
        let events = async {
            if options.without_event_redis {
                return Ok(None);
            }
            Redis::start(&state, RedisUse::EventsAndCache, options.redis_events, lifetime).await.map(Some)
        };
        // The futures of MongoDB's driver are large, and whoever starts a system would carry them along.
        let mongo = Box::pin(async {
            let server = Mongo::start(&state, options.mongo, lifetime, options.test_commands).await?;
            let urls = server.urls(&state, USER_DATABASE).await?;
            anyhow::Ok((server, urls))
        });
        let (postgres, mongo, redis_session, redis_events) = tokio::join!(
            Postgres::start(&state, options.postgres, lifetime),
            mongo,
            Redis::start(&state, RedisUse::Sessions, options.redis_session, lifetime),
            events,
        );
        let redis_events = redis_events.context("starting the Redis for events and cache")?;
        // Without the server the services still get an address, at which nobody listens.
        let redis_events_url = match &redis_events {
            Some(server) => server.url(0),
            None => format!("redis://127.0.0.1:{}/0", options.redis_events.choose()?),
        };
        let (mongo, mongodb) = mongo.context("starting MongoDB")?;
        Ok(Self {
            postgres: postgres.context("starting PostgreSQL")?,
            mongo,
            mongodb,
            redis_session: redis_session.context("starting the Redis for sessions")?,
            redis_events,
            redis_events_url,
            state,
        })
    }

    /// Where the Redis for events and cache is, or would be.
    #[must_use]
    pub fn redis_events_url(&self) -> &str {
        &self.redis_events_url
    }

    /// The addresses for the services of a whole system, each with a database of its own, which is made if necessary.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn urls_for_services(&self) -> Result<DatabaseUrls> {
        let admin = self.postgres.admin();
        if !admin.has_database(ORDER_DATABASE).await? {
            admin.create_database(ORDER_DATABASE).await?;
        }
        Ok(DatabaseUrls {
            mongodb: self.mongodb.runtime.clone(),
            mongodb_migrate: self.mongodb.migrate.clone(),
            mongodb_reader: self.mongodb.reader.clone(),
            mongodb_admin: self.mongodb.admin.clone(),
            postgres: self.postgres.url(ORDER_DATABASE),
            redis_session: self.redis_session.url(0),
            redis_cache: self.redis_events_url.clone(),
            redis_events: self.redis_events_url.clone(),
        })
    }

    /// The state folder.
    #[must_use]
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Stops all of them in order, each even when another had to be killed.
    ///
    /// # Errors
    /// When one had to be killed.
    pub async fn stop(&self) -> Result<()> {
        let events = async {
            match &self.redis_events {
                Some(server) => server.stop().await,
                None => Ok(()),
            }
        };
        let (postgres, mongo, session, events) =
            tokio::join!(self.postgres.stop(), self.mongo.stop(), self.redis_session.stop(), events);
        postgres.and(mongo).and(session).and(events)
    }
}
