//! What Prometheus reads of each service while users do what they do.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testkit::admin_port::Metrics;
use testkit::{ServiceName, state, wait_until};
use tests::System;
use tests::people::{Market, PRICE, pay};
use tonic::Code;
use tonic::transport::Endpoint;

const SOON: Duration = Duration::from_secs(20);
/// Calls of methods that a server does not have.
const OTHER: &str = "rpc_server_call_duration_seconds_count{rpc_method=\"_OTHER\",rpc_response_status_code=\"UNIMPLEMENTED\"}";
/// By then the books were audited.
const AUDITED: Duration = Duration::from_secs(150);
/// The most series of a process.
const SERIES_MAX: usize = 3_000;

async fn metrics(system: &System, name: ServiceName) -> Result<Metrics> {
    Metrics::of(system.stack.services.get(name)).await.with_context(|| name.to_string())
}

/// Claim: a payment is seen in the metrics of every service that had a part in it.
#[tokio::test]
async fn a_payment_is_counted_wherever_it_passes() -> Result<()> {
    let system = &System::shared().await?;
    let market = Market::open(system, 10 * PRICE, 10).await?;
    let order = market.order(1).await?;
    let before = metrics(system, ServiceName::Order).await?;
    market.buyer.caller.transfers().pay_order(pay(&order)).await.context("PayOrder")?;
    let completed = "transfers_total{kind=\"pay\",outcome=\"completed\"}";
    let rises = async || {
        let after = metrics(system, ServiceName::Order).await.map_err(|error| format!("{error:#}"))?;
        let rose = |name: &str| after.sum(name) > before.sum(name);
        let call = "rpc_server_call_duration_seconds_count{rpc_method=\"order.v1.TransferService/PayOrder\",rpc_response_status_code=\"OK\"}";
        let all = [
            ("the transfer", after.get(completed) > before.get(completed)),
            ("its duration", rose("transfer_duration_seconds_count")),
            ("the call", after.get(call) > before.get(call)),
            ("statements", rose("db_client_operation_duration_seconds_count")),
            ("connections", after.sum("db_client_connection_count") >= 1.0),
            ("events", rose("outbox_published_total")),
            ("their delivery", rose("event_delivery_seconds_count")),
        ];
        match all.iter().find(|(_, is_so)| !is_so) {
            Some((what, _)) => Err(format!("{what} is not counted: {}", after.text)),
            None => Ok(()),
        }
    };
    wait_until(SOON, "the payment to be counted", rises).await?;
    for (name, series) in [
        (
            ServiceName::User,
            "db_client_operation_duration_seconds_count{db_system_name=\"mongodb\",db_operation_name=\"commitTransaction\"}",
        ),
        (ServiceName::User, "event_delivery_seconds_count{stream=\"order\",consumer=\"user.transfers\"}"),
        (ServiceName::Session, "logins_total{result=\"logged_in\"}"),
        (
            ServiceName::Session,
            "db_client_operation_duration_seconds_count{db_system_name=\"redis\",db_operation_name=\"EVALSHA\"}",
        ),
        (ServiceName::Order, "session_verifications_total{result=\"verified\"}"),
    ] {
        let metrics = metrics(system, name).await?;
        ensure!(metrics.get(series) > Some(0.0), "{name} {series}: {}", metrics.text);
    }
    Ok(())
}

/// Claim: what a process tells of is bounded, whatever it is asked.
#[tokio::test]
async fn names_from_outside_make_no_series() -> Result<()> {
    let system = &System::shared().await?;
    for name in ServiceName::ALL {
        let channel = Endpoint::from_shared(system.stack.services.get(name).url())?.connect().await?;
        let call = async |path: String| {
            let mut grpc = tonic::client::Grpc::new(channel.clone());
            grpc.ready().await?;
            let codec = api::codec::Codec::<(), ()>::default();
            let answer = grpc.unary(tonic::Request::new(()), path.parse()?, codec).await;
            anyhow::Ok(answer.map(drop).map_err(|status| status.code()))
        };
        ensure!(call("/a.B/C".to_owned()).await? == Err(Code::Unimplemented));
        let before = metrics(system, name).await?;
        let count = |metrics: &Metrics| metrics.get(OTHER).with_context(|| format!("no {OTHER}"));
        for number in 0..1_000 {
            let refused = call(format!("/order.v1.Orders{number}/Method{number}")).await?;
            ensure!(refused == Err(Code::Unimplemented), "{refused:?}");
        }
        let after = metrics(system, name).await?;
        ensure!(count(&after)? >= count(&before)? + 1_000.0, "{}", after.text);
        ensure!(!after.text.contains("Method7"), "{}", after.text);
        ensure!(after.count() <= SERIES_MAX, "{name} has {} series", after.count());
    }
    Ok(())
}

/// Claim: a service tells who it is, that it serves, and that all it depends on answers.
#[tokio::test]
async fn a_service_tells_of_what_it_depends_on() -> Result<()> {
    let system = &System::shared().await?;
    for (name, dependencies) in [
        (ServiceName::User, ["mongodb", "event_redis", "session-service", "order-service"].as_slice()),
        (ServiceName::Order, &["postgresql", "event_redis", "session-service", "user-service"]),
        (ServiceName::Session, &["session_redis", "event_redis", "user-service"]),
    ] {
        let up = async || {
            let metrics = metrics(system, name).await.map_err(|error| format!("{error:#}"))?;
            let is_up = |dependency: &&str| {
                metrics.get(&format!("dependency_up{{dependency=\"{dependency}\"}}")) == Some(1.0)
            };
            match dependencies.iter().find(|dependency| !is_up(dependency)) {
                Some(dependency) => Err(format!("{dependency}: {:?}", metrics.family("dependency_up"))),
                None => Ok(metrics),
            }
        };
        let metrics = wait_until(SOON, "all dependencies", up).await?;
        ensure!(metrics.get("serving") == Some(1.0) && metrics.get("panics_total") == Some(0.0));
        ensure!(metrics.sum("process_resident_memory_bytes") > 1e6);
        let build = metrics.family("build_info");
        ensure!(build.len() == 1 && build[0].contains(&format!("service=\"{name}\"")), "{build:?}");
    }
    Ok(())
}

/// Claim: only the replica that does something tells how far it is.
#[tokio::test]
async fn only_who_has_a_lease_tells_of_it() -> Result<()> {
    let system = &System::shared().await?;
    let first = system.stack.services.get(ServiceName::Order);
    let second = first.replica_with(|_| {})?;
    let tells = async || {
        let one = Metrics::of(first).await.map_err(|error| format!("{error:#}"))?;
        let two = Metrics::of(&second).await.map_err(|error| format!("{error:#}"))?;
        let held = [&one, &two].map(|metrics| metrics.get("outbox_lease_held{stream=\"order\"}"));
        let counts = |name: &str| [&one, &two].map(|metrics| metrics.family(name).len());
        let names = ["outbox_pending_events", "outbox_oldest_pending_seconds"].map(counts);
        let of_consumers =
            ["consumer_lag_events", "consumer_lag_seconds", "consumer_parked_aggregates"].map(counts);
        let is_told_once = names.iter().all(|[one, two]| one + two == 1)
            && of_consumers.iter().all(|[one, two]| one + two == 2);
        let is_held_once = held[0].zip(held[1]).is_some_and(|(one, two)| one + two == 1.0);
        let live = [&one, &two].map(|metrics| {
            metrics.family("consumer_state").iter().filter(|series| metrics.get(series) == Some(1.0)).count()
        });
        if is_told_once && is_held_once && live[0] + live[1] == 2 {
            Ok(())
        } else {
            Err(format!("{held:?} {names:?} {of_consumers:?} {live:?}"))
        }
    };
    wait_until(SOON, "one of two to tell of each lease", tells).await?;
    second.process().kill().await?;
    Ok(())
}

/// Claim: what services tell is what the table for operators says that they tell.
#[tokio::test]
async fn every_metric_has_its_row_in_the_table_and_every_row_its_metric() -> Result<()> {
    let system = &System::shared().await?;
    let table = std::fs::read_to_string(state::workspace().join("deploy/observability/metrics.md"))?;
    let (own, _of_others) = table.split_once("## Of others").context("the table tells of others last")?;
    let documented: BTreeSet<&str> =
        own.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let told = async || {
        let mut told = BTreeSet::new();
        for name in ServiceName::ALL {
            let metrics = metrics(system, name).await.map_err(|error| format!("{error:#}"))?;
            told.extend(metrics.text.lines().filter_map(|line| {
                let (family, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
                Some(if kind == "counter" { format!("{family}_total") } else { family.to_owned() })
            }));
        }
        let unknown: Vec<_> = told.iter().filter(|name| !documented.contains(name.as_str())).collect();
        // These need certificates and a collector, which the services of this test have none of.
        let is_told =
            |name: &&&str| !name.starts_with("tls_") && **name != "spans_total" && !told.contains(**name);
        let untold: Vec<_> = documented.iter().filter(is_told).collect();
        if unknown.is_empty() && untold.is_empty() {
            Ok(())
        } else {
            Err(format!("without a row: {unknown:?}; told by nobody: {untold:?}"))
        }
    };
    wait_until(AUDITED, "all metrics to be told", told).await
}
