//! Applying a run of events: effects and mark in one transaction, halved until what fails is alone, parked
//! when it can never be applied.

use std::sync::Arc;
use std::time::Duration;

use fault::Flaw;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::claim::Claim;
use super::options::ConsumerOptions;
use crate::effects::{EffectError, Effects};
use crate::envelope::{Aggregate, Event};
use crate::pace::{Backoff, Throttle, chain};
use crate::store::{ConsumerStore, ConsumerTx, LeasedMark, Mark, StoreError};

const RETRY_FIRST: Duration = Duration::from_millis(10);
const RETRY_LONGEST: Duration = Duration::from_secs(5);
/// How much of an error is kept with a parked event.
pub(crate) const ERROR_CHARS: usize = 2000;

/// An error as it is kept with a parked event.
pub(crate) fn error_text(error: &str) -> String {
    error.chars().take(ERROR_CHARS).collect()
}

/// The reason of a halt when more aggregates are parked than an accident would leave.
pub(crate) const TOO_MANY_PARKED: &str = "too_many_parked";

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Applied, or parked; the mark is at its end.
    Applied(Mark),
    /// The mark was not where the run began: a duplicate, or another replica went ahead. This is where it is.
    Moved(Mark),
    /// Another replica has the consumer.
    LeaseLost,
    /// The consumer stopped for good.
    Halted,
}

/// Why a transaction was not committed.
enum Failure {
    /// The mark is elsewhere.
    Moved,
    /// Nothing was committed.
    Effect(EffectError),
    /// The commit failed: who knows.
    Commit(StoreError, Filled),
}

/// What is in a transaction before its commit.
struct Filled {
    /// Nothing is parked.
    none_parked: bool,
    /// What the effects applied, if that is not the whole run.
    applied: Option<Vec<Event>>,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Effect(error.into())
    }
}

/// Applies the runs of one consumer, one after the other.
pub(crate) struct Applier<S, E> {
    claim: Claim<S>,
    effects: Arc<E>,
    options: ConsumerOptions,
    /// When the lease was last renewed.
    renewed: Instant,
    /// How many events share a transaction: halved by failures, doubled by successes.
    together: usize,
    /// Known not to have parked anything: only whoever moves the mark parks.
    none_parked: bool,
    warnings: Throttle,
}

impl<S: ConsumerStore, E: Effects<S::Tx>> Applier<S, E> {
    /// An applier for a replica that has just taken the lease.
    pub(crate) fn new(claim: Claim<S>, effects: Arc<E>, options: ConsumerOptions) -> Self {
        let together = options.batch_max;
        Self {
            claim,
            effects,
            options,
            renewed: Instant::now(),
            together,
            none_parked: false,
            warnings: Throttle::default(),
        }
    }

    /// Whether an event says anything to the consumer.
    pub(crate) fn concerns(&self, event: &Event) -> bool {
        self.effects.concerns(event)
    }

    /// Renews the lease.
    pub(crate) async fn lease(&mut self) -> Result<Option<LeasedMark>, StoreError> {
        // Also after a failure, so that one does not follow on the other without a pause.
        self.renewed = Instant::now();
        self.claim.lease().await
    }

    /// Whether the lease should be renewed.
    pub(crate) fn is_renewal_due(&self) -> bool {
        self.renewed.elapsed() >= self.options.lease / 3
    }

    /// Applies a run that follows on `mark`. Ends when it is applied or another has moved the mark: as long as
    /// a database is away it goes on trying.
    pub(crate) async fn apply(&mut self, mut mark: Mark, run: &[Event]) -> Outcome {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LONGEST);
        let mut rest = run;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.together.clamp(1, rest.len()));
            let error = match self.attempt(&mark, now).await {
                Ok(end) => {
                    self.together = (self.together * 2).min(self.options.batch_max);
                    backoff.reset();
                    (mark, rest) = (end, later);
                    continue;
                }
                Err(Failure::Moved) => match self.mark_now(&mut backoff).await {
                    Ok(found) => return Outcome::Moved(found.mark),
                    Err(outcome) => return outcome,
                },
                Err(Failure::Commit(error, filled)) => match self.mark_now(&mut backoff).await {
                    Ok(found) if found.mark == mark => EffectError::from(error),
                    Ok(found) if now.last().is_some_and(|last| found.mark == Mark::after(last)) => {
                        self.committed(&filled, now);
                        (mark, rest) = (found.mark, later);
                        continue;
                    }
                    Ok(found) => return Outcome::Moved(found.mark),
                    Err(outcome) => return outcome,
                },
                Err(Failure::Effect(error)) => error,
            };
            let alone = now.len() == 1;
            self.together = (now.len() / 2).max(1);
            match error {
                EffectError::Transient(_) => {
                    self.warn(&error, now);
                    backoff.pause().await;
                    if self.is_renewal_due()
                        && let Err(outcome) = self.mark_now(&mut backoff).await
                    {
                        return outcome;
                    }
                }
                EffectError::Permanent(cause) if alone => {
                    let text = error_text(&chain(cause.as_ref()));
                    match self.park(&mark, &now[0], &text).await {
                        Ok(end) => {
                            backoff.reset();
                            self.tell_parked(&now[0], &text);
                            (mark, rest) = (end, later);
                        }
                        Err(Failure::Effect(EffectError::Halt(reason))) => {
                            return self.halt(&mark, &reason, &mut backoff).await;
                        }
                        Err(Failure::Effect(error)) => {
                            self.warn(&error, now);
                            backoff.pause().await;
                        }
                        Err(Failure::Commit(error, _)) => match self.mark_now(&mut backoff).await {
                            Ok(found) if found.mark == mark => {
                                self.warn(&error, now);
                                backoff.pause().await;
                            }
                            Ok(found) if found.mark == Mark::after(&now[0]) => {
                                self.tell_parked(&now[0], &text);
                                (mark, rest) = (found.mark, later);
                            }
                            Ok(found) => return Outcome::Moved(found.mark),
                            Err(outcome) => return outcome,
                        },
                        // The next attempt finds the mark elsewhere.
                        Err(Failure::Moved) => backoff.pause().await,
                    }
                }
                EffectError::Halt(reason) if alone => return self.halt(&mark, &reason, &mut backoff).await,
                EffectError::Permanent(_) | EffectError::Halt(_) => {}
            }
        }
        Outcome::Applied(mark)
    }

    async fn halt(&mut self, at: &Mark, reason: &str, backoff: &mut Backoff) -> Outcome {
        if self.claim.halt(at, reason).await {
            return Outcome::Halted;
        }
        match self.mark_now(backoff).await {
            Ok(found) => Outcome::Moved(found.mark),
            Err(outcome) => outcome,
        }
    }

    /// The mark as the database has it, renewing the lease.
    async fn mark_now(&mut self, backoff: &mut Backoff) -> Result<LeasedMark, Outcome> {
        self.none_parked = false;
        loop {
            match self.lease().await {
                Ok(Some(found)) if found.halted.is_some() => return Err(Outcome::Halted),
                Ok(Some(found)) => return Ok(found),
                Ok(None) => return Err(Outcome::LeaseLost),
                Err(error) => {
                    self.warn(&error, &[]);
                    backoff.pause().await;
                }
            }
        }
    }

    async fn attempt(&mut self, from: &Mark, run: &[Event]) -> Result<Mark, Failure> {
        let Some((first, last)) = run.first().zip(run.last()) else { return Ok(*from) };
        let span = tracing::info_span!(
            "consumer.apply",
            consumer = self.claim.consumer.name,
            stream = self.claim.consumer.stream,
            first = first.position,
            last = last.position
        );
        if let Some(continues) = self.options.continues {
            let traceparents = run.iter().filter_map(|event| event.new.headers.traceparent.as_deref());
            continues(&span, &traceparents.collect::<Vec<_>>());
        }
        fault::point!("consumer.received", self.claim.consumer.name);
        self.transaction(from, run, Mark::after(last)).instrument(span).await
    }

    /// Begins a transaction. That it cannot be had says nothing about the events: none is parked for it, even if
    /// the store calls it permanent (a standby that is not promoted yet, a password that is being changed).
    async fn begin(&self) -> Result<S::Tx, Failure> {
        self.claim.store.begin().await.map_err(|error| {
            let (StoreError::Transient(source) | StoreError::Permanent(source)) = error;
            Failure::Effect(EffectError::Transient(source))
        })
    }

    async fn transaction(&mut self, from: &Mark, run: &[Event], to: Mark) -> Result<Mark, Failure> {
        let mut tx = self.begin().await?;
        let mut together = run;
        if Flaw::MarkApart.is_in() {
            tx = self.apply_apart(tx, run).await?;
            together = &[];
        }
        match self.fill(&mut tx, from, together, &to).await {
            Ok(filled) => {
                fault::point!("consumer.applying", self.claim.consumer.name);
                if let Err(error) = tx.commit().await {
                    return Err(Failure::Commit(error, filled));
                }
                fault::point!("consumer.applied", self.claim.consumer.name);
                self.none_parked = filled.none_parked;
                self.committed(&filled, run);
                Ok(to)
            }
            Err(failure) => {
                tx.rollback().await;
                Err(failure)
            }
        }
    }

    fn committed(&self, filled: &Filled, run: &[Event]) {
        let applied = filled.applied.as_deref().unwrap_or(run);
        if !applied.is_empty() {
            self.effects.committed(applied);
        }
    }

    /// Everything of the transaction but its commit.
    async fn fill(&self, tx: &mut S::Tx, from: &Mark, run: &[Event], to: &Mark) -> Result<Filled, Failure> {
        if !tx.mark_advance(self.claim.consumer, from, to).await? {
            return Err(Failure::Moved);
        }
        let none_parked = self.none_parked || !tx.parked_any(self.claim.consumer).await?;
        let mut free = None;
        if !none_parked {
            let mut aggregates: Vec<Aggregate> =
                run.iter().map(|event| event.new.aggregate.clone()).collect();
            aggregates.sort_unstable();
            aggregates.dedup();
            let parked = tx.parked_among(self.claim.consumer, &aggregates).await?;
            if !parked.is_empty() {
                let (waiting, others): (Vec<Event>, Vec<Event>) =
                    run.iter().cloned().partition(|event| parked.contains(&event.new.aggregate));
                for event in &waiting {
                    tx.park(self.claim.consumer, event, 0, "").await?;
                }
                free = Some(others);
            }
        }
        let applicable = free.as_deref().unwrap_or(run);
        if !applicable.is_empty() {
            self.effects.apply(tx, applicable).await.map_err(Failure::Effect)?;
        }
        Ok(Filled { none_parked, applied: free })
    }

    /// As [`Flaw::MarkApart`] has it: commits the effects, and begins another transaction for the mark.
    async fn apply_apart(&self, mut tx: S::Tx, run: &[Event]) -> Result<S::Tx, Failure> {
        self.effects.apply(&mut tx, run).await.map_err(Failure::Effect)?;
        tx.commit().await?;
        self.begin().await
    }

    /// Parks one event and moves the mark over it, in one transaction.
    async fn park(&mut self, from: &Mark, event: &Event, error: &str) -> Result<Mark, Failure> {
        let to = Mark::after(event);
        let mut tx = self.begin().await?;
        let filled = async {
            if !tx.mark_advance(self.claim.consumer, from, &to).await? {
                return Err(Failure::Moved);
            }
            let parked = tx.parked_aggregate_count(self.claim.consumer).await?;
            if parked >= self.options.parked_aggregates_max {
                return Err(Failure::Effect(EffectError::Halt(TOO_MANY_PARKED.to_owned())));
            }
            Ok(tx.park(self.claim.consumer, event, 1, error).await?)
        };
        if let Err(failure) = filled.await {
            tx.rollback().await;
            return Err(failure);
        }
        self.none_parked = false;
        if let Err(error) = tx.commit().await {
            return Err(Failure::Commit(error, Filled { none_parked: false, applied: Some(Vec::new()) }));
        }
        Ok(to)
    }

    fn tell_parked(&self, event: &Event, error: &str) {
        tracing::error!(
            consumer = self.claim.consumer.name,
            stream = self.claim.consumer.stream,
            position = event.position,
            event_id = %event.new.id,
            event_type = event.new.event_type,
            error,
            "parked an event that cannot be applied"
        );
    }

    fn warn(&mut self, error: &(dyn std::error::Error + 'static), run: &[Event]) {
        if self.warnings.ready() {
            tracing::warn!(
                consumer = self.claim.consumer.name,
                stream = self.claim.consumer.stream,
                position = run.first().map(|event| event.position),
                error,
                "events are not applied now; trying again"
            );
        }
    }
}
