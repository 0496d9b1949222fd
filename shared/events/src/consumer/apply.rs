//! Applying a run of events: tried again while the database is away, halved until what fails is alone, and parked when
//! it can never be applied. The transactions are in `transactions.rs`.

use std::error::Error as StdError;
use std::sync::Arc;

use tokio::time::Instant;

use super::claim::{Claim, write_backoff};
use super::metrics::Counts;
use super::options::ConsumerOptions;
use super::transactions::{Content, Failure, Transactions};
use crate::effects::{EffectError, Effects};
use crate::envelope::Event;
use crate::pace::{Backoff, Throttle};
use crate::store::{ConsumerStore, LeasedMark, Mark, StoreError};

/// How much of an error is kept with a parked event.
pub(crate) const ERROR_CHARS: usize = 2000;

/// An error as it is kept with a parked event.
pub(crate) fn error_text(error: &str) -> String {
    error.chars().take(ERROR_CHARS).collect()
}

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

/// Applies the runs of one consumer, one after the other.
pub(crate) struct Applier<S, E> {
    claim: Claim<S>,
    transactions: Transactions<S, E>,
    options: ConsumerOptions,
    /// When the lease was last renewed.
    renewed: Instant,
    /// How many events share a transaction: halved by failures, doubled by successes.
    together: usize,
    warnings: Throttle,
    counts: Counts,
}

impl<S: ConsumerStore, E: Effects<S::Tx>> Applier<S, E> {
    /// An applier for a replica that has just taken the lease.
    pub(crate) fn new(claim: Claim<S>, effects: Arc<E>, options: ConsumerOptions, counts: Counts) -> Self {
        let transactions = Transactions::new(claim.consumer, claim.store.clone(), effects, options.clone());
        Self {
            claim,
            transactions,
            together: options.batch_max,
            options,
            renewed: Instant::now(),
            warnings: Throttle::default(),
            counts,
        }
    }

    /// Whether an event concerns the consumer.
    pub(crate) fn concerns(&self, event: &Event) -> bool {
        self.transactions.concerns(event)
    }

    /// Renews the lease.
    pub(crate) async fn lease(&mut self) -> Result<Option<LeasedMark>, StoreError> {
        // Noted before the outcome is known, so that a failure is not followed by the next attempt at once.
        self.renewed = Instant::now();
        self.claim.lease().await
    }

    /// Whether the lease should be renewed.
    pub(crate) fn is_renewal_due(&self) -> bool {
        self.renewed.elapsed() >= self.options.lease / 3
    }

    /// Applies a run that follows `mark`. Ends when it is applied or another has moved the mark: as long as the
    /// database is away it goes on trying.
    pub(crate) async fn apply(&mut self, mark: Mark, run: &[Event]) -> Outcome {
        match self.apply_all(mark, run).await {
            Ok(end) => Outcome::Applied(end),
            Err(outcome) => outcome,
        }
    }

    /// The mark at the end of the run, or why the rest of it is not for this replica to apply.
    async fn apply_all(&mut self, mut mark: Mark, run: &[Event]) -> Result<Mark, Outcome> {
        let mut backoff = write_backoff();
        let mut rest = run;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.together.clamp(1, rest.len()));
            let end = now.last().map_or(mark, Mark::after);
            let applied = self.transactions.apply(&mark, now, &end).await;
            let done = match self.settle(applied, &mark, &end, &mut backoff).await? {
                Ok(content) => {
                    self.transactions.committed(&content, now);
                    let applied = content.applied.as_deref().unwrap_or(now);
                    let effective = applied.iter().filter(|event| self.transactions.concerns(event));
                    self.counts.applied(effective, (self.options.now)());
                    self.together = (self.together * 2).min(self.options.batch_max);
                    true
                }
                Err(error) => {
                    self.together = (now.len() / 2).max(1);
                    self.not_applied(&mark, now, error, &mut backoff).await?
                }
            };
            if done {
                backoff.reset();
                (mark, rest) = (end, later);
            }
        }
        Ok(mark)
    }

    /// What a transaction between two marks came to. Only the database knows that of a commit that failed: the mark
    /// tells whether it was done.
    async fn settle(
        &mut self,
        result: Result<Content, Failure>,
        from: &Mark,
        to: &Mark,
        backoff: &mut Backoff,
    ) -> Result<Result<Content, EffectError>, Outcome> {
        let (error, content) = match result {
            Ok(content) => return Ok(Ok(content)),
            Err(Failure::Effect(error)) => return Ok(Err(error)),
            Err(Failure::Moved) => return Err(Outcome::Moved(self.mark_now(backoff).await?)),
            Err(Failure::UnknownCommit(error, content)) => (error, content),
        };
        match self.mark_now(backoff).await? {
            found if found == *from => Ok(Err(error.into())),
            found if found == *to => Ok(Ok(content)),
            found => Err(Outcome::Moved(found)),
        }
    }

    /// Deals with a run that failed; `true` when its only event was parked, so that the run is done with.
    async fn not_applied(
        &mut self,
        from: &Mark,
        run: &[Event],
        error: EffectError,
        backoff: &mut Backoff,
    ) -> Result<bool, Outcome> {
        if let EffectError::Transient(_) = error {
            self.warn(&error, run);
            backoff.pause().await;
            if self.is_renewal_due() {
                self.mark_now(backoff).await?;
            }
            return Ok(false);
        }
        // The next attempt is with half the run, until what fails is alone.
        let [event] = run else { return Ok(false) };
        if let EffectError::Halt(reason) = error {
            return Err(self.halt(from, &reason, backoff).await);
        }
        let text = error_text(&error.source().map(types::chain).unwrap_or_default());
        let parked = self.transactions.park(from, event, &text).await;
        match self.settle(parked, from, &Mark::after(event), backoff).await? {
            Ok(_) => {
                self.log_parked(event, &text);
                Ok(true)
            }
            Err(EffectError::Halt(reason)) => Err(self.halt(from, &reason, backoff).await),
            Err(error) => {
                self.warn(&error, run);
                backoff.pause().await;
                Ok(false)
            }
        }
    }

    async fn halt(&mut self, at: &Mark, reason: &str, backoff: &mut Backoff) -> Outcome {
        if self.claim.halt(at, reason).await {
            return Outcome::Halted;
        }
        match self.mark_now(backoff).await {
            Ok(found) => Outcome::Moved(found),
            Err(outcome) => outcome,
        }
    }

    /// The mark as the database has it, renewing the lease.
    async fn mark_now(&mut self, backoff: &mut Backoff) -> Result<Mark, Outcome> {
        self.transactions.forget_parked();
        loop {
            match self.lease().await {
                Ok(Some(LeasedMark { halted: Some(_), .. })) => return Err(Outcome::Halted),
                Ok(Some(LeasedMark { mark, .. })) => return Ok(mark),
                Ok(None) => return Err(Outcome::LeaseLost),
                Err(error) => {
                    self.warn(&error, &[]);
                    backoff.pause().await;
                }
            }
        }
    }

    fn log_parked(&self, event: &Event, error: &str) {
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

    fn warn(&mut self, error: &(dyn StdError + 'static), run: &[Event]) {
        if self.warnings.ready() {
            tracing::warn!(
                consumer = self.claim.consumer.name,
                stream = self.claim.consumer.stream,
                position = run.first().map(|event| event.position),
                error,
                "cannot apply events now; trying again"
            );
        }
    }
}
