//! A durable consumer: applies a stream to its own database, each event once and in order, whatever the
//! channel loses. The rules are in `machine.rs`, the transactions in `consumer/apply.rs`, the loop that
//! waits for everything at once in `consumer/stint.rs`; this decides which replica runs it.

pub(crate) mod apply;
pub(crate) mod claim;
mod options;
mod stint;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::claim::{Claim, lease_backoff};
pub use self::options::ConsumerOptions;
use self::stint::{End, Stint};
use crate::bus::{Channel, events_channel};
use crate::effects::Effects;
use crate::pace::{Throttle, jittered};
use crate::source::Source;
use crate::store::{ConsumerId, ConsumerStore, LeasedMark, Mark};

/// A connection without a word for so many ticks is made anew.
const DEAD_TICKS: u32 = 20;
const HALTED_LOOK: Duration = Duration::from_secs(1);
const FAREWELL: Duration = Duration::from_secs(1);

/// Applies one stream for one purpose.
pub struct Consumer<S, E, P, C> {
    claim: Claim<S>,
    effects: Arc<E>,
    source: P,
    bus: C,
    options: ConsumerOptions,
}

impl<S, E, P, C> Consumer<S, E, P, C>
where
    S: ConsumerStore,
    E: Effects<S::Tx>,
    P: Source,
    C: Channel,
{
    /// A consumer that keeps its mark in `store`, does `effects`, and gets what `bus` loses from `source`.
    pub fn new(
        consumer: ConsumerId,
        store: S,
        effects: Arc<E>,
        source: P,
        bus: C,
        options: ConsumerOptions,
    ) -> Self {
        Self { claim: Claim::new(consumer, store, options.lease), effects, source, bus, options }
    }

    /// Runs until the shutdown. Of several replicas one applies and the others wait.
    pub async fn run(self, shutdown: CancellationToken) {
        let consumer = self.claim.consumer;
        let mut backoff = lease_backoff();
        let mut warnings = Throttle::default();
        let mut told_halted = false;
        while !shutdown.is_cancelled() {
            let leased = tokio::select! {
                () = shutdown.cancelled() => break,
                leased = self.claim.lease() => leased,
            };
            let pause = match leased {
                Ok(Some(LeasedMark { halted: Some(reason), .. })) => {
                    if !std::mem::replace(&mut told_halted, true) {
                        tracing::error!(consumer = consumer.name, reason, "the consumer is halted");
                    }
                    HALTED_LOOK
                }
                Ok(Some(LeasedMark { mark, .. })) => {
                    told_halted = false;
                    backoff.reset();
                    tracing::info!(consumer = consumer.name, position = mark.position, "consumes the stream");
                    match self.stint(mark).run(&shutdown).await {
                        End::Shutdown => break,
                        End::MarkMoved => Duration::ZERO,
                        End::Halted => HALTED_LOOK,
                        End::LeaseLost => {
                            tracing::info!(consumer = consumer.name, "another replica consumes the stream");
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
                        tracing::warn!(consumer = consumer.name, error, "the mark cannot be had now");
                    }
                    backoff.next()
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = sleep(jittered(pause)) => {}
            }
        }
        fault::point!("consumer.leaving", consumer.name);
        if tokio::time::timeout(FAREWELL, self.claim.release()).await.is_err() {
            tracing::debug!(consumer = consumer.name, "the lease was not given back and runs out");
        }
    }
    fn stint(&self, mark: Mark) -> Stint<S, E, P> {
        let Self { claim, effects, source, bus, options } = self;
        let channels = vec![events_channel(claim.consumer.stream)];
        let subscription = bus.subscribe(channels, Some(options.tick * DEAD_TICKS));
        Stint::new(claim.clone(), mark, effects.clone(), source.clone(), subscription, options.clone())
    }
}
