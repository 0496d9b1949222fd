//! Products and their stock.

use time::OffsetDateTime;
use types::{Currency, Money, ProductId, UserId};
use uuid::Uuid;

use super::statement::statements;
use super::{Store, Tx};
use crate::domain::{OrderItem, Product};
use crate::error::{Error, Result};

statements! {
    PRODUCT_FETCH =
        "SELECT id, seller_id, name, currency, unit_price_minor_units, stock, version, created_at, updated_at
         FROM products WHERE id = $1";

    PRODUCT_LOCK =
        "SELECT id, seller_id, name, currency, unit_price_minor_units, stock, version, created_at, updated_at
         FROM products WHERE id = $1 FOR NO KEY UPDATE";

    PRODUCT_UPDATE =
        "UPDATE products SET name = $2, currency = $3, unit_price_minor_units = $4, version = $5, updated_at = $6,
                             event_version = event_version + 1
         WHERE id = $1 RETURNING event_version";

    PRODUCT_INSERT =
        "INSERT INTO products (id, seller_id, name, currency, unit_price_minor_units, stock, version,
                               event_version, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $9)";

    STOCK_GIVE_BACK =
        "WITH returned AS (
             SELECT * FROM unnest($1::uuid[], $2::bigint[]) AS item (product_id, quantity)
         ), locked AS MATERIALIZED (
             SELECT products.id, quantity FROM products JOIN returned ON products.id = product_id
             ORDER BY products.id FOR NO KEY UPDATE OF products
         )
         UPDATE products SET stock = stock + quantity, version = version + 1, updated_at = $3
         FROM locked WHERE products.id = locked.id";
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    seller_id: Uuid,
    name: String,
    currency: String,
    unit_price_minor_units: i64,
    stock: i64,
    version: i64,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl TryFrom<Row> for Product {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let currency: Currency = row.currency.parse().map_err(Error::internal)?;
        Ok(Self {
            id: ProductId::from_uuid(row.id),
            seller_id: UserId::from_uuid(row.seller_id),
            name: row.name,
            unit_price: Money::new(currency, row.unit_price_minor_units),
            stock: row.stock,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

impl Store {
    /// A product.
    pub(crate) async fn product_fetch(&self, id: ProductId) -> Result<Option<Product>> {
        let query = sqlx::query(PRODUCT_FETCH).bind(id.uuid());
        let row: Option<Row> = self.read().await?.row(query).await?;
        row.map(Product::try_from).transpose()
    }
}

impl Tx {
    /// A product, locked against buyers and other changes until the transaction ends.
    pub(crate) async fn product_lock(&mut self, id: ProductId) -> Result<Option<Product>> {
        let query = sqlx::query(PRODUCT_LOCK).bind(id.uuid());
        let row: Option<Row> = self.row(query).await?;
        row.map(Product::try_from).transpose()
    }

    /// Writes the name and the price of a product that is locked; tells the version of the event about it.
    pub(crate) async fn product_update(&mut self, product: &Product) -> Result<i64> {
        let query = sqlx::query(PRODUCT_UPDATE)
            .bind(product.id.uuid())
            .bind(&product.name)
            .bind(product.unit_price.currency.code())
            .bind(product.unit_price.minor_units)
            .bind(product.version)
            .bind(product.updated_at);
        let row: Option<(i64,)> = self.row(query).await?;
        row.map(|(version,)| version).ok_or_else(|| Error::internal("a locked product does not exist"))
    }

    /// Adds a new product.
    pub(crate) async fn product_insert(&mut self, product: &Product) -> Result<()> {
        let query = sqlx::query(PRODUCT_INSERT)
            .bind(product.id.uuid())
            .bind(product.seller_id.uuid())
            .bind(&product.name)
            .bind(product.unit_price.currency.code())
            .bind(product.unit_price.minor_units)
            .bind(product.stock)
            .bind(product.version)
            .bind(product.created_at)
            .bind(product.updated_at);
        self.execute(query).await.map(drop)
    }

    /// Gives back what an order took. Locks in the order of the products' ids, as taking stock does.
    pub(crate) async fn stock_give_back(&mut self, items: &[OrderItem], now: OffsetDateTime) -> Result<()> {
        let query = sqlx::query(STOCK_GIVE_BACK)
            .bind(items.iter().map(|item| item.product_id.uuid()).collect::<Vec<_>>())
            .bind(items.iter().map(|item| item.quantity).collect::<Vec<_>>())
            .bind(now);
        if self.execute(query).await? == items.len() as u64 {
            Ok(())
        } else {
            Err(Error::internal("an order has a product that does not exist"))
        }
    }
}
