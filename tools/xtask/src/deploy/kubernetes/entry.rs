//! The way to the services in the cluster from this machine.

use anyhow::{Context, Result};
use testkit::client::{Api, Secured};

use super::cluster::{Cluster, Forwarded};

/// The services, with their ports for calls.
pub(super) const SERVICES: [(&str, u16); 3] =
    [("user-service", 50051), ("order-service", 50052), ("session-service", 50053)];

/// Connections through the API server, each to one pod: they end when that does.
pub(super) struct Entry {
    pub(super) api: Api,
    _ports: Vec<Forwarded>,
}

impl Entry {
    /// To any pod of each service.
    pub(super) async fn open(cluster: &Cluster) -> Result<Self> {
        Self::to(cluster, SERVICES.map(|(service, _)| format!("deployment/{service}"))).await
    }

    /// To these, of user, order and session service.
    pub(super) async fn to(cluster: &Cluster, pods: [String; 3]) -> Result<Self> {
        let ca = trusted(cluster).await.context("whom the services trust")?;
        let mut ports = Vec::new();
        for (pod, (_, port)) in pods.iter().zip(SERVICES) {
            ports.push(cluster.forward(pod, port).await?);
        }
        let [user, order, session] = &ports[..] else { unreachable!("a port for each service") };
        let url = |port: &Forwarded| format!("https://127.0.0.1:{}", port.port);
        let api = Api::secured(
            [&url(user), &url(order), &url(session)],
            &Secured { ca: &ca, names: SERVICES.map(|(service, _)| service) },
        )?;
        Ok(Self { api, _ports: ports })
    }
}

/// The authorities that are trusted in the cluster, as PEM.
pub(super) async fn trusted(cluster: &Cluster) -> Result<String> {
    cluster.tell(&["get", "configmap", "trust", "--output", "jsonpath={.data.ca\\.crt}"], "").await
}
