//! The databases of the overlay `test`, told what to do by the tools in their own pods.

use anyhow::{Context, Result};
use serde_json::json;

use super::login::secret;
use crate::deploy::kubernetes::cluster::Cluster;

/// Runs a statement as the superuser.
pub(super) async fn in_postgresql(cluster: &Cluster, statement: &str) -> Result<String> {
    let psql = [
        "psql",
        "--username=postgres",
        "--dbname=order",
        "--no-psqlrc",
        "--quiet",
        "--tuples-only",
        "--no-align",
    ];
    let exec = ["exec", "-i", "postgresql-0", "--container", "postgresql", "--"];
    let asked = cluster.tell(&[&exec[..], &psql, &["--set=ON_ERROR_STOP=1"]].concat(), statement).await;
    asked.context("asking PostgreSQL")
}

/// Runs a command, written as JSON, as the first user.
pub(super) async fn in_mongodb(cluster: &Cluster, command: &str) -> Result<()> {
    let admin = secret(cluster, "mongodb-roles", "admin-url").await?;
    let script = format!(
        "const done = connect({}).getSiblingDB(\"admin\").runCommand({command});\nif (!done.ok) {{ print(done.errmsg); quit(1); }}\n",
        json!(admin)
    );
    let exec = ["exec", "-i", "mongodb-0", "--container", "mongodb", "--"];
    let mongosh = ["mongosh", "--quiet", "--norc", "--nodb", "--file", "/dev/stdin"];
    cluster.tell(&[&exec[..], &mongosh].concat(), &script).await.context("asking MongoDB").map(drop)
}

/// How often the container beside a Redis has told this.
pub(super) async fn times_told(cluster: &Cluster, redis: &str, what: &str) -> Result<usize> {
    let log = cluster.tell(&["logs", &format!("{redis}-0"), "--container", "reload"], "").await?;
    Ok(log.lines().filter(|line| line.contains(what)).count())
}
