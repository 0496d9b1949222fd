//! Reading products and orders.

use types::{OrderId, ProductId};

use super::{App, Caller};
use crate::domain::{Order, Product};
use crate::error::{Error, Result};

impl App {
    /// A product.
    pub(crate) async fn product(&self, id: ProductId) -> Result<Product> {
        self.store.product_fetch(id).await?.ok_or(Error::ProductNotFound(id))
    }

    /// An order, for whom it concerns.
    pub(crate) async fn order(&self, caller: Caller, id: OrderId) -> Result<Order> {
        let order = self.store.order_fetch(id).await?;
        order.filter(|order| order.is_visible_to(caller.user_id, caller.role)).ok_or(Error::OrderNotFound(id))
    }
}
