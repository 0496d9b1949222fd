//! The transactions of a consumer: each applies a run of events, or parks one event, and moves the mark over it.

use std::sync::Arc;

use fault::Flaw;
use tracing::Instrument as _;

use super::options::ConsumerOptions;
use crate::effects::{EffectError, Effects};
use crate::envelope::{Aggregate, Event};
use crate::spans;
use crate::store::{ConsumerId, ConsumerStore, ConsumerTx, Mark, StoreError};

/// The reason of a halt when more aggregates are parked than an accident would leave.
pub(crate) const TOO_MANY_PARKED: &str = "too_many_parked";

/// Why a transaction was not committed, as far as is known.
pub(super) enum Failure {
    /// The mark was not where the run begins; nothing was committed.
    Moved,
    /// Nothing was committed.
    Effect(EffectError),
    /// The commit failed, and may have been done nevertheless.
    UnknownCommit(StoreError, Content),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Effect(error.into())
    }
}

/// What a transaction has done before its commit.
pub(super) struct Content {
    /// Whether no event of the consumer is parked.
    none_parked: bool,
    /// The events that the effects applied, if that is not the whole run.
    pub(super) applied: Option<Vec<Event>>,
}

/// Makes the transactions of one consumer.
pub(super) struct Transactions<S, E> {
    consumer: ConsumerId,
    store: S,
    effects: Arc<E>,
    options: ConsumerOptions,
    /// Whether it is known that no event is parked. Only whoever moves the mark parks events.
    none_parked: bool,
}

impl<S: ConsumerStore, E: Effects<S::Tx>> Transactions<S, E> {
    pub(super) fn new(consumer: ConsumerId, store: S, effects: Arc<E>, options: ConsumerOptions) -> Self {
        Self { consumer, store, effects, options, none_parked: false }
    }

    /// Whether an event concerns the consumer.
    pub(super) fn concerns(&self, event: &Event) -> bool {
        self.effects.concerns(event)
    }

    /// Another replica may have moved the mark, and parked events: the database is asked again.
    pub(super) fn forget_parked(&mut self) {
        self.none_parked = false;
    }

    /// Applies a run of events and moves the mark to its end.
    pub(super) async fn apply(&mut self, from: &Mark, run: &[Event], to: &Mark) -> Result<Content, Failure> {
        let span = spans::process(self.consumer, from, run, to, self.options.continues);
        fault::point!("consumer.received", self.consumer.name);
        self.apply_in_one(from, run, to).instrument(span).await
    }

    async fn apply_in_one(&mut self, from: &Mark, run: &[Event], to: &Mark) -> Result<Content, Failure> {
        let mut tx = self.begin().await?;
        let mut together = run;
        if Flaw::MarkApart.is_in() {
            tx = self.apply_apart(tx, run).await?;
            together = &[];
        }
        let content = match self.fill(&mut tx, from, together, to).await {
            Ok(content) => content,
            Err(failure) => {
                tx.rollback().await;
                return Err(failure);
            }
        };
        fault::point!("consumer.applying", self.consumer.name);
        if let Err(error) = tx.commit().await {
            return Err(Failure::UnknownCommit(error, content));
        }
        fault::point!("consumer.applied", self.consumer.name);
        self.none_parked = content.none_parked;
        Ok(content)
    }

    /// Begins a transaction. That this fails says nothing about the events: none is parked for it, even if the store
    /// calls it permanent (a standby that is not promoted yet, a password that is being changed).
    async fn begin(&self) -> Result<S::Tx, Failure> {
        self.store.begin().await.map_err(|error| {
            let (StoreError::Transient(source) | StoreError::Permanent(source)) = error;
            Failure::Effect(EffectError::Transient(source))
        })
    }

    /// Everything of the transaction but its commit.
    async fn fill(&self, tx: &mut S::Tx, from: &Mark, run: &[Event], to: &Mark) -> Result<Content, Failure> {
        if !tx.mark_advance(self.consumer, from, to).await? {
            return Err(Failure::Moved);
        }
        let none_parked = self.none_parked || !tx.parked_any(self.consumer).await?;
        let free = if none_parked { None } else { self.park_behind(tx, run).await? };
        let applicable = free.as_deref().unwrap_or(run);
        if !applicable.is_empty() {
            self.effects.apply(tx, applicable).await.map_err(Failure::Effect)?;
        }
        Ok(Content { none_parked, applied: free })
    }

    /// Parks those events of a run whose aggregates have parked events, and gives the others; `None` when there are
    /// none to park.
    async fn park_behind(&self, tx: &mut S::Tx, run: &[Event]) -> Result<Option<Vec<Event>>, StoreError> {
        let mut aggregates: Vec<Aggregate> = run.iter().map(|event| event.new.aggregate.clone()).collect();
        aggregates.sort_unstable();
        aggregates.dedup();
        let parked = tx.parked_among(self.consumer, &aggregates).await?;
        if parked.is_empty() {
            return Ok(None);
        }
        let (waiting, free): (Vec<Event>, Vec<Event>) =
            run.iter().cloned().partition(|event| parked.contains(&event.new.aggregate));
        for event in &waiting {
            tx.park(self.consumer, event, 0, "").await?;
        }
        Ok(Some(free))
    }

    /// The flaw [`Flaw::MarkApart`]: commits the effects, and begins another transaction for the mark.
    async fn apply_apart(&self, mut tx: S::Tx, run: &[Event]) -> Result<S::Tx, Failure> {
        self.effects.apply(&mut tx, run).await.map_err(Failure::Effect)?;
        tx.commit().await?;
        self.begin().await
    }

    /// Parks one event and moves the mark over it.
    pub(super) async fn park(&mut self, from: &Mark, event: &Event, error: &str) -> Result<Content, Failure> {
        let mut tx = self.begin().await?;
        let parked = async {
            if !tx.mark_advance(self.consumer, from, &Mark::after(event)).await? {
                return Err(Failure::Moved);
            }
            let parked = tx.parked_aggregate_count(self.consumer).await?;
            if parked >= self.options.parked_aggregates_max {
                return Err(Failure::Effect(EffectError::Halt(TOO_MANY_PARKED.to_owned())));
            }
            Ok(tx.park(self.consumer, event, 1, error).await?)
        };
        if let Err(failure) = parked.await {
            tx.rollback().await;
            return Err(failure);
        }
        self.none_parked = false;
        let content = Content { none_parked: false, applied: Some(Vec::new()) };
        match tx.commit().await {
            Ok(()) => Ok(content),
            Err(error) => Err(Failure::UnknownCommit(error, content)),
        }
    }

    /// Tells the effects that a transaction was committed.
    pub(super) fn committed(&self, content: &Content, run: &[Event]) {
        let applied = content.applied.as_deref().unwrap_or(run);
        if !applied.is_empty() {
            self.effects.committed(applied);
        }
    }
}
