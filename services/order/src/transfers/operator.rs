//! What operators do to transfers: send a command once more, cancel what is undecided. Each act is recorded in
//! the transaction that does it, and answered from that record when its request comes again.

use types::{Answer, Call, Keep, TransferId};

use super::Coordinator;
use super::messages::{Origin, headers};
use super::waiters::Moved;
use super::work::{Applied, TransferInput, Work};
use crate::domain::TransferRefused;
use crate::domain::transfer::{Input, State, Transfer, TransferNow};
use crate::error::{Error, Result};
use crate::storage::{Finished, OperatorAct, Tx};

/// What was done to a transfer: the state that it had, and what the operator is answered.
type Acted = (State, Answer<Transfer>);

impl Coordinator {
    /// Decides CANCEL for a transfer that is undecided.
    pub(crate) async fn cancel(&self, call: &Call, id: TransferId) -> Result<Answer<Transfer>> {
        let acted = self.store.transaction("cancel_transfer", |tx| self.cancel_in(tx, call, id)).await?;
        Ok(self.tell(call, acted))
    }

    /// Sends the present step's command once more, with a new budget of attempts; takes the flag from a transfer that
    /// has ended.
    pub(crate) async fn retry(&self, call: &Call, id: TransferId) -> Result<Answer<Transfer>> {
        let acted = self.store.transaction("retry_transfer", |tx| self.retry_in(tx, call, id)).await?;
        Ok(self.tell(call, acted))
    }

    async fn cancel_in(&self, mut tx: Tx, call: &Call, id: TransferId) -> Result<Finished<Acted>> {
        let input =
            TransferInput { transfer_id: id, input: Input::OperatorCancel, headers: headers(Some(call)) };
        let ids = self.ids.clone();
        let mut work = Work::lock(&mut tx, ids, self.config, std::slice::from_ref(&input)).await?;
        let before = work.transfer(id).cloned();
        if let Some(acted) = earlier(&mut tx, call, before.as_ref()).await? {
            return Ok(tx.abandon(acted));
        }
        let before = before.ok_or(TransferRefused::NotFound(id))?;
        match work.apply(&input).await? {
            Applied::Changed => {}
            Applied::AlreadyDecided => return Err(TransferRefused::AlreadyDecided(id).into()),
            applied => return Err(Error::internal(format!("a cancel of {id} became {applied:?}"))),
        }
        let after = work.transfer(id).cloned().ok_or(TransferRefused::NotFound(id))?;
        work.save(&mut tx).await?;
        self.record(tx, call, before.state, after).await
    }

    async fn retry_in(&self, mut tx: Tx, call: &Call, id: TransferId) -> Result<Finished<Acted>> {
        let (mut locked, now) = tx.transfers_lock(&[id].into()).await?;
        let transfer = locked.pop();
        if let Some(acted) = earlier(&mut tx, call, transfer.as_ref()).await? {
            return Ok(tx.abandon(acted));
        }
        let mut transfer = transfer.ok_or(TransferRefused::NotFound(id))?;
        let read_version = transfer.version;
        let origin = Origin::of(call, now);
        let event_id = self.ids.next().into();
        let command = match transfer.state {
            State::Reserving => Some(origin.reserve(event_id, &mut transfer)),
            State::Confirming => Some(origin.confirm(event_id, &mut transfer)),
            State::Cancelling => Some(origin.cancel(event_id, &mut transfer)),
            // Nothing is left to be done, but somebody has looked. What was wrong stays to be read.
            State::Completed | State::Cancelled if transfer.needs_operator => None,
            State::Completed | State::Cancelled => {
                let state = transfer.state.as_str();
                return Err(TransferRefused::Ended { transfer_id: id, state }.into());
            }
        };
        transfer.version += 1;
        transfer.attempts = 0;
        transfer.needs_operator = false;
        transfer.next_attempt_at = command.is_some().then(|| now + self.config.look_after);
        tx.transfers_update(&[(&transfer, read_version)]).await?;
        tx.events_append(command.as_slice()).await?;
        let before = transfer.state;
        self.record(tx, call, before, transfer).await
    }

    async fn record(
        &self,
        mut tx: Tx,
        call: &Call,
        before: State,
        after: Transfer,
    ) -> Result<Finished<Acted>> {
        if !tx.request_insert(call, &after.now(), Keep::Forever).await? {
            return Err(Error::contention("another call with this request_id was faster"));
        }
        tx.transfer_audit(&OperatorAct {
            id: self.ids.next(),
            key: &call.key,
            transfer_id: after.id,
            before,
            after: after.state,
            traceparent: headers(None).traceparent.as_deref(),
        })
        .await?;
        Ok(tx.commit((before, Answer::first(after))))
    }

    /// Tells those who wait for the transfer, and the log, which has an earlier act already.
    fn tell(&self, call: &Call, (before, answer): Acted) -> Answer<Transfer> {
        let after = &answer.value;
        if !answer.is_replay {
            tracing::info!(target: "audit", principal = call.key.principal, method = call.key.method,
                transfer.id = %after.id, %before, after = %after.state, "an operator acted on a transfer");
        }
        self.waiters.wake([(after.id, Moved::to(after))]);
        answer
    }
}

/// The answer that this request had; looked for under the transfer's lock.
async fn earlier(tx: &mut Tx, call: &Call, transfer: Option<&Transfer>) -> Result<Option<Acted>> {
    let Some(saved) = tx.request_fetch(&call.key).await? else { return Ok(None) };
    let then: TransferNow = saved.outcome(call)?;
    let transfer =
        transfer.cloned().ok_or_else(|| Error::internal("the transfer of an outcome does not exist"))?;
    Ok(Some((transfer.state, Answer::replay(transfer.at(then)))))
}
