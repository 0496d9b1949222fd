//! The pods of a service, and what their admin ports say.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::Value;
use testkit::admin_port::Metrics;

use crate::deploy::kubernetes::cluster::{Cluster, Forwarded};

/// A pod that is not about to end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) is_ready: bool,
}

/// Those of a service.
pub(super) async fn of(cluster: &Cluster, service: &str) -> Result<BTreeSet<Pod>> {
    let all = list(cluster, service).await?;
    let staying = all.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    staying.map(read).collect()
}

/// How many there are with those that are about to end.
pub(super) async fn count(cluster: &Cluster, service: &str) -> Result<usize> {
    Ok(list(cluster, service).await?.len())
}

async fn list(cluster: &Cluster, service: &str) -> Result<Vec<Value>> {
    let selector =
        format!("app.kubernetes.io/name={service},app.kubernetes.io/component=service,tristore/probe!=true");
    let listed = cluster.tell(&["get", "pods", "--selector", &selector, "--output", "json"], "").await?;
    let listed: Value = serde_json::from_str(&listed).context("the pods as JSON")?;
    listed["items"].as_array().cloned().context("a list of pods")
}

fn read(pod: &Value) -> Result<Pod> {
    let name = pod["metadata"]["name"].as_str().context("a pod without a name")?.to_owned();
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let is_ready = conditions.any(|it| it["type"] == "Ready" && it["status"] == "True");
    Ok(Pod { name, is_ready })
}

/// A way to the admin port of a pod.
pub(super) struct Watched {
    pub(super) pod: String,
    port: Forwarded,
}

impl Watched {
    pub(super) async fn open(cluster: &Cluster, pod: &str, port: u16) -> Result<Self> {
        Ok(Self { pod: pod.to_owned(), port: cluster.forward(&format!("pod/{pod}"), port).await? })
    }

    pub(super) async fn metrics(&self) -> Result<Metrics> {
        let address = format!("127.0.0.1:{}", self.port.port);
        Metrics::at(&address).await.with_context(|| format!("the metrics of {}", self.pod))
    }
}

/// Ways to the admin ports of all pods of a service.
pub(super) async fn watch(cluster: &Cluster, service: &str, port: u16) -> Result<Vec<Watched>> {
    let mut watched = Vec::new();
    for pod in of(cluster, service).await? {
        watched.push(Watched::open(cluster, &pod.name, port).await?);
    }
    Ok(watched)
}

/// Has kubelets look at the Secrets of all pods at once instead of within a minute, which they do for pods that change.
pub(super) async fn hurry(cluster: &Cluster) -> Result<()> {
    let now = format!("tristore/trial={}", uuid::Uuid::new_v4().simple());
    let selector = "app.kubernetes.io/component in (service, database)";
    cluster.tell(&["annotate", "pods", "--overwrite", "--selector", selector, &now], "").await.map(drop)
}
