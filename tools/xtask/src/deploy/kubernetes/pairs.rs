//! Who may connect to whom, tried pair by pair: everybody who is in the cluster connects to every port that somebody
//! listens on, and what comes through is compared with the README's table.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};

use super::cluster::{Cluster, NAMESPACE};
use crate::manifests::folder;
use crate::out;

/// Those in the namespace of the system, by their names in the table, with the labels by which policies know them.
const WITHIN: [(&str, &str, &str); 11] = [
    ("user-service", "user-service", "service"),
    ("order-service", "order-service", "service"),
    ("session-service", "session-service", "service"),
    ("user-service migration", "user-service", "migration"),
    ("order-service migration", "order-service", "migration"),
    ("session-service migration", "session-service", "migration"),
    ("mongodb-roles", "mongodb-roles", "roles"),
    ("mongodb", "mongodb", "database"),
    ("postgresql", "postgresql", "database"),
    ("session-redis", "session-redis", "database"),
    ("event-redis", "event-redis", "database"),
];
/// Those outside, by the label of their namespace. Nothing in the table allows a stranger anything.
const OUTSIDE: [(&str, &str); 3] = [
    ("namespaces with `tristore/caller=true`", "caller"),
    ("namespaces with `tristore/monitoring=true`", "monitoring"),
    ("a stranger", "stranger"),
];
/// What listens, by its labels.
const LISTENERS: [(&str, &str, &[u16]); 7] = [
    ("user-service", "service", &[50051, 50061]),
    ("order-service", "service", &[50052, 50062]),
    ("session-service", "service", &[50053, 50063]),
    ("mongodb", "database", &[27017]),
    ("postgresql", "database", &[5432]),
    ("session-redis", "database", &[6379]),
    ("event-redis", "database", &[6379]),
];

/// From whom, to whom, to which port.
type Pair = (String, String, u16);

/// Tries all pairs in a cluster that runs the overlay `test`.
pub(super) async fn run(cluster: &Cluster) -> Result<()> {
    out::step("who connects to whom");
    let listeners = listeners(cluster).await?;
    for (namespace, objects) in probes() {
        let apply = ["apply", "--server-side", "--namespace", &namespace, "--filename", "-"];
        cluster.tell(&apply, &objects).await?;
    }
    let tried = try_all(cluster, &listeners).await;
    // They have the labels of others, and must not stay.
    for (_, name) in OUTSIDE {
        cluster.tell(&["delete", "namespace", &namespace(name), "--wait=false"], "").await?;
    }
    cluster.tell(&["delete", "pods", "--selector", PROBE, "--wait=false", "--grace-period=1"], "").await?;
    let (open, count) = tried?;
    let told = told()?;
    let wrong: Vec<&Pair> = open.symmetric_difference(&told).collect();
    ensure!(wrong.is_empty(), "open and not in the table, or in the table and not open: {wrong:?}");
    out::line(format_args!("{count} pairs tried, {} open: those of the table", open.len()));
    Ok(())
}

const PROBE: &str = "tristore/probe=true";
const PROBE_NOT: &str = "tristore/probe!=true";

fn namespace(name: &str) -> String {
    format!("{NAMESPACE}-trial-{name}")
}

fn pod(name: &str) -> String {
    format!("probe-{}", name.replace(' ', "-"))
}

/// A pod for each of them, by its namespace. None is ever ready, so no Service leads there.
fn probes() -> Vec<(String, String)> {
    let mut within = String::new();
    for (name, app, component) in WITHIN {
        let labels = format!("app.kubernetes.io/name: {app}, app.kubernetes.io/component: {component}");
        probe(&mut within, NAMESPACE, &pod(name), &labels);
    }
    let outside = OUTSIDE.map(|(_, name)| {
        let namespace = namespace(name);
        let mut objects = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}, labels: {{tristore/{name}: \"true\"}}}}\n"
        );
        probe(&mut objects, &namespace, &pod(name), "");
        (namespace, objects)
    });
    [(NAMESPACE.to_owned(), within)].into_iter().chain(outside).collect()
}

fn probe(objects: &mut String, namespace: &str, name: &str, labels: &str) {
    let _written = writeln!(
        objects,
        "---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, labels: {{tristore/probe: \"true\", {labels}}}}}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  securityContext: {{runAsNonRoot: true, runAsUser: 999, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
    - name: probe
      image: redis:7.4
      command: [sleep, infinity]
      readinessProbe: {{exec: {{command: [\"false\"]}}}}
      securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}"
    );
}

/// The address of one pod of each kind that listens, with its ports.
async fn listeners(cluster: &Cluster) -> Result<Vec<(&'static str, String, &'static [u16])>> {
    let mut found = Vec::new();
    for (name, component, ports) in LISTENERS {
        // Not those that an earlier run has left.
        let selector =
            format!("app.kubernetes.io/name={name},app.kubernetes.io/component={component},{PROBE_NOT}");
        let of = ["get", "pods", "--selector", &selector, "--output", "jsonpath={.items[0].status.podIP}"];
        let address = cluster.tell(&of, "").await?;
        ensure!(!address.is_empty(), "no pod of {name} has an address");
        found.push((name, address, ports));
    }
    Ok(found)
}

/// What came through, and how many were tried.
async fn try_all(cluster: &Cluster, listeners: &[(&str, String, &[u16])]) -> Result<(BTreeSet<Pair>, usize)> {
    let within = WITHIN.map(|(name, ..)| (name, NAMESPACE.to_owned(), pod(name)));
    let outside = OUTSIDE.map(|(name, short)| (name, namespace(short), pod(short)));
    let (mut open, mut count) = (BTreeSet::new(), 0);
    for (from, namespace, pod) in within.into_iter().chain(outside) {
        let started = "--for=jsonpath={.status.phase}=Running";
        let name = format!("pod/{pod}");
        cluster.tell(&["wait", started, "--timeout=60s", "--namespace", &namespace, &name], "").await?;
        let mut script = String::new();
        for (to, address, ports) in listeners {
            for port in *ports {
                count += 1;
                let _written = writeln!(
                    script,
                    "(timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/{port}' 2>/dev/null && echo '{to} {port}') &"
                );
            }
        }
        script.push_str("wait\n");
        let said = cluster
            .tell(&["exec", "--namespace", &namespace, "-i", &name, "--", "bash", "-s"], &script)
            .await
            .with_context(|| format!("trying from {from}"))?;
        for line in said.lines() {
            let (to, port) = line.split_once(' ').with_context(|| format!("a pair, not {line}"))?;
            open.insert((from.to_owned(), to.to_owned(), port.parse()?));
        }
    }
    Ok((open, count))
}

/// The pairs of the table that the overlay `test` has, between those who are tried.
fn told() -> Result<BTreeSet<Pair>> {
    let readme = folder().join("README.md");
    let text = std::fs::read_to_string(&readme).with_context(|| format!("reading {}", readme.display()))?;
    let (_, rest) = text.split_once("<!-- begin: pairs -->").context("the table is there")?;
    let (table, _) = rest.split_once("<!-- end:").context("the table has an end")?;
    let mut told = BTreeSet::new();
    for line in table.lines().filter(|line| line.starts_with('|')).skip(2) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [from, to, port, overlays] = cells[..] else {
            anyhow::bail!("a row with four cells, not {line}")
        };
        let port = port.parse().with_context(|| format!("a port in {line}"))?;
        let is_tried = LISTENERS.iter().any(|(name, _, ports)| *name == to && ports.contains(&port));
        if is_tried && (overlays == "all" || overlays.contains("test")) {
            told.insert((from.to_owned(), to.to_owned(), port));
        }
    }
    Ok(told)
}
