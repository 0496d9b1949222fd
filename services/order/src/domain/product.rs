//! Something that a merchant sells.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use types::{Money, ProductId, UserId};

use super::stored_money;

/// Why a call about a product was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProductRefused {
    /// No such product.
    #[error("there is no such product")]
    NotFound(ProductId),
    /// Another merchant sells it.
    #[error("product {0} belongs to another merchant")]
    NotSeller(ProductId),
    /// The etag is not the present one.
    #[error("the product has changed since it was read")]
    VersionMismatch(ProductId),
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

impl Product {
    /// Refuses whoever does not sell it.
    pub(crate) fn require_seller(&self, user: UserId) -> Result<(), ProductRefused> {
        if self.seller_id == user { Ok(()) } else { Err(ProductRefused::NotSeller(self.id)) }
    }

    /// Refuses a version that is not the present one.
    pub(crate) fn require_version(&self, version: Option<i64>) -> Result<(), ProductRefused> {
        match version {
            Some(version) if version != self.version => Err(ProductRefused::VersionMismatch(self.id)),
            Some(_) | None => Ok(()),
        }
    }

    /// Takes another name or price; what is `None` stays.
    pub(crate) fn update(&mut self, name: Option<String>, unit_price: Option<Money>, now: OffsetDateTime) {
        if let Some(name) = name {
            self.name = name;
        }
        self.unit_price = unit_price.unwrap_or(self.unit_price);
        self.version += 1;
        self.updated_at = now;
    }
}
