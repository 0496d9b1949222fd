//! Products: putting one on sale, and reading it.

use auth::Person;
use types::{Answer, Call, Keep, Money, ProductId};

use super::App;
use crate::domain::{Product, ProductRefused};
use crate::error::{Error, Result};
use crate::storage::Saved;

/// What a merchant says about a product; checked already.
#[derive(Debug, Clone)]
pub(crate) struct CreateProduct {
    pub(crate) name: String,
    pub(crate) unit_price: Money,
    pub(crate) stock: i64,
}

impl App {
    /// A product.
    pub(crate) async fn get_product(&self, id: ProductId) -> Result<Product> {
        Ok(self.store.product_fetch(id).await?.ok_or(ProductRefused::NotFound(id))?)
    }

    /// Puts a product of the caller on sale.
    pub(crate) async fn create_product(
        &self,
        call: &Call,
        caller: Person,
        wish: CreateProduct,
    ) -> Result<Answer<Product>> {
        if let Some(saved) = self.store.request_fetch(&call.key).await? {
            return replay(saved, call);
        }
        let now = self.now();
        let product = Product {
            id: self.new_id(),
            seller_id: caller.user_id,
            name: wish.name,
            unit_price: wish.unit_price,
            stock: wish.stock,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        let event = self.product_created(&product, call);
        let (made, event) = (&product, &event);
        let is_first = self
            .store
            .transaction("create_product", |mut tx| async move {
                if !tx.request_insert(call, made, Keep::ThirtyDays).await? {
                    return Ok(tx.abandon(false));
                }
                tx.product_insert(made).await?;
                tx.event_append(event).await?;
                Ok(tx.commit(true))
            })
            .await?;
        if is_first {
            return Ok(Answer::first(product));
        }
        let saved = self.store.request_fetch(&call.key).await?;
        replay(saved.ok_or_else(|| Error::internal("a request id was claimed and has no outcome"))?, call)
    }
}

fn replay(saved: Saved, call: &Call) -> Result<Answer<Product>> {
    saved.outcome(call).map(Answer::replay)
}
