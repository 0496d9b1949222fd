//! What a consumer of our own stream has still to apply. One snapshot has its mark, what it has applied and all of this, so
//! that together they are what the stream tells, however busy the service is.

use bson::{Document, doc};
use events::{ConsumerId, Event, Position};
use futures_util::TryStreamExt as _;

use super::lease::STREAM;
use super::outbox::{EventRow, OUTBOX};
use crate::error::{Error, Result};
use crate::storage::Tx;
use crate::storage::driver::bounded;

impl Tx {
    /// The events above a consumer's mark, those that are not stamped yet, and those that are parked; `None` when there are
    /// more than `limit` of one kind.
    pub(crate) async fn unapplied(
        &mut self,
        consumer: ConsumerId,
        limit: usize,
    ) -> Result<Option<Vec<Event>>> {
        let mark = self.mark_fetch(consumer).await?;
        let mark = mark.ok_or_else(|| Error::internal(format!("{} has no mark", consumer.name)))?;
        let above = doc! { "position": { "$gt": mark.position } };
        let stamped = self.outbox_some(above, doc! { "position": 1 }, limit).await?;
        let pending = self.outbox_some(doc! { "pending": true }, doc! { "_id": 1 }, limit).await?;
        let parked = self.parked_some(consumer, limit).await?;
        let (Some(stamped), Some(pending), Some(parked)) = (stamped, pending, parked) else {
            return Ok(None);
        };
        let epoch = mark.epoch;
        let rows = stamped.into_iter().chain(pending).chain(parked);
        let events = rows.map(|mut row| {
            // What is not stamped comes after all that is.
            row.position.get_or_insert(Position::MAX);
            row.into_event(STREAM, epoch)
        });
        events.collect::<Result<Vec<Event>>>().map(Some)
    }

    async fn outbox_some(
        &mut self,
        which: Document,
        order: Document,
        limit: usize,
    ) -> Result<Option<Vec<EventRow>>> {
        let (outbox, session) = self.on::<EventRow>(OUTBOX);
        let find = outbox.find(which).sort(order).limit(one_more(limit));
        let mut rows = bounded(find.session(&mut *session)).await?;
        let rows: Vec<EventRow> = bounded(rows.stream(session).try_collect()).await?;
        Ok(Some(rows).filter(|rows| rows.len() <= limit))
    }
}

/// So that it is seen when there are more.
pub(super) fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}
