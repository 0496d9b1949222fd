//! Holds that are past their time. A hold must not outlive its transfer, and must not end before the
//! coordinator has decided: if it were released here while CONFIRM was decided there, the merchant's side would
//! be posted and the wallet's would not, and money would come from nothing. So the coordinator is asked, and its
//! answer goes through the same table as its commands. No answer, no decision yet, or an answer out of another
//! history: the hold stays, and is complained of when it gets old.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use events::{ConsumerStore as _, Headers, Hold, Mark, Standing, Step, participant};
use fault::Flaw;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use types::{Clock, EventId, Failure, IdSource, TransferId};
use uuid::Uuid;

use super::CONSUMER;
use super::answer::Answer;
use crate::clients::order::{Decision, OrderClient};
use crate::error::{Error, Result};
use crate::storage::{Finished, Participant, Store, Tx};

const WORKER: &str = "hold_expiry";
/// Longer than one page of holds takes.
const LEASE: Duration = Duration::from_secs(30);
const PAGE: i64 = 100;
/// After so many questions in a row without an answer, the rest of the round waits for the next one.
const UNANSWERED_MAX: u32 = 3;

/// How often it looks, and when it complains.
#[derive(Debug, Clone, Copy)]
pub struct ExpiryOptions {
    /// The time between two rounds.
    pub interval: Duration,
    /// How far past its time a hold is when it is complained of.
    pub alarm_after: Duration,
}

/// What the rounds have come to, since the process started.
#[derive(Debug, Default)]
pub struct ExpiryCounters {
    /// Holds that were ended by an answer.
    pub ended: AtomicU64,
    /// Times that a hold was found too far past its time.
    pub alarms: AtomicU64,
}

/// Asks the coordinator about holds that are past their time.
#[derive(Clone)]
pub struct Expiry {
    /// Where the holds are.
    pub store: Store,
    /// The coordinator.
    pub orders: OrderClient,
    /// When an answer is made.
    pub clock: Arc<dyn Clock>,
    /// What its event is called.
    pub ids: Arc<dyn IdSource>,
    /// How often, and how long before a complaint.
    pub options: ExpiryOptions,
    /// What it has come to.
    pub counters: Arc<ExpiryCounters>,
}

impl Expiry {
    /// Looks again and again until `stop` is cancelled. One replica at a time does.
    pub async fn run(self, stop: CancellationToken) {
        let owner = self.ids.next();
        loop {
            let pause = self.options.interval.mul_f64(0.75 + 0.5 * fastrand::f64());
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
            match stop.run_until_cancelled(self.round(owner)).await {
                None => return,
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "cannot look for holds past their time"
                    );
                }
            }
        }
    }

    /// Asks about every hold that is past its time, oldest first.
    async fn round(&self, owner: Uuid) -> Result<()> {
        let (mut last, mut unanswered) = (None, 0);
        loop {
            let Some(now) = self.store.worker_lease(WORKER, owner, LEASE).await? else {
                return Ok(());
            };
            let due = self.store.hold_list_due(now, last.as_ref(), PAGE).await?;
            for hold in &due {
                let span = tracing::info_span!("hold.end", transfer.id = %hold.transfer_id);
                let outcome = if unanswered < UNANSWERED_MAX {
                    self.end(hold.transfer_id).instrument(span).await
                } else {
                    Ok(false)
                };
                match outcome {
                    Ok(true) => {
                        unanswered = 0;
                        self.counters.ended.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(false) => self.complain(hold, now, None),
                    Err(error) => {
                        unanswered += u32::from(matches!(error, Error::Failure(Failure::Unavailable { .. })));
                        self.complain(hold, now, Some(&error));
                    }
                }
            }
            last = due.into_iter().next_back();
            if last.is_none() {
                return Ok(());
            }
        }
    }

    /// Asks about one hold and does what is answered; `false` when that is nothing.
    async fn end(&self, transfer_id: TransferId) -> Result<bool> {
        // Halted, the consumer's history is not the coordinator's, or somebody has to look first: nobody's answer
        // counts until then.
        let Some(Standing { mark, halted: None, .. }) = self.store.standing(CONSUMER).await? else {
            return Ok(false);
        };
        let decision = if Flaw::ExpiryWithoutDecision.is_in() {
            Some(Decision::Cancel)
        } else {
            self.decision(transfer_id, &mark).await?
        };
        let step = match decision {
            None => return Ok(false),
            Some(Decision::Confirm) => Step::Confirm(transfer_id),
            Some(Decision::Cancel) => Step::Cancel(transfer_id),
        };
        self.store.transaction("hold_expire", |tx| self.apply(tx, &step, mark.epoch)).await
    }

    /// What the coordinator has decided, in the history that this service follows.
    async fn decision(&self, transfer_id: TransferId, mark: &Mark) -> Result<Option<Decision>> {
        let answer = self.orders.decision(transfer_id, mark).await?;
        fault::point!("expiry.answered", "hold");
        Ok(answer.decision.filter(|_| answer.epoch == mark.epoch))
    }

    /// Applies the answer. The mark is locked first, as the consumer of the commands does, so that the two
    /// never work on a hold at once; and the answer counts only in the history that it was asked in, while the
    /// consumer goes on in it.
    async fn apply(&self, mut tx: Tx, step: &Step, epoch: Uuid) -> Result<Finished<bool>> {
        if tx.mark_lock_running(CONSUMER).await?.is_none_or(|mark| mark.epoch != epoch) {
            return Ok(tx.abandon(false));
        }
        let now = self.clock.now();
        let mut participant = Participant::read(&mut tx, &[step], now).await?;
        let applied = participant::apply(&mut participant, step).await?;
        let answer = Answer::to(step, &applied);
        let impossible = matches!(answer, Answer::Impossible { .. });
        if impossible {
            tracing::error!(
                transfer.id = %step.transfer_id(),
                decision = step.as_str(),
                "a hold has ended in another way than was decided; an operator must look"
            );
        }
        // A hold that the consumer ended meanwhile was answered by the consumer.
        if applied.changed || impossible {
            let id = EventId::from_uuid(self.ids.next());
            let headers =
                Headers { traceparent: runtime::telemetry::current_traceparent(), ..Headers::default() };
            let event = answer.event(&mut participant, id, headers, id, now)?;
            participant.write()?;
            tx.event_append(&event)?;
        }
        Ok(tx.commit(!impossible))
    }

    fn complain(&self, hold: &Hold, now: OffsetDateTime, error: Option<&Error>) {
        let Some(spec) = &hold.spec else { return };
        let age = now - spec.expires_at;
        if age <= self.options.alarm_after {
            return;
        }
        let count = self.counters.alarms.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::warn!(
            transfer.id = %hold.transfer_id,
            age_seconds = age.whole_seconds(),
            hold_expiry_alarms = count,
            error = error.map(|error| error as &dyn std::error::Error),
            "a hold is past its time and the coordinator has not decided"
        );
    }
}
