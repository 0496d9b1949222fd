//! A whole process with two cores: it starts, serves on both, and ends on SIGTERM. In a binary of its own,
//! because a signal is for all threads.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use auth::token::AccessToken;
use auth::{AuthLayer, PolicyTable, ServiceTokens, SessionVerifier, Verified, VerifyError};
use nix::sys::signal::Signal;
use runtime::config::{ServerConfig, TelemetryConfig};
use runtime::health::Readiness;
use runtime::retry::start_up;
use runtime::server::{Core, Service, run};
use tonic::service::Routes;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

#[derive(Debug, Clone)]
struct Nobody;

impl SessionVerifier for Nobody {
    async fn verify(&self, _: &AccessToken) -> Result<Verified, VerifyError> {
        Err(VerifyError::Invalid)
    }
}

fn service() -> anyhow::Result<Service<Nobody>> {
    let policies = PolicyTable::for_services(&["order.v1.CatalogService"])?;
    let auth = AuthLayer::new(policies, ServiceTokens::default(), Nobody);
    Ok(Service { routes: Routes::default(), auth, layers: Vec::new(), ready: Readiness::always() })
}

async fn check(address: SocketAddr) -> Result<(), String> {
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await;
    let channel = channel.map_err(|error| error.to_string())?;
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
    answer.map(|_| ()).map_err(|status| status.to_string())
}

/// Both cores start once and answer, a worker on the first of them ends last, and SIGTERM ends the process
/// without an error.
#[test]
fn a_process_serves_on_all_cores_until_it_is_told_to_stop() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = ServerConfig { listen: free, threads: 2, ..ServerConfig::for_tests() };
    let (started, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (started_by_core, ended_by_worker) = (Arc::clone(&started), Arc::clone(&ended));
    let start = move |core: Core| {
        started_by_core.fetch_add(1, Ordering::SeqCst);
        if core.is_first() {
            let (ended, stop) = (Arc::clone(&ended_by_worker), core.workers_stop.clone());
            core.spawn("test", async move {
                stop.cancelled().await;
                ended.fetch_add(1, Ordering::SeqCst);
            });
        }
        std::future::ready(service())
    };
    let process =
        thread::spawn(move || run("test", config, TelemetryConfig::default(), "test.tristore", start));
    let client = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    client.block_on(async {
        start_up("the server", Duration::from_secs(20), || check(free)).await.unwrap();
        // The kernel spreads connections over both listeners.
        for _ in 0..32 {
            check(free).await.unwrap();
        }
    });
    assert_eq!((started.load(Ordering::SeqCst), ended.load(Ordering::SeqCst)), (2, 0));
    nix::sys::signal::raise(Signal::SIGTERM).unwrap();
    process.join().unwrap().unwrap();
    assert_eq!(ended.load(Ordering::SeqCst), 1);
    assert!(std::net::TcpStream::connect(free).is_err(), "nobody listens any more");
}

/// What a core cannot start with is the process's error.
#[test]
fn a_process_that_cannot_start_says_why() {
    let start = |_: Core| std::future::ready(Err::<Service<Nobody>, _>(anyhow::anyhow!("no database")));
    let config = ServerConfig { threads: 2, ..ServerConfig::for_tests() };
    let error = run("test", config, TelemetryConfig::default(), "test.tristore", start).unwrap_err();
    assert!(
        format!("{error:#}").contains("starting core") && format!("{error:#}").contains("no database"),
        "{error:#}"
    );
}

/// Two services that were given the same port by mistake do not share its calls.
#[test]
fn a_port_that_is_taken_is_not_shared() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = ServerConfig { listen: taken.local_addr().unwrap(), ..ServerConfig::for_tests() };
    let start = |_: Core| std::future::ready(service());
    let error = run("test", config, TelemetryConfig::default(), "test.tristore", start).unwrap_err();
    assert!(error.to_string().contains("--listen"), "{error:#}");
}
