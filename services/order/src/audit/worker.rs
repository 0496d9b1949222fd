//! Audits again and again, in one replica at a time.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::metrics::AuditMetrics;
use super::{Audits, Pass, Step, must_be_full};
use crate::config::AuditConfig;
use crate::error::{Error, Result};

/// How long after a full audit that failed the next one is tried: it may have read a whole book for nothing. What is
/// new is audited meanwhile.
const FULL_AGAIN_AFTER: Duration = Duration::from_secs(600);

/// The worker of one process.
pub(crate) struct Worker {
    audits: Audits,
    config: AuditConfig,
    /// No full audit before, because one has failed.
    full_after: Option<Instant>,
    metrics: AuditMetrics,
}

impl Worker {
    /// A worker that audits as often as is configured.
    pub(crate) fn new(audits: Audits, config: AuditConfig) -> Self {
        Self { audits, config, full_after: None, metrics: AuditMetrics::new() }
    }

    /// Works until it is told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
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
                Some(Ok(())) => {}
                Some(Err(error)) => self.tell(&error, false),
            }
            // Whoever made the last one: what is not known now, the next round finds out.
            if let Some(Ok(known)) = stop.run_until_cancelled(self.audits.last()).await {
                self.metrics.known(&known);
            }
        }
    }

    /// One audit; a full one when it is time for it. Where that fails, one of what is new.
    async fn round(&mut self) -> Result<()> {
        let full_every = self.config.full_every;
        let may_be_full = self.full_after.is_none_or(|after| Instant::now() >= after);
        let pass = self.audits.try_start(|turn| {
            may_be_full && (must_be_full(turn) || turn.full_age.is_none_or(|age| age >= full_every))
        });
        let Some(pass) = pass.await? else { return Ok(()) };
        let is_full = pass.is_full;
        match finish(pass).await {
            Err(error) if is_full => self.tell(&error, true),
            ended => {
                if is_full {
                    self.full_after = None;
                }
                return ended;
            }
        }
        self.full_after = Some(Instant::now() + FULL_AGAIN_AFTER);
        match self.audits.try_start(|_| false).await? {
            Some(pass) => finish(pass).await,
            None => Ok(()),
        }
    }

    /// Another auditor that is at work is no failure; one that took the turn away in the middle is.
    fn tell(&self, error: &Error, full: bool) {
        self.metrics.failed(full);
        tracing::warn!(target: "audit", error = types::chain(error), full, "the books could not be audited");
    }
}

async fn finish(mut pass: Pass) -> Result<()> {
    while let Some(Step::Progress { .. }) = pass.step().await? {}
    Ok(())
}
