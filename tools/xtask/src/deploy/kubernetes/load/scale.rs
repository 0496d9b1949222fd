//! How many pods a service has.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::patience::wait_for;
use super::pods;
use crate::deploy::kubernetes::cluster::Cluster;

/// A new pod counts 40 s after it is ready, and one that is no longer wanted takes up to 60 s to end.
const DONE_WITHIN: Duration = Duration::from_secs(180);

/// The autoscaler of a service, with the bounds that it had.
pub(super) struct Scale<'a> {
    cluster: &'a Cluster,
    service: &'static str,
    bounds: (u64, u64),
}

impl<'a> Scale<'a> {
    pub(super) async fn of(cluster: &'a Cluster, service: &'static str) -> Result<Self> {
        let present = cluster.tell(&["get", "hpa", service, "--output", "json"], "").await?;
        let present: Value = serde_json::from_str(&present).context("the autoscaler as JSON")?;
        let bound = |name: &str| present["spec"][name].as_u64().with_context(|| name.to_owned());
        Ok(Self { cluster, service, bounds: (bound("minReplicas")?, bound("maxReplicas")?) })
    }

    /// Asks for so many pods. The autoscaler would undo it, so its bounds move along.
    pub(super) async fn ask(&self, replicas: usize) -> Result<()> {
        let bound = u64::try_from(replicas)?;
        self.bound((bound, bound)).await?;
        let (deployment, replicas) =
            (format!("deployment/{}", self.service), format!("--replicas={replicas}"));
        self.cluster.tell(&["scale", &deployment, &replicas], "").await.map(drop)
    }

    /// Waits until there are so many: new ones count, and old ones are gone.
    pub(super) async fn wait_for(&self, replicas: usize) -> Result<()> {
        let deployment = format!("deployment/{}", self.service);
        self.cluster.tell(&["rollout", "status", &deployment, "--timeout=180s"], "").await?;
        wait_for(DONE_WITHIN, &format!("{replicas} pods of {}", self.service), async || {
            let count = pods::count(self.cluster, self.service).await?;
            ensure!(count == replicas, "there are {count}");
            anyhow::Ok(())
        })
        .await
    }

    /// Gives the autoscaler its own bounds back.
    pub(super) async fn restore(&self) -> Result<()> {
        self.bound(self.bounds).await
    }

    async fn bound(&self, (least, most): (u64, u64)) -> Result<()> {
        let patch = json!({ "spec": { "minReplicas": least, "maxReplicas": most } }).to_string();
        self.cluster.tell(&["patch", "hpa", self.service, "--type=merge", "--patch", &patch], "").await?;
        Ok(())
    }
}
