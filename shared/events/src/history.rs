//! The history of an [`EventLog`]: the pages of a replay, and whether a consumer's mark is still in it. These are the
//! answers of [`crate::service::EventServer`], without gRPC.

use types::EventId;
use uuid::Uuid;

use crate::envelope::{Event, Position};
use crate::store::{EventLog, Head, Mark, StoreError};

/// The most events of a page.
pub const PAGE_MAX: usize = 500;

/// Why a question about the history cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// This log has no such stream.
    #[error("there is no such stream here")]
    StreamNotFound,
    /// The stream has another history than the caller's.
    #[error("the stream has another epoch")]
    EpochChanged,
    /// The events there are pruned.
    #[error("the events there are pruned; the oldest is at {oldest}")]
    Pruned {
        /// The oldest position that is left; 0 when none is.
        oldest: Position,
    },
    /// The log's database failed.
    #[error("the log cannot be read")]
    Store(#[from] StoreError),
}

/// Whether the history that a mark was in is still the stream's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum History {
    /// The event at the mark is the stream's event at that position.
    Same(Head),
    /// The stream has another event at that position, or does not reach it.
    Rewound(Head),
}

/// Consecutive events, and the head of their stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The events; may be empty.
    pub events: Vec<Event>,
    /// The head of the stream when they were read.
    pub head: Head,
}

/// The head of a stream.
///
/// # Errors
/// [`HistoryError::StreamNotFound`] and [`HistoryError::Store`].
pub async fn head<L: EventLog>(log: &L, stream: &str) -> Result<Head, HistoryError> {
    log.head(stream).await?.ok_or(HistoryError::StreamNotFound)
}

/// Whether the history up to a mark is still the stream's history.
///
/// # Errors
/// [`HistoryError::Pruned`] when the event at the mark is pruned, so that this cannot be known.
pub async fn resume<L: EventLog>(log: &L, stream: &str, mark: &Mark) -> Result<History, HistoryError> {
    let now = head(log, stream).await?;
    let Some(expected) = mark.event_id.filter(|_| mark.position > 0) else {
        return Ok(History::Same(now));
    };
    if mark.position > now.position {
        return Ok(History::Rewound(now));
    }
    let found: Option<EventId> = log.event_id_at(stream, mark.position).await?;
    match found {
        Some(found) if found == expected => Ok(History::Same(now)),
        Some(_) => Ok(History::Rewound(now)),
        None => {
            let now = head(log, stream).await?;
            if now.oldest == 0 || mark.position < now.oldest {
                Err(HistoryError::Pruned { oldest: now.oldest })
            } else {
                Ok(History::Rewound(now))
            }
        }
    }
}

/// Reads one history of a stream page by page.
#[derive(Debug)]
pub struct Reader<L> {
    log: L,
    head: Head,
    after: Position,
}

impl<L: EventLog> Reader<L> {
    /// A reader of the events above `after`, in the history of this epoch or, without one, in the present history.
    ///
    /// # Errors
    /// When the stream has another epoch or the events there are pruned.
    pub async fn open(
        log: L,
        stream: &str,
        epoch: Option<Uuid>,
        after: Position,
    ) -> Result<Self, HistoryError> {
        let head = head(&log, stream).await?;
        if epoch.is_some_and(|epoch| epoch != head.epoch) {
            return Err(HistoryError::EpochChanged);
        }
        let reader = Self { log, head, after };
        reader.check_pruned()?;
        Ok(reader)
    }

    /// The next events; an empty page at the head.
    ///
    /// # Errors
    /// When the stream's epoch changed or the next events were pruned.
    pub async fn next(&mut self) -> Result<Page, HistoryError> {
        let events = self.log.read_after(&self.head.stream, self.after, PAGE_MAX).await?;
        if let (Some(first), Some(last)) = (events.first(), events.last()) {
            if first.epoch != self.head.epoch || last.epoch != self.head.epoch {
                return Err(HistoryError::EpochChanged);
            }
            if first.position != self.after + 1 {
                return Err(HistoryError::Pruned { oldest: first.position });
            }
            self.after = last.position;
            if last.position > self.head.position {
                self.head.position = last.position;
                self.head.event_id = Some(last.new.id);
            }
        } else {
            self.refresh().await?;
        }
        Ok(Page { events, head: self.head.clone() })
    }

    async fn refresh(&mut self) -> Result<(), HistoryError> {
        let now = head(&self.log, &self.head.stream).await?;
        if now.epoch != self.head.epoch {
            return Err(HistoryError::EpochChanged);
        }
        let behind = std::mem::replace(&mut self.head, now).position;
        // Events that were stamped after the read may be missing from it. If one is missing that was stamped before, it
        // is pruned.
        if behind > self.after { self.check_pruned() } else { Ok(()) }
    }

    fn check_pruned(&self) -> Result<(), HistoryError> {
        let Head { position, oldest, .. } = self.head;
        if position > self.after && (oldest == 0 || oldest > self.after + 1) {
            return Err(HistoryError::Pruned { oldest });
        }
        Ok(())
    }
}
