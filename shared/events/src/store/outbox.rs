//! Stamping and publishing a producer's streams.

use std::future::Future;
use std::time::Duration;

use uuid::Uuid;

use super::error::StoreError;
use super::log::EventLog;
use crate::envelope::{Event, Position};

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
