//! The sequencer gives a stream's committed events their positions. One process at a time does this for a stream.
//!
//! Leases, fences and positions live in the database ([`OutboxStore`]); this is the loop around them. A process never
//! decides by its own clock whether it still owns the stream: every write checks the fence. A replica without the lease
//! passes hints of commits on to the one that has it.

pub(crate) mod metrics;
mod options;
mod relay;

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::metrics::{OfStream, Owned};
pub use self::options::SequencerOptions;
use self::relay::Relay;
use crate::bus::{Channel, Outgoing, Signal, Subscription, wake_channel};
use crate::pace::{Backoff, Throttle, jittered};
use crate::stamped::Stamped;
use crate::store::{Head, Lease, OutboxStore, Silent, Stamp, StoreError};

const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_LONGEST: Duration = Duration::from_secs(1);
/// How long the last work at a shutdown may take. A lease that is not given back runs out by itself.
const SHUTDOWN_MAX: Duration = Duration::from_secs(1);
/// How often it is measured how many events are pending.
const MEASURE_EVERY: Duration = Duration::from_secs(5);
/// The pause between stamps has so many sizes, up to the longest.
const PAUSES: u32 = 4;
/// So many events more in a stamp make the pause after it one size longer. On a stream that is so busy, processor time is
/// scarcer than milliseconds: at 2,000 events a second an order costs a tenth less.
const EVENTS_A_PAUSE: usize = 3;
/// The shortest time between two hints that a replica without the lease passes on.
const HINT_PAUSE: Duration = Duration::from_millis(2);

/// Stamps and publishes one stream, whenever it has the lease.
pub struct Sequencer<S, C> {
    store: S,
    stream: String,
    bus: C,
    options: SequencerOptions,
    stamped: Stamped,
    owner: Uuid,
    metrics: OfStream,
}

impl<S: OutboxStore, C: Channel> Sequencer<S, C> {
    /// A sequencer for a stream of this store.
    pub fn new(store: S, stream: impl Into<String>, bus: C, options: SequencerOptions) -> Self {
        let (owner, stream) = (Uuid::new_v4(), stream.into());
        let metrics = OfStream::new(&stream);
        Self { store, stream, bus, options, stamped: Stamped::new(), owner, metrics }
    }

    /// Wakes followers in this process through `stamped`.
    #[must_use]
    pub fn with_stamped(mut self, stamped: Stamped) -> Self {
        self.stamped = stamped;
        self
    }

    /// Runs until the shutdown, then gives the lease back.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LONGEST);
        let mut warnings = Throttle::default();
        // What the holder of the lease tells. It goes on where a stamp fails: the lease is taken again at once, and how many
        // events wait matters most then.
        let mut owned = None;
        while !shutdown.is_cancelled() {
            let failed = tokio::select! {
                () = shutdown.cancelled() => break,
                taken = self.store.lease(&self.stream, self.owner, self.options.lease) => match taken {
                    Ok(Some(lease)) => {
                        let told = owned.get_or_insert_with(|| self.metrics.owned());
                        self.own(&lease, told, &shutdown, &mut backoff).await.err()
                    }
                    Ok(None) => {
                        owned = None;
                        backoff.reset();
                        self.stand_by(&shutdown).await;
                        None
                    }
                    // Perhaps another one has it by now.
                    Err(error) => {
                        owned = None;
                        Some(error)
                    }
                },
            };
            if let Some(error) = failed {
                if warnings.ready() {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(stream = self.stream, error, "cannot stamp events now; trying again");
                }
                // A store that does not answer holds up no try.
                let measure = async {
                    if let Some(owned) = &mut owned {
                        self.measure_once(owned).await;
                    }
                    std::future::pending().await
                };
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    () = backoff.pause() => {}
                    () = measure => {}
                }
            }
        }
        drop(owned);
        fault::point!("sequencer.leaving", &self.stream);
        // A lease that is taken for no time has run out at once.
        let release = self.store.lease(&self.stream, self.owner, Duration::ZERO);
        if tokio::time::timeout(SHUTDOWN_MAX, release).await.is_err() {
            tracing::debug!(stream = self.stream, "could not give the lease back; it runs out by itself");
        }
    }

    /// Passes hints on to the replica that has the lease, until it is time to ask for the lease again.
    async fn stand_by(&self, shutdown: &CancellationToken) {
        let hints = async {
            loop {
                self.store.appended().await;
                let hint: Vec<Outgoing> = vec![(wake_channel(&self.stream), bytes::Bytes::new())];
                if self.bus.publish(hint).await.is_err() {
                    tokio::time::sleep(self.options.poll).await;
                }
                tokio::time::sleep(HINT_PAUSE).await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(jittered(self.options.lease / 3)) => {}
            () = hints => {}
        }
    }

    /// Works until the lease is lost, a store error or the shutdown.
    async fn own(
        &self,
        lease: &Lease,
        owned: &mut Owned,
        shutdown: &CancellationToken,
        backoff: &mut Backoff,
    ) -> Result<(), StoreError> {
        let head = self.head(lease).await?;
        let relay = Relay::new(head, lease, self.metrics.clone(), self.options.continues);
        tracing::info!(
            stream = self.stream,
            fence = lease.fence,
            head = lease.head,
            "took the lease; stamping the stream's events"
        );
        let outcome = tokio::select! {
            outcome = self.stamp(lease, &relay, backoff) => outcome,
            () = relay.run(&self.store, &self.bus, &self.options) => Ok(()),
            () = self.record_published(lease, &relay) => Ok(()),
            () = self.prune(lease, &relay) => Ok(()),
            () = self.measure(owned) => Ok(()),
            () = shutdown.cancelled() => {
                let last_work = async {
                    if relay.publish_all(&self.store, &self.bus).await.is_ok() {
                        drop(self.store.published(lease, relay.through()).await);
                    }
                };
                drop(tokio::time::timeout(SHUTDOWN_MAX, last_work).await);
                Ok(())
            }
        };
        if outcome.is_ok() && !shutdown.is_cancelled() {
            tracing::info!(
                stream = self.stream,
                fence = lease.fence,
                "lost the lease; another replica stamps the stream's events"
            );
        }
        outcome
    }

    async fn head(&self, lease: &Lease) -> Result<Head, StoreError> {
        match self.store.head(&self.stream).await? {
            Some(head) => Ok(head),
            None => {
                Err(StoreError::Permanent(format!("the leased stream {} is unknown", lease.stream).into()))
            }
        }
    }

    /// Stamps until the lease is lost.
    async fn stamp(&self, lease: &Lease, relay: &Relay, backoff: &mut Backoff) -> Result<(), StoreError> {
        let mut wakes = self.bus.subscribe(vec![wake_channel(&self.stream)], None);
        // Without a hint of an event it only looks first, which costs the database less than a stamp.
        let mut is_poll = false;
        loop {
            let began = Instant::now();
            if is_poll && self.store.is_idle(lease, self.options.lease).await? {
                backoff.reset();
                self.stamped.beat(false);
                is_poll = self.wait_for_hint(relay, &mut wakes).await;
                continue;
            }
            let stamp = self.store.stamp(lease, self.options.batch_max, self.options.lease).await?;
            let Stamp::Stamped(events) = stamp else {
                return Ok(());
            };
            backoff.reset();
            if !events.is_empty() {
                fault::point!("sequencer.stamped", &self.stream);
            }
            let full = events.len() >= self.options.batch_max;
            let pause_until = began + pause_after(events.len(), self.options.batch_wait_max);
            self.stamped.beat(!events.is_empty());
            relay.push(events);
            if full {
                is_poll = false;
                continue;
            }
            is_poll = self.wait_for_hint(relay, &mut wakes).await;
            sleep_until(pause_until).await;
            is_poll &= !self.take_hints(&mut wakes);
        }
    }

    /// Waits for a hint of an event, or until it is time to look without one; `true` when no hint came.
    async fn wait_for_hint(&self, relay: &Relay, wakes: &mut Subscription) -> bool {
        let poll = if relay.is_away() { self.options.poll_bus_away } else { self.options.poll };
        let poll = tokio::time::sleep(jittered(poll.min(self.options.lease / 3)));
        tokio::pin!(poll);
        loop {
            tokio::select! {
                () = self.store.appended() => return false,
                () = &mut poll => return true,
                signal = wakes.next() => if matches!(signal, Signal::Message { .. }) { return false },
            }
        }
    }

    /// Takes the hints that came during a pause, since the next stamp finds their events too; `true` when there were any.
    fn take_hints(&self, wakes: &mut Subscription) -> bool {
        let mut any = self.store.appended().now_or_never().is_some();
        while let Some(signal) = wakes.next().now_or_never() {
            any |= matches!(signal, Signal::Message { .. });
        }
        any
    }

    /// Records now and then how far events were published; returns when the lease is lost.
    async fn record_published(&self, lease: &Lease, relay: &Relay) {
        let mut recorded = lease.published_through;
        loop {
            tokio::time::sleep(self.options.heartbeat).await;
            let through = relay.through();
            if through == recorded {
                continue;
            }
            match self.store.published(lease, through).await {
                Ok(true) => recorded = through,
                Ok(false) => return,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(
                        stream = self.stream,
                        error,
                        "cannot record now how far events were published"
                    );
                }
            }
        }
    }

    /// Measures what is pending now and then, without end. What cannot be measured is not told of.
    async fn measure(&self, owned: &mut Owned) {
        loop {
            self.measure_once(owned).await;
            tokio::time::sleep(MEASURE_EVERY).await;
        }
    }

    async fn measure_once(&self, owned: &mut Owned) {
        let pending = self.store.pending(&self.stream).await;
        if let Err(error) = &pending {
            let error = error as &dyn std::error::Error;
            tracing::debug!(stream = self.stream, error, "cannot count the pending events now");
        }
        owned.pending(pending.ok().as_ref());
    }

    /// Prunes now and then, without end.
    async fn prune(&self, lease: &Lease, relay: &Relay) {
        let mut warnings = Throttle::default();
        loop {
            tokio::time::sleep(jittered(self.options.prune_every)).await;
            if let Err(error) = self.prune_once(lease, relay).await
                && warnings.ready()
            {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(stream = self.stream, error, "cannot prune old events now; trying again");
            }
        }
    }

    async fn prune_once(&self, lease: &Lease, relay: &Relay) -> Result<(), StoreError> {
        let batch = self.options.prune_batch_max;
        let mut pruned = 0;
        loop {
            let count = self.store.prune(lease, self.options.retention, batch).await?;
            pruned += count;
            if count > 0 {
                fault::point!("pruner.pruned", &self.stream);
            }
            if usize::try_from(count).is_ok_and(|count| count < batch) {
                break;
            }
        }
        if pruned > 0 {
            tracing::info!(stream = self.stream, pruned, "pruned old events");
            relay.set_oldest(self.head(lease).await?.oldest);
        }
        self.warn_of_silent_consumers().await
    }

    /// Warns of consumers that are perhaps gone: what they have not acknowledged is kept for ever.
    async fn warn_of_silent_consumers(&self) -> Result<(), StoreError> {
        for silent in self.store.silent_consumers(&self.stream, self.options.silent_after).await? {
            let Silent { consumer, acknowledged, is_of_epoch } = silent;
            tracing::warn!(
                stream = self.stream,
                consumer,
                acknowledged,
                is_of_epoch,
                "a consumer has not acknowledged for long, or only in another epoch; the events that it needs are not pruned"
            );
        }
        Ok(())
    }
}

/// How long the next stamp waits after one of so many events began: `longest` after ten or more.
fn pause_after(count: usize, longest: Duration) -> Duration {
    let pauses = u32::try_from(count.div_ceil(EVENTS_A_PAUSE)).unwrap_or(PAUSES);
    longest * pauses.min(PAUSES) / PAUSES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_with_the_events_of_a_stamp_up_to_the_longest() {
        let longest = Duration::from_millis(8);
        for (counts, millis) in [(0..=0, 0), (1..=3, 2), (4..=6, 4), (7..=9, 6), (10..=1_000, 8)] {
            for count in counts {
                assert_eq!(pause_after(count, longest), Duration::from_millis(millis), "{count}");
                assert_eq!(pause_after(count, Duration::ZERO), Duration::ZERO, "{count}");
            }
        }
    }
}
