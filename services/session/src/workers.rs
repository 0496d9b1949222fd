//! What runs in the background, on the first core only: the relay, which publishes the session streams, and the
//! consumer that ends sessions when user service deactivates a user or changes a role.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use auth::Principal;
use events::service::EventAdminServer;
use events::source::{GrpcSource, Source};
use events::{Bus, Consumer, ConsumerHandle, ConsumerOptions, LogRelay, LogRelayOptions, Stamped};
use runtime::client::Peer;
use runtime::server::Core;
use tokio_util::sync::CancellationToken;
use tonic::Extensions;

use crate::config::Config;
use crate::consumers::{REVOCATIONS, Revocations, StartOver, oldest_mark};
use crate::domain::Partition;
use crate::error::Result as OwnResult;
use crate::storage::Store;

/// How often the consumer's mark is looked for.
const LOOK: Duration = Duration::from_secs(1);

/// Starts the workers on the first core, and returns the service of their administration for every core.
///
/// # Errors
/// When the URL of the event Redis cannot be read. A Redis that does not answer is no error.
pub(crate) fn start(
    core: &Core,
    store: &Store,
    config: &Config,
    stamped: &Stamped,
    user: &Peer,
) -> Result<EventAdminServer> {
    let source = GrpcSource::new(user.channel());
    let effects = Arc::new(Revocations);
    if core.is_first() {
        let bus = Bus::connect(config.event_bus.redis_events_url.clone()).context("--redis-events-url")?;
        core.watch_event_bus(bus.clone());
        let streams = Partition::all().map(Partition::stream);
        let options =
            LogRelayOptions { continues: Some(runtime::telemetry::set_parents), ..Default::default() };
        let relay = LogRelay::new("session", store.clone(), streams, bus.clone(), options);
        core.spawn("session.relay", relay.with_stamped(stamped.clone()).run(core.workers_stop.clone()));
        let options =
            ConsumerOptions { continues: Some(runtime::telemetry::set_parents), ..Default::default() };
        let consumer =
            Consumer::new(REVOCATIONS, store.clone(), Arc::clone(&effects), source.clone(), bus, options);
        core.spawn(REVOCATIONS.name, consumer.run(core.workers_stop.clone()));
        core.spawn("session.mark", keep_mark(store.clone(), source.clone(), core.workers_stop.clone()));
    }
    let start_over = Arc::new(StartOver::new(store.clone(), source.clone()));
    let handle = ConsumerHandle::new(REVOCATIONS, store.clone(), effects, source).with_snapshot(start_over);
    Ok(EventAdminServer::new(vec![Arc::new(handle)], caller))
}

fn caller(extensions: &Extensions) -> String {
    extensions.get::<Principal>().map(Principal::key).unwrap_or_default()
}

/// Makes the consumer's mark whenever there is none: at the first start, and after Redis was flushed. It begins before
/// the oldest event that user service has. Applying an event again is harmless, and older events only ended sessions
/// that the flush has removed anyway.
async fn keep_mark<P: Source>(store: Store, source: P, stop: CancellationToken) {
    loop {
        if let Err(error) = begin_at_oldest(&store, &source).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the consumer has no mark yet, and where it begins cannot be found out"
            );
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn begin_at_oldest<P: Source>(store: &Store, source: &P) -> OwnResult<()> {
    if store.mark_exists(REVOCATIONS.name).await? {
        return Ok(());
    }
    let begin = oldest_mark(source).await?;
    if store.mark_begin(REVOCATIONS.name, &begin).await? {
        tracing::info!(
            consumer = REVOCATIONS.name,
            position = begin.position,
            "the consumer begins at this position"
        );
    }
    Ok(())
}
