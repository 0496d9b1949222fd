//! What a database must do for the backbone. PostgreSQL and MongoDB implement all of it in their services'
//! `storage/`, Redis what a stream without an outbox table needs; one conformance suite holds them together.
//!
//! Every time in here is the database's own: leases and retention never go by a process' clock. A lease that
//! is taken for a duration of zero has run out at once: that is how an owner gives it back.

use std::collections::HashSet;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use time::OffsetDateTime;
use types::EventId;
use uuid::Uuid;

use crate::envelope::{Aggregate, Event};

/// A place in a stream: the first event has 1; 0 is before it. Never negative.
pub type Position = i64;

/// Why a store did not do it.
#[derive(Debug)]
pub enum StoreError {
    /// The database is away, too slow, or a concurrent change got in the way: the same may work in a moment.
    Transient(Box<dyn StdError + Send + Sync>),
    /// It will fail again: corrupt data, a broken invariant, a defect.
    Permanent(Box<dyn StdError + Send + Sync>),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transient(_) => "the store cannot do it now",
            Self::Permanent(_) => "the store cannot do it",
        })
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Transient(source) | Self::Permanent(source) => Some(source.as_ref()),
        }
    }
}

/// Where a stream stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The stream.
    pub stream: String,
    /// Its history.
    pub epoch: Uuid,
    /// The newest stamped position, 0 when there is none.
    pub position: Position,
    /// The event there; `None` at 0.
    pub event_id: Option<EventId>,
    /// The oldest position that can be replayed, 0 when there is none.
    pub oldest: Position,
}

/// What became of an event that a caller knows by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// No committed event has the id.
    Unknown,
    /// Committed, not stamped yet.
    Pending,
    /// Stamped.
    At {
        /// The stream.
        stream: String,
        /// Its history.
        epoch: Uuid,
        /// The place.
        position: Position,
    },
}

/// Reading a producer's streams: what `EventService` answers from.
pub trait EventLog: Clone + Send + Sync + 'static {
    /// Where a stream stands; `None` when this service has no such stream.
    fn head(&self, stream: &str) -> impl Future<Output = Result<Option<Head>, StoreError>> + Send;

    /// At most `limit` stamped events above `after`, in order, without holes. Empty when there are none, and
    /// when the next one is pruned: compare with [`Head::oldest`].
    fn read_after(
        &self,
        stream: &str,
        after: Position,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Event>, StoreError>> + Send;

    /// The id of the event at a position; `None` when nothing is there (any more).
    fn event_id_at(
        &self,
        stream: &str,
        position: Position,
    ) -> impl Future<Output = Result<Option<EventId>, StoreError>> + Send;

    /// Where a committed event stands.
    fn resolve(&self, event_id: EventId) -> impl Future<Output = Result<Resolved, StoreError>> + Send;

    /// Records a registered consumer's mark; `false` when no such consumer is registered for the stream.
    fn acknowledge(
        &self,
        stream: &str,
        consumer: &str,
        epoch: Uuid,
        position: Position,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// The right to stamp a stream, until the database's clock says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The stream.
    pub stream: String,
    /// Random, made at each start of an owner.
    pub owner: Uuid,
    /// Rises at each takeover; every write of the owner checks it.
    pub fence: i64,
    /// The stream's history.
    pub epoch: Uuid,
    /// The newest stamped position.
    pub head: Position,
    /// The newest position that was surely published.
    pub published_through: Position,
}

/// The outcome of a write that needs the lease.
#[derive(Debug, Clone, PartialEq)]
pub enum Stamp {
    /// The events that this step stamped, in order; the lease was renewed. Empty when none was pending.
    Stamped(Vec<Event>),
    /// Another owner has the stream: stop, write nothing more under this lease.
    LeaseLost,
}

/// A registered consumer that holds back pruning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silent {
    /// Its name.
    pub consumer: String,
    /// What it has acknowledged.
    pub acknowledged: Position,
    /// Whether that is a position of the stream's present history; else it counts as nothing.
    pub is_of_epoch: bool,
}

/// Stamping and pruning an outbox table: the sequencer's side.
pub trait OutboxStore: EventLog {
    /// Takes the lease if it is free or run out (raising the fence), renews it if `owner` has it; `None` while
    /// another has it. Makes a new epoch when the database server is not the one that the stream was stamped
    /// on (its identity and timeline are kept beside the lease).
    fn lease(
        &self,
        stream: &str,
        owner: Uuid,
        duration: Duration,
    ) -> impl Future<Output = Result<Option<Lease>, StoreError>> + Send;

    /// One sequencer step: locks the lease by owner and fence, gives at most `limit` pending events the next
    /// positions, renews the lease for `duration`. Events of one aggregate are stamped in the order of their
    /// versions.
    fn stamp(
        &self,
        lease: &Lease,
        limit: usize,
        duration: Duration,
    ) -> impl Future<Output = Result<Stamp, StoreError>> + Send;

    /// Whether a step would find nothing to do: the lease is held, more than two thirds of `duration` are left of
    /// it, and nothing is pending. Reads and writes nothing, so that an idle stream costs no commit at every poll.
    fn is_idle(
        &self,
        lease: &Lease,
        duration: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Notes that everything up to a position was published; `false` when the lease is lost.
    fn published(
        &self,
        lease: &Lease,
        through: Position,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Deletes at most `limit` events strictly below both the smallest acknowledged position of all
    /// registered consumers and the newest event older than `retention`; tells how many.
    fn prune(
        &self,
        lease: &Lease,
        retention: Duration,
        limit: usize,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// The registered consumers of a stream that have acknowledged nothing for `longer_than`, or nothing of its present
    /// epoch, by name.
    fn silent_consumers(
        &self,
        stream: &str,
        longer_than: Duration,
    ) -> impl Future<Output = Result<Vec<Silent>, StoreError>> + Send;

    /// Resolves once an event may have been committed in this process since the last call: a hint that lets
    /// the sequencer go to work before its next poll. May resolve for nothing.
    fn appended(&self) -> impl Future<Output = ()> + Send;
}

/// Publishing streams that need no stamping, such as the session service's: their writers assign positions.
pub trait RelayLease: EventLog {
    /// Takes or renews, for `owner`, the right to publish all streams of this log; `false` while another has
    /// it. Publishing twice is harmless, so this lease has no fence.
    fn hold(&self, owner: Uuid, duration: Duration) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Waits until something may have been appended, and names the streams. A hint, as [`OutboxStore::appended`] is.
    fn appended(&self) -> impl Future<Output = Vec<String>> + Send;
}

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

/// Why an effect was not applied.
#[derive(Debug)]
pub enum EffectError {
    /// Try again, without end: a database away, a conflict, a timeout.
    Transient(Box<dyn StdError + Send + Sync>),
    /// This event can never be applied: park it, go on with other aggregates.
    Permanent(Box<dyn StdError + Send + Sync>),
    /// Nothing of this stream may be applied any more until somebody has looked.
    Halt(String),
}

impl fmt::Display for EffectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transient(_) => f.write_str("the effect cannot be applied now"),
            Self::Permanent(_) => f.write_str("the effect can never be applied"),
            Self::Halt(reason) => write!(f, "the stream must halt: {reason}"),
        }
    }
}

impl StdError for EffectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Transient(source) | Self::Permanent(source) => Some(source.as_ref()),
            Self::Halt(_) => None,
        }
    }
}

impl From<StoreError> for EffectError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Transient(source) => Self::Transient(source),
            StoreError::Permanent(source) => Self::Permanent(source),
        }
    }
}

/// What a consumer does with events.
pub trait Effects<Tx>: Send + Sync + 'static {
    /// Applies a run of consecutive events through the transaction that moves the mark, which is locked
    /// already. Locks everything it needs in the order orders, transfers, accounts, products, each sorted by
    /// id, before it changes anything. Events of types that it does not know are no error.
    fn apply(&self, tx: &mut Tx, run: &[Event]) -> impl Future<Output = Result<(), EffectError>> + Send;

    /// Whether an event says anything to this consumer. One that does not moves the mark and nothing else, and nobody
    /// waits for that: it may wait a moment for others.
    fn concerns(&self, _event: &Event) -> bool {
        true
    }

    /// Called after these events' effects have committed: to wake whoever waits for them. Must not block. Never
    /// called for an event twice, but perhaps not at all: the process may die in between.
    fn committed(&self, _events: &[Event]) {}
}
