//! [`ConsumerStore`]: the marks of this service's consumers and what they could not apply, in the database that
//! their effects are in.

use std::result::Result;
use std::time::Duration;

use events::{
    ConsumerId, ConsumerStore, HoldClaim, LeasedMark, Mark, Parked, Position, Resynced, Standing, StoreError,
    cloud_event,
};
use time::OffsetDateTime;
use types::EventId;
use uuid::Uuid;

use super::log::limit;
use crate::storage::statement::statements;
use crate::storage::{Store, Tx};

statements! {
    MARK_LEASE =
        "INSERT INTO consumer_mark AS mark (stream, consumer, owner, lease_until, fence)
         VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4), 1)
         ON CONFLICT (stream, consumer) DO UPDATE
         SET owner = excluded.owner,
             lease_until = excluded.lease_until,
             fence = mark.fence
                   + CASE WHEN mark.owner = excluded.owner AND mark.lease_until > clock_timestamp() THEN 0
                          ELSE 1 END
         WHERE mark.owner IS NULL OR mark.owner = excluded.owner OR mark.lease_until <= clock_timestamp()
         RETURNING epoch, position, event_id, fence, halted";

    MARK_ADOPT =
        "UPDATE consumer_mark SET epoch = $6, position = $7, event_id = $8
         WHERE stream = $1 AND consumer = $2 AND epoch = $3 AND position = $4
           AND event_id IS NOT DISTINCT FROM $5 AND halted IS NULL";

    HALT =
        "UPDATE consumer_mark SET halted = $7
         WHERE stream = $1 AND consumer = $2 AND epoch = $3 AND position = $4
           AND event_id IS NOT DISTINCT FROM $5 AND owner = $6 AND halted IS NULL";

    STANDING =
        "SELECT epoch, position, event_id, halted, coalesce(hold_until > clock_timestamp(), false) AS held,
                resync_request, resync_aggregates, resync_position
         FROM consumer_mark WHERE stream = $1 AND consumer = $2";

    RESYNC_HOLD =
        "UPDATE consumer_mark SET halted = $3, hold_until = clock_timestamp() + make_interval(secs => $4)
         WHERE stream = $1 AND consumer = $2 AND coalesce(hold_until <= clock_timestamp(), true)
         RETURNING epoch, position, event_id";

    RESYNC_END =
        "UPDATE consumer_mark
         SET epoch = $6, position = $7, event_id = $8, halted = NULL, hold_until = NULL,
             resync_request = $10, resync_aggregates = $11, resync_position = $12
         WHERE stream = $1 AND consumer = $2 AND epoch = $3 AND position = $4
           AND event_id IS NOT DISTINCT FROM $5 AND halted IS NOT DISTINCT FROM $9";

    PARKED_LIST =
        "SELECT event, attempts, error, parked_at FROM parked_event
         WHERE consumer = $1 AND position > $2 ORDER BY position LIMIT $3";
}

#[derive(sqlx::FromRow)]
pub(super) struct MarkRow {
    epoch: Uuid,
    position: i64,
    event_id: Option<Uuid>,
}

impl From<MarkRow> for Mark {
    fn from(row: MarkRow) -> Self {
        Self { epoch: row.epoch, position: row.position, event_id: row.event_id.map(EventId::from_uuid) }
    }
}

#[derive(sqlx::FromRow)]
struct LeasedMarkRow {
    #[sqlx(flatten)]
    mark: MarkRow,
    fence: i64,
    halted: Option<String>,
}

#[derive(sqlx::FromRow)]
struct StandingRow {
    #[sqlx(flatten)]
    mark: MarkRow,
    halted: Option<String>,
    held: bool,
    resync_request: Option<Uuid>,
    resync_aggregates: Option<i64>,
    resync_position: Option<i64>,
}

impl From<StandingRow> for Standing {
    fn from(row: StandingRow) -> Self {
        let done = row.resync_request.zip(row.resync_aggregates).zip(row.resync_position);
        let resynced = done.map(|((request_id, aggregates), position)| Resynced {
            request_id,
            aggregates: aggregates.cast_unsigned(),
            position,
        });
        Self { mark: row.mark.into(), halted: row.halted, held: row.held, resynced }
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct ParkedRow {
    event: Vec<u8>,
    attempts: i32,
    error: String,
    parked_at: OffsetDateTime,
}

impl TryFrom<ParkedRow> for Parked {
    type Error = StoreError;

    fn try_from(row: ParkedRow) -> Result<Self, StoreError> {
        let event =
            cloud_event::from_bytes(&row.event).map_err(|error| StoreError::Permanent(error.into()))?;
        Ok(Self { event, attempts: row.attempts, error: row.error, parked_at: row.parked_at })
    }
}

impl ConsumerStore for Store {
    type Tx = Tx;

    async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(Store::begin(self).await?)
    }

    async fn mark_lease(
        &self,
        consumer: ConsumerId,
        owner: Uuid,
        duration: Duration,
    ) -> Result<Option<LeasedMark>, StoreError> {
        let query = sqlx::query(MARK_LEASE)
            .bind(consumer.stream)
            .bind(consumer.name)
            .bind(owner)
            .bind(duration.as_secs_f64());
        let row: Option<LeasedMarkRow> = self.read().await?.row(query).await?;
        Ok(row.map(|row| LeasedMark { mark: row.mark.into(), fence: row.fence, halted: row.halted }))
    }

    async fn mark_adopt(&self, consumer: ConsumerId, from: &Mark, to: &Mark) -> Result<bool, StoreError> {
        let query = sqlx::query(MARK_ADOPT)
            .bind(consumer.stream)
            .bind(consumer.name)
            .bind(from.epoch)
            .bind(from.position)
            .bind(from.event_id.map(EventId::uuid))
            .bind(to.epoch)
            .bind(to.position)
            .bind(to.event_id.map(EventId::uuid));
        Ok(self.read().await?.execute(query).await? == 1)
    }

    async fn halt(
        &self,
        consumer: ConsumerId,
        owner: Uuid,
        at: &Mark,
        reason: &str,
    ) -> Result<bool, StoreError> {
        let query = sqlx::query(HALT)
            .bind(consumer.stream)
            .bind(consumer.name)
            .bind(at.epoch)
            .bind(at.position)
            .bind(at.event_id.map(EventId::uuid))
            .bind(owner)
            .bind(reason);
        Ok(self.read().await?.execute(query).await? == 1)
    }

    async fn standing(&self, consumer: ConsumerId) -> Result<Option<Standing>, StoreError> {
        let query = sqlx::query(STANDING).bind(consumer.stream).bind(consumer.name);
        Ok(self.read().await?.row::<StandingRow>(query).await?.map(Standing::from))
    }

    async fn resync_hold(
        &self,
        consumer: ConsumerId,
        reason: &str,
        duration: Duration,
    ) -> Result<Option<HoldClaim>, StoreError> {
        let query = sqlx::query(RESYNC_HOLD)
            .bind(consumer.stream)
            .bind(consumer.name)
            .bind(reason)
            .bind(duration.as_secs_f64());
        if let Some(row) = self.read().await?.row::<MarkRow>(query).await? {
            return Ok(Some(HoldClaim::Held(row.into())));
        }
        let standing = self.standing(consumer).await?;
        Ok(standing.map(|standing| HoldClaim::Taken(standing.halted.unwrap_or_default())))
    }

    async fn resync_end(
        &self,
        consumer: ConsumerId,
        from: &Mark,
        to: &Mark,
        held: Option<&str>,
        done: &Resynced,
    ) -> Result<bool, StoreError> {
        let query = sqlx::query(RESYNC_END)
            .bind(consumer.stream)
            .bind(consumer.name)
            .bind(from.epoch)
            .bind(from.position)
            .bind(from.event_id.map(EventId::uuid))
            .bind(to.epoch)
            .bind(to.position)
            .bind(to.event_id.map(EventId::uuid))
            .bind(held)
            .bind(done.request_id)
            .bind(done.aggregates.cast_signed())
            .bind(done.position);
        Ok(self.read().await?.execute(query).await? == 1)
    }

    async fn parked_list(
        &self,
        consumer: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Parked>, StoreError> {
        let query = sqlx::query(PARKED_LIST).bind(consumer).bind(after).bind(self::limit(limit));
        let rows: Vec<ParkedRow> = self.read().await?.rows(query).await?;
        rows.into_iter().map(Parked::try_from).collect()
    }
}
