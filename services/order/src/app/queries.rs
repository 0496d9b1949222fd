//! Reading products and orders.

use auth::Person;
use types::{OrderId, ProductId};

use super::App;
use crate::domain::{Order, OrderRefused, Product, ProductRefused};
use crate::error::Result;

impl App {
    /// A product.
    pub(crate) async fn get_product(&self, id: ProductId) -> Result<Product> {
        Ok(self.store.product_fetch(id).await?.ok_or(ProductRefused::NotFound(id))?)
    }

    /// An order, for whom it concerns.
    pub(crate) async fn get_order(&self, caller: Person, id: OrderId) -> Result<Order> {
        let order = self.store.order_fetch(id).await?;
        let order = order.filter(|order| order.is_visible_to(caller.user_id, caller.role));
        Ok(order.ok_or(OrderRefused::NotFound(id))?)
    }
}
