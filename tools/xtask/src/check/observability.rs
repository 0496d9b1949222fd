//! What Prometheus and Alertmanager say of `deploy/observability`: whether they take its files, whether each alert fires
//! when it should and only then, and whether dashboards ask what can be answered.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::state::workspace;
use uuid::Uuid;

use crate::program::tool;

/// Both ways of each alert: those that look at minutes, and those that look at hours.
const TESTS: [&str; 2] = ["rules_test.yml", "rules_hours_test.yml"];
/// What stands for Grafana's own variables in a query.
const STAND_INS: [(&str, &str); 3] = [("$__rate_interval", "5m"), ("$job", ".*"), ("$instance", ".*")];

pub(super) async fn check() -> Result<()> {
    let folder = workspace().join("deploy/observability");
    // The rules too, since they are named there.
    run("promtool", &["check", "config", "prometheus.yml"], &folder).await?;
    run("promtool", &[&["test", "rules"], TESTS.as_slice()].concat(), &folder).await?;
    run("amtool", &["check-config", "alertmanager.yml"], &folder).await?;

    let rules = queries_as_rules(&folder.join("dashboards"))?;
    let file = std::env::temp_dir().join(format!("dashboards-{}.json", Uuid::new_v4()));
    fs::write(&file, rules.to_string()).with_context(|| format!("writing {}", file.display()))?;
    let checked = run("promtool", &["check", "rules", &file.to_string_lossy()], &folder).await;
    fs::remove_file(&file).with_context(|| format!("removing {}", file.display()))?;
    checked.context("a query of a dashboard; its name has the dashboard's and the panel's number")
}

/// Runs one of Prometheus' tools, and shows what it says only when it complains.
async fn run(name: &str, args: &[&str], folder: &Path) -> Result<()> {
    let mut command = tool(name)?;
    let output = command.args(args).current_dir(folder).kill_on_drop(true).output().await;
    let output = output.with_context(|| format!("running {name}"))?;
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).trim().to_owned());
    ensure!(output.status.success(), "{name} {} says:\n{}", args.join(" "), said.join("\n"));
    Ok(())
}

/// The queries of all dashboards as recording rules, which is what promtool checks.
fn queries_as_rules(folder: &Path) -> Result<Value> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    paths.sort();
    let mut rules = Vec::new();
    for path in &paths {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let board: Value = serde_json::from_str(&text).with_context(|| format!("{}", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        rules.extend(rules_of(&name, &board));
    }
    ensure!(!rules.is_empty(), "{} has no dashboard with a query", folder.display());
    Ok(json!({"groups": [{"name": "dashboards", "rules": rules}]}))
}

fn rules_of(name: &str, board: &Value) -> Vec<Value> {
    let mut rules = Vec::new();
    for panel in board["panels"].as_array().into_iter().flatten() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap_or_default().to_owned();
            let query =
                STAND_INS.iter().fold(query, |query, (variable, stand_in)| query.replace(variable, stand_in));
            let record = format!("{name}:{}:{}", panel["id"], target["refId"].as_str().unwrap_or_default());
            rules.push(json!({"record": record, "expr": query}));
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panel_becomes_a_rule_without_variables() {
        let board = json!({"panels": [
            {"id": 1, "type": "row"},
            {"id": 2, "targets": [{"refId": "A", "expr": "rate(x{job=~\"$job\"}[$__rate_interval])"}]},
        ]});
        let expected = json!({"record": "overview:2:A", "expr": "rate(x{job=~\".*\"}[5m])"});
        assert_eq!(rules_of("overview", &board), [expected]);
    }
}
