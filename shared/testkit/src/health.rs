//! Asking a gRPC server whether it serves, and answering for a peer that a test stands in for.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tonic::transport::Endpoint;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus as Answer;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};

const TIMEOUT: Duration = Duration::from_secs(2);

/// Fails unless the server at `url` (`http://host:port`) says that it serves.
///
/// # Errors
/// With what it says instead, or why it cannot be asked.
pub async fn serving(url: &str) -> Result<()> {
    let endpoint = Endpoint::from_shared(url.to_owned())?.connect_timeout(TIMEOUT).timeout(TIMEOUT);
    let channel = endpoint.connect().await.with_context(|| format!("{url} does not accept connections"))?;
    let request = HealthCheckRequest { service: String::new() };
    let answer = HealthClient::new(channel).check(request).await.context("the health check fails")?;
    match answer.into_inner().status() {
        Answer::Serving => Ok(()),
        other => bail!("{url} answers {other:?}, not {}", ServingStatus::Serving),
    }
}

/// Fails as long as the server at `url` says that it serves, for waiting until it does not.
///
/// # Errors
/// When it serves.
pub async fn not_serving(url: &str) -> Result<()> {
    ensure!(serving(url).await.is_err(), "{url} says that it serves");
    Ok(())
}

/// Says that these services are served. A peer that a test stands in for needs it: a service that finds something else
/// at a peer's address does not say that it serves.
pub async fn stand_in(services: &[&str]) -> HealthServer<impl Health> {
    let (reporter, server) = tonic_health::server::health_reporter();
    for service in services {
        reporter.set_service_status(*service, ServingStatus::Serving).await;
    }
    server
}
