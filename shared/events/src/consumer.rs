//! A durable consumer: it applies a stream to its own database, each event once and in order, whatever the channel
//! loses.
//!
//! `machine.rs` has the rules, `consumer/apply.rs` applies the events, and `consumer/stint.rs` is the loop that waits
//! for the channel, the producer and the database. This file decides which replica runs that loop.

pub(crate) mod apply;
mod ask;
pub(crate) mod claim;
pub(crate) mod metrics;
mod options;
mod stint;
pub(crate) mod transactions;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::apply::Applier;
use self::claim::{Claim, lease_backoff};
use self::metrics::{Counts, Standing};
pub use self::options::ConsumerOptions;
use self::stint::{End, Stint, parked_aggregates};
use crate::bus::{Channel, events_channel};
use crate::effects::Effects;
use crate::pace::{Throttle, jittered};
use crate::source::Source;
use crate::store::{ConsumerId, ConsumerStore, LeasedMark, Mark};

/// After so many ticks without a message the connection is taken for dead.
const DEAD_TICKS: u32 = 20;
/// How often a halted consumer looks whether an operator has resynced it.
const HALTED_POLL: Duration = Duration::from_secs(1);
/// How long giving the lease back at a shutdown may take.
const SHUTDOWN_MAX: Duration = Duration::from_secs(1);

/// Applies one stream for one purpose.
pub struct Consumer<S, E, P, C> {
    claim: Claim<S>,
    effects: Arc<E>,
    source: P,
    bus: C,
    options: ConsumerOptions,
    counts: Counts,
}

impl<S, E, P, C> Consumer<S, E, P, C>
where
    S: ConsumerStore,
    E: Effects<S::Tx>,
    P: Source,
    C: Channel,
{
    /// A consumer that keeps its mark in `store` and applies `effects`; what `bus` loses it gets from `source`.
    pub fn new(
        consumer: ConsumerId,
        store: S,
        effects: Arc<E>,
        source: P,
        bus: C,
        options: ConsumerOptions,
    ) -> Self {
        let (claim, counts) = (Claim::new(consumer, store, options.lease), Counts::of(consumer));
        Self { claim, effects, source, bus, options, counts }
    }

    /// Runs until the shutdown. One of several replicas applies the events; the others wait for its lease.
    pub async fn run(self, shutdown: CancellationToken) {
        let consumer = self.claim.consumer;
        let mut backoff = lease_backoff();
        let mut warnings = Throttle::default();
        let mut halt_is_logged = false;
        let mut standing: Option<Standing> = None;
        while !shutdown.is_cancelled() {
            let leased = tokio::select! {
                () = shutdown.cancelled() => break,
                leased = self.claim.lease() => leased,
            };
            match &leased {
                Ok(Some(_)) if standing.is_none() => standing = Some(Standing::new(consumer)),
                // Whoever does not know whether it has the lease tells nothing.
                Ok(None) | Err(_) => standing = None,
                Ok(Some(_)) => {}
            }
            let pause = match leased {
                Ok(Some(LeasedMark { halted: Some(reason), .. })) => {
                    if !std::mem::replace(&mut halt_is_logged, true) {
                        tracing::error!(consumer = consumer.name, reason, "the consumer is halted");
                    }
                    if let Some(standing) = &mut standing {
                        standing.halted(&reason);
                        if let Ok(aggregates) = parked_aggregates(&self.claim.store, consumer).await {
                            standing.parked(aggregates);
                        }
                    }
                    HALTED_POLL
                }
                Ok(Some(LeasedMark { mark, .. })) => {
                    halt_is_logged = false;
                    backoff.reset();
                    tracing::info!(
                        consumer = consumer.name,
                        position = mark.position,
                        "took the lease; consuming the stream"
                    );
                    let told = standing.get_or_insert_with(|| Standing::new(consumer));
                    match self.stint(mark).run(&shutdown, told).await {
                        End::Shutdown => break,
                        End::MarkMoved => Duration::ZERO,
                        End::Halted => HALTED_POLL,
                        End::LeaseLost => {
                            standing = None;
                            tracing::info!(
                                consumer = consumer.name,
                                "lost the lease; another replica consumes the stream"
                            );
                            self.options.lease / 3
                        }
                    }
                }
                Ok(None) => {
                    backoff.reset();
                    self.options.lease / 3
                }
                Err(error) => {
                    if warnings.ready() {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(
                            consumer = consumer.name,
                            error,
                            "cannot take the lease of the mark now; trying again"
                        );
                    }
                    backoff.next_delay()
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = sleep(jittered(pause)) => {}
            }
        }
        fault::point!("consumer.leaving", consumer.name);
        if tokio::time::timeout(SHUTDOWN_MAX, self.claim.release()).await.is_err() {
            tracing::debug!(consumer = consumer.name, "could not give the lease back; it runs out by itself");
        }
    }
    fn stint(&self, mark: Mark) -> Stint<S, E, P> {
        let Self { claim, effects, source, bus, options, counts } = self;
        let channels = vec![events_channel(claim.consumer.stream)];
        let subscription = bus.subscribe(channels, Some(options.tick * DEAD_TICKS));
        let applier = Applier::new(claim.clone(), effects.clone(), options.clone(), counts.clone());
        Stint::new(
            claim.clone(),
            mark,
            applier,
            source.clone(),
            subscription,
            options.clone(),
            counts.clone(),
        )
    }
}
