//! What operators see when a database is lost, as plots in `docs/`.

use std::cell::Cell;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::future::join_all;
use testkit::state::workspace;
use testkit::{DatabaseOptions, ServiceName, ServiceOptions};
use tests::people::{Market, PRICE};
use tokio::time::{Instant, sleep, sleep_until};

use super::svg::{Plot, draw};
use super::watched::{Options, Watched, has_programs};
use crate::files::Files;

/// How long is shown, and the part of it without PostgreSQL.
const SECONDS: usize = 60;
const AWAY: (u64, u64) = (20, 27);
const BUYERS: usize = 4;

/// Title, query, the label that names a line (or a name for the only one), and what a value is multiplied by.
type Shown = (&'static str, &'static str, &'static str, f64);

const SHOWN: [Shown; 4] = [
    (
        "Calls that succeed, per second",
        r#"sum by (job) (rate(rpc_server_call_duration_seconds_count{rpc_method!~"grpc[.].*", rpc_response_status_code="OK"}[4s]))"#,
        "job",
        1.0,
    ),
    (
        "99th percentile of PayOrder, ms",
        r#"histogram_quantile(0.99, sum by (le) (rate(rpc_server_call_duration_seconds_bucket{rpc_method="order.v1.TransferService/PayOrder"}[4s])))"#,
        "PayOrder",
        1e3,
    ),
    (
        "Events from commit to commit, 99th percentile, ms",
        "histogram_quantile(0.99, sum by (consumer, le) (rate(event_delivery_seconds_bucket[4s])))",
        "consumer",
        1e3,
    ),
    ("Drift of the ledger", "sum(max by (check) (ledger_drift))", "drift", 1.0),
];

/// Pays orders while PostgreSQL is killed and started again, and draws what Prometheus has of it.
#[tokio::test]
#[ignore = "writes docs/postgresql-lost.svg: `cargo xtask observe plots`"]
async fn a_lost_database_is_drawn() -> Result<()> {
    if !has_programs("a_lost_database_is_drawn") {
        return Ok(());
    }
    let often = (ServiceName::Order, "AUDIT_EVERY".to_owned(), "2s".to_owned());
    let options = Options {
        rules: Files::read().rules_text,
        settings: Vec::new(),
        databases: DatabaseOptions::default(),
        services: ServiceOptions { env: vec![often], ..ServiceOptions::default() },
    };
    let watched = Box::pin(Watched::start(options)).await?;
    let mut markets = Vec::new();
    for _ in 0..BUYERS {
        markets.push(Market::open(&watched.system, 100_000 * PRICE, 100_000).await?);
    }
    // What is shown begins when everybody is at work.
    for market in &markets {
        market.paid_order(1).await?;
    }
    let is_over = Cell::new(false);
    let load = join_all(markets.iter().map(|market| buy_until(market, &is_over)));
    let course = async {
        let course = course(&watched).await;
        is_over.set(true);
        course
    };
    let (_, began) = tokio::join!(load, course);
    let began = began?;
    let mut plots = Vec::new();
    for shown in SHOWN {
        plots.push(plot(&watched, shown, began).await?);
    }
    watched.system.books_balance().await?;
    let band = ("no PostgreSQL", AWAY.0 as f64, AWAY.1 as f64);
    let folder = workspace().join("docs");
    fs::create_dir_all(&folder).context("making docs/")?;
    fs::write(folder.join("postgresql-lost.svg"), draw(&plots, SECONDS, band)).context("writing the plots")
}

/// Returns when it began, by Prometheus' clock.
async fn course(watched: &Watched) -> Result<f64> {
    let postgres = &watched.system.stack.databases.postgres;
    let (now, began) = (Instant::now(), watched.prometheus.now().await?);
    sleep_until(now + Duration::from_secs(AWAY.0)).await;
    postgres.process().kill().await?;
    sleep_until(now + Duration::from_secs(AWAY.1)).await;
    postgres.restart().await?;
    sleep_until(now + Duration::from_secs(SECONDS as u64)).await;
    Ok(began)
}

async fn buy_until(market: &Market, is_over: &Cell<bool>) {
    while !is_over.get() {
        // What fails meanwhile is what is to be seen.
        if market.paid_order(1).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn plot(watched: &Watched, (title, query, name, factor): Shown, began: f64) -> Result<Plot> {
    let found = watched.prometheus.query_range(query, (began, began + SECONDS as f64), 1.0).await?;
    let mut lines: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    for series in found {
        let points = series.points.into_iter().filter(|(_, value)| value.is_finite());
        let points = points.map(|(time, value)| (time - began, value * factor)).collect();
        lines.push((series.labels.get(name).map_or(name, String::as_str).to_owned(), points));
    }
    lines.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(Plot { title: title.to_owned(), lines })
}
