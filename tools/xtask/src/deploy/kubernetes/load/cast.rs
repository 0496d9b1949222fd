//! Who buys, from whom, and what.

use anyhow::{Context, Result};
use api::auth::v1::Role;
use api::order::v1::CreateProductRequest;
use testkit::client::{PASSWORD, Person, eur, request_id};

use crate::deploy::kubernetes::cluster::Cluster;
use crate::deploy::kubernetes::entry::Entry;
use crate::deploy::kubernetes::trial::Admin;

/// More than all clients can buy.
const STOCK: i64 = 10_000_000;
const PRICE: i64 = 100;

/// The buyer and what there is to buy.
pub(super) struct Cast {
    pub(super) product_id: String,
    buyer: Person,
}

impl Cast {
    /// A new merchant with a new product, and a new buyer with credit for all of it.
    pub(super) async fn enter(cluster: &Cluster, admin: &Admin) -> Result<Self> {
        let entry = Entry::open(cluster).await?;
        let admin = entry.api.log_in(&admin.email, &admin.password).await?;
        let merchant = entry.api.sign_up("Merchant").await?;
        let merchant = admin.make(&merchant, Role::Merchant).await?;
        let buyer = entry.api.sign_up("Buyer").await?;
        admin.grant(&buyer, eur(STOCK * PRICE)).await?;
        let request = CreateProductRequest {
            request_id: request_id(),
            name: "Tea".to_owned(),
            unit_price: Some(eur(PRICE)),
            stock: STOCK,
        };
        let product = merchant.caller.catalog().create_product(request).await.context("CreateProduct")?;
        let product_id = product.into_inner().product.context("a product")?.id;
        Ok(Self { product_id, buyer })
    }

    /// A new access token of the buyer.
    pub(super) async fn token(&self, cluster: &Cluster) -> Result<String> {
        Ok(self.log_in(&Entry::open(cluster).await?).await?.access_token)
    }

    /// The buyer, logged in anew.
    pub(super) async fn log_in(&self, entry: &Entry) -> Result<Person> {
        entry.api.log_in(&self.buyer.email, PASSWORD).await
    }
}
