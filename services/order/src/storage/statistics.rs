//! What the orders of each user add up to, read in one snapshot of the database.
//!
//! Events that are committed and not stamped yet have no position. The sums include them, and a reader that goes on from
//! the head would count them again. So they are read in the same snapshot, and taken off the sums.

use std::time::Duration;

use events::Mark;
use types::{EventId, UserId};
use uuid::Uuid;

use super::statement::statements;
use super::{STREAM, Store, Tx};
use crate::domain::Sums;
use crate::error::{Error, Result};

statements! {
    SUMS_HEAD = "SELECT epoch, next_position - 1, last_event_id FROM outbox_lease WHERE stream = $1";

    SUMS_PENDING = "SELECT type, payload FROM outbox WHERE stream = $1 AND position IS NULL";

    SUMS_CURSOR =
        "DECLARE sums NO SCROLL CURSOR FOR
         SELECT user_id, sum(placed)::bigint AS placed, sum(paid)::bigint AS paid,
                sum(cancelled)::bigint AS cancelled, sum(owned)::bigint AS owned
         FROM (SELECT principal::uuid AS user_id, 1 AS placed, 0 AS paid, 0 AS cancelled, 0 AS owned
               FROM request WHERE method = $1 AND outcome ? 'done'
               UNION ALL
               SELECT order_customer_id, 0, 1, 0, 0
               FROM transfers WHERE kind = 'pay' AND decision = 'confirm'
               UNION ALL
               SELECT customer_id, 0, 0, (state = 'cancelled')::integer, (state <> 'cancelled')::integer
               FROM orders) AS change
         GROUP BY user_id ORDER BY user_id";
}

const PAGE: &str = "FETCH 1000 FROM sums";
const SNAPSHOT_TIME: Duration = Duration::from_secs(600);

/// A committed event without a position.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct PendingEvent {
    #[sqlx(rename = "type")]
    pub(crate) event_type: String,
    pub(crate) payload: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct SumsRow {
    user_id: Uuid,
    placed: i64,
    paid: i64,
    cancelled: i64,
    owned: i64,
}

/// The sums at one moment, to be read page by page.
pub(crate) struct SumsSnapshot {
    tx: Tx,
    /// Where the stream stood.
    pub(crate) head: Mark,
    /// Events that the sums include and that have no position yet.
    pub(crate) pending: Vec<PendingEvent>,
}

impl Store {
    /// Opens a snapshot; `place_order` is the method that places orders. It holds a connection until it is dropped.
    pub(crate) async fn sums_snapshot(&self, place_order: &str) -> Result<SumsSnapshot> {
        let mut tx = self.begin().await?;
        // The first statement makes the snapshot. All of the tables are read, which may take longer than a call.
        for statement in [
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
            "SET LOCAL idle_in_transaction_session_timeout = '1min'",
            "SET LOCAL enable_seqscan = on",
        ] {
            tx.execute(sqlx::query(statement).persistent(false)).await?;
        }
        tx.statements_within(SNAPSHOT_TIME).await?;
        let head = sqlx::query(SUMS_HEAD);
        let head: Option<(Uuid, i64, Option<Uuid>)> = tx.row(head.bind(STREAM)).await?;
        let (epoch, position, event_id) = head.ok_or_else(|| Error::internal("there is no stream"))?;
        let head = Mark::at(epoch, position, event_id.map(EventId::from_uuid));
        let pending = sqlx::query(SUMS_PENDING);
        let pending = tx.rows(pending.bind(STREAM)).await?;
        // Who placed an order is not in the order, which may have been handed over; the outcomes of these calls are
        // kept for ever.
        let declare = sqlx::query(SUMS_CURSOR).bind(place_order);
        tx.execute(declare.persistent(false)).await?;
        Ok(SumsSnapshot { tx, head, pending })
    }
}

impl SumsSnapshot {
    /// The next users, in ascending order; none after the last.
    pub(crate) async fn next_page(&mut self) -> Result<Vec<(UserId, Sums)>> {
        let rows: Vec<SumsRow> = self.tx.rows(sqlx::query(PAGE).persistent(false)).await?;
        let sums = |row: SumsRow| {
            let SumsRow { user_id, placed, paid, cancelled, owned } = row;
            (UserId::from_uuid(user_id), Sums { placed, paid, cancelled, owned })
        };
        Ok(rows.into_iter().map(sums).collect())
    }
}
