//! What runs in the background, on the first core: the sequencer of our stream, the consumers of order service's
//! and of our own, and whatever else waits for a time or an event.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use auth::SessionCache;
use events::service::EventServer;
use events::source::{GrpcSource, Source};
use events::{
    Bus, Consumer, ConsumerAdmin, ConsumerHandle, ConsumerId, ConsumerOptions, Effects, Sequencer, Stamped,
};
use runtime::client::{Peer, PeerChannel};
use runtime::server::Core;
use runtime::sessions::spawn_guard;
use tokio_util::sync::CancellationToken;
use types::{Clock, IdSource};

use crate::app::App;
use crate::clients::order::OrderClient;
use crate::clients::order_statistics::StatisticsClient;
use crate::config::Config;
use crate::consumers::{COUNTERS_CONSUMER, Counters, STATISTICS_CONSUMER, Statistics, StatisticsSnapshot};
use crate::storage::{STREAM, Store, Tx};
use crate::transfers::expiry::{Expiry, ExpiryOptions};
use crate::transfers::{self, TransferEffects};
use crate::views::Views;
use crate::{erasure, jobs, windows};

/// How often it is asked whether somebody has migrated the database.
const SCHEMA_POLL: Duration = Duration::from_secs(1);
/// How often holds are looked for that are past their time. A decision that comes as an event needs none of this.
const EXPIRY_EVERY: Duration = Duration::from_secs(2);
/// How far past its time a hold is when it is complained of.
const EXPIRY_ALARM: Duration = Duration::from_secs(60);

/// What the workers work with.
pub(crate) struct Workers {
    pub(crate) app: App,
    pub(crate) store: Store,
    pub(crate) config: Arc<Config>,
    pub(crate) order_service: Peer,
    pub(crate) sessions: SessionCache,
    pub(crate) stamped: Stamped,
    pub(crate) views: Views,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
}

impl Workers {
    /// The consumers as an operator sees them.
    pub(crate) fn consumers(&self) -> Vec<Arc<dyn ConsumerAdmin>> {
        let (store, source) = (self.store.clone(), self.source());
        let orders = StatisticsClient::new(&self.order_service);
        let statistics = StatisticsSnapshot { store: store.clone(), orders };
        vec![
            Arc::new(ConsumerHandle::new(
                transfers::CONSUMER,
                store.clone(),
                self.transfers(),
                source.clone(),
            )),
            Arc::new(
                ConsumerHandle::new(STATISTICS_CONSUMER, store.clone(), self.statistics(), source)
                    .with_snapshot(Arc::new(statistics)),
            ),
            Arc::new(ConsumerHandle::new(
                COUNTERS_CONSUMER,
                store,
                self.counters(),
                self.own_source(CancellationToken::new()),
            )),
        ]
    }

    fn transfers(&self) -> Arc<TransferEffects> {
        Arc::new(TransferEffects::new(Arc::clone(&self.clock), Arc::clone(&self.ids)))
    }

    fn statistics(&self) -> Arc<Statistics> {
        Arc::new(Statistics::new(Arc::clone(&self.clock)))
    }

    fn counters(&self) -> Arc<Counters> {
        Arc::new(Counters::new(Arc::clone(&self.clock)))
    }

    /// Our own stream: what a peer asks over the network, asked of the server itself.
    fn own_source(&self, stop: CancellationToken) -> impl Source + use<> {
        let events = EventServer::new(self.store.clone(), stop).with_stamped(self.stamped.clone());
        GrpcSource::new(events.into_service())
    }

    /// Order service's stream.
    fn source(&self) -> GrpcSource<PeerChannel> {
        GrpcSource::new(self.order_service.channel())
    }
}

/// Starts all of them; those that need the schema wait for it.
///
/// # Errors
/// When the URL of the event Redis is not one.
pub(crate) fn spawn(core: &Core, workers: &Workers) -> anyhow::Result<()> {
    let url = &workers.config.event_bus.redis_events_url;
    let bus = Bus::connect(url.clone()).context("--redis-events-url")?;
    spawn_sequencer(core, workers, bus.clone());
    let (orders, own) = (workers.source(), workers.own_source(core.workers_stop.clone()));
    spawn_consumer(core, workers, bus.clone(), (transfers::CONSUMER, orders.clone()), workers.transfers());
    spawn_consumer(core, workers, bus.clone(), (STATISTICS_CONSUMER, orders), workers.statistics());
    spawn_consumer(core, workers, bus.clone(), (COUNTERS_CONSUMER, own), workers.counters());
    spawn_expiry(core, workers);
    let store = workers.store.clone();
    spawn_when_migrated(core, "post-states", workers, move |stop| jobs::fill_post_states(store, stop));
    let (app, owner) = (workers.app.clone(), workers.ids.next());
    spawn_when_migrated(core, "deleted-posts", workers, move |stop| erasure::of_posts(app, owner, stop));
    let (app, owner) = (workers.app.clone(), workers.ids.next());
    spawn_when_migrated(core, "erasure", workers, move |stop| erasure::of_users(app, owner, stop));
    let (views, store, clock) = (workers.views.clone(), workers.store.clone(), Arc::clone(&workers.clock));
    spawn_when_migrated(core, "post-views", workers, move |stop| views.count(store, clock, stop));
    let (store, clock) = (workers.store.clone(), Arc::clone(&workers.clock));
    spawn_when_migrated(core, "windows-fill", workers, move |stop| windows::fill(store, clock, stop));
    let (store, clock) = (workers.store.clone(), Arc::clone(&workers.clock));
    spawn_when_migrated(core, "windows-leave", workers, move |stop| windows::leave(store, clock, stop));
    let store = workers.store.clone();
    spawn_when_migrated(core, "user-search", workers, move |stop| jobs::fill_user_search(store, stop));
    core.watch_event_bus(bus.clone());
    spawn_guard(core, bus, workers.sessions.clone());
    Ok(())
}

fn spawn_sequencer(core: &Core, workers: &Workers, bus: Bus) {
    let options = workers.config.outbox.sequencer();
    let sequencer =
        Sequencer::new(workers.store.clone(), STREAM, bus, options).with_stamped(workers.stamped.clone());
    spawn_when_migrated(core, "sequencer", workers, move |stop| sequencer.run(stop));
}

fn spawn_consumer<E: Effects<Tx>>(
    core: &Core,
    workers: &Workers,
    bus: Bus,
    (id, source): (ConsumerId, impl Source),
    effects: Arc<E>,
) {
    let options =
        ConsumerOptions { continues: Some(runtime::telemetry::set_parents), ..ConsumerOptions::default() };
    let consumer = Consumer::new(id, workers.store.clone(), effects, source, bus, options);
    spawn_when_migrated(core, id.name, workers, move |stop| consumer.run(stop));
}

fn spawn_expiry(core: &Core, workers: &Workers) {
    let expiry = Expiry {
        store: workers.store.clone(),
        orders: OrderClient::new(&workers.order_service),
        clock: Arc::clone(&workers.clock),
        ids: Arc::clone(&workers.ids),
        options: ExpiryOptions { interval: EXPIRY_EVERY, alarm_after: EXPIRY_ALARM },
        counters: Arc::default(),
    };
    spawn_when_migrated(core, "hold-expiry", workers, move |stop| expiry.run(stop));
}

/// Starts a worker once the schema is there.
fn spawn_when_migrated<F, Fut>(core: &Core, name: &'static str, workers: &Workers, worker: F)
where
    F: FnOnce(CancellationToken) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let (store, stop) = (workers.store.clone(), core.workers_stop.clone());
    core.spawn(name, async move {
        let waits = async {
            while store.require_migrated().await.is_err() {
                tokio::time::sleep(SCHEMA_POLL).await;
            }
        };
        if stop.run_until_cancelled(waits).await.is_some() {
            worker(stop).await;
        }
    });
}
