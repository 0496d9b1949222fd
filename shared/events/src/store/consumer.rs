//! Keeping a consumer's mark, and the events that it could not apply.

use std::collections::HashSet;
use std::future::Future;
use std::time::Duration;

use time::OffsetDateTime;
use types::EventId;
use uuid::Uuid;

use super::error::StoreError;
use crate::envelope::{Aggregate, Event, Position};

/// A durable consumer of one stream. Each purpose has a consumer of its own, so that rebuilding a read model can never
/// move money a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConsumerId {
    /// The consumer's name, such as `order.customers`.
    pub name: &'static str,
    /// The stream that it consumes, such as `user`.
    pub stream: &'static str,
}

/// The last event that a consumer has applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The history that the position belongs to; nil until the first contact with the producer.
    pub epoch: Uuid,
    /// The last applied position; 0 when there is none.
    pub position: Position,
    /// The event at that position; `None` at 0.
    pub event_id: Option<EventId>,
}

impl Mark {
    /// Nothing is applied, and the producer's history is not known yet.
    pub const START: Self = Self { epoch: Uuid::nil(), position: 0, event_id: None };

    /// The mark of a consumer that has applied everything up to a head.
    #[must_use]
    pub fn at(epoch: Uuid, position: Position, event_id: Option<EventId>) -> Self {
        Self { epoch, position, event_id }
    }

    /// The mark after an event was applied.
    #[must_use]
    pub fn after(event: &Event) -> Self {
        Self { epoch: event.epoch, position: event.position, event_id: Some(event.new.id) }
    }
}

/// A mark, and the right to move it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasedMark {
    /// The last event that the consumer has applied.
    pub mark: Mark,
    /// A number that rises at each takeover.
    pub fence: i64,
    /// Why the consumer stopped for good, such as `stream_rewound`; an operator's Resync clears it.
    pub halted: Option<String>,
}

/// The state of a consumer, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The last event that the consumer has applied.
    pub mark: Mark,
    /// Why the consumer stopped for good.
    pub halted: Option<String>,
    /// Whether a resync is going on: its hold has not run out.
    pub held: bool,
    /// The last resync that was completed.
    pub resynced: Option<Resynced>,
}

/// A mark that a transaction has locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedMark {
    /// The last event that the consumer has applied.
    pub mark: Mark,
    /// Why the consumer stopped for good.
    pub halted: Option<String>,
}

/// The answer to a request to hold a consumer for a resync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldClaim {
    /// The consumer is held for this resync, and its mark is here.
    Held(Mark),
    /// It is held for another resync, with this reason, and that hold has not run out.
    Taken(String),
}

/// A resync that was completed. It is kept with the mark that it moved, so that a repeat of its request gets the same
/// answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resynced {
    /// The id of the operator's request.
    pub request_id: Uuid,
    /// How many aggregates the snapshot had; 0 when none was needed.
    pub aggregates: u64,
    /// The position after which the consumer goes on.
    pub position: Position,
}

/// The outcome of an operator's request about parked events. It is kept with the mark, in the transaction of what the
/// request did, so that anybody who does not know whether that was committed can find out. Each consumer keeps the
/// last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// The id of the operator's request.
    pub request_id: Uuid,
    /// What was asked for and what came of it, in the form of `parked_acts.rs`.
    pub outcome: String,
}

/// An operator's request to drop a parked event for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// The event to drop.
    pub event_id: EventId,
    /// The id of the operator's request.
    pub request_id: Uuid,
    /// Who asks for it.
    pub caller: String,
    /// Why it may be dropped.
    pub justification: String,
}

/// An event that could not be applied, or that waits behind one of its aggregate.
#[derive(Debug, Clone, PartialEq)]
pub struct Parked {
    /// The event with its payload.
    pub event: Event,
    /// How often it was tried; 0 when it only waits behind another.
    pub attempts: i32,
    /// Why it failed; empty when it only waits behind another.
    pub error: String,
    /// When it was parked first.
    pub parked_at: OffsetDateTime,
}

/// Keeps marks and parked events, in the same database as what the effects write.
pub trait ConsumerStore: Clone + Send + Sync + 'static {
    /// A transaction that effects write through.
    type Tx: ConsumerTx;

    /// Begins a transaction; dropping it rolls it back.
    fn begin(&self) -> impl Future<Output = Result<Self::Tx, StoreError>> + Send;

    /// Takes the lease of a consumer's mark if it is free or has run out, or renews it if `owner` has it; `None` while
    /// another replica has it. If there is no mark, it makes one at [`Mark::START`]; a store that may be flushed gives
    /// nobody the lease instead, until its service has found out where the consumer begins.
    fn mark_lease(
        &self,
        consumer: ConsumerId,
        owner: Uuid,
        duration: Duration,
    ) -> impl Future<Output = Result<Option<LeasedMark>, StoreError>> + Send;

    /// Gives the mark the producer's new epoch. Changes nothing and gives `false` when the mark is no longer `from` or
    /// the consumer is halted: a replica that was paused meanwhile must not let it go on.
    fn mark_adopt(
        &self,
        consumer: ConsumerId,
        from: &Mark,
        to: &Mark,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Stops the consumer for good, with the reason; it keeps its mark and applies nothing more. Changes nothing and
    /// gives `false` unless `owner` was the last to take the lease, the mark is still `at` and the consumer is not
    /// halted: a replica that was paused must neither stop the one that went on nor end the hold of a resync.
    fn halt(
        &self,
        consumer: ConsumerId,
        owner: Uuid,
        at: &Mark,
        reason: &str,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// The state of a consumer; `None` when it has no mark.
    fn standing(
        &self,
        consumer: ConsumerId,
    ) -> impl Future<Output = Result<Option<Standing>, StoreError>> + Send;

    /// Stops the consumer for an operator's resync, with a reason that only this resync has, and keeps other resyncs
    /// away for `duration`; `None` when it has no mark. A hold that has run out is lost to this one.
    fn resync_hold(
        &self,
        consumer: ConsumerId,
        reason: &str,
        duration: Duration,
    ) -> impl Future<Output = Result<Option<HoldClaim>, StoreError>> + Send;

    /// Completes a resync: moves the mark from `from` to `to`, lets the consumer go on, and keeps the answer, all at
    /// once. Changes nothing and gives `false` when the mark is no longer `from` or not held for the reason `held`.
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

/// What the backbone writes inside an effect's transaction. All methods but [`ConsumerTx::commit`] and
/// [`ConsumerTx::rollback`] leave the transaction open.
pub trait ConsumerTx: Sized + Send {
    /// Moves the mark from `from` to `to`, which locks it; `false` when it is no longer at `from`: the run is a
    /// duplicate, or another replica went ahead. This is the first statement of every run.
    fn mark_advance(
        &mut self,
        consumer: ConsumerId,
        from: &Mark,
        to: &Mark,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Locks the mark by writing it, so that parking, applying, retrying and skipping exclude each other, and reads
    /// it; `None` when there is none.
    fn mark_lock(
        &mut self,
        consumer: ConsumerId,
    ) -> impl Future<Output = Result<Option<LockedMark>, StoreError>> + Send;

    /// Locks the mark as [`ConsumerTx::mark_lock`] does and renews the hold of a resync for `duration`; `false` when
    /// the consumer is no longer held for the reason `held`. This is the first statement of everything that a resync
    /// writes. A hold that has run out still counts as long as nobody else has taken it.
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

    /// Parks an event with its payload. Parking it again replaces its attempts and error, but not its time.
    fn park(
        &mut self,
        consumer: ConsumerId,
        event: &Event,
        attempts: i32,
        error: &str,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The oldest parked event of an aggregate, and how many others of that aggregate wait behind it.
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

    /// The last act that was kept. Called after the mark is locked.
    fn act(&mut self, consumer: ConsumerId) -> impl Future<Output = Result<Option<Act>, StoreError>> + Send;

    /// Keeps an act in place of the last one. Called after the mark is locked.
    fn act_keep(
        &mut self,
        consumer: ConsumerId,
        act: &Act,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Records that the event at a position was dropped. Nothing ever changes that record.
    fn skip_record(
        &mut self,
        consumer: ConsumerId,
        position: Position,
        skip: &Skip,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Commits.
    fn commit(self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Rolls back now, and not only when it is dropped.
    fn rollback(self) -> impl Future<Output = ()> + Send;
}
