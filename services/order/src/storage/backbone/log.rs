//! [`EventLog`] on the outbox table: what `EventService` answers from.

use std::result::Result;

use events::store::consecutive;
use events::{Aggregate, Event, EventLog, Head, NewEvent, Position, Resolved, StoreError};
use serde_json::Value;
use sqlx::types::Json;
use time::OffsetDateTime;
use types::EventId;
use uuid::Uuid;

use super::outbox::headers_from_json;
use crate::storage::Store;
use crate::storage::statement::statements;

statements! {
    HEAD =
        "SELECT epoch, next_position - 1, last_event_id,
                coalesce((SELECT min(position) FROM outbox WHERE stream = $1 AND position IS NOT NULL), 0)
         FROM outbox_lease WHERE stream = $1";

    READ_AFTER =
        "SELECT epoch, event_id, aggregate_type, aggregate_id, aggregate_version, type, schema_version, payload,
                headers, created_at, position, previous
         FROM outbox JOIN outbox_lease USING (stream)
         WHERE stream = $1 AND position > $2
         ORDER BY position LIMIT $3";

    EVENT_ID_AT = "SELECT event_id FROM outbox WHERE stream = $1 AND position = $2";

    RESOLVE =
        "SELECT stream, epoch, position FROM outbox JOIN outbox_lease USING (stream) WHERE event_id = $1";

    ACKNOWLEDGE =
        "WITH unhurried AS (SELECT set_config('synchronous_commit', 'off', true))
         UPDATE outbox_consumer SET epoch = $3, acknowledged = $4, acknowledged_at = clock_timestamp()
         FROM unhurried WHERE stream = $1 AND consumer = $2";
}

/// A stamped row of the outbox.
#[derive(sqlx::FromRow)]
pub(super) struct Row {
    event_id: Uuid,
    aggregate_type: String,
    aggregate_id: String,
    aggregate_version: i64,
    #[sqlx(rename = "type")]
    event_type: String,
    schema_version: i32,
    payload: Vec<u8>,
    headers: Json<Value>,
    created_at: OffsetDateTime,
    pub(super) position: i64,
    previous: Option<Uuid>,
}

impl Row {
    pub(super) fn into_event(self, stream: &str, epoch: Uuid) -> Event {
        Event {
            stream: stream.to_owned(),
            epoch,
            position: self.position,
            previous: self.previous.map(EventId::from_uuid),
            new: NewEvent {
                id: EventId::from_uuid(self.event_id),
                aggregate: Aggregate { kind: self.aggregate_type, id: self.aggregate_id },
                aggregate_version: self.aggregate_version,
                event_type: self.event_type,
                schema_version: self.schema_version,
                payload: self.payload.into(),
                headers: headers_from_json(&self.headers),
                created_at: self.created_at,
            },
        }
    }
}

/// A row with the epoch of its stream, read in one snapshot.
#[derive(sqlx::FromRow)]
struct RowOfEpoch {
    epoch: Uuid,
    #[sqlx(flatten)]
    row: Row,
}

/// A limit as PostgreSQL takes it.
pub(super) fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl EventLog for Store {
    async fn head(&self, stream: &str) -> Result<Option<Head>, StoreError> {
        let query = sqlx::query(HEAD).bind(stream);
        let head: Option<(Uuid, i64, Option<Uuid>, i64)> = self.read().await?.row(query).await?;
        Ok(head.map(|(epoch, position, event_id, oldest)| Head {
            stream: stream.to_owned(),
            epoch,
            position,
            event_id: event_id.map(EventId::from_uuid),
            oldest,
        }))
    }

    async fn read_after(
        &self,
        stream: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        let query = sqlx::query(READ_AFTER).bind(stream).bind(after).bind(self::limit(limit));
        let rows: Vec<RowOfEpoch> = self.read().await?.rows(query).await?;
        let dense = consecutive(after, rows, |row| Some(row.row.position));
        Ok(dense.map(|row| row.row.into_event(stream, row.epoch)).collect())
    }

    async fn event_id_at(&self, stream: &str, position: Position) -> Result<Option<EventId>, StoreError> {
        let query = sqlx::query(EVENT_ID_AT).bind(stream).bind(position);
        let row: Option<(Uuid,)> = self.read().await?.row(query).await?;
        Ok(row.map(|(event_id,)| EventId::from_uuid(event_id)))
    }

    async fn resolve(&self, event_id: EventId) -> Result<Resolved, StoreError> {
        let query = sqlx::query(RESOLVE).bind(event_id.uuid());
        let row: Option<(String, Uuid, Option<i64>)> = self.read().await?.row(query).await?;
        Ok(match row {
            None => Resolved::Unknown,
            Some((_, _, None)) => Resolved::Pending,
            Some((stream, epoch, Some(position))) => Resolved::At { stream, epoch, position },
        })
    }

    async fn acknowledge(
        &self,
        stream: &str,
        consumer: &str,
        epoch: Uuid,
        position: Position,
    ) -> Result<bool, StoreError> {
        // Lost in a crash, it only holds back pruning a little longer: no need to wait for the disk.
        let query = sqlx::query(ACKNOWLEDGE).bind(stream).bind(consumer).bind(epoch).bind(position);
        Ok(self.read().await?.execute(query).await? == 1)
    }
}
