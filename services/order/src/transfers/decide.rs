//! One transfer, one transaction: a participant asks for the decision, an operator cancels, time runs out. All
//! of them go through the same [`Work`] as the wallet's answers do.

use std::slice;

use events::Mark;
use types::TransferId;
use uuid::Uuid;

use super::Coordinator;
use super::messages::headers;
use super::waiters::Moved;
use super::work::{Applied, TransferInput, Work};
use crate::domain::transfer::{Decision, Input, Transfer};
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// What a participant is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decided {
    /// The decision; `None` while there is none, or when it is not known in the caller's history.
    pub(crate) decision: Option<Decision>,
    /// The history of stream `order` that this answer belongs to; nil when that is not known yet, or is another than
    /// the caller's.
    pub(crate) epoch: Uuid,
}

/// Who may write while a worker has claimed the transfer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    pub(super) owner: Uuid,
    pub(super) fence: i64,
}

impl Coordinator {
    /// Answers a participant with this mark. Past the transfer's deadline this itself decides CANCEL.
    pub(crate) async fn decision(&self, id: TransferId, mark: &Mark) -> Result<Decided> {
        let input = TransferInput { transfer_id: id, input: Input::Expiry, headers: headers(None) };
        let (decided, moved) = self
            .store
            .transaction("get_decision", async |mut tx: Tx| {
                let (applied, transfer) = self.apply_one(&mut tx, &input, None).await?;
                // Read under the locks, on the same session: the answer holds for this history and no other.
                let present = tx.stream_epoch(mark).await?;
                let moved = transfer.as_ref().map(Moved::to);
                let decision = match transfer {
                    Some(transfer) => transfer.decision(),
                    // Presumed abort: whatever was asked of the participant was never committed here.
                    None => (present == Some(mark.epoch)).then_some(Decision::Cancel),
                };
                let decided = Decided { decision, epoch: present.unwrap_or_default() };
                Ok(finish(tx, applied, (decided, moved)))
            })
            .await?;
        self.waiters.wake(moved.map(|moved| (id, moved)));
        Ok(decided)
    }

    /// Applies one input in a transaction of its own. Without a transfer in the answer there is none, or the
    /// lease is another's.
    pub(super) async fn act(
        &self,
        name: &'static str,
        input: &TransferInput,
        lease: Option<Lease>,
    ) -> Result<(Applied, Option<Transfer>)> {
        let acted = self
            .store
            .transaction(name, async |mut tx: Tx| {
                let (applied, transfer) = self.apply_one(&mut tx, input, lease).await?;
                Ok(finish(tx, applied, (applied, transfer)))
            })
            .await?;
        let (_, transfer) = &acted;
        self.waiters.wake(transfer.iter().map(|transfer| (transfer.id, Moved::to(transfer))));
        Ok(acted)
    }

    /// Applies one input; the caller commits.
    async fn apply_one(
        &self,
        tx: &mut Tx,
        input: &TransferInput,
        lease: Option<Lease>,
    ) -> Result<(Applied, Option<Transfer>)> {
        let id = input.transfer_id;
        let ids = self.ids.clone();
        let mut work = Work::lock(tx, ids, self.config, slice::from_ref(input)).await?;
        if let Some(Lease { owner, fence }) = lease
            && !tx.claim_holds(id, owner, fence).await?
        {
            return Ok((Applied::Unknown, None));
        }
        let applied = work.apply(input).await?;
        let transfer = work.transfer(id).cloned();
        work.save(tx).await?;
        Ok((applied, transfer))
    }
}

/// Commits what was changed.
fn finish<T>(tx: Tx, applied: Applied, value: T) -> Finished<T> {
    match applied {
        Applied::Changed | Applied::Alarmed => tx.commit(value),
        Applied::Unchanged | Applied::AlreadyDecided | Applied::Unknown => tx.abandon(value),
    }
}
