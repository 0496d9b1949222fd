//! [`OutboxStore`]: the sequencer's statements.
//!
//! **Invariant:** positions are given under the lock of the stream's lease row, so that they are dense and become
//! visible in order. One READ COMMITTED statement does all of it, and its snapshot may be older than the lock that it
//! waited for: then a stamp of the same lease, whose answer was lost, has just committed. So every row that the snapshot
//! shows as pending is locked too, which looks at it as it is now, before it is counted.

use std::result::Result;
use std::time::Duration;

use events::{
    EventLog as _, Lease, OutboxStore, PENDING_COUNTED, Pending, Position, Silent, Stamp, StoreError,
};
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use uuid::Uuid;

use super::log::{Row, limit};
use crate::error::{Error, Result as AppResult};
use crate::storage::Store;
use crate::storage::session::ServerIdentity;
use crate::storage::statement::statements;

statements! {
    IS_IDLE =
        "SELECT NOT EXISTS (SELECT 1 FROM outbox WHERE stream = $1 AND position IS NULL)
         FROM outbox_lease
         WHERE stream = $1 AND owner = $2 AND fence = $3 AND epoch = $4
           AND system_identifier = $5 AND timeline = $6
           AND lease_until > clock_timestamp() + make_interval(secs => $7)";

    STAMP =
        "WITH lease AS MATERIALIZED (
             SELECT next_position, last_event_id FROM outbox_lease
             WHERE stream = $1 AND owner = $2 AND fence = $3 AND epoch = $4
               AND system_identifier = $5 AND timeline = $6
             FOR UPDATE
         ), pending AS MATERIALIZED (
             SELECT event_id, id FROM outbox
             WHERE stream = $1 AND position IS NULL AND EXISTS (SELECT FROM lease)
             ORDER BY id LIMIT $7
             FOR UPDATE
         ), stamp AS (
             SELECT event_id,
                    (SELECT next_position FROM lease) - 1 + row_number() OVER (ORDER BY id) AS position,
                    coalesce(lag(event_id) OVER (ORDER BY id), (SELECT last_event_id FROM lease)) AS previous
             FROM pending
         ), stamped AS (
             UPDATE outbox
             SET position = stamp.position, previous = stamp.previous, stamped_at = clock_timestamp()
             FROM stamp WHERE outbox.event_id = stamp.event_id
             RETURNING outbox.event_id, aggregate_type, aggregate_id, aggregate_version, type, schema_version,
                       payload, headers, created_at, outbox.position, outbox.previous
         ), head AS (
             SELECT position, event_id FROM stamped ORDER BY position DESC LIMIT 1
         ), advanced AS (
             UPDATE outbox_lease
             SET lease_until = clock_timestamp() + make_interval(secs => $8),
                 next_position = coalesce((SELECT position + 1 FROM head), next_position),
                 last_event_id = coalesce((SELECT event_id FROM head), last_event_id)
             WHERE stream = $1 AND EXISTS (SELECT FROM lease)
         )
         SELECT * FROM stamped";

    LEASE_IS_HELD =
        "SELECT EXISTS (
             SELECT FROM outbox_lease
             WHERE stream = $1 AND owner = $2 AND fence = $3 AND epoch = $4
               AND system_identifier = $5 AND timeline = $6)";

    LEASE =
        "UPDATE outbox_lease
         SET owner = $2,
             lease_until = clock_timestamp() + make_interval(secs => $3),
             fence = fence + CASE WHEN owner = $2 AND lease_until > clock_timestamp() THEN 0 ELSE 1 END,
             epoch = CASE WHEN system_identifier IN ('', $4) AND timeline IN ('', $5) THEN epoch
                          ELSE gen_random_uuid() END,
             system_identifier = $4,
             timeline = $5
         WHERE stream = $1 AND (owner = $2 OR lease_until <= clock_timestamp())
         RETURNING epoch, fence, next_position, published_through";

    /// No more rows are counted than that it is enough to know of so many.
    PENDING =
        "SELECT count(*),
                coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8
         FROM (SELECT created_at FROM outbox WHERE stream = $1 AND position IS NULL ORDER BY id LIMIT $2) AS pending";

    PUBLISHED =
        "WITH unhurried AS (SELECT set_config('synchronous_commit', 'off', true))
         UPDATE outbox_lease SET published_through = greatest(published_through, $4)
         FROM unhurried WHERE stream = $1 AND owner = $2 AND fence = $3";

    PRUNE =
        "WITH mine AS (
             SELECT epoch FROM outbox_lease WHERE stream = $1 AND owner = $2 AND fence = $3
         ), oldest AS (
             SELECT event_id, position, stamped_at FROM outbox
             WHERE stream = $1 AND position > 0 ORDER BY position LIMIT $5 + 1
         ), old AS (
             SELECT max(position) AS position FROM oldest
             WHERE stamped_at < clock_timestamp() - make_interval(secs => $4)
         ), acknowledged AS (
             SELECT min(CASE WHEN consumer.epoch = mine.epoch THEN acknowledged ELSE 0 END) AS position
             FROM outbox_consumer AS consumer, mine WHERE stream = $1
         )
         DELETE FROM outbox USING mine, oldest, old, acknowledged
         WHERE outbox.event_id = oldest.event_id AND oldest.position < old.position
           AND oldest.position < coalesce(acknowledged.position, old.position)";

    SILENT_CONSUMERS =
        "SELECT consumer, acknowledged, consumer.epoch = lease.epoch
         FROM outbox_consumer AS consumer JOIN outbox_lease AS lease USING (stream)
         WHERE stream = $1 AND (consumer.epoch <> lease.epoch
                                OR acknowledged_at < clock_timestamp() - make_interval(secs => $2))
         ORDER BY consumer";
}

#[derive(sqlx::FromRow)]
struct LeaseRow {
    epoch: Uuid,
    fence: i64,
    next_position: i64,
    published_through: i64,
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// A statement about a lease that was taken on this server; its parameters $1 to $6 say which.
fn about<'q>(
    lease: &'q Lease,
    server: ServerIdentity,
    sql: &'static str,
) -> Query<'q, Postgres, PgArguments> {
    sqlx::query(sql)
        .bind(&lease.stream)
        .bind(lease.owner)
        .bind(lease.fence)
        .bind(lease.epoch)
        .bind(server.system_identifier)
        .bind(server.timeline)
}

impl OutboxStore for Store {
    async fn lease(
        &self,
        stream: &str,
        owner: Uuid,
        duration: Duration,
    ) -> Result<Option<Lease>, StoreError> {
        let mut connection = self.read().await?;
        let server = connection.server().await?;
        // A server that the stream was never stamped on may be a restored backup or a promoted standby: its
        // history gets a name of its own. The first stamp of all only writes down which server it is.
        let query = sqlx::query(LEASE)
            .bind(stream)
            .bind(owner)
            .bind(seconds(duration))
            .bind(server.system_identifier)
            .bind(server.timeline);
        let row: Option<LeaseRow> = connection.row(query).await?;
        drop(connection);
        if row.is_none() && self.head(stream).await?.is_none() {
            return Err(Error::internal(format!("there is no stream {stream}")).into());
        }
        Ok(row.map(|row| Lease {
            stream: stream.to_owned(),
            owner,
            fence: row.fence,
            epoch: row.epoch,
            head: row.next_position - 1,
            published_through: row.published_through,
        }))
    }

    async fn stamp(&self, lease: &Lease, limit: usize, duration: Duration) -> Result<Stamp, StoreError> {
        let mut rows = self.pending_stamp(lease, limit, duration).await?;
        if rows.is_empty() && !self.lease_is_held(lease).await? {
            return Ok(Stamp::LeaseLost);
        }
        rows.sort_unstable_by_key(|row| row.position);
        let events = rows.into_iter().map(|row| row.into_event(&lease.stream, lease.epoch));
        Ok(Stamp::Stamped(events.collect()))
    }

    async fn is_idle(&self, lease: &Lease, duration: Duration) -> Result<bool, StoreError> {
        let mut connection = self.read().await?;
        let server = connection.server().await?;
        let query = about(lease, server, IS_IDLE).bind(seconds(duration * 2 / 3));
        let row: Option<(bool,)> = connection.row(query).await?;
        Ok(row.is_some_and(|(nothing_pending,)| nothing_pending))
    }

    async fn pending(&self, stream: &str) -> Result<Pending, StoreError> {
        let query = sqlx::query(PENDING).bind(stream).bind(PENDING_COUNTED);
        let row: Option<(i64, f64)> = self.read().await?.row(query).await?;
        let (events, oldest) = row.unwrap_or_default();
        // The clock of whoever made the event may be ahead.
        let oldest = Duration::try_from_secs_f64(oldest).unwrap_or_default();
        Ok(Pending { events: u64::try_from(events).unwrap_or_default(), oldest })
    }

    async fn published(&self, lease: &Lease, through: Position) -> Result<bool, StoreError> {
        // Lost in a crash, some events are published again, which consumers expect.
        let query =
            sqlx::query(PUBLISHED).bind(&lease.stream).bind(lease.owner).bind(lease.fence).bind(through);
        Ok(self.read().await?.execute(query).await? == 1)
    }

    async fn prune(&self, lease: &Lease, retention: Duration, limit: usize) -> Result<u64, StoreError> {
        // Only the oldest rows are looked at, so that the cost does not grow with the table: of those that are
        // old enough, the newest stays. A consumer that acknowledged in another epoch has acknowledged nothing.
        let query = sqlx::query(PRUNE)
            .bind(&lease.stream)
            .bind(lease.owner)
            .bind(lease.fence)
            .bind(seconds(retention))
            .bind(self::limit(limit));
        Ok(self.read().await?.execute(query).await?)
    }

    async fn silent_consumers(&self, stream: &str, longer_than: Duration) -> Result<Vec<Silent>, StoreError> {
        let query = sqlx::query(SILENT_CONSUMERS).bind(stream).bind(seconds(longer_than));
        let rows: Vec<(String, i64, bool)> = self.read().await?.rows(query).await?;
        let silent = |(consumer, acknowledged, is_of_epoch)| Silent { consumer, acknowledged, is_of_epoch };
        Ok(rows.into_iter().map(silent).collect())
    }

    async fn appended(&self) {
        self.signals.wait_for_append().await;
    }
}

impl Store {
    /// Gives the oldest pending events the positions from the lease's next one on, renews the lease and moves its head;
    /// the events come in no order. Nothing happens if it is another lease by now, or another server.
    async fn pending_stamp(&self, lease: &Lease, limit: usize, duration: Duration) -> AppResult<Vec<Row>> {
        let mut connection = self.read().await?;
        let server = connection.server().await?;
        let query = about(lease, server, STAMP).bind(self::limit(limit)).bind(seconds(duration));
        if fault::is_armed!("sequencer.stamping", &lease.stream) {
            drop(connection);
            return self.stamp_in_open_transaction(&lease.stream, query).await;
        }
        connection.rows(query).await
    }

    /// Runs the same statement in a transaction that is open for a moment before its commit. The statement that ships
    /// is a transaction of its own and has no such moment, so it goes this way only while a test has armed the point.
    async fn stamp_in_open_transaction(
        &self,
        stream: &str,
        query: Query<'_, Postgres, PgArguments>,
    ) -> AppResult<Vec<Row>> {
        let mut tx = self.begin().await?;
        let rows: Vec<Row> = tx.rows(query).await?;
        if !rows.is_empty() {
            fault::point!("sequencer.stamping", stream);
        }
        tx.commit_now().await?;
        Ok(rows)
    }

    /// Whether a lease has not become another's, and the server is still its own.
    async fn lease_is_held(&self, lease: &Lease) -> AppResult<bool> {
        let mut connection = self.read().await?;
        let server = connection.server().await?;
        let query = about(lease, server, LEASE_IS_HELD);
        let held: Option<(bool,)> = connection.row(query).await?;
        Ok(held.is_some_and(|(held,)| held))
    }
}
