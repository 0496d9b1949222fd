//! Putting the parts together: what the cores share, what each of them serves, and what a start checks first.

use std::sync::Arc;

use anyhow::Context as _;
use api::session::v1::session_service_server;
use api::user::v1::user_service_server;
use auth::{AuthLayer, CacheConfig, CachingVerifier, PolicyTable, Principal, SessionCache};
use events::service::{EventAdminServer, EventServer};
use events::source::GrpcSource;
use events::{Bus, ConsumerHandle, Effects, Resyncs, Stamped};
use runtime::client::{Identities, Peer};
use runtime::doctor_service::{DatabaseClock, DoctorServer, Program};
use runtime::health::Readiness;
use runtime::server::{Core, Service};
use runtime::sessions::RemoteVerifier;
use tonic::server::NamedService;
use types::{Clock, IdSource, SystemClock, SystemIds, chain};

use crate::app::App;
use crate::audit::{Audits, Worker};
use crate::clients::{Users, WalletBook, Wallets};
use crate::config::Config;
use crate::consumers::{CUSTOMERS, Customers, CustomersSnapshot, TRANSFERS, Transfers};
use crate::grpc;
use crate::storage::schema::Schema;
use crate::storage::{Pools, Signals, Store, Tx, Use};
use crate::transfers::{Coordinator, Waiters};
use crate::workers::{self, Workers};

/// The domain of the reasons in this service's errors.
pub const DOMAIN: &str = "order.tristore";

const PROGRAM: Program = Program { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };

/// The service: what all cores of a process share. Cheap to clone.
#[derive(Clone)]
pub struct OrderService {
    config: Arc<Config>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    pools: Pools,
    signals: Arc<Signals>,
    stamped: Stamped,
    resyncs: Resyncs,
    waiters: Arc<Waiters>,
    sessions: SessionCache,
    identities: Identities,
    bus: Bus,
}

impl OrderService {
    /// A service of this configuration; nothing is connected yet.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        Self::with_time_and_ids(config, Arc::new(SystemClock), Arc::new(SystemIds))
    }

    /// As [`OrderService::new`], with time and ids from elsewhere.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn with_time_and_ids(
        config: Config,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
    ) -> anyhow::Result<Self> {
        config.check_edges()?;
        let bus = Bus::connect(config.event_bus.redis_events_url.clone()).context("--redis-events-url")?;
        let sessions = SessionCache::new(CacheConfig::default(), Arc::clone(&clock));
        let pools = Pools::new(&config.postgres, config.server.threads).context("--postgres-url")?;
        Ok(Self {
            config: Arc::new(config),
            clock,
            ids,
            pools,
            signals: Arc::default(),
            stamped: Stamped::new(),
            resyncs: Resyncs::default(),
            waiters: Arc::default(),
            sessions,
            identities: Identities::default(),
            bus,
        })
    }

    /// Starts it on one core: connects, checks, and gives what to serve. The first core gets the workers too.
    ///
    /// # Errors
    /// When the configuration cannot be used, or PostgreSQL does not come up or may lose what it acknowledges.
    pub async fn start(self, core: Core) -> anyhow::Result<Service<CachingVerifier<RemoteVerifier>>> {
        let config = &*self.config;
        let store = self.store(Use::Calls, core.index);
        if core.is_first() {
            store.come_up().await?;
            store.assert_durable().await?;
            store.capacity_check(config.server.replicas, config.postgres.postgres_connections).await?;
        }
        let token = config.service_tokens.service_token.as_ref();
        let peers = &config.peers;
        let user =
            Peer::new("--user-url", user_service_server::SERVICE_NAME, &peers.user_url, token, &core.tls)?;
        let session = Peer::new(
            "--session-url",
            session_service_server::SERVICE_NAME,
            &peers.session_url,
            token,
            &core.tls,
        )?;
        let clients = (Users::new(&user), Wallets::new(&user));
        let transfers = self.coordinator(store.clone());
        let app = App::new(store.clone(), clients, transfers, Arc::clone(&self.clock), Arc::clone(&self.ids));
        let peers = vec![user.clone(), session.clone()];
        let doctor = DoctorServer::new(PROGRAM, database_clock(store.clone()), peers.clone());
        if core.is_first() {
            core.watch_peers(&self.identities, peers);
            let store_of_workers = self.store(Use::Workers, core.index);
            core.spawn("idle-connections", self.pools.clone().close_idle(core.workers_stop.clone()));
            workers::spawn(
                &core,
                Workers {
                    coordinator: self.coordinator(store_of_workers.clone()),
                    waiters: Arc::clone(&self.waiters),
                    sessions: self.sessions.clone(),
                    user: user.channel(),
                    auditor: Worker::new(self.audits(&core, store_of_workers.clone(), &user), config.audit),
                    store: store_of_workers,
                    bus: self.bus.clone(),
                    stamped: self.stamped.clone(),
                    outbox: config.outbox,
                },
            );
        }
        let admin = self.event_admin(&store, &user).with_resyncs(
            self.resyncs.clone(),
            core.tracker.clone(),
            core.workers_stop.clone(),
        );
        let audits = self.audits(&core, store.clone(), &user);
        let events = EventServer::new(store.clone(), core.shutdown.clone()).with_stamped(self.stamped);
        let (events, admin, doctor) = (events.into_service(), admin.into_service(), doctor.into_service());
        let services = [&grpc::SERVICES[..], &[name(&events), name(&admin), name(&doctor)]].concat();
        let routes = grpc::routes(&app, audits).add_service(events).add_service(admin).add_service(doctor);
        let policies = PolicyTable::for_services(&services)?;
        let verifier = CachingVerifier::new(RemoteVerifier::new(&session), self.sessions);
        let auth = AuthLayer::new(policies, config.service_tokens.accepted()?, verifier);
        let ready = readiness(store).with_peers(self.identities);
        Ok(Service { routes, auth, layers: Vec::new(), ready })
    }

    fn audits(&self, core: &Core, store: Store, user: &Peer) -> Audits {
        Audits::new(store, WalletBook::new(user), Arc::clone(&self.ids), core.tracker.clone())
    }

    /// Both consumers as an operator sees them. Money is never rebuilt from a snapshot.
    fn event_admin(&self, store: &Store, user: &Peer) -> EventAdminServer {
        let source = GrpcSource::new(user.channel());
        let snapshot = CustomersSnapshot { users: Users::new(user), store: store.clone() };
        let customers = ConsumerHandle::new(CUSTOMERS, store.clone(), Arc::new(Customers), source.clone())
            .with_snapshot(Arc::new(snapshot));
        let transfers = Arc::new(Transfers::new(self.coordinator(store.clone())));
        let transfers = ConsumerHandle::new(TRANSFERS, store.clone(), transfers, source);
        EventAdminServer::new(vec![Arc::new(customers), Arc::new(transfers)], |extensions| {
            extensions.get().map_or_else(String::new, Principal::key)
        })
    }

    /// Moves transfers in `store`, and wakes the calls of this process that wait for one.
    pub(crate) fn coordinator(&self, store: Store) -> Coordinator {
        Coordinator::new(store, Arc::clone(&self.ids), Arc::clone(&self.waiters), self.config.transfers)
    }

    /// What the wallet's owner's answers, events of stream `user`, do to transfers in `store`: the effects of
    /// consumer `order.transfers`.
    #[must_use]
    pub fn answers(&self, store: Store) -> impl Effects<Tx> {
        Transfers::new(self.coordinator(store))
    }

    /// The database, for one use on the core of this number.
    #[must_use]
    pub fn store(&self, usage: Use, core: usize) -> Store {
        Store::in_pools(&self.pools, usage, core, Arc::clone(&self.signals))
    }
}

impl std::fmt::Debug for OrderService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OrderService").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The full name of a service.
const fn name<S: NamedService>(_: &S) -> &'static str {
    S::NAME
}

fn database_clock(store: Store) -> DatabaseClock {
    DatabaseClock::new(move || {
        let store = store.clone();
        async move { store.database_time().await }
    })
}

/// The database answers, and has the schema that this binary was built with.
fn readiness(store: Store) -> Readiness {
    Readiness::new("postgresql", move || {
        let store = store.clone();
        async move {
            match store.schema().await {
                Ok(Schema::Complete) => Ok(()),
                Ok(Schema::Incomplete(missing)) => Err(format!("migrations are missing: {missing:?}")),
                Err(error) => Err(chain(&error)),
            }
        }
    })
}
