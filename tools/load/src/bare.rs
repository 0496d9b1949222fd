//! The floor of an event's way: one loop that writes, with bare drivers and the same statements, the rows that a
//! sequencer and a consumer write. It leases, publishes, follows and checks nothing, and does not survive a crash in
//! the middle. No service may work like this, and none can be cheaper. Its rows have a stream of their own.

use std::collections::HashMap;

use anyhow::{Context as _, Result, ensure};
use api::order::v1::OrderPlaced;
use bson::{Document, doc};
use mongodb::{Client, Database};
use prost::Message as _;
use sqlx::postgres::PgConnection;
use sqlx::{FromRow, Row as _};
use uuid::Uuid;

use crate::order_events::{self, Databases};

/// The stream that no sequencer knows.
pub(crate) const STREAM: &str = "floor";
/// The number of events that order service's sequencer stamps at once.
const BATCH: i64 = 1000;
const SUMS: &str = "order_statistics";
const MARK: &str = "floor_mark";

/// Both ends of the way.
pub(crate) struct Bare {
    postgres: PgConnection,
    mongodb: Client,
    users: Database,
    next: i64,
    last: Option<Uuid>,
}

#[derive(FromRow)]
struct Stamped {
    event_id: Uuid,
    payload: Vec<u8>,
    position: i64,
}

impl Bare {
    pub(crate) async fn connect(databases: &Databases) -> Result<Self> {
        let mut postgres = order_events::postgres(databases).await?;
        let query = "SELECT position + 1, event_id FROM outbox WHERE stream = $1 AND position IS NOT NULL
                     ORDER BY position DESC LIMIT 1";
        let newest = sqlx::query(query).bind(STREAM).fetch_optional(&mut postgres).await?;
        let (next, last) = match newest {
            Some(row) => (row.try_get(0)?, Some(row.try_get(1)?)),
            None => (1, None),
        };
        let mongodb = Client::with_uri_str(&databases.mongodb_url).await.context("connecting to MongoDB")?;
        let users = mongodb.default_database().context("MONGODB_URL names no database")?;
        Ok(Self { postgres, mongodb, users, next, last })
    }

    /// Stamps at most one batch of waiting events, applies them, and returns which they were.
    pub(crate) async fn step(&mut self) -> Result<Vec<Uuid>> {
        let mut events = self.stamp().await?;
        events.sort_unstable_by_key(|event| event.position);
        if let Some(newest) = events.last() {
            (self.next, self.last) = (newest.position + 1, Some(newest.event_id));
            self.apply(&events).await?;
        }
        Ok(events.into_iter().map(|event| event.event_id).collect())
    }

    async fn stamp(&mut self) -> Result<Vec<Stamped>> {
        let query = sqlx::query_as(
            "UPDATE outbox
             SET position = stamp.position, previous = stamp.previous, stamped_at = clock_timestamp()
             FROM (SELECT event_id,
                          $2 - 1 + row_number() OVER (ORDER BY id) AS position,
                          coalesce(lag(event_id) OVER (ORDER BY id), $3) AS previous
                   FROM (SELECT event_id, id FROM outbox
                         WHERE stream = $1 AND position IS NULL ORDER BY id LIMIT $4) AS pending) AS stamp
             WHERE outbox.event_id = stamp.event_id
             RETURNING outbox.event_id, payload, outbox.position",
        );
        let query = query.bind(STREAM).bind(self.next).bind(self.last).bind(BATCH);
        query.fetch_all(&mut self.postgres).await.context("stamping")
    }

    /// Writes the sums of all customers and the mark, in one transaction.
    async fn apply(&self, events: &[Stamped]) -> Result<()> {
        let mut placed: HashMap<Uuid, i64> = HashMap::new();
        for event in events {
            let order = OrderPlaced::decode(event.payload.as_slice())?;
            *placed.entry(order.customer_id.parse()?).or_default() += 1;
        }
        let add = |(customer, count): (Uuid, i64)| {
            let more = doc! {
                "placed_count": count, "paid_count": 0_i64, "cancelled_count": 0_i64, "owned_count": count,
            };
            doc! { "q": { "_id": bson::Uuid::from(customer) }, "u": { "$inc": more }, "upsert": true }
        };
        let sums: Vec<Document> = placed.into_iter().map(add).collect();
        let mark =
            doc! { "q": { "_id": STREAM }, "u": { "$set": { "position": self.next - 1 } }, "upsert": true };
        let mut session = self.mongodb.start_session().await?;
        session.start_transaction().await?;
        for (collection, updates) in [(SUMS, sums), (MARK, vec![mark])] {
            let count = updates.len();
            let command = doc! { "update": collection, "updates": updates, "ordered": true };
            let answer = self.users.run_command(command).session(&mut session).await?;
            let hit = answer.get_i32("n").ok().and_then(|hit| usize::try_from(hit).ok());
            ensure!(hit == Some(count), "{collection}: {answer}");
        }
        session.commit_transaction().await.context("the commit in MongoDB")
    }
}
