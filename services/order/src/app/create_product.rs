//! Putting a product on sale.

use types::{Money, UserId};

use super::{Answer, App, Call};
use crate::domain::Product;
use crate::error::{Error, Result};
use crate::storage::{Keep, Recorded};

/// What a merchant says about a product; checked already.
#[derive(Debug, Clone)]
pub(crate) struct CreateProduct {
    pub(crate) seller_id: UserId,
    pub(crate) name: String,
    pub(crate) unit_price: Money,
    pub(crate) stock: i64,
}

impl App {
    /// Puts a product on sale.
    pub(crate) async fn create_product(&self, call: &Call, wish: CreateProduct) -> Result<Answer<Product>> {
        if let Some(recorded) = self.store.request_find(&call.key).await? {
            return replay(recorded, call);
        }
        let now = self.now();
        let product = Product {
            id: self.new_id(),
            seller_id: wish.seller_id,
            name: wish.name,
            unit_price: wish.unit_price,
            stock: wish.stock,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        let event = self.product_created(&product, call);
        let (product, event) = (&product, &event);
        let is_first = self
            .store
            .transaction("create_product", |mut tx| async move {
                if !tx.request_record(&call.key, &call.fingerprint, product, Keep::ThirtyDays).await? {
                    return Ok(false);
                }
                tx.product_insert(product).await?;
                tx.event_append(event).await?;
                tx.commit().await?;
                Ok(true)
            })
            .await?;
        if is_first {
            return Ok(Answer::first(product.clone()));
        }
        let recorded = self.store.request_find(&call.key).await?;
        replay(recorded.ok_or_else(|| Error::internal("a claimed request id is not recorded"))?, call)
    }
}

fn replay(recorded: Recorded, call: &Call) -> Result<Answer<Product>> {
    recorded.outcome(&call.key, &call.fingerprint).map(Answer::replay)
}
