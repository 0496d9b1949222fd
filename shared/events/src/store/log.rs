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

/// The rows that follow `after` one by one: what comes behind a hole is cut off. Whoever asks may name any position, the
/// largest as well, which nothing follows.
pub fn consecutive<T>(
    after: Position,
    rows: impl IntoIterator<Item = T>,
    position: impl Fn(&T) -> Option<Position>,
) -> impl Iterator<Item = T> {
    let places = std::iter::successors(after.checked_add(1), |place| place.checked_add(1));
    let fits = move |(row, place): &(T, Position)| position(row) == Some(*place);
    rows.into_iter().zip(places).take_while(fits).map(|(row, _)| row)
}

/// Reads a producer's streams, for the answers of `EventService`. Positions come from callers: any of them may be asked
/// for, above the newest event as well, and none costs more than a look into an index.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_behind_a_hole_are_cut_off_wherever_they_begin() {
        let read = |after, rows: &[Position]| -> Vec<Position> {
            consecutive(after, rows.iter().copied(), |row| Some(*row)).collect()
        };
        assert_eq!(read(0, &[1, 2, 4]), [1, 2]);
        assert_eq!(read(2, &[4]), []);
        assert_eq!(
            read(Position::MAX - 2, &[Position::MAX - 1, Position::MAX]),
            [Position::MAX - 1, Position::MAX]
        );
        assert_eq!(read(Position::MAX - 1, &[Position::MAX]), [Position::MAX]);
        assert_eq!(read(Position::MAX, &[]), []);
        assert_eq!(read(Position::MAX, &[Position::MIN]), [], "nothing follows the largest");
        assert_eq!(consecutive(0, [1], |_| None).count(), 0, "without a position it is nowhere");
    }
}
