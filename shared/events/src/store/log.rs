//! Reading a producer's streams.

use std::future::Future;

use types::EventId;
use uuid::Uuid;

use super::error::StoreError;
use crate::envelope::{Event, Position};

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
