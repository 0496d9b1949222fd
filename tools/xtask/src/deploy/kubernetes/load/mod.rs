//! What a roll-out, an eviction, more and fewer pods, and renewed certificates and passwords cost those who call meanwhile:
//! no call. And that this is seen when it is not so.

mod cast;
mod clients;
mod databases;
mod login;
mod passwords;
mod patience;
mod plan;
mod pods;
mod rolls;
mod rotation;
mod scale;
mod shop;
mod spread;
mod strangers;
mod teeth;

use std::path::Path;

use anyhow::{Context, Result};

use super::cluster::Cluster;
use super::trial::Admin;
use crate::local::stoppable;
use crate::out;
pub(super) use plan::Plan;
use scale::Scale;
use shop::Shop;

/// Runs it in a cluster that runs the overlay `test`. Whatever it starts is gone afterwards.
pub(super) async fn run(cluster: &Cluster, production: &Path, admin: &Admin, plan: Plan) -> Result<()> {
    out::step("who calls");
    let scale = Scale::of(cluster, "order-service").await?;
    let shop = Shop::open(cluster, admin).await?;
    let done = stoppable(all(&shop, production, &scale, plan)).await;
    let closed = shop.close().await;
    let restored = scale.restore().await;
    done?;
    closed?;
    restored
}

async fn all(shop: &Shop<'_>, production: &Path, scale: &Scale<'_>, plan: Plan) -> Result<()> {
    rolls::run(shop, scale, plan).await.context("roll-outs under load")?;
    spread::run(shop, scale, plan).await.context("new pods")?;
    rotation::run(shop, production, plan).await.context("certificates and passwords under load")?;
    strangers::run(shop).await.context("wrong certificates")?;
    teeth::run(shop, plan).await.context("clients that know nothing, and pods that are killed")
}
