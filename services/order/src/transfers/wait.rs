//! A call waits for its transfer: it is woken when the transfer moves, and looks for itself every 250 ms, because what
//! wakes it may fail.

use std::time::Duration;

use ::metrics::TraceId;
use runtime::deadline::Deadline;
use runtime::telemetry::current_traceparent;
use tokio::time::Instant;
use types::{Answer, Effect, TransferId};

use super::Coordinator;
use super::metrics;
use super::start::Started;
use crate::domain::TransferRefused;
use crate::domain::transfer::Transfer;
use crate::error::Result;

/// How often a waiting call looks for itself.
const LOOK: Duration = Duration::from_millis(250);
/// The time that a call keeps for its answer, or a fifth of what it has.
const RESERVE_MAX: Duration = Duration::from_millis(150);

impl Coordinator {
    /// Waits for the end of a transfer, at the most until shortly before the call's deadline.
    ///
    /// # Errors
    /// [`TransferRefused::Running`] when it has not ended by then; it goes on.
    pub(super) async fn ended(&self, started: Started) -> Result<Answer<Transfer>> {
        let (mut waiting, is_replay) = match started {
            Started::Refused(transfer) => {
                let trace = current_traceparent().as_deref().and_then(TraceId::recorded_in);
                metrics::ended(&transfer, trace);
                return Ok(Answer::first(*transfer));
            }
            Started::Begun(waiting) => (waiting, false),
            Started::Earlier(id) => (self.waiters.register(id), true),
        };
        let id = waiting.id();
        let left = Deadline::current().map(Deadline::remaining);
        let patience = left.map_or(self.config.transfer_deadline, |left| left - RESERVE_MAX.min(left / 5));
        let until = Instant::now() + patience;
        // A transfer that this call has just begun need not be read before it moves.
        let mut is_known = !is_replay;
        loop {
            if !std::mem::take(&mut is_known) {
                waiting.look();
                // The transfer has begun, so that the call has taken effect, whatever becomes of it.
                let transfer = self.fetch(id).await.map_err(|error| error.with_effect(Effect::Unknown))?;
                if transfer.state.is_final() {
                    return Ok(Answer { value: transfer, is_replay });
                }
            }
            let look = Instant::now() + next_look();
            tokio::select! {
                () = waiting.ended() => {}
                () = tokio::time::sleep_until(look.min(until)) => {}
            }
            if Instant::now() >= until {
                return Err(TransferRefused::Running(id).into());
            }
        }
    }

    /// Waits until a transfer is no longer at `version`.
    pub(crate) async fn changed(&self, id: TransferId, version: i64) -> Result<Transfer> {
        let mut waiting = self.waiters.register(id);
        loop {
            waiting.look();
            let transfer = self.fetch(id).await?;
            if transfer.version != version {
                return Ok(transfer);
            }
            tokio::select! {
                () = waiting.moved() => {}
                () = tokio::time::sleep(next_look()) => {}
            }
        }
    }

    async fn fetch(&self, id: TransferId) -> Result<Transfer> {
        Ok(self.store.transfer_fetch(id).await?.ok_or(TransferRefused::NotFound(id))?)
    }
}

/// Not the same for all, so that they do not all look at once.
fn next_look() -> Duration {
    LOOK.mul_f64(0.8 + 0.4 * fastrand::f64())
}
