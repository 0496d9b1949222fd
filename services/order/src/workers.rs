//! What runs in the background, on the first core only.

use std::sync::Arc;
use std::time::Duration;

use auth::SessionCache;
use events::source::GrpcSource;
use events::{Bus, Consumer, ConsumerId, ConsumerOptions, Effects, Ephemeral, Sequencer, Stamped};
use runtime::client::PeerChannel;
use runtime::config::OutboxConfig;
use runtime::server::Core;
use runtime::sessions::spawn_guard;
use tokio_util::sync::CancellationToken;

use crate::audit::Worker;
use crate::consumers::{CUSTOMERS, Customers, Moves, TRANSFERS, Transfers};
use crate::storage::schema::Schema;
use crate::storage::{STREAM, Store, Tx};
use crate::transfers::{Coordinator, Recovery, Waiters};

/// How often the schema is looked at until it is complete.
const SCHEMA_POLL: Duration = Duration::from_secs(1);
/// How often outcomes whose time is over are deleted, and how many at once.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
const PRUNE_BATCH: i64 = 1000;

/// What the workers work with.
pub(crate) struct Workers {
    pub(crate) store: Store,
    pub(crate) bus: Bus,
    pub(crate) stamped: Stamped,
    pub(crate) outbox: OutboxConfig,
    pub(crate) coordinator: Coordinator,
    /// The calls of this process that wait for a transfer.
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) auditor: Worker,
    pub(crate) sessions: SessionCache,
    /// User service, for the events that Redis loses.
    pub(crate) user: PeerChannel,
}

/// Starts all of them. They wait for the schema first.
pub(crate) fn spawn(core: &Core, workers: Workers) {
    let Workers { store, bus, stamped, outbox, coordinator, waiters, sessions, user, auditor } = workers;
    let sequencer =
        Sequencer::new(store.clone(), STREAM, bus.clone(), outbox.sequencer()).with_stamped(stamped);
    spawn_when_migrated(core, "sequencer", &store, move |stop| sequencer.run(stop));
    let consume = Consume { core, store: &store, user, bus: &bus };
    consume.spawn(CUSTOMERS, Customers);
    consume.spawn(TRANSFERS, Transfers::new(coordinator.clone()));
    let moves = Ephemeral::new([STREAM.to_owned()], bus.clone(), Moves::new(waiters));
    core.spawn("transfer-listener", moves.run(core.workers_stop.clone()));
    core.watch_event_bus(bus.clone());
    spawn_guard(core, bus, sessions);
    let recovery = Recovery::new(coordinator);
    spawn_when_migrated(core, "recovery", &store, move |stop| recovery.run(stop));
    spawn_when_migrated(core, "auditor", &store, move |stop| auditor.run(stop));
    let pruned = store.clone();
    spawn_when_migrated(core, "request-pruner", &store, move |stop| prune_requests(pruned, stop));
}

/// What all consumers of user service's events share.
struct Consume<'a> {
    core: &'a Core,
    store: &'a Store,
    user: PeerChannel,
    bus: &'a Bus,
}

impl Consume<'_> {
    fn spawn(&self, consumer: ConsumerId, effects: impl Effects<Tx>) {
        let options = ConsumerOptions {
            continues: Some(runtime::telemetry::set_parents),
            ..ConsumerOptions::default()
        };
        let source = GrpcSource::new(self.user.clone());
        let worker =
            Consumer::new(consumer, self.store.clone(), Arc::new(effects), source, self.bus.clone(), options);
        spawn_when_migrated(self.core, consumer.name, self.store, move |stop| worker.run(stop));
    }
}

fn spawn_when_migrated<F, Fut>(core: &Core, name: &'static str, store: &Store, worker: F)
where
    F: FnOnce(CancellationToken) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let (store, stop) = (store.clone(), core.workers_stop.clone());
    core.spawn(name, async move {
        while !matches!(store.schema().await, Ok(Schema::Complete)) {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(SCHEMA_POLL) => {}
            }
        }
        worker(stop).await;
    });
}

/// Deletes recorded outcomes whose time is over.
async fn prune_requests(store: Store, stop: CancellationToken) {
    loop {
        match store.requests_prune(PRUNE_BATCH).await {
            Ok(count) if count == PRUNE_BATCH.cast_unsigned() => continue,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "could not delete old outcomes");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PRUNE_EVERY) => {}
        }
    }
}
