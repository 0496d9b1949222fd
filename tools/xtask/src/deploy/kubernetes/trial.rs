//! Runs the overlay `test`, and does the work of `demo` in it.

use std::path::Path;

use anyhow::{Context, Result};
use testkit::state::workspace;
use uuid::Uuid;

use super::certificates::{self, Issuer};
use super::cluster::{Cluster, NAMESPACE};
use super::entry::{Entry, SERVICES, trusted};
use crate::demo;
use crate::deploy::fresh;
use crate::out;

/// The admin of a run.
pub(super) struct Admin {
    pub(super) email: String,
    pub(super) password: String,
}

pub(super) async fn run(cluster: &Cluster, production: &Path, test: &Path, stand_ins: bool) -> Result<Admin> {
    out::step("secrets and certificates");
    trust(cluster, production).await?;
    secrets(cluster, stand_ins).await?;
    out::step("the overlay test");
    cluster.apply(test, &[]).await?;
    for (service, _) in SERVICES {
        let deployment = format!("deployment/{service}");
        cluster.run(&["rollout", "status", &deployment, "--timeout=300s"]).await?;
    }
    out::step("the demo");
    let admin = Admin { email: fresh::admin_email(), password: Uuid::new_v4().to_string() };
    let options = ["--email", &admin.email, "--display-name", "Admin", "--password-stdin"];
    let exec =
        ["exec", "-i", "deployment/user-service", "-c", "service", "--", "/user-service", "bootstrap-admin"];
    let made = cluster.tell(&[&exec[..], &options].concat(), &admin.password).await;
    made.context("making the first admin")?;
    let entry = Entry::open(cluster).await?;
    demo::play(&entry.api, (&admin.email, &admin.password)).await?;
    Ok(admin)
}

/// An authority that is trusted in the cluster, with a certificate for everybody: those of an earlier run, if they are there.
async fn trust(cluster: &Cluster, production: &Path) -> Result<()> {
    if trusted(cluster).await.is_ok() {
        return Ok(());
    }
    let issuer = Issuer::new(production)?;
    let objects = certificates::trust(NAMESPACE, &issuer.ca())? + &issuer.secrets(|_| true)?;
    cluster.tell(&["apply", "--server-side", "--filename", "-"], &objects).await.map(drop)
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
