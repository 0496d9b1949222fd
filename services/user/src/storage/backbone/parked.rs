//! Events that could not be applied, whole, and those that wait behind them.

use std::collections::HashSet;

use bson::{Bson, Document, doc};
use events::{Aggregate, ConsumerId, Event, Parked, Position, Skip};
use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use types::EventId;
use uuid::Uuid;

use super::outbox::EventRow;
use super::unapplied::one_more;
use crate::error::{Error, Result};
use crate::storage::driver::bounded;
use crate::storage::{SERVER_TIME, Store, Tx, to_time};

const COLLECTION: &str = "parked_event";
/// Events that operators dropped; documents are only ever added.
const SKIPS: &str = "parked_skip";

/// A parked event as the database has it. What it is found by is repeated beside the event.
#[derive(Debug, Serialize, Deserialize)]
struct ParkedRow {
    stream: String,
    epoch: bson::Uuid,
    event: EventRow,
    attempts: i32,
    error: String,
    parked_at: bson::DateTime,
}

/// An aggregate that has parked events.
#[derive(Debug, Deserialize)]
struct AggregateRow {
    #[serde(rename = "_id")]
    aggregate: AggregateKey,
}

#[derive(Debug, Deserialize)]
struct AggregateKey {
    kind: String,
    id: String,
}

impl TryFrom<ParkedRow> for Parked {
    type Error = Error;

    fn try_from(row: ParkedRow) -> Result<Self> {
        Ok(Self {
            event: row.event.into_event(&row.stream, row.epoch.into())?,
            attempts: row.attempts,
            error: row.error,
            parked_at: to_time(row.parked_at),
        })
    }
}

impl Store {
    /// See [`events::ConsumerStore::parked_list`].
    pub(super) async fn parked_after(
        &self,
        consumer: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Parked>> {
        let parked = self.collection::<ParkedRow>(COLLECTION);
        let find = parked
            .find(doc! { "_id.consumer": consumer, "position": { "$gt": after } })
            .sort(doc! { "position": 1 })
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .max_time(SERVER_TIME);
        let rows: Vec<ParkedRow> = bounded(bounded(find).await?.try_collect()).await?;
        rows.into_iter().map(Parked::try_from).collect()
    }
}

impl Tx {
    pub(super) async fn parked_is_there(&mut self, consumer: ConsumerId) -> Result<bool> {
        let (parked, session) = self.on::<Document>(COLLECTION);
        let find = parked.find_one(doc! { "_id.consumer": consumer.name }).projection(doc! { "_id": 1 });
        Ok(bounded(find.session(session)).await?.is_some())
    }

    /// A cap on the aggregates halts the stream, so they are few; the events that wait behind them may be many.
    pub(super) async fn parked_aggregates(&mut self, consumer: ConsumerId) -> Result<HashSet<Aggregate>> {
        let (parked, session) = self.on::<ParkedRow>(COLLECTION);
        let pipeline = [
            doc! { "$match": { "_id.consumer": consumer.name } },
            doc! { "$group": { "_id": { "kind": "$aggregate.type", "id": "$aggregate.id" } } },
        ];
        let groups = parked.aggregate(pipeline).with_type::<AggregateRow>().session(&mut *session);
        let mut cursor = bounded(groups).await?;
        let rows: Vec<AggregateRow> = bounded(cursor.stream(session).try_collect()).await?;
        Ok(rows.into_iter().map(|row| Aggregate { kind: row.aggregate.kind, id: row.aggregate.id }).collect())
    }

    /// The parked events of a consumer; `None` when there are more than `limit`.
    pub(super) async fn parked_some(
        &mut self,
        consumer: ConsumerId,
        limit: usize,
    ) -> Result<Option<Vec<EventRow>>> {
        let (parked, session) = self.on::<ParkedRow>(COLLECTION);
        let find = parked
            .find(doc! { "_id.consumer": consumer.name })
            .sort(doc! { "position": 1 })
            .limit(one_more(limit));
        let mut rows = bounded(find.session(&mut *session)).await?;
        let rows: Vec<ParkedRow> = bounded(rows.stream(session).try_collect()).await?;
        let is_all = rows.len() <= limit;
        Ok(is_all.then(|| rows.into_iter().map(|row| row.event).collect()))
    }

    pub(super) async fn parked_write(
        &mut self,
        consumer: ConsumerId,
        event: &Event,
        attempts: i32,
        error: &str,
    ) -> Result<()> {
        let row = EventRow::stamped(event);
        let literally = |value: Bson| doc! { "$literal": value };
        let change = doc! {
            "attempts": attempts,
            "error": literally(error.into()),
            // Parked again it keeps its time: that is when it began to wait.
            "parked_at": { "$ifNull": ["$parked_at", "$$NOW"] },
            "stream": literally(event.stream.as_str().into()),
            "epoch": bson::Uuid::from(event.epoch),
            "position": event.position,
            "aggregate": literally(bson::serialize_to_bson(&row.aggregate).map_err(Error::internal)?),
            "event": literally(bson::serialize_to_bson(&row).map_err(Error::internal)?),
        };
        let (parked, session) = self.on::<ParkedRow>(COLLECTION);
        let update = parked
            .update_one(by_id(consumer, event.new.id), vec![doc! { "$set": change }])
            .upsert(true)
            .session(session);
        bounded(update).await.map(drop)
    }

    /// The oldest of an aggregate, and how many wait behind it.
    pub(super) async fn parked_oldest(
        &mut self,
        consumer: ConsumerId,
        aggregate: &Aggregate,
    ) -> Result<Option<(Parked, usize)>> {
        let (parked, session) = self.on::<ParkedRow>(COLLECTION);
        let filter = doc! {
            "_id.consumer": consumer.name,
            "aggregate.type": &aggregate.kind,
            "aggregate.id": &aggregate.id,
        };
        let find = parked.find_one(filter.clone()).sort(doc! { "position": 1 });
        let Some(row) = bounded(find.session(&mut *session)).await? else {
            return Ok(None);
        };
        let count = bounded(parked.count_documents(filter).session(session)).await?;
        let behind = usize::try_from(count.saturating_sub(1)).unwrap_or(usize::MAX);
        Ok(Some((row.try_into()?, behind)))
    }

    pub(super) async fn parked_skip_insert(
        &mut self,
        consumer: ConsumerId,
        position: Position,
        skip: &Skip,
    ) -> Result<()> {
        let row = doc! {
            "$set": {
                "consumer": consumer.name,
                "event_id": bson::Uuid::from(skip.event_id.uuid()),
                "position": position,
                "request_id": bson::Uuid::from(skip.request_id),
                "caller": &skip.caller,
                "justification": &skip.justification,
            },
            // The server's time; an insert could have only ours.
            "$currentDate": { "skipped_at": true },
        };
        let (skips, session) = self.on::<Document>(SKIPS);
        let id = doc! { "_id": bson::Uuid::from(Uuid::now_v7()) };
        bounded(skips.update_one(id, row).upsert(true).session(session)).await.map(drop)
    }

    pub(super) async fn parked_delete(
        &mut self,
        consumer: ConsumerId,
        event_id: EventId,
    ) -> Result<Option<Parked>> {
        let (parked, session) = self.on::<ParkedRow>(COLLECTION);
        let row = bounded(parked.find_one_and_delete(by_id(consumer, event_id)).session(session)).await?;
        row.map(Parked::try_from).transpose()
    }
}

/// The fields in the order in which the upsert writes them.
fn by_id(consumer: ConsumerId, event_id: EventId) -> Document {
    doc! { "_id": { "consumer": consumer.name, "event_id": bson::Uuid::from(event_id.uuid()) } }
}
