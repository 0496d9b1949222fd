//! What runs in the background, on the first core: the sequencer of our stream, the consumers of order service's,
//! and whatever else waits for a time or an event.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use auth::SessionCache;
use events::sequencer::SequencerOptions;
use events::source::GrpcSource;
use events::{Bus, Consumer, ConsumerId, ConsumerOptions, Effects, Sequencer, Stamped};
use runtime::client::{Peer, PeerChannel};
use runtime::server::Core;
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;
use types::{Clock, IdSource};

use crate::app::{STATISTICS_CONSUMER, Statistics};
use crate::clients::order::OrderClient;
use crate::config::Config;
use crate::service::require_migrated;
use crate::storage::{STREAM, Store, Tx};
use crate::transfers::expiry::{Expiry, ExpiryOptions};
use crate::transfers::{self, TransferEffects};

/// How often it is asked whether somebody has migrated the database.
const SCHEMA_POLL: Duration = Duration::from_secs(1);
/// How often holds are looked for that are past their time. A decision that comes as an event needs none of this.
const EXPIRY_EVERY: Duration = Duration::from_secs(2);
/// How far past its time a hold is when it is complained of.
const EXPIRY_ALARM: Duration = Duration::from_secs(60);

/// What the workers work with.
pub(crate) struct Workers {
    pub(crate) store: Store,
    pub(crate) config: Arc<Config>,
    pub(crate) order_service: Peer,
    pub(crate) session_service: Peer,
    pub(crate) sessions: SessionCache,
    pub(crate) stamped: Stamped,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
}

/// Starts all of them; those that need the schema wait for it.
///
/// # Errors
/// When the event Redis' URL is none.
pub(crate) fn spawn(core: &Core, workers: Workers) -> anyhow::Result<()> {
    let url = workers.config.peers.redis_events_url.expose_secret();
    let bus = Bus::connect(url).context("--redis-events-url")?;
    spawn_sequencer(core, &workers, bus.clone());
    let transfers = TransferEffects::new(Arc::clone(&workers.clock), Arc::clone(&workers.ids));
    spawn_consumer(core, &workers, bus.clone(), transfers::CONSUMER, transfers);
    spawn_consumer(core, &workers, bus, STATISTICS_CONSUMER, Statistics);
    spawn_expiry(core, &workers);
    Ok(())
}

fn spawn_sequencer(core: &Core, workers: &Workers, bus: Bus) {
    let options = SequencerOptions { retention: workers.config.outbox.retention, ..SequencerOptions::default() };
    let sequencer =
        Sequencer::new(workers.store.clone(), STREAM, bus, options).with_stamped(workers.stamped.clone());
    let (store, stop) = (workers.store.clone(), core.workers_stop.clone());
    core.spawn("sequencer", async move {
        if migrated(&store, &stop).await {
            sequencer.run(stop).await;
        }
    });
}

fn spawn_consumer<E: Effects<Tx>>(core: &Core, workers: &Workers, bus: Bus, id: ConsumerId, effects: E) {
    let source: GrpcSource<PeerChannel> = GrpcSource::new(workers.order_service.channel());
    let store = workers.store.clone();
    let consumer = Consumer::new(id, store.clone(), Arc::new(effects), source, bus, consumer_options());
    let stop = core.workers_stop.clone();
    core.spawn(id.name, async move {
        if migrated(&store, &stop).await {
            consumer.run(stop).await;
        }
    });
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
    let (store, stop) = (workers.store.clone(), core.workers_stop.clone());
    core.spawn("hold-expiry", async move {
        if migrated(&store, &stop).await {
            expiry.run(stop).await;
        }
    });
}

/// Waits for the schema; `false` when the process stops first.
async fn migrated(store: &Store, stop: &CancellationToken) -> bool {
    let waits = async {
        while require_migrated(store).await.is_err() {
            tokio::time::sleep(SCHEMA_POLL).await;
        }
    };
    stop.run_until_cancelled(waits).await.is_some()
}

fn consumer_options() -> ConsumerOptions {
    ConsumerOptions { link: Some(runtime::telemetry::set_parent), ..ConsumerOptions::default() }
}
