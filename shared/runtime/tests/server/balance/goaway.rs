//! Servers that say that they go away: because a connection is old, or because they stop.

use std::time::Duration;

use runtime::config::ServerConfig;
use runtime::health::Readiness;

use super::*;

/// Claim: connections that are closed because of their age cost no call, though nothing is repeated by the caller.
#[tokio::test]
async fn old_connections_cost_no_call() {
    let config =
        || ServerConfig { connection_age_max: Duration::from_millis(30), ..ServerConfig::for_tests() };
    let start = || Harness::start_with(config(), Readiness::always(), |_| {});
    let (first, second) = tokio::join!(start(), start());
    let peer = catalog(&Names::of([first.server.addr, second.server.addr]));
    let connections = |server: &Harness| server.stage.callers.lock().unwrap().len();
    let enough = until("many connections", || connections(&first) >= 20 && connections(&second) >= 20);
    under_load(&peer, enough).await;
}

/// Claim: neither do they when there is only one server.
#[tokio::test]
async fn old_connections_to_the_only_server_cost_no_call() {
    let config = ServerConfig { connection_age_max: Duration::from_millis(30), ..ServerConfig::for_tests() };
    let server = Harness::start_with(config, Readiness::always(), |_| {}).await;
    let peer = catalog(&Names::of([server.server.addr]));
    let connections = || server.stage.callers.lock().unwrap().len();
    under_load(&peer, until("many connections", || connections() >= 20)).await;
}

/// Claim: a rolling restart costs no call, though each server stops the moment that it is told to.
#[tokio::test]
async fn a_rolling_restart_costs_no_call() {
    let mut running: Vec<Harness> = Vec::from(servers::<3>().await);
    let names = Names::of(running.iter().map(|server| server.server.addr));
    let peer = catalog(&names);
    are_ready(&peer, 3).await;
    let restart = async {
        for _ in 0..6 {
            let old = running.remove(0);
            let new = Harness::start().await;
            // The host still has the old address for a while, as it is with DNS.
            names.are(running.iter().chain([&old, &new]).map(|server| server.server.addr));
            until("the new server to be called", || new.stage.calls() > 0).await;
            tokio::time::timeout(PATIENCE, old.server.stop()).await.expect("it stops");
            running.push(new);
            names.are(running.iter().map(|server| server.server.addr));
        }
    };
    under_load(&peer, restart).await;
}

/// Claim: an idle client notices within seconds that its server goes away, and does not hold it up.
#[tokio::test]
async fn an_idle_client_does_not_hold_up_a_server_that_stops() {
    let config = ServerConfig { connection_age_max: Duration::from_millis(100), ..ServerConfig::for_tests() };
    let server = Harness::start_with(config, Readiness::always(), |_| {}).await;
    let peer = catalog(&Names::of([server.server.addr]));
    are_ready(&peer, 1).await;
    until("the old connection to be left", || peer.endpoints().ready == 0).await;
    are_ready(&peer, 1).await;
    tokio::time::timeout(Duration::from_secs(5), server.server.stop()).await.expect("it stops");
}
