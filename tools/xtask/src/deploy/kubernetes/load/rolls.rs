//! Pods come and go while all clients call: roll-outs, an eviction, more and fewer of them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::clients::{ALL, Calling, Manner, ensure_none_failed};
use super::patience::wait_for;
use super::plan::Plan;
use super::pods;
use super::scale::Scale;
use super::shop::Shop;
use crate::deploy::kubernetes::cluster::{Cluster, NAMESPACE};
use crate::deploy::kubernetes::entry::SERVICES;
use crate::out;

const EVICTED_WITHIN: Duration = Duration::from_secs(90);

pub(super) async fn run(shop: &Shop<'_>, scale: &Scale<'_>, plan: Plan) -> Result<()> {
    out::step(format_args!(
        "four clients with {} calls a second each, and {} roll-outs of every service, an eviction, and other numbers of pods",
        plan.rate, plan.rounds
    ));
    let manner = Manner { rate: plan.rate, ..Manner::default() };
    let mut calling = Calling::start(shop, &ALL, &manner).await?;
    for round in 1..=plan.rounds {
        let began = Instant::now();
        roll_out(shop.cluster, &SERVICES.map(|(service, _)| service)).await?;
        let seconds = began.elapsed().as_secs();
        calling.after(&format!("roll-out {round} of {}, in {seconds} s", plan.rounds)).await?;
    }
    let evicted = evict(shop.cluster, "order-service").await.context("evicting a pod")?;
    calling.after(&format!("{evicted} evicted")).await?;
    for replicas in [2, 4, 2] {
        scale.ask(replicas).await?;
        scale.wait_for(replicas).await?;
        calling.after(&format!("order-service has {replicas} pods")).await?;
    }
    ensure_none_failed(&calling.end().await?)
}

/// Replaces every pod of these services, all services at a time.
pub(super) async fn roll_out(cluster: &Cluster, services: &[&str]) -> Result<()> {
    for service in services {
        cluster.tell(&["rollout", "restart", &format!("deployment/{service}")], "").await?;
    }
    for service in services {
        let deployment = format!("deployment/{service}");
        cluster.tell(&["rollout", "status", &deployment, "--timeout=600s"], "").await?;
    }
    Ok(())
}

/// Evicts a pod as a drain does, and waits until it is gone and another is ready.
async fn evict(cluster: &Cluster, service: &str) -> Result<String> {
    let before = pods::of(cluster, service).await?;
    let evicted = &before.first().with_context(|| format!("{service} has no pod"))?.name;
    let metadata = json!({ "name": evicted, "namespace": NAMESPACE });
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata });
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{evicted}/eviction");
    cluster.tell(&["create", "--raw", &path, "--filename", "-"], &eviction.to_string()).await?;
    wait_for(EVICTED_WITHIN, "another pod in its place", async || {
        let now = pods::of(cluster, service).await?;
        let ready = now.iter().filter(|pod| pod.is_ready && pod.name != *evicted).count();
        ensure!(ready >= before.len(), "{ready} of {} are ready", before.len());
        let all = pods::count(cluster, service).await?;
        ensure!(all == now.len(), "the one that was evicted is not gone");
        Ok(())
    })
    .await?;
    Ok(evicted.clone())
}
