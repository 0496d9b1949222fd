//! Waiting for a cluster.

use std::fmt::Display;
use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

/// As `wait_until`, but it asks once a second only: each kubectl takes a tenth of a second of CPU, which the cluster may have to
/// share.
pub(super) async fn wait_for<T, E: Display>(
    within: Duration,
    what: &str,
    mut check: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T> {
    testkit::wait_until(within, what, async || {
        let checked = check().await;
        if checked.is_err() {
            sleep(Duration::from_secs(1)).await;
        }
        checked
    })
    .await
}
