//! Runs the overlay `test`, and does the work of `demo` in it.

use std::path::Path;

use anyhow::{Context, Result};
use testkit::client::{Api, Secured};
use testkit::state::workspace;
use uuid::Uuid;

use super::certificates::Certificates;
use super::cluster::Cluster;
use crate::demo;
use crate::deploy::fresh;
use crate::out;

const SERVICES: [(&str, u16); 3] =
    [("user-service", 50051), ("order-service", 50052), ("session-service", 50053)];

pub(super) async fn run(cluster: &Cluster, production: &Path, test: &Path, stand_ins: bool) -> Result<()> {
    out::step("secrets and certificates");
    let ca = trust(cluster, production).await?;
    secrets(cluster, stand_ins).await?;
    out::step("the overlay test");
    cluster.apply(test, &[]).await?;
    for (service, _) in SERVICES {
        let deployment = format!("deployment/{service}");
        cluster.run(&["rollout", "status", &deployment, "--timeout=300s"]).await?;
    }
    out::step("the demo");
    let (email, password) = (fresh::admin_email(), Uuid::new_v4().to_string());
    let admin = ["--email", &email, "--display-name", "Admin", "--password-stdin"];
    let exec =
        ["exec", "-i", "deployment/user-service", "-c", "service", "--", "/user-service", "bootstrap-admin"];
    cluster.tell(&[&exec[..], &admin].concat(), &password).await.context("making the first admin")?;
    let mut ports = Vec::new();
    for (service, port) in SERVICES {
        ports.push(cluster.forward(&format!("deployment/{service}"), port).await?);
    }
    let [user, order, session] = &ports[..] else { unreachable!("a port for each service") };
    let url = |port: u16| format!("https://127.0.0.1:{port}");
    let api = Api::secured(
        [&url(user.port), &url(order.port), &url(session.port)],
        &Secured { ca: &ca, names: SERVICES.map(|(service, _)| service) },
    )?;
    demo::play(&api, (&email, &password)).await
}

/// The authority that is trusted in the cluster, with a certificate for everybody: those of an earlier run, if they are there.
async fn trust(cluster: &Cluster, production: &Path) -> Result<String> {
    let present =
        cluster.tell(&["get", "configmap", "trust", "--output", "jsonpath={.data.ca\\.crt}"], "").await;
    if let Ok(present) = present {
        return Ok(present);
    }
    let certificates = Certificates::of(production)?;
    cluster.tell(&["apply", "--server-side", "--filename", "-"], &certificates.objects).await?;
    Ok(certificates.ca)
}

/// Those of databases and services, unless they are there: databases keep the passwords with which they were made.
async fn secrets(cluster: &Cluster, stand_ins: bool) -> Result<()> {
    if cluster.tell(&["get", "secret", "user-service"], "").await.is_ok() {
        return Ok(());
    }
    let mut command = fresh::secrets(stand_ins, "test");
    command.current_dir(workspace()).kill_on_drop(true);
    let output = command.output().await.context("running secrets.sh")?;
    anyhow::ensure!(
        output.status.success(),
        "secrets.sh: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    cluster.tell(&["create", "--filename", "-"], &String::from_utf8_lossy(&output.stdout)).await.map(drop)
}
