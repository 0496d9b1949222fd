//! The worker that removes what users leave who are deleted. One replica at a time looks, for thrift: what it does may be
//! done twice.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::app::App;
use crate::error::Result;

const WORKER: &str = "erasure";
/// Longer than what is removed at once takes.
const LEASE: Duration = Duration::from_secs(30);
/// How often it is looked for somebody. Where there is nobody, that is one look at the beginning of an index.
const EVERY: Duration = Duration::from_secs(1);

/// Looks again and again until `stop` is cancelled.
pub(crate) async fn erase(app: App, owner: Uuid, stop: CancellationToken) {
    loop {
        match stop.run_until_cancelled(round(&app, owner)).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot remove what a deleted user left"
                );
            }
        }
        let pause = EVERY.mul_f64(0.75 + 0.5 * fastrand::f64());
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

/// Until nobody's turn is left.
async fn round(app: &App, owner: Uuid) -> Result<()> {
    while app.store.worker_lease(WORKER, owner, LEASE).await?.is_some() && app.erase_some().await? {}
    Ok(())
}
