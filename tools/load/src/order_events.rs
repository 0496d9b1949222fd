//! A producer of our own for order service's stream. It writes orders with their events as order service does, and
//! wakes its sequencer as another replica would. So everything that order service and user service use is spent on the
//! way of the events, and nothing on calls.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use api::common::v1::Money;
use api::order::v1::OrderPlaced;
use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{Client, Collection};
use prost::{Message as _, Name as _};
use redis::aio::MultiplexedConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Row as _};
use time::OffsetDateTime;
use tokio::time::sleep;
use uuid::Uuid;

use crate::made_at;

/// How many customers the orders are of.
const CUSTOMERS: usize = 1000;
/// Order service's.
pub(crate) const STREAM: &str = "order";

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Where the databases are.
#[derive(Debug, Clone, clap::Args)]
pub struct Databases {
    /// Order service's.
    #[arg(long, env = "POSTGRES_URL", hide_env_values = true)]
    pub postgres_url: String,
    /// User service's.
    #[arg(long, env = "MONGODB_URL", hide_env_values = true)]
    pub mongodb_url: String,
    /// The one that carries the events.
    #[arg(long, env = "REDIS_EVENTS_URL", hide_env_values = true)]
    pub redis_events_url: String,
}

/// A new order and its event.
#[derive(Debug)]
pub(crate) struct NewOrder {
    pub(crate) event_id: Uuid,
    order_id: Uuid,
    customer_id: Uuid,
    seller_id: Uuid,
    payload: Vec<u8>,
    at: OffsetDateTime,
}

/// The customers. They are in no database.
#[derive(Debug, Clone)]
pub(crate) struct Customers(Vec<Uuid>);

impl Customers {
    pub(crate) fn new() -> Self {
        Self((0..CUSTOMERS).map(|_| Uuid::now_v7()).collect())
    }

    pub(crate) fn order(&self) -> NewOrder {
        let customer_id = self.0[fastrand::usize(..self.0.len())];
        let (order_id, seller_id) = (Uuid::now_v7(), self.0[0]);
        let payload = OrderPlaced {
            order_id: order_id.to_string(),
            customer_id: customer_id.to_string(),
            seller_id: seller_id.to_string(),
            total: Some(Money { currency_code: "EUR".to_owned(), minor_units: 1000 }),
        };
        let (at, event_id) = (made_at(order_id), Uuid::now_v7());
        NewOrder { event_id, order_id, customer_id, seller_id, payload: payload.encode_to_vec(), at }
    }
}

/// Writes orders, and their events into a stream, in one statement.
pub(crate) async fn write(connection: &mut PgConnection, stream: &str, orders: &[NewOrder]) -> Result<()> {
    let query = sqlx::query(
        "WITH new AS (
             SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bytea[], $6::timestamptz[])
                  WITH ORDINALITY AS new (event_id, order_id, customer_id, seller_id, payload, at, place)
         ), placed AS (
             INSERT INTO orders (id, customer_id, seller_id, state, currency, total_minor_units, version,
                                 event_version, created_at, updated_at)
             SELECT order_id, customer_id, seller_id, 'placed', 'EUR', 1000, 1, 1, at, at FROM new ORDER BY place
         )
         INSERT INTO outbox (stream, event_id, aggregate_type, aggregate_id, aggregate_version, type,
                             schema_version, payload, created_at)
         SELECT $7, event_id, 'order', order_id::text, 1, $8, 1, payload, at FROM new ORDER BY place",
    );
    let ids = |id: fn(&NewOrder) -> Uuid| orders.iter().map(id).collect::<Vec<_>>();
    let query = query
        .bind(ids(|order| order.event_id))
        .bind(ids(|order| order.order_id))
        .bind(ids(|order| order.customer_id))
        .bind(ids(|order| order.seller_id))
        .bind(orders.iter().map(|order| order.payload.as_slice()).collect::<Vec<_>>())
        .bind(orders.iter().map(|order| order.at).collect::<Vec<_>>())
        .bind(stream)
        .bind(OrderPlaced::full_name());
    query.execute(connection).await.context("writing orders")?;
    Ok(())
}

/// A connection to order service's database.
pub(crate) async fn postgres(databases: &Databases) -> Result<PgConnection> {
    let options: PgConnectOptions = databases.postgres_url.parse()?;
    let options = options.options(crate::POSTGRES_SETTINGS);
    PgConnection::connect_with(&options).await.context("connecting to PostgreSQL")
}

/// Tells the sequencer, wherever it runs, that there are events to stamp.
#[derive(Debug, Clone)]
pub(crate) struct Wake(MultiplexedConnection);

impl Wake {
    pub(crate) async fn connect(databases: &Databases) -> Result<Self> {
        let client = redis::Client::open(databases.redis_events_url.as_str())?;
        Ok(Self(client.get_multiplexed_async_connection().await.context("connecting to the event Redis")?))
    }

    pub(crate) async fn wake(&self) -> Result<()> {
        let mut connection = self.0.clone();
        redis::cmd("PUBLISH")
            .arg(format!("wake.{STREAM}"))
            .arg("")
            .query_async::<()>(&mut connection)
            .await?;
        Ok(())
    }
}

/// A position of the stream: its head, or how far its events are applied.
pub(crate) type Position = i64;

/// The newest position of the stream.
pub(crate) async fn head(connection: &mut PgConnection) -> Result<Position> {
    let query = sqlx::query("SELECT next_position - 1 FROM outbox_lease WHERE stream = $1").bind(STREAM);
    Ok(query.fetch_one(connection).await?.try_get(0)?)
}

/// The newest position, once all committed events are stamped. Whatever ran before a round may have left some behind.
pub(crate) async fn head_at_rest(connection: &mut PgConnection, within: Duration) -> Result<Position> {
    let end = Instant::now() + within;
    while Instant::now() < end {
        let query = "SELECT EXISTS (SELECT FROM outbox WHERE stream = $1 AND position IS NULL)";
        let query = sqlx::query(query).bind(STREAM);
        let is_stamping: bool = query.fetch_one(&mut *connection).await?.try_get(0)?;
        if !is_stamping {
            return head(connection).await;
        }
        sleep(LOOK_EVERY).await;
    }
    bail!("not all events of stream {STREAM} are stamped after {within:?}")
}

/// The events above a position, in order.
pub(crate) async fn events_after(
    connection: &mut PgConnection,
    after: Position,
) -> Result<Vec<(Position, Uuid)>> {
    let query = sqlx::query(
        "SELECT position, event_id FROM outbox WHERE stream = $1 AND position > $2 ORDER BY position",
    );
    let rows = query.bind(STREAM).bind(after).fetch(connection);
    rows.map_err(anyhow::Error::from)
        .and_then(async |row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .try_collect()
        .await
}

/// How far user service's consumers of the stream have come.
#[derive(Debug, Clone)]
pub(crate) struct Marks(Collection<Document>);

impl Marks {
    pub(crate) async fn connect(databases: &Databases) -> Result<Self> {
        let client = Client::with_uri_str(&databases.mongodb_url).await.context("connecting to MongoDB")?;
        let database = client.default_database().context("MONGODB_URL names no database")?;
        Ok(Self(database.collection("consumer_mark")))
    }

    /// The mark of the consumer that keeps statistics.
    pub(crate) async fn statistics(&self) -> Result<Position> {
        let mark = self.0.find_one(doc! { "_id": "user.statistics" }).await?.context("no mark yet")?;
        Ok(mark.get_i64("position")?)
    }

    /// The mark of the consumer that is furthest behind.
    pub(crate) async fn slowest(&self) -> Result<Position> {
        let marks: Vec<Document> = self.0.find(doc! { "stream": STREAM }).await?.try_collect().await?;
        let positions = marks.iter().map(|mark| Ok(mark.get_i64("position")?)).collect::<Result<Vec<_>>>()?;
        positions.into_iter().min().context("no mark yet")
    }
}
