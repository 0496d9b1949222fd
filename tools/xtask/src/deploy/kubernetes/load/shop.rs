//! The namespace of those who call.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use tokio::time::Instant;

use super::cast::Cast;
use crate::deploy::kubernetes::certificates;
use crate::deploy::kubernetes::cluster::Cluster;
use crate::deploy::kubernetes::entry::trusted;
use crate::deploy::kubernetes::trial::Admin;

pub(super) const SHOP: &str = "tristore-trial-shop";
/// A token lives 15 minutes, and a new one takes a minute or two to every client.
const RENEW_AFTER: Duration = Duration::from_secs(300);

/// A namespace that may call, with the bundle of authorities and the token that its clients read.
pub(super) struct Shop<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) cast: Cast,
    renewed: Cell<Instant>,
}

impl<'a> Shop<'a> {
    pub(super) async fn open(cluster: &'a Cluster, admin: &Admin) -> Result<Self> {
        let cast = Cast::enter(cluster, admin).await.context("a merchant, a buyer and a product")?;
        let namespace = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": { "name": SHOP, "labels": {
                "tristore/caller": "true",
                "pod-security.kubernetes.io/enforce": "restricted",
            } },
        });
        let shop = Self { cluster, cast, renewed: Cell::new(Instant::now()) };
        // What an earlier run has left, and is not gone yet, must be gone first.
        cluster.tell(&["delete", "namespace", SHOP, "--ignore-not-found", "--timeout=120s"], "").await?;
        shop.apply(&namespace.to_string()).await?;
        let ready = async {
            shop.trust(&trusted(cluster).await?).await?;
            shop.renew_token().await
        };
        if let Err(error) = ready.await {
            shop.close().await?;
            return Err(error);
        }
        Ok(shop)
    }

    /// Removes it with all that is in it.
    pub(super) async fn close(&self) -> Result<()> {
        self.tell(&["delete", "namespace", SHOP, "--timeout=120s"], "").await.map(drop)
    }

    /// Trusts these authorities instead of the present ones.
    pub(super) async fn trust(&self, authorities: &str) -> Result<()> {
        self.apply(&certificates::trust(SHOP, authorities)?).await
    }

    /// Gives clients a new token when the present one is old. To be called every few minutes.
    pub(super) async fn renew_token_in_time(&self) -> Result<()> {
        if self.renewed.get().elapsed() > RENEW_AFTER { self.renew_token().await } else { Ok(()) }
    }

    async fn renew_token(&self) -> Result<()> {
        let token = self.cast.token(self.cluster).await.context("logging the buyer in")?;
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": "token" },
            "stringData": { "token": token },
        });
        self.apply(&secret.to_string()).await?;
        self.renewed.set(Instant::now());
        Ok(())
    }

    pub(super) async fn apply(&self, objects: &str) -> Result<()> {
        self.tell(&["apply", "--server-side", "--filename", "-"], objects).await.map(drop)
    }

    /// Runs kubectl in this namespace.
    pub(super) async fn tell(&self, args: &[&str], input: &str) -> Result<String> {
        self.cluster.tell(&[&["--namespace", SHOP], args].concat(), input).await
    }
}
