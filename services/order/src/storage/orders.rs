//! Orders and their items. The transfers' side of an order (what was paid and refunded) is in `order_funds.rs`.

use time::OffsetDateTime;
use types::{Currency, Money, OrderId, ProductId, UserId};
use uuid::Uuid;

use super::statement::statements;
use super::{Store, Tx};
use crate::domain::{Order, OrderItem, OrderNow};
use crate::error::{Error, Result};

/// An order with its items, in one row.
#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    customer_id: Uuid,
    seller_id: Uuid,
    state: String,
    currency: String,
    total_minor_units: i64,
    refunded_minor_units: i64,
    version: i64,
    event_version: i64,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
    product_ids: Vec<Uuid>,
    quantities: Vec<i64>,
    product_names: Vec<String>,
    unit_prices: Vec<i64>,
}

impl TryFrom<Row> for Order {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let currency: Currency = row.currency.parse().map_err(Error::internal)?;
        let products = row.product_ids.into_iter().zip(row.product_names);
        let items = products.zip(row.quantities.into_iter().zip(row.unit_prices)).map(
            |((product_id, product_name), (quantity, unit_price))| OrderItem {
                product_id: ProductId::from_uuid(product_id),
                quantity,
                product_name,
                unit_price: Money::new(currency, unit_price),
            },
        );
        Ok(Self {
            id: OrderId::from_uuid(row.id),
            seller_id: UserId::from_uuid(row.seller_id),
            items: items.collect(),
            total: Money::new(currency, row.total_minor_units),
            created_at: row.created_at,
            now: OrderNow {
                customer_id: UserId::from_uuid(row.customer_id),
                state: row.state.parse().map_err(Error::internal)?,
                refunded_minor_units: row.refunded_minor_units,
                version: row.version,
                updated_at: row.updated_at,
            },
            event_version: row.event_version,
        })
    }
}

macro_rules! order_by_id {
    ($suffix:literal) => {
        concat!(
            "SELECT orders.id, customer_id, seller_id, state, currency, total_minor_units, refunded_minor_units,
                    version, event_version, created_at, updated_at,
                    product_ids, quantities, product_names, unit_prices
             FROM orders
             CROSS JOIN LATERAL (
                 SELECT array_agg(product_id ORDER BY position) AS product_ids,
                        array_agg(quantity ORDER BY position) AS quantities,
                        array_agg(product_name ORDER BY position) AS product_names,
                        array_agg(unit_price_minor_units ORDER BY position) AS unit_prices
                 FROM order_items WHERE order_id = orders.id
             ) AS items
             WHERE orders.id = $1 ",
            $suffix
        )
    };
}

statements! {
    ORDER_FETCH = order_by_id!("");

    ORDER_LOCK = order_by_id!("FOR NO KEY UPDATE OF orders");

    ORDER_UPDATE =
        "UPDATE orders SET customer_id = $3, state = $4, version = $2, event_version = $5, updated_at = $6
         WHERE id = $1 AND version = $2 - 1";
}

impl Store {
    /// An order, with its items.
    pub(crate) async fn order_fetch(&self, id: OrderId) -> Result<Option<Order>> {
        let query = sqlx::query(ORDER_FETCH).bind(id.uuid());
        let row: Option<Row> = self.read().await?.row(query).await?;
        row.map(Order::try_from).transpose()
    }
}

impl Tx {
    /// An order, locked against changes. Lock it before its transfers, accounts and products.
    pub(crate) async fn order_lock(&mut self, id: OrderId) -> Result<Option<Order>> {
        let query = sqlx::query(ORDER_LOCK).bind(id.uuid());
        let row: Option<Row> = self.row(query).await?;
        row.map(Order::try_from).transpose()
    }

    /// Writes an order that was locked and changed once since.
    pub(crate) async fn order_update(&mut self, order: &Order) -> Result<()> {
        let query = sqlx::query(ORDER_UPDATE)
            .bind(order.id.uuid())
            .bind(order.now.version)
            .bind(order.now.customer_id.uuid())
            .bind(order.now.state.as_str())
            .bind(order.event_version)
            .bind(order.now.updated_at);
        match self.execute(query).await? {
            1 => Ok(()),
            _ => Err(Error::internal("an order was not locked before it was written")),
        }
    }
}
