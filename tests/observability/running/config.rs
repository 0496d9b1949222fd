//! `prometheus.yml` for a system on this machine: the same jobs, at other addresses.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use testkit::state::workspace;

/// How often Prometheus asks and computes: quick, so that a test is.
const EVERY: &str = "1s";
/// How often it asks the exporters: that of PostgreSQL takes a second to find that its database is away.
const EXPORTERS_EVERY: &str = "3s";

const EXPORTERS: [&str; 2] = ["postgresql", "redis"];

/// The addresses of each job. A job without one is left out.
#[derive(Debug, Clone, Default)]
pub(super) struct Targets(BTreeMap<&'static str, Vec<String>>);

impl Targets {
    pub(super) fn add(&mut self, job: &'static str, address: String) {
        self.0.entry(job).or_default().push(address);
    }
}

/// The text of the configuration. JSON is YAML too.
pub(super) fn config(targets: &Targets) -> Result<String> {
    let path = workspace().join("deploy/observability/prometheus.yml");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut config: Value = serde_saphyr::from_str(&text).context("prometheus.yml is YAML")?;
    for name in ["scrape_interval", "scrape_timeout", "evaluation_interval"] {
        config["global"][name] = json!(EVERY);
    }
    // Nobody is told.
    config
        .as_object_mut()
        .context("a configuration")?
        .remove("alerting")
        .context("prometheus.yml tells somebody")?;
    let jobs = config["scrape_configs"].take();
    let mut kept = Vec::new();
    for mut job in serde_json::from_value::<Vec<Value>>(jobs).context("jobs")? {
        let name = job["job_name"].as_str().context("a job has a name")?.to_owned();
        let Some(addresses) = targets.0.get(&*name) else { continue };
        let job = job.as_object_mut().context("a job")?;
        job.remove("dns_sd_configs");
        job.insert("static_configs".to_owned(), json!([{"targets": addresses}]));
        if EXPORTERS.contains(&&*name) {
            job.insert("scrape_interval".to_owned(), json!(EXPORTERS_EVERY));
            job.insert("scrape_timeout".to_owned(), json!(EXPORTERS_EVERY));
        }
        kept.push(Value::Object(job.clone()));
    }
    anyhow::ensure!(kept.len() == targets.0.len(), "prometheus.yml has not all of the jobs {:?}", targets.0);
    config["scrape_configs"] = kept.into();
    Ok(config.to_string())
}
