//! How a whole process begins to listen. Apart from `process.rs`, whose signal would stop these too.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use auth::token::AccessToken;
use auth::{AuthLayer, PolicyTable, ServiceTokens, SessionVerifier, Verified, VerifyError};
use runtime::config::{ServerConfig, TelemetryConfig};
use runtime::health::Readiness;
use runtime::server::{Core, Service, run};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tonic::service::Routes;

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

/// What one core finds out at its start keeps all of them from taking calls.
#[test]
fn no_core_listens_before_all_have_started() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = ServerConfig { listen: free, threads: 2, ..ServerConfig::for_tests() };
    let (other_started, served) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicBool::new(false)));
    let seen = Arc::clone(&served);
    let start = move |core: Core| {
        let (other_started, served) = (Arc::clone(&other_started), Arc::clone(&seen));
        async move {
            if !core.is_first() {
                // Runs when this start is over.
                core.tracker.spawn(async move { other_started.add_permits(1) });
                return service();
            }
            other_started.acquire().await.unwrap().forget();
            let end = Instant::now() + Duration::from_millis(300);
            while Instant::now() < end && !served.load(Ordering::SeqCst) {
                served.store(TcpStream::connect(free).await.is_ok(), Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
            anyhow::bail!("the database would lose data")
        }
    };
    let error = run("test", config, TelemetryConfig::default(), "test.tristore", start).unwrap_err();
    assert!(format!("{error:#}").contains("the database would lose data"), "{error:#}");
    assert!(!served.load(Ordering::SeqCst), "a core took a connection");
}

/// The other service has bound the port, and listens only after we have looked for the first time.
#[test]
fn a_port_that_is_taken_during_the_start_is_not_shared() {
    let other = TcpSocket::new_v4().unwrap();
    other.set_reuseaddr(true).unwrap();
    other.set_reuseport(true).unwrap();
    other.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = ServerConfig { listen: other.local_addr().unwrap(), ..ServerConfig::for_tests() };
    let (bound, listening) = (Arc::new(Mutex::new(Some(other))), Arc::new(Mutex::new(None)));
    let start = move |_: Core| {
        let other = bound.lock().unwrap().take().unwrap();
        *listening.lock().unwrap() = Some(other.listen(1).unwrap());
        std::future::ready(service())
    };
    let error = run("test", config, TelemetryConfig::default(), "test.tristore", start).unwrap_err();
    assert!(error.to_string().contains("--listen"), "{error:#}");
}
