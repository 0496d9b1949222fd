//! Placing an order: one statement reads all that the decision needs, one locks, checks again and writes. The first
//! is left out where the products are known.
//!
//! Each is a transaction of its own, so that no round trip goes to BEGIN and COMMIT; the event is in the second.

use serde_json::Value;
use sqlx::types::Json;
use types::{Call, Currency, Money, ProductId, RequestKey, UserId};
use uuid::Uuid;

use events::NewEvent;

use super::backbone::bind_event;
use super::statement::statements;
use super::{Saved, Store};
use crate::domain::{CustomerState, Offer, Order, OrderOutcome};
use crate::error::{Error, Result};

statements! {
    PLACEMENT_VIEW =
        "SELECT request.fingerprint, request.outcome, customers.state AS customer_state, offers.*
         FROM (SELECT coalesce(array_agg(id), '{}') AS product_ids,
                      coalesce(array_agg(seller_id), '{}') AS seller_ids,
                      coalesce(array_agg(name), '{}') AS names,
                      coalesce(array_agg(currency), '{}') AS currencies,
                      coalesce(array_agg(unit_price_minor_units), '{}') AS unit_prices,
                      coalesce(array_agg(stock), '{}') AS stocks
               FROM products WHERE id = ANY ($5)) AS offers
         LEFT JOIN request ON request_id = $1 AND principal = $2 AND method = $3
         LEFT JOIN customers ON user_id = $4";

    ORDER_PLACE =
        "WITH wanted AS (
             SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[])
                  WITH ORDINALITY AS item (product_id, quantity, product_name, unit_price, place)
         ), locked AS MATERIALIZED (
             SELECT products.id, quantity,
                    stock >= quantity AND seller_id = $6 AND currency = $7 AND name = product_name
                        AND unit_price_minor_units = unit_price AS fine
             FROM products JOIN wanted ON products.id = product_id
             ORDER BY products.id FOR NO KEY UPDATE OF products
         ), verdict AS MATERIALIZED (
             SELECT coalesce(bool_and(fine), false) AND count(*) = cardinality($1)
                    AND EXISTS (SELECT FROM customers WHERE user_id = $5 AND state = 'active') AS fine
             FROM locked
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
}

/// All that the decision about an order needs, read in one snapshot and without locks.
#[derive(Debug)]
pub(crate) struct PlacementView {
    /// What is kept of the first call with the request id, if that has ended.
    pub(crate) saved: Option<Saved>,
    /// `None` when the read model has not heard of the customer.
    pub(crate) customer_state: Option<CustomerState>,
    /// The products that exist, in no order.
    pub(crate) offers: Vec<Offer>,
}

/// What became of an attempt to place an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placed {
    /// It is placed.
    Done,
    /// The request id has another outcome already. Nothing changed.
    RequestTaken,
    /// A product or the customer is no longer as it was when the order was put together. Nothing changed.
    Outdated,
}

#[derive(sqlx::FromRow)]
struct ViewRow {
    fingerprint: Option<Vec<u8>>,
    outcome: Option<Json<Value>>,
    customer_state: Option<String>,
    product_ids: Vec<Uuid>,
    seller_ids: Vec<Uuid>,
    names: Vec<String>,
    currencies: Vec<String>,
    unit_prices: Vec<i64>,
    stocks: Vec<i64>,
}

impl TryFrom<ViewRow> for PlacementView {
    type Error = Error;

    fn try_from(row: ViewRow) -> Result<Self> {
        let saved = row.fingerprint.zip(row.outcome);
        let state = row.customer_state.map(|state| state.parse());
        let ids = row.product_ids.into_iter().zip(row.seller_ids);
        let prices = row.currencies.into_iter().zip(row.unit_prices);
        let offers = ids.zip(row.names).zip(prices.zip(row.stocks)).map(
            |(((product_id, seller_id), name), ((currency, unit_price), stock))| {
                let currency: Currency = currency.parse().map_err(Error::internal)?;
                Ok(Offer {
                    product_id: ProductId::from_uuid(product_id),
                    seller_id: UserId::from_uuid(seller_id),
                    name,
                    unit_price: Money::new(currency, unit_price),
                    stock,
                })
            },
        );
        Ok(Self {
            saved: saved.map(|(fingerprint, outcome)| Saved::new(fingerprint, outcome)),
            customer_state: state.transpose().map_err(Error::internal)?,
            offers: offers.collect::<Result<_>>()?,
        })
    }
}

impl Store {
    /// Reads all that the decision about an order needs.
    pub(crate) async fn placement_view(
        &self,
        key: &RequestKey,
        customer_id: UserId,
        product_ids: &[Uuid],
    ) -> Result<PlacementView> {
        let query = sqlx::query(PLACEMENT_VIEW)
            .bind(key.request_id)
            .bind(&key.principal)
            .bind(key.method)
            .bind(customer_id.uuid())
            .bind(product_ids);
        let row: Option<ViewRow> = self.read().await?.row(query).await?;
        row.ok_or_else(|| Error::internal("an aggregate without a row"))?.try_into()
    }

    /// Places an order, all or nothing: takes the stock under lock, in the order of the products' ids, if every
    /// product is what the order says and the customer is active; claims the request id; writes the order and its
    /// event.
    pub(crate) async fn order_place(
        &self,
        order: &Order,
        event: &NewEvent,
        Call { key, fingerprint }: &Call,
    ) -> Result<Placed> {
        // Each part takes its rows from the part before: `locked` waits for other buyers and sees what they left,
        // `fine` decides, `claim` waits for another call with this request id, and only a claim writes.
        let query = sqlx::query(ORDER_PLACE);
        let items = &order.items;
        let query = query
            .bind(items.iter().map(|item| item.product_id.uuid()).collect::<Vec<_>>())
            .bind(items.iter().map(|item| item.quantity).collect::<Vec<_>>())
            .bind(items.iter().map(|item| item.product_name.as_str()).collect::<Vec<_>>())
            .bind(items.iter().map(|item| item.unit_price.minor_units).collect::<Vec<_>>())
            .bind(order.now.customer_id.uuid())
            .bind(order.seller_id.uuid())
            .bind(order.total.currency.code())
            .bind(order.total.minor_units)
            .bind(order.created_at);
        let outcome = OrderOutcome::Done { order_id: order.id, now: order.now.clone() };
        let query = query
            .bind(key.request_id)
            .bind(&key.principal)
            .bind(key.method)
            .bind(fingerprint.as_bytes())
            .bind(Json(outcome))
            .bind(order.id.uuid());
        match self.read().await?.row(bind_event(query, event)).await? {
            Some((true, true)) => {
                self.signals.appended();
                fault::point!("business.committed", "place_order");
                Ok(Placed::Done)
            }
            Some((true, false)) => Ok(Placed::RequestTaken),
            _ => Ok(Placed::Outdated),
        }
    }
}
