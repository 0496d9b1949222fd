//! Stamping and publishing a producer's streams.

use std::future::Future;
use std::time::Duration;

use uuid::Uuid;

use super::error::StoreError;
use super::log::EventLog;
use crate::envelope::{Event, Position};

/// The right to stamp a stream, until it runs out by the database's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The stream's name.
    pub stream: String,
    /// Who has the lease: a random id, made when the process starts.
    pub owner: Uuid,
    /// A number that rises at each takeover; every write of the owner checks it.
    pub fence: i64,
    /// The stream's present history.
    pub epoch: Uuid,
    /// The newest stamped position.
    pub head: Position,
    /// Everything up to this position is known to have been published.
    pub published_through: Position,
}

/// The outcome of a write that needs the lease.
#[derive(Debug, Clone, PartialEq)]
pub enum Stamp {
    /// The lease was renewed, and these events got their positions, in order. Empty when none was pending.
    Stamped(Vec<Event>),
    /// Another owner has the stream: stop, write nothing more under this lease.
    LeaseLost,
}

/// A registered consumer that keeps events from being pruned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silent {
    /// The consumer's name.
    pub consumer: String,
    /// The last position that it acknowledged.
    pub acknowledged: Position,
    /// Whether that position is of the stream's present history; if not, it counts as nothing.
    pub is_of_epoch: bool,
}

/// The committed events of a stream that have no position yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pending {
    /// How many there are, [`PENDING_COUNTED`] at the most.
    pub events: u64,
    /// How long ago the oldest of them was made, by the database's clock; nothing when there is none.
    pub oldest: Duration,
}

/// More pending events than this are not counted: that so many are is enough to know.
pub const PENDING_COUNTED: i64 = 10_000;

/// Stamps and prunes an outbox table, for the sequencer.
pub trait OutboxStore: EventLog {
    /// Takes the lease if it is free or has run out, which raises the fence, or renews it if `owner` has it; `None`
    /// while another has it. Begins a new epoch when the database server is not the one that the stream was stamped
    /// on: the server's identity and timeline are kept beside the lease.
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

    /// Whether [`OutboxStore::stamp`] would find nothing to do: the lease is held, more than two thirds of `duration`
    /// are left of it, and no event is pending. Only reads, so that an idle stream costs no commit at every poll.
    fn is_idle(
        &self,
        lease: &Lease,
        duration: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// The events of a stream that have no position yet.
    fn pending(&self, stream: &str) -> impl Future<Output = Result<Pending, StoreError>> + Send;

    /// Records that everything up to a position was published; `false` when the lease is lost.
    fn published(
        &self,
        lease: &Lease,
        through: Position,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Deletes at most `limit` events strictly below both the smallest acknowledged position of all
    /// registered consumers and the newest event older than `retention`; gives how many that were.
    fn prune(
        &self,
        lease: &Lease,
        retention: Duration,
        limit: usize,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// The registered consumers of a stream that have acknowledged nothing for `longer_than`, or nothing of its present
    /// epoch, sorted by name.
    fn silent_consumers(
        &self,
        stream: &str,
        longer_than: Duration,
    ) -> impl Future<Output = Result<Vec<Silent>, StoreError>> + Send;

    /// Waits until an event may have been committed in this process since the last call: a hint that lets the
    /// sequencer start before its next poll. May return when there is no event.
    fn appended(&self) -> impl Future<Output = ()> + Send;
}

/// Publishes streams that need no stamping because their writers assign the positions, such as the session service's.
pub trait RelayLease: EventLog {
    /// Takes or renews the right to publish all streams of this log; `false` while another owner has it. Publishing
    /// twice is harmless, so this lease has no fence.
    fn hold(&self, owner: Uuid, duration: Duration) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Waits until an event may have been appended, and names the streams. A hint, as [`OutboxStore::appended`] is.
    fn appended(&self) -> impl Future<Output = Vec<String>> + Send;
}
