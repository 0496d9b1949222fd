//! Reading the stream: what `EventService` answers from.

use bson::doc;
use events::store::consecutive;
use events::{Event, EventLog, Head, Position, Resolved, StoreError};
use futures_util::TryStreamExt as _;
use serde::Deserialize;
use types::EventId;
use uuid::Uuid;

use super::lease::{CONSUMERS, LEASES, STREAM, StreamRow};
use super::outbox::{EventRow, OUTBOX};
use crate::error::Result;
use crate::storage::driver::bounded;
use crate::storage::{SERVER_TIME, Store};

/// Where an event stands, and nothing else of it.
#[derive(Debug, Deserialize)]
pub(super) struct PlaceRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    pub(super) position: Option<Position>,
}

impl PlaceRow {
    fn event_id(&self) -> EventId {
        EventId::from_uuid(self.id.into())
    }
}

impl EventLog for Store {
    async fn head(&self, stream: &str) -> Result<Option<Head>, StoreError> {
        Ok(self.stream_head(stream).await?)
    }

    async fn read_after(
        &self,
        stream: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        Ok(self.events_after(stream, after, limit).await?)
    }

    async fn event_id_at(&self, stream: &str, position: Position) -> Result<Option<EventId>, StoreError> {
        if stream != STREAM {
            return Ok(None);
        }
        let outbox = self.collection::<PlaceRow>(OUTBOX);
        let find = outbox.find_one(doc! { "position": position }).projection(doc! { "position": 1 });
        let row = bounded(find.max_time(SERVER_TIME)).await?;
        Ok(row.map(|row| row.event_id()))
    }

    async fn resolve(&self, event_id: EventId) -> Result<Resolved, StoreError> {
        let outbox = self.collection::<PlaceRow>(OUTBOX);
        let by_id = doc! { "_id": bson::Uuid::from(event_id.uuid()) };
        let row =
            bounded(outbox.find_one(by_id).projection(doc! { "position": 1 }).max_time(SERVER_TIME)).await?;
        let Some(row) = row else {
            return Ok(Resolved::Unknown);
        };
        let Some(position) = row.position else {
            return Ok(Resolved::Pending);
        };
        match self.stream_row(STREAM).await? {
            None => Ok(Resolved::Unknown),
            Some(row) => Ok(Resolved::At { stream: STREAM.to_owned(), epoch: row.epoch.into(), position }),
        }
    }

    async fn acknowledge(
        &self,
        stream: &str,
        consumer: &str,
        epoch: Uuid,
        position: Position,
    ) -> Result<bool, StoreError> {
        let consumers = self.collection::<bson::Document>(CONSUMERS);
        let mark = vec![doc! { "$set": {
            "epoch": bson::Uuid::from(epoch),
            "acknowledged": position,
            "acknowledged_at": "$$NOW",
        } }];
        let id = doc! { "_id": { "stream": stream, "consumer": consumer } };
        let updated = bounded(consumers.update_one(id, mark)).await?;
        Ok(updated.matched_count == 1)
    }
}

impl Store {
    /// A stream as its lease document has it.
    pub(super) async fn stream_row(&self, stream: &str) -> Result<Option<StreamRow>> {
        let streams = self.collection::<StreamRow>(LEASES);
        bounded(streams.find_one(doc! { "_id": stream }).max_time(SERVER_TIME)).await
    }

    /// Where a stream stands.
    pub(crate) async fn stream_head(&self, stream: &str) -> Result<Option<Head>> {
        let Some(row) = self.stream_row(stream).await? else {
            return Ok(None);
        };
        let outbox = self.collection::<PlaceRow>(OUTBOX);
        let oldest = outbox
            .find_one(doc! { "position": { "$exists": true } })
            .sort(doc! { "position": 1 })
            .projection(doc! { "position": 1 });
        let oldest = bounded(oldest.max_time(SERVER_TIME)).await?;
        Ok(Some(Head {
            stream: stream.to_owned(),
            epoch: row.epoch.into(),
            position: row.position,
            event_id: row.last_event_id(),
            oldest: oldest.and_then(|row| row.position).unwrap_or(0),
        }))
    }

    /// The pruner deletes from below while this reads, and the filter asks for no first position: so what does
    /// not follow `after` without a hole is cut off.
    async fn events_after(&self, stream: &str, after: Position, limit: usize) -> Result<Vec<Event>> {
        if stream != STREAM || limit == 0 {
            return Ok(Vec::new());
        }
        let Some(StreamRow { epoch, .. }) = self.stream_row(stream).await? else {
            return Ok(Vec::new());
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let last = after.saturating_add(limit);
        let outbox = self.collection::<EventRow>(OUTBOX);
        let find = outbox
            .find(doc! { "position": { "$gt": after, "$lte": last } })
            .sort(doc! { "position": 1 })
            .limit(limit)
            .batch_size(u32::try_from(limit).unwrap_or(u32::MAX))
            .max_time(SERVER_TIME);
        let rows: Vec<EventRow> = bounded(bounded(find).await?.try_collect()).await?;
        let dense = consecutive(after, rows, |row| row.position);
        dense.map(|row| row.into_event(stream, epoch.into())).collect()
    }
}
