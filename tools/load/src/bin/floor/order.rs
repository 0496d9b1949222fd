//! The floor of order service: one statement a call, prepared, on sqlx's connections in a deadpool.
//!
//! Placing an order knows names and prices of the products beforehand, checks them while it holds their locks, and
//! writes everything at once. The customer is given at the start, since the floor knows no callers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use api::common::v1::Money;
use api::order::v1::order::State;
use api::order::v1::{
    GetOrderRequest, GetOrderResponse, Order, OrderItem, OrderPlaced, PlaceOrderRequest, PlaceOrderResponse,
};
use deadpool::managed::{Manager, Metrics, Pool, RecycleResult};
use http::Request;
use prost::{Message as _, Name as _};
use prost_types::Timestamp;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::types::Json;
use sqlx::{ConnectOptions as _, Row as _};
use time::OffsetDateTime;
use tonic::body::Body;
use uuid::Uuid;

use crate::serve::{Answered, Floor, unary, unknown};

const CONNECTIONS: usize = 16;

/// What it needs.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Order service's database.
    #[arg(long, env = "POSTGRES_URL", hide_env_values = true)]
    postgres_url: String,
    /// Who orders.
    #[arg(long)]
    customer_id: Uuid,
}

/// Answers the calls.
#[derive(Clone)]
pub(crate) struct Orders {
    pool: Pool<Connector>,
    customer_id: Uuid,
    offers: Arc<Mutex<HashMap<Uuid, Offer>>>,
}

#[derive(Debug, Clone)]
struct Offer {
    seller_id: Uuid,
    name: String,
    currency: String,
    unit_price: i64,
}

pub(crate) struct Connector(PgConnectOptions);

impl Manager for Connector {
    type Type = PgConnection;
    type Error = sqlx::Error;

    async fn create(&self) -> sqlx::Result<PgConnection> {
        self.0.connect().await
    }

    async fn recycle(&self, _: &mut PgConnection, _: &Metrics) -> RecycleResult<sqlx::Error> {
        Ok(())
    }
}

impl Orders {
    pub(crate) async fn connect(options: Options) -> Result<Self> {
        let url: PgConnectOptions = options.postgres_url.parse()?;
        let connector = Connector(url.options(load::POSTGRES_SETTINGS).disable_statement_logging());
        let pool = Pool::builder(connector).max_size(CONNECTIONS).build()?;
        Ok(Self { pool, customer_id: options.customer_id, offers: Arc::default() })
    }

    async fn get(self, request: GetOrderRequest) -> Result<GetOrderResponse> {
        let query = sqlx::query(
            "SELECT customer_id, seller_id, state, currency, total_minor_units, refunded_minor_units, version,
                    created_at, updated_at, product_ids, quantities, product_names, unit_prices
             FROM orders
             CROSS JOIN LATERAL (
                 SELECT array_agg(product_id ORDER BY position) AS product_ids,
                        array_agg(quantity ORDER BY position) AS quantities,
                        array_agg(product_name ORDER BY position) AS product_names,
                        array_agg(unit_price_minor_units ORDER BY position) AS unit_prices
                 FROM order_items WHERE order_id = orders.id
             ) AS items
             WHERE orders.id = $1",
        );
        let mut connection = self.pool.get().await?;
        let id: Uuid = request.order_id.parse()?;
        let row = query.bind(id).fetch_one(&mut *connection).await?;
        Ok(GetOrderResponse { order: Some(order(request.order_id, &row)?) })
    }

    async fn place(self, request: PlaceOrderRequest) -> Result<PlaceOrderResponse> {
        let ids = request.items.iter().map(|item| Ok(item.product_id.parse()?));
        let offers = self.offers(&ids.collect::<Result<Vec<Uuid>>>()?).await?;
        let first = offers.first().context("an order without items")?.1.clone();
        let id = Uuid::now_v7();
        let now = load::made_at(id);
        let (order_id, customer_id) = (id.to_string(), self.customer_id.to_string());
        let seller_id = first.seller_id.to_string();
        let money = |minor_units| Some(Money { currency_code: first.currency.clone(), minor_units });
        let quantities: Vec<i64> = request.items.iter().map(|item| item.quantity).collect();
        let total = offers.iter().zip(&quantities).map(|((_, offer), count)| offer.unit_price * count).sum();
        let event = OrderPlaced {
            order_id: order_id.clone(),
            customer_id: customer_id.clone(),
            seller_id: seller_id.clone(),
            total: money(total),
        };
        let outcome = json!({ "done": { "order_id": order_id, "now": { "customer_id": customer_id,
            "state": "placed", "refunded_minor_units": 0, "version": 1, "updated_at": now.unix_timestamp() } } });
        let fingerprint = Sha256::digest(request.encode_to_vec());
        let query = sqlx::query(PLACE)
            .bind(offers.iter().map(|(id, _)| *id).collect::<Vec<_>>())
            .bind(quantities)
            .bind(offers.iter().map(|(_, offer)| offer.name.as_str()).collect::<Vec<_>>())
            .bind(offers.iter().map(|(_, offer)| offer.unit_price).collect::<Vec<_>>())
            .bind(self.customer_id)
            .bind(first.seller_id)
            .bind(&first.currency)
            .bind(total)
            .bind(now)
            .bind(request.request_id.parse::<Uuid>()?)
            .bind(&customer_id)
            .bind("order.v1.OrderService/PlaceOrder")
            .bind(fingerprint.as_slice())
            .bind(Json(outcome))
            .bind(id);
        let query = query
            .bind("order")
            .bind(Uuid::now_v7())
            .bind("order")
            .bind(&order_id)
            .bind(1_i64)
            .bind(OrderPlaced::full_name())
            .bind(1_i32)
            .bind(event.encode_to_vec())
            .bind(Json(json!({ "request_id": request.request_id })))
            .bind(now);
        let mut connection = self.pool.get().await?;
        let row = query.fetch_one(&mut *connection).await?;
        if !row.try_get::<bool, _>(1)? {
            bail!("the order was not placed");
        }
        let items = request.items.into_iter().zip(&offers).map(|(item, (_, offer))| OrderItem {
            product_name: offer.name.clone(),
            unit_price: money(offer.unit_price),
            amount: money(offer.unit_price * item.quantity),
            ..item
        });
        let order = Order {
            id: order_id,
            customer_id,
            seller_id,
            state: State::Placed.into(),
            items: items.collect(),
            total: money(total),
            refunded: money(0),
            create_time: Some(timestamp(now)),
            update_time: Some(timestamp(now)),
            etag: "1".to_owned(),
        };
        Ok(PlaceOrderResponse { order: Some(order) })
    }

    /// The products' names and prices; each is read once.
    async fn offers(&self, ids: &[Uuid]) -> Result<Vec<(Uuid, Offer)>> {
        let known = |id: &Uuid| {
            let offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
            offers.get(id).map(|offer| (*id, offer.clone()))
        };
        if let Some(offers) = ids.iter().map(known).collect() {
            return Ok(offers);
        }
        let query = sqlx::query(
            "SELECT id, seller_id, name, currency, unit_price_minor_units FROM products WHERE id = ANY ($1)",
        );
        let mut connection = self.pool.get().await?;
        for row in query.bind(ids).fetch_all(&mut *connection).await? {
            let offer = Offer {
                seller_id: row.try_get(1)?,
                name: row.try_get(2)?,
                currency: row.try_get(3)?,
                unit_price: row.try_get(4)?,
            };
            self.offers.lock().unwrap_or_else(PoisonError::into_inner).insert(row.try_get(0)?, offer);
        }
        ids.iter().map(known).collect::<Option<_>>().context("no such product")
    }
}

const PLACE: &str = "WITH wanted AS (
         SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[])
              WITH ORDINALITY AS item (product_id, quantity, product_name, unit_price, place)
     ), locked AS MATERIALIZED (
         SELECT products.id, quantity,
                stock >= quantity AND seller_id = $6 AND currency = $7 AND name = product_name
                    AND unit_price_minor_units = unit_price AS fine
         FROM products JOIN wanted ON products.id = product_id
         ORDER BY products.id FOR NO KEY UPDATE OF products
     ), verdict AS MATERIALIZED (
         SELECT coalesce(bool_and(fine), false) AND count(*) = cardinality($1) AS fine FROM locked
     ), claim AS (
         INSERT INTO request (request_id, principal, method, fingerprint, outcome)
         SELECT $10, $11, $12, $13, $14 FROM verdict WHERE fine
         ON CONFLICT DO NOTHING RETURNING true
     ), taken AS (
         UPDATE products SET stock = stock - quantity, version = version + 1, updated_at = $9
         FROM locked, claim WHERE products.id = locked.id
     ), placed AS (
         INSERT INTO orders (id, customer_id, seller_id, state, currency, total_minor_units, version,
                             event_version, created_at, updated_at)
         SELECT $15, $5, $6, 'placed', $7, $8, 1, 1, $9, $9 FROM claim
     ), itemised AS (
         INSERT INTO order_items (order_id, position, product_id, quantity, product_name,
                                  unit_price_minor_units)
         SELECT $15, place, product_id, quantity, product_name, unit_price FROM wanted, claim
     ), told AS (
         INSERT INTO outbox (stream, event_id, aggregate_type, aggregate_id, aggregate_version, type,
                             schema_version, payload, headers, created_at)
         SELECT $16, $17, $18, $19, $20, $21, $22, $23, $24, $25 FROM claim
     )
     SELECT fine, EXISTS (SELECT FROM claim) AS claimed FROM verdict";

fn order(id: String, row: &PgRow) -> Result<Order> {
    let currency: String = row.try_get("currency")?;
    let money = |minor_units| Some(Money { currency_code: currency.clone(), minor_units });
    let state = match row.try_get::<&str, _>("state")? {
        "placed" => State::Placed,
        "payment_pending" => State::PaymentPending,
        "paid" => State::Paid,
        _ => State::Cancelled,
    };
    let product_ids: Vec<Uuid> = row.try_get("product_ids")?;
    let quantities: Vec<i64> = row.try_get("quantities")?;
    let names: Vec<String> = row.try_get("product_names")?;
    let prices: Vec<i64> = row.try_get("unit_prices")?;
    let items = product_ids.into_iter().zip(names).zip(quantities.into_iter().zip(prices));
    let items = items.map(|((product_id, product_name), (quantity, price))| OrderItem {
        product_id: product_id.to_string(),
        quantity,
        product_name,
        unit_price: money(price),
        amount: money(price * quantity),
    });
    Ok(Order {
        id,
        customer_id: row.try_get::<Uuid, _>("customer_id")?.to_string(),
        seller_id: row.try_get::<Uuid, _>("seller_id")?.to_string(),
        state: state.into(),
        items: items.collect(),
        total: money(row.try_get("total_minor_units")?),
        refunded: money(row.try_get("refunded_minor_units")?),
        create_time: Some(timestamp(row.try_get("created_at")?)),
        update_time: Some(timestamp(row.try_get("updated_at")?)),
        etag: row.try_get::<i64, _>("version")?.to_string(),
    })
}

fn timestamp(time: OffsetDateTime) -> Timestamp {
    Timestamp { seconds: time.unix_timestamp(), nanos: i32::try_from(time.nanosecond()).unwrap_or_default() }
}

impl Floor for Orders {
    const NAME: &'static str = "order.v1.OrderService";

    fn answer(self, request: Request<Body>) -> Answered {
        match request.uri().path() {
            "/order.v1.OrderService/GetOrder" => Box::pin(unary(request, |question| self.get(question))),
            "/order.v1.OrderService/PlaceOrder" => Box::pin(unary(request, |question| self.place(question))),
            _ => unknown(),
        }
    }
}
