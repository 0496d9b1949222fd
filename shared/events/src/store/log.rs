//! Reading a producer's streams.

use std::future::Future;

use types::EventId;
use uuid::Uuid;

use super::error::StoreError;
use crate::envelope::{Event, Position};

/// The newest event of a stream, and the oldest that it still has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The stream's name.
    pub stream: String,
    /// The stream's present history: another one begins when its database is restored or fails over.
    pub epoch: Uuid,
    /// The newest stamped position, 0 when there is none.
    pub position: Position,
    /// The event at that position; `None` at 0.
    pub event_id: Option<EventId>,
    /// The oldest position that can be replayed, 0 when there is none.
    pub oldest: Position,
}

/// What is known of an event by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// No committed event has the id.
    Unknown,
    /// It is committed and has no position yet.
    Pending,
    /// It has its position.
    At {
        /// The stream that it is in.
        stream: String,
        /// The history that the position belongs to.
        epoch: Uuid,
        /// Its place in the stream.
        position: Position,
    },
}

/// Reads a producer's streams, for the answers of `EventService`.
pub trait EventLog: Clone + Send + Sync + 'static {
    /// The head of a stream; `None` when this service has no such stream.
    fn head(&self, stream: &str) -> impl Future<Output = Result<Option<Head>, StoreError>> + Send;

    /// At most `limit` stamped events above `after`, in order and without holes. The answer is empty when there are
    /// none, and also when the next one is pruned: [`Head::oldest`] tells which.
    fn read_after(
        &self,
        stream: &str,
        after: Position,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Event>, StoreError>> + Send;

    /// The id of the event at a position; `None` when there is none yet, or it is pruned.
    fn event_id_at(
        &self,
        stream: &str,
        position: Position,
    ) -> impl Future<Output = Result<Option<EventId>, StoreError>> + Send;

    /// The position of a committed event.
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
