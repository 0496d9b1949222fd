//! Keeping a consumer's mark, and the events that it could not apply.

use std::collections::HashSet;
use std::future::Future;
use std::time::Duration;

use time::OffsetDateTime;
use types::EventId;
use uuid::Uuid;

use super::error::StoreError;
use crate::envelope::{Aggregate, Event, Position};

/// A durable consumer of one stream. Each purpose is one of its own, so that rebuilding a read model can never
/// repeat money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConsumerId {
    /// Its name, such as `order.customers`.
    pub name: &'static str,
    /// The stream that it consumes, such as `user`.
    pub stream: &'static str,
}

/// How far a consumer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The history that the position belongs to; nil until the first contact with the producer.
    pub epoch: Uuid,
    /// The last applied position; 0 when there is none.
    pub position: Position,
    /// The event there; `None` at 0.
    pub event_id: Option<EventId>,
}

impl Mark {
    /// Nothing applied, nothing known.
    pub const START: Self = Self { epoch: Uuid::nil(), position: 0, event_id: None };

    /// The mark after an event was applied.
    #[must_use]
    pub fn after(event: &Event) -> Self {
        Self { epoch: event.epoch, position: event.position, event_id: Some(event.new.id) }
    }
}

/// A mark with the right to move it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasedMark {
    /// How far the consumer has come.
    pub mark: Mark,
    /// Rises at each takeover.
    pub fence: i64,
    /// Why the consumer stopped for good, such as `stream_rewound`; an operator's Resync clears it.
    pub halted: Option<String>,
}

/// How a consumer stands, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// How far the consumer has come.
    pub mark: Mark,
    /// Why it stopped for good.
    pub halted: Option<String>,
    /// Whether it is held for a resync that goes on: its hold has not run out.
    pub held: bool,
    /// The last resync that ended.
    pub resynced: Option<Resynced>,
}

/// A mark that a transaction has locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedMark {
    /// How far the consumer has come.
    pub mark: Mark,
    /// Why it stopped for good.
    pub halted: Option<String>,
}

/// What became of the wish to hold a consumer for a resync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldClaim {
    /// It is held; this is its mark.
    Held(Mark),
    /// Another hold has not run out; this is its reason.
    Taken(String),
}

/// A resync that ended: kept with the mark that it moved, so that a repeat of its request hears the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resynced {
    /// The operator's request.
    pub request_id: Uuid,
    /// How many aggregates the snapshot had; 0 when none was needed.
    pub aggregates: u64,
    /// Where the consumer went on.
    pub position: Position,
}

/// What an operator's request about parked events came to: kept with the mark, in the transaction of what it did, so
/// that whoever does not know whether that was committed finds out. Of each consumer the last one is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// The operator's request.
    pub request_id: Uuid,
    /// What was wanted and what came of it, as [`crate::ConsumerAdmin`] writes it.
    pub outcome: String,
}

/// An operator's wish to drop a parked event for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// The event.
    pub event_id: EventId,
    /// The operator's request.
    pub request_id: Uuid,
    /// Who asks.
    pub caller: String,
    /// Why.
    pub justification: String,
}

/// An event that could not be applied, or that waits behind one of its aggregate.
#[derive(Debug, Clone, PartialEq)]
pub struct Parked {
    /// The whole event.
    pub event: Event,
    /// How often it was tried; 0 when it only waits.
    pub attempts: i32,
    /// Why it failed; empty when it only waits.
    pub error: String,
    /// When it was parked.
    pub parked_at: OffsetDateTime,
}

/// The consumer's side: marks and parked events live in the database that the effects live in.
pub trait ConsumerStore: Clone + Send + Sync + 'static {
    /// A transaction that effects write through.
    type Tx: ConsumerTx;

    /// Begins a transaction; dropping it rolls it back.
    fn begin(&self) -> impl Future<Output = Result<Self::Tx, StoreError>> + Send;

    /// Takes the lease of a consumer's mark if it is free or run out, renews it if `owner` has it; `None`
    /// while another replica has it. Makes the mark at [`Mark::START`] if there is none; a store that may be
    /// flushed gives nobody the lease instead, until its service has found out where the consumer begins.
    fn mark_lease(
        &self,
        consumer: ConsumerId,
        owner: Uuid,
        duration: Duration,
    ) -> impl Future<Output = Result<Option<LeasedMark>, StoreError>> + Send;

    /// Gives the mark the producer's new epoch. `false`, and nothing changed, when the mark is no longer `from` or
    /// the consumer is halted: a replica that slept must not let it go on.
    fn mark_adopt(
        &self,
        consumer: ConsumerId,
        from: &Mark,
        to: &Mark,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Stops the consumer for good where it is, with the reason; it keeps its mark and applies nothing. `false`,
    /// and nothing changed, unless `owner` was the last to take the lease, the mark is still `at` and the consumer
    /// is not halted: a replica that slept must not stop the one that went on, nor take a resync its hold.
    fn halt(
        &self,
        consumer: ConsumerId,
        owner: Uuid,
        at: &Mark,
        reason: &str,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// How a consumer stands; `None` when it has no mark.
    fn standing(
        &self,
        consumer: ConsumerId,
    ) -> impl Future<Output = Result<Option<Standing>, StoreError>> + Send;

    /// Stops the consumer wherever it is, for an operator's resync, with a reason of that resync's own, and keeps
    /// it from other resyncs for `duration`; `None` when it has no mark. Whoever held it before, and ran out of
    /// time, has lost it.
    fn resync_hold(
        &self,
        consumer: ConsumerId,
        reason: &str,
        duration: Duration,
    ) -> impl Future<Output = Result<Option<HoldClaim>, StoreError>> + Send;

    /// Ends a resync: puts the mark from `from` to `to`, lets the consumer go on, and keeps the answer, all at
    /// once. `false`, and nothing changed, when the mark is no longer `from`, or not held for the reason `held`.
    fn resync_end(
        &self,
        consumer: ConsumerId,
        from: &Mark,
        to: &Mark,
        held: Option<&str>,
        done: &Resynced,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// The parked events of a consumer above a position, in order.
    fn parked_list(
        &self,
        consumer: &str,
        after: Position,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Parked>, StoreError>> + Send;
}

/// What the backbone writes inside an effect's transaction. Every method but [`ConsumerTx::commit`] leaves the
/// transaction open.
pub trait ConsumerTx: Sized + Send {
    /// Moves the mark from `from` to `to`, which locks it; `false` when it is not at `from` any more: a
    /// duplicate, or another replica went ahead. First statement of every run.
    fn mark_advance(
        &mut self,
        consumer: ConsumerId,
        from: &Mark,
        to: &Mark,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Locks the mark by writing it, so that park, apply, retry and skip exclude each other, and reads it;
    /// `None` when there is none.
    fn mark_lock(
        &mut self,
        consumer: ConsumerId,
    ) -> impl Future<Output = Result<Option<LockedMark>, StoreError>> + Send;

    /// Locks the mark as [`ConsumerTx::mark_lock`] does and renews the hold of a resync for `duration`; `false` when
    /// the consumer is not held for the reason `held` any more. First statement of everything that a resync writes. A
    /// hold that ran out and that nobody took is still held.
    fn resync_holds(
        &mut self,
        consumer: ConsumerId,
        held: &str,
        duration: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Whether anything is parked. Called after the mark is locked.
    fn parked_any(&mut self, consumer: ConsumerId) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Which of these aggregates have parked events. Called after the mark is locked.
    fn parked_among(
        &mut self,
        consumer: ConsumerId,
        aggregates: &[Aggregate],
    ) -> impl Future<Output = Result<HashSet<Aggregate>, StoreError>> + Send;

    /// How many aggregates have parked events.
    fn parked_aggregate_count(
        &mut self,
        consumer: ConsumerId,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Parks an event, whole. Parking one again replaces its attempts and error, not its time.
    fn park(
        &mut self,
        consumer: ConsumerId,
        event: &Event,
        attempts: i32,
        error: &str,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The oldest parked event of an aggregate, and how many of it wait behind.
    fn parked_first(
        &mut self,
        consumer: ConsumerId,
        aggregate: &Aggregate,
    ) -> impl Future<Output = Result<Option<(Parked, usize)>, StoreError>> + Send;

    /// Removes a parked event; returns it, or `None` when it is not parked.
    fn parked_remove(
        &mut self,
        consumer: ConsumerId,
        event_id: EventId,
    ) -> impl Future<Output = Result<Option<Parked>, StoreError>> + Send;

    /// The act that was kept last. Called after the mark is locked.
    fn act(&mut self, consumer: ConsumerId) -> impl Future<Output = Result<Option<Act>, StoreError>> + Send;

    /// Keeps an act in place of the last one. Called after the mark is locked.
    fn act_keep(
        &mut self,
        consumer: ConsumerId,
        act: &Act,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Adds to the record of skipped events, which nothing ever changes, that the event at a position was dropped.
    fn skip_record(
        &mut self,
        consumer: ConsumerId,
        position: Position,
        skip: &Skip,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Commits.
    fn commit(self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Rolls back at once rather than when it is dropped.
    fn rollback(self) -> impl Future<Output = ()> + Send;
}
