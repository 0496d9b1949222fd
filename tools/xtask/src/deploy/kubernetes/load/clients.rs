//! The clients of `deploy/grpc/clients`, each in a pod.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::patience::wait_for;
use super::shop::{SHOP, Shop};
use crate::deploy::images::{CLIENTS, tag};
use crate::out;

/// An image of half a GB may have to be pulled first.
const STARTS_WITHIN: Duration = Duration::from_secs(180);
/// The calls that it has begun, and the answers of a slow machine.
const ENDS_WITHIN: Duration = Duration::from_secs(60);
const OK: &str = "OK";
/// How a client tells of a failed call when it fails.
const FAILED: &str = " failed: ";

/// How often a client got which answer.
pub(super) type Answers = BTreeMap<String, u64>;

/// A client, by the language that it is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    Python,
    Go,
    Node,
    /// Ours.
    Rust,
}

pub(super) const ALL: [Client; 4] = [Client::Python, Client::Go, Client::Node, Client::Rust];

impl Client {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Go => "go",
            Self::Node => "node",
            Self::Rust => "rust",
        }
    }

    /// What it is made with.
    const fn library(self) -> &'static str {
        match self {
            Self::Python => "grpcio",
            Self::Go => "grpc-go",
            Self::Node => "grpc-js",
            Self::Rust => "ours",
        }
    }

    const fn program(self) -> &'static [&'static str] {
        match self {
            Self::Python => &["python", "client.py"],
            Self::Go => &["go-client"],
            Self::Node => &["node", "client.js"],
            Self::Rust => &["rust-client"],
        }
    }

    /// Where it finds the proto files from. Ours needs none.
    const fn folder(self) -> &'static str {
        match self {
            Self::Python => "/srv/deploy/grpc/clients/python",
            Self::Go => "/srv/deploy/grpc/clients/go",
            Self::Node => "/srv/deploy/grpc/clients/node",
            Self::Rust => "/srv",
        }
    }
}

/// How a client calls.
#[derive(Debug, Clone, Default)]
pub(super) struct Manner {
    /// How many calls; 0 means until it is told to end.
    pub(super) calls: u32,
    /// How many of them a second.
    pub(super) rate: u32,
    /// What else is in its environment.
    pub(super) variables: Vec<(&'static str, String)>,
    /// A Secret that it finds in /run/own.
    pub(super) own: Option<&'static str>,
}

/// Clients that are calling.
pub(super) struct Calling<'a> {
    shop: &'a Shop<'a>,
    clients: Vec<Client>,
    /// The failures of each that are told already.
    told: Vec<usize>,
}

impl<'a> Calling<'a> {
    /// Starts these.
    pub(super) async fn start(shop: &'a Shop<'a>, clients: &[Client], manner: &Manner) -> Result<Self> {
        for client in clients {
            shop.apply(&pod(*client, &shop.cast.product_id, manner).to_string()).await?;
        }
        let calling = Self { shop, clients: clients.to_vec(), told: vec![0; clients.len()] };
        for client in clients {
            calling.wait_for(*client, &["Running", "Succeeded"], STARTS_WITHIN).await?;
        }
        Ok(calling)
    }

    /// Tells what failed since the last time, as part of the step that is done.
    pub(super) async fn after(&mut self, step: &str) -> Result<()> {
        self.shop.renew_token_in_time().await?;
        for (client, told) in self.clients.iter().zip(&mut self.told) {
            let log = self.shop.tell(&["logs", "--timestamps", client.name()], "").await?;
            let failures: Vec<&str> = log.lines().filter(|line| line.contains(FAILED)).collect();
            for failure in failures.iter().skip(*told).take(5) {
                out::line(format_args!("  {step}: {} at {failure}", client.library()));
            }
            *told = failures.len();
        }
        out::line(step);
        Ok(())
    }

    /// Ends them, and gives the answers.
    pub(super) async fn end(self) -> Result<Vec<(Client, Answers)>> {
        for client in &self.clients {
            let ended = self.shop.tell(&["exec", client.name(), "--", "sh", "-c", "kill -TERM 1"], "").await;
            ended.with_context(|| format!("telling the {} client to end", client.name()))?;
        }
        self.ended().await
    }

    /// Waits until they are done with their calls, and gives the answers.
    pub(super) async fn ended(self) -> Result<Vec<(Client, Answers)>> {
        let mut all = Vec::new();
        for client in &self.clients {
            all.push((*client, self.answers(*client).await?));
        }
        self.remove().await?;
        Ok(all)
    }

    async fn answers(&self, client: Client) -> Result<Answers> {
        self.wait_for(client, &["Succeeded"], ENDS_WITHIN).await?;
        let log = self.shop.tell(&["logs", client.name()], "").await?;
        // What it says of failures comes by another way, and may stand after them.
        let answers = log.lines().rfind(|line| line.starts_with('{'));
        let answers = answers.with_context(|| format!("the {} client tells no answers", client.name()))?;
        serde_json::from_str(answers).with_context(|| format!("the answers of the {} client", client.name()))
    }

    async fn remove(&self) -> Result<()> {
        for client in &self.clients {
            self.shop.tell(&["delete", "pod", client.name()], "").await?;
        }
        Ok(())
    }

    async fn wait_for(&self, client: Client, phases: &[&str], within: Duration) -> Result<()> {
        let what = format!("the {} client to be {}", client.name(), phases.join(" or "));
        wait_for(within, &what, async || {
            let of = ["get", "pod", client.name(), "--output", "jsonpath={.status.phase}"];
            let phase = self.shop.tell(&of, "").await?;
            if phase == "Failed" && !phases.contains(&"Failed") {
                let log = self.shop.tell(&["logs", "--tail=20", client.name()], "").await?;
                anyhow::bail!("it has failed: {log}");
            }
            ensure!(phases.contains(&phase.as_str()), "it is {phase}");
            Ok(())
        })
        .await
    }
}

/// Calls that did not succeed.
pub(super) fn failed(answers: &Answers) -> u64 {
    answers.iter().filter(|(answer, _)| *answer != OK).map(|(_, count)| count).sum()
}

/// A line for each client.
pub(super) fn tell(all: &[(Client, Answers)]) {
    for (client, answers) in all {
        let calls: u64 = answers.values().sum();
        // With the status alone: what an error says besides may be different each time.
        let mut by_status: BTreeMap<&str, u64> = BTreeMap::new();
        for (answer, count) in answers {
            *by_status.entry(answer.split(':').next().unwrap_or(answer)).or_default() += count;
        }
        let by_status: Vec<String> =
            by_status.iter().map(|(status, count)| format!("{status} {count}")).collect();
        out::line(format_args!("  {:<8} {calls:>7} calls: {}", client.library(), by_status.join(", ")));
    }
}

/// Fails when a call has failed, or none was made.
pub(super) fn ensure_none_failed(all: &[(Client, Answers)]) -> Result<()> {
    tell(all);
    for (client, answers) in all {
        let failures: Vec<_> = answers.iter().filter(|(answer, _)| *answer != OK).collect();
        ensure!(failures.is_empty(), "calls of {} have failed: {failures:?}", client.library());
        ensure!(answers.contains_key(OK), "{} has made no call", client.library());
    }
    Ok(())
}

fn pod(client: Client, product_id: &str, manner: &Manner) -> Value {
    let host = "order-service.tristore:50052";
    let mut variables = vec![
        ("TRISTORE_TOKEN_FILE", "/run/token/token".to_owned()),
        ("TRISTORE_CA", "/run/trust/ca.crt".to_owned()),
        ("TRISTORE_ORDER_TARGET", format!("dns:///{host}")),
        ("TRISTORE_ORDER_URL", format!("https://{host}")),
        ("TLS_CA", "/run/trust/ca.crt".to_owned()),
        ("TLS_PEER_IDS", peer_id("order-service")),
    ];
    for (name, value) in &manner.variables {
        variables.retain(|(present, _)| present != name);
        variables.push((name, value.clone()));
    }
    let env: Vec<Value> =
        variables.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    let arguments = [product_id.to_owned(), manner.calls.to_string(), manner.rate.to_string()];
    let command: Vec<&str> =
        client.program().iter().copied().chain(arguments.iter().map(String::as_str)).collect();
    let mut mounts = vec![
        json!({ "name": "trust", "mountPath": "/run/trust" }),
        json!({ "name": "token", "mountPath": "/run/token" }),
    ];
    let mut volumes = vec![
        json!({ "name": "trust", "configMap": { "name": "trust" } }),
        json!({ "name": "token", "secret": { "secretName": "token" } }),
    ];
    if let Some(own) = manner.own {
        mounts.push(json!({ "name": "own", "mountPath": "/run/own" }));
        volumes.push(json!({ "name": "own", "secret": { "secretName": own } }));
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": client.name(), "namespace": SHOP },
        "spec": {
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 5,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": "client",
                "image": tag(CLIENTS),
                "imagePullPolicy": "IfNotPresent",
                "workingDir": client.folder(),
                "command": command,
                "env": env,
                "resources": {
                    "requests": { "cpu": "50m", "memory": "64Mi" },
                    "limits": { "memory": "256Mi" },
                },
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": { "drop": ["ALL"] },
                },
                "volumeMounts": mounts,
            }],
            "volumes": volumes,
        },
    })
}

/// By whose certificate a service is known, as `TLS_PEER_IDS` has it.
pub(super) fn peer_id(service: &str) -> String {
    format!("{service}=spiffe://tristore.internal/ns/tristore/sa/{service}")
}
