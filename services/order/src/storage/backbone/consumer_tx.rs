//! [`ConsumerTx`]: what the backbone writes inside an effect's transaction.

use std::collections::HashSet;
use std::result::Result;
use std::time::Duration;

use events::{
    Act, Aggregate, ConsumerId, ConsumerTx, Event, LockedMark, Mark, Parked, Position, Skip, StoreError,
    cloud_event,
};
use types::EventId;
use uuid::Uuid;

use super::consumer::{MarkRow, ParkedRow};
use crate::storage::Tx;
use crate::storage::statement::statements;

statements! {
    MARK_ADVANCE =
        "UPDATE consumer_mark SET epoch = $6, position = $7, event_id = $8
         WHERE stream = $1 AND consumer = $2 AND epoch = $3 AND position = $4
           AND event_id IS NOT DISTINCT FROM $5 AND halted IS NULL";

    MARK_LOCK =
        "UPDATE consumer_mark SET position = position WHERE stream = $1 AND consumer = $2
         RETURNING epoch, position, event_id, halted";

    RESYNC_HOLDS =
        "UPDATE consumer_mark SET hold_until = clock_timestamp() + make_interval(secs => $4)
         WHERE stream = $1 AND consumer = $2 AND halted = $3";

    PARKED_ANY = "SELECT EXISTS (SELECT 1 FROM parked_event WHERE consumer = $1)";

    PARKED_AMONG =
        "SELECT DISTINCT aggregate_type, aggregate_id
         FROM parked_event JOIN unnest($2::text[], $3::text[]) AS wanted (aggregate_type, aggregate_id)
              USING (aggregate_type, aggregate_id)
         WHERE consumer = $1";

    PARKED_AGGREGATE_COUNT =
        "SELECT count(*) FROM (SELECT DISTINCT aggregate_type, aggregate_id FROM parked_event
                               WHERE consumer = $1) AS parked";

    PARK =
        "INSERT INTO parked_event
             (consumer, event_id, stream, position, aggregate_type, aggregate_id, event, attempts, error)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (consumer, event_id) DO UPDATE SET attempts = excluded.attempts, error = excluded.error";

    PARKED_FIRST =
        "SELECT event, attempts, error, parked_at,
                (SELECT count(*) - 1 FROM parked_event
                 WHERE consumer = $1 AND aggregate_type = $2 AND aggregate_id = $3) AS behind
         FROM parked_event
         WHERE consumer = $1 AND aggregate_type = $2 AND aggregate_id = $3 ORDER BY position LIMIT 1";

    PARKED_REMOVE =
        "DELETE FROM parked_event WHERE consumer = $1 AND event_id = $2
         RETURNING event, attempts, error, parked_at";

    ACT =
        "SELECT act_request, act_outcome FROM consumer_mark
         WHERE stream = $1 AND consumer = $2 AND act_request IS NOT NULL";

    ACT_KEEP =
        "UPDATE consumer_mark SET act_request = $3, act_outcome = $4 WHERE stream = $1 AND consumer = $2";

    SKIP_RECORD =
        "INSERT INTO parked_skip (consumer, event_id, position, request_id, caller, justification)
         VALUES ($1, $2, $3, $4, $5, $6)";
}

#[derive(sqlx::FromRow)]
struct LockedRow {
    #[sqlx(flatten)]
    mark: MarkRow,
    halted: Option<String>,
}

#[derive(sqlx::FromRow)]
struct FirstRow {
    #[sqlx(flatten)]
    parked: ParkedRow,
    behind: i64,
}

impl ConsumerTx for Tx {
    async fn mark_advance(
        &mut self,
        consumer: ConsumerId,
        from: &Mark,
        to: &Mark,
    ) -> Result<bool, StoreError> {
        let query = sqlx::query(MARK_ADVANCE)
            .bind(consumer.stream)
            .bind(consumer.name)
            .bind(from.epoch)
            .bind(from.position)
            .bind(from.event_id.map(EventId::uuid))
            .bind(to.epoch)
            .bind(to.position)
            .bind(to.event_id.map(EventId::uuid));
        Ok(self.execute(query).await? == 1)
    }

    async fn mark_lock(&mut self, consumer: ConsumerId) -> Result<Option<LockedMark>, StoreError> {
        let query = sqlx::query(MARK_LOCK).bind(consumer.stream).bind(consumer.name);
        let row: Option<LockedRow> = self.row(query).await?;
        Ok(row.map(|row| LockedMark { mark: row.mark.into(), halted: row.halted }))
    }

    async fn resync_holds(
        &mut self,
        consumer: ConsumerId,
        held: &str,
        duration: Duration,
    ) -> Result<bool, StoreError> {
        let query = sqlx::query(RESYNC_HOLDS)
            .bind(consumer.stream)
            .bind(consumer.name)
            .bind(held)
            .bind(duration.as_secs_f64());
        Ok(self.execute(query).await? == 1)
    }

    async fn parked_any(&mut self, consumer: ConsumerId) -> Result<bool, StoreError> {
        let query = sqlx::query(PARKED_ANY).bind(consumer.name);
        let (any,): (bool,) = self.row(query).await?.unwrap_or_default();
        Ok(any)
    }

    async fn parked_among(
        &mut self,
        consumer: ConsumerId,
        aggregates: &[Aggregate],
    ) -> Result<HashSet<Aggregate>, StoreError> {
        let query = sqlx::query(PARKED_AMONG)
            .bind(consumer.name)
            .bind(aggregates.iter().map(|aggregate| aggregate.kind.as_str()).collect::<Vec<_>>())
            .bind(aggregates.iter().map(|aggregate| aggregate.id.as_str()).collect::<Vec<_>>());
        let rows: Vec<(String, String)> = self.rows(query).await?;
        Ok(rows.into_iter().map(|(kind, id)| Aggregate { kind, id }).collect())
    }

    async fn parked_aggregate_count(&mut self, consumer: ConsumerId) -> Result<u64, StoreError> {
        let query = sqlx::query(PARKED_AGGREGATE_COUNT).bind(consumer.name);
        let (count,): (i64,) = self.row(query).await?.unwrap_or_default();
        Ok(count.cast_unsigned())
    }

    async fn park(
        &mut self,
        consumer: ConsumerId,
        event: &Event,
        attempts: i32,
        error: &str,
    ) -> Result<(), StoreError> {
        let query = sqlx::query(PARK)
            .bind(consumer.name)
            .bind(event.new.id.uuid())
            .bind(&event.stream)
            .bind(event.position)
            .bind(&event.new.aggregate.kind)
            .bind(&event.new.aggregate.id)
            .bind(cloud_event::to_bytes(event))
            .bind(attempts)
            // PostgreSQL has no text with NUL, and an error may quote anything.
            .bind(error.replace('\0', "\u{fffd}"));
        self.execute(query).await?;
        Ok(())
    }

    async fn parked_first(
        &mut self,
        consumer: ConsumerId,
        aggregate: &Aggregate,
    ) -> Result<Option<(Parked, usize)>, StoreError> {
        let query = sqlx::query(PARKED_FIRST).bind(consumer.name).bind(&aggregate.kind).bind(&aggregate.id);
        let Some(row) = self.row::<FirstRow>(query).await? else { return Ok(None) };
        let behind = usize::try_from(row.behind).unwrap_or(usize::MAX);
        Ok(Some((row.parked.try_into()?, behind)))
    }

    async fn parked_remove(
        &mut self,
        consumer: ConsumerId,
        event_id: EventId,
    ) -> Result<Option<Parked>, StoreError> {
        let query = sqlx::query(PARKED_REMOVE).bind(consumer.name).bind(event_id.uuid());
        self.row::<ParkedRow>(query).await?.map(Parked::try_from).transpose()
    }

    async fn act(&mut self, consumer: ConsumerId) -> Result<Option<Act>, StoreError> {
        let query = sqlx::query(ACT).bind(consumer.stream).bind(consumer.name);
        let row: Option<(Uuid, String)> = self.row(query).await?;
        Ok(row.map(|(request_id, outcome)| Act { request_id, outcome }))
    }

    async fn act_keep(&mut self, consumer: ConsumerId, act: &Act) -> Result<(), StoreError> {
        let query = sqlx::query(ACT_KEEP)
            .bind(consumer.stream)
            .bind(consumer.name)
            .bind(act.request_id)
            .bind(&act.outcome);
        self.execute(query).await?;
        Ok(())
    }

    async fn skip_record(
        &mut self,
        consumer: ConsumerId,
        position: Position,
        skip: &Skip,
    ) -> Result<(), StoreError> {
        let query = sqlx::query(SKIP_RECORD)
            .bind(consumer.name)
            .bind(skip.event_id.uuid())
            .bind(position)
            .bind(skip.request_id)
            .bind(&skip.caller)
            .bind(&skip.justification);
        self.execute(query).await?;
        Ok(())
    }

    async fn commit(self) -> Result<(), StoreError> {
        Ok(self.commit_now().await?)
    }

    async fn rollback(self) {
        Tx::rollback(self).await;
    }
}
