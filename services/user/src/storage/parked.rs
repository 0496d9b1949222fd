//! Events that could not be applied, whole, and those that wait behind them.

use std::collections::HashSet;

use bson::{Document, doc};
use events::{Aggregate, ConsumerId, Event, Parked, Position};
use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use types::EventId;

use super::driver::bounded;
use super::outbox::EventRow;
use super::{SERVER_TIME, Store, Tx, to_time};
use crate::error::{Error, Result};

const COLLECTION: &str = "parked_event";

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
    /// Few: a cap on them halts the stream.
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

    pub(super) async fn parked_write(
        &mut self,
        consumer: ConsumerId,
        event: &Event,
        attempts: i32,
        error: &str,
    ) -> Result<()> {
        let row = EventRow::stamped(event);
        let change = doc! {
            "$set": { "attempts": attempts, "error": error },
            "$currentDate": { "parked_at": true },
            "$setOnInsert": {
                "stream": &event.stream,
                "epoch": bson::Uuid::from(event.epoch),
                "position": event.position,
                "aggregate": bson::serialize_to_bson(&row.aggregate).map_err(Error::internal)?,
                "event": bson::serialize_to_bson(&row).map_err(Error::internal)?,
            },
        };
        let (parked, session) = self.on::<ParkedRow>(COLLECTION);
        let update = parked.update_one(by_id(consumer, event.new.id), change).upsert(true).session(session);
        bounded(update).await.map(drop)
    }

    pub(super) async fn parked_fetch(
        &mut self,
        consumer: ConsumerId,
        aggregate: &Aggregate,
    ) -> Result<Vec<Parked>> {
        let (parked, session) = self.on::<ParkedRow>(COLLECTION);
        let filter = doc! {
            "_id.consumer": consumer.name,
            "aggregate.type": &aggregate.kind,
            "aggregate.id": &aggregate.id,
        };
        let find = parked.find(filter).sort(doc! { "position": 1 }).session(&mut *session);
        let mut cursor = bounded(find).await?;
        let rows: Vec<ParkedRow> = bounded(cursor.stream(session).try_collect()).await?;
        rows.into_iter().map(Parked::try_from).collect()
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
