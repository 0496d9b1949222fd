//! How a server starts to serve and how it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::order::v1::catalog_service_client::CatalogServiceClient;
use runtime::config::ServerConfig;
use runtime::health::Readiness;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::{Harness, PATIENCE, refusal, take};

/// Follows the health of the server until it is `wanted`.
async fn until(watch: &mut tonic::Streaming<tonic_health::pb::HealthCheckResponse>, wanted: ServingStatus) {
    let reached = async {
        while let Some(answer) = watch.message().await.unwrap() {
            if answer.status() == wanted {
                return;
            }
        }
        panic!("the stream ended before {wanted:?}");
    };
    timeout(PATIENCE, reached).await.unwrap();
}

async fn watch(harness: &Harness) -> tonic::Streaming<tonic_health::pb::HealthCheckResponse> {
    let request = HealthCheckRequest { service: "order.v1.CatalogService".to_owned() };
    HealthClient::new(harness.channel.clone()).watch(request).await.unwrap().into_inner()
}

/// A call in progress is answered, health has turned, the stream is ended with an error that says retry, and
/// nobody can connect any more.
#[tokio::test]
async fn a_drain_finishes_calls_and_ends_streams() {
    let harness = Harness::start().await;
    let mut health = watch(&harness).await;
    until(&mut health, ServingStatus::Serving).await;
    let request = harness.request("wait", &[]);
    let mut client = CatalogServiceClient::new(harness.channel.clone());
    let call = async { client.get_product(request).await };
    let drain = async {
        take(&harness.stage.waiting).await;
        harness.server.begin_stop();
        until(&mut health, ServingStatus::NotServing).await;
        let addr = harness.server.addr;
        let (stop, end) = (harness.server.stop(), async {
            let status = health.message().await.unwrap_err();
            assert_eq!(refusal(&status).0, Code::Unavailable);
            harness.stage.go_on.add_permits(1);
        });
        tokio::join!(stop, end);
        assert!(tokio::net::TcpStream::connect(addr).await.is_err(), "the port is closed");
    };
    let (answer, ()) = timeout(PATIENCE, async { tokio::join!(call, drain) }).await.unwrap();
    assert_eq!(answer.unwrap().into_inner().product.unwrap().id, "wait");
    assert_eq!(harness.stage.dropped.available_permits(), 0);
}

#[tokio::test]
async fn workers_end_after_the_calls() {
    let (ended, begun) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicBool::new(false)));
    let (ended_of_worker, begun_of_worker) = (Arc::clone(&ended), Arc::clone(&begun));
    let harness = Harness::start_with(ServerConfig::for_tests(), Readiness::always(), move |core| {
        assert!(core.is_first());
        let stop = core.workers_stop.clone();
        core.spawn("test", async move {
            begun_of_worker.store(true, Ordering::SeqCst);
            stop.cancelled().await;
            ended_of_worker.add_permits(1);
        });
    });
    let harness = harness.await;
    harness.get("any", &[]).await.unwrap();
    assert!(begun.load(Ordering::SeqCst));
    timeout(PATIENCE, harness.server.stop()).await.unwrap();
    assert_eq!(ended.available_permits(), 1);
}

#[tokio::test]
async fn health_follows_the_probe_but_not_a_single_failure() {
    let (up, probes) = (Arc::new(AtomicBool::new(false)), Arc::new(Semaphore::new(0)));
    let (up_of_probe, counted) = (Arc::clone(&up), Arc::clone(&probes));
    let ready = Readiness::new("a_database", move || {
        counted.add_permits(1);
        std::future::ready(if up_of_probe.load(Ordering::SeqCst) { Ok(()) } else { Err("no database") })
    });
    let harness = Harness::start_with(ServerConfig::for_tests(), ready, |_| {}).await;
    let mut health = watch(&harness).await;
    until(&mut health, ServingStatus::NotServing).await;
    up.store(true, Ordering::SeqCst);
    until(&mut health, ServingStatus::Serving).await;
    up.store(false, Ordering::SeqCst);
    let before = probes.available_permits();
    until(&mut health, ServingStatus::NotServing).await;
    assert!(probes.available_permits() - before >= 3);
}
