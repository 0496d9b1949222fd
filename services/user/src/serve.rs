//! The service put together: what all cores share, and what each core has of its own.

use std::sync::Arc;

use anyhow::Context as _;
use api::order::v1::order_service_server;
use api::session::v1::session_service_server;
use auth::{AuthLayer, CacheConfig, CachingVerifier, PolicyTable, ServiceTokens, SessionCache};
use events::service::{EventAdminServer, EventServer};
use events::{Resyncs, Stamped};
use runtime::client::{Identities, Peer};
use runtime::connections::{Spread, clients};
use runtime::doctor_service::{DatabaseClock, DoctorServer, Program};
use runtime::health::Readiness;
use runtime::server::{Core, Service};
use runtime::sessions::RemoteVerifier;
use types::{Clock, IdSource};

use crate::app::App;
use crate::audit::Audits;
use crate::clients::order::OrderClient;
use crate::config::{CONNECTIONS_OF_CLIENT, Config, MongoConfig};
use crate::grpc;
use crate::passwords::Hasher;
use crate::storage::{Shared, Store};
use crate::views::Views;
use crate::workers::{self, Workers};

const PROGRAM: Program = Program { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };

/// How this service verifies sessions.
pub type Verifier = CachingVerifier<RemoteVerifier>;

/// What all cores of the process share. Cheap to clone.
#[derive(Clone)]
pub struct UserService {
    config: Arc<Config>,
    tokens: ServiceTokens,
    shared: Shared,
    stores: Spread<Store>,
    hasher: Hasher,
    sessions: SessionCache,
    identities: Identities,
    stamped: Stamped,
    views: Views,
    resyncs: Resyncs,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
}

impl UserService {
    /// Gets ready to start cores.
    ///
    /// # Errors
    /// When the configuration cannot be: a service token that is too short, parameters that Argon2 does not take.
    pub fn new(config: Config, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> anyhow::Result<Self> {
        config.check_edges()?;
        let sessions = SessionCache::new(CacheConfig::default(), Arc::clone(&clock));
        let hasher = Hasher::new(config.passwords).context("--argon2-*")?;
        let connections = config.mongo.connections as usize;
        let stores = Spread::new(clients(connections, CONNECTIONS_OF_CLIENT, config.server.threads));
        Ok(Self {
            stores,
            tokens: config.service_tokens.accepted()?,
            shared: Shared::default(),
            hasher,
            sessions,
            identities: Identities::default(),
            stamped: Stamped::new(),
            views: Views::default(),
            resyncs: Resyncs::default(),
            config: Arc::new(config),
            clock,
            ids,
        })
    }

    /// The domain of this service's errors.
    #[must_use]
    pub fn domain() -> &'static str {
        grpc::DOMAIN
    }

    /// Starts one core: waits for the database, connects to the peers, and on the first core starts the workers.
    ///
    /// # Errors
    /// When the database does not come up, or is not one that can be trusted.
    pub async fn start(self, core: Core) -> anyhow::Result<Service<Verifier>> {
        let store = self.stores.get(&core, async || self.connect().await).await.context("--mongodb-url")?;
        if core.index < self.stores.count() {
            let renewed = store.clone().renew_client(self.config_of_client(), core.workers_stop.clone());
            core.spawn("mongodb-client", renewed);
        }
        if core.is_first() {
            if self.hasher.is_weak() {
                tracing::warn!(
                    passwords = ?self.config.passwords,
                    "password hashes take less work than OWASP advises at the least: 19456 KiB and 2 passes, or as much"
                );
            }
            store.require_ours().await.context("--mongodb-url")?;
            store.lifetime_check().await;
            store.capacity_check(self.config.server.replicas, self.connections()).await;
        }
        let token = self.config.service_tokens.service_token.as_ref();
        let peers = &self.config.peers;
        let session_service = Peer::new(
            "--session-url",
            session_service_server::SERVICE_NAME,
            &peers.session_url,
            token,
            &core.tls,
        )?;
        let order_service =
            Peer::new("--order-url", order_service_server::SERVICE_NAME, &peers.order_url, token, &core.tls)?;
        let app =
            App::new(store.clone(), self.hasher.clone(), Arc::clone(&self.clock), Arc::clone(&self.ids))
                .with_views(self.views.clone());
        let orders = OrderClient::new(&order_service);
        let audits = Audits::new(store.clone(), orders.clone());
        let events =
            EventServer::new(store.clone(), core.shutdown.clone()).with_stamped(self.stamped.clone());
        let peers = vec![session_service.clone(), order_service.clone()];
        let doctor = DoctorServer::new(PROGRAM, database_clock(store.clone()), peers.clone());
        let workers = Workers {
            app: app.clone(),
            store: store.clone(),
            config: Arc::clone(&self.config),
            order_service,
            sessions: self.sessions.clone(),
            stamped: self.stamped.clone(),
            views: self.views.clone(),
            clock: Arc::clone(&self.clock),
            ids: Arc::clone(&self.ids),
        };
        let admin = EventAdminServer::new(workers.consumers(), grpc::auditable).with_resyncs(
            self.resyncs.clone(),
            core.tracker.clone(),
            core.workers_stop.clone(),
        );
        if core.is_first() {
            workers::spawn(&core, &workers)?;
            core.watch_peers(&self.identities, peers);
            core.spawn("password-memory", self.hasher.give_back_memory(core.workers_stop.clone()));
        }
        let verifier = CachingVerifier::new(RemoteVerifier::new(&session_service), self.sessions.clone());
        let policies = PolicyTable::for_services(&grpc::SERVICES)?;
        Ok(Service {
            routes: grpc::routes(&app, audits, orders, events, admin, doctor),
            auth: AuthLayer::new(policies, self.tokens.clone(), verifier),
            layers: Vec::new(),
            ready: readiness(store).with_peers(self.identities),
        })
    }
}

impl UserService {
    /// A client with its share of the connections.
    async fn connect(&self) -> anyhow::Result<Store> {
        Store::open(&self.config_of_client(), self.shared.clone()).await
    }

    fn config_of_client(&self) -> MongoConfig {
        self.config.mongo.of_one_client(self.stores.count())
    }

    /// The most connections of this process to one member of the replica set.
    fn connections(&self) -> usize {
        self.config.mongo.connections_of(self.stores.count())
    }
}

impl std::fmt::Debug for UserService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserService").field("config", &self.config).finish_non_exhaustive()
    }
}

fn database_clock(store: Store) -> DatabaseClock {
    DatabaseClock::new(move || {
        let store = store.clone();
        async move { store.now().await }
    })
}

/// The database answers and is migrated. A schema that was complete once is so for as long as this process runs: what
/// a later migration takes away is nothing that code of a release before it still needs.
fn readiness(store: Store) -> Readiness {
    let migrated = Arc::new(std::sync::atomic::AtomicBool::new(false));
    Readiness::new("mongodb", move || {
        let (store, migrated) = (store.clone(), Arc::clone(&migrated));
        async move {
            if migrated.load(std::sync::atomic::Ordering::Relaxed) {
                return store.ping().await;
            }
            store.require_migrated().await?;
            migrated.store(true, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        }
    })
}
