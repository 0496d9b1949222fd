//! Something that a merchant sells.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use types::{Money, ProductId, UserId};

use super::stored_money;

/// Why a product is neither shown nor sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProductRefused {
    /// No such product.
    #[error("there is no such product")]
    NotFound(ProductId),
}

/// The longest name, in characters.
pub(crate) const NAME_MAX: usize = 200;
/// The largest stock that a product starts with.
pub(crate) const STOCK_MAX: i64 = 1_000_000_000;

/// A product, with what is left of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Product {
    pub(crate) id: ProductId,
    pub(crate) seller_id: UserId,
    pub(crate) name: String,
    #[serde(with = "stored_money")]
    pub(crate) unit_price: Money,
    pub(crate) stock: i64,
    pub(crate) version: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) updated_at: OffsetDateTime,
}
