//! Audits again and again, in one replica at a time.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Audits, Step};
use crate::config::AuditConfig;
use crate::error::{Error, Result};

/// The worker of one process.
pub(crate) struct Worker {
    audits: Audits,
    config: AuditConfig,
}

impl Worker {
    /// A worker that audits as often as is configured.
    pub(crate) const fn new(audits: Audits, config: AuditConfig) -> Self {
        Self { audits, config }
    }

    /// Works until it is told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) {
        if self.config.every.is_zero() {
            return;
        }
        loop {
            let pause = self.config.every.mul_f64(0.75 + 0.5 * fastrand::f64());
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return;
            }
            match stop.run_until_cancelled(Box::pin(self.round())).await {
                None => return,
                Some(Ok(()) | Err(Error::Contention)) => {}
                Some(Err(error)) => {
                    tracing::warn!(target: "audit", error = error.chain(), "the books could not be audited");
                }
            }
        }
    }

    async fn round(&self) -> Result<()> {
        let full_every: Duration = self.config.full_every;
        let Some(mut pass) = self.audits.try_start(full_every).await? else { return Ok(()) };
        while let Some(Step::Progress { .. }) = pass.step().await? {}
        Ok(())
    }
}
