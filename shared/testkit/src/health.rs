//! Asking a gRPC server whether it serves.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tonic::transport::Endpoint;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus as Answer;
use tonic_health::pb::health_client::HealthClient;

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
