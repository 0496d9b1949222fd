//! PostgreSQL's primary is lost under load, and its standby takes over.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::order::v1::order::State;
use api::order::v1::{GetOrderRequest, Order};
use futures_util::future::join_all;
use testkit::proxy::Edge;
use testkit::{DatabaseOptions, Postgres, ServiceName, ServiceOptions, wait_until};
use tests::System;
use tests::people::{Market, PRICE};

const SOON: Duration = Duration::from_secs(60);
/// How many pay at the same time.
const AT_ONCE: usize = 4;
/// How many payments there are before anything happens.
const BEFORE: usize = 10;

/// Whether a commit waits for the standby to have it on disk, as in the manifests for production.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Commits {
    Synchronous,
    /// And the standby is down for the last of them.
    Alone,
}

/// What the buyers were told.
#[derive(Default)]
struct Told {
    paid: Vec<Order>,
    longest: Duration,
}

/// The payments of all buyers.
#[derive(Default)]
struct Sales {
    acknowledged: AtomicUsize,
    are_over: AtomicBool,
}

impl Sales {
    /// Waits until so many more are acknowledged.
    async fn more(&self, count: usize) -> Result<()> {
        let wanted = self.acknowledged.load(Ordering::SeqCst) + count;
        wait_until(SOON, "payments", async || {
            let acknowledged = self.acknowledged.load(Ordering::SeqCst);
            ensure!(acknowledged >= wanted, "{acknowledged} of {wanted}");
            Ok(())
        })
        .await
    }
}

async fn buy_until_over(market: &Market, sales: &Sales) -> Told {
    let (mut told, mut last) = (Told::default(), Instant::now());
    while !sales.are_over.load(Ordering::SeqCst) {
        match market.paid_order(1).await {
            Ok(order) => {
                sales.acknowledged.fetch_add(1, Ordering::SeqCst);
                told.longest = told.longest.max(last.elapsed());
                last = Instant::now();
                told.paid.push(order);
            }
            // What is not acknowledged may have happened or not.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    told
}

/// What became of the payments.
struct Outcome {
    /// How many were acknowledged.
    paid: usize,
    /// How many of those are not paid afterwards.
    lost: usize,
    /// The longest time in which nobody could pay.
    longest: Duration,
    /// It runs as long as this lives.
    _primary: Postgres,
}

/// Loses the primary while orders are paid, and lets the standby take over.
async fn fail_over(system: &System, commits: Commits) -> Result<Outcome> {
    let primary = &system.stack.databases.postgres;
    let standby = primary.standby(system.stack.databases.state()).await?;
    standby.caught_up(primary).await?;
    if commits == Commits::Synchronous {
        // On the primary only: the standby, once it is one, has nobody to wait for.
        wait_for_standbys(primary).await?;
    }
    let mut markets = Vec::new();
    for _ in 0..AT_ONCE {
        markets.push(Market::open(system, 10_000 * PRICE, 10_000).await?);
    }
    let sales = Sales::default();
    let load = join_all(markets.iter().map(|market| buy_until_over(market, &sales)));
    let course = async {
        sales.more(BEFORE).await?;
        if commits == Commits::Alone {
            standby.stop().await?;
            // More than those that were on their way.
            sales.more(2 * AT_ONCE).await?;
        }
        primary.process().kill().await?;
        if commits == Commits::Alone {
            standby.restart().await?;
        }
        standby.promote().await?;
        let edge = system.stack.edge(Edge::Database(ServiceName::Order));
        edge.lead_to((Ipv4Addr::LOCALHOST, standby.port()).into());
        // Where something is lost, the books do not fit together and nothing more is paid.
        if commits == Commits::Synchronous {
            wait_until(SOON, "a payment on the new primary", async || {
                markets[0].paid_order(1).await.map_err(|error| format!("{error:#}"))
            })
            .await?;
        }
        anyhow::Ok(())
    };
    let course = async {
        let course = course.await;
        sales.are_over.store(true, Ordering::SeqCst);
        course
    };
    let (told, course) = tokio::join!(load, course);
    course?;
    let mut lost = 0;
    for (market, told) in markets.iter().zip(&told) {
        for order in &told.paid {
            let is_paid = wait_until(SOON, "what became of an order", async || is_paid(market, order).await);
            lost += usize::from(!is_paid.await?);
        }
    }
    Ok(Outcome {
        paid: told.iter().map(|told| told.paid.len()).sum(),
        lost,
        longest: told.iter().map(|told| told.longest).max().unwrap_or_default(),
        _primary: standby,
    })
}

async fn wait_for_standbys(primary: &Postgres) -> Result<()> {
    let admin = primary.admin();
    admin.run("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'".to_owned()).await?;
    admin.run("postgres", "SELECT pg_reload_conf()".to_owned()).await?;
    wait_until(SOON, "the standby to be waited for", async || {
        let state = "SELECT sync_state FROM pg_stat_replication".to_owned();
        let state = admin.run("postgres", state).await?;
        ensure!(state.trim() == "sync", "{state}");
        Ok(())
    })
    .await
}

async fn is_paid(market: &Market, order: &Order) -> Result<bool> {
    let request = GetOrderRequest { order_id: order.id.clone() };
    match market.buyer.caller.orders().get_order(request).await {
        Ok(answer) => Ok(answer.into_inner().order.context("an order")?.state() == State::Paid),
        Err(status) if status.code() == tonic::Code::NotFound => Ok(false),
        Err(status) => Err(status.into()),
    }
}

async fn system() -> Result<System> {
    let services = ServiceOptions { edges: true, ..ServiceOptions::default() };
    System::start_with(DatabaseOptions::default(), services).await
}

/// Claim: the primary is killed while orders are paid, its standby is promoted, and the name leads there. Order service goes
/// on by itself within seconds. Whatever was acknowledged is there, and both books balance.
#[tokio::test]
async fn a_lost_primary_costs_seconds_and_nothing_that_was_acknowledged() -> Result<()> {
    let system = system().await?;
    let Outcome { paid, lost, longest, _primary } = fail_over(&system, Commits::Synchronous).await?;
    eprintln!("primary killed: {paid} payments acknowledged, {lost} lost, at most {longest:?} without one");
    ensure!(lost == 0, "{lost} of {paid} payments are lost");
    ensure!(paid > AT_ONCE, "{paid} payments are no load");
    system.books_balance().await
}

/// The teeth: where commits do not wait for the standby, acknowledged payments are lost, and the same look finds it.
#[tokio::test]
async fn a_standby_that_nobody_waits_for_loses_payments() -> Result<()> {
    let system = system().await?;
    let Outcome { paid, lost, .. } = fail_over(&system, Commits::Alone).await?;
    ensure!(lost > 0, "none of {paid} payments is lost");
    Ok(())
}
