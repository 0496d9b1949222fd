//! Each alert provoked for real, by what it is there for.

mod causes;
mod shortened;
mod stage;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Result, ensure};

use self::causes::CAUSES;
use self::stage::Stage;
use super::watched::has_programs;
use crate::files::Files;

/// Alerts that are not provoked, each with its reason.
const NOT_PROVOKED: [(&str, &str); 6] = [
    ("Panic", "nothing is known that makes a service panic"),
    ("PostgresReplicaBehind", "Debian's exporter is older than its metrics"),
    ("PostgresReplicaCutOff", "CloudNativePG is in Kubernetes only"),
    ("MongodbReplicaBehind", "its exporter does not run here"),
    ("MongodbMemberDown", "its exporter does not run here"),
    ("RedisReplicaBehind", "the Redis here has no replica"),
];

/// Takes minutes: `cargo xtask observe alerts`.
#[tokio::test]
#[ignore = "takes minutes: `cargo xtask observe alerts`"]
async fn every_alert_is_provoked() -> Result<()> {
    if !has_programs("every_alert_is_provoked") {
        return Ok(());
    }
    let files = Files::read();
    let stage = Box::pin(Stage::start(&files)).await?;
    let mut failed = String::new();
    for (what, act) in CAUSES {
        eprintln!("{what}");
        if let Err(error) = act(&stage).await {
            writeln!(failed, "{what}: {error:#}")?;
            eprintln!("    failed: {error:#}");
        }
    }
    let provoked = stage.provoked();
    for (name, rule) in files.alerts() {
        let severity = rule.labels.get("severity").map_or("", String::as_str);
        let reason = NOT_PROVOKED.iter().find(|(alert, _)| *alert == name).map(|(_, reason)| *reason);
        match (provoked.get(name), reason) {
            (Some(said), _) => eprintln!("provoked  {name:<21}  {severity:<8}  {said}"),
            (None, reason) => {
                eprintln!("not       {name:<21}  {severity:<8}  {}", reason.unwrap_or("it did not fire"))
            }
        }
    }
    ensure!(failed.is_empty(), "{failed}");
    let all: BTreeSet<&str> = files.alerts().map(|(name, _)| name).collect();
    let told: BTreeSet<&str> =
        provoked.keys().map(String::as_str).chain(NOT_PROVOKED.map(|(name, _)| name)).collect();
    ensure!(all == told, "{:?}", all.symmetric_difference(&told).collect::<Vec<_>>());
    ensure!(all.len() == provoked.len() + NOT_PROVOKED.len(), "one is provoked that is listed as not");
    Ok(())
}
