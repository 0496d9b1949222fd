//! When our client calls a new pod, and how evenly it spreads its calls then. No other client calls meanwhile, since pods
//! cannot tell whose calls they count.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::admin_port::Metrics;
use tokio::time::{Instant, sleep};

use super::clients::{Calling, Client, Manner, ensure_none_failed};
use super::patience::wait_for;
use super::plan::Plan;
use super::pods::{self, Watched};
use super::scale::Scale;
use super::shop::Shop;
use crate::out;

const SERVICE: &str = "order-service";
const ADMIN_PORT: u16 = 50062;
/// What clients read. Nobody else calls it.
const READS: &str = "rpc_server_call_duration_seconds_count{rpc_method=\"order.v1.CatalogService/GetProduct\",rpc_response_status_code=\"OK\"}";

const FEW: usize = 2;
const MANY: usize = 4;
const READY_WITHIN: Duration = Duration::from_secs(90);
const CALLED_WITHIN: Duration = Duration::from_secs(15);
/// With so many calls a pod, chance alone makes no pod differ by a fifth.
const CALLS_A_POD: f64 = 500.0;
const COUNTED_WITHIN: Duration = Duration::from_secs(300);
const UNEVEN_AT_MOST: f64 = 0.2;

pub(super) async fn run(shop: &Shop<'_>, scale: &Scale<'_>, plan: Plan) -> Result<()> {
    let rate = plan.rate * 4;
    out::step(format_args!("our client alone with {rate} calls a second, while order-service gets new pods"));
    scale.ask(FEW).await?;
    scale.wait_for(FEW).await?;
    let mut calling = Calling::start(shop, &[Client::Rust], &Manner { rate, ..Manner::default() }).await?;
    let old: BTreeSet<String> =
        pods::of(shop.cluster, SERVICE).await?.into_iter().map(|pod| pod.name).collect();
    scale.ask(MANY).await?;
    let mut watched = first_calls(shop, &old).await?;
    for pod in &old {
        watched.push(Watched::open(shop.cluster, pod, ADMIN_PORT).await?);
    }
    spread(&watched).await?;
    calling.after(&format!("order-service has {MANY} pods")).await?;
    ensure_none_failed(&calling.end().await?)
}

/// Waits until each new pod was called, and gives ways to them.
async fn first_calls(shop: &Shop<'_>, old: &BTreeSet<String>) -> Result<Vec<Watched>> {
    let mut ready: BTreeMap<String, Instant> = BTreeMap::new();
    // A pod became ready after the last look that did not find it so.
    let mut looked = Instant::now();
    wait_for(READY_WITHIN, "the new pods to be ready", async || {
        let before = std::mem::replace(&mut looked, Instant::now());
        for pod in pods::of(shop.cluster, SERVICE).await? {
            if pod.is_ready && !old.contains(&pod.name) {
                ready.entry(pod.name).or_insert(before);
            }
        }
        ensure!(ready.len() == MANY - FEW, "{} are", ready.len());
        Ok(())
    })
    .await?;
    let mut watched = Vec::new();
    for (pod, since) in ready {
        let way = Watched::open(shop.cluster, &pod, ADMIN_PORT).await?;
        let seconds = wait_for(CALLED_WITHIN, &format!("a call of ours to {pod}"), async || {
            ensure!(reads(&way.metrics().await?)? > 0.0, "none has come");
            Ok(since.elapsed().as_secs_f64())
        })
        .await?;
        out::line(format_args!("  {pod}: called at most {seconds:.1} s after it was ready"));
        ensure!(since.elapsed() <= CALLED_WITHIN, "{pod} was called only after {seconds:.1} s");
        watched.push(way);
    }
    Ok(watched)
}

async fn spread(watched: &[Watched]) -> Result<()> {
    let mut before = Vec::new();
    for way in watched {
        before.push(reads(&way.metrics().await?)?);
    }
    let pods = f64::from(u32::try_from(watched.len())?);
    let began = Instant::now();
    let counts = loop {
        let mut counts = Vec::new();
        for (way, before) in watched.iter().zip(&before) {
            counts.push(reads(&way.metrics().await?)? - before);
        }
        if counts.iter().sum::<f64>() >= CALLS_A_POD * pods {
            break counts;
        }
        ensure!(began.elapsed() < COUNTED_WITHIN, "only {counts:?} calls came in {COUNTED_WITHIN:?}");
        sleep(Duration::from_secs(1)).await;
    };
    let mean = counts.iter().sum::<f64>() / pods;
    let mut widest: f64 = 0.0;
    for (way, count) in watched.iter().zip(&counts) {
        let off = count / mean - 1.0;
        widest = widest.max(off.abs());
        out::line(format_args!("  {}: {count} reads, {:+.1} % of the mean", way.pod, off * 100.0));
    }
    ensure!(widest <= UNEVEN_AT_MOST, "a pod is {:.1} % off the mean", widest * 100.0);
    Ok(())
}

fn reads(metrics: &Metrics) -> Result<f64> {
    metrics.get(READS).context("reads are counted")
}
