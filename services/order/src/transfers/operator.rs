//! What operators do to transfers: send a command once more, cancel what is undecided. Each act is recorded in
//! the transaction that does it, and answered from that record when its request comes again.

use events::Headers;
use types::TransferId;

use super::Coordinator;
use super::messages::Cause;
use super::start::Request;
use super::waiters::Moved;
use super::work::{Applied, Happening, Work};
use crate::domain::transfer::{Input, State, Transfer, TransferNow};
use crate::error::{Error, Result};
use crate::storage::{Keep, OperatorAct, Tx};

/// What an operator is answered.
#[derive(Debug, Clone)]
pub(crate) struct Acted {
    /// The transfer as it was after the act.
    pub(crate) transfer: Transfer,
    /// Whether an earlier call with the same request has done it.
    pub(crate) joined: bool,
}

impl Coordinator {
    /// Decides CANCEL for a transfer that is undecided.
    pub(crate) async fn cancel(&self, request: &Request, id: TransferId) -> Result<Acted> {
        let acted = self.store.transaction("cancel_transfer", |tx| self.try_cancel(tx, request, id)).await?;
        self.waiters.wake([(id, Moved::to(&acted.transfer))]);
        Ok(acted)
    }

    /// Sends the present step's command once more, with a new budget of attempts; takes the flag from a transfer that
    /// has ended.
    pub(crate) async fn retry(&self, request: &Request, id: TransferId) -> Result<Acted> {
        let acted = self.store.transaction("retry_transfer", |tx| self.try_retry(tx, request, id)).await?;
        self.waiters.wake([(id, Moved::to(&acted.transfer))]);
        Ok(acted)
    }

    async fn try_cancel(&self, mut tx: Tx, request: &Request, id: TransferId) -> Result<Acted> {
        let happening =
            Happening { transfer_id: id, input: Input::OperatorCancel, headers: request.headers.clone() };
        let ids = self.ids.clone();
        let mut work = Work::lock(&mut tx, ids, self.config, std::slice::from_ref(&happening)).await?;
        let before = work.transfer(id).cloned();
        if let Some(acted) = done_before(&mut tx, request, before.as_ref()).await? {
            return Ok(acted);
        }
        let before = before.ok_or(Error::TransferNotFound(id))?;
        match work.apply(&happening).await? {
            Applied::Changed => {}
            Applied::AlreadyDecided => return Err(Error::AlreadyDecided(id)),
            applied => return Err(Error::internal(format!("a cancel of {id} became {applied:?}"))),
        }
        let after = work.transfer(id).cloned().ok_or(Error::TransferNotFound(id))?;
        work.save(&mut tx).await?;
        self.record(tx, request, before.state, after).await
    }

    async fn try_retry(&self, mut tx: Tx, request: &Request, id: TransferId) -> Result<Acted> {
        let (mut locked, now) = tx.transfers_lock(&[id].into()).await?;
        let transfer = locked.pop();
        if let Some(acted) = done_before(&mut tx, request, transfer.as_ref()).await? {
            return Ok(acted);
        }
        let mut transfer = transfer.ok_or(Error::TransferNotFound(id))?;
        let read_version = transfer.version;
        let cause = Cause { headers: request.headers.clone(), at: now };
        let event_id = self.ids.next().into();
        let command = match transfer.state {
            State::Reserving => Some(cause.reserve(event_id, &mut transfer)),
            State::Confirming => Some(cause.confirm(event_id, &mut transfer)),
            State::Cancelling => Some(cause.cancel(event_id, &mut transfer)),
            // Nothing is left to be done, but somebody has looked. What was wrong stays to be read.
            State::Completed | State::Cancelled if transfer.needs_operator => None,
            State::Completed | State::Cancelled => {
                return Err(Error::TransferEnded { transfer_id: id, state: transfer.state.as_str() });
            }
        };
        transfer.version += 1;
        transfer.attempts = 0;
        transfer.needs_operator = false;
        transfer.next_attempt_at = command.is_some().then(|| now + self.config.look_after);
        tx.transfers_update(&[(&transfer, read_version)]).await?;
        tx.events_append(command.as_slice()).await?;
        let before = transfer.state;
        self.record(tx, request, before, transfer).await
    }

    async fn record(&self, mut tx: Tx, request: &Request, before: State, after: Transfer) -> Result<Acted> {
        let (key, Headers { traceparent, .. }) = (&request.key, &request.headers);
        if !tx.request_record(key, &request.fingerprint, &after.now(), Keep::Forever).await? {
            return Err(Error::Conflict("another call with this request_id was faster".into()));
        }
        tx.transfer_audit(&OperatorAct {
            id: self.ids.next(),
            key,
            transfer_id: after.id,
            before,
            after: after.state,
            traceparent: traceparent.as_deref(),
        })
        .await?;
        tx.commit().await?;
        tracing::info!(target: "audit", principal = key.principal, method = key.method, transfer.id = %after.id,
            %before, after = %after.state, "an operator acted on a transfer");
        Ok(Acted { transfer: after, joined: false })
    }
}

/// The answer that this request had; looked for under the transfer's lock.
async fn done_before(tx: &mut Tx, request: &Request, transfer: Option<&Transfer>) -> Result<Option<Acted>> {
    let Some(recorded) = tx.request_find(&request.key).await? else { return Ok(None) };
    let then: TransferNow = recorded.outcome(&request.key, &request.fingerprint)?;
    let transfer = transfer.cloned().ok_or_else(|| Error::internal("a recorded act names no transfer"))?;
    Ok(Some(Acted { transfer: transfer.at(then), joined: true }))
}
