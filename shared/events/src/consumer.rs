//! A durable consumer: applies a stream to its own database, each event once and in order, whatever the
//! channel loses. The rules are in `machine.rs`, the transactions in `apply.rs`, the loop that waits for
//! everything at once in `consumer/stint.rs`; this decides which replica runs it.

mod stint;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use self::stint::{End, Stint};
use crate::apply::Claim;
use crate::bus::Channel;
use crate::pace::{Backoff, Throttle, jittered};
use crate::source::Source;
use crate::store::{ConsumerId, ConsumerStore, Effects, LeasedMark};

/// How a [`Consumer`] paces itself.
#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    /// How long the lease of the mark lasts unless it is renewed.
    pub lease: Duration,
    /// The relay's heartbeat: three of them without a word are a silence.
    pub tick: Duration,
    /// How many events share a transaction at the most.
    pub batch_max: usize,
    /// How many aggregates may be parked before the consumer halts: more are a defect, not poison.
    pub parked_aggregates_max: u64,
    /// How often the producer is told of the mark at the most.
    pub acknowledge_every: Duration,
    /// Lets a span that was not entered yet go on in the traces of these `traceparent`s.
    pub continues: Option<fn(&Span, &[&str])>,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(3),
            tick: Duration::from_millis(250),
            batch_max: 500,
            parked_aggregates_max: 100,
            acknowledge_every: Duration::from_secs(1),
            continues: None,
        }
    }
}

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LONGEST: Duration = Duration::from_secs(2);
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
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LONGEST);
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
                    match Stint::new(&self, mark).run(&shutdown).await {
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
}
