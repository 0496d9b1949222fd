//! Putting the parts together: what each core serves, and what is checked at a start and at a migration.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Error, Result, bail};
use api::user::v1::user_service_server;
use auth::{AuthLayer, CountedVerifier, PolicyTable};
use events::service::EventServer;
use events::{Resyncs, Stamped};
use runtime::client::{Identities, Peer};
use runtime::connections::{Spread, clients};
use runtime::doctor_service::{DatabaseClock, DoctorServer, Program};
use runtime::health::Readiness;
use runtime::server::{Core, Service};
use types::chain;

use crate::admission::Admission;
use crate::app::App;
use crate::clients::user::Users;
use crate::config::{Config, RedisConfig};
use crate::grpc;
use crate::storage::{Appended, Store};
use crate::workers;

/// The domain of this service's errors.
pub const DOMAIN: &str = "session.tristore";

const PROGRAM: Program = Program { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };

/// What all cores of a process share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SessionService {
    config: Arc<Config>,
    appended: Arc<Appended>,
    stamped: Stamped,
    resyncs: Resyncs,
    identities: Identities,
    admission: Admission,
    stores: Spread<Store>,
}

impl SessionService {
    /// A service of this configuration; nothing is connected yet.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn new(config: Config) -> Result<Self> {
        config.check_edges()?;
        Ok(Self {
            stores: Spread::new(clients(config.redis.connections as usize, 1, config.server.threads)),
            admission: config.admission(),
            config: Arc::new(config),
            appended: Arc::default(),
            stamped: Stamped::new(),
            resyncs: Resyncs::default(),
            identities: Identities::default(),
        })
    }

    /// A store for the tokio runtime that this is called in. It connects when it is first used.
    ///
    /// # Errors
    /// When the configuration is invalid.
    pub fn store(&self) -> Result<Store> {
        let options = self.config.store_options(&self.appended)?;
        Store::lazy(&self.config.redis.url, options).context("--redis-session-url")
    }

    /// Starts the service on one core and returns what it serves. The first core also checks Redis and runs the
    /// workers.
    ///
    /// # Errors
    /// When the configuration is invalid, or Redis does not answer or is not fit to keep sessions.
    pub async fn start(self, core: Core) -> Result<Service<CountedVerifier<Store>>> {
        let config = &*self.config;
        let store = self.stores.get(&core, async || self.store()).await?;
        if core.is_first() {
            fit(&store).await?;
            store.capacity_check(config.server.replicas, self.stores.count()).await?;
        }
        let token = config.service_tokens.service_token.as_ref();
        let user = Peer::new(
            "--user-url",
            user_service_server::SERVICE_NAME,
            &config.peers.user_url,
            token,
            &core.tls,
        )?;
        if core.is_first() {
            core.watch_peers(&self.identities, vec![user.clone()]);
        }
        let users = Users::new(&user);
        let app = App::new(store.clone(), users, self.admission, core.tracker.clone());
        let events =
            EventServer::new(store.clone(), core.shutdown.clone()).with_stamped(self.stamped.clone());
        let admin = workers::start(&core, &store, config, &self.stamped, &user)?
            .with_resyncs(self.resyncs, core.tracker.clone(), core.workers_stop.clone())
            .into_service();
        let doctor = DoctorServer::new(PROGRAM, database_clock(store.clone()), vec![user]);
        let routes = grpc::routes(app, events, admin, doctor);
        let policies = PolicyTable::for_services(&grpc::SERVICES)?;
        let auth =
            AuthLayer::new(policies, config.service_tokens.accepted()?, CountedVerifier::new(store.clone()));
        let ready = readiness(store).with_peers(self.identities);
        Ok(Service { routes, auth, layers: Vec::new(), ready })
    }
}

fn database_clock(store: Store) -> DatabaseClock {
    DatabaseClock::new(move || {
        let store = store.clone();
        async move { store.database_time().await }
    })
}

/// Ready while Redis answers and its keys have our layout.
fn readiness(store: Store) -> Readiness {
    Readiness::new("session_redis", move || {
        let store = store.clone();
        async move {
            match store.schema_fits().await {
                Ok(fits) => fits,
                Err(error) => Err(chain(&error)),
            }
        }
    })
}

/// Waits until Redis answers, and refuses a Redis that would lose sessions or that has another layout.
async fn fit(store: &Store) -> Result<()> {
    store.come_up().await?;
    let unfit = store.unfit().await?;
    if !unfit.is_empty() {
        bail!("the session Redis may not keep sessions: {}", unfit.join("; "));
    }
    if let Err(layout) = store.schema_fits().await? {
        bail!("the session Redis is not migrated: {layout}");
    }
    Ok(())
}

/// Checks Redis and its layout, and loads the scripts. There is one layout so far, so nothing is converted.
///
/// # Errors
/// When Redis does not answer, is not fit to keep sessions, or has a layout that this version does not know.
pub async fn migrate(config: RedisConfig) -> Result<()> {
    let store = Store::for_migration(&config.url, config.command_timeout.max(Duration::from_secs(2)))
        .context("--redis-session-url")?;
    fit(&store).await?;
    let loaded = store.scripts_load().await;
    loaded
        .map(drop)
        .map_err(|(name, error)| Error::from(error).context(format!("script {name} cannot be loaded")))
}
