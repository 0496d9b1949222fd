//! Products: putting one on sale, changing and reading it.

use auth::Person;
use types::{Answer, Call, Keep, Money, ProductId, Role};

use super::App;
use crate::domain::{Product, ProductRefused};
use crate::error::{Error, Result};
use crate::storage::{Finished, Saved, Tx};

/// What a merchant says about a product; checked already.
#[derive(Debug, Clone)]
pub(crate) struct CreateProduct {
    pub(crate) name: String,
    pub(crate) unit_price: Money,
    pub(crate) stock: i64,
}

/// Which product shall have which name and price; what is `None` stays.
#[derive(Debug, Clone)]
pub(crate) struct UpdateProduct {
    pub(crate) product_id: ProductId,
    pub(crate) name: Option<String>,
    pub(crate) unit_price: Option<Money>,
    pub(crate) version: Option<i64>,
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
        wish.unit_price.currency.require_in_force(now, "unit_price.currency_code")?;
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
        if is_first { Ok(Answer::first(product)) } else { self.replay_product_of_first(call).await }
    }

    /// Changes a product, for its merchant or an admin.
    pub(crate) async fn update_product(
        &self,
        call: &Call,
        caller: Person,
        wish: UpdateProduct,
    ) -> Result<Answer<Product>> {
        if let Some(saved) = self.store.request_fetch(&call.key).await? {
            return replay(saved, call);
        }
        let work = |tx| self.update_product_in(tx, call, caller, &wish);
        match self.store.transaction("update_product", work).await? {
            Some(product) => Ok(Answer::first(product)),
            None => self.replay_product_of_first(call).await,
        }
    }

    /// `None` when another call with this request id was faster.
    async fn update_product_in(
        &self,
        mut tx: Tx,
        call: &Call,
        caller: Person,
        wish: &UpdateProduct,
    ) -> Result<Finished<Option<Product>>> {
        let product = tx.product_lock(wish.product_id).await?;
        // Calls with this id that waited for the lock find here what the first one did.
        if tx.request_fetch(&call.key).await?.is_some() {
            return Ok(tx.abandon(None));
        }
        let mut product = product.ok_or(ProductRefused::NotFound(wish.product_id))?;
        if caller.role != Role::Admin {
            product.require_seller(caller.user_id)?;
        }
        product.require_version(wish.version)?;
        let now = self.now();
        if let Some(unit_price) = wish.unit_price {
            unit_price.currency.require_in_force(now, "product.unit_price.currency_code")?;
        }
        product.update(wish.name.clone(), wish.unit_price, now);
        if !tx.request_insert(call, &product, Keep::ThirtyDays).await? {
            return Ok(tx.abandon(None));
        }
        let event_version = tx.product_update(&product).await?;
        tx.event_append(&self.product_updated(&product, event_version, call)).await?;
        Ok(tx.commit(Some(product)))
    }

    /// The answer of the call that claimed a request id first, which has ended.
    async fn replay_product_of_first(&self, call: &Call) -> Result<Answer<Product>> {
        let saved = self.store.request_fetch(&call.key).await?;
        replay(saved.ok_or_else(|| Error::internal("a request id was claimed and has no outcome"))?, call)
    }
}

fn replay(saved: Saved, call: &Call) -> Result<Answer<Product>> {
    saved.outcome(call).map(Answer::replay)
}
